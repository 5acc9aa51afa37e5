#include "tests/lib/test.h"
#include "coordinator/plan/plan.h"

#include <stdio.h>

enum { MOST = 16, LOOK_AT = 1000000 };

/* Regions that roll; hosts h1, h2 ... in plan order. Most stories have one. */
struct region {
	struct arena a;
	struct deployment d;
	struct wave waves[2];
	struct task tasks[MOST];
	struct host_view hosts[MOST];
	size_t nr;
	int64_t leading_since;
	struct plan_update out;
};

static struct region r;

static int setup(void **state)
{
	r = (struct region){
		.d = {.id = {1},
		      .waves_nr = 1,
		      .state = ROLLOUT_RUNNING,
		      .limits = {.batch = {.v = 2}, .unavailable = {.is_share = true, .v = 1000}}},
		.waves = {{.state = WAVE_ROLLING, .reason = ""},
			  {.index = 1, .state = WAVE_ROLLING, .reason = ""}}};
	r.leading_since = 1;
	arena_init(&r.a);
	assert_true(name_set(&r.waves[0].region, "eu") && name_set(&r.waves[1].region, "us"));
	return 0;
}

static int teardown(void **state)
{
	arena_done(&r.a);
	return 0;
}

static struct task *add(const char *zone, enum availability avail, enum task_state state)
{
	struct task *t = &r.tasks[r.nr];
	struct host_view *h = &r.hosts[r.nr];
	*t = (struct task){.deployment = {1},
			   .wave = r.d.waves_nr - 1,
			   .position = (uint32_t)r.nr,
			   .state = state,
			   .direction = DIRECTION_FORWARD,
			   .touched = state != TASK_QUEUED,
			   .reason = ""};
	snprintf(t->host.s, sizeof t->host.s, "h%zu", ++r.nr);
	*h = (struct host_view){.avail = avail};
	h->region = r.waves[t->wave].region;
	if (zone != NULL)
		assert_true(name_set(&h->zone, zone));
	return t;
}

static const struct command *assigned(void)
{
	for (size_t i = 0; i < r.out.commands_nr; i++)
		if (r.out.commands[i].kind == COMMAND_ASSIGN)
			return &r.out.commands[i];
	return NULL;
}

/* "h1 h3": what one look hands out, in all waves; "" is nothing. */
static const char *look(void)
{
	const struct view v = {.d = &r.d,
			       .waves = r.waves,
			       .tasks = r.tasks,
			       .tasks_nr = r.nr,
			       .hosts = r.hosts,
			       .leading_since = {r.leading_since},
			       .grace_ms = 90000,
			       .lost_ms = 120000};
	plan_step(&v, &(struct plan_event){.now = {LOOK_AT}}, &r.a, &r.out);
	const char *text = "";
	for (size_t k = 0; k < r.out.commands_nr; k++) {
		const struct command *c = &r.out.commands[k];
		for (size_t i = 0; c->kind == COMMAND_ASSIGN && i < c->assign.hosts_nr; i++)
			text = arena_printf(&r.a, "%s%s%s", text, *text == '\0' ? "" : " ",
					    c->assign.hosts[i].s);
	}
	return text;
}

static void a_batch_is_spread_over_the_zones(void **state)
{
	for (int i = 0; i < 6; i++)
		add(i < 2 ? "a" : i < 4 ? "b" : "c", AVAIL_UP, TASK_QUEUED);
	r.d.limits.batch.v = 4;
	assert_string_equal(look(), "h1 h3 h5 h2");
}

static void the_zone_with_a_host_in_hand_waits(void **state)
{
	add("a", AVAIL_UP, TASK_HEALTHY);
	add("a", AVAIL_UP, TASK_QUEUED);
	add("b", AVAIL_UP, TASK_ASSIGNED);
	add("b", AVAIL_UP, TASK_QUEUED);
	assert_string_equal(look(), "h2");
}

static void one_at_a_time_goes_round_the_zones(void **state)
{
	static const char *const order[] = {"h1", "h3", "h4", "h2", "h5", "h6"};
	static const char *const zones[] = {"a", "a", "b", "c", "c", "c"};
	r.d.limits.batch.v = 1;
	for (int i = 0; i < 6; i++)
		add(zones[i], AVAIL_UP, TASK_QUEUED);
	for (int i = 0; i < 6; i++) {
		assert_string_equal(look(), order[i]);
		struct task *t = &r.tasks[order[i][1] - '1'];
		t->state = TASK_HEALTHY;
		t->touched = true;
	}
}

