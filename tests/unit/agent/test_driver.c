#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/driver.h"
#include "agent/journal.h"
#include "tests/lib/test.h"

static uv_loop_t loop;
static struct driver *driver;
static char dir[256];
static struct agent_effect asked; /* the one effect under way; id 0 = none */
static unsigned starts, changes;
static const struct agent_boot_id boot = {1, 2};
static const char spec[] = "{\"run\":[\"./shop\"]}";

static void on_start(void *arg, const struct agent_effect *e)
{
	asked = *e;
	starts += e->kind == AGENT_START;
}

static void on_cancel(void *arg, uint64_t effect)
{
	asked.id = 0;
}

static void on_changed(void *arg)
{
	changes++;
}

static int open_driver(void)
{
	struct driver_ports ports = {NULL, on_start, on_cancel, on_changed};
	asked.id = 0;
	return driver_open(&driver, &loop, dir, boot, &ports, NULL);
}

static void close_driver(void)
{
	driver_close(driver);
	uv_run(&loop, UV_RUN_DEFAULT);
}

static int begin(void **state)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof(dir), "%s/driver-XXXXXX", tmp != NULL ? tmp : "/tmp");
	starts = changes = 0;
	uv_loop_init(&loop);
	return mkdtemp(dir) == NULL ? -1 : open_driver();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	return remove(path);
}

