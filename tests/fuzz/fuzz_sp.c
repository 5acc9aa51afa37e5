/* The SP decoder with hostile bytes. The first byte chooses how the rest is cut into slices. */
#include <stdlib.h>

#include "base/err.h"
#include "proto/sp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const struct sp_decoder *d)
{
	const uint8_t *body;
	size_t len;
	uint32_t id;

	if (d->body.len > SP_FRAME_MAX_UNTRUSTED)
		abort();
	if (sp_request_decode(d->body.data, d->body.len, &id, &body, &len) == E_OK && len > d->body.len)
		abort();
}

/* False when the decoder has given up. */
static bool feed(struct sp_decoder *d, const uint8_t *p, size_t n)
{
	for (;;) {
		enum sp_item item;

		if (sp_decode(d, &p, &n, &item))
			return false;
		if (item == SP_MORE)
			return true;
		if (item == SP_FRAME)
			look_at(d);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sp_decoder d;

	if (size == 0)
		return 0;
	size_t slice = (size_t)data[0] + 1;
	sp_decoder_init(&d, SP_FRAME_MAX_UNTRUSTED);
	for (size_t at = 1; at < size; at += slice) {
		size_t n = size - at < slice ? size - at : slice;

		if (!feed(&d, data + at, n))
			break;
	}
	sp_decoder_done(&d);
	return 0;
}
