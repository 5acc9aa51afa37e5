#include "tests/lib/test.h"
#include "coordinator/plan/amount.h"

#define COUNT(n) ((struct amount){.v = (n)})
#define SHARE(p) ((struct amount){.is_share = true, .v = (p)})

static void a_share_rounded_up_is_at_least_one_and_at_most_all(void **state)
{
	assert_int_equal(amount_up(SHARE(250), 6), 2);
	assert_int_equal(amount_up(SHARE(1), 6), 1);
	assert_int_equal(amount_up(SHARE(0), 6), 1);
	assert_int_equal(amount_up(SHARE(1000), 6), 6);
	assert_int_equal(amount_up(COUNT(9), 6), 6);
	assert_int_equal(amount_up(COUNT(2), 0), 0);
}

static void a_share_rounded_down_may_be_nothing(void **state)
{
	assert_int_equal(amount_down(SHARE(20), 49), 0);
	assert_int_equal(amount_down(SHARE(20), 50), 1);
	assert_int_equal(amount_down(SHARE(20), 1000), 20);
	assert_int_equal(amount_down_to_one(SHARE(100), 9), 1);
	assert_int_equal(amount_down_to_one(SHARE(100), 25), 2);
	assert_int_equal(amount_down(COUNT(3), 1), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_share_rounded_up_is_at_least_one_and_at_most_all),
		cmocka_unit_test(a_share_rounded_down_may_be_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
