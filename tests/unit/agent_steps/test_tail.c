#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/steps/tail.h"
#include "agent/steps/tail_text.h"

static uv_loop_t loop;
static struct tail *tail;
static char dir[200], path[300], older[300];
static uint32_t rate;
static char got[1 << 16]; /* lines, each with a '|' behind */
static size_t got_len, batches;
static uint64_t lines, dropped;
static size_t most;		/* bytes of the largest batch */
static void (*meanwhile)(void); /* what the program does while its lines are taken, once */

static void on_lines(void *ctx, const struct name *app, const struct tail_batch *b)
{
	size_t bytes = 0;
	assert_string_equal(app->s, "shop");
	assert_string_equal(b->stream, "output");
	batches++;
	dropped += b->dropped;
	lines += b->nr;
	for (size_t i = 0; i < b->nr; i++) {
		size_t n = strlen(b->lines[i]);
		bytes += n + 1;
		assert_true(n <= TAIL_LINE_MAX);
		if (got_len + n + 2 < sizeof got)
			got_len += (size_t)snprintf(got + got_len, sizeof got - got_len, "%s|", b->lines[i]);
	}
	most = bytes > most ? bytes : most;
	void (*act)(void) = meanwhile;
	meanwhile = NULL;
	if (act != NULL)
		act();
}

static void open_tail(void)
{
	struct err e;
	const struct tail_config c = {
		.path = path, .cursor_dir = dir, .app = {"shop"}, .lines_per_second = rate};
	if (tail_open(&tail, &loop, &c, on_lines, NULL, &e) != E_OK)
		fail_msg("%s", e.text);
}

static void forget(void)
{
	got[got_len = 0] = '\0';
	lines = dropped = batches = most = 0;
}

static int begin(void **state)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof dir, "%.100s/tail-XXXXXX", tmp != NULL ? tmp : "/tmp");
	rate = 1000000;
	forget();
	if (mkdtemp(dir) == NULL || uv_loop_init(&loop) != 0)
		return -1;
	snprintf(path, sizeof path, "%s/output.log", dir);
	snprintf(older, sizeof older, "%s/output.log.1", dir);
	open_tail();
	return 0;
}

static void close_tail(void)
{
	tail_close(tail);
	uv_run(&loop, UV_RUN_DEFAULT);
	tail = NULL;
}

static int end(void **state)
{
	DIR *d = opendir(dir);
	if (tail != NULL)
		close_tail();
	for (struct dirent *f; (f = readdir(d)) != NULL;)
		if (f->d_name[0] != '.')
			unlinkat(dirfd(d), f->d_name, 0);
	closedir(d);
	return rmdir(dir) | uv_loop_close(&loop);
}

/* As exec writes: appended with one write. */
static void print_bytes(const char *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0640);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static void print(const char *text)
{
	print_bytes(text, strlen(text));
}

static void rotate(void)
{
	assert_int_equal(rename(path, older), 0);
	print("");
}

static void expect(const char *all)
{
	for (int i = 0; i < 3000 && strcmp(got, all) != 0; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		uv_sleep(5);
	}
	assert_string_equal(got, all);
}

static void restart(void)
{
	close_tail();
	open_tail();
}

/* ---- following ---- */

static void lines_come_as_they_are_printed(void **state)
{
	print("one\ntwo\n");
	expect("one|two|");
	print("three\n\nfi");
	expect("one|two|three||");
	print("ve\n");
	expect("one|two|three||five|");
	assert_int_equal(dropped, 0);
}

static void the_file_may_come_later(void **state)
{
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	print("late\n");
	expect("late|");
}

static void a_rotation_loses_nothing_and_a_line_may_span_it(void **state)
{
	print("one\ntw");
	expect("one|");
	print("o\nthr");
	rotate();
	print("ee\nfour\n");
	expect("one|two|three|four|");
	rotate();
	print("five\n");
	expect("one|two|three|four|five|");
	assert_int_equal(dropped, 0);
}

static void two_rotations_before_a_look_are_told(void **state)
{
	print("one\n");
	expect("one|");
	print("two\n");
	rotate();
	print("three\n");
	rotate();
	print("four\n");
	expect("one|two|three|four|");
	assert_int_equal(dropped, 1); /* whether there was another file between nobody knows */
}

static void print_the_last(void)
{
	print("last\n");
	assert_int_equal(rename(path, older), 0);
}

