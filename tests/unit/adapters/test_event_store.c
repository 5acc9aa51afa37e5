#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/adapters/event_record.h"
#include "coordinator/adapters/event_store.h"

enum { RING = 4 }; /* so that nearly all is read from files */

static char dir[128];
static struct event_store *s;
static struct events *ev;
static struct event_store_limits limits;

static void open_store(void)
{
	struct err e;
	ev = events_new(RING, 1);
	if (event_store_open(&s, dir, &limits, ev, &e) != E_OK)
		fail_msg("%s", e.text);
}

static void close_store(void)
{
	event_store_close(s);
	events_free(ev);
	s = NULL;
}

static int begin(void **state)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof dir, "%.80s/events-XXXXXX", tmp != NULL ? tmp : "/tmp");
	limits = (struct event_store_limits){.spare_bytes = 1};
	if (mkdtemp(dir) == NULL)
		return -1;
	open_store();
	return 0;
}

/* The path of the n-th file whose name begins with `prefix`; how many there are. */
static size_t files(const char *prefix, size_t n, char path[400])
{
	struct dirent **v;
	size_t nr = 0;
	int all = scandir(dir, &v, NULL, alphasort);
	for (int i = 0; i < all; i++) {
		if (strncmp(v[i]->d_name, prefix, strlen(prefix)) == 0 && v[i]->d_name[0] != '.' && nr++ == n)
			snprintf(path, 400, "%s/%s", dir, v[i]->d_name);
		free(v[i]);
	}
	free(v);
	return nr;
}

static int end(void **state)
{
	char path[400];
	if (s != NULL)
		close_store();
	while (files("", 0, path) > 0)
		unlink(path);
	return rmdir(dir);
}

static uint64_t add_at(enum event_kind kind, int64_t at, const char *text)
{
	struct event e = {.kind = kind, .at = {at}, .host = {"web-1"}, .app = {"shop"}, .deployment = {7}};
	snprintf(e.text, sizeof e.text, "%s", text);
	events_add(ev, &e);
	return e.number;
}

static uint64_t add(enum event_kind kind, const char *text)
{
	return add_at(kind, 1000, text);
}

/* All that can be read after `after`, as "1:one 2:two". */
static const char *story(uint64_t after)
{
	static char out[4096];
	size_t at = 0;
	uint64_t missed;
	out[0] = '\0';
	for (const struct event *e; (e = events_after(ev, after, &missed)) != NULL; after = e->number)
		at += (size_t)snprintf(out + at, sizeof out - at, "%s%s%llu:%.20s", at ? " " : "",
				       missed ? "~" : "", (unsigned long long)e->number, e->text);
	return out;
}

static void add_six(void)
{
	add(EVENT_ROLLOUT, "one");
	add(EVENT_LOG, "two");
	add(EVENT_TASK, "three");
	add(EVENT_LOG, "four");
	add(EVENT_LOG, "five");
	add(EVENT_WAVE, "six");
}

#define SIX "1:one 2:two 3:three 4:four 5:five 6:six"

/* As kill -9 leaves it: what was written is there, nothing was closed in order. */
static void crash(void)
{
	char path[400];
	uint8_t bytes[256];
	files("numbers", 0, path);
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, bytes, sizeof bytes);
	close(fd);
	assert_true(n > 0);
	close_store();
	fd = open(path, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, bytes, (size_t)n), n);
	close(fd);
}

/* The same, and the file with the numbers cannot be read. */
static void power_cut(void)
{
	char path[400];
	crash();
	files("numbers", 0, path);
	assert_int_equal(truncate(path, 10), 0);
}

/* ---- going on ---- */

static void all_is_there_after_a_restart_and_numbers_go_on(void **state)
{
	add_six();
	assert_string_equal(story(0), SIX);
	close_store();
	open_store();
	assert_string_equal(story(0), SIX);
	assert_string_equal(story(4), "5:five 6:six");
	assert_int_equal(add(EVENT_LOG, "seven"), 7);
	assert_string_equal(story(5), "6:six 7:seven");
}

static void a_kill_leaves_no_gap_and_no_repeat(void **state)
{
	add_six();
	crash();
	open_store();
	assert_string_equal(story(0), SIX);
	assert_int_equal(add(EVENT_TASK, "seven"), 7);
}

