#include "tests/lib/test.h"
#include "coordinator/drive/drive.h"
#include "tests/lib/fleet.h"

static struct test_fleet f;
static struct events *events;
static struct drive *drive;

static int setup(void **state)
{
	const struct drive_config cfg = {.log_id = 1, .artifact_url = ""};
	const struct drive_ports ports = {.arg = NULL};
	test_fleet_init(&f);
	test_fleet_host(&f, "eu-1", "eu");
	events = events_new(64, 1);
	drive = drive_new(&cfg, &ports, f.st, events);
	struct name host = test_name("eu-1");
	drive_session_opened(drive, 1, &host, 1, f.now);
	return 0;
}

static int teardown(void **state)
{
	drive_free(drive);
	events_free(events);
	test_fleet_done(&f);
	return 0;
}

static void ignored(uint64_t deployment, uint64_t seq)
{
	struct change c = {.kind = CHANGE_RESULT_IGNORED,
			   .host = test_name("eu-1"),
			   .deployment = {deployment},
			   .seq = seq,
			   .to = TASK_HEALTHY,
			   .reason = "the newest assignment there is 9"};
	drive_changed(drive, &(struct changes){&c, 1}, f.now);
}

static void a_result_that_counts_for_nothing_is_told_with_host_number_and_why(void **state)
{
	uint64_t missed, before = events_newest(events);
	ignored(1, 7);
	const struct event *e = events_after(events, before, &missed);
	assert_non_null(e);
	assert_int_equal(e->kind, EVENT_HOST);
	assert_string_equal(e->host.s, "eu-1");
	assert_string_equal(e->to, "IGNORED");
	assert_string_equal(e->text,
			    "HEALTHY of assignment 7 counts for nothing: the newest assignment there is 9");
}

static void said_again_and_again_it_is_told_once(void **state)
{
	uint64_t before = events_newest(events);
	for (int i = 0; i < 50; i++)
		ignored(1, 7);
	assert_int_equal(events_newest(events), before + 1);
	ignored(1, 8);
	ignored(2, 8);
	assert_int_equal(events_newest(events), before + 3);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_result_that_counts_for_nothing_is_told_with_host_number_and_why),
		CASE(said_again_and_again_it_is_told_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