/* Whoever rotates may be gone before it has made the next file. Nobody watches while lines are taken, so
 * nothing wakes the tail after that. Found by tests/cluster/keep_events.py under load. */
static void what_is_written_before_a_rotation_is_read_also_when_nothing_follows(void **state)
{
	meanwhile = print_the_last;
	print("one\n");
	expect("one|last|");
	assert_int_equal(dropped, 0);
}

static void print_two_files(void)
{
	rotate();
	print_the_last();
}

static void two_rotations_with_nothing_after_them_leave_nothing_unread(void **state)
{
	meanwhile = print_two_files;
	print("one\n");
	expect("one|last|");
	print("next\n");
	expect("one|last|next|");
}

static void a_file_that_is_cut_is_read_from_the_start(void **state)
{
	print("one\ntwo\n");
	expect("one|two|");
	assert_int_equal(truncate(path, 0), 0);
	print("3\n");
	expect("one|two|3|");
}

static void a_line_without_end_is_given_after_a_while(void **state)
{
	print("password: ");
	expect("password: |");
	print("x\n");
	expect("password: |x|");
}

/* ---- restarts ---- */

static void a_restart_neither_loses_nor_repeats(void **state)
{
	print("one\ntwo\nthr");
	expect("one|two|");
	close_tail();
	print("ee\nfour\n");
	open_tail();
	expect("one|two|three|four|");
	restart();
	restart();
	print("five\n");
	expect("one|two|three|four|five|");
	assert_int_equal(dropped, 0);
}

static void a_rotation_during_the_restart_is_followed(void **state)
{
	print("one\ntw");
	expect("one|");
	close_tail();
	print("o\nthr");
	rotate();
	print("ee\n");
	open_tail();
	expect("one|two|three|");
	assert_int_equal(dropped, 0);
}

/* The end of a line was read in the new file, its beginning lies in the old one. */
static void a_line_over_a_rotation_survives_a_restart(void **state)
{
	print("one\ntw");
	expect("one|");
	rotate();
	print("o");
	restart();
	print("!\n");
	expect("one|two!|");
}

static void what_was_rotated_away_meanwhile_is_told(void **state)
{
	print("one\n");
	expect("one|");
	close_tail();
	for (int i = 0; i < 3; i++) {
		rotate();
		print(i == 2 ? "new\n" : "lost or old\n");
	}
	open_tail();
	expect("one|lost or old|new|");
	assert_int_equal(dropped, 1);
}

/* Another file has the inode and is long enough: the bytes before the cursor tell. */
static void a_reused_inode_is_not_taken_for_the_same_file(void **state)
{
	print("one\n");
	expect("one|");
	close_tail();
	assert_int_equal(truncate(path, 0), 0);
	print("another\n");
	open_tail();
	expect("one|another|");
	assert_int_equal(dropped, 1);
}

static void junk_in_the_cursor_starts_anew(void **state)
{
	char cursor[300];
	print("one\n");
	expect("one|");
	close_tail();
	snprintf(cursor, sizeof cursor, "%s/tail-shop", dir);
	int fd = open(cursor, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "\xff junk", 6), 6);
	close(fd);
	open_tail();
	expect("one|one|");
}

/* ---- bounds ---- */

static void a_long_line_is_cut(void **state)
{
	static char text[5000];
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\n';
	print_bytes(text, sizeof text);
	print("next\n");
	for (int i = 0; i < 3000 && lines < 2; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		uv_sleep(5);
	}
	assert_int_equal(lines, 2);
	assert_int_equal(strspn(got, "x"), TAIL_LINE_MAX);
	assert_string_equal(got + TAIL_LINE_MAX, "|next|");
}

static void batches_are_bounded(void **state)
{
	static char text[200 * 1001];
	memset(text, 'y', sizeof text);
	for (size_t i = 1000; i < sizeof text; i += 1001)
		text[i] = '\n';
	print_bytes(text, sizeof text);
	for (int i = 0; i < 3000 && lines < 200; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		uv_sleep(5);
	}
	assert_int_equal(lines, 200);
	assert_true(most <= TAIL_BATCH_MAX && batches >= 7);
}

static void more_than_the_rate_is_dropped_and_counted(void **state)
{
	close_tail();
	rate = 10;
	open_tail();
	for (int i = 0; i < 500; i++)
		print("flood\n");
	for (int i = 0; i < 3000 && lines + dropped < 500; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		uv_sleep(5);
	}
	assert_int_equal(lines + dropped, 500);
	assert_true(lines >= 10 && dropped > 0);
	forget();
	for (int i = 0; i < 3000 && lines == 0; i++) { /* the budget grows again */
		print("x\n");
		uv_run(&loop, UV_RUN_NOWAIT);
		uv_sleep(20);
	}
	assert_true(lines > 0);
}

