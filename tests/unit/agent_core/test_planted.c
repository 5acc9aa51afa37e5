/* Each planted fault must do what it says, else the simulator's test of itself proves nothing. */
#include "agent/core/planted.h"
#include "tests/unit/agent_core/fake.h"

static struct fake f;

static int serving(void **state)
{
	agent_core_planted = 0;
	fake_init(&f);
	fake_assign(&f, fake_assignment(1, 1, 0));
	return f.result.state == STEP_HEALTHY ? 0 : -1;
}

static int clean(void **state)
{
	agent_core_planted = 0;
	return 0;
}

static void a_lower_fence_is_obeyed(void **state)
{
	agent_core_planted = PLANTED_ACCEPT_LOWER_FENCE;
	struct agent_assignment as = fake_assignment(9, 2, 1);
	as.fence.epoch = 0;
	fake_assign(&f, as);
	assert_int_equal(f.result.state, STEP_HEALTHY);
	assert_int_equal(f.result.seq, 9);
}

static void old_evidence_counts(void **state)
{
	f.hold = AGENT_PROBE;
	fake_assign(&f, fake_assignment(2, 2, 1));
	agent_core_planted = PLANTED_EVIDENCE_FROM_OLD;
	f.activation--;
	fake_end_held(&f, E_OK);
	assert_int_equal(f.result.seq, 2);
	assert_int_equal(f.result.state, STEP_HEALTHY);
}

static void a_failed_target_stays(void **state)
{
	agent_core_planted = PLANTED_NO_REVERT;
	fake_fail(&f, AGENT_PROBE, 2, E_INVALID);
	fake_assign(&f, fake_assignment(2, 2, 1));
	struct digest two = fake_target(2).id;
	assert_true(digest_eq(&f.runs, &two));
}

static void effects_come_with_the_record_that_should_be_durable_first(void **state)
{
	struct agent_update out;
	struct agent_assignment as = fake_assignment(2, 2, 1);
	struct agent_event ev = {.kind = AGENT_DESIRED, .now = {f.now + 1}};
	ev.desired.v = &as;
	ev.desired.nr = 1;
	agent_core_planted = PLANTED_JOURNAL_AFTER_EFFECT;
	assert_int_equal(agent_step(&f.agent, &ev, &out), E_OK);
	assert_int_equal(out.journals_nr, 1);
	assert_int_equal(out.effects_nr, 1);
}

static void starts_never_run_out(void **state)
{
	agent_core_planted = PLANTED_ENDLESS_STARTS;
	f.hold = AGENT_PROBE;
	fake_assign(&f, fake_assignment(2, 2, 1));
	for (int i = 0; i < 10; i++)
		fake_status(&f, AGENT_NOT_RUNNING);
	assert_true(f.starts > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_lower_fence_is_obeyed, serving, clean),
		cmocka_unit_test_setup_teardown(old_evidence_counts, serving, clean),
		cmocka_unit_test_setup_teardown(a_failed_target_stays, serving, clean),
		cmocka_unit_test_setup_teardown(effects_come_with_the_record_that_should_be_durable_first,
						serving, clean),
		cmocka_unit_test_setup_teardown(starts_never_run_out, serving, clean),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
