#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/known.h"

static const struct bundle bundle = {
	.cluster_hi = 0x11, .cluster_lo = 0x22, .coordinators = {"c1:1", "old:1"}};
static struct arena a;
static char dir[64], path[128];

static int setup(void **state)
{
	arena_init(&a);
	snprintf(dir, sizeof dir, "/tmp/test_known.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/%s", dir, KNOWN_FILE);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	rmdir(path);
	assert_int_equal(rmdir(dir), 0); /* nothing else was left behind */
	arena_done(&a);
	return 0;
}

static int take(const char *const *coordinators, size_t nr, const char *const *urls, size_t urls_nr,
		struct known *out, struct err *e)
{
	char *v[2][KNOWN_MAX + 1];
	for (size_t i = 0; i < nr; i++)
		v[0][i] = arena_strdup(&a, coordinators[i]);
	for (size_t i = 0; i < urls_nr; i++)
		v[1][i] = arena_strdup(&a, urls[i]);
	return known_take(&a, v[0], nr, v[1], urls_nr, out, e);
}

static struct known three(void)
{
	static const char *const coordinators[] = {"c1:1", "c2:1", "[2001:db8::3]:1"};
	static const char *const urls[] = {"https://c1:2", "https://c2:2"};
	struct known k;
	assert_int_equal(take(coordinators, 3, urls, 2, &k, NULL), E_OK);
	return k;
}

static void put(const char *text)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void what_was_said_is_there_after_a_restart(void **state)
{
	struct known k = three(), again;
	struct err e;
	assert_int_equal(known_load(&a, dir, &bundle, &again, &e), E_NOT_FOUND);
	assert_int_equal(again.nr, 0);
	assert_int_equal(known_save(dir, &bundle, &k, &e), E_OK);
	assert_int_equal(known_load(&a, dir, &bundle, &again, &e), E_OK);
	assert_true(known_same(&k, &again));
	assert_string_equal(again.coordinators[2], "[2001:db8::3]:1");
	assert_string_equal(again.urls[1], "https://c2:2");
	k.coordinators[1] = "c4:1";
	assert_false(known_same(&k, &again));
}

static void what_is_no_address_is_not_taken(void **state)
{
	static const char *const wrong[] = {
		"c1",	     ":1",    "c1:",  "c1:0",  "c1:65536", "c1:1/x", "a b:1", "c1:1\nx:1",
		"user@c1:1", "::1:1", "[]:1", "[::1]", "[::1:1",   "c1:-1",  "c1:1 ", "c1:000001"};
	struct known k = {.nr = 7};
	struct err e;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		const char *url = arena_printf(&a, "https://%s", wrong[i]);
		assert_int_equal(take(&wrong[i], 1, NULL, 0, &k, &e), E_INVALID);
		assert_int_equal(take(NULL, 0, &url, 1, &k, &e), E_INVALID);
	}
	const char *plain = "http://c1:1";
	assert_int_equal(take(NULL, 0, &plain, 1, &k, &e), E_INVALID);
	assert_non_null(strstr(e.text, "http://c1:1"));
	assert_int_equal(k.nr, 7);
}

static void no_more_are_taken_than_can_be_dialed(void **state)
{
	const char *many[KNOWN_MAX + 1];
	struct known k;
	for (size_t i = 0; i <= KNOWN_MAX; i++)
		many[i] = arena_printf(&a, "n%zu:1", i);
	assert_int_equal(take(many, KNOWN_MAX + 1, NULL, 0, &k, NULL), E_TOO_LARGE);
	assert_int_equal(take(many, KNOWN_MAX, NULL, 0, &k, NULL), E_OK);
	const char *const *dial = known_dial(&a, &k, &bundle);
	for (size_t i = 0; i < KNOWN_MAX; i++)
		assert_string_equal(dial[i], many[i]);
	assert_null(dial[KNOWN_MAX]);
}

