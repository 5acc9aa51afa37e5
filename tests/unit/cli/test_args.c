#include "tests/lib/test.h"
#include "coordinator/cli/cli.h"

#include <stdio.h>

static struct cli_args args;
static char why[512];

static bool parse(const char *line)
{
	static char copy[512];
	char *argv[32] = {(char *)(uintptr_t) "wavetrain"};
	int argc = 1;
	snprintf(copy, sizeof copy, "%s", line);
	for (char *w = strtok(copy, " "); w && argc < 31; w = strtok(NULL, " "))
		argv[argc++] = w;
	argv[argc] = NULL;
	why[0] = '\0';
	return cli_args_parse(argc, argv, &args, why, sizeof why);
}

static void a_command_has_one_or_two_words(void **state)
{
	assert_true(parse("status"));
	assert_int_equal(args.row->id, CMD_STATUS);
	assert_true(parse("release push checkout 2.5.0 ./dist"));
	assert_int_equal(args.row->id, CMD_RELEASE_PUSH);
	assert_int_equal(args.words_nr, 3);
	assert_string_equal(args.words[2], "./dist");
}

static void options_stand_anywhere(void **state)
{
	assert_true(parse("-o json --socket /s deploy checkout -e prod 2.5.0 --detach"));
	assert_int_equal(args.format, FORMAT_JSON);
	assert_string_equal(args.socket, "/s");
	assert_string_equal(cli_option(&args, OPT_ENV), "prod");
	assert_non_null(cli_option(&args, OPT_DETACH));
	assert_null(cli_option(&args, OPT_REASON));
	assert_string_equal(args.words[1], "2.5.0");
	assert_true(parse("-e prod history checkout"));
	assert_string_equal(cli_option(&args, OPT_ENV), "prod");
}

static void a_letter_is_that_of_the_command(void **state)
{
	assert_true(parse("logs checkout -f --since 10m"));
	assert_non_null(cli_option(&args, OPT_FOLLOW));
	assert_null(cli_option(&args, OPT_FILE));
	assert_true(parse("lint -f deploy.yaml"));
	assert_string_equal(cli_option(&args, OPT_FILE), "deploy.yaml");
	assert_null(cli_option(&args, OPT_FOLLOW));
}

static void after_two_dashes_all_are_words(void **state)
{
	assert_true(parse("app add -- -x"));
	assert_string_equal(args.words[0], "-x");
}

static void labels_repeat_and_need_a_value(void **state)
{
	assert_true(parse("agents add web-1 --region eu -l role=web --label tier=prod"));
	assert_int_equal(args.labels_nr, 2);
	assert_string_equal(args.labels[1], "tier=prod");
	assert_false(parse("agents add web-1 -l role"));
}

static void values_repeat_and_need_a_value(void **state)
{
	assert_true(parse("plan shop 1.0 --set batch=2 --set greeting=a=b"));
	assert_int_equal(args.sets_nr, 2);
	assert_string_equal(args.sets[1], "greeting=a=b");
	assert_true(parse("lint --set batch="));
	assert_false(parse("deploy shop 1.0 --set batch"));
	assert_string_equal(why, "--set takes NAME=VALUE, not 'batch'");
	assert_false(parse("status --set batch=2"));
}

static void numbers_are_whole_or_refused(void **state)
{
	assert_true(parse("list --limit 3"));
	assert_int_equal(cli_number(&args, OPT_LIMIT), 3);
	assert_true(parse("events --cursor 18446744073709551615"));
	assert_true(cli_number(&args, OPT_CURSOR) == UINT64_MAX);
	assert_int_equal(cli_number(&args, OPT_LIMIT), 0);
	static const char *const bad[] = {"list --limit abc",	     "list --limit 0",
					  "list --limit 3x",	     "history a --limit -1",
					  "logs --limit 4294967296", "events --cursor x",
					  "watch --cursor 1.5",	     "events --cursor 18446744073709551616",
					  "audit list --from +1",    "promote --wave 0",
					  "promote --wave all"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_false(parse(bad[i]));
		assert_non_null(strstr(why, " takes a number from "));
	}
}

