#include "tests/lib/test.h"
#include "tests/unit/cli/golden.h"

#include <jansson.h>

#include "coordinator/cli/cli.h"

/* ---- a fixed rollout ---- */

enum { MINUTE = 60000 };
static const int64_t begin = 1764000000000;

static Admin__Wave waves[4];
static Admin__Task tasks[8];
static Admin__Wave *wave_list[4];
static Admin__Task *task_list[8];
static char *waiting[] = {(char *)(uintptr_t) "wave 2 of eu-north: 1 host is probing, 1 is being fetched"};

static void make_wave(uint32_t i, const char *region, const char *state, uint32_t good, uint32_t hosts,
		      int64_t since)
{
	admin__wave__init(&waves[i]);
	waves[i].index = i;
	waves[i].region = (char *)(uintptr_t)region;
	waves[i].state = (char *)(uintptr_t)state;
	waves[i].good = good;
	waves[i].hosts = hosts;
	waves[i].state_since_ms = since;
	waves[i].bake_ms = i == 1 ? 10 * MINUTE : 0;
	waves[i].after = i == 2 ? 2 : i == 3 ? 4 : 0;
	wave_list[i] = &waves[i];
}

static void make_task(uint32_t i, const char *host, uint32_t wave, const char *state, const char *reason)
{
	admin__task__init(&tasks[i]);
	tasks[i].host = (char *)(uintptr_t)host;
	tasks[i].wave = wave;
	tasks[i].state = (char *)(uintptr_t)state;
	tasks[i].reason = (char *)(uintptr_t)reason;
	tasks[i].cause = (char *)(uintptr_t)(reason[0] ? "version" : "");
	tasks[i].state_since_ms = begin + 11 * MINUTE;
	tasks[i].touched = true;
	task_list[i] = &tasks[i];
}

static void make_rollout(Admin__Rollout *r)
{
	admin__rollout__init(r);
	r->id = (char *)(uintptr_t) "r-7f3a91b2c4d5e6f7";
	r->app = (char *)(uintptr_t) "checkout";
	r->env = (char *)(uintptr_t) "prod";
	r->from_version = (char *)(uintptr_t) "2.4.1";
	r->version = (char *)(uintptr_t) "2.5.0";
	r->state = (char *)(uintptr_t) "RUNNING";
	r->created_at_ms = begin;
	r->now_ms = begin + 12 * MINUTE + 4000;
	r->hosts_nr = 6;
	r->hosts_done = 3;
	r->hosts_touched = 5;
	make_wave(0, "eu-north", "PASSED", 2, 2, begin + 1000);
	make_wave(1, "eu-north", "ROLLING", 1, 3, begin + 6 * MINUTE);
	make_wave(2, "eu-west", "PENDING", 0, 1, 0);
	make_wave(3, "us-east", "PENDING", 0, 0, 0);
	make_task(0, "web-01", 0, "HEALTHY", "");
	make_task(1, "web-02", 0, "HEALTHY", "");
	make_task(2, "web-17", 1, "PROBING", "");
	make_task(3, "web-18", 1, "FAILED", "exited with 1: \033[31mpanic: nil session\n");
	make_task(4, "web-19", 1, "HEALTHY", "");
	make_task(5, "web-30", 2, "QUEUED", "");
	make_task(6, "web-20", 1, "ASSIGNED", "");
	make_task(7, "web-21", 1, "QUEUED", "");
	tasks[6].step = (char *)(uintptr_t) "acked";
	tasks[6].fetched_bytes = 6 << 20;
	tasks[6].fetch_total_bytes = 14 << 20;
	tasks[2].step = (char *)(uintptr_t) "probing";
	tasks[2].note = (char *)(uintptr_t) "2/3 passes";
	tasks[5].touched = false;
	r->waves = wave_list;
	r->n_waves = 4;
	r->tasks = task_list;
	r->n_tasks = 8;
	r->waiting = waiting;
	r->n_waiting = 1;
}

