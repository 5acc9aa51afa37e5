/* fake.h: a host in memory around the step machine: disk, program, balancer; crashes on request. */
#ifndef TESTS_AGENT_CORE_FAKE_H
#define TESTS_AGENT_CORE_FAKE_H

#include "agent/core/agent.h"
#include "tests/lib/test.h"

struct fake {
	struct agent agent;
	struct agent_update out;
	struct agent_record disk;
	bool on_disk;
	struct agent_boot_id boot;
	int64_t now;
	/* the world */
	struct digest runs, current;
	uint64_t activation;
	bool in_rotation;
	/* the script */
	enum agent_effect_kind fail_kind;
	enum agent_hook fail_hook; /* of a HOOK; 0 = every */
	struct digest fail_target;
	int fail_code;
	int crash_after; /* journal writes until the agent dies; -1 = never */
	bool stop_at_effect;
	enum agent_effect_kind hold; /* effects of this kind do not end by themselves */
	struct agent_effect held;
	/* what was seen */
	unsigned journals, starts, fetches, stops, cancels;
	struct agent_report result, last_step;
	unsigned results, accepted;
};

void fake_init(struct fake *f);
void fake_boot(struct fake *f);	  /* a new agent from what is on disk */
void fake_reboot(struct fake *f); /* and the host as well: nothing runs */
struct agent_assignment fake_assignment(uint64_t seq, uint8_t target, uint8_t fallback);
struct agent_target fake_target(uint8_t n);
void fake_assign(struct fake *f, struct agent_assignment as);
void fake_status(struct fake *f, enum agent_status s);
void fake_end_held(struct fake *f, int code);
void fake_timer(struct fake *f);
const struct agent_record *fake_record(const struct fake *f);
void fake_fail(struct fake *f, enum agent_effect_kind kind, uint8_t target, int code);

#endif
