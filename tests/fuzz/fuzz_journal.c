/* A record file of the agent: damaged in any way, it must be noticed or be exactly what was written. */
#include <string.h>

#include "agent/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
static void encode(const struct agent_record *r, struct buf *out)
{
	buf_init(out);
	journal_encode(r, out);
}

/* What an older agent wrote is written anew in the format of today, and is the same then. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct agent_record r, again;
	struct buf one, two;
	if (journal_decode(&r, bytes, len, NULL) != E_OK)
		return 0;
	encode(&r, &one);
	bool older = get_u32(bytes + 4) < get_u32(one.data + 4);
	PRE(older || (one.len == len && memcmp(one.data, bytes, len) == 0));
	PRE(journal_decode(&again, one.data, one.len, NULL) == E_OK);
	encode(&again, &two);
	PRE(two.len == one.len && memcmp(two.data, one.data, one.len) == 0);
	buf_done(&one);
	buf_done(&two);
	return 0;
}