static void after_a_power_cut_no_number_comes_twice(void **state)
{
	add_six();
	power_cut();
	open_store();
	uint64_t next = add(EVENT_TASK, "later");
	assert_true(next > 1 << 20);
	assert_string_equal(story(5), "6:six ~1048583:later");
	close_store();
	open_store();
	assert_int_equal(add(EVENT_TASK, "and"), next + 1);
}

static void an_event_comes_back_whole(void **state)
{
	static struct event e = {.at = {-5},
				 .kind = EVENT_TASK,
				 .deployment = {UINT64_MAX},
				 .app = {"shop"},
				 .host = {"web-1"},
				 .region = {"eu"},
				 .wave = 3,
				 .from = "QUEUED",
				 .to = "ASSIGNED",
				 .trace = {1, 2},
				 .chunk = {5, 8, 9, 7}};
	static struct event got;
	memset(e.text, 'x', sizeof e.text - 1);
	events_add(ev, &e);
	assert_true(event_store_after(s, 0, &got));
	assert_int_equal(got.at.v, -5);
	assert_int_equal(got.kind, EVENT_TASK);
	assert_true(got.deployment.v == UINT64_MAX);
	assert_string_equal(got.region.s, "eu");
	assert_int_equal(got.wave, 3);
	assert_string_equal(got.to, "ASSIGNED");
	assert_string_equal(got.text, e.text);
	assert_int_equal(got.trace.lo, 2);
	assert_int_equal(got.chunk.number, 9);
	assert_int_equal(got.chunk.spool_hi, 5);
	assert_int_equal(got.chunk.spool_lo, 8);
	assert_int_equal(got.chunk.line, 7);
}

/* ---- chunks ---- */

static bool seen(uint64_t spool, uint64_t chunk, uint32_t line)
{
	const struct name host = {"web-1"};
	const struct event_chunk c = {1, spool, chunk, line};
	return events_chunk_seen(ev, &host, &c);
}

static void add_line(uint64_t spool, uint64_t chunk, uint32_t line)
{
	struct event e = {.kind = EVENT_LOG, .at = {1}, .host = {"web-1"}, .chunk = {1, spool, chunk, line}};
	events_add(ev, &e);
}

static void lines_that_were_told_are_known_after_a_kill(void **state)
{
	add_line(9, 5, 1);
	add_line(9, 6, 1);
	add_line(9, 6, 2);
	crash();
	open_store();
	assert_true(seen(9, 5, 9));
	assert_true(seen(9, 6, 2));
	assert_false(seen(9, 6, 3));
	assert_false(seen(9, 7, 1));
}

static void a_new_spool_begins_anew(void **state)
{
	add_line(9, 11, 1);
	assert_true(seen(9, 1, 1));
	assert_false(seen(10, 1, 1));
	add_line(10, 1, 1);
	crash();
	open_store();
	assert_true(seen(10, 1, 1));
	assert_false(seen(10, 2, 1));
}

/* ---- bounds ---- */

static void the_oldest_go_first_and_lines_do_not_push_events_out(void **state)
{
	char path[400];
	close_store();
	limits = (struct event_store_limits){.segment_bytes = 1024, .logs_bytes = 4096, .spare_bytes = 1};
	open_store();
	add(EVENT_ROLLOUT, "the story");
	for (int i = 0; i < 200; i++)
		add(EVENT_LOG, "a line that is not short at all");
	struct event_store_stats st;
	event_store_stats(s, &st);
	assert_true(st.logs_bytes <= 4096 + 1024);
	assert_true(files("l-", 0, path) <= 6);
	uint64_t missed;
	assert_string_equal(events_after(ev, 0, &missed)->text, "the story");
	const struct event *e = events_after(ev, 1, &missed);
	assert_int_equal(e->number, missed + 2);
	assert_true(missed > 100 && e->number < 201);
	uint64_t first = e->number;
	close_store();
	open_store();
	assert_int_equal(events_after(ev, 1, &missed)->number, first);
}

static void what_is_too_old_goes(void **state)
{
	close_store();
	limits = (struct event_store_limits){.segment_bytes = 256, .events_age_ms = 1000, .spare_bytes = 1};
	open_store();
	for (int i = 0; i < 10; i++)
		add_at(EVENT_TASK, 1000 + i, "old");
	uint64_t number = add_at(EVENT_TASK, 5000, "new");
	struct event e;
	assert_true(event_store_after(s, 0, &e));
	assert_true(number - e.number <= 2); /* the segment of the newest stays whole */
}