static int end(void **state)
{
	close_driver();
	return uv_loop_close(&loop) | nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Assigns target 1 with `text` as its rendered file; the digest is that of `spec`. */
static int assign(const char *text)
{
	struct agent_assignment as = {.app = {"shop"}, .seq = 1, .fence = {1, 1, 1}, .deployment = 9};
	struct wire_text texts[2] = {
		{.target = {{1}}, .spec = (const uint8_t *)text, .spec_len = strlen(text)}};
	as.target = (struct agent_target){.id = {{1}}, .artifact = {{2}}, .type = "tar.zst"};
	EVP_Digest(spec, strlen(spec), as.target.spec.b, NULL, EVP_sha256(), NULL);
	const struct wire_label rack = {"rack", "r1"};
	struct wire_labels labels = {&rack, 1};
	struct wire_desired w = {
		.up_to_seq = 1, .assignments = &as, .texts = texts, .labels = &labels, .nr = 1};
	return driver_desired(driver, &w, NULL);
}

static void end_effect(void)
{
	struct agent_event ev = {.kind = AGENT_EFFECT_DONE};
	const struct agent_app *app = agent_find(driver_agent(driver), &asked.app);
	ev.done.app = asked.app;
	ev.done.id = asked.id;
	ev.done.evidence = (struct agent_evidence){
		asked.target.id, boot, asked.activation, 0, app->rec.activated_ms + 5, 3, 0};
	asked.id = 0;
	driver_done(driver, ev);
}

static void to_the_end(void)
{
	for (int i = 0; i < 50 && asked.id != 0; i++)
		end_effect();
}

static enum agent_state state_now(void)
{
	struct name app = {"shop"};
	return agent_find(driver_agent(driver), &app)->rec.state;
}

static void an_assignment_goes_to_healthy_and_is_reported(void **state)
{
	assert_int_equal(assign(spec), E_OK);
	to_the_end();
	assert_int_equal(state_now(), AGENT_HEALTHY);
	assert_true(changes > 0);
	struct buf b;
	buf_init(&b);
	uint64_t last = driver_report(driver, 0, 65536, &b);
	Wavetrain__Agent__Report *r = wavetrain__agent__report__unpack(NULL, b.len, b.data);
	assert_non_null(r);
	assert_int_equal(r->n_chunks, last);
	assert_int_equal(r->chunks[0]->what_case, WAVETRAIN__AGENT__CHUNK__WHAT_ACCEPTED);
	assert_int_equal(r->chunks[last - 1]->what_case, WAVETRAIN__AGENT__CHUNK__WHAT_RESULT);
	assert_int_equal(r->chunks[last - 1]->result->state, STEP_HEALTHY);
	assert_int_equal(driver_acked(driver, last, NULL), E_OK);
	assert_int_equal(driver_report(driver, 0, 65536, &b), 0);
	wavetrain__agent__report__free_unpacked(r, NULL);
	buf_done(&b);
}

static void a_restart_goes_on_where_it_was(void **state)
{
	assert_int_equal(assign(spec), E_OK);
	end_effect();
	assert_int_equal(asked.kind, AGENT_UNPACK);
	close_driver();
	assert_int_equal(open_driver(), E_OK);
	assert_int_equal(asked.kind, AGENT_UNPACK);
	to_the_end();
	assert_int_equal(state_now(), AGENT_HEALTHY);
	close_driver();
	assert_int_equal(open_driver(), E_OK);
	to_the_end();
	assert_int_equal(starts, 1);
}

static void a_small_report_holds_one_chunk_at_a_time(void **state)
{
	assert_int_equal(assign(spec), E_OK);
	to_the_end();
	struct buf b;
	buf_init(&b);
	assert_int_equal(driver_report(driver, 0, 1, &b), 1);
	buf_reset(&b);
	assert_int_equal(driver_report(driver, 1, 1, &b), 2);
	buf_done(&b);
}

static void a_rendered_file_that_was_changed_is_refused(void **state)
{
	struct agent_target id = {.id = {{1}}};
	EVP_Digest(spec, strlen(spec), id.spec.b, NULL, EVP_sha256(), NULL);
	struct buf b;
	buf_init(&b);
	assert_int_equal(assign("{\"run\":[\"./evil\"]}"), E_PROTOCOL);
	assert_int_equal(asked.id, 0);
	assert_int_equal(driver_text(driver, &id, &b, NULL), E_NOT_FOUND);
	assert_int_equal(assign(spec), E_OK);
	assert_int_equal(driver_text(driver, &id, &b, NULL), E_OK);
	assert_string_equal(buf_cstr(&b), spec);
	buf_done(&b);
}

static void flip_in(const char *leaf)
{
	char path[400], c;
	snprintf(path, sizeof(path), "%s/targets/%s", dir, leaf);
	FILE *f = fopen(path, "r+");
	assert_non_null(f);
	assert_int_equal(fseek(f, 3, SEEK_SET), 0);
	c = (char)(fgetc(f) ^ 1);
	assert_int_equal(fseek(f, 3, SEEK_SET), 0);
	assert_int_equal(fputc(c, f), (unsigned char)c);
	assert_int_equal(fclose(f), 0);
}

static void what_the_disk_changed_is_told_and_mended_by_the_next_assignment(void **state)
{
	struct agent_target t = {.id = {{1}}};
	struct name app = {"shop"};
	char hex[DIGEST_HEX_CAP];
	struct err e;
	struct buf b;
	buf_init(&b);
	EVP_Digest(spec, strlen(spec), t.spec.b, NULL, EVP_sha256(), NULL);
	assert_int_equal(assign(spec), E_OK);
	assert_int_equal(driver_labels(driver, &app, &b, NULL), E_OK);
	assert_memory_equal(b.data, "rack\0r1", 8);
	assert_int_equal(b.len, 8);
	buf_reset(&b);
	flip_in(digest_hex(&t.id, hex));
	flip_in("shop.labels");
	assert_int_equal(driver_text(driver, &t, &b, &e), E_CORRUPT);
	assert_non_null(strstr(e.text, hex));
	assert_int_equal(driver_labels(driver, &app, &b, &e), E_CORRUPT);
	assert_non_null(strstr(e.text, "shop.labels"));
	assert_int_equal(b.len, 0);
	assert_int_equal(assign(spec), E_OK);
	assert_int_equal(driver_text(driver, &t, &b, &e), E_OK);
	assert_int_equal(driver_labels(driver, &app, &b, &e), E_OK);
	buf_done(&b);
}

/* A target that was learned from exec has no digest of its file: then the id must be made of both. */
static void a_found_target_vouches_for_its_file(void **state)
{
	struct agent_target t = {.id = {{1}}, .artifact = {{2}}};
	struct buf b;
	buf_init(&b);
	assert_int_equal(assign(spec), E_OK);
	assert_int_equal(driver_text(driver, &t, &b, NULL), E_CORRUPT);
	buf_done(&b);
}

/* The report with all that waits, and the last chunk of lines in it. */
static Wavetrain__Agent__Report *last_lines(const Wavetrain__Agent__Chunk **out)
{
	struct buf b;
	buf_init(&b);
	driver_report(driver, 0, 1 << 20, &b);
	Wavetrain__Agent__Report *r = wavetrain__agent__report__unpack(NULL, b.len, b.data);
	assert_non_null(r);
	for (size_t i = 0; i < r->n_chunks; i++)
		if (r->chunks[i]->what_case == WAVETRAIN__AGENT__CHUNK__WHAT_LOG)
			*out = r->chunks[i];
	buf_done(&b);
	return r;
}

static void lines_are_told_of_the_work_and_outlive_the_agent(void **state)
{
	static const char *const lines[] = {"listening on 8080"};
	const struct tail_batch batch = {"output", lines, 1, 0};
	const struct name shop = {"shop"}, other = {"other"};
	const Wavetrain__Agent__Chunk *c = NULL;
	assert_int_equal(assign(spec), E_OK);
	unsigned before = changes;
	driver_log(driver, &shop, &batch);
	assert_int_equal(changes, before + 1);
	close_driver();
	assert_int_equal(open_driver(), E_OK);
	Wavetrain__Agent__Report *r = last_lines(&c);
	assert_non_null(c);
	assert_string_equal(c->log->lines[0], "listening on 8080");
	assert_int_equal(c->seq, 1);
	assert_int_equal(c->deployment, 9);
	assert_int_equal(c->trace_id.len, 16);
	uint64_t number = c->number;
	wavetrain__agent__report__free_unpacked(r, NULL);
	driver_log(driver, &other, &batch); /* one the agent knows nothing of */
	r = last_lines(&c);
	assert_true(c->number > number);
	assert_string_equal(c->app, "other");
	assert_int_equal(c->seq, 0);
	wavetrain__agent__report__free_unpacked(r, NULL);
}

/* What is written to /dev/null goes well, and cannot be synced. */
static void break_spool(void)
{
	char path[64], to[600];
	for (int fd = 3; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = '\0';
		if (strstr(to, ".seg") != NULL)
			assert_int_equal(dup2(open("/dev/null", O_RDWR | O_CLOEXEC), fd), fd);
	}
}

static void who_cannot_report_any_more_ends_and_the_next_run_says_it_again(void **state)
{
	int status = 0;
	struct buf b;
	buf_init(&b);
	pid_t pid = fork();
	if (pid == 0) {
		break_spool();
		_exit(assign(spec) == E_OK ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), DRIVER_EXIT_RESTART);
	close_driver();
	assert_int_equal(open_driver(), E_OK);
	assert_int_equal(asked.kind, AGENT_FETCH);
	assert_int_not_equal(driver_report(driver, 0, 65536, &b), 0);
	buf_done(&b);
}

static void assign_nothing(int app)
{
	struct agent_assignment as = {.seq = (uint64_t)app, .fence = {1, 1, (uint64_t)app}};
	struct wire_text texts[2] = {0};
	struct wire_labels labels = {0};
	snprintf(as.app.s, sizeof(as.app.s), "app-%d", app);
	const struct wire_desired w = {
		.up_to_seq = as.seq, .assignments = &as, .texts = texts, .labels = &labels, .nr = 1};
	assert_int_equal(driver_desired(driver, &w, NULL), E_OK);
	to_the_end();
	assert_non_null(agent_find(driver_agent(driver), &as.app));
}

static size_t apps_on_disk(bool *shop)
{
	char path[400];
	struct agent_record v[AGENT_APPS_MAX];
	size_t nr = 0;
	snprintf(path, sizeof(path), "%s/journal", dir);
	assert_int_equal(journal_load(path, v, ARRAY_LEN(v), &nr, NULL), E_OK);
	*shop = false;
	for (size_t i = 0; i < nr; i++)
		*shop = *shop || strcmp(v[i].app.s, "shop") == 0;
	return nr;
}

static void an_app_that_runs_nothing_makes_room_for_another(void **state)
{
	bool shop;
	assert_int_equal(assign(spec), E_OK);
	to_the_end();
	for (int i = 2; i <= 3 * AGENT_APPS_MAX; i++) {
		assign_nothing(i);
		assert_true(apps_on_disk(&shop) <= AGENT_APPS_MAX && shop);
	}
	assert_int_equal(state_now(), AGENT_HEALTHY);
	close_driver();
	assert_int_equal(open_driver(), E_OK);
	assert_int_equal(state_now(), AGENT_HEALTHY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_assignment_goes_to_healthy_and_is_reported, begin, end),
		cmocka_unit_test_setup_teardown(a_restart_goes_on_where_it_was, begin, end),
		cmocka_unit_test_setup_teardown(a_small_report_holds_one_chunk_at_a_time, begin, end),
		cmocka_unit_test_setup_teardown(a_rendered_file_that_was_changed_is_refused, begin, end),
		cmocka_unit_test_setup_teardown(
			what_the_disk_changed_is_told_and_mended_by_the_next_assignment, begin, end),
		cmocka_unit_test_setup_teardown(a_found_target_vouches_for_its_file, begin, end),
		cmocka_unit_test_setup_teardown(lines_are_told_of_the_work_and_outlive_the_agent, begin, end),
		cmocka_unit_test_setup_teardown(an_app_that_runs_nothing_makes_room_for_another, begin, end),
		cmocka_unit_test_setup_teardown(
			who_cannot_report_any_more_ends_and_the_next_run_says_it_again, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
