/* Rows of the state: the first byte chooses the noun. */
#include "base/buf.h"
#include "base/err.h"
#include "coordinator/state/codec.h"

#define TRY(noun)                                                                                            \
	do {                                                                                                 \
		struct noun v;                                                                               \
		if (noun##_decode(&a, p + 1, n - 1, &v) == E_OK)                                             \
			noun##_encode(&b, &v);                                                               \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct arena a;
	struct buf b;
	if (n == 0)
		return 0;
	arena_init(&a);
	buf_init(&b);
	switch (p[0] % 12) {
#define CASE(i, noun)                                                                                        \
	case i:                                                                                              \
		TRY(noun);                                                                                   \
		break;
		CASE(0, app)
		CASE(1, environment)
		CASE(2, host)
		CASE(3, release)
		CASE(4, bad_mark)
		CASE(5, deployment)
		CASE(6, wave)
		CASE(7, task)
		CASE(8, placement)
		CASE(9, audit_entry)
		CASE(10, node)
		CASE(11, join_token)
	}
	buf_done(&b);
	arena_done(&a);
	return 0;
}