static void an_idle_tail_does_not_wake(void **state)
{
	print("one\n");
	expect("one|");
	for (int i = 0; i < 3000 && uv_backend_timeout(&loop) != -1;
	     i++) { /* the cursor is saved meanwhile */
		uv_run(&loop, UV_RUN_NOWAIT);
		uv_sleep(5);
	}
	assert_int_equal(uv_backend_timeout(&loop), -1);
	print("two\n");
	expect("one|two|");
}

static void a_folder_that_is_not_there_is_told(void **state)
{
	struct tail *other = NULL;
	const struct tail_config c = {
		.path = "/nonexistent/x/output.log", .cursor_dir = dir, .app = {"shop"}};
	assert_int_equal(tail_open(&other, &loop, &c, on_lines, NULL, NULL), E_NOT_FOUND);
}

static void a_link_is_not_followed(void **state)
{
	assert_int_equal(symlink("/etc/passwd", path), 0);
	for (int i = 0; i < 40; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		uv_sleep(20);
	}
	assert_int_equal(lines, 0);
	assert_int_equal(uv_backend_timeout(&loop), -1); /* nor looked at again and again */
}

/* ---- text ---- */

static const char *clean(const char *bytes, size_t n)
{
	static char out[64];
	size_t len = tail_text_clean(out, sizeof out, bytes, n);
	assert_int_equal(len, strlen(out));
	return out;
}

static void junk_is_made_fit_for_a_terminal(void **state)
{
#define CLEAN(s) clean(s, sizeof(s) - 1)
	assert_string_equal(CLEAN("plain"), "plain");
	assert_string_equal(CLEAN("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"),
			    "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
	assert_string_equal(CLEAN("a\tb\r"), "a b");
	assert_string_equal(CLEAN("\033[31mred\a"), "?[31mred?");
	assert_string_equal(CLEAN("nul\0in"), "nul?in");
	assert_string_equal(CLEAN("c1\xc2\x9b"
				  "31m"),
			    "c1?31m");
	assert_string_equal(CLEAN("\xff\xfe\x80"), "???");
	assert_string_equal(CLEAN("short\xe2\x82"), "short??");
	assert_string_equal(CLEAN("\xc0\xaf overlong \xe0\x80\x80"), "?? overlong ???");
	assert_string_equal(CLEAN("\xed\xa0\x80 surrogate \xf4\x90\x80\x80"), "??? surrogate ????");
}

static void what_does_not_fit_is_cut_between_characters(void **state)
{
	char out[6];
	assert_int_equal(tail_text_clean(out, sizeof out, "abc\xe2\x82\xac", 6), 3);
	assert_string_equal(out, "abc");
	assert_int_equal(tail_text_clean(out, sizeof out, "ab\xe2\x82\xac", 5), 5);
	assert_int_equal(tail_text_clean(out, sizeof out, "", 0), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(lines_come_as_they_are_printed),
		T(the_file_may_come_later),
		T(a_rotation_loses_nothing_and_a_line_may_span_it),
		T(two_rotations_before_a_look_are_told),
		T(what_is_written_before_a_rotation_is_read_also_when_nothing_follows),
		T(two_rotations_with_nothing_after_them_leave_nothing_unread),
		T(a_file_that_is_cut_is_read_from_the_start),
		T(a_line_without_end_is_given_after_a_while),
		T(a_restart_neither_loses_nor_repeats),
		T(a_rotation_during_the_restart_is_followed),
		T(a_line_over_a_rotation_survives_a_restart),
		T(what_was_rotated_away_meanwhile_is_told),
		T(a_reused_inode_is_not_taken_for_the_same_file),
		T(junk_in_the_cursor_starts_anew),
		T(a_long_line_is_cut),
		T(batches_are_bounded),
		T(more_than_the_rate_is_dropped_and_counted),
		T(an_idle_tail_does_not_wake),
		T(a_folder_that_is_not_there_is_told),
		T(a_link_is_not_followed),
		cmocka_unit_test(junk_is_made_fit_for_a_terminal),
		cmocka_unit_test(what_does_not_fit_is_cut_between_characters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
