#include "tests/lib/test.h"

#include "coordinator/consensus/entry.h"

static void make(struct buf *b)
{
	buf_init(b);
	entry_begin(b);
	entry_add(b, "place", 5);
	entry_add(b, "", 0);
	entry_add(b, "start web", 9);
	entry_seal(b);
}

static void an_entry_gives_back_its_commands_in_order(void **state)
{
	static const char *const want[] = {"place", "", "start web"};
	struct entry_reader r;
	const uint8_t *cmd;
	struct buf b;
	size_t n;
	make(&b);
	assert_int_equal(b.len % 8, 0);
	assert_int_equal(entry_open(&r, b.data, b.len), E_OK);
	for (int i = 0; i < 3; i++) {
		assert_true(entry_next(&r, &cmd, &n));
		assert_int_equal(n, strlen(want[i]));
		assert_memory_equal(cmd, want[i], n);
	}
	assert_false(entry_next(&r, &cmd, &n));
	buf_done(&b);
}

static void an_entry_cut_at_any_byte_is_refused(void **state)
{
	struct entry_reader r;
	struct buf b;
	make(&b);
	for (size_t n = 0; n < b.len; n++)
		assert_int_not_equal(entry_open(&r, b.data, n), E_OK);
	buf_done(&b);
}

static void an_entry_with_any_bit_flipped_is_refused(void **state)
{
	struct entry_reader r;
	struct buf b;
	make(&b);
	for (size_t bit = 0; bit < b.len * 8; bit++) {
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_not_equal(entry_open(&r, b.data, b.len), E_OK);
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	buf_done(&b);
}

static void a_batch_is_full_by_count_and_by_bytes_but_takes_one_large_command(void **state)
{
	struct buf b;
	buf_init(&b);
	entry_begin(&b);
	assert_true(entry_has_room(&b, 0, ENTRY_MAX_COMMAND));
	assert_false(entry_has_room(&b, 1, ENTRY_MAX_BATCH));
	assert_true(entry_has_room(&b, ENTRY_MAX_COMMANDS - 1, 10));
	assert_false(entry_has_room(&b, ENTRY_MAX_COMMANDS, 10));
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_gives_back_its_commands_in_order),
		cmocka_unit_test(an_entry_cut_at_any_byte_is_refused),
		cmocka_unit_test(an_entry_with_any_bit_flipped_is_refused),
		cmocka_unit_test(a_batch_is_full_by_count_and_by_bytes_but_takes_one_large_command),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
