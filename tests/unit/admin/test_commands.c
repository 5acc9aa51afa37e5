#include "tests/lib/test.h"
#include "coordinator/admin/commands.h"
#include "coordinator/admin/commands_frame.h"
#include "proto/admin.pb-c.h"

static void numbers_and_names_are_unique(void **state)
{
	for (size_t i = 0; i < commands_nr; i++)
		for (size_t j = 0; j < i; j++) {
			assert_int_not_equal(commands_table[i].id, commands_table[j].id);
			assert_string_not_equal(commands_table[i].name, commands_table[j].name);
		}
}

static void examples_begin_with_the_command_itself(void **state)
{
	for (size_t i = 0; i < commands_nr; i++) {
		assert_non_null(strstr(commands_table[i].example, commands_table[i].name));
		assert_true(commands_table[i].help[0] >= 'A' && commands_table[i].help[0] <= 'Z');
	}
}

static void what_changes_something_needs_more_than_a_viewer(void **state)
{
	for (size_t i = 0; i < commands_nr; i++) {
		const struct command_row *r = &commands_table[i];
		if (r->flags & COMMAND_MUTATES)
			assert_true(r->role >= ROLE_OPERATOR && r->danger != DANGER_NONE);
		else
			assert_true(r->role == ROLE_VIEWER && r->danger == DANGER_NONE);
	}
}

static void option_bits_are_single_and_unique(void **state)
{
	unsigned all = 0;
	for (size_t i = 0; i < options_nr; i++) {
		assert_int_equal(__builtin_popcount(options_table[i].bit), 1);
		assert_int_equal(all & options_table[i].bit, 0);
		all |= options_table[i].bit;
	}
	for (size_t i = 0; i < commands_nr; i++)
		assert_int_equal(commands_table[i].options & ~all, 0);
}

static void a_row_is_found_by_number_and_by_name(void **state)
{
	for (size_t i = 0; i < commands_nr; i++) {
		assert_ptr_equal(command_by_number((unsigned)commands_table[i].id), &commands_table[i]);
		assert_ptr_equal(command_by_name(commands_table[i].name), &commands_table[i]);
	}
	assert_null(command_by_number(9999));
	assert_null(command_by_name("release"));
}

static void a_frame_is_whole_partial_or_too_large(void **state)
{
	Admin__Request rq = ADMIN__REQUEST__INIT;
	struct buf b;
	const uint8_t *body;
	size_t n;
	rq.verb = 7;
	buf_init(&b);
	commands_frame_put(&b, &rq.base);
	for (size_t i = 0; i < b.len; i++)
		assert_int_equal(commands_frame_next(b.data, i, 100, &body, &n), FRAME_PARTIAL);
	assert_int_equal(commands_frame_next(b.data, b.len, 100, &body, &n), FRAME_WHOLE);
	assert_int_equal(n, b.len - 4);
	assert_int_equal(commands_frame_next(b.data, b.len, 1, &body, &n), FRAME_TOO_LARGE);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_and_names_are_unique),
		cmocka_unit_test(examples_begin_with_the_command_itself),
		cmocka_unit_test(what_changes_something_needs_more_than_a_viewer),
		cmocka_unit_test(option_bits_are_single_and_unique),
		cmocka_unit_test(a_row_is_found_by_number_and_by_name),
		cmocka_unit_test(a_frame_is_whole_partial_or_too_large),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
