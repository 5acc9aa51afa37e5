#include "tests/lib/test.h"
#include "base/err.h"

#include <errno.h>

static void names_and_classes_come_from_the_table(void **state)
{
	assert_string_equal(err_name(E_NOT_FOUND), "E_NOT_FOUND");
	assert_string_equal(err_name(9999), "E_?");
	assert_int_equal(err_class(E_STALE), ERR_CONFLICT);
	assert_int_equal(err_class(-1), ERR_BUG);
}

static void set_fills_and_returns_the_code(void **state)
{
	struct err e = {0};
	assert_int_equal(err_sys(&e, E_IO, ENOENT, "open %s", "x"), E_IO);
	assert_string_equal(e.text, "open x: No such file or directory");
	assert_int_equal(e.sys_errno, ENOENT);
}

static void wrap_puts_the_outer_first_and_never_overflows(void **state)
{
	struct err e = {0};
	err_set(&e, E_CORRUPT, "inner");
	assert_int_equal(err_wrap(&e, "outer %d", 1), E_CORRUPT);
	assert_string_equal(e.text, "outer 1: inner");
	for (int i = 0; i < 100; i++)
		err_wrap(&e, "a longer prefix of some kind");
	assert_true(strlen(e.text) < sizeof e.text);
}

static void a_null_error_is_allowed(void **state)
{
	assert_int_equal(err_set(NULL, E_BUSY, "x"), E_BUSY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_classes_come_from_the_table),
		cmocka_unit_test(set_fills_and_returns_the_code),
		cmocka_unit_test(wrap_puts_the_outer_first_and_never_overflows),
		cmocka_unit_test(a_null_error_is_allowed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
