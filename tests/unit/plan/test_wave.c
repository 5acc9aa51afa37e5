#include "tests/lib/test.h"
#include "coordinator/plan/plan.h"

#include <stdio.h>

enum { MOST = 4, LOOK_AT = 1000000, BAKES_SINCE = 900000, BAKE = 60000, BOOT = 7 };

/* One region that bakes; hosts h1, h2 ... proven healthy when it began to. */
struct region {
	struct arena a;
	struct deployment d;
	struct wave wave;
	struct task tasks[MOST];
	struct host_view hosts[MOST];
	size_t nr;
	struct wall_ms now;
	struct plan_update out;
};

static struct region r;

static int setup(void **state)
{
	r = (struct region){
		.d = {.id = {1}, .waves_nr = 1, .state = ROLLOUT_RUNNING, .reason = ""},
		.wave = {.state = WAVE_BAKING, .reason = "", .state_since = {BAKES_SINCE}, .bake_ms = BAKE},
		.now = {LOOK_AT}};
	r.d.limits = (struct limits){.batch = {.v = 1},
				     .unavailable = {.is_share = true, .v = 1000},
				     .progress_ms = 600000,
				     .auto_rollback = true};
	arena_init(&r.a);
	assert_true(name_set(&r.wave.region, "eu"));
	return 0;
}

static int teardown(void **state)
{
	arena_done(&r.a);
	return 0;
}

static struct host_view *add(enum availability avail)
{
	struct task *t = &r.tasks[r.nr];
	struct host_view *h = &r.hosts[r.nr];
	*t = (struct task){.deployment = {1},
			   .position = (uint32_t)r.nr,
			   .state = TASK_HEALTHY,
			   .direction = DIRECTION_FORWARD,
			   .touched = true,
			   .reason = "",
			   .state_since = {BAKES_SINCE},
			   .evidence = {.boot_lo = BOOT}};
	snprintf(t->host.s, sizeof t->host.s, "h%zu", ++r.nr);
	*h = (struct host_view){.avail = avail, .boot_lo = BOOT, .heard_at = {LOOK_AT - 1}};
	if (avail == AVAIL_UP)
		h->up_since.v = BAKES_SINCE;
	assert_true(name_set(&h->region, "eu"));
	return h;
}

static void look(void)
{
	const struct view v = {.d = &r.d,
			       .waves = &r.wave,
			       .tasks = r.tasks,
			       .tasks_nr = r.nr,
			       .hosts = r.hosts,
			       .leading_since = {1},
			       .grace_ms = 90000,
			       .lost_ms = 120000};
	plan_step(&v, &(struct plan_event){.now = r.now}, &r.a, &r.out);
}

/* What the one command of a look says of the first host; NULL: it says nothing of hosts. */
static const struct task_result *verdict(void)
{
	look();
	const struct command *c = &r.out.commands[0];
	return r.out.commands_nr == 1 && c->kind == COMMAND_TASK_RESULTS ? &c->results.v[0] : NULL;
}

static void only_one_that_was_well_in_this_boot_falls_ill_by_the_versions_fault(void **state)
{
	const struct {
		enum availability avail;
		bool unhealthy, was_well;
		uint64_t boot;
		bool ill;
	} cases[] = {
		{AVAIL_DOWN, true, false, BOOT, true},	    /* proven in this boot */
		{AVAIL_DOWN, true, true, BOOT + 1, true},   /* rebooted, was well again, fell ill */
		{AVAIL_DOWN, true, false, BOOT + 1, false}, /* rebooted: its program is not started yet */
		{AVAIL_DOWN, false, true, BOOT, false},	    /* starts, or is stopped */
		{AVAIL_DOWN, false, false, BOOT + 1, false}, {AVAIL_UNKNOWN, true, true, BOOT, false},
		{AVAIL_UP, false, true, BOOT, false},
	};
	struct host_view *h = add(AVAIL_UP);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		h->avail = cases[i].avail;
		h->unhealthy = cases[i].unhealthy;
		h->was_well = cases[i].was_well;
		h->boot_lo = cases[i].boot;
		const struct task_result *said = verdict();
		assert_int_equal(said != NULL, cases[i].ill);
		assert_true(said == NULL || (said->state == TASK_FAILED && said->cause == CAUSE_VERSION));
	}
}

