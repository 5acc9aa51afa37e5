/* A ledger of slots: what is taken is exactly what is written again. */
#include <string.h>

#include "agent/steps/slot_ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slot_ledger l;
	if (slot_ledger_decode(&l, bytes, len, NULL) != E_OK)
		return 0;
	struct buf b;
	buf_init(&b);
	slot_ledger_encode(&l, &b);
	PRE(b.len == len && memcmp(b.data, bytes, len) == 0);
	buf_done(&b);
	return 0;
}
