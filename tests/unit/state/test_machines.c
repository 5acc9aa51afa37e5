#include "tests/lib/test.h"
#include "base/err.h"
#include "coordinator/state/machines.h"

static void all_three_machines_are_well_formed(void **state)
{
	assert_true(sm_well_formed(&rollout_machine));
	assert_true(sm_well_formed(&wave_machine));
	assert_true(sm_well_formed(&task_machine));
}

static void a_move_that_is_no_edge_changes_nothing(void **state)
{
	struct deployment d = {.state = ROLLOUT_SUCCEEDED, .reason = "old"};
	assert_int_equal(rollout_move(&d, ROLLOUT_RUNNING, "new", (struct wall_ms){5}), E_CONFLICT);
	assert_int_equal(d.state, ROLLOUT_SUCCEEDED);
	assert_string_equal(d.reason, "old");
	assert_int_equal(d.state_since.v, 0);
}

static void a_terminal_move_sets_the_end(void **state)
{
	struct deployment d = {.state = ROLLOUT_RUNNING};
	assert_int_equal(rollout_move(&d, ROLLOUT_SUCCEEDED, "done", (struct wall_ms){5}), E_OK);
	assert_int_equal(d.ended_at.v, 5);
}

/* Every cell of verb x state says something, and what moves is an edge of the machine. */
static void every_verb_is_defined_in_every_state(void **state)
{
	for (int v = 1; v < VERB_NR; v++)
		for (int s = 1; s < ROLLOUT_STATE_NR; s++)
			for (int back = 0; back < 2; back++) {
				struct deployment d = {.state = (enum rollout_state)s, .back = back};
				struct verb_rule r = verb_rule((enum verb)v, &d);
				assert_in_range(r.effect, VERB_MOVES, VERB_REFUSED);
				if (r.effect != VERB_MOVES)
					assert_true(r.text != NULL && strlen(r.text) > 10);
				else if (r.to != 0)
					assert_true(sm_edge_allowed(&rollout_machine, s, (int)r.to));
			}
}

static void no_verb_leaves_a_terminal_state(void **state)
{
	for (int v = 1; v < VERB_NR; v++)
		for (int s = 1; s < ROLLOUT_STATE_NR; s++) {
			struct deployment d = {.state = (enum rollout_state)s};
			if (sm_terminal(&rollout_machine, s))
				assert_int_not_equal(verb_rule((enum verb)v, &d).effect, VERB_MOVES);
		}
}

static void a_pause_of_the_way_back_resumes_going_back(void **state)
{
	struct deployment d = {.state = ROLLOUT_PAUSED, .back = true};
	assert_int_equal(verb_rule(VERB_RESUME, &d).to, ROLLOUT_ROLLING_BACK);
	d.back = false;
	assert_int_equal(verb_rule(VERB_RESUME, &d).to, ROLLOUT_RUNNING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_three_machines_are_well_formed),
		cmocka_unit_test(a_move_that_is_no_edge_changes_nothing),
		cmocka_unit_test(a_terminal_move_sets_the_end),
		cmocka_unit_test(every_verb_is_defined_in_every_state),
		cmocka_unit_test(no_verb_leaves_a_terminal_state),
		cmocka_unit_test(a_pause_of_the_way_back_resumes_going_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
