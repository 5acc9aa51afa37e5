#include "tests/lib/test.h"

#include <stdio.h>

#include "coordinator/drive/drive.h"
#include "proto/envelope.h"
#include "tests/lib/fleet.h"

/* Two coordinators on one state: what is committed is known to both, what agents say only to the one they
 * talk to. Proposals wait until the test decides what becomes of them. */
enum { FIRST, SECOND, BOTH, ID = 0x0100, SESSION = 5, GRACE_MS = 90000, LOST_MS = 30000 };

struct waiting {
	struct buf bytes;
	drive_proposed_fn *done;
	void *arg;
};

static struct coordinator {
	struct drive *drive;
	struct events *events;
	struct waiting waiting[8];
	size_t waiting_nr;
	unsigned lost, trusted;
	const char *dropped;
} co[BOTH];

static struct test_fleet f;
static uint64_t requests;
static const char *const regions[] = {"eu"};

/* What the last answer said. */
static struct {
	unsigned nr;
	int body;
	char code[32], leader[64], text[200], coordinators[200], urls[2000];
	uint64_t retry_after_ms, acked, assignments, request_id;
} said;

static unsigned lost_among(const struct command *c)
{
	unsigned nr = 0;
	for (size_t i = 0; c->kind == COMMAND_TASK_RESULTS && i < c->results.nr; i++)
		nr += c->results.v[i].state == TASK_LOST;
	return nr;
}

static void propose(void *arg, const struct command *c, drive_proposed_fn *done, void *done_arg)
{
	struct coordinator *me = arg;
	struct command stamped = *c;
	struct waiting *w = &me->waiting[me->waiting_nr++];
	assert_in_range(me->waiting_nr, 1, ARRAY_LEN(me->waiting));
	me->lost += lost_among(c);
	stamped.at = f.now;
	buf_init(&w->bytes);
	command_encode(&w->bytes, &stamped);
	w->done = done;
	w->arg = done_arg;
}

static void join(char *out, size_t cap, char **v, size_t nr)
{
	out[0] = '\0';
	for (size_t i = 0; i < nr; i++)
		snprintf(out + strlen(out), cap - strlen(out), "%s%s", i == 0 ? "" : " ", v[i]);
}

static void note_problem(const Wavetrain__Agent__Problem *p)
{
	snprintf(said.code, sizeof said.code, "%s", p->code);
	snprintf(said.text, sizeof said.text, "%s", p->text);
	snprintf(said.leader, sizeof said.leader, "%s", p->leader);
	said.retry_after_ms = p->retry_after_ms;
}

static void note_welcome(const Wavetrain__Agent__Welcome *w)
{
	join(said.coordinators, sizeof said.coordinators, w->coordinators, w->n_coordinators);
	join(said.urls, sizeof said.urls, w->artifact_urls, w->n_artifact_urls);
}

static void answer(void *arg, struct token t, const uint8_t *p, size_t n)
{
	struct arena a;
	arena_init(&a);
	const envelope *e = envelope_decode(&a, p, n);
	assert_non_null(e);
	said.nr++;
	said.body = (int)e->body_case;
	said.request_id = e->request_id;
	if (e->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_PROBLEM)
		note_problem(e->problem);
	else if (e->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_WELCOME)
		note_welcome(e->welcome);
	else if (e->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_DESIRED)
		said.assignments = e->desired->n_assignments;
	else if (e->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT_ACK)
		said.acked = e->report_ack->acked_chunk;
	arena_done(&a);
}

static void trust(void *arg, uint64_t session)
{
	((struct coordinator *)arg)->trusted++;
}

static void drop(void *arg, uint64_t session, const char *why)
{
	((struct coordinator *)arg)->dropped = why;
}

static uint64_t term(void *arg)
{
	return 1;
}

/* The oldest proposal of `me`: committed and known to both (E_OK), or lost. */
static void decide(struct coordinator *me, int code)
{
	struct waiting w = me->waiting[0];
	const struct command_reply lost = {.code = code, .text = ""};
	memmove(me->waiting, me->waiting + 1, --me->waiting_nr * sizeof w);
	if (code == E_OK)
		assert_int_equal(state_apply(f.st, &f.a, ++f.index, 0, w.bytes.data, w.bytes.len, &f.reply,
					     &f.changes),
				 E_OK);
	f.store->ops->commit(f.store);
	w.done(w.arg, code, code == E_OK ? &f.reply : &lost);
	for (int i = FIRST; i < BOTH && code == E_OK; i++)
		drive_changed(co[i].drive, &f.changes, f.now);
	buf_done(&w.bytes);
}

