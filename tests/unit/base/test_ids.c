#include "tests/lib/test.h"
#include "base/ids.h"

static void names_take_only_what_is_safe_in_a_path(void **state)
{
	static const char *const bad[] = {"", "..", "a/b", "A", ".x", "-x", "a b", "a\n", "\xc3\xa4", "a;b"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(name_ok(bad[i]));
	assert_true(name_ok("eu-north.1_a"));
	assert_true(version_ok("2.5.0-RC1+b7"));
	assert_false(version_ok("+1"));
}

static void a_name_of_65_letters_is_refused(void **state)
{
	char s[66];
	memset(s, 'a', 65);
	s[65] = '\0';
	struct name n;
	assert_false(name_set(&n, s));
	assert_true(name_empty(&n));
	assert_true(name_set(&n, s + 1));
	assert_string_equal(n.s, s + 1);
}

static void digests_round_trip_and_refuse_other_text(void **state)
{
	struct digest d = {.b = {0xab, 1, 2}}, again;
	char hex[DIGEST_HEX_CAP];
	digest_hex(&d, hex);
	assert_true(digest_parse(&again, hex));
	assert_true(digest_eq(&d, &again));
	hex[0] = 'G';
	assert_false(digest_parse(&again, hex));
	assert_false(digest_parse(&again, "ab"));
}

static void deployment_ids_round_trip(void **state)
{
	char text[DEPLOYMENT_ID_CAP];
	struct deployment_id id = {0x7f3a000000000001}, again;
	assert_string_equal(deployment_id_text(id, text), "r-7f3a000000000001");
	assert_true(deployment_id_parse(&again, text));
	assert_int_equal(again.v, id.v);
	assert_false(deployment_id_parse(&again, "r-7f3a"));
}

static void a_fence_compares_generation_then_term_then_epoch(void **state)
{
	struct fence a = {1, 9, 9}, b = {2, 1, 1}, c = {2, 1, 2};
	assert_true(fence_cmp(&a, &b) < 0);
	assert_true(fence_cmp(&c, &b) > 0);
	assert_int_equal(fence_cmp(&b, &b), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_take_only_what_is_safe_in_a_path),
		cmocka_unit_test(a_name_of_65_letters_is_refused),
		cmocka_unit_test(digests_round_trip_and_refuse_other_text),
		cmocka_unit_test(deployment_ids_round_trip),
		cmocka_unit_test(a_fence_compares_generation_then_term_then_epoch),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
