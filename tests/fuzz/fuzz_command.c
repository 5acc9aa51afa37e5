/* Commands of the log: what decodes must encode to what decodes to the same bytes again. */
#include "base/buf.h"
#include "base/err.h"
#include "coordinator/state/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct arena a;
	struct buf b, again;
	struct command c;
	arena_init(&a);
	buf_init(&b);
	buf_init(&again);
	if (command_decode(&a, p, n, &c) == E_OK) {
		command_encode(&b, &c);
		PRE(command_decode(&a, b.data, b.len, &c) == E_OK);
		command_encode(&again, &c);
		PRE(again.len == b.len);
	}
	buf_done(&b);
	buf_done(&again);
	arena_done(&a);
	return 0;
}
