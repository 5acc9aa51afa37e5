#include "base/notation.h"
#include "base/template.h"
#include "tests/lib/test.h"

static struct arena a;

static int begin(void **state)
{
	arena_init(&a);
	return 0;
}

static int end(void **state)
{
	arena_done(&a);
	return 0;
}

static const char *fact(const void *facts, const char *name)
{
	return strcmp(name, "labels.rack") == 0 ? facts : strcmp(name, "empty") == 0 ? "" : NULL;
}

static void names_are_filled_in(void **state)
{
	const char *why = NULL;
	assert_string_equal(
		template_fill(&a, "r{{labels.rack}}-{{ empty }}-{{  labels.rack  }}", fact, "r7", &why),
		"rr7--r7");
	assert_string_equal(template_fill(&a, "plain }}", fact, "", &why), "plain }}");
	assert_string_equal(template_fill(&a, "", fact, "", &why), "");
	assert_null(why);
}

static void what_is_not_known_is_named(void **state)
{
	const char *why = NULL;
	assert_null(template_fill(&a, "{{ labels.row }}", fact, "", &why));
	assert_string_equal(why, "this host has no 'labels.row'");
}

static void malformed_templates_are_refused(void **state)
{
	static const char *const texts[] = {"{{ host", "{{ a b }}", "{{}}", "{{ labels.rack }",
					    "x {{ {{ labels.rack }} }}"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *why = NULL;
		assert_null(template_fill(&a, texts[i], fact, "", &why));
		assert_string_equal(why, "malformed template; write {{ name }}");
	}
}

static void durations_are_read_whole_or_not_at_all(void **state)
{
	int64_t ms;
	char text[NOTATION_CAP];
	assert_true(notation_duration("1h30m500ms", &ms));
	assert_int_equal(ms, 5400500);
	assert_string_equal(notation_duration_text(ms, text), "1h30m500ms");
	assert_false(notation_duration("30m1h", &ms));
	assert_false(notation_duration("10mn", &ms));
	assert_false(notation_duration("5", &ms));
	assert_false(notation_duration("4000d", &ms));
}

static void sizes_are_read_whole_or_not_at_all(void **state)
{
	uint64_t bytes;
	char text[NOTATION_CAP];
	assert_true(notation_size("64MiB", &bytes));
	assert_int_equal(bytes, 64 << 20);
	assert_string_equal(notation_size_text(bytes, text), "64MiB");
	assert_false(notation_size("64MB", &bytes));
	assert_false(notation_size("2048TiB", &bytes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_filled_in),
		cmocka_unit_test(what_is_not_known_is_named),
		cmocka_unit_test(malformed_templates_are_refused),
		cmocka_unit_test(durations_are_read_whole_or_not_at_all),
		cmocka_unit_test(sizes_are_read_whole_or_not_at_all),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
