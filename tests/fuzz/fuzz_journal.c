/* A record file of the agent: damaged in any way, it must be noticed or be exactly what was written. */
#include <string.h>

#include "agent/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct agent_record r;
	if (journal_decode(&r, bytes, len, NULL) != E_OK)
		return 0;
	struct buf b;
	buf_init(&b);
	journal_encode(&r, &b);
	PRE(b.len == len && memcmp(b.data, bytes, len) == 0);
	buf_done(&b);
	return 0;
}
