#include "tests/lib/test.h"
#include "coordinator/drive/fleet.h"
#include "tests/lib/fleet.h"

enum { LEADS = 1000, SUSPECT = 75000 };

static struct fleet fleet;
static struct name host, app;

static int setup(void **state)
{
	fleet_init(&fleet);
	host = test_name("eu-1");
	app = test_name("shop");
	return 0;
}

static int teardown(void **state)
{
	fleet_done(&fleet);
	return 0;
}

static void says_hello(int64_t now, uint64_t session)
{
	struct fleet_host *h = fleet_get(&fleet, &host);
	fleet_bind(&fleet, h, session, (struct wall_ms){now});
	h->last_seen.v = now;
}

static void says(int64_t now, Wavetrain__Agent__Health health)
{
	struct fleet_host *h = fleet_get(&fleet, &host);
	struct digest running = test_target("1.0").id;
	Wavetrain__Agent__AppStatus s = WAVETRAIN__AGENT__APP_STATUS__INIT;
	s.app = app.s;
	s.target = (ProtobufCBinaryData){.len = DIGEST_LEN, .data = running.b};
	s.health = health;
	s.in_rotation = true;
	fleet_status(h, &s, (struct wall_ms){now});
	h->last_seen.v = h->polled_at.v = now;
}

static void says_healthy(int64_t now)
{
	says(now, WAVETRAIN__AGENT__HEALTH__HEALTH_HEALTHY);
}

static struct host_view look(int64_t now)
{
	struct host_view v = {.silent_ms = 0};
	fleet_view(&fleet, &host, &app, 0, (struct wall_ms){now}, (struct wall_ms){LEADS}, SUSPECT, &v);
	return v;
}

/* Found by seed 62087: a host that had been off for minutes counted as available between its hello and its
 * first status, by what it had said before. */
static void what_it_said_in_an_earlier_session_counts_no_more(void **state)
{
	says_hello(2000, 1);
	says_healthy(2001);
	assert_int_equal(look(3000).avail, AVAIL_UP);
	says_hello(200000, 2);
	assert_int_equal(look(200001).avail, AVAIL_UNKNOWN);
	assert_true(look(200001).unsaid);
	says_healthy(200002);
	assert_int_equal(look(200003).avail, AVAIL_UP);
	assert_false(look(200003).unsaid);
}

static void a_hello_without_a_status_does_not_shield_it_for_ever(void **state)
{
	says_hello(2000, 1);
	assert_true(look(2001).unsaid);
	fleet_get(&fleet, &host)->last_seen.v = 2000 + SUSPECT; /* it goes on reporting, and never polls */
	assert_false(look(2000 + SUSPECT).unsaid);
	assert_int_equal(look(2000 + SUSPECT).avail, AVAIL_UNKNOWN);
}

/* What was well before a reboot says nothing of the boot after it. */
static void health_is_remembered_for_one_boot(void **state)
{
	struct fleet_host *h = fleet_get(&fleet, &host);
	says_hello(2000, 1);
	h->boot_lo = 7;
	says_healthy(2001);
	says(2002, WAVETRAIN__AGENT__HEALTH__HEALTH_UNHEALTHY);
	assert_true(look(2003).unhealthy && look(2003).was_well);
	assert_int_equal(look(2003).boot_lo, 7);
	h->boot_lo = 8;
	says(3000, WAVETRAIN__AGENT__HEALTH__HEALTH_UNHEALTHY);
	assert_true(look(3001).unhealthy && !look(3001).was_well);
	says_healthy(3002);
	says(3003, WAVETRAIN__AGENT__HEALTH__HEALTH_STARTING);
	assert_true(!look(3004).unhealthy && look(3004).was_well);
}

static void a_host_is_missing_since_it_was_well_last(void **state)
{
	assert_int_equal(look(5000).missing_since.v, LEADS); /* never heard */
	says_hello(6000, 1);
	assert_int_equal(look(6001).missing_since.v, LEADS);
	says_healthy(7000);
	assert_int_equal(look(7001).missing_since.v, 0);
	assert_int_equal(look(7000 + SUSPECT).missing_since.v, 7000); /* silent since then */
	says(200000, WAVETRAIN__AGENT__HEALTH__HEALTH_STARTING);
	says(201000, WAVETRAIN__AGENT__HEALTH__HEALTH_UNHEALTHY);
	assert_int_equal(look(201001).missing_since.v, 200000);
	assert_int_equal(look(201000 + SUSPECT).missing_since.v, 200000); /* ill, then silent */
	says_healthy(400000);
	assert_int_equal(look(400001).missing_since.v, 0);
}