static void a_time_is_found(void **state)
{
	for (int i = 1; i <= 20; i++)
		add_at(i % 2 ? EVENT_LOG : EVENT_TASK, i * 10, "x");
	close_store();
	open_store();
	assert_int_equal(events_before(ev, (struct wall_ms){0}), 0);
	assert_int_equal(events_before(ev, (struct wall_ms){10}), 0);
	assert_int_equal(events_before(ev, (struct wall_ms){11}), 1);
	assert_int_equal(events_before(ev, (struct wall_ms){150}), 14);
	assert_int_equal(events_before(ev, (struct wall_ms){999}), 20);
	add_at(EVENT_TASK, 300, "y");
	assert_int_equal(events_before(ev, (struct wall_ms){300}), 20);
	assert_int_equal(events_before(ev, (struct wall_ms){301}), 21);
}

/* Many segments, several places in each: every number is found from any other. */
static void every_number_is_found_from_anywhere(void **state)
{
	static char text[1000];
	close_store();
	limits = (struct event_store_limits){.segment_bytes = 200 * 1024, .spare_bytes = 1};
	open_store();
	memset(text, 'x', sizeof text - 1);
	for (int i = 0; i < 1000; i++)
		add(i % 3 ? EVENT_LOG : EVENT_TASK, text);
	struct event e;
	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t after = i * 617 % 1000;
		assert_true(event_store_after(s, after, &e));
		assert_int_equal(e.number, after + 1);
	}
	assert_false(event_store_after(s, 1000, &e));
}

/* ---- damage ---- */

static size_t slurp(const char *path, uint8_t *out, size_t cap)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, out, cap);
	close(fd);
	assert_true(n >= 0 && (size_t)n < cap);
	return (size_t)n;
}

static void spill(const char *path, const uint8_t *p, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, p, n), n);
	close(fd);
}

static void a_torn_end_is_cut_at_every_byte(void **state)
{
	char path[400];
	static uint8_t bytes[8192];
	add(EVENT_TASK, "one");
	add(EVENT_TASK, "two");
	close_store();
	files("e-", 0, path);
	size_t two = slurp(path, bytes, sizeof bytes), one = two / 2;
	for (size_t n = one; n < two; n++) {
		spill(path, bytes, n);
		open_store();
		assert_string_equal(story(0), "1:one");
		uint64_t number = add(EVENT_TASK, "more");
		assert_true(number > 2); /* two was given once */
		close_store();
		open_store();
		assert_int_equal(events_newest(ev), number);
		uint64_t missed;
		assert_string_equal(events_after(ev, 1, &missed)->text, "more");
		close_store();
	}
}

/* One byte anywhere: at most the record it hit is gone. */
static void a_damaged_byte_costs_one_record(void **state)
{
	char path[400];
	static uint8_t bytes[8192];
	add(EVENT_TASK, "one");
	add(EVENT_TASK, "two");
	add(EVENT_TASK, "three");
	close_store();
	files("e-", 0, path);
	size_t n = slurp(path, bytes, sizeof bytes), at_two = 0;
	for (size_t i = 4; i < n && at_two == 0; i++)
		at_two = memcmp(bytes + i, "WTev", 4) == 0 ? i : 0;
	size_t at_three = at_two + 4;
	while (memcmp(bytes + at_three, "WTev", 4) != 0)
		at_three++;
	for (size_t i = at_two; i < at_three; i++) {
		bytes[i] ^= 0x40;
		spill(path, bytes, n);
		open_store();
		assert_string_equal(story(0), "1:one ~3:three");
		struct event_store_stats st;
		event_store_stats(s, &st);
		assert_int_equal(st.damaged_bytes, at_three - at_two);
		close_store();
		bytes[i] ^= 0x40;
	}
}

static void a_segment_of_junk_is_removed_and_others_are_read(void **state)
{
	char path[400];
	add_six();
	close_store();
	snprintf(path, sizeof path, "%s/e-%020d.seg", dir, 3);
	spill(path, (const uint8_t *)"WTevWTevWTev junk", 17);
	open_store();
	assert_string_equal(story(0), SIX);
	assert_int_equal(access(path, F_OK), -1);
}