static void draw(unsigned width, bool utf8, bool verbose, const char *golden)
{
	struct cli_screen s = {.width = width, .utf8 = utf8};
	Admin__Rollout r;
	struct buf out;
	make_rollout(&r);
	buf_init(&out);
	cli_tree(&out, &r, &s, verbose);
	for (const char *line = buf_cstr(&out), *end; (end = strchr(line, '\n')); line = end + 1) {
		char one[1024];
		snprintf(one, sizeof one, "%.*s", (int)(end - line), line);
		assert_true(cli_columns(one) <= width);
		assert_null(strchr(one, '\033'));
	}
	golden_is(&out, golden);
	buf_done(&out);
}

static void the_tree_fits_80_columns(void **state)
{
	draw(80, true, false, GOLDEN "/tree-80.txt");
}

static void the_tree_fits_40_columns(void **state)
{
	draw(40, true, false, GOLDEN "/tree-40.txt");
}

static void the_tree_is_ascii_where_the_locale_is(void **state)
{
	draw(80, false, true, GOLDEN "/tree-ascii.txt");
}

static void a_bake_counts_down(void **state)
{
	struct cli_screen s = {.width = 80, .utf8 = true};
	Admin__Rollout r;
	struct buf out;
	make_rollout(&r);
	waves[1].state = (char *)(uintptr_t) "BAKING";
	waves[1].state_since_ms = r.now_ms - 8 * MINUTE;
	buf_init(&out);
	cli_tree(&out, &r, &s, false);
	assert_non_null(strstr(buf_cstr(&out), "bakes 2m00s more"));
	buf_done(&out);
}

static void a_failure_names_cause_evidence_state_and_next_step(void **state)
{
	struct cli_screen s = {.width = 80, .utf8 = true};
	Admin__Rollout r;
	struct buf out;
	make_rollout(&r);
	r.state = (char *)(uintptr_t) "ROLLED_BACK";
	r.reason = (char *)(uintptr_t) "wave 2 failed: 1 host over the failure budget of 0";
	r.ended_at_ms = begin + 190000;
	r.target_bad = true;
	for (int i = 0; i < 5; i++)
		tasks[i].state = (char *)(uintptr_t) "REVERTED";
	buf_init(&out);
	cli_report(&out, &r, &s);
	golden_is(&out, GOLDEN "/report-rolled-back.txt");
	tasks[3].state = (char *)(uintptr_t) "FAILED";
	cli_report(&out, &r, &s);
	golden_is(&out, GOLDEN "/report-half-back.txt");
	buf_done(&out);
}

static void a_failure_fits_the_screen_and_quotes_the_host(void **state)
{
	struct cli_screen s = {.width = 60, .utf8 = false};
	Admin__Seen seen = ADMIN__SEEN__INIT, *list = &seen;
	Admin__Rollout r;
	struct buf out;
	make_rollout(&r);
	r.state = (char *)(uintptr_t) "ROLLED_BACK";
	r.reason = (char *)(uintptr_t) "wave 2 failed: 1 host over the failure budget of 0";
	seen.host = (char *)(uintptr_t) "web-18";
	seen.reason = (char *)(uintptr_t) "PROBING: not healthy within 10 s: http 503";
	seen.line = (char *)(uintptr_t) "panic: nil\033[2J session";
	seen.line_count = 41;
	seen.at_ms = begin + 11 * MINUTE;
	r.seen = &list;
	r.n_seen = 1;
	r.seen_more = 2;
	buf_init(&out);
	cli_report(&out, &r, &s);
	for (const char *line = buf_cstr(&out), *end; (end = strchr(line, '\n')); line = end + 1)
		assert_true(end - line <= 60);
	golden_is(&out, GOLDEN "/report-seen-60.txt");
	buf_done(&out);
}

static void a_success_is_one_line(void **state)
{
	struct cli_screen s = {.width = 100, .utf8 = true};
	Admin__Rollout r;
	struct buf out;
	make_rollout(&r);
	r.state = (char *)(uintptr_t) "SUCCEEDED";
	r.hosts_done = 6;
	buf_init(&out);
	cli_report(&out, &r, &s);
	assert_string_equal(
		buf_cstr(&out),
		"✔ r-7f3a91b2 succeeded  checkout 2.5.0 in prod  after 12m04s   6 of 6 hosts healthy\n");
	buf_done(&out);
}

