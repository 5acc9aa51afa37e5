/* The guard alone, on I/O that does what libraft's does when a disk fails. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/consensus/guard.h"

static struct raft raft;
static struct raft_io io;
static struct guard guard;
static raft_io_tick_cb tick;
static unsigned ticks;
static char said[512];

static void fatal(void *arg, const char *text)
{
	if (!said[0])
		snprintf(said, sizeof said, "%s", text);
}

static void engine_tick(struct raft_io *of)
{
	ticks++;
}

static int fake_start(struct raft_io *of, unsigned ms, raft_io_tick_cb t, raft_io_recv_cb recv)
{
	tick = t;
	return 0;
}

static int setup(void **state)
{
	const struct guard_hooks hooks = {.fatal = fatal};
	raft = (struct raft){.io = &io};
	io = (struct raft_io){.data = &raft, .start = fake_start};
	ticks = 0;
	said[0] = '\0';
	guard_install(&guard, &raft, &hooks, 0);
	assert_int_equal(io.start(&io, 100, engine_tick, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	guard_done(&guard);
	return 0;
}

static void a_failure_that_has_no_callback_is_found_at_the_next_tick(void **state)
{
	guard_started(&guard);
	tick(&io);
	assert_int_equal(ticks, 1);
	assert_string_equal(said, "");
	strcpy(io.errmsg, "io_submit: i/o error");
	tick(&io);
	assert_non_null(strstr(said, "cannot write the log"));
	assert_non_null(strstr(said, "io_submit: i/o error"));
}

static void what_was_said_while_the_log_was_read_is_no_failure(void **state)
{
	strcpy(io.errmsg, "segment file is empty");
	tick(&io);
	guard_started(&guard);
	tick(&io);
	assert_string_equal(said, "");
	assert_int_equal(ticks, 2);
}

static void a_closing_engine_cancels_its_writes(void **state)
{
	guard_started(&guard);
	guard_closing(&guard);
	strcpy(io.errmsg, "canceled");
	tick(&io);
	assert_string_equal(said, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_failure_that_has_no_callback_is_found_at_the_next_tick,
						setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_said_while_the_log_was_read_is_no_failure, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_closing_engine_cancels_its_writes, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
