/* A Desired message from a coordinator, through decoding into a fresh step machine. */
#include <stdlib.h>

#include "agent/wire.h"

static void feed(const struct wire_desired *d)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	struct agent_update *out = calloc(1, sizeof(*out));
	PRE(agent != NULL && out != NULL);
	agent_init(agent);
	struct agent_event ev = {.kind = AGENT_BOOT, .now = {1}};
	PRE(agent_step(agent, &ev, out) == E_OK);
	ev = (struct agent_event){.kind = AGENT_DESIRED, .now = {2}};
	ev.desired.v = d->assignments;
	ev.desired.nr = d->nr;
	ev.desired.up_to_seq = d->up_to_seq;
	ev.desired.snapshot = d->snapshot;
	int rc = agent_step(agent, &ev, out);
	PRE(rc == E_OK || rc == E_TOO_LARGE);
	PRE(out->effects_nr == 0);
	free(out);
	free(agent);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	Wavetrain__Agent__Desired *m = wavetrain__agent__desired__unpack(NULL, len, bytes);
	if (m == NULL)
		return 0;
	struct arena a;
	struct wire_desired d;
	arena_init(&a);
	if (wire_desired_decode(&a, m, &d, NULL) == E_OK)
		feed(&d);
	arena_done(&a);
	wavetrain__agent__desired__free_unpacked(m, NULL);
	return 0;
}