/* A program may print what looks like a record. */
static void a_line_cannot_pass_for_a_record(void **state)
{
	char path[400];
	static uint8_t bytes[8192];
	struct event forged = {.number = 2, .kind = EVENT_TASK, .text = "forged"};
	struct buf b;
	buf_init(&b);
	event_record_encode(&forged, &b);
	add(EVENT_LOG, "one");
	struct event e = {.kind = EVENT_LOG, .at = {1}};
	memcpy(e.text, b.data, b.len); /* its zero bytes end the text */
	events_add(ev, &e);
	close_store();
	files("l-", 0, path);
	size_t n = slurp(path, bytes, sizeof bytes);
	for (size_t i = 0; i < n; i++) {
		bytes[i] ^= 0xff;
		spill(path, bytes, n);
		open_store();
		assert_null(strstr(story(0), "forged"));
		close_store();
		bytes[i] ^= 0xff;
		spill(path, bytes, n);
	}
	buf_done(&b);
}

/* ---- a full disk ---- */

/* The kernel refuses to let any file grow, in the middle of a record: as a full disk does. */
static void fill_disk(uint64_t most)
{
	struct rlimit l = {most, most};
	signal(SIGXFSZ, SIG_IGN);
	PRE(setrlimit(RLIMIT_FSIZE, &l) == 0);
}

static int in_full_disk(void)
{
	struct event_store_stats st;
	char path[400];
	struct stat f;
	uint64_t missed;
	files("e-", 0, path);
	PRE(stat(path, &f) == 0);
	fill_disk((uint64_t)f.st_size + 20);
	add(EVENT_TASK, "no room");
	add(EVENT_LOG, "no room");
	event_store_stats(s, &st);
	if (st.events_dropped != 1 || st.logs_dropped != 1 || st.trouble[0] == '\0')
		return 1;
	struct stat now;
	if (stat(path, &now) != 0 || now.st_size != f.st_size)
		return 2; /* half a record stayed */
	return events_after(ev, 7, &missed) != NULL && events_newest(ev) == 8 ? 0
									      : 3; /* in the ring they are */
}

static void a_full_disk_drops_and_counts_and_gives_no_number_twice(void **state)
{
	add_six();
	int status = -1;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		_exit(in_full_disk());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	crash(); /* the numbers file is that of the child, which was killed on a full disk */
	open_store();
	assert_string_equal(story(0), SIX);
	assert_true(add(EVENT_TASK, "later") > 8);
}

static void lines_are_dropped_before_the_disk_is_full(void **state)
{
	struct event_store_stats st;
	close_store();
	limits.spare_bytes = UINT64_MAX;
	open_store();
	add(EVENT_LOG, "a line");
	add(EVENT_TASK, "an event");
	event_store_stats(s, &st);
	assert_int_equal(st.logs_dropped, 1);
	assert_int_equal(st.events_dropped, 0);
	close_store();
	open_store();
	assert_string_equal(story(0), "~2:an event");
}

/* ---- the record ---- */

static void half_a_record_is_short_and_anything_else_is_bad(void **state)
{
	static struct event e = {.number = 1, .kind = EVENT_LOG, .text = "hello"}, got;
	struct buf b;
	size_t used;
	buf_init(&b);
	event_record_encode(&e, &b);
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(event_record_decode(b.data, n, &got, &used), EVENT_RECORD_SHORT);
	assert_int_equal(event_record_decode(b.data, b.len, &got, &used), EVENT_RECORD_WHOLE);
	assert_int_equal(used, b.len);
	assert_int_equal(event_record_decode((const uint8_t *)"WTx", 3, &got, &used), EVENT_RECORD_BAD);
	assert_int_equal(event_record_skip((const uint8_t *)"xxWTev", 6), 2);
	assert_int_equal(event_record_skip((const uint8_t *)"xxxWT", 5), 3);
	assert_int_equal(event_record_skip((const uint8_t *)"WTevx", 5), 5);
	buf_done(&b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(all_is_there_after_a_restart_and_numbers_go_on),
		T(a_kill_leaves_no_gap_and_no_repeat),
		T(after_a_power_cut_no_number_comes_twice),
		T(an_event_comes_back_whole),
		T(lines_that_were_told_are_known_after_a_kill),
		T(a_new_spool_begins_anew),
		T(the_oldest_go_first_and_lines_do_not_push_events_out),
		T(what_is_too_old_goes),
		T(a_time_is_found),
		T(every_number_is_found_from_anywhere),
		T(a_torn_end_is_cut_at_every_byte),
		T(a_damaged_byte_costs_one_record),
		T(a_segment_of_junk_is_removed_and_others_are_read),
		T(a_line_cannot_pass_for_a_record),
		T(a_full_disk_drops_and_counts_and_gives_no_number_twice),
		T(lines_are_dropped_before_the_disk_is_full),
		cmocka_unit_test(half_a_record_is_short_and_anything_else_is_bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
