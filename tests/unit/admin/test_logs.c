#include "tests/lib/test.h"
#include "tests/unit/admin/world.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "coordinator/adapters/event_store.h"
#include "coordinator/admin/admin_conn.h"

/* Logs and events as operators read them: the ring holds 64, the rest comes from files. */
enum { ROLLOUT = 0x7f3a000000000001, OTHER = 0x8f3a000000000001 };

static struct world w;
static struct event_store *store;
static char dir[96];

static int setup(void **state)
{
	static const char *const regions[] = {"eu"};
	const struct event_store_limits limits = {.spare_bytes = 1, .segment_bytes = 4096};
	struct err e;
	world_init(&w);
	world_fill(&w);
	snprintf(dir, sizeof dir, "%s/events", w.dir);
	if (event_store_open(&store, dir, &limits, w.events, &e) != E_OK)
		fail_msg("%s", e.text);
	test_fleet_release(&w.f, "billing", "2.0");
	return test_fleet_deploy(&w.f, ROLLOUT, "checkout", "2.0", regions, 1) |
	       test_fleet_deploy(&w.f, OTHER, "billing", "2.0", regions, 1);
}

static void remove_files(void)
{
	DIR *d = opendir(dir);
	for (struct dirent *f; (f = readdir(d)) != NULL;)
		if (f->d_name[0] != '.')
			unlinkat(dirfd(d), f->d_name, 0);
	closedir(d);
	rmdir(dir);
}

static int teardown(void **state)
{
	event_store_close(store);
	remove_files();
	world_done(&w);
	return 0;
}

static void line(uint64_t deployment, const char *app, const char *host, int64_t later_ms, const char *text)
{
	struct event e = {.kind = EVENT_LOG, .at = {w.f.now.v + later_ms}, .deployment = {deployment}};
	snprintf(e.app.s, sizeof e.app.s, "%s", app);
	snprintf(e.host.s, sizeof e.host.s, "%s", host);
	snprintf(e.from, sizeof e.from, "output");
	snprintf(e.text, sizeof e.text, "%s", text);
	events_add(w.events, &e);
}

static void fill(int from, int to)
{
	char text[32];
	for (int i = from; i <= to; i++) {
		snprintf(text, sizeof text, "line %d", i);
		line(ROLLOUT, "checkout", i % 2 ? "eu-1" : "eu-2", i, text);
		line(OTHER, "billing", "eu-1", i, "other");
	}
}

static void args_for(Admin__Request *rq, Admin__RolloutArgs *args, enum command_id verb)
{
	world_request(rq, verb);
	admin__rollout_args__init(args);
	rq->args_case = ADMIN__REQUEST__ARGS_ROLLOUT;
	rq->rollout = args;
}

/* Texts of all lines that come until Done, as "a|b|"; gaps as "~|". */
static const char *read_lines(int fd)
{
	static struct buf text;
	struct buf in;
	bool done = false;
	buf_init(&in);
	buf_reset(&text);
	for (Admin__Reply *r; !done && (r = world_reply(&w, fd, &in)) != NULL;) {
		if (r->body_case == ADMIN__REPLY__BODY_ERROR)
			fail_msg("%s", r->error->text);
		done = r->body_case == ADMIN__REPLY__BODY_DONE;
		if (r->body_case == ADMIN__REPLY__BODY_EVENT)
			buf_printf(&text, "%s|", r->event->reset ? "~" : r->event->reason);
		admin__reply__free_unpacked(r, NULL);
	}
	assert_true(done);
	close(fd);
	buf_done(&in);
	static char copy[1 << 16];
	snprintf(copy, sizeof copy, "%s", buf_cstr(&text));
	buf_done(&text);
	return copy;
}

static const char *ask(Admin__RolloutArgs *args)
{
	Admin__Request rq;
	world_request(&rq, CMD_LOGS);
	rq.args_case = ADMIN__REQUEST__ARGS_ROLLOUT;
	rq.rollout = args;
	int fd = world_connect(&w);
	world_send(&w, fd, &rq.base);
	return read_lines(fd);
}

static size_t count(const char *lines)
{
	size_t n = 0;
	for (; *lines; lines++)
		n += *lines == '|';
	return n;
}

static void all_lines_of_a_rollout_come_in_order(void **state)
{
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	fill(1, 500);
	args.deployment = (char *)(uintptr_t) "r-7f3a";
	const char *lines = ask(&args);
	assert_int_equal(count(lines), 500);
	assert_ptr_equal(strstr(lines, "line 1|line 2|line 3|"), lines);
	assert_null(strstr(lines, "other"));
}

static void host_and_text_choose(void **state)
{
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	fill(1, 30);
	args.deployment = (char *)(uintptr_t) "r-7f3a";
	args.host = (char *)(uintptr_t) "eu-2";
	assert_int_equal(count(ask(&args)), 15);
	args.grep = (char *)(uintptr_t) "e 2";
	assert_string_equal(ask(&args), "line 2|line 20|line 22|line 24|line 26|line 28|");
	args.grep = (char *)(uintptr_t) "absent";
	assert_string_equal(ask(&args), "");
}

static void a_limit_gives_the_newest(void **state)
{
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	fill(1, 300);
	args.deployment = (char *)(uintptr_t) "r-7f3a";
	args.limit = 3;
	assert_string_equal(ask(&args), "line 298|line 299|line 300|");
	args.grep = (char *)(uintptr_t) "line 1";
	assert_string_equal(ask(&args), "line 197|line 198|line 199|");
	args.limit = 5000;
	args.grep = (char *)(uintptr_t) "line 29";
	assert_int_equal(count(ask(&args)), 11);
}

