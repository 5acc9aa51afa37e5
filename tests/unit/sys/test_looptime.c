#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sys/looptime.h"

/* Far above what a busy machine takes away from a turn that does nothing. */
enum { LIMIT_MS = 300, LONG_MS = 320 };

static uv_loop_t loop;
static struct looptime t;
static uv_timer_t timer;
static FILE *kept; /* stderr of this process, while a test looks at it */

static int begin(void **state)
{
	uv_loop_init(&loop);
	looptime_start(&t, &loop, LIMIT_MS);
	uv_timer_init(&loop, &timer);
	return 0;
}

static int end(void **state)
{
	looptime_stop(&t);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static void busy_cb(uv_timer_t *handle)
{
	uint64_t since = uv_hrtime();
	usleep(LONG_MS * 1000);
	looptime_ran(&t, "planner", since);
	uv_timer_stop(handle);
}

static void idle_cb(uv_timer_t *handle)
{
	uv_timer_stop(handle);
}

static void run_turns(uv_timer_cb cb, uint64_t after_ms)
{
	uv_timer_start(&timer, cb, after_ms, 1000);
	while (uv_is_active((uv_handle_t *)&timer))
		uv_run(&loop, UV_RUN_ONCE);
	uv_run(&loop, UV_RUN_NOWAIT); /* the next turn begins: the last one is over */
}

/* What went to stderr meanwhile. */
static const char *said(uv_timer_cb cb, uint64_t after_ms)
{
	static char text[1024];
	int old = dup(STDERR_FILENO);
	kept = tmpfile();
	assert_non_null(kept);
	dup2(fileno(kept), STDERR_FILENO);
	run_turns(cb, after_ms);
	dup2(old, STDERR_FILENO);
	close(old);
	rewind(kept);
	text[fread(text, 1, sizeof text - 1, kept)] = '\0';
	fclose(kept);
	return text;
}

static void a_long_turn_is_told_with_what_ran(void **state)
{
	const char *text = said(busy_cb, 0);
	assert_non_null(strstr(text, "a turn took"));
	assert_non_null(strstr(text, "planner "));
	assert_int_equal(t.turns_over, 1);
	assert_in_range(t.longest_ms, LONG_MS, 100 * LONG_MS);
}

static void what_ran_in_one_turn_is_not_told_of_another(void **state)
{
	said(busy_cb, 0);
	for (size_t i = 0; i < LOOPTIME_PARTS_MAX; i++)
		assert_int_equal(t.parts[i].ns, 0);
}

/* Waiting is no work, however long. */
static void a_turn_that_waits_is_not_long(void **state)
{
	assert_string_equal(said(idle_cb, 2 * LIMIT_MS), "");
	assert_int_equal(t.turns_over, 0);
	assert_in_range(t.longest_ms, 0, LIMIT_MS);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_long_turn_is_told_with_what_ran),
		T(what_ran_in_one_turn_is_not_told_of_another),
		T(a_turn_that_waits_is_not_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
