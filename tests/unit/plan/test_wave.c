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
		CASE(what_was_said_before_the_result_says_nothing_about_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
