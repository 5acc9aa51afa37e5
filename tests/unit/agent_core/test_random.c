/* Random assignments, failures, crashes and reboots from fixed seeds. What fails of other targets than the
 * last may go on failing: the last assignment must be served. */
#include "base/rng.h"
#include "tests/unit/agent_core/fake.h"

static struct fake f;
static struct rng rng;
static uint64_t seq;

static uint64_t pick(uint64_t n)
{
	return rng_below(&rng, n);
}

static bool held_is_live(void)
{
	const struct agent_app *a = agent_find(&f.agent, &(struct name){"shop"});
	return a != NULL && f.held.id != 0 && a->effect.id == f.held.id;
}

static void assign(uint8_t target, uint8_t fallback)
{
	struct agent_assignment as = fake_assignment(++seq, target, fallback);
	as.back = pick(4) == 0;
	fake_assign(&f, as);
}

static void change_faults(void)
{
	static const int codes[] = {E_OK, E_OK, E_CORRUPT, E_UNAVAILABLE, E_INVALID};
	fake_fail(&f, (enum agent_effect_kind)(1 + pick(AGENT_EFFECT_NR - 1)), (uint8_t)pick(4),
		  codes[pick(ARRAY_LEN(codes))]);
	f.hold = pick(3) == 0 ? (enum agent_effect_kind)(1 + pick(AGENT_EFFECT_NR - 1))
			      : (enum agent_effect_kind)0;
}

static void one_thing(void)
{
	switch (pick(8)) {
	case 0:
		assign((uint8_t)pick(4), (uint8_t)pick(4));
		break;
	case 1:
		change_faults();
		break;
	case 2:
		if (held_is_live())
			fake_end_held(&f, pick(2) ? E_OK : E_CORRUPT);
		break;
	case 3:
		if (f.out.next_at.v > f.now)
			fake_timer(&f);
		break;
	case 4:
		fake_status(&f, (enum agent_status)(1 + pick(4)));
		break;
	case 5:
		fake_boot(&f);
		break;
	case 6:
		f.crash_after = (int)pick(6);
		break;
	default:
		if (pick(4) == 0)
			fake_reboot(&f);
		break;
	}
}

/* All but what fails of other targets than nine; of their hooks and their stop, nine depends. */
static void heal(bool all)
{
	bool needed = f.fail_kind == AGENT_HOOK || f.fail_kind == AGENT_DRAIN || f.fail_kind == AGENT_STOP;
	if (all || needed)
		f.fail_code = E_OK;
	f.hold = (enum agent_effect_kind)0;
	f.crash_after = -1;
	if (held_is_live())
		fake_end_held(&f, E_OK);
	assign(9, 0);
	for (int i = 0; i < 20 && f.out.next_at.v > f.now; i++)
		fake_timer(&f);
}

static void the_last_assignment_is_served(bool healed)
{
	struct digest nine = fake_target(9).id;
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		rng_seed(&rng, seed);
		seq = 0;
		fake_init(&f);
		assign(1, 0);
		for (int i = 0; i < 60; i++)
			one_thing();
		heal(healed);
		if (f.result.seq != seq || !digest_eq(&f.runs, &nine) || !f.in_rotation)
			fail_msg("seed %u: state %s", (unsigned)seed,
				 sm_name(&agent_sm, (int)fake_record(&f)->state));
	}
}

static void after_healing_the_last_assignment_is_served(void **state)
{
	the_last_assignment_is_served(true);
}

static void what_fails_of_others_does_not_hold_up_the_last_assignment(void **state)
{
	the_last_assignment_is_served(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_healing_the_last_assignment_is_served),
		cmocka_unit_test(what_fails_of_others_does_not_hold_up_the_last_assignment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
