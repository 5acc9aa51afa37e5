#include "proto/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct arena a;
	struct buf b;
	arena_init(&a);
	buf_init(&b);
	const envelope *e = envelope_decode(&a, p, n);
	if (e != NULL)
		envelope_encode(&b, e);
	buf_done(&b);
	arena_done(&a);
	return 0;
}