/* The bundle's are dialed, too: it may be newer than what was said. Each one once. */
static void those_known_go_first_and_those_of_the_bundle_beside_them(void **state)
{
	static const char *const expected[] = {"c1:1", "c2:1", "[2001:db8::3]:1", "old:1"};
	struct known k = three(), none = {.nr = 0};
	const char *const *dial = known_dial(&a, &k, &bundle);
	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		assert_string_equal(dial[i], expected[i]);
	assert_null(dial[ARRAY_LEN(expected)]);
	dial = known_dial(&a, &none, &bundle);
	assert_string_equal(dial[1], "old:1");
	assert_null(dial[2]);
}

static void a_file_that_is_damaged_or_hostile_is_not_used(void **state)
{
	static const char *const wrong[] = {
		"",
		"{",
		"[]",
		"junk",
		"{\"cluster_id\":\"00000000000000110000000000000022\"}",
		"{\"cluster_id\":\"00000000000000110000000000000022\",\"coordinators\":{},\"artifact_urls\":["
		"]}",
		"{\"cluster_id\":\"00000000000000110000000000000022\",\"coordinators\":[7],\"artifact_urls\":"
		"[]}",
		"{\"cluster_id\":\"00000000000000110000000000000022\",\"coordinators\":[\"c1:1;reboot\"],"
		"\"artifact_urls\":[]}",
		"{\"cluster_id\":\"00000000000000110000000000000022\",\"coordinators\":[\"c1:1\"],"
		"\"artifact_urls\":[\"file:///etc/passwd\"]}",
		"{\"cluster_id\":\"00000000000000110000000000000022\",\"cluster_id\":\"1\",\"coordinators\":["
		"],"
		"\"artifact_urls\":[]}",
		"{\"cluster_id\":\"00000000000000110000000000000023\",\"coordinators\":[\"c1:1\"],"
		"\"artifact_urls\":[]}",
	};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct known k;
		struct err e;
		put(wrong[i]);
		assert_int_equal(known_load(&a, dir, &bundle, &k, &e), E_INVALID);
		assert_non_null(strstr(e.text, path));
		assert_int_equal(k.nr + k.urls_nr, 0);
	}
}

static void what_is_no_plain_file_is_not_waited_for(void **state)
{
	struct known k;
	struct err e;
	assert_int_equal(mkfifo(path, 0600), 0); /* nobody will ever write to it */
	assert_int_equal(known_load(&a, dir, &bundle, &k, &e), E_INVALID);
	unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(known_load(&a, dir, &bundle, &k, &e), E_IO);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(known_load(&a, dir, &bundle, &k, &e), E_IO);
}

static void a_file_that_is_too_large_is_not_read(void **state)
{
	enum { LARGE = KNOWN_BYTES_MAX + 1 };
	struct known k;
	struct err e;
	char *text = arena_array(&a, char, LARGE + 1);
	memset(text, ' ', LARGE);
	put(text);
	assert_int_equal(known_load(&a, dir, &bundle, &k, &e), E_TOO_LARGE);
}

static void a_new_list_takes_the_place_of_a_damaged_file(void **state)
{
	struct known k = three(), again;
	put("junk");
	assert_int_equal(known_save(dir, &bundle, &k, NULL), E_OK);
	assert_int_equal(known_load(&a, dir, &bundle, &again, NULL), E_OK);
	assert_true(known_same(&k, &again));
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_was_said_is_there_after_a_restart),
		CASE(what_is_no_address_is_not_taken),
		CASE(no_more_are_taken_than_can_be_dialed),
		CASE(those_known_go_first_and_those_of_the_bundle_beside_them),
		CASE(a_file_that_is_damaged_or_hostile_is_not_used),
		CASE(what_is_no_plain_file_is_not_waited_for),
		CASE(a_file_that_is_too_large_is_not_read),
		CASE(a_new_list_takes_the_place_of_a_damaged_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
