#include "tests/lib/test.h"
#include "tests/lib/fleet.h"

static const char *const regions[] = {"eu"};
enum { OLD = 0x0100, NEW = 0x0200 };

/* Two hosts that run 1.0, proven by a whole rollout; 2.0 is deployed with recreate. */
static int setup(void **state)
{
	static struct test_fleet f;
	test_fleet_init(&f);
	test_fleet_shop(&f);
	test_fleet_host(&f, "eu-1", "eu");
	test_fleet_host(&f, "eu-2", "eu");
	test_fleet_release(&f, "shop", "2.0");
	assert_int_equal(test_fleet_deploy(&f, OLD, "shop", "1.0", regions, 1), E_OK);
	for (int i = 0; i < 2; i++) {
		const char *host = i == 0 ? "eu-1" : "eu-2";
		assert_int_equal(test_fleet_assign(&f, OLD, host, DIRECTION_FORWARD), E_OK);
		assert_int_equal(test_fleet_result(&f, OLD, host, TASK_HEALTHY), E_OK);
	}
	assert_int_equal(test_fleet_rollout_to(&f, OLD, ROLLOUT_SUCCEEDED), E_OK);
	f.recreate = true;
	assert_int_equal(test_fleet_deploy(&f, NEW, "shop", "2.0", regions, 1), E_OK);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	test_fleet_done(*state);
	return 0;
}

static enum task_state state_of(struct test_fleet *f, const char *host)
{
	return test_fleet_task(f, NEW, host).state;
}

static void stop(struct test_fleet *f, const char *host)
{
	assert_int_equal(test_fleet_assign_stop(f, NEW, host, DIRECTION_FORWARD), E_OK);
	assert_int_equal(test_fleet_result(f, NEW, host, TASK_HEALTHY), E_OK);
	assert_int_equal(state_of(f, host), TASK_STOPPED);
}

static void both_run_the_new(struct test_fleet *f)
{
	stop(f, "eu-1");
	stop(f, "eu-2");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(test_fleet_assign(f, NEW, i == 0 ? "eu-1" : "eu-2", DIRECTION_FORWARD),
				 E_OK);
		test_fleet_result(f, NEW, i == 0 ? "eu-1" : "eu-2", TASK_HEALTHY);
	}
}

static void to_stop_is_to_run_nothing_with_the_old_to_fall_back_on(void **state)
{
	struct test_fleet *f = *state;
	assert_int_equal(test_fleet_assign_stop(f, NEW, "eu-1", DIRECTION_FORWARD), E_OK);
	struct placement p = test_fleet_placement(f, "eu-1", "shop");
	assert_true(digest_none(&p.desired.id));
	assert_string_equal(p.fallback.version.s, "1.0");
	assert_int_equal(test_fleet_task(f, NEW, "eu-1").attempts, 0);
}

static void nobody_starts_before_all_have_stopped(void **state)
{
	struct test_fleet *f = *state;
	stop(f, "eu-1");
	assert_int_equal(test_fleet_assign(f, NEW, "eu-1", DIRECTION_FORWARD), E_CONFLICT);
	assert_non_null(strstr(f->reply.text, "host eu-2 of wave 1 has not stopped yet"));
	test_fleet_assign_stop(f, NEW, "eu-2", DIRECTION_FORWARD);
	assert_int_equal(test_fleet_assign(f, NEW, "eu-1", DIRECTION_FORWARD), E_CONFLICT);
	test_fleet_result(f, NEW, "eu-2", TASK_HEALTHY);
	assert_int_equal(test_fleet_assign(f, NEW, "eu-1", DIRECTION_FORWARD), E_OK);
}

static void what_was_stopped_is_still_what_was_proven(void **state)
{
	struct test_fleet *f = *state;
	stop(f, "eu-1");
	assert_string_equal(test_fleet_placement(f, "eu-1", "shop").current.version.s, "1.0");
}

static void a_start_has_nothing_to_fall_back_on(void **state)
{
	struct test_fleet *f = *state;
	both_run_the_new(f);
	struct placement p = test_fleet_placement(f, "eu-1", "shop");
	assert_string_equal(p.desired.version.s, "2.0");
	assert_true(digest_none(&p.fallback.id));
	assert_int_equal(test_fleet_task(f, NEW, "eu-1").attempts, 1);
}