static void down_goes_before_unknown_and_unknown_before_up_whatever_the_zone(void **state)
{
	add("a", AVAIL_UP, TASK_QUEUED);
	add("b", AVAIL_UNKNOWN, TASK_QUEUED);
	add("b", AVAIL_DOWN, TASK_QUEUED);
	add("b", AVAIL_DOWN, TASK_QUEUED);
	r.d.limits.batch.v = 4;
	assert_string_equal(look(), "h3 h4 h2 h1");
}

/* What was taken of one class counts for the next one. */
static void the_classes_share_one_count(void **state)
{
	add("a", AVAIL_DOWN, TASK_QUEUED);
	add("a", AVAIL_UP, TASK_QUEUED);
	add("b", AVAIL_UP, TASK_QUEUED);
	assert_string_equal(look(), "h1 h3");
}

static void hosts_without_a_zone_go_in_plan_order(void **state)
{
	for (int i = 0; i < 4; i++)
		add(NULL, AVAIL_UP, TASK_QUEUED);
	r.d.limits.batch.v = 3;
	assert_string_equal(look(), "h1 h2 h3");
}

static void a_zone_at_its_floor_is_passed_over(void **state)
{
	for (int i = 0; i < 4; i++)
		add(i < 2 ? "a" : "b", i == 1 ? AVAIL_DOWN : AVAIL_UP, i == 1 ? TASK_FAILED : TASK_QUEUED);
	r.d.limits.floor = 500;
	r.d.limits.budget.v = 1;
	assert_string_equal(look(), "h3");
}

/* It may be serving all the time: taken for free it would break the floor. */
static void who_has_come_anew_is_not_taken_before_it_has_said_what_runs(void **state)
{
	add(NULL, AVAIL_UNKNOWN, TASK_QUEUED);
	add(NULL, AVAIL_UP, TASK_QUEUED);
	r.hosts[0].unsaid = true;
	assert_string_equal(look(), "h2");
	r.hosts[0].unsaid = false;
	assert_string_equal(look(), "h1 h2");
}

/* ---- what all of the rollout may spend ---- */

/* The coordinator could not reach them, and they serve on. */
static void silent_hosts_are_taken_no_more_at_once_than_serving_ones(void **state)
{
	for (int i = 0; i < 10; i++)
		add(NULL, AVAIL_UNKNOWN, TASK_QUEUED);
	r.d.limits.batch.v = 10;
	r.d.limits.unavailable = (struct amount){.v = 1};
	assert_string_equal(look(), "h1");
	r.d.limits.unavailable = (struct amount){.is_share = true, .v = 1000};
	r.d.limits.floor = 800;
	assert_string_equal(look(), "h1 h2");
}

static const char *said_of_wave(const char *part)
{
	for (size_t i = 0; i < r.out.reasons_nr; i++)
		if (strstr(r.out.reasons[i].text, part) != NULL)
			return r.out.reasons[i].text;
	return "";
}

static void why_a_silent_host_waits_is_told(void **state)
{
	add(NULL, AVAIL_UNKNOWN, TASK_ASSIGNED);
	add(NULL, AVAIL_UNKNOWN, TASK_QUEUED);
	r.d.limits.unavailable = (struct amount){.v = 1};
	assert_string_equal(look(), "");
	assert_string_equal(said_of_wave("silent"),
			    "host h2: silent, so it may be serving: 1 hosts are out, maxUnavailable is 1");
}

static void hosts_that_say_they_are_down_stay_free(void **state)
{
	for (int i = 0; i < 3; i++)
		add(NULL, AVAIL_DOWN, TASK_QUEUED);
	r.d.limits.batch.v = 10;
	r.d.limits.unavailable = (struct amount){.v = 1};
	r.d.limits.floor = 900;
	assert_string_equal(look(), "h1 h2 h3");
}

/* It was lost, and is up again with the order that it was given then. */
static void a_lost_host_that_is_back_is_in_hand(void **state)
{
	add(NULL, AVAIL_UP, TASK_LOST);
	add(NULL, AVAIL_UP, TASK_QUEUED);
	r.d.limits.budget.v = 1;
	r.d.limits.batch.v = 2;
	r.d.limits.unavailable = (struct amount){.v = 1};
	r.hosts[0].holds_order = true;
	assert_string_equal(look(), "");
	r.hosts[0].holds_order = false;
	assert_string_equal(look(), "h2");
}