/* The bake would be over at 960 s; ten minutes later the host that is not up is given up. */
enum { OVER = BAKES_SINCE + BAKE, PROGRESS = 600000 };

static const struct task_result *verdict_at(int64_t now)
{
	r.now.v = now;
	return verdict();
}

static void one_that_is_not_up_is_given_up_at_its_deadline_and_never_by_the_versions_fault(void **state)
{
	const struct {
		int64_t missing_since, silent_ms, given_up_at;
		enum task_state as;
	} cases[] = {
		{BAKES_SINCE, 0, OVER + PROGRESS, TASK_FAILED},	       /* it talks, and is not up */
		{BAKES_SINCE, 200000, OVER + PROGRESS, TASK_LOST},     /* nobody hears it */
		{OVER + 5000, 0, OVER + 5000 + PROGRESS, TASK_FAILED}, /* it fell after the bake was over */
	};
	struct host_view *h = add(AVAIL_DOWN);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		h->missing_since.v = cases[i].missing_since;
		h->silent_ms = cases[i].silent_ms;
		assert_null(verdict_at(cases[i].given_up_at - 1));
		assert_int_equal(r.out.commands_nr, 0);
		assert_int_equal(r.out.reasons[0].until.v, cases[i].given_up_at);
		assert_true(r.out.next_at.v <= cases[i].given_up_at);
		const struct task_result *said = verdict_at(cases[i].given_up_at);
		assert_non_null(said);
		assert_int_equal(said->state, cases[i].as);
		assert_int_equal(said->cause, CAUSE_INFRA);
	}
}

static void who_is_well_but_not_long_enough_is_waited_for_and_not_given_up(void **state)
{
	add(AVAIL_DOWN);
	assert_null(verdict_at(OVER + PROGRESS));
	assert_int_equal(r.out.commands_nr, 0);
	assert_non_null(strstr(r.out.reasons[0].text, "waits for host h1"));
}

static void a_person_who_lets_it_go_on_gives_the_missing_their_time_anew(void **state)
{
	add(AVAIL_DOWN)->missing_since.v = BAKES_SINCE;
	r.d.state_since.v = OVER + PROGRESS;
	assert_null(verdict_at(OVER + PROGRESS));
	assert_non_null(verdict_at(OVER + 2 * PROGRESS));
}

static void a_bake_that_begins_again_and_again_is_inconclusive(void **state)
{
	struct host_view *h = add(AVAIL_UP);
	int64_t most = OVER + BAKE + PROGRESS;
	h->up_since.v = most - 1;
	r.now.v = most - 1;
	look();
	assert_int_equal(r.out.commands_nr, 0);
	r.now.v = most;
	look();
	assert_int_equal(r.out.commands_nr, 1);
	assert_int_equal(r.out.commands[0].wave_move.to, WAVE_FAILED);
	assert_non_null(strstr(r.out.commands[0].reason, "inconclusive"));
	h->up_since.v = OVER; /* well for long enough: it passes however late */
	look();
	assert_int_equal(r.out.commands[0].wave_move.to, WAVE_PASSED);
}

static void what_was_said_before_the_result_says_nothing_about_it(void **state)
{
	struct host_view *h = add(AVAIL_DOWN);
	h->unhealthy = true;
	h->heard_at.v = BAKES_SINCE;
	assert_null(verdict());
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(only_one_that_was_well_in_this_boot_falls_ill_by_the_versions_fault),
		CASE(one_that_is_not_up_is_given_up_at_its_deadline_and_never_by_the_versions_fault),
		CASE(who_is_well_but_not_long_enough_is_waited_for_and_not_given_up),
		CASE(a_person_who_lets_it_go_on_gives_the_missing_their_time_anew),
		CASE(a_bake_that_begins_again_and_again_is_inconclusive),
		CASE(what_was_said_before_the_result_says_nothing_about_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
