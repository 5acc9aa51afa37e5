/* The rendered deployment file as an agent reads it, on to the records of wavetrain-exec: what is accepted is
 * a record exec takes. */
#include "agent/host/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const struct runspec_pair label = {"rack", "r7"};
	static const struct runspec_facts facts = {
		.host = "web-1", .region = "eu", .version = "1.2", .labels = &label, .labels_nr = 1};
	static const struct agent_target target = {.id = {{1}}, .artifact = {{2}}, .version = {"1.2"}};
	struct arena a;
	struct runspec s;
	struct exec_record r;
	arena_init(&a);
	if (runspec_parse(&a, (const char *)bytes, len, &facts, &s, NULL) == E_OK) {
		const struct records_for f = {.root = "/srv",
					      .app = {"shop"},
					      .host = {"web-1"},
					      .region = {"eu"},
					      .fence = {1, 1, 1},
					      .target = &target,
					      .spec = &s};
		PRE(s.command.nr > 0 && s.command.v[0] != NULL);
		if (records_start(&f, 1, &r, NULL) == E_OK)
			(void)!record_check(&r, sizeof(r), NULL);
	}
	arena_done(&a);
	return 0;
}