static void since_is_counted_from_now(void **state)
{
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	fill(1, 300);
	w.f.now.v += 300;
	args.deployment = (char *)(uintptr_t) "r-7f3a";
	args.since_ms = 10;
	assert_string_equal(ask(&args),
			    "line 290|line 291|line 292|line 293|line 294|line 295|line 296|line 297|line "
			    "298|line 299|line 300|");
}

static void an_application_is_all_its_rollouts(void **state)
{
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	line(1, "checkout", "eu-1", -1000000, "long ago");
	fill(1, 2);
	line(0, "checkout", "eu-1", 5, "of none");
	args.app = (char *)(uintptr_t) "checkout";
	assert_string_equal(ask(&args), "long ago|line 1|line 2|of none|");
	args.env = (char *)(uintptr_t) "prod";
	assert_string_equal(ask(&args), "line 1|line 2|");
}

static void lines_that_come_later_follow(void **state)
{
	Admin__Request rq;
	Admin__RolloutArgs args;
	struct buf in;
	fill(1, 3);
	args_for(&rq, &args, CMD_LOGS);
	args.app = (char *)(uintptr_t) "checkout";
	args.follow = true;
	args.limit = 1;
	int fd = world_connect(&w);
	buf_init(&in);
	world_send(&w, fd, &rq.base);
	Admin__Reply *r = world_reply(&w, fd, &in);
	assert_string_equal(r->event->reason, "line 3");
	admin__reply__free_unpacked(r, NULL);
	fill(4, 100);
	for (int i = 4; i <= 100; i++) {
		char text[32];
		snprintf(text, sizeof text, "line %d", i);
		r = world_reply(&w, fd, &in);
		assert_non_null(r);
		assert_string_equal(r->event->reason, text);
		admin__reply__free_unpacked(r, NULL);
	}
	close(fd);
	buf_done(&in);
}

/* ---- many at once ---- */

static unsigned looks;

/* What fell out of the ring, as lines of checkout. */
static bool counted_after(void *arg, uint64_t after, struct event *out)
{
	looks++;
	*out = (struct event){.number = after + 1, .kind = EVENT_LOG, .app = test_name("checkout")};
	return true;
}

/* Each search goes over all there is; together they may not stop the loop. */
static void all_who_search_share_the_looks_of_a_tick(void **state)
{
	enum { SEARCHERS = 40 };
	const struct events_source counting = {.after = counted_after};
	Admin__Request rq;
	Admin__RolloutArgs args;
	int fd[SEARCHERS];
	fill(1, 1000);
	events_older(w.events, &counting);
	args_for(&rq, &args, CMD_LOGS);
	args.app = (char *)(uintptr_t) "checkout";
	args.grep = (char *)(uintptr_t) "line 1000";
	looks = 0;
	uint64_t began = uv_now(&w.loop);
	for (int i = 0; i < SEARCHERS; i++)
		world_send(&w, fd[i] = world_connect(&w), &rq.base);
	for (int turn = 0; turn < 600; turn++) {
		world_turn(&w);
		assert_in_range(looks, 0, (2 + (uv_now(&w.loop) - began) / ADMIN_TICK_MS) * ADMIN_LOOKS);
	}
	/* There was more to look at than one tick gives. */
	assert_in_range(looks, 3 * ADMIN_LOOKS, UINT32_MAX);
	for (int i = 0; i < SEARCHERS; i++)
		assert_int_equal(count(read_lines(fd[i])), 1);
}

/* ---- events ---- */

static uint64_t first_cursor, cursors;

static void read_events(uint64_t after)
{
	Admin__Request rq;
	Admin__RolloutArgs args;
	struct buf in;
	bool done = false;
	args_for(&rq, &args, CMD_EVENTS);
	args.cursor = after;
	int fd = world_connect(&w);
	buf_init(&in);
	world_send(&w, fd, &rq.base);
	first_cursor = cursors = 0;
	for (Admin__Reply *r; !done && (r = world_reply(&w, fd, &in)) != NULL;) {
		done = r->body_case == ADMIN__REPLY__BODY_DONE;
		if (!done) {
			assert_false(r->event->reset);
			first_cursor = first_cursor ? first_cursor : r->event->cursor;
			assert_int_equal(r->event->cursor, first_cursor + cursors);
			cursors++;
		}
		admin__reply__free_unpacked(r, NULL);
	}
	assert_true(done);
	close(fd);
	buf_done(&in);
}

static void events_go_on_from_any_cursor(void **state)
{
	fill(1, 1500);
	read_events(0);
	assert_int_equal(first_cursor, 1);
	assert_int_equal(cursors, 3000);
	read_events(17);
	assert_int_equal(first_cursor, 18);
	assert_int_equal(cursors, 2983);
	read_events(3000);
	assert_int_equal(cursors, 0);
}

/* Another life of the coordinator: the store is opened anew, under events that have none yet. */
static void events_go_on_in_another_life(void **state)
{
	const struct event_store_limits limits = {.spare_bytes = 1, .segment_bytes = 4096};
	struct err e;
	fill(1, 100);
	event_store_close(store);
	events_free(w.events);
	w.events = events_new(64, 1);
	assert_int_equal(event_store_open(&store, dir, &limits, w.events, &e), E_OK);
	world_restart(&w);
	fill(101, 110);
	read_events(150);
	assert_int_equal(first_cursor, 151);
	assert_int_equal(cursors, 70);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(all_lines_of_a_rollout_come_in_order),
		T(host_and_text_choose),
		T(a_limit_gives_the_newest),
		T(since_is_counted_from_now),
		T(an_application_is_all_its_rollouts),
		T(lines_that_come_later_follow),
		T(all_who_search_share_the_looks_of_a_tick),
		T(events_go_on_from_any_cursor),
		T(events_go_on_in_another_life),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
