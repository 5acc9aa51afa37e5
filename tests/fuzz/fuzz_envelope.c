/*
 * Every message between agents and coordinators (Hello, Welcome, Poll, Desired, Report, ReportAck, Hint,
 * Problem), as either side decodes it first. What was taken is taken again after it was written anew.
 */
#include <string.h>

#include "proto/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct arena a;
	struct buf once, twice;
	arena_init(&a);
	buf_init(&once);
	buf_init(&twice);
	const envelope *e = envelope_decode(&a, p, n);
	if (e != NULL) {
		envelope_encode(&once, e);
		const envelope *again = envelope_decode(&a, once.data, once.len);
		/* A number may take more bytes the second time (an enum below zero): only size may refuse it.
		 */
		PRE(again != NULL ? again->body_case == e->body_case : once.len > ENVELOPE_MAX_BYTES);
		if (again != NULL)
			envelope_encode(&twice, again);
		PRE(again == NULL || (twice.len == once.len && memcmp(twice.data, once.data, once.len) == 0));
	}
	buf_done(&once);
	buf_done(&twice);
	arena_done(&a);
	return 0;
}
