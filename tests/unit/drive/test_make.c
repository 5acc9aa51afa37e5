#include "tests/lib/test.h"

#include <stdio.h>

#include "coordinator/drive/make.h"
#include "tests/lib/fleet.h"

/* What `make` says of a deployment file before anything is committed. */
static struct test_fleet f;
static struct buf file;
static const char *env;

static void add_host(const char *name, const char *region)
{
	struct label web = {"role", "web"};
	struct command c = {
		.kind = COMMAND_HOST_ADD,
		.host = {.name = test_name(name), .region = test_name(region), .labels = {&web, 1}}};
	PRE(test_fleet_apply(&f, &c) == E_OK);
}

static int begin(void **state)
{
	test_fleet_init(&f);
	test_fleet_shop(&f);
	add_host("eu-1", "eu");
	add_host("us-1", "us");
	buf_init(&file);
	env = "prod";
	return 0;
}

static int end(void **state)
{
	buf_done(&file);
	test_fleet_done(&f);
	return 0;
}

static void begin_file(const char *regions)
{
	buf_puts(&file, "schema: wavetrain/v1\napp: shop\nartifact: { name: shop, type: tar.zst }\n"
			"targets: { labels: { role: web } }\n");
	buf_printf(&file, "regions: %s\n", regions);
	buf_puts(&file, "strategy: { rolling: { batch: 1 }, maxUnavailable: 1, floor: 0% }\n"
			"run:\n  command: [./shop]\n  user: shop\n");
}

static bool skip_stop_hooks;

static int make(struct command_deploy *out, struct make_text *text)
{
	const struct make_request rq = {.app = test_name("shop"),
					.version = test_target("1.0").version,
					.env = test_name(env),
					.spec = (const char *)file.data,
					.spec_len = file.len,
					.skip_stop_hooks = skip_stop_hooks,
					.id = {1},
					.initiator = "test"};
	int rc = make_deploy(f.st, &f.a, &rq, out, text);
	if (rc == E_SPEC)
		print_message("# %s\n", text->error);
	return rc;
}

static void put_env(unsigned from, unsigned to, unsigned value_bytes)
{
	char value[1024];
	PRE(value_bytes < sizeof value);
	memset(value, 'x', value_bytes);
	value[value_bytes] = '\0';
	for (unsigned i = from; i < to; i++)
		buf_printf(&file, "    KEY_%u: \"%s\"\n", i, value);
}

static void a_file_that_fits_is_taken(void **state)
{
	struct command_deploy out;
	struct make_text text;
	begin_file("[{ name: eu }, { name: us }]");
	buf_puts(&file, "  env:\n");
	put_env(0, 50, 1000);
	assert_int_equal(make(&out, &text), E_OK);
	assert_null(text.error);
	assert_in_range(out.spec_len, 50 * 1000, MAKE_FILE_MAX);
}

static void a_file_that_hosts_would_refuse_is_refused_with_its_size(void **state)
{
	struct command_deploy out;
	struct make_text text;
	begin_file("[{ name: eu }, { name: us }]");
	buf_puts(&file, "  env:\n");
	put_env(0, 70, 1000);
	assert_int_equal(make(&out, &text), E_TOO_LARGE);
	assert_non_null(strstr(text.error, "hosts take at most 65536"));
	assert_non_null(text.hint);
}

/* A few bytes of aliases are as long for hosts as what they stand for. */
static void aliases_count_written_out(void **state)
{
	struct command_deploy out;
	struct make_text text;
	begin_file("[{ name: eu }, { name: us }]");
	buf_puts(&file, "  env:\n    FIRST: &long \"");
	for (int i = 0; i < 1000; i++)
		buf_puts(&file, "0123456789");
	buf_puts(&file, "\"\n");
	for (int i = 0; i < 7; i++)
		buf_printf(&file, "    KEY_%d: *long\n", i);
	assert_true(file.len < 16 * 1024);
	assert_int_equal(make(&out, &text), E_TOO_LARGE);
}

