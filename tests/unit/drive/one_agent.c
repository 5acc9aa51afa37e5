#include "tests/unit/drive/one_agent.h"

#include "base/err.h"
#include "tests/lib/test.h"

enum { SESSION = 5 };

struct one_agent one;

static void propose(void *arg, const struct command *c, drive_proposed_fn *done, void *done_arg)
{
	const struct command_reply reply = {.code = E_OK, .text = ""};
	one.proposed = *c;
	done(done_arg, one.refuse ? E_NOT_LEADER : E_OK, &reply);
}

static void answer(void *arg, struct token t, const uint8_t *p, size_t n)
{
	struct arena a;
	arena_init(&a);
	const envelope *e = envelope_decode(&a, p, n);
	assert_non_null(e);
	if (one.answered != NULL)
		one.answered(e);
	arena_done(&a);
}

static void trust(void *arg, uint64_t session)
{
	/* the edge's matter */
}

static void drop(void *arg, uint64_t session, const char *why)
{
	assert_int_equal(session, SESSION);
	one.dropped = why;
}

static uint64_t term(void *arg)
{
	return 1;
}

void one_agent_send(envelope *e)
{
	struct arena a;
	struct buf b;
	arena_init(&a);
	e->version = ENVELOPE_VERSION;
	e->trace_id = e->boot_id = e->cluster_id = id128_bytes(&a, 1, 2);
	e->request_id = ++one.requests;
	buf_init(&b);
	envelope_encode(&b, e);
	drive_request(one.drive, (struct token){SESSION, one.requests}, b.data, b.len, one.f.now);
	buf_done(&b);
	arena_done(&a);
}

void one_agent_hello(uint64_t spool)
{
	struct arena a;
	arena_init(&a);
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Hello m = WAVETRAIN__AGENT__HELLO__INIT;
	m.protocol_min = m.protocol_max = 1;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_HELLO;
	e.hello = &m;
	if (spool != 0)
		m.spool_id = id128_bytes(&a, 1, spool);
	one_agent_send(&e);
	arena_done(&a);
}

void one_agent_drive(void)
{
	const struct drive_config cfg = {.log_id = 1,
					 .cluster_hi = 1,
					 .cluster_lo = 2,
					 .poll_wait_ms = 1000,
					 .artifact_url = "https://127.0.0.1/"};
	const struct drive_ports ports = {
		.propose = propose, .answer = answer, .trust = trust, .drop = drop, .term = term};
	struct name host = test_name("eu-1");
	struct host row;
	drive_free(one.drive);
	one.drive = drive_new(&cfg, &ports, one.f.st, one.ev);
	drive_lead(one.drive, one.f.now);
	PRE(view_host(one.f.st, &one.f.a, &host, &row) == E_OK);
	drive_session_opened(one.drive, SESSION, &host, row.generation, one.f.now);
	one_agent_hello(0);
}

void one_agent_begin(void)
{
	one = (struct one_agent){0};
	test_fleet_init(&one.f);
	test_fleet_host(&one.f, "eu-1", "eu");
	one.ev = events_new(64, 1);
	one_agent_drive();
}

void one_agent_end(void)
{
	drive_free(one.drive);
	events_free(one.ev);
	test_fleet_done(&one.f);
}