/* ---- help, completion, manual page ---- */

static void help_is_made_from_the_table(void **state)
{
	struct buf out;
	buf_init(&out);
	cli_help_top(&out);
	golden_is(&out, GOLDEN "/help.txt");
	assert_true(cli_help_topic(&out, "deploy"));
	golden_is(&out, GOLDEN "/help-deploy.txt");
	assert_true(cli_help_topic(&out, "exit-codes"));
	golden_is(&out, GOLDEN "/help-exit-codes.txt");
	assert_true(cli_help_topic(&out, "release"));
	assert_false(cli_help_topic(&out, "nothing"));
	buf_done(&out);
}

static void the_manual_page_is_not_stale(void **state)
{
	struct buf out;
	buf_init(&out);
	cli_man(&out);
	golden_is(&out, MANUAL);
	buf_done(&out);
}

static void bash_reads_the_completion(void **state)
{
	struct buf out;
	buf_init(&out);
	assert_true(cli_completion(&out, "bash"));
	FILE *bash = popen("bash -n", "we");
	assert_non_null(bash);
	fwrite(out.data, 1, out.len, bash);
	assert_int_equal(pclose(bash), 0);
	for (size_t i = 0; i < commands_nr; i++)
		assert_non_null(strstr(buf_cstr(&out), commands_table[i].name));
	assert_false(cli_completion(&out, "fish"));
	buf_done(&out);
}

/* ---- values ---- */

static void json_has_rfc3339_times_and_hex_digests(void **state)
{
	Admin__Release r = ADMIN__RELEASE__INIT;
	uint8_t digest[] = {0xab, 0x01};
	r.created_at_ms = begin;
	r.artifact.data = digest;
	r.artifact.len = 2;
	json_t *o = cli_json(&r.base);
	assert_string_equal(json_string_value(json_object_get(o, "created_at")), "2025-11-24T16:00:00Z");
	assert_string_equal(json_string_value(json_object_get(o, "artifact")), "ab01");
	assert_null(json_object_get(o, "created_at_ms"));
	json_decref(o);
}

static void text_of_others_cannot_drive_the_terminal(void **state)
{
	struct buf out;
	buf_init(&out);
	cli_put_cut(&out,
		    "a\033[2J\n\xc2\x9b"
		    "b\xff",
		    100);
	assert_string_equal(buf_cstr(&out), "a?[2J??b?");
	buf_reset(&out);
	cli_put_pad(&out, "é→x", 2);
	assert_string_equal(buf_cstr(&out), "é→");
	buf_done(&out);
}

static void ages_and_sizes_read_well(void **state)
{
	char t[32];
	assert_string_equal(cli_age(t, sizeof t, 252000), "4m12s");
	assert_string_equal(cli_age(t, sizeof t, -5), "0s");
	assert_string_equal(cli_bytes(t, sizeof t, 14889779), "14.1 MiB");
	assert_string_equal(cli_bytes(t, sizeof t, 1000), "1000 B");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tree_fits_80_columns),
		cmocka_unit_test(the_tree_fits_40_columns),
		cmocka_unit_test(the_tree_is_ascii_where_the_locale_is),
		cmocka_unit_test(a_failure_names_cause_evidence_state_and_next_step),
		cmocka_unit_test(a_failure_fits_the_screen_and_quotes_the_host),
		cmocka_unit_test(a_bake_counts_down),
		cmocka_unit_test(a_success_is_one_line),
		cmocka_unit_test(help_is_made_from_the_table),
		cmocka_unit_test(the_manual_page_is_not_stale),
		cmocka_unit_test(bash_reads_the_completion),
		cmocka_unit_test(json_has_rfc3339_times_and_hex_digests),
		cmocka_unit_test(text_of_others_cannot_drive_the_terminal),
		cmocka_unit_test(ages_and_sizes_read_well),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