static void a_host_of_another_environment_is_refused_with_what_to_do(void **state)
{
	static const char *const eu[] = {"eu"};
	struct command_deploy out;
	struct make_text text;
	begin_file("[{ name: eu }, { name: us }]");
	test_fleet_env(&f, "staging");
	assert_int_equal(test_fleet_deploy(&f, 1, "shop", "1.0", eu, 1), E_OK);
	assert_int_equal(make(&out, &text), E_OK);
	env = "staging";
	assert_int_equal(make(&out, &text), E_CONFLICT);
	assert_string_equal(text.error,
			    "host eu-1 has a task in r-0000000000000001, a rollout of shop in environment "
			    "prod: an app runs once on a host, so give the environments labels that no host "
			    "has in common");
	assert_string_equal(text.hint, "wavetrain env list; wavetrain env add prod --label KEY=VALUE");
}

static int64_t infra_cap(const char *deadlines)
{
	struct command_deploy out;
	struct make_text text;
	buf_reset(&file);
	buf_printf(&file,
		   "schema: wavetrain/v1\napp: shop\nartifact: { name: shop }\ntargets: { labels: {} }\n"
		   "regions: [{ name: eu }]\nstrategy: { floor: 0%%, deadlines: { %s } }\n"
		   "run: { command: [./shop] }\n",
		   deadlines);
	assert_int_equal(make(&out, &text), E_OK);
	return out.deployment.limits.infra_cap_ms;
}

static void nothing_given_back_is_nothing(void **state)
{
	assert_int_equal(infra_cap("infrastructure: 0s"), 0);
	assert_int_equal(infra_cap("infrastructure: 20s"), 20000);
	assert_int_equal(infra_cap(""), 30 * 60000);
}

static void that_hooks_are_left_out_is_part_of_the_plan(void **state)
{
	struct command_deploy with, without;
	struct make_text text;
	begin_file("[{ name: eu }]");
	assert_int_equal(make(&without, &text), E_OK);
	skip_stop_hooks = true;
	assert_int_equal(make(&with, &text), E_OK);
	skip_stop_hooks = false;
	assert_true(with.deployment.limits.skip_stop_hooks);
	assert_false(without.deployment.limits.skip_stop_hooks);
	assert_false(digest_eq(&with.plan, &without.plan));
}

static void hosts_that_no_region_takes_are_named(void **state)
{
	struct command_deploy out;
	struct make_text text;
	begin_file("[{ name: us }]");
	assert_int_equal(make(&out, &text), E_OK);
	assert_int_equal(out.tasks_nr, 1);
	assert_int_equal(text.notes_nr, 1);
	assert_string_equal(text.notes[0], "left out, as the file does not name their region: eu-1 (eu)");
	for (int i = 2; i < 9; i++) {
		char name[8];
		snprintf(name, sizeof name, "eu-%d", i);
		add_host(name, "eu");
	}
	assert_int_equal(make(&out, &text), E_OK);
	assert_non_null(strstr(text.notes[0], "eu-4 (eu), eu-5 (eu) and 3 more"));
}

static void nothing_is_noted_when_all_hosts_take_part(void **state)
{
	struct command_deploy out;
	struct make_text text;
	begin_file("[{ name: eu }, { name: us }]");
	assert_int_equal(make(&out, &text), E_OK);
	assert_int_equal(text.notes_nr, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_file_that_fits_is_taken),
		T(a_file_that_hosts_would_refuse_is_refused_with_its_size),
		T(aliases_count_written_out),
		T(that_hooks_are_left_out_is_part_of_the_plan),
		T(hosts_that_no_region_takes_are_named),
		T(nothing_is_noted_when_all_hosts_take_part),
		T(nothing_given_back_is_nothing),
		T(a_host_of_another_environment_is_refused_with_what_to_do),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
