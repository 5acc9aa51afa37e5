#include "tests/lib/test.h"
#include "coordinator/drive/drive.h"
#include "tests/lib/fleet.h"

/* A rollout under way, and a log that takes proposals or refuses them. */
static struct test_fleet f;
static struct events *events;
static struct drive *drive;
static int refusal; /* not E_OK: the log refuses with it */
static unsigned joins;
static const char *const regions[] = {"eu"};
enum { ID = 0x0100 };

static void propose(void *arg, const struct command *c, drive_proposed_fn *done, void *done_arg)
{
	struct command copy = *c;
	struct command_reply reply = {.code = E_OK, .text = ""};
	bool join = c->kind == COMMAND_TASK_JOIN;
	joins += join;
	if (join && refusal == E_OK)
		reply.code = test_fleet_apply(&f, &copy);
	done(done_arg, refusal == E_OK ? reply.code : refusal, &reply);
}

static uint64_t term(void *arg)
{
	return 1;
}

static int setup(void **state)
{
	const struct drive_config cfg = {.log_id = 1, .artifact_url = ""};
	const struct drive_ports ports = {.propose = propose, .term = term};
	test_fleet_init(&f);
	test_fleet_shop(&f);
	test_fleet_host(&f, "eu-1", "eu");
	events = events_new(64, 1);
	drive = drive_new(&cfg, &ports, f.st, events);
	refusal = E_OK;
	joins = 0;
	return 0;
}

static int teardown(void **state)
{
	drive_free(drive);
	events_free(events);
	test_fleet_done(&f);
	return 0;
}

static bool has_task(const char *host)
{
	struct name n = test_name(host);
	struct task t;
	return view_task(f.st, &f.a, (struct deployment_id){ID}, &n, &t) == E_OK;
}

static void tick(int64_t ms)
{
	f.now.v += ms;
	drive_tick(drive, f.now);
}

static void a_coordinator_that_begins_to_lead_looks_who_lacks_a_task(void **state)
{
	test_fleet_deploy(&f, ID, "shop", "1.0", regions, 1);
	test_fleet_host(&f, "eu-2", "eu"); /* and the one that added it was killed */
	test_fleet_host(&f, "us-1", "us"); /* no part of the rollout */
	drive_lead(drive, f.now);
	tick(0);
	assert_true(has_task("eu-2"));
	assert_int_equal(joins, 1);
	tick(10000);
	assert_int_equal(joins, 1);
}

static void a_join_that_the_log_refused_is_proposed_again(void **state)
{
	drive_lead(drive, f.now);
	tick(0);
	test_fleet_deploy(&f, ID, "shop", "1.0", regions, 1);
	test_fleet_host(&f, "eu-2", "eu");
	refusal = E_BUSY;
	drive_changed(drive, &f.changes, f.now);
	tick(1);
	assert_int_equal(joins, 1);
	tick(1000); /* and once more in vain */
	assert_int_equal(joins, 2);
	refusal = E_OK;
	tick(1);
	assert_false(has_task("eu-2")); /* not in a tight loop */
	tick(1000);
	assert_true(has_task("eu-2"));
}

static void a_refusal_by_the_fold_is_final(void **state)
{
	test_fleet_deploy(&f, ID, "shop", "1.0", regions, 1);
	test_fleet_host(&f, "eu-2", "eu");
	refusal = E_CONFLICT;
	drive_lead(drive, f.now);
	for (int i = 0; i < 5; i++)
		tick(1000);
	assert_int_equal(joins, 1);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_coordinator_that_begins_to_lead_looks_who_lacks_a_task),
		CASE(a_join_that_the_log_refused_is_proposed_again),
		CASE(a_refusal_by_the_fold_is_final),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
