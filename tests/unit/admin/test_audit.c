#include "tests/lib/test.h"
#include "tests/unit/admin/world.h"

#include <stdio.h>

/* The audit as operators read it; how much of it the store had to give is counted. */
enum { ENTRIES = 2000 };

static struct world w;
static const struct store_ops *plain;
static struct store_ops counting;
static unsigned seeks;

static bool counted_seek(struct store *s, struct store_slice key, struct store_slice *found,
			 struct store_slice *value)
{
	seeks++;
	return plain->seek(s, key, found, value);
}

static int setup(void **state)
{
	world_init(&w);
	for (int i = 0; i < ENTRIES; i++) {
		char app[16];
		snprintf(app, sizeof app, "app-%d", i);
		test_fleet_app(&w.f, app);
	}
	plain = w.f.store->ops;
	counting = *plain;
	counting.seek = counted_seek;
	w.f.store->ops = &counting;
	return 0;
}

static int teardown(void **state)
{
	w.f.store->ops = plain;
	world_done(&w);
	return 0;
}

/* First and last index of what comes. */
static size_t ask(uint64_t from, uint32_t limit, uint64_t *first, uint64_t *last)
{
	Admin__Request rq;
	Admin__ListArgs args = ADMIN__LIST_ARGS__INIT;
	Admin__Reply *rows = NULL;
	world_request(&rq, CMD_AUDIT_LIST);
	args.from = from;
	args.limit = limit;
	rq.args_case = ADMIN__REQUEST__ARGS_LIST;
	rq.list = &args;
	seeks = 0;
	Admin__Reply *done = world_ask(&w, &rq, &rows);
	assert_int_equal(done->body_case, ADMIN__REPLY__BODY_DONE);
	assert_int_equal(rows->body_case, ADMIN__REPLY__BODY_AUDITS);
	size_t n = rows->audits->n_v;
	assert_true(n > 0);
	*first = rows->audits->v[0]->index;
	*last = rows->audits->v[n - 1]->index;
	admin__reply__free_unpacked(done, NULL);
	admin__reply__free_unpacked(rows, NULL);
	return n;
}

static void from_an_index_come_the_oldest_and_no_more_is_read(void **state)
{
	uint64_t first, last;
	assert_int_equal(ask(1, 10, &first, &last), 10);
	assert_int_equal(first, 1);
	assert_int_equal(last, 10);
	assert_in_range(seeks, 10, 50);
}

static void without_come_the_newest(void **state)
{
	uint64_t first, last;
	assert_int_equal(ask(0, 10, &first, &last), 10);
	assert_int_equal(last, ENTRIES);
	assert_in_range(seeks, 10, 100);
}

static void what_is_asked_for_has_a_limit(void **state)
{
	uint64_t first, last;
	assert_int_equal(ask(0, 0, &first, &last), 100);
	assert_int_equal(ask(1, 4000000000, &first, &last), ENTRIES);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(from_an_index_come_the_oldest_and_no_more_is_read),
		T(without_come_the_newest),
		T(what_is_asked_for_has_a_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
