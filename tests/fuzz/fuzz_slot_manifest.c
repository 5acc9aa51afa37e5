/* Lines of a manifest, with the first and the last put around them, so that the fuzzer gets past the digest:
 * what is taken is exactly what is written again. */
#include <string.h>

#include "agent/steps/slot_tree.h"

static int put(void *ctx, const struct slot_entry *en, struct err *e)
{
	slot_manifest_put(ctx, en);
	return E_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct buf in, again;
	buf_init(&in);
	buf_init(&again);
	slot_manifest_begin(&in);
	buf_put(&in, bytes, len);
	slot_manifest_end(&in);
	slot_manifest_begin(&again);
	if (slot_manifest_read(in.data, in.len, put, &again, NULL) == E_OK) {
		slot_manifest_end(&again);
		PRE(again.len == in.len && memcmp(again.data, in.data, in.len) == 0);
	}
	buf_done(&in);
	buf_done(&again);
	return 0;
}
