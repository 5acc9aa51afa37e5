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

/* Found by seed 54220: a host that was off until its deadline had passed was heard again, at its probes. */
static void late_is_never_the_versions_fault(void **state)
{
	static const enum task_state steps[] = {0, TASK_STAGED, TASK_SWAPPED, TASK_PROBING};
	h.heard_at.v = ASSIGNED + TASK - 1;
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		h.step = steps[i];
		assert_int_equal(look(1, ASSIGNED + TASK)->cause, CAUSE_INFRA);
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

/* The host stood still for so long, for the store, the network or a balancer. */
static void stood_still(int64_t ms, bool lasts, int64_t until)
{
	h.fault = (struct fault_view){.ms = ms, .lasts = lasts, .until = {until}};
}

static void the_time_without_store_network_or_balancer_is_given_back(void **state)
{
	stood_still(60000, false, ASSIGNED + 90000);
	assert_null(look(1, ASSIGNED + TASK + 60000 - 1));
	assert_non_null(look(1, ASSIGNED + TASK + 60000));
	stood_still(200000, false, ASSIGNED + 210000);
	assert_null(look(1, ASSIGNED + TASK + CAP - 1));
	assert_non_null(look(1, ASSIGNED + TASK + CAP));
}

static void while_that_lasts_the_deadline_is_the_latest_it_can_become(void **state)
{
	stood_still(1000, true, ASSIGNED + 5000);
	assert_null(look(1, ASSIGNED + 5000));
	assert_int_equal(out.reasons[1].until.v, ASSIGNED + TASK + CAP);
	assert_non_null(strstr(out.reasons[1].text, "its clock stands, for 120 s at most"));
	assert_null(look(1, ASSIGNED + TASK + CAP - 1));
	assert_non_null(look(1, ASSIGNED + TASK + CAP));
}

static void a_fault_of_the_work_before_gives_nothing_back(void **state)
{
	stood_still(60000, true, ASSIGNED + 5000);
	h.seq = 7;
	assert_non_null(look(1, ASSIGNED + TASK));
}

/* What is over when the clock begins was not taken from it. */
static void only_what_was_after_its_beginning_counts(void **state)
{
	stood_still(60000, false, ASSIGNED - 1);
	assert_non_null(look(1, ASSIGNED + TASK));
	stood_still(60000, false, ASSIGNED + 10000);
	assert_null(look(1, ASSIGNED + TASK + 10000 - 1));
	assert_non_null(look(1, ASSIGNED + TASK + 10000));
}

static void a_silent_host_is_late_only_when_the_network_may_not_be_why(void **state)
{
	h.avail = AVAIL_UNKNOWN;
	h.silent_ms = 80000;
	assert_null(look(1, ASSIGNED + TASK));
	assert_int_equal(look(1, ASSIGNED + TASK + CAP)->state, TASK_FAILED);
	h.silent_ms = 120000;
	assert_int_equal(look(1, ASSIGNED + TASK)->state, TASK_LOST);
}

/* The progress deadline of the wave, with the host in this state. */
static bool held(enum task_state state, int64_t now)
{
	const struct deployment d = {.id = {1},
				     .waves_nr = 1,
				     .state = ROLLOUT_RUNNING,
				     .reason = "",
				     .limits = {.batch = {.v = 1},
						.unavailable = {.v = 1},
						.budget = {.v = 1},
						.infra_cap_ms = CAP,
						.progress_ms = TASK}};
	const struct wave w = {
		.state = WAVE_ROLLING, .reason = "", .region = {"eu"}, .state_since = {ASSIGNED}};
	const struct task t[] = {{.deployment = {1}, .host = {"eu-1"}, .state = state, .reason = ""},
				 {.deployment = {1}, .host = {"eu-2"}, .state = TASK_QUEUED, .reason = ""}};
	const struct host_view hosts[] = {h, {.region = {"eu"}, .avail = AVAIL_DOWN}};
	const struct view v = {.d = &d,
			       .waves = &w,
			       .tasks = t,
			       .tasks_nr = 2,
			       .hosts = hosts,
			       .leading_since = {1},
			       .grace_ms = GRACE,
			       .lost_ms = 120000};
	plan_step(&v, &(struct plan_event){.now = {now}}, &a, &out);
	return out.commands_nr > 0 && out.commands[0].kind == COMMAND_ROLLOUT_MOVE &&
	       out.commands[0].rollout_move.to == ROLLOUT_HELD;
}

static void the_clock_of_the_rollout_stands_with_the_host_it_waits_for(void **state)
{
	assert_true(held(TASK_ASSIGNED, ASSIGNED + TASK));
	stood_still(50000, false, ASSIGNED + 100000);
	assert_false(held(TASK_ASSIGNED, ASSIGNED + TASK + 50000 - 1));
	assert_true(held(TASK_ASSIGNED, ASSIGNED + TASK + 50000));
	stood_still(50000, true, ASSIGNED + 100000);
	assert_false(held(TASK_ASSIGNED, ASSIGNED + TASK + CAP - 1));
	assert_true(held(TASK_ASSIGNED, ASSIGNED + TASK + CAP));
}

/* What it cost the others while it was tried is not forgotten with it. A host that waits costs nothing. */
static void one_that_failed_in_the_end_has_stopped_it_all_the_same(void **state)
{
	stood_still(50000, false, ASSIGNED + 100000);
	assert_false(held(TASK_FAILED, ASSIGNED + TASK + 50000 - 1));
	assert_true(held(TASK_FAILED, ASSIGNED + TASK + 50000));
	assert_true(held(TASK_QUEUED, ASSIGNED + TASK));
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
		CASE(late_is_never_the_versions_fault),
		CASE(the_time_without_a_coordinator_is_given_back),
		CASE(not_more_than_the_cap_is_given_back),
		CASE(the_time_without_store_network_or_balancer_is_given_back),
		CASE(while_that_lasts_the_deadline_is_the_latest_it_can_become),
		CASE(a_fault_of_the_work_before_gives_nothing_back),
		CASE(only_what_was_after_its_beginning_counts),
		CASE(a_silent_host_is_late_only_when_the_network_may_not_be_why),
		CASE(the_clock_of_the_rollout_stands_with_the_host_it_waits_for),
		CASE(one_that_failed_in_the_end_has_stopped_it_all_the_same),
		CASE(nobody_fails_before_it_could_be_heard),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