static void it_takes_a_place_of_the_batch_too(void **state)
{
	add(NULL, AVAIL_UP, TASK_FAILED); /* by its deadline; the agent works on */
	add(NULL, AVAIL_UP, TASK_QUEUED);
	r.d.limits.budget.v = 1;
	r.d.limits.batch.v = 1;
	r.hosts[0].holds_order = true;
	assert_string_equal(look(), "");
	r.hosts[0].avail = AVAIL_UNKNOWN; /* dead: it does not hold up the others for ever */
	assert_string_equal(look(), "h2");
}

/* The older rollout was superseded while the host fetched: to tell it the new version takes nobody else out.
 */
static void what_an_older_rollout_has_in_hand_goes_first(void **state)
{
	add(NULL, AVAIL_UP, TASK_QUEUED);
	add(NULL, AVAIL_UP, TASK_QUEUED);
	r.d.limits.batch.v = 2;
	r.d.limits.unavailable = (struct amount){.v = 1};
	r.hosts[1].holds_order = true;
	assert_string_equal(look(), "h2");
}

static void waves_that_roll_side_by_side_share_one_allowance(void **state)
{
	for (int i = 0; i < 10; i++) {
		r.d.waves_nr = i < 5 ? 1 : 2;
		add(NULL, AVAIL_UP, TASK_QUEUED);
	}
	r.d.limits.unavailable = (struct amount){.v = 1};
	assert_string_equal(look(), "h1");
	r.d.limits.unavailable = (struct amount){.is_share = true, .v = 1000};
	r.d.limits.floor = 700; /* of 10: three may be out; of 5: one */
	assert_string_equal(look(), "h1 h6");
	r.d.limits.floor = 0;
	assert_string_equal(look(), "h1 h2 h6 h7");
}

static void a_newcomer_of_a_passed_wave_shares_it_too(void **state)
{
	r.waves[0].state = WAVE_PASSED;
	add(NULL, AVAIL_UP, TASK_QUEUED);
	r.d.waves_nr = 2;
	add(NULL, AVAIL_UP, TASK_QUEUED);
	r.d.limits.unavailable = (struct amount){.v = 1};
	assert_string_equal(look(), "h1");
}

/* ---- recreate ---- */

static void recreate(void)
{
	r.d.limits.recreate = true;
	r.d.limits.auto_rollback = true;
}

static void all_of_a_wave_are_told_to_stop(void **state)
{
	recreate();
	for (int i = 0; i < 3; i++)
		add(NULL, AVAIL_UP, TASK_QUEUED);
	assert_string_equal(look(), "h1 h2 h3");
	assert_true(assigned()->assign.stop);
}

static void nobody_is_stopped_before_all_can_be_told(void **state)
{
	recreate();
	r.leading_since = LOOK_AT - 1000;
	add(NULL, AVAIL_UP, TASK_QUEUED);
	add(NULL, AVAIL_UNKNOWN, TASK_QUEUED);
	assert_string_equal(look(), "");
	assert_non_null(strstr(r.out.reasons[1].text, "host h2: not heard of yet"));
	r.leading_since = 1;
	assert_string_equal(look(), "h1 h2");
}

static void the_stopped_wait_for_the_last_one_and_explain_names_it(void **state)
{
	recreate();
	add(NULL, AVAIL_DOWN, TASK_STOPPED);
	add(NULL, AVAIL_UP, TASK_ASSIGNED)->stop = true;
	assert_string_equal(look(), "");
	bool named = false;
	for (size_t i = 0; i < r.out.reasons_nr; i++)
		named |= strstr(r.out.reasons[i].text, "none starts before host h2 has, too") != NULL;
	assert_true(named);
}

static void they_start_together_with_those_that_were_lost_on_the_way(void **state)
{
	recreate();
	r.d.limits.budget.v = 1;
	add(NULL, AVAIL_DOWN, TASK_STOPPED);
	add(NULL, AVAIL_UNKNOWN, TASK_LOST)->stop = true;
	assert_string_equal(look(), "h1 h2");
	assert_false(assigned()->assign.stop);
}

