#include "tests/lib/test.h"
#include "coordinator/plan/plan.h"

/* One host in hand; its coordinator was away for a while. */
enum { ASSIGNED = 1000000, TASK = 300000, CAP = 120000, GRACE = 90000 };

static struct arena a;
static struct plan_update out;
static struct host_view h;

static int setup(void **state)
{
	arena_init(&a);
	h = (struct host_view){.region = {"eu"}, .avail = AVAIL_DOWN, .step = TASK_STAGED};
	return 0;
}

static int teardown(void **state)
{
	arena_done(&a);
	return 0;
}

/* What the look says of the host; NULL: nothing. */
static const struct task_result *look(int64_t leading_since, int64_t now)
{
	const struct deployment d = {
		.id = {1},
		.waves_nr = 1,
		.state = ROLLOUT_RUNNING,
		.reason = "",
		.limits = {.batch = {.v = 1}, .unavailable = {.v = 1}, .infra_cap_ms = CAP}};
	const struct wave w = {.state = WAVE_ROLLING, .reason = "", .region = {"eu"}};
	const struct task t = {.deployment = {1},
			       .host = {"eu-1"},
			       .state = TASK_ASSIGNED,
			       .direction = DIRECTION_FORWARD,
			       .reason = "",
			       .assigned_at = {ASSIGNED},
			       .deadline = {ASSIGNED + TASK}};
	const struct view v = {.d = &d,
			       .waves = &w,
			       .tasks = &t,
			       .tasks_nr = 1,
			       .hosts = &h,
			       .leading_since = {leading_since},
			       .grace_ms = GRACE,
			       .lost_ms = 120000};
	plan_step(&v, &(struct plan_event){.now = {now}}, &a, &out);
	const struct command *c = &out.commands[0];
	return out.commands_nr == 1 && c->kind == COMMAND_TASK_RESULTS ? &c->results.v[0] : NULL;
}

static void a_late_host_fails_at_its_deadline(void **state)
{
	assert_null(look(1, ASSIGNED + TASK - 1));
	const struct task_result *r = look(1, ASSIGNED + TASK);
	assert_non_null(r);
	assert_int_equal(r->state, TASK_FAILED);
	assert_int_equal(r->cause, CAUSE_INFRA);
}

static void only_one_that_says_it_runs_the_new_until_the_end_is_late_by_the_versions_fault(void **state)
{
	const struct {
		enum task_state step;
		int64_t heard_at;
		enum cause cause;
	} cases[] = {
		{TASK_PROBING, ASSIGNED + TASK - 1000, CAUSE_VERSION},
		{TASK_SWAPPED, ASSIGNED + TASK - TASK / 10, CAUSE_VERSION},
		{TASK_PROBING, ASSIGNED + TASK - TASK / 10 - 1, CAUSE_INFRA}, /* it may be proven by now */
		{TASK_STAGED, ASSIGNED + TASK - 1000, CAUSE_INFRA},
		{0, ASSIGNED + TASK - 1000, CAUSE_INFRA},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		h.step = cases[i].step;
		h.heard_at.v = cases[i].heard_at;
		const struct task_result *r = look(1, ASSIGNED + TASK);
		assert_non_null(r);
		assert_int_equal(r->cause, cases[i].cause);
	}
}

static void the_time_without_a_coordinator_is_given_back(void **state)
{
	enum { AWAY = 60000 };
	assert_null(look(ASSIGNED + AWAY, ASSIGNED + TASK + AWAY - 1));
	assert_int_equal(out.reasons[1].until.v, ASSIGNED + TASK + AWAY);
	assert_non_null(look(ASSIGNED + AWAY, ASSIGNED + TASK + AWAY));
}

static void not_more_than_the_cap_is_given_back(void **state)
{
	enum { AWAY = 200000 };
	assert_null(look(ASSIGNED + AWAY, ASSIGNED + TASK + CAP - 1));
	assert_non_null(look(ASSIGNED + AWAY, ASSIGNED + TASK + CAP));
}

static void nobody_fails_before_it_could_be_heard(void **state)
{
	enum { AWAY = 10 * TASK };
	assert_null(look(ASSIGNED + AWAY, ASSIGNED + AWAY + GRACE - 1));
	assert_non_null(look(ASSIGNED + AWAY, ASSIGNED + AWAY + GRACE));
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_late_host_fails_at_its_deadline),
		CASE(only_one_that_says_it_runs_the_new_until_the_end_is_late_by_the_versions_fault),
		CASE(the_time_without_a_coordinator_is_given_back),
		CASE(not_more_than_the_cap_is_given_back),
		CASE(nobody_fails_before_it_could_be_heard),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
