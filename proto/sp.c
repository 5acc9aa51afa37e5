#include "proto/sp.h"

#include <string.h>

#include "base/err.h"

static const uint32_t request_mark = 0x80000000u;

/* A frame buffer larger than this is given back after its frame: ten thousand idle sessions must stay small.
 */
enum { BODY_KEEP = 1024 };

void sp_hello_encode(uint8_t out[SP_HELLO_LEN], enum sp_protocol self)
{
	const uint8_t hello[SP_HELLO_LEN] = {0, 'S', 'P', 0, (uint8_t)((unsigned)self >> 8), (uint8_t)self,
					     0, 0};

	memcpy(out, hello, sizeof(hello));
}

int sp_hello_decode(const uint8_t in[SP_HELLO_LEN], uint16_t *peer)
{
	static const uint8_t magic[4] = {0, 'S', 'P', 0};

	if (memcmp(in, magic, sizeof(magic)) != 0 || in[6] != 0 || in[7] != 0)
		return E_PROTOCOL;
	*peer = (uint16_t)(in[4] << 8 | in[5]);
	return E_OK;
}

void sp_frame_encode(struct buf *out, const void *head, size_t head_len, const void *body, size_t body_len)
{
	buf_put_u64(out, (uint64_t)head_len + body_len);
	if (head_len > 0)
		buf_put(out, head, head_len);
	if (body_len > 0)
		buf_put(out, body, body_len);
}

int sp_request_decode(const uint8_t *frame, size_t len, uint32_t *id, const uint8_t **body, size_t *body_len)
{
	if (len < SP_REQUEST_HEAD_LEN)
		return E_PROTOCOL;
	uint32_t word = get_u32(frame);
	if ((word & request_mark) == 0)
		return E_PROTOCOL;
	*id = word;
	*body = frame + SP_REQUEST_HEAD_LEN;
	*body_len = len - SP_REQUEST_HEAD_LEN;
	return E_OK;
}

void sp_request_head_encode(uint8_t out[SP_REQUEST_HEAD_LEN], uint32_t id)
{
	put_u32(out, id | request_mark);
}

void sp_decoder_init(struct sp_decoder *d, size_t frame_max)
{
	memset(d, 0, sizeof(*d));
	d->place = SP_IN_HELLO;
	d->frame_max = frame_max;
	buf_init(&d->body);
}

void sp_decoder_done(struct sp_decoder *d)
{
	buf_done(&d->body);
}

static size_t at_most(size_t n, size_t limit)
{
	return n < limit ? n : limit;
}

static void skip(const uint8_t **p, size_t *n, size_t taken)
{
	*p += taken;
	*n -= taken;
}

/* Hello and frame head have the same length. True when all of it is there. */
static bool take_head(struct sp_decoder *d, const uint8_t **p, size_t *n)
{
	size_t taken = at_most(*n, sizeof(d->head) - d->head_len);

	if (taken > 0)
		memcpy(d->head + d->head_len, *p, taken);
	d->head_len += taken;
	skip(p, n, taken);
	if (d->head_len < sizeof(d->head))
		return false;
	d->head_len = 0;
	return true;
}

static bool take_body(struct sp_decoder *d, const uint8_t **p, size_t *n)
{
	size_t taken = at_most(*n, d->body_len - d->body.len);

	if (taken > 0)
		buf_put(&d->body, *p, taken);
	skip(p, n, taken);
	return d->body.len == d->body_len;
}

static int fail(struct sp_decoder *d, int code)
{
	d->place = SP_FAILED;
	d->failed = code;
	return code;
}

static int in_hello(struct sp_decoder *d, enum sp_item *item)
{
	int rc = sp_hello_decode(d->head, &d->peer);

	if (rc)
		return fail(d, rc);
	d->place = SP_IN_HEAD;
	*item = SP_HELLO;
	return E_OK;
}

static int in_head(struct sp_decoder *d)
{
	uint64_t claimed = get_u64(d->head);

	if (claimed > d->frame_max)
		return fail(d, E_TOO_LARGE);
	d->body_len = (size_t)claimed;
	if (d->body.cap > BODY_KEEP) {
		buf_done(&d->body);
		buf_init(&d->body);
	}
	buf_reset(&d->body);
	d->place = SP_IN_BODY;
	return E_OK;
}

int sp_decode(struct sp_decoder *d, const uint8_t **p, size_t *n, enum sp_item *item)
{
	*item = SP_MORE;
	if (d->place == SP_FAILED)
		return d->failed;
	if (d->place == SP_IN_HELLO)
		return take_head(d, p, n) ? in_hello(d, item) : E_OK;
	if (d->place == SP_IN_HEAD) {
		if (!take_head(d, p, n))
			return E_OK;
		int rc = in_head(d);
		if (rc)
			return rc;
	}
	if (!take_body(d, p, n))
		return E_OK;
	d->place = SP_IN_HEAD;
	*item = SP_FRAME;
	return E_OK;
}