/* ---- the agent ---- */

static void send(int to, envelope *e)
{
	struct arena a;
	struct buf b;
	arena_init(&a);
	e->version = ENVELOPE_VERSION;
	e->trace_id = e->boot_id = e->cluster_id = id128_bytes(&a, 1, 2);
	e->request_id = ++requests;
	buf_init(&b);
	envelope_encode(&b, e);
	drive_request(co[to].drive, (struct token){SESSION, requests}, b.data, b.len, f.now);
	buf_done(&b);
	arena_done(&a);
}

static void connect(int to)
{
	const struct name host = test_name("eu-1");
	drive_session_opened(co[to].drive, SESSION, &host, 1, f.now);
}

static void hello(int to)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Hello m = WAVETRAIN__AGENT__HELLO__INIT;
	m.protocol_min = m.protocol_max = 1;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_HELLO;
	e.hello = &m;
	send(to, &e);
}

static void poll(int to, uint64_t after)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Poll m = WAVETRAIN__AGENT__POLL__INIT;
	m.log_id = 1;
	m.after_seq = after;
	m.wait_ms = 1000;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_POLL;
	e.poll = &m;
	send(to, &e);
}

/* That the order of deployment ID failed, as chunk 1. */
static void report(int to)
{
	static char app[] = "shop", why[] = "it does not start";
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Report m = WAVETRAIN__AGENT__REPORT__INIT;
	Wavetrain__Agent__Chunk c = WAVETRAIN__AGENT__CHUNK__INIT, *chunks[] = {&c};
	Wavetrain__Agent__Result r = WAVETRAIN__AGENT__RESULT__INIT;
	r.state = TASK_FAILED;
	r.cause = CAUSE_VERSION;
	r.reason = why;
	c.number = 1;
	c.app = app;
	c.deployment = ID;
	c.seq = 1;
	c.what_case = WAVETRAIN__AGENT__CHUNK__WHAT_RESULT;
	c.result = &r;
	m.chunks = chunks;
	m.n_chunks = 1;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT;
	e.report = &m;
	send(to, &e);
}

static void expect_referral(const char *leader)
{
	assert_int_equal(said.body, WAVETRAIN__AGENT__ENVELOPE__BODY_PROBLEM);
	assert_string_equal(said.code, "E_NOT_LEADER");
	assert_string_equal(said.leader, leader);
}

/* ---- the world ---- */

static void open_one(struct coordinator *me)
{
	const struct drive_config cfg = {.node_id = me == &co[FIRST] ? 1 : 2,
					 .log_id = 1,
					 .cluster_hi = 1,
					 .cluster_lo = 2,
					 .poll_wait_ms = 1000,
					 .suspect_ms = 2000,
					 .lost_ms = LOST_MS,
					 .grace_ms = GRACE_MS,
					 .artifact_url = me == &co[FIRST] ? "https://c1" : "https://c2"};
	const struct drive_ports ports = {
		.arg = me, .propose = propose, .answer = answer, .trust = trust, .drop = drop, .term = term};
	static const struct drive_coordinator all[] = {{1, "c1:1", "https://c1"}, {2, "c2:1", "https://c2"}};
	me->events = events_new(64, 1);
	me->drive = drive_new(&cfg, &ports, f.st, me->events);
	drive_coordinators(me->drive, all, ARRAY_LEN(all));
}

/* From now on; who lost the lead knows of it first. */
static void lead(int which)
{
	for (int i = FIRST; i < BOTH; i++)
		if (drive_leads(co[i].drive))
			drive_unlead(co[i].drive);
	for (int i = FIRST; i < BOTH; i++)
		drive_leader(co[i].drive, (uint64_t)which + 1);
	drive_lead(co[which].drive, f.now);
}

static int setup(void **state)
{
	memset(co, 0, sizeof co);
	memset(&said, 0, sizeof said);
	test_fleet_init(&f);
	test_fleet_shop(&f);
	test_fleet_host(&f, "eu-1", "eu");
	for (int i = FIRST; i < BOTH; i++)
		open_one(&co[i]);
	test_fleet_deploy(&f, ID, "shop", "1.0", regions, 1);
	test_fleet_assign(&f, ID, "eu-1", DIRECTION_FORWARD);
	lead(FIRST);
	return 0;
}

static int teardown(void **state)
{
	for (int i = FIRST; i < BOTH; i++) {
		while (co[i].waiting_nr > 0)
			decide(&co[i], E_UNKNOWN_OUTCOME);
		drive_free(co[i].drive);
		events_free(co[i].events);
	}
	test_fleet_done(&f);
	return 0;
}

