#include "tests/lib/test.h"
#include "base/arena.h"

static void memory_is_zeroed_aligned_and_separate(void **state)
{
	struct arena a;
	arena_init(&a);
	for (size_t n = 0; n < 3000; n += 7) {
		unsigned char *p = arena_alloc(&a, n);
		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, n);
	}
	arena_done(&a);
}

static void large_pieces_and_reset_work(void **state)
{
	struct arena a;
	arena_init(&a);
	char *big = arena_alloc(&a, 1 << 20);
	big[(1 << 20) - 1] = 1;
	arena_reset(&a);
	assert_string_equal(arena_printf(&a, "%d %s", 7, "x"), "7 x");
	assert_string_equal(arena_strdup(&a, "kept"), "kept");
	arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_aligned_and_separate),
		cmocka_unit_test(large_pieces_and_reset_work),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
