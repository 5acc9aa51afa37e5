#include "tests/lib/test.h"

#include <stdio.h>

#include "tests/unit/drive/one_agent.h"

static uint64_t acked, acks;

static void answered(const envelope *e)
{
	if (e->body_case != WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT_ACK)
		return;
	acked = e->report_ack->acked_chunk;
	acks++;
}

static int begin(void **state)
{
	acked = acks = 0;
	one_agent_begin();
	one.answered = answered;
	return 0;
}

static int end(void **state)
{
	assert_null(one.dropped);
	one_agent_end();
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
	one_agent_send(&e);
}

/* Texts of all log events. */
static const char *lines_told(void)
{
	static char out[1024];
	size_t at = 0;
	uint64_t missed, after = 0;
	out[0] = '\0';
	for (const struct event *e; (e = events_after(one.ev, after, &missed)) != NULL; after = e->number)
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
	one_agent_drive();
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
	events_chunk_told(one.ev, &host, &half);
	report(1, 4, 0, false);
	assert_string_equal(lines_told(), "1.2|1.3|");
}

static void what_was_not_committed_comes_again_without_its_lines(void **state)
{
	one.refuse = true;
	report(1, 2, 0, true);
	assert_int_equal(acks, 0);
	one.refuse = false;
	report(1, 2, 0, true);
	assert_int_equal(acked, 2);
	assert_string_equal(lines_told(), "1.0|1.1|");
}

static void a_host_whose_disk_was_emptied_begins_anew(void **state)
{
	one_agent_hello(8);
	report(3, 1, 0, false);
	one_agent_hello(9);
	report(1, 1, 0, false);
	report(1, 1, 0, false);
	assert_string_equal(lines_told(), "3.0|1.0|");
}

/* One id greps the whole journey: an agent says nothing that could break it off. */
static void results_are_committed_under_the_trace_of_their_rollout(void **state)
{
	static const char *const eu[] = {"eu"};
	test_fleet_shop(&one.f);
	one.f.trace = (struct trace_id){11, 12};
	assert_int_equal(test_fleet_deploy(&one.f, 7, "shop", "1.0", eu, 1), E_OK);
	report(1, 0, 0, true);
	assert_int_equal(one.proposed.kind, COMMAND_TASK_RESULTS);
	assert_int_equal(one.proposed.trace.hi, 11);
	assert_int_equal(one.proposed.trace.lo, 12);
}

static void each_host_counts_for_itself(void **state)
{
	const struct name other = {"eu-2"};
	const struct event_chunk far = {0, 0, 1000, 1};
	events_chunk_told(one.ev, &other, &far);
	report(1, 1, 0, false);
	assert_string_equal(lines_told(), "1.0|");
}

/* Chunks from 1 on, each of so many empty lines. */
static void report_empty_lines(uint64_t chunks_nr, size_t lines_nr)
{
	enum { CHUNKS_MAX = 20, LINES_MAX = 5000 };
	static char empty[] = "", *lines[LINES_MAX];
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Report r = WAVETRAIN__AGENT__REPORT__INIT;
	Wavetrain__Agent__LogLines log = WAVETRAIN__AGENT__LOG_LINES__INIT;
	Wavetrain__Agent__Chunk c[CHUNKS_MAX], *chunks[CHUNKS_MAX];
	for (size_t i = 0; i < lines_nr; i++)
		lines[i] = empty;
	log.stream = empty;
	log.lines = lines;
	log.n_lines = lines_nr;
	for (uint64_t i = 0; i < chunks_nr; i++) {
		chunk_init(chunks[i] = &c[i], i + 1);
		c[i].what_case = WAVETRAIN__AGENT__CHUNK__WHAT_LOG;
		c[i].log = &log;
	}
	r.chunks = chunks;
	r.n_chunks = chunks_nr;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT;
	e.report = &r;
	one_agent_send(&e);
}

/* As many lines as fit into a frame are not written in one go; what is left over is not acknowledged. */
static void a_report_is_taken_in_parts_that_the_loop_can_bear(void **state)
{
	uint64_t before = events_newest(one.ev);
	report_empty_lines(20, 1000);
	assert_int_equal(acked, 4);
	assert_int_equal(events_newest(one.ev) - before, 4 * 1000);
	for (int again = 1; again < 5; again++)
		report_empty_lines(20, 1000);
	assert_int_equal(acked, 20);
	assert_int_equal(events_newest(one.ev) - before, 20 * 1000);
}

static void a_chunk_that_no_agent_makes_ends_the_session(void **state)
{
	report_empty_lines(1, 5000);
	assert_non_null(strstr(one.dropped, "more than 4095 lines"));
	assert_int_equal(acks, 0);
	one.dropped = NULL;
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
		T(results_are_committed_under_the_trace_of_their_rollout),
		T(each_host_counts_for_itself),
		T(a_report_is_taken_in_parts_that_the_loop_can_bear),
		T(a_chunk_that_no_agent_makes_ends_the_session),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