static const struct fleet_host *known_to(int which)
{
	const struct name host = test_name("eu-1");
	return drive_host(co[which].drive, &host);
}

static void tick(int which, int64_t ms)
{
	f.now.v += ms;
	drive_tick(co[which].drive, f.now);
}

/* ---- cases ---- */

static void one_that_does_not_lead_acts_on_nothing_and_names_who_does(void **state)
{
	connect(SECOND);
	hello(SECOND);
	expect_referral("c1:1");
	assert_int_equal(said.retry_after_ms, 0);
	assert_non_null(strstr(said.text, "c1:1"));
	poll(SECOND, 0);
	expect_referral("c1:1");
	report(SECOND);
	expect_referral("c1:1");
	assert_int_equal(said.nr, 3);
	assert_int_equal(co[SECOND].trusted + co[SECOND].waiting_nr, 0);
	assert_int_equal(known_to(SECOND)->polled_at.v, 0);
	assert_false(known_to(SECOND)->greeted);
	assert_null(co[SECOND].dropped);
}

static void in_an_election_it_names_nobody_and_says_when(void **state)
{
	drive_leader(co[SECOND].drive, 0);
	connect(SECOND);
	hello(SECOND);
	expect_referral("");
	assert_true(said.retry_after_ms > 0);
	assert_non_null(strstr(said.text, "election"));
	drive_leader(co[SECOND].drive, 7); /* a node that nobody has named */
	hello(SECOND);
	expect_referral("");
}

/* Between its election and its barrier it is the one to come back to. */
static void one_that_was_elected_and_is_not_ready_names_itself(void **state)
{
	drive_leader(co[SECOND].drive, 2);
	connect(SECOND);
	hello(SECOND);
	expect_referral("c2:1");
	assert_true(said.retry_after_ms > 0);
	assert_non_null(strstr(said.text, "not ready"));
}

static void who_is_told_and_asks_on_is_dropped(void **state)
{
	connect(SECOND);
	for (int i = 0; i < 4; i++)
		poll(SECOND, 0);
	assert_int_equal(said.nr, 4);
	assert_null(co[SECOND].dropped);
	poll(SECOND, 0);
	assert_int_equal(said.nr, 4);
	assert_non_null(co[SECOND].dropped);
}

static void a_parked_poll_is_told_when_the_lead_is_lost(void **state)
{
	connect(FIRST);
	hello(FIRST);
	poll(FIRST, 1);
	unsigned before = said.nr;
	uint64_t parked = requests;
	assert_true(known_to(FIRST)->parked);
	drive_leader(co[FIRST].drive, 0);
	drive_unlead(co[FIRST].drive);
	assert_int_equal(said.nr, before + 1);
	assert_int_equal(said.request_id, parked);
	expect_referral("");
	assert_false(known_to(FIRST)->parked);
	tick(FIRST, 5000);
	assert_int_equal(said.nr, before + 1); /* once */
}

static void an_order_is_given_by_whoever_leads(void **state)
{
	connect(FIRST);
	hello(FIRST);
	poll(FIRST, 0);
	assert_int_equal(said.assignments, 1);
	lead(SECOND);
	connect(SECOND);
	hello(SECOND);
	poll(SECOND, 0); /* it was killed before the order was in its journal */
	assert_int_equal(said.assignments, 1);
	unsigned before = said.nr;
	poll(SECOND, 1);
	assert_int_equal(said.nr, before); /* parked: there is no second one */
}

/* The lead is lost between a report and its commit, and the entry is lost: the next leader takes it. */
static void a_report_whose_commit_is_lost_goes_to_the_next_leader(void **state)
{
	connect(FIRST);
	hello(FIRST);
	report(FIRST);
	lead(SECOND);
	decide(&co[FIRST], E_UNKNOWN_OUTCOME);
	expect_referral("c2:1");
	assert_int_equal(test_fleet_task(&f, ID, "eu-1").state, TASK_ASSIGNED);
	connect(SECOND);
	hello(SECOND);
	report(SECOND);
	decide(&co[SECOND], E_OK);
	assert_int_equal(said.acked, 1);
	assert_int_equal(test_fleet_task(&f, ID, "eu-1").state, TASK_FAILED);
}

