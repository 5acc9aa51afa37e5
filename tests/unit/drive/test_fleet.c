#include "tests/lib/test.h"

#include "coordinator/drive/fleet.h"

enum { HOSTS = 4 };

struct world {
	struct fleet fleet;
	struct fleet_host *h[HOSTS];
};

static void open_world(struct world *w)
{
	static const char *const names[HOSTS] = {"a", "b", "c", "d"};
	fleet_init(&w->fleet);
	for (int i = 0; i < HOSTS; i++) {
		struct name n;
		assert_true(name_set(&n, names[i]));
		w->h[i] = fleet_get(&w->fleet, &n);
		fleet_bind(&w->fleet, w->h[i], (uint64_t)i + 1, (struct wall_ms){0});
	}
}

static void park(struct world *w, int host, int64_t until)
{
	fleet_park(&w->fleet, w->h[host], (struct wall_ms){until});
}

/* The parked ones in their order, as text: "bca". */
static const char *order(const struct world *w)
{
	static char out[HOSTS + 1];
	size_t n = 0;
	for (const struct fleet_host *h = w->fleet.parked; h != NULL; h = h->next)
		out[n++] = h->name.s[0];
	out[n] = '\0';
	return out;
}

static void polls_wait_in_the_order_of_their_end(void **unused)
{
	struct world w;
	open_world(&w);
	park(&w, 0, 500);
	park(&w, 1, 100);
	park(&w, 2, 300);
	park(&w, 3, 500);
	assert_string_equal(order(&w), "bcad"); /* of equal ends the older poll first */
	fleet_done(&w.fleet);
}

static void a_newer_poll_takes_the_place_of_the_older(void **unused)
{
	struct world w;
	open_world(&w);
	park(&w, 0, 100);
	park(&w, 1, 200);
	park(&w, 0, 300);
	assert_string_equal(order(&w), "ba");
	assert_int_equal(w.h[0]->poll_until.v, 300);
	fleet_done(&w.fleet);
}

static void who_leaves_waits_no_longer(void **unused)
{
	struct world w;
	open_world(&w);
	for (int i = 0; i < HOSTS; i++)
		park(&w, i, 100 + i);
	fleet_unpark(&w.fleet, w.h[1]);
	fleet_unpark(&w.fleet, w.h[1]); /* once more is harmless */
	fleet_unbind(&w.fleet, w.h[0]); /* disconnected */
	struct name gone = w.h[3]->name;
	fleet_forget(&w.fleet, &gone); /* removed from the fleet */
	assert_string_equal(order(&w), "c");
	fleet_unpark(&w.fleet, w.h[2]);
	assert_null(w.fleet.parked);
	fleet_done(&w.fleet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(polls_wait_in_the_order_of_their_end),
		cmocka_unit_test(a_newer_poll_takes_the_place_of_the_older),
		cmocka_unit_test(who_leaves_waits_no_longer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
