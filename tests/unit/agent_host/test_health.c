#include "agent/host/health.h"
#include "tests/lib/test.h"

static uv_loop_t loop;
static struct health *health;
static struct runspec spec;
static int changes, deaths, runs, asked;
static bool waits[2]; /* for an answer, by probe: ready, live */
static bool busy;     /* whoever should restart it is at work on it */

static void on_changed(void *arg)
{
	changes++;
}

static bool on_dead(void *arg)
{
	deaths++;
	return !busy;
}

static void on_run(void *arg, int probe, const struct runspec_probe *p)
{
	runs++;
	asked = probe;
	waits[probe] = true;
}

static const struct health_callbacks callbacks = {.changed = on_changed, .dead = on_dead, .run = on_run};

static int begin(void **state)
{
	changes = deaths = runs = 0;
	asked = -1;
	busy = waits[0] = waits[1] = false;
	spec = (struct runspec){0};
	return uv_loop_init(&loop);
}

static int end(void **state)
{
	health_close(health);
	health = NULL;
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static void open_health(int64_t since_ms)
{
	assert_int_equal(health_open(&health, &loop, NULL, &spec, since_ms, &callbacks, NULL), E_OK);
}

static void command_probe(struct runspec_probe *p)
{
	p->set = true;
	p->config = (struct probe_config){
		.kind = PROBE_COMMAND, .interval_ms = 1, .timeout_ms = 1000, .pass = 2, .fail = 2};
}

/* Runs the loop until the probe asks for its command once more, and answers. */
static void answer(bool passed)
{
	asked = -1;
	while (asked < 0)
		uv_run(&loop, UV_RUN_ONCE);
	health_command_answer(health, asked, passed, "it said no");
}

static void without_probes_a_living_process_is_healthy_and_that_counts_as_a_look(void **state)
{
	open_health(0);
	struct health_view v = health_look(health);
	assert_int_equal(v.state, HEALTH_HEALTHY);
	assert_int_equal(v.passes, 1);
	assert_true(v.measured_ms >= v.since_ms);
}

static void it_is_starting_until_it_passed_often_enough(void **state)
{
	command_probe(&spec.ready);
	open_health(0);
	answer(false);
	answer(false);
	answer(false);
	assert_int_equal(health_look(health).state, HEALTH_STARTING);
	assert_int_equal(changes, 0);
	answer(true);
	assert_int_equal(health_look(health).state, HEALTH_STARTING);
	answer(true);
	assert_int_equal(health_look(health).state, HEALTH_HEALTHY);
	assert_int_equal(changes, 1);
	assert_int_equal(health_look(health).passes, 2);
	assert_int_equal(health_look(health).failures, 3);
}

static void one_failure_is_not_yet_unhealthy_and_does_not_begin_its_time_anew(void **state)
{
	command_probe(&spec.ready);
	open_health(0);
	answer(true);
	answer(true);
	int64_t since = health_look(health).since_ms;
	answer(false);
	answer(true);
	answer(true);
	assert_int_equal(health_look(health).state, HEALTH_HEALTHY);
	assert_int_equal(health_look(health).since_ms, since);
	answer(false);
	answer(false);
	assert_int_equal(health_look(health).state, HEALTH_UNHEALTHY);
	assert_string_equal(health_look(health).why, "it said no");
}

static void what_was_proven_before_stays_until_a_probe_says_otherwise(void **state)
{
	command_probe(&spec.ready);
	open_health(17);
	assert_int_equal(health_look(health).state, HEALTH_HEALTHY);
	assert_int_equal(health_look(health).since_ms, 17);
	answer(true);
	answer(true);
	assert_int_equal(health_look(health).since_ms, 17);
	answer(false);
	answer(false);
	assert_int_equal(health_look(health).state, HEALTH_UNHEALTHY);
}

static void the_live_probe_kills_once_and_only_what_lived(void **state)
{
	command_probe(&spec.live);
	open_health(0);
	answer(false);
	answer(false);
	answer(false);
	assert_int_equal(deaths, 0);
	answer(true);
	answer(true);
	assert_int_equal(health_look(health).state, HEALTH_HEALTHY);
	answer(false);
	answer(false);
	answer(false);
	assert_int_equal(deaths, 1);
	assert_int_equal(health_look(health).state, HEALTH_UNHEALTHY);
}

/* Answers both probes as they ask, until each did as often. */
static void answer_both(int times, bool ready, bool live)
{
	for (int done[2] = {0}; done[0] < times || done[1] < times;) {
		while (!waits[0] && !waits[1])
			uv_run(&loop, UV_RUN_ONCE);
		int probe = waits[0] ? 0 : 1;
		waits[probe] = false;
		done[probe]++;
		health_command_answer(health, probe, probe == 0 ? ready : live,
				      probe == 0 ? "not yet" : "hangs");
	}
}

static void open_with_both(void)
{
	command_probe(&spec.ready);
	command_probe(&spec.live);
	open_health(0);
}

static void what_the_live_probe_said_of_a_starting_program_is_forgotten(void **state)
{
	open_with_both();
	answer_both(3, false, false);
	assert_int_equal(health_look(health).state, HEALTH_STARTING);
	answer_both(5, true, true);
	assert_int_equal(health_look(health).state, HEALTH_HEALTHY);
	assert_int_equal(deaths, 0);
	assert_int_equal(changes, 1);
}

static void a_live_probe_that_goes_on_failing_when_it_is_ready_counts(void **state)
{
	open_with_both();
	answer_both(3, false, false);
	answer_both(5, true, false);
	assert_int_equal(health_look(health).state, HEALTH_UNHEALTHY);
	assert_string_equal(health_look(health).why, "hangs");
	assert_int_equal(deaths, 1);
}

static void who_was_busy_is_reminded_of_the_dead(void **state)
{
	open_with_both();
	answer_both(3, true, true);
	busy = true;
	answer_both(3, true, false);
	assert_int_equal(deaths, 1);
	busy = false;
	health_remind(health);
	assert_int_equal(deaths, 2);
	health_remind(health);
	assert_int_equal(deaths, 2);
}

static void a_live_probe_that_passes_again_makes_it_healthy_again(void **state)
{
	open_with_both();
	answer_both(3, true, true);
	busy = true;
	answer_both(3, true, false);
	assert_int_equal(health_look(health).state, HEALTH_UNHEALTHY);
	answer_both(3, true, true);
	assert_int_equal(health_look(health).state, HEALTH_HEALTHY);
	busy = false;
	health_remind(health);
	assert_int_equal(deaths, 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(without_probes_a_living_process_is_healthy_and_that_counts_as_a_look),
		CASE(it_is_starting_until_it_passed_often_enough),
		CASE(one_failure_is_not_yet_unhealthy_and_does_not_begin_its_time_anew),
		CASE(what_was_proven_before_stays_until_a_probe_says_otherwise),
		CASE(the_live_probe_kills_once_and_only_what_lived),
		CASE(what_the_live_probe_said_of_a_starting_program_is_forgotten),
		CASE(a_live_probe_that_goes_on_failing_when_it_is_ready_counts),
		CASE(who_was_busy_is_reminded_of_the_dead),
		CASE(a_live_probe_that_passes_again_makes_it_healthy_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
