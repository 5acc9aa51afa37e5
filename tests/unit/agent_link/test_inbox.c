#include "tests/lib/test.h"

#include "agent/link/inbox.h"

enum { WRITERS = 4, EACH = 1000 };

struct world {
	struct inbox inbox;
	int next[WRITERS]; /* the number each writer must bring next */
	int taken;
};

struct writer {
	struct world *world;
	int id;
};

static void write_main(void *arg)
{
	struct writer *w = arg;

	for (int i = 0; i < EACH; i++)
		inbox_put(&w->world->inbox, NEWS_CALL_FAILED, &w->world->next[w->id], i, NULL);
}

static void on_news(uv_async_t *async)
{
	struct world *w = async->data;
	struct news *n = inbox_take(&w->inbox), *next;

	for (; n; n = next) {
		next = n->next;
		int *expect = n->about;
		assert_int_equal(n->rv, (*expect)++);
		w->taken++;
		inbox_free(n);
	}
	if (w->taken == WRITERS * EACH)
		uv_close((uv_handle_t *)&w->inbox.async, NULL);
}

static void news_of_many_threads_arrives_whole_and_in_order(void **state)
{
	struct world w = {0};
	struct writer writers[WRITERS];
	uv_thread_t threads[WRITERS];
	uv_loop_t loop;

	assert_int_equal(uv_loop_init(&loop), 0);
	inbox_open(&w.inbox, &loop, &w, on_news);
	for (int i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.world = &w, .id = i};
		assert_int_equal(uv_thread_create(&threads[i], write_main, &writers[i]), 0);
	}
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	for (int i = 0; i < WRITERS; i++)
		uv_thread_join(&threads[i]);
	assert_int_equal(w.taken, WRITERS * EACH);
	inbox_done(&w.inbox);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void what_nobody_took_is_freed(void **state)
{
	struct world w = {0};
	uv_loop_t loop;
	nng_msg *msg;

	assert_int_equal(uv_loop_init(&loop), 0);
	inbox_open(&w.inbox, &loop, &w, on_news);
	assert_int_equal(nng_msg_alloc(&msg, 10), 0);
	inbox_put(&w.inbox, NEWS_REPLY, NULL, 0, msg);
	uv_close((uv_handle_t *)&w.inbox.async, NULL);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	inbox_done(&w.inbox);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(news_of_many_threads_arrives_whole_and_in_order),
		cmocka_unit_test(what_nobody_took_is_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
