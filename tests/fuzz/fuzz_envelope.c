/*
 * Every message between agents and coordinators (Hello, Welcome, Poll, Desired, Report, ReportAck, Hint,
 * Problem), as either side decodes it first; what was taken is written anew. That it reads the same again is
 * not promised: protobuf-c keeps fields with the number 0, which it refuses to read back.
 */
#include "proto/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct arena a;
	struct buf b;
	arena_init(&a);
	buf_init(&b);
	const envelope *e = envelope_decode(&a, p, n);
	if (e != NULL) {
		envelope_encode(&b, e);
		PRE(e->version == ENVELOPE_VERSION && b.len > 0);
	}
	buf_done(&b);
	arena_done(&a);
	return 0;
}
