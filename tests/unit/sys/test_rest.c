#include "base/base.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/rest.h"

enum { PAGE = 4096, TABLE = 2 * 1024 * 1024, BLOCKS = 2000 };

/* A program's constants; the first bytes keep the table out of .bss. */
static const uint8_t table[TABLE] = "constants";
static uint8_t written[TABLE] = "variables";
static int (*volatile relocated[])(const char *, const char *) = {strcmp};

/* KiB of this process that are in memory at `address`'s mapping. */
static long resident_kib(const void *address)
{
	char line[512];
	unsigned long from, to, at = (unsigned long)address;
	bool here = false;
	long kib = -1;
	FILE *f = fopen("/proc/self/smaps", "re");
	assert_non_null(f);
	while (kib < 0 && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = at >= from && at < to;
		else if (here)
			sscanf(line, "Rss: %ld", &kib);
	}
	fclose(f);
	return kib;
}

static unsigned read_all(const volatile uint8_t *bytes)
{
	unsigned sum = 0;
	for (size_t i = 0; i < TABLE; i += PAGE)
		sum += bytes[i];
	return sum;
}

static void constants_are_given_back_and_come_again(void **state)
{
	unsigned sum = read_all(table);
	assert_true(resident_kib(table) >= TABLE / 1024);
	rest_now();
	assert_true(resident_kib(table) < TABLE / 1024 / 2);
	assert_int_equal(read_all(table), sum);
	assert_string_equal((const char *)table, "constants");
}

static void what_was_written_stays(void **state)
{
	memset(written, 7, sizeof(written));
	rest_now();
	for (size_t i = 0; i < TABLE; i++)
		assert_int_equal(written[i], 7);
	assert_int_equal(relocated[0]("a", "a"), 0);
}

static void on_enough(uv_timer_t *t)
{
	uv_close((uv_handle_t *)t, NULL);
}

static void it_rests_a_while_after_the_work(void **state)
{
	uv_loop_t loop;
	uv_timer_t busy;
	uv_loop_init(&loop);
	uv_timer_init(&loop, &busy);
	uv_timer_start(&busy, on_enough, 500, 0);
	struct rest *r = rest_open(&loop, 1);
	rest_worked(r);
	read_all(table);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(resident_kib(table) < TABLE / 1024 / 2);
	rest_close(r);
	rest_close(NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void it_does_not_keep_the_loop(void **state)
{
	uv_loop_t loop;
	uv_loop_init(&loop);
	struct rest *r = rest_open(&loop, 1000 * 1000);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	rest_close(r);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(constants_are_given_back_and_come_again),
		cmocka_unit_test(what_was_written_stays),
		cmocka_unit_test(it_rests_a_while_after_the_work),
		cmocka_unit_test(it_does_not_keep_the_loop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
