#include "tests/lib/test.h"
#include "tests/lib/fleet.h"

#include "coordinator/admin/admin_live.h"
#include "proto/envelope.h"

static struct test_fleet f;
static struct drive *drive;
static struct events *events;
static char lines[1024];

static void propose(void *arg, const struct command *c, drive_proposed_fn *done, void *done_arg)
{
}

static void answer(void *arg, struct token t, const uint8_t *p, size_t n)
{
}

static void trust(void *arg, uint64_t session)
{
}

static void drop(void *arg, uint64_t session, const char *why)
{
	fail_msg("%s", why);
}

static uint64_t term(void *arg)
{
	return 1;
}

static int setup(void **state)
{
	static const struct drive_config config = {.log_id = 1,
						   .poll_wait_ms = 1000,
						   .suspect_ms = 2000,
						   .lost_ms = 4000,
						   .grace_ms = 4000,
						   .artifact_url = ""};
	static const struct drive_ports ports = {NULL, propose, answer, trust, drop, term};
	test_fleet_init(&f);
	test_fleet_app(&f, "checkout");
	test_fleet_env(&f, "prod");
	test_fleet_host(&f, "eu-1", "eu");
	test_fleet_release(&f, "checkout", "2.0");
	events = events_new(16, 1);
	drive = drive_new(&config, &ports, f.st, events);
	drive_lead(drive, f.now);
	return 0;
}

static int teardown(void **state)
{
	drive_free(drive);
	events_free(events);
	test_fleet_done(&f);
	return 0;
}

static void say(envelope *e)
{
	struct buf b;
	uint8_t boot[16] = {1}, none[16] = {0};
	buf_init(&b);
	e->version = 1;
	e->trace_id.data = e->cluster_id.data = none;
	e->boot_id.data = boot;
	e->trace_id.len = e->cluster_id.len = e->boot_id.len = 16;
	envelope_encode(&b, e);
	drive_request(drive, (struct token){1, e->request_id}, b.data, b.len, f.now);
	buf_done(&b);
}

static void connect_host(void)
{
	Wavetrain__Agent__Envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Hello hello = WAVETRAIN__AGENT__HELLO__INIT;
	struct name host = test_name("eu-1");
	drive_session_opened(drive, 1, &host, 1, f.now);
	hello.agent_version = (char *)(uintptr_t) "0.1.0";
	hello.protocol_min = hello.protocol_max = 1;
	hello.generation = 1;
	e.request_id = 1;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_HELLO;
	e.hello = &hello;
	say(&e);
}

static void poll_once(void)
{
	Wavetrain__Agent__Envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Poll poll = WAVETRAIN__AGENT__POLL__INIT;
	Wavetrain__Agent__AppStatus app = WAVETRAIN__AGENT__APP_STATUS__INIT, *apps[] = {&app};
	app.app = (char *)(uintptr_t) "checkout";
	app.health = WAVETRAIN__AGENT__HEALTH__HEALTH_STARTING;
	app.step = TASK_PROBING;
	app.note = (char *)(uintptr_t) "2/3 passes";
	poll.log_id = 1;
	poll.wait_ms = 1000;
	poll.free_bytes = 4096;
	poll.apps = apps;
	poll.n_apps = 1;
	e.request_id = 2;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_POLL;
	e.poll = &poll;
	say(&e);
}

static void a_host_that_never_polled_is_not_seen(void **state)
{
	struct name host = test_name("eu-1");
	struct admin_soft soft;
	admin_live_soft(drive, f.now, &f.a, &host, NULL, &soft);
	assert_false(soft.seen);
	assert_string_equal(soft.agent_version, "");
}

static void a_poll_is_read_back_with_its_age(void **state)
{
	struct name host = test_name("eu-1"), app = test_name("checkout"), other = test_name("billing");
	struct admin_soft soft;
	connect_host();
	poll_once();
	f.now.v += 1500;
	admin_live_soft(drive, f.now, &f.a, &host, &app, &soft);
	assert_true(soft.seen && soft.has_app);
	assert_int_equal(soft.last_poll_age_ms, 1500);
	assert_string_equal(soft.agent_version, "0.1.0");
	assert_string_equal(soft.health, "starting");
	assert_string_equal(soft.step, "probing");
	assert_string_equal(soft.note, "2/3 passes");
	admin_live_soft(drive, f.now, &f.a, &host, &other, &soft);
	assert_true(soft.seen && !soft.has_app);
}

static void keep(void *arg, const char *line)
{
	strncat(lines, line, sizeof lines - strlen(lines) - 2);
	strcat(lines, "\n");
}

static void a_rollout_says_what_it_waits_for(void **state)
{
	static const char *const regions[] = {"eu"};
	lines[0] = '\0';
	admin_live_explain(drive, f.now, &f.a, (struct deployment_id){5}, keep, NULL);
	assert_string_equal(lines, "");
	assert_int_equal(test_fleet_deploy(&f, 5, "checkout", "2.0", regions, 1), E_OK);
	test_fleet_verb(&f, 5, VERB_PAUSE);
	admin_live_explain(drive, f.now, &f.a, (struct deployment_id){5}, keep, NULL);
	assert_non_null(strstr(lines, "rollout: "));
}

static void a_state_that_grows_is_told_before_it_is_full(void **state)
{
	static const struct {
		uint64_t used_mib, entries;
		const char *result;
	} rows[] = {{1, 16384, "ok"},	{511, 65536, "ok"}, {512, 0, "warn"},
		    {1, 65537, "warn"}, {3072, 0, "warn"},  {3073, 0, "fail"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct admin_check c = admin_live_state_check(&f.a, rows[i].used_mib << 20, (uint64_t)4 << 30,
							      rows[i].entries);
		assert_string_equal(c.result, rows[i].result);
		assert_non_null(strstr(c.text, "MiB of at most 4096"));
	}
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_host_that_never_polled_is_not_seen),
		T(a_poll_is_read_back_with_its_age),
		T(a_rollout_says_what_it_waits_for),
		T(a_state_that_grows_is_told_before_it_is_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
