#include "tests/lib/test.h"

#include "coordinator/admin/commands_words.h"

static void distance_counts_slips(void **state)
{
	assert_int_equal(commands_words_distance("shop", "shop", 2), 0);
	assert_int_equal(commands_words_distance("shpo", "shop", 2), 1);
	assert_int_equal(commands_words_distance("sho", "shop", 2), 1);
	assert_int_equal(commands_words_distance("shoop", "shop", 2), 1);
	assert_int_equal(commands_words_distance("shop", "shot", 2), 1);
	assert_int_equal(commands_words_distance("kitten", "sitting", 5), 3);
	assert_int_equal(commands_words_distance("ca", "abc", 5), 3);
	assert_int_equal(commands_words_distance("", "ab", 2), 2);
	assert_int_equal(commands_words_distance("ab", "", 2), 2);
}

static void what_is_over_the_limit_is_one_more(void **state)
{
	char longer[200];
	memset(longer, 'a', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	assert_int_equal(commands_words_distance("abcd", "wxyz", 2), 3);
	assert_int_equal(commands_words_distance("a", "abcdef", 2), 3);
	assert_int_equal(commands_words_distance(longer, longer, 2), 3);
}

static void a_short_word_allows_one_slip(void **state)
{
	assert_true(commands_words_close("prdo", "prod"));
	assert_false(commands_words_close("demo", "prod"));
	assert_true(commands_words_close("chekcuot", "checkout"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(distance_counts_slips),
		cmocka_unit_test(what_is_over_the_limit_is_one_more),
		cmocka_unit_test(a_short_word_allows_one_slip),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
