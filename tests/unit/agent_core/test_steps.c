/* The only place outside tests/sim that sees both sides: their numbers must be the same on the wire. */
#include "coordinator/state/model.h"
#include "proto/steps.h"
#include "tests/lib/test.h"

static void steps_are_the_coordinators_task_states(void **state)
{
	static const int pairs[][2] = {
		{STEP_IDLE, TASK_QUEUED},	 {STEP_ASSIGNED, TASK_ASSIGNED},
		{STEP_ACKED, TASK_ACKED},	 {STEP_FETCHED, TASK_FETCHED},
		{STEP_STAGED, TASK_STAGED},	 {STEP_DRAINED, TASK_DRAINED},
		{STEP_SWAPPED, TASK_SWAPPED},	 {STEP_PROBING, TASK_PROBING},
		{STEP_HEALTHY, TASK_HEALTHY},	 {STEP_FAILED, TASK_FAILED},
		{STEP_LOST, TASK_LOST},		 {STEP_REVERTING, TASK_REVERTING},
		{STEP_REVERTED, TASK_REVERTED},	 {STEP_SKIPPED, TASK_SKIPPED},
		{STEP_STOPPED, TASK_STOPPED},	 {STEP_NR, TASK_STATE_NR},
		{STEP_CAUSE_NONE, CAUSE_NONE},	 {STEP_CAUSE_VERSION, CAUSE_VERSION},
		{STEP_CAUSE_INFRA, CAUSE_INFRA}, {STEP_CAUSE_OPERATOR, CAUSE_OPERATOR},
	};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		assert_int_equal(pairs[i][0], pairs[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(steps_are_the_coordinators_task_states)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
