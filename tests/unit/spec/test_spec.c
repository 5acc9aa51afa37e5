/* The deployment file from outside: corpora of good and bad files, the canonical form, values, overlays, the
 * pages. */
#include "tests/lib/test.h"

#include "base/err.h"
#include "agent/exec/record.h"
#include "coordinator/spec/scalar.h"
#include "coordinator/spec/spec.h"
#include "tests/unit/spec/conform.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD                                                                                                 \
	"schema: wavetrain/v1\napp: shop\nartifact: { name: shop }\ntargets: { labels: { role: web } }\n"    \
	"regions: [{ name: eu }]\nrun: { command: [./shop] }\nhealth: { ready: { tcp: '127.0.0.1:80' } }\n"

_Static_assert((int)SCALAR_LISTEN_CAP == (int)EXEC_ADDR_CAP, "what lint lets pass fits into exec's record");

static struct arena arena;
static struct spec_diags diags;

static int setup(void **state)
{
	arena_init(&arena);
	return 0;
}

static int teardown(void **state)
{
	arena_done(&arena);
	return 0;
}

static const char *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		fail_msg("cannot open %s", path);
	char *text = arena_alloc(&arena, 2 << 20);
	*len = fread(text, 1, (2 << 20) - 1, f);
	fclose(f);
	return text;
}

static int load(const char *text, struct spec *out)
{
	struct spec_source src = {.file = "f.yaml", .text = text, .len = strlen(text)};
	return spec_load(&arena, &src, out, &diags);
}

static int load_with(const char *base, const char *overlay, const char *set, struct spec *out)
{
	struct spec_source src = {.file = "f.yaml",
				  .text = base,
				  .len = strlen(base),
				  .overlay_file = overlay ? "o.yaml" : NULL,
				  .overlay_text = overlay,
				  .overlay_len = overlay ? strlen(overlay) : 0,
				  .sets = &set,
				  .sets_nr = set ? 1 : 0};
	return spec_load(&arena, &src, out, &diags);
}

