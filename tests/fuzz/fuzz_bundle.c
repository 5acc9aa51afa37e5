/* bundle.json of a join bundle. */
#include "agent/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct arena a;
	struct bundle b;
	arena_init(&a);
	if (bundle_parse(&a, (const char *)bytes, len, &b, NULL) == E_OK)
		PRE(b.coordinators[0] != NULL && name_ok(b.host.s) && b.generation > 0);
	arena_done(&a);
	return 0;
}