/* The entry is committed although nobody was told: said again, it counts once and is acknowledged. */
static void a_report_that_was_committed_unsaid_counts_once(void **state)
{
	struct command again = {0};
	connect(FIRST);
	hello(FIRST);
	report(FIRST);
	assert_int_equal(
		command_decode(&f.a, co[FIRST].waiting[0].bytes.data, co[FIRST].waiting[0].bytes.len, &again),
		E_OK);
	lead(SECOND);
	decide(&co[FIRST], E_UNKNOWN_OUTCOME);
	assert_int_equal(test_fleet_apply(&f, &again), E_OK);
	drive_changed(co[SECOND].drive, &f.changes, f.now);
	connect(SECOND);
	hello(SECOND);
	report(SECOND);
	decide(&co[SECOND], E_OK);
	assert_int_equal(said.acked, 1);
	for (size_t i = 0; i < f.changes.nr; i++)
		assert_int_not_equal(f.changes.v[i].kind, CHANGE_TASK);
}

static void a_refusal_of_the_log_says_where_to_go_even_before_the_turn_that_unleads(void **state)
{
	connect(FIRST);
	hello(FIRST);
	report(FIRST);
	decide(&co[FIRST], E_NOT_LEADER);
	expect_referral(""); /* it takes itself for the leader */
	report(FIRST);
	drive_leader(co[FIRST].drive, 2);
	decide(&co[FIRST], E_NOT_LEADER);
	expect_referral("c2:1");
}

static void a_welcome_names_all_coordinators_the_one_that_answers_first(void **state)
{
	lead(SECOND);
	connect(SECOND);
	hello(SECOND);
	assert_string_equal(said.coordinators, "c1:1 c2:1");
	assert_string_equal(said.urls, "https://c2 https://c1");
}

static void no_more_coordinators_are_told_than_an_agent_remembers(void **state)
{
	enum { MANY = 20 };
	struct drive_coordinator many[MANY];
	char text[MANY][16];
	size_t nr, spaces = 0;
	for (size_t i = 0; i < MANY; i++) {
		snprintf(text[i], sizeof text[i], "https://n%zu", i);
		many[i] = (struct drive_coordinator){i + 1, "n:1", text[i]};
	}
	drive_coordinators(co[FIRST].drive, many, MANY);
	assert_string_equal(drive_known_coordinators(co[FIRST].drive, &nr)[15].artifacts, "https://n15");
	assert_int_equal(nr, DRIVE_COORDINATORS_MAX);
	connect(FIRST);
	hello(FIRST);
	for (const char *s = said.urls; *s != '\0'; s++)
		spaces += *s == ' ';
	assert_int_equal(spaces + 1, DRIVE_COORDINATORS_MAX);
}

/* Found out by looking at each second of it: first with the lead of its start, then with the second one. */
static void nobody_is_lost_before_the_grace_of_this_lead_has_passed(void **state)
{
	connect(FIRST);
	hello(FIRST);
	poll(FIRST, 1); /* the last word of this host */
	for (int again = 0; again < 2; again++) {
		int64_t since = f.now.v;
		lead(FIRST);
		while (f.now.v < since + GRACE_MS - 1000) {
			tick(FIRST, 1000);
			assert_int_equal(co[FIRST].lost, 0);
			while (co[FIRST].waiting_nr > 0) /* the rollout goes its way */
				decide(&co[FIRST], E_OK);
		}
		tick(FIRST, 1000);
		assert_int_equal(co[FIRST].lost, 1);
		co[FIRST].lost = 0;
		while (co[FIRST].waiting_nr > 0) /* and it loses the lead before that is committed */
			decide(&co[FIRST], E_UNKNOWN_OUTCOME);
		lead(SECOND);
		f.now.v += 3600000;
	}
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(one_that_does_not_lead_acts_on_nothing_and_names_who_does),
		CASE(in_an_election_it_names_nobody_and_says_when),
		CASE(one_that_was_elected_and_is_not_ready_names_itself),
		CASE(who_is_told_and_asks_on_is_dropped),
		CASE(a_parked_poll_is_told_when_the_lead_is_lost),
		CASE(an_order_is_given_by_whoever_leads),
		CASE(a_report_whose_commit_is_lost_goes_to_the_next_leader),
		CASE(a_report_that_was_committed_unsaid_counts_once),
		CASE(a_refusal_of_the_log_says_where_to_go_even_before_the_turn_that_unleads),
		CASE(a_welcome_names_all_coordinators_the_one_that_answers_first),
		CASE(no_more_coordinators_are_told_than_an_agent_remembers),
		CASE(nobody_is_lost_before_the_grace_of_this_lead_has_passed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
