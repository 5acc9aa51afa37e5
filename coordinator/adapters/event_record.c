#include "coordinator/adapters/event_record.h"

#include <string.h>
#include <zlib.h>

/* Body: version, kind, ten numbers, then six texts, each with its length in two bytes. */
enum { MARK = 0x57546576, VERSION = 1, BODY_MAX = EVENT_RECORD_MAX - EVENT_RECORD_HEAD };

/* ---- putting
 * ------------------------------------------------------------------------------------------------------- */

static void put_text(struct buf *b, const char *s)
{
	size_t n = strlen(s);
	const uint8_t len[2] = {(uint8_t)(n >> 8), (uint8_t)n};
	buf_put(b, len, sizeof len);
	buf_put(b, s, n);
}

void event_record_encode(const struct event *e, struct buf *out)
{
	const uint8_t kind[2] = {VERSION, (uint8_t)e->kind};
	size_t start = out->len;
	buf_put(out, "\0\0\0\0\0\0\0\0\0\0\0", EVENT_RECORD_HEAD);
	buf_put(out, kind, sizeof kind);
	buf_put_u64(out, e->number);
	buf_put_u64(out, (uint64_t)e->at.v);
	buf_put_u64(out, e->deployment.v);
	buf_put_u64(out, e->trace.hi);
	buf_put_u64(out, e->trace.lo);
	buf_put_u64(out, e->chunk.spool_hi);
	buf_put_u64(out, e->chunk.spool_lo);
	buf_put_u64(out, e->chunk.number);
	buf_put_u32(out, e->chunk.line);
	buf_put_u32(out, e->wave);
	put_text(out, e->app.s);
	put_text(out, e->host.s);
	put_text(out, e->region.s);
	put_text(out, e->from);
	put_text(out, e->to);
	put_text(out, e->text);

	uint8_t *head = out->data + start;
	size_t len = out->len - start - EVENT_RECORD_HEAD;
	PRE(len <= BODY_MAX);
	put_u32(head, MARK);
	put_u32(head + 4, (uint32_t)len);
	put_u32(head + 8, (uint32_t)crc32(0, head + EVENT_RECORD_HEAD, (uInt)len));
}

/* ---- getting
 * ------------------------------------------------------------------------------------------------------- */

struct reader {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static const uint8_t *take(struct reader *r, size_t n)
{
	static const uint8_t zeros[8];
	if (r->bad || r->left < n) {
		r->bad = true;
		return zeros;
	}
	const uint8_t *p = r->p;
	r->p += n;
	r->left -= n;
	return p;
}

static uint64_t take_u64(struct reader *r)
{
	return get_u64(take(r, 8));
}

static void take_text(struct reader *r, char *out, size_t cap)
{
	const uint8_t *len = take(r, 2);
	size_t n = (size_t)len[0] << 8 | len[1];
	if (n >= cap || r->left < n || memchr(r->p, '\0', n) != NULL) {
		r->bad = true;
		return;
	}
	memcpy(out, take(r, n), n);
	out[n] = '\0';
}

static void take_name(struct reader *r, struct name *out)
{
	take_text(r, out->s, sizeof out->s);
	r->bad = r->bad || (!name_empty(out) && !name_ok(out->s));
}

static bool take_body(struct reader *r, struct event *e)
{
	const uint8_t *kind = take(r, 2);
	uint8_t version = kind[0];
	e->kind = kind[1];
	e->number = take_u64(r);
	e->at.v = (int64_t)take_u64(r);
	e->deployment.v = take_u64(r);
	e->trace.hi = take_u64(r);
	e->trace.lo = take_u64(r);
	e->chunk.spool_hi = take_u64(r);
	e->chunk.spool_lo = take_u64(r);
	e->chunk.number = take_u64(r);
	e->chunk.line = get_u32(take(r, 4));
	e->wave = get_u32(take(r, 4));
	take_name(r, &e->app);
	take_name(r, &e->host);
	take_name(r, &e->region);
	take_text(r, e->from, sizeof e->from);
	take_text(r, e->to, sizeof e->to);
	take_text(r, e->text, sizeof e->text);
	return !r->bad && r->left == 0 && version == VERSION && e->kind > 0 && e->kind < EVENT_NR &&
	       e->number > 0;
}

/* The bytes that are there are those of the mark. */
static bool may_begin(const uint8_t *p, size_t n)
{
	uint8_t mark[4];
	put_u32(mark, MARK);
	return memcmp(p, mark, n < sizeof mark ? n : sizeof mark) == 0;
}

enum event_record event_record_decode(const uint8_t *p, size_t n, struct event *out, size_t *used)
{
	struct event e = {0};
	if (!may_begin(p, n))
		return EVENT_RECORD_BAD;
	if (n < EVENT_RECORD_HEAD)
		return EVENT_RECORD_SHORT;
	size_t len = get_u32(p + 4);
	if (len > BODY_MAX)
		return EVENT_RECORD_BAD;
	if (n - EVENT_RECORD_HEAD < len)
		return EVENT_RECORD_SHORT;
	struct reader r = {p + EVENT_RECORD_HEAD, len, false};
	if (crc32(0, r.p, (uInt)len) != get_u32(p + 8) || !take_body(&r, &e))
		return EVENT_RECORD_BAD;
	*out = e;
	*used = EVENT_RECORD_HEAD + len;
	return EVENT_RECORD_WHOLE;
}

size_t event_record_skip(const uint8_t *p, size_t n)
{
	size_t at = 1;
	while (at < n && !may_begin(p + at, n - at))
		at++;
	return at < n ? at : n;
}
