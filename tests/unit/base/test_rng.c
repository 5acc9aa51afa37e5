#include "tests/lib/test.h"
#include "base/rng.h"

static void the_same_seed_gives_the_same_numbers(void **state)
{
	struct rng a, b;
	rng_seed(&a, 42);
	rng_seed(&b, 42);
	for (int i = 0; i < 100; i++)
		assert_int_equal(rng_next(&a), rng_next(&b));
}

static void ranges_are_kept_and_filled(void **state)
{
	struct rng r;
	unsigned seen = 0;
	rng_seed(&r, 1);
	for (int i = 0; i < 1000; i++) {
		int64_t v = rng_range(&r, -3, 4);
		assert_in_range(v + 3, 0, 7);
		seen |= 1u << (v + 3);
	}
	assert_int_equal(seen, 0xff);
}

static void jitter_stays_under_its_ceiling(void **state)
{
	struct rng r;
	rng_seed(&r, 1);
	for (unsigned n = 0; n < 200; n++) {
		int64_t v = rng_full_jitter_ms(&r, n, 500, 60000);
		assert_true(v >= 0 && v <= 60000 && (n > 6 || v <= 500 << n));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_seed_gives_the_same_numbers),
		cmocka_unit_test(ranges_are_kept_and_filled),
		cmocka_unit_test(jitter_stays_under_its_ceiling),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
