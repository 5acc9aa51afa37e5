#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/drive/drive.h"
#include "proto/envelope.h"
#include "tests/lib/fleet.h"

/* One coordinator and one agent whose reports are made by hand. */
static struct test_fleet f;
static struct events *ev;
static struct drive *drive;
static uint64_t requests, acked, acks;
static bool refuse; /* results are not committed */

static void propose(void *arg, const struct command *c, drive_proposed_fn *done, void *done_arg)
{
	const struct command_reply reply = {.code = E_OK, .text = ""};
	done(done_arg, refuse ? E_NOT_LEADER : E_OK, &reply);
}

static void answer(void *arg, struct token t, const uint8_t *p, size_t n)
{
	struct arena a;
	arena_init(&a);
	const envelope *e = envelope_decode(&a, p, n);
	assert_non_null(e);
	if (e->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT_ACK) {
		acked = e->report_ack->acked_chunk;
		acks++;
	}
	arena_done(&a);
}

static void trust(void *arg, uint64_t session)
{
	/* the edge's matter */
}

static void drop(void *arg, uint64_t session, const char *why)
{
	fail_msg("dropped: %s", why);
}

static uint64_t term(void *arg)
{
	return 1;
}

static void send_envelope(envelope *e)
{
	struct arena a;
	struct buf b;
	arena_init(&a);
	e->version = ENVELOPE_VERSION;
	e->trace_id = e->boot_id = e->cluster_id = id128_bytes(&a, 1, 2);
	e->request_id = ++requests;
	buf_init(&b);
	envelope_encode(&b, e);
	drive_request(drive, (struct token){5, requests}, b.data, b.len, f.now);
	buf_done(&b);
	arena_done(&a);
}

static void hello(uint64_t spool)
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
	send_envelope(&e);
	arena_done(&a);
}

static void open_drive(void)
{
	const struct drive_config cfg = {
		.log_id = 1, .cluster_hi = 1, .cluster_lo = 2, .artifact_url = "https://127.0.0.1/"};
	const struct drive_ports ports = {
		.propose = propose, .answer = answer, .trust = trust, .drop = drop, .term = term};
	struct name host = test_name("eu-1");
	struct host row;
	drive = drive_new(&cfg, &ports, f.st, ev);
	PRE(view_host(f.st, &f.a, &host, &row) == E_OK);
	drive_session_opened(drive, 5, &host, row.generation, f.now);
	hello(0);
}

static int begin(void **state)
{
	test_fleet_init(&f);
	test_fleet_host(&f, "eu-1", "eu");
	ev = events_new(64, 1);
	requests = acked = acks = 0;
	refuse = false;
	open_drive();
	return 0;
}

static int end(void **state)
{
	drive_free(drive);
	events_free(ev);
	test_fleet_done(&f);
	return 0;
}

static void chunk_init(Wavetrain__Agent__Chunk *c, uint64_t number)
{
	static char app[] = "shop";
	wavetrain__agent__chunk__init(c);
	c->number = number;
	c->app = app;
	c->deployment = 7;
}

/* Reports up to two chunks: `nr` lines "<number>.<i>" in the first; then, when `result` is set, a result. */
static void report(uint64_t number, size_t nr, uint64_t dropped, bool result)
{
	static char text[8][32], stream[] = "output";
	char *lines[8];
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Report r = WAVETRAIN__AGENT__REPORT__INIT;
	Wavetrain__Agent__Chunk c, second, *chunks[2] = {&c, &second};
	Wavetrain__Agent__LogLines log = WAVETRAIN__AGENT__LOG_LINES__INIT;
	Wavetrain__Agent__Result res = WAVETRAIN__AGENT__RESULT__INIT;
	for (size_t i = 0; i < nr; i++) {
		snprintf(text[i], sizeof text[i], "%llu.%zu", (unsigned long long)number, i);
		lines[i] = text[i];
	}
	chunk_init(&c, number);
	chunk_init(&second, number + 1);
	log.stream = stream;
	log.lines = lines;
	log.n_lines = nr;
	log.dropped = dropped;
	c.what_case = WAVETRAIN__AGENT__CHUNK__WHAT_LOG;
	c.log = &log;
	res.state = TASK_HEALTHY;
	second.what_case = WAVETRAIN__AGENT__CHUNK__WHAT_RESULT;
	second.result = &res;
	r.chunks = chunks;
	r.n_chunks = result ? 2 : 1;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT;
	e.report = &r;
	send_envelope(&e);
}

/* Texts of all log events. */
static const char *lines_told(void)
{
	static char out[1024];
	size_t at = 0;
	uint64_t missed, after = 0;
	out[0] = '\0';
	for (const struct event *e; (e = events_after(ev, after, &missed)) != NULL; after = e->number)
		if (e->kind == EVENT_LOG)
			at += (size_t)snprintf(out + at, sizeof out - at, "%s|", e->text);
	return out;
}

static void lines_become_events_and_are_acknowledged(void **state)
{
	report(1, 2, 0, false);
	assert_string_equal(lines_told(), "1.0|1.1|");
	assert_int_equal(acked, 1);
	report(2, 1, 37, false);
	assert_string_equal(lines_told(),
			    "1.0|1.1|(37 lines are missing here: more than the host may send)|2.0|");
}

/* The coordinator died after it wrote and before it acknowledged: the next one has the same story. */
static void a_chunk_that_was_written_is_not_told_by_the_next_coordinator(void **state)
{
	report(1, 2, 0, false);
	drive_free(drive);
	open_drive();
	report(1, 2, 0, false);
	assert_string_equal(lines_told(), "1.0|1.1|");
	assert_int_equal(acks, 2);
	assert_int_equal(acked, 1);
	report(2, 1, 0, false);
	assert_string_equal(lines_told(), "1.0|1.1|2.0|");
}

/* It died in the middle of a chunk. */
static void the_rest_of_a_chunk_is_told(void **state)
{
	const struct name host = {"eu-1"};
	const struct event_chunk half = {0, 0, 1, 2};
	events_chunk_told(ev, &host, &half);
	report(1, 4, 0, false);
	assert_string_equal(lines_told(), "1.2|1.3|");
}

static void what_was_not_committed_comes_again_without_its_lines(void **state)
{
	refuse = true;
	report(1, 2, 0, true);
	assert_int_equal(acks, 0);
	refuse = false;
	report(1, 2, 0, true);
	assert_int_equal(acked, 2);
	assert_string_equal(lines_told(), "1.0|1.1|");
}

static void a_host_whose_disk_was_emptied_begins_anew(void **state)
{
	hello(8);
	report(3, 1, 0, false);
	hello(9);
	report(1, 1, 0, false);
	report(1, 1, 0, false);
	assert_string_equal(lines_told(), "3.0|1.0|");
}

static void each_host_counts_for_itself(void **state)
{
	const struct name other = {"eu-2"};
	const struct event_chunk far = {0, 0, 1000, 1};
	events_chunk_told(ev, &other, &far);
	report(1, 1, 0, false);
	assert_string_equal(lines_told(), "1.0|");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(lines_become_events_and_are_acknowledged),
		T(a_chunk_that_was_written_is_not_told_by_the_next_coordinator),
		T(the_rest_of_a_chunk_is_told),
		T(what_was_not_committed_comes_again_without_its_lines),
		T(a_host_whose_disk_was_emptied_begins_anew),
		T(each_host_counts_for_itself),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