static void counts_of_tests_are_whole_or_refused(void **state)
{
	uint32_t passed, failed;
	assert_true(cli_parse_tests("41/42", &passed, &failed));
	assert_int_equal(passed, 41);
	assert_int_equal(failed, 1);
	static const char *const bad[] = {"12/x", "12",		  "3/2",
					  "/2",	  "1/",		  "1/2/3",
					  "-1/2", "1/4294967296", "000000000000000000000000000001/2"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(cli_parse_tests(bad[i], &passed, &failed));
	assert_false(parse("release push a 1 . --tests 12/x"));
	assert_non_null(strstr(why, "--tests takes PASSED/TOTAL, not '12/x'"));
}

static void what_is_missing_or_too_much_is_told(void **state)
{
	assert_false(parse("deploy checkout"));
	assert_non_null(strstr(why, "usage: wavetrain deploy [APP VERSION]"));
	assert_true(parse("deploy --plan p.json"));
	assert_false(parse("version now"));
	assert_false(parse("app"));
	assert_false(parse("status --timeout"));
	assert_false(parse("status --timeout 5x"));
	assert_false(parse("status -o yaml"));
	assert_true(parse("list -o name"));
	assert_true(parse("release show shop 1.0 -o name"));
	assert_false(parse("status -o name"));
	assert_string_equal(why, "-o name is for lists, not for 'wavetrain status'");
	assert_true(parse("-o wide agents list"));
	assert_true(args.wide && args.format == FORMAT_TEXT);
}

static void unknown_words_get_a_suggestion(void **state)
{
	assert_false(parse("depoly checkout 1"));
	assert_string_equal(why, "unknown command 'depoly'; did you mean 'deploy'?");
	assert_false(parse("app lst"));
	assert_non_null(strstr(why, "did you mean 'app list'?"));
	assert_false(parse("relaese push"));
	assert_string_equal(why, "unknown command 'relaese'; did you mean 'release'?");
	assert_false(parse("deploy shop 1 --confrim=shop"));
	assert_string_equal(why, "unknown option --confrim=shop; did you mean '--confirm'?");
	assert_false(parse("--tiemout 3s list"));
	assert_string_equal(why, "unknown option --tiemout; did you mean '--timeout'?");
	assert_false(parse("list --xyzzy"));
	assert_null(strstr(why, "did you mean"));
	assert_false(parse("frobnicate"));
	assert_false(parse("status --wave 3"));
	assert_non_null(strstr(why, "does not belong to"));
	assert_false(parse("status -Z"));
}

static void help_needs_no_arguments(void **state)
{
	assert_true(parse("deploy --help"));
	assert_true(args.help && args.row->id == CMD_DEPLOY);
	assert_true(parse("-h"));
	assert_true(args.help && !args.row);
	assert_true(parse(""));
	assert_null(args.row);
}

static void durations_are_sums_of_units(void **state)
{
	int64_t ms;
	assert_true(cli_parse_duration("1h30m", &ms) && ms == 5400000);
	assert_true(cli_parse_duration("90s", &ms) && ms == 90000);
	assert_true(cli_parse_duration("250ms", &ms) && ms == 250);
	assert_true(cli_parse_duration("2d", &ms) && ms == 172800000);
	assert_false(cli_parse_duration("10", &ms));
	assert_false(cli_parse_duration("10mn", &ms));
	assert_false(cli_parse_duration("", &ms));
	assert_false(cli_parse_duration("999999999999999999d", &ms));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_has_one_or_two_words),
		cmocka_unit_test(options_stand_anywhere),
		cmocka_unit_test(a_letter_is_that_of_the_command),
		cmocka_unit_test(after_two_dashes_all_are_words),
		cmocka_unit_test(labels_repeat_and_need_a_value),
		cmocka_unit_test(values_repeat_and_need_a_value),
		cmocka_unit_test(numbers_are_whole_or_refused),
		cmocka_unit_test(counts_of_tests_are_whole_or_refused),
		cmocka_unit_test(what_is_missing_or_too_much_is_told),
		cmocka_unit_test(unknown_words_get_a_suggestion),
		cmocka_unit_test(help_needs_no_arguments),
		cmocka_unit_test(durations_are_sums_of_units),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