static const char *canonical(const struct spec *s)
{
	struct buf b;
	buf_init(&b);
	spec_render_canonical(s, &b);
	const char *text = arena_strdup(&arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static void each_file(const char *folder, void (*fn)(const char *path))
{
	char dir[512], path[800];
	int seen = 0;
	snprintf(dir, sizeof(dir), "%s/%s", SOURCE_ROOT, folder);
	DIR *d = opendir(dir);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		if (!strstr(e->d_name, ".yaml") && !strstr(e->d_name, ".json"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		fn(path);
		seen++;
	}
	closedir(d);
	assert_true(seen > 0);
}

static void good_file(const char *path)
{
	struct spec s, again;
	struct spec_source src = {.file = path};
	src.text = read_file(path, &src.len);
	int rc = spec_load(&arena, &src, &s, &diags);
	if (rc || diags.warnings)
		fail_msg("%s: %s", path, diags.v[0].text);
	const char *json = canonical(&s);
	rc = spec_from_canonical(&arena, json, strlen(json), &again, &diags);
	if (rc)
		fail_msg("%s: its canonical form is refused: %s", path, diags.v[0].text);
	assert_string_equal(canonical(&again), json);
	conform_check(path, src.text, src.len);
	conform_check("canonical", json, strlen(json));
}

static void good_files_load_conform_to_the_schema_and_survive_the_canonical_form(void **state)
{
	each_file("tests/unit/spec/good", good_file);
	each_file("docs/examples", good_file);
}

static int bad_files_wrong; /* all are told before the test fails */

static void bad_file(const char *path)
{
	struct spec s;
	struct spec_source src = {.file = "f"};
	struct buf b;
	size_t len;
	src.text = read_file(path, &src.len);
	int rc = spec_load(&arena, &src, &s, &diags);
	buf_init(&b);
	for (size_t i = 0; i < diags.nr; i++) {
		const struct spec_diag *d = &diags.v[i];
		buf_printf(&b, "%d:%d %c%d%s%s\n", d->line, d->col, d->severity == SPEC_ERROR ? 'E' : 'W',
			   d->code, d->suggestion ? " " : "", d->suggestion ? d->suggestion : "");
	}
	const char *expect = arena_printf(&arena, "%.*s.expect", (int)(strlen(path) - 5), path);
	const char *want = read_file(expect, &len);
	if (strcmp(want, buf_cstr(&b))) {
		print_message("# %s: wanted\n%sgot\n%s", path, want, buf_cstr(&b));
		bad_files_wrong++;
	}
	assert_int_equal(rc, diags.errors ? E_SPEC : 0);
	buf_done(&b);
}

static void bad_files_give_exactly_the_expected_diagnostics(void **state)
{
	each_file("tests/unit/spec/bad", bad_file);
	assert_int_equal(bad_files_wrong, 0);
}

static void the_digest_ignores_key_order_and_notation(void **state)
{
	struct spec a, b;
	assert_int_equal(load(HEAD "keep: 5\nstrategy: { minHealthyTime: 90s, floor: 80% }\n", &a), 0);
	assert_int_equal(load("strategy: { floor: 80.0%, minHealthyTime: 1m30s }\n" HEAD "x-note: 1\n", &b),
			 0);
	struct digest da = spec_digest(&a), db = spec_digest(&b);
	assert_true(digest_eq(&da, &db));
	assert_int_equal(load(HEAD "keep: 6\n", &b), 0);
	db = spec_digest(&b);
	assert_false(digest_eq(&da, &db));
}

static void defaults_are_those_of_the_default_profile(void **state)
{
	struct spec s;
	assert_int_equal(load(HEAD, &s), 0);
	assert_int_equal(s.strategy.floor, 900);
	assert_int_equal(s.rollback.floor, 670);
	assert_int_equal(s.rollback.batch, 330);
	assert_int_equal(s.strategy.failure_budget.v, 20);
	assert_int_equal(s.strategy.deadlines.progress_ms, 600000);
	assert_int_equal(s.strategy.deadlines.drain_ms, 30000);
	assert_int_equal(s.keep, 5);
	assert_true(s.strategy.rolling.set && s.rollback.is_auto && !s.traffic.set && s.health.ready.set);
}

static void the_stricter_of_floor_and_max_unavailable_holds(void **state)
{
	struct spec s;
	assert_int_equal(load(HEAD "strategy: { maxUnavailable: 25% }\n", &s), 0);
	assert_int_equal(s.strategy.max_unavailable.v, 100);
	const char *json = canonical(&s);
	assert_int_equal(spec_from_canonical(&arena, json, strlen(json), &s, &diags), 0);
}

/* 67% of three hosts is three: a default above the floor that was given would close the way back. */
static void the_way_back_is_never_stricter_by_itself_than_the_way_there(void **state)
{
	struct spec s;
	assert_int_equal(load(HEAD "strategy: { floor: 50% }\n", &s), 0);
	assert_int_equal(s.rollback.floor, 500);
	assert_int_equal(load(HEAD "strategy: { floor: 80% }\n", &s), 0);
	assert_int_equal(s.rollback.floor, 670);
	assert_int_equal(load(HEAD "strategy: { floor: 50% }\nrollback: { floor: 67% }\n", &s), 0);
	assert_int_equal(s.rollback.floor, 670);
	const char *json = canonical(&s);
	assert_int_equal(spec_from_canonical(&arena, json, strlen(json), &s, &diags), 0);
	assert_int_equal(s.rollback.floor, 670);
}

static void addresses_are_in_numbers_or_of_this_host_or_refused(void **state)
{
	static const char *const listens[] = {"0.0.0.0:80", "[::]:80", "[2001:db8::1]:65535",
					      "{{ labels.ip }}:80", "[{{ labels.ip }}]:80"};
	static const char *const own[] = {"127.0.0.1",
					  "127.9.9.9:1",
					  "[::1]",
					  "[::1]:80",
					  "localhost:80",
					  "{{ labels.ip }}",
					  "{{ labels.ip }}:80",
					  "127.0.0.1:{{ labels.port }}"};
	static const char *const none[] = {
		"",
		":",
		":80",
		"[",
		"[]",
		"[]:80",
		"[::1",
		"[::1:80",
		"::1:80",
		"[::1]80",
		"127.0.0.1:0",
		"127.0.0.1:65536",
		"127.0.0.1:80x",
		"127.0.0.1.:80",
		"localhost.example:80",
		"10.0.0.1.example:80",
		"/run/app.sock",
		"[::ffff:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:1]:80"};
	for (size_t i = 0; i < ARRAY_LEN(listens); i++)
		assert_true(scalar_listen(listens[i]));
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		assert_true(scalar_loopback(own[i]));
	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		assert_false(scalar_listen(none[i]) || scalar_loopback(none[i]));
	assert_false(scalar_listen("localhost:80"));
	assert_false(scalar_loopback("10.0.0.1:80"));
}

static void an_overlay_merges_maps_and_replaces_lists(void **state)
{
	struct spec s;
	const char *over = "regions: [{ name: test }]\nstrategy: { floor: 50% }\nkeep: 3\n";
	assert_int_equal(load_with(HEAD "strategy: { minHealthyTime: 1s }\n", over, NULL, &s), 0);
	assert_int_equal(s.regions_nr, 1);
	assert_string_equal(s.regions[0].name, "test");
	assert_int_equal(s.strategy.floor, 500);
	assert_int_equal(s.strategy.min_healthy_ms, 1000);
	assert_int_equal(load_with(HEAD, "keep: soon\n", NULL, &s), E_SPEC);
	assert_string_equal(diags.v[0].file, "o.yaml");
	assert_int_equal(diags.v[0].line, 1);
}

#define VALUES "values: { keep: { type: int } }\n"

static void set_gives_declared_values_of_the_right_type_only(void **state)
{
	struct spec s;
	const char *base = VALUES HEAD "keep: \"{{ values.keep }}\"\n";
	assert_int_equal(load_with(base, NULL, "keep=7", &s), 0);
	assert_int_equal(s.keep, 7);
	assert_int_equal(load_with(base, NULL, "keep=many", &s), E_SPEC);
	assert_int_equal(diags.v[0].code, 1122);
	assert_string_equal(diags.v[0].file, "--set");
	assert_int_equal(load_with(base, NULL, "keep", &s), E_SPEC);
	assert_int_equal(load_with(base, NULL, "kep=7", &s), E_SPEC);
	assert_string_equal(diags.v[diags.nr - 1].suggestion, "did you mean 'keep'?");
}

static void values_cannot_smuggle_templates(void **state)
{
	struct spec s;
	assert_int_equal(
		load_with("values: { a: { type: string } }\n" HEAD "x-a: 1\n", NULL, "a={{ host }}", &s),
		E_SPEC);
	assert_int_equal(diags.v[diags.nr - 1].code, 1122);
}

static void limits_hold_for_what_aliases_values_and_size_write_out(void **state)
{
	struct spec s;
	struct buf b;
	buf_init(&b);
	buf_puts(&b, HEAD "x-a: &a \"");
	for (int i = 0; i < 1000; i++)
		buf_puts(&b, "0123456789");
	buf_puts(&b, "\"\nx-b: [");
	for (int i = 0; i < 200; i++)
		buf_puts(&b, "*a , ");
	buf_puts(&b, "]\n");
	assert_int_equal(load(buf_cstr(&b), &s), E_SPEC);
	assert_int_equal(diags.v[0].code, 1103);
	buf_reset(&b);
	while (b.len <= SPEC_BYTES_MAX)
		buf_puts(&b, "# a long comment of no use\n");
	assert_int_equal(load(buf_cstr(&b), &s), E_SPEC);
	assert_int_equal(diags.v[0].code, 1103);
	buf_done(&b);
}

static void more_than_fifty_faults_are_counted_not_kept(void **state)
{
	struct spec s;
	struct buf b;
	buf_init(&b);
	buf_puts(&b, HEAD);
	for (int i = 0; i < 80; i++)
		buf_printf(&b, "nokey%d: 1\n", i);
	assert_int_equal(load(buf_cstr(&b), &s), E_SPEC);
	assert_int_equal(diags.nr, SPEC_DIAGS_MAX);
	assert_int_equal(diags.errors, 80);
	buf_done(&b);
}

static void diagnostics_print_as_compilers_do(void **state)
{
	struct spec s;
	struct buf b;
	assert_int_equal(load(HEAD "kep: 5\n", &s), E_SPEC);
	buf_init(&b);
	spec_diag_print(&b, &diags);
	assert_string_equal(buf_cstr(&b), "f.yaml:8:1: error: unknown key 'kep'  [E1101]\n"
					  "    8 | kep: 5\n      | ^~~ did you mean 'keep'?\n"
					  "1 error, 0 warnings. Details: wavetrain explain E1101\n");
	buf_reset(&b);
	spec_diag_json(&b, &diags);
	assert_non_null(strstr(buf_cstr(&b), "\"code\":\"E1101\""));
	buf_done(&b);
}

static void text_of_the_file_cannot_drive_a_terminal(void **state)
{
	struct spec s;
	struct buf b;
	assert_int_equal(load(HEAD "\"k\\x1b[31m\": 5\n", &s), E_SPEC);
	buf_init(&b);
	spec_diag_print(&b, &diags);
	assert_null(strchr(buf_cstr(&b), 0x1b));
	buf_done(&b);
}

static void every_code_explains_itself(void **state)
{
	assert_int_equal(strncmp(spec_explain("E1101"), "unknown key\n\nThe key", 20), 0);
	assert_ptr_equal(spec_explain("W1201"), spec_explain("1201"));
	assert_null(spec_explain("E9999"));
	assert_null(spec_explain("E11x"));
	assert_null(spec_explain(""));
}

static void completion_follows_the_table(void **state)
{
	const char **names;
	assert_int_equal(spec_complete(&arena, "strategy.rolling", &names), 1);
	assert_string_equal(names[0], "batch");
	assert_int_equal(spec_complete(&arena, "regions", &names), 3);
	assert_int_equal(spec_complete(&arena, "values.port", &names), 2);
	assert_true(spec_complete(&arena, "", &names) > 10);
	assert_int_equal(spec_complete(&arena, "app", &names), 0);
	assert_int_equal(spec_complete(&arena, "nothing.here", &names), 0);
}

static void the_reference_page_is_fresh(void **state)
{
	struct buf b;
	size_t len;
	buf_init(&b);
	spec_reference_md(&b);
	const char *page = read_file(SOURCE_ROOT "/docs/reference/deployment-file.md", &len);
	if (strcmp(page, buf_cstr(&b)))
		fail_msg("docs/reference/deployment-file.md is stale: run spec_reference > "
			 "docs/reference/deployment-file.md");
	buf_done(&b);
}

static void the_schema_refuses_what_the_loader_refuses(void **state)
{
	assert_false(conform_ok(HEAD "kep: 5\n"));
	assert_false(conform_ok(HEAD "keep: many\n"));
	assert_false(conform_ok(HEAD "keep: 1\n"));
	assert_false(conform_ok(HEAD "strategy: { minHealthyTime: 10mn }\n"));
	assert_false(conform_ok("app: shop\n"));
	assert_true(conform_ok(HEAD "x-any: [1]\n"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(good_files_load_conform_to_the_schema_and_survive_the_canonical_form),
		CASE(bad_files_give_exactly_the_expected_diagnostics),
		CASE(the_digest_ignores_key_order_and_notation),
		CASE(defaults_are_those_of_the_default_profile),
		CASE(the_stricter_of_floor_and_max_unavailable_holds),
		CASE(the_way_back_is_never_stricter_by_itself_than_the_way_there),
		CASE(addresses_are_in_numbers_or_of_this_host_or_refused),
		CASE(an_overlay_merges_maps_and_replaces_lists),
		CASE(set_gives_declared_values_of_the_right_type_only),
		CASE(values_cannot_smuggle_templates),
		CASE(limits_hold_for_what_aliases_values_and_size_write_out),
		CASE(more_than_fifty_faults_are_counted_not_kept),
		CASE(diagnostics_print_as_compilers_do),
		CASE(text_of_the_file_cannot_drive_a_terminal),
		CASE(every_code_explains_itself),
		CASE(completion_follows_the_table),
		CASE(the_reference_page_is_fresh),
		CASE(the_schema_refuses_what_the_loader_refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