static void one_that_failed_to_stop_holds_the_others_and_blames_nobody(void **state)
{
	struct test_fleet *f = *state;
	stop(f, "eu-1");
	test_fleet_assign_stop(f, NEW, "eu-2", DIRECTION_FORWARD);
	test_fleet_result(f, NEW, "eu-2", TASK_FAILED);
	assert_int_equal(test_fleet_task(f, NEW, "eu-2").cause, CAUSE_INFRA);
	assert_int_equal(test_fleet_assign(f, NEW, "eu-1", DIRECTION_FORWARD), E_CONFLICT);
}

static void a_lost_one_holds_nobody_and_starts_with_the_others(void **state)
{
	struct test_fleet *f = *state;
	stop(f, "eu-1");
	test_fleet_assign_stop(f, NEW, "eu-2", DIRECTION_FORWARD);
	test_fleet_result(f, NEW, "eu-2", TASK_LOST);
	assert_int_equal(test_fleet_assign(f, NEW, "eu-1", DIRECTION_FORWARD), E_OK);
	assert_int_equal(test_fleet_assign(f, NEW, "eu-2", DIRECTION_FORWARD), E_OK);
	assert_string_equal(test_fleet_placement(f, "eu-2", "shop").desired.version.s, "2.0");
	test_fleet_result(f, NEW, "eu-2", TASK_LOST); /* from now on it keeps what it was told */
	assert_int_equal(test_fleet_assign(f, NEW, "eu-2", DIRECTION_FORWARD), E_CONFLICT);
}

static void a_wave_that_starts_is_not_stopped_any_more(void **state)
{
	struct test_fleet *f = *state;
	both_run_the_new(f);
	assert_int_equal(test_fleet_assign_stop(f, NEW, "eu-1", DIRECTION_FORWARD), E_CONFLICT);
}

static void going_back_nobody_starts_before_all_have_stopped(void **state)
{
	struct test_fleet *f = *state;
	both_run_the_new(f);
	test_fleet_rollout_to(f, NEW, ROLLOUT_ROLLING_BACK);
	assert_int_equal(test_fleet_assign(f, NEW, "eu-1", DIRECTION_BACK), E_CONFLICT);
	for (int i = 0; i < 2; i++) {
		const char *host = i == 0 ? "eu-1" : "eu-2";
		assert_int_equal(test_fleet_assign_stop(f, NEW, host, DIRECTION_BACK), E_OK);
		test_fleet_result(f, NEW, host, TASK_REVERTED);
		assert_int_equal(state_of(f, host), TASK_STOPPED);
		assert_int_equal(test_fleet_assign(f, NEW, "eu-1", DIRECTION_BACK),
				 i == 0 ? E_CONFLICT : E_OK);
	}
	test_fleet_result(f, NEW, "eu-1", TASK_REVERTED);
	assert_int_equal(state_of(f, "eu-1"), TASK_REVERTED);
	assert_string_equal(test_fleet_placement(f, "eu-1", "shop").current.version.s, "1.0");
}

static void going_back_before_anything_started_needs_no_stop(void **state)
{
	struct test_fleet *f = *state;
	stop(f, "eu-1");
	test_fleet_assign_stop(f, NEW, "eu-2", DIRECTION_FORWARD);
	test_fleet_rollout_to(f, NEW, ROLLOUT_ROLLING_BACK);
	assert_int_equal(test_fleet_assign(f, NEW, "eu-1", DIRECTION_BACK), E_OK);
	assert_string_equal(test_fleet_placement(f, "eu-1", "shop").desired.version.s, "1.0");
}

static void only_recreate_stops_first(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_verb(f, NEW, VERB_ABORT);
	f->recreate = false;
	assert_int_equal(test_fleet_deploy(f, 0x300, "shop", "2.0", regions, 1), E_OK);
	assert_int_equal(test_fleet_assign_stop(f, 0x300, "eu-1", DIRECTION_FORWARD), E_INVALID);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(to_stop_is_to_run_nothing_with_the_old_to_fall_back_on),
		CASE(nobody_starts_before_all_have_stopped),
		CASE(what_was_stopped_is_still_what_was_proven),
		CASE(a_start_has_nothing_to_fall_back_on),
		CASE(one_that_failed_to_stop_holds_the_others_and_blames_nobody),
		CASE(a_lost_one_holds_nobody_and_starts_with_the_others),
		CASE(a_wave_that_starts_is_not_stopped_any_more),
		CASE(going_back_nobody_starts_before_all_have_stopped),
		CASE(going_back_before_anything_started_needs_no_stop),
		CASE(only_recreate_stops_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