static void works_on(int64_t now, uint64_t seq, enum task_state step)
{
	struct fleet_host *h = fleet_get(&fleet, &host);
	Wavetrain__Agent__AppStatus s = WAVETRAIN__AGENT__APP_STATUS__INIT;
	s.app = app.s;
	s.seq = seq;
	s.step = (uint32_t)step;
	fleet_status(h, &s, (struct wall_ms){now});
}

static struct fault_view says_fault(int64_t now, uint64_t ms, bool lasts)
{
	struct fleet_host *h = fleet_get(&fleet, &host);
	Wavetrain__Agent__AppStatus s = WAVETRAIN__AGENT__APP_STATUS__INIT;
	s.app = app.s;
	s.seq = 4;
	s.fault_ms = ms;
	s.fault_lasts = lasts;
	fleet_status(h, &s, (struct wall_ms){now});
	h->last_seen.v = h->polled_at.v = now;
	return look(now + 500).fault;
}

/* One that lasts grows with the time since it was told; one that is over was over when that was told. */
static void a_fault_around_a_host_is_seen_with_its_time(void **state)
{
	says_hello(2000, 1);
	struct fault_view none = says_fault(3000, 0, false), one = says_fault(4000, 1000, true);
	assert_false(none.lasts);
	assert_int_equal(none.ms + none.until.v, 0);
	assert_true(one.lasts);
	assert_int_equal(one.ms, 1500);
	assert_int_equal(one.until.v, 4500);
	assert_int_equal(look(4500).seq, 4);
	struct fault_view over = says_fault(6000, 2500, false);
	assert_false(over.lasts);
	assert_int_equal(over.ms, 2500);
	assert_int_equal(over.until.v, 6000);
	assert_int_equal(says_fault(9000, 2500, false).until.v, 6000);
	assert_int_equal(look(9000 + SUSPECT).fault.ms, 0); /* silent: nothing is known of it */
}

/* What has ended stays ended, also when the host falls silent or comes anew. */
static void an_order_has_ended_when_its_host_says_so(void **state)
{
	assert_false(fleet_ended(&fleet, &host, &app, 1));
	says_hello(2000, 1);
	assert_false(fleet_ended(&fleet, &host, &app, 1));
	works_on(2001, 4, TASK_HEALTHY);
	assert_true(fleet_ended(&fleet, &host, &app, 4));
	assert_false(fleet_ended(&fleet, &host, &app, 5)); /* not received */
	works_on(2002, 5, TASK_FETCHED);
	assert_false(fleet_ended(&fleet, &host, &app, 5));
	works_on(2003, 5, TASK_REVERTING);
	assert_false(fleet_ended(&fleet, &host, &app, 5));
	works_on(2004, 5, TASK_FAILED);
	assert_true(fleet_ended(&fleet, &host, &app, 5));
	says_hello(900000, 2);
	assert_true(fleet_ended(&fleet, &host, &app, 5));
}

static void the_last_word_of_a_silent_host_is_kept(void **state)
{
	says_hello(2000, 1);
	assert_false(look(2001).was_down);
	says(2002, WAVETRAIN__AGENT__HEALTH__HEALTH_STOPPED);
	assert_int_equal(look(2003).avail, AVAIL_DOWN);
	assert_false(look(2003).was_down);
	assert_int_equal(look(2002 + SUSPECT).avail, AVAIL_UNKNOWN);
	assert_true(look(2002 + SUSPECT).was_down);
	says_healthy(200000);
	assert_false(look(200000 + SUSPECT).was_down);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_it_said_in_an_earlier_session_counts_no_more),
		CASE(a_hello_without_a_status_does_not_shield_it_for_ever),
		CASE(health_is_remembered_for_one_boot),
		CASE(a_host_is_missing_since_it_was_well_last),
		CASE(a_fault_around_a_host_is_seen_with_its_time),
		CASE(an_order_has_ended_when_its_host_says_so),
		CASE(the_last_word_of_a_silent_host_is_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
