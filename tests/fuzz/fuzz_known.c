/* coordinators.json of an agent's folder. What is taken can be written, and is the same when it is read
 * again. */
#include "agent/known.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const struct bundle b = {.cluster_hi = 0x11, .cluster_lo = 0x22, .coordinators = {"c1:1"}};
	struct known k, again;
	struct arena a;
	arena_init(&a);
	if (known_parse(&a, &b, (const char *)bytes, len, &k, NULL) == E_OK) {
		const char *text = known_text(&a, &b, &k);
		PRE(k.nr <= KNOWN_MAX && k.urls_nr <= KNOWN_MAX);
		PRE(known_parse(&a, &b, text, strlen(text), &again, NULL) == E_OK);
		PRE(known_same(&k, &again) && known_dial(&a, &k, &b)[0] != NULL);
	}
	arena_done(&a);
	return 0;
}