static const struct command *moved_wave(void)
{
	for (size_t i = 0; i < r.out.commands_nr; i++)
		if (r.out.commands[i].kind == COMMAND_WAVE_MOVE)
			return &r.out.commands[i];
	return NULL;
}

static void one_that_does_not_stop_fails_the_wave_whatever_the_budget(void **state)
{
	recreate();
	r.d.limits.budget.v = 5;
	add(NULL, AVAIL_DOWN, TASK_STOPPED);
	add(NULL, AVAIL_UP, TASK_FAILED)->stop = true;
	assert_string_equal(look(), "");
	assert_int_equal(moved_wave()->wave_move.to, WAVE_FAILED);
}

static void a_wave_that_stands_still_goes_back_unblamed(void **state)
{
	recreate();
	r.waves[0].state = WAVE_FAILED;
	add(NULL, AVAIL_DOWN, TASK_STOPPED);
	add(NULL, AVAIL_UNKNOWN, TASK_LOST)->stop = true;
	look();
	assert_int_equal(r.out.commands[0].kind, COMMAND_ROLLOUT_MOVE);
	assert_int_equal(r.out.commands[0].rollout_move.to, ROLLOUT_ROLLING_BACK);
	assert_false(r.out.commands[0].rollout_move.blames_target);
}

static void going_back_stops_a_wave_that_was_opened_first(void **state)
{
	recreate();
	r.d.state = ROLLOUT_ROLLING_BACK;
	r.d.back = true;
	r.waves[0].opened = DIRECTION_FORWARD;
	add(NULL, AVAIL_UP, TASK_HEALTHY);
	add(NULL, AVAIL_UP, TASK_FAILED);
	assert_string_equal(look(), "h1 h2");
	assert_true(assigned()->assign.stop);
	assert_int_equal(assigned()->assign.direction, DIRECTION_BACK);
	for (int i = 0; i < 2; i++) {
		r.tasks[i].state = i == 0 ? TASK_STOPPED : TASK_REVERTING;
		r.tasks[i].direction = DIRECTION_BACK;
		r.tasks[i].stop = true;
	}
	assert_string_equal(look(), "");
	r.tasks[1].state = TASK_STOPPED;
	assert_string_equal(look(), "h1 h2");
	assert_false(assigned()->assign.stop);
}

static void going_back_from_a_wave_that_was_not_opened_starts_at_once(void **state)
{
	recreate();
	r.d.state = ROLLOUT_ROLLING_BACK;
	r.d.back = true;
	add(NULL, AVAIL_DOWN, TASK_STOPPED);
	add(NULL, AVAIL_UP, TASK_ASSIGNED)->stop = true;
	add(NULL, AVAIL_UP, TASK_QUEUED); /* never touched */
	assert_string_equal(look(), "h1 h2");
	assert_false(assigned()->assign.stop);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_batch_is_spread_over_the_zones),
		CASE(the_zone_with_a_host_in_hand_waits),
		CASE(one_at_a_time_goes_round_the_zones),
		CASE(down_goes_before_unknown_and_unknown_before_up_whatever_the_zone),
		CASE(the_classes_share_one_count),
		CASE(hosts_without_a_zone_go_in_plan_order),
		CASE(a_zone_at_its_floor_is_passed_over),
		CASE(who_has_come_anew_is_not_taken_before_it_has_said_what_runs),
		CASE(silent_hosts_are_taken_no_more_at_once_than_serving_ones),
		CASE(why_a_silent_host_waits_is_told),
		CASE(hosts_that_say_they_are_down_stay_free),
		CASE(a_lost_host_that_is_back_is_in_hand),
		CASE(it_takes_a_place_of_the_batch_too),
		CASE(what_an_older_rollout_has_in_hand_goes_first),
		CASE(waves_that_roll_side_by_side_share_one_allowance),
		CASE(a_newcomer_of_a_passed_wave_shares_it_too),
		CASE(all_of_a_wave_are_told_to_stop),
		CASE(nobody_is_stopped_before_all_can_be_told),
		CASE(the_stopped_wait_for_the_last_one_and_explain_names_it),
		CASE(they_start_together_with_those_that_were_lost_on_the_way),
		CASE(one_that_does_not_stop_fails_the_wave_whatever_the_budget),
		CASE(a_wave_that_stands_still_goes_back_unblamed),
		CASE(going_back_stops_a_wave_that_was_opened_first),
		CASE(going_back_from_a_wave_that_was_not_opened_starts_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
