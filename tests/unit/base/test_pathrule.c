#include "tests/lib/test.h"
#include "base/pathrule.h"

static void plain_paths_are_allowed(void **state)
{
	static const char *const good[] = {"a", "a/b", "a/b/", "a.b/..c", "gr\xc3\xbc\xc3\x9f", "...", "a b"};
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_null(pathrule_refuses(good[i]));
}

static void paths_that_leave_or_confuse_are_refused(void **state)
{
	static const char *const bad[] = {
		"",	 "/",	    "/a",   ".",     "..",   "../a", "a/..",	     "a/../b",
		"a//b",	 "a/./b",   "a\nb", "a\x7f", "a\\b", "\xc3", "\xed\xa0\x80", "\xf5\x80\x80\x80",
		"a\xff", "\xc0\xaf"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_non_null(pathrule_refuses(bad[i]));
}

static void length_and_depth_end_at_their_limits(void **state)
{
	char path[2 * PATHRULE_BYTES_MAX];
	memset(path, 'a', sizeof path);
	path[PATHRULE_BYTES_MAX] = '\0';
	assert_null(pathrule_refuses(path));
	path[PATHRULE_BYTES_MAX] = 'a';
	path[PATHRULE_BYTES_MAX + 1] = '\0';
	assert_non_null(pathrule_refuses(path));
	for (int i = 0; i < 65; i++)
		memcpy(path + 2 * i, "d/", 2);
	path[2 * 64] = '\0';
	assert_null(pathrule_refuses(path));
	path[2 * 64] = 'd';
	path[2 * 65] = '\0';
	assert_non_null(pathrule_refuses(path));
}

static void links_stay_inside(void **state)
{
	assert_null(pathrule_refuses_link("bin/current", "app"));
	assert_null(pathrule_refuses_link("a/b/l", "../../x"));
	assert_non_null(pathrule_refuses_link("a/l", "../../x"));
	assert_non_null(pathrule_refuses_link("l", ".."));
	assert_non_null(pathrule_refuses_link("l", "/x"));
	assert_non_null(pathrule_refuses_link("a/l", "x/../../../y"));
	assert_non_null(pathrule_refuses_link("l", ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_paths_are_allowed),
		cmocka_unit_test(paths_that_leave_or_confuse_are_refused),
		cmocka_unit_test(length_and_depth_end_at_their_limits),
		cmocka_unit_test(links_stay_inside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
