#include "tests/lib/test.h"
#include "coordinator/plan/floor.h"

#include <stdio.h>

enum { MOST = 16 };

struct fleet {
	struct arena a;
	struct task tasks[MOST];
	struct host_view hosts[MOST];
	size_t nr;
	struct floors floors;
};

static void add(struct fleet *f, const char *region, const char *zone, enum availability avail,
		enum task_state state)
{
	struct task *t = &f->tasks[f->nr];
	struct host_view *h = &f->hosts[f->nr++];
	snprintf(t->host.s, sizeof t->host.s, "h%zu", f->nr);
	t->state = state;
	h->avail = avail;
	assert_true(name_set(&h->region, region));
	if (zone != NULL)
		assert_true(name_set(&h->zone, zone));
}

static struct fleet *fleet_of(struct fleet *f, size_t up, const char *region)
{
	*f = (struct fleet){0};
	arena_init(&f->a);
	for (size_t i = 0; i < up; i++)
		add(f, region, NULL, AVAIL_UP, TASK_QUEUED);
	return f;
}

static void count(struct fleet *f, permille p)
{
	floors_init(&f->floors, &f->a, f->tasks, f->hosts, f->nr, p);
}

/* CodeDeploy's known case: 95% of 10 hosts rounds up to 10, so nothing may ever be taken out. */
static void ninety_five_percent_of_ten_forbids_the_first_host(void **state)
{
	struct fleet f;
	count(fleet_of(&f, 10, "eu"), 950);
	const struct domain *d = floors_forbids(&f.floors, f.hosts, 0);
	assert_non_null(d);
	assert_string_equal(
		floors_text(&f.floors, d, 950, f.hosts, 0, &f.a),
		"group: 10 available - 0 in hand - 1 is under the floor of 10 (95.0% of 10 hosts)");
	arena_done(&f.a);
}

static void each_taken_host_counts_until_the_floor_is_reached(void **state)
{
	struct fleet f;
	count(fleet_of(&f, 10, "eu"), 800);
	assert_null(floors_forbids(&f.floors, f.hosts, 0));
	floors_take(&f.floors, f.hosts, 0);
	assert_null(floors_forbids(&f.floors, f.hosts, 1));
	floors_take(&f.floors, f.hosts, 1);
	assert_non_null(floors_forbids(&f.floors, f.hosts, 2));
	arena_done(&f.a);
}

static void a_host_that_is_down_costs_nothing_even_under_the_floor(void **state)
{
	struct fleet f;
	fleet_of(&f, 4, "eu");
	f.hosts[2].avail = AVAIL_DOWN;
	count(&f, 900);
	assert_non_null(floors_forbids(&f.floors, f.hosts, 0));
	assert_null(floors_forbids(&f.floors, f.hosts, 2));
	arena_done(&f.a);
}

/* Cut off and serving on: when the line is back they stop together, if all of them were told to. */
static void silent_hosts_are_taken_as_if_they_were_serving(void **state)
{
	struct fleet f;
	fleet_of(&f, 10, "eu");
	for (int i = 0; i < 10; i++)
		f.hosts[i].avail = AVAIL_UNKNOWN;
	count(&f, 800);
	assert_null(floors_forbids(&f.floors, f.hosts, 0));
	floors_take(&f.floors, f.hosts, 0);
	assert_null(floors_forbids(&f.floors, f.hosts, 1));
	floors_take(&f.floors, f.hosts, 1);
	const struct domain *d = floors_forbids(&f.floors, f.hosts, 2);
	assert_non_null(d);
	assert_string_equal(floors_text(&f.floors, d, 800, f.hosts, 2, &f.a),
			    "group: silent, so it may be serving: 10 hosts - 0 that said they are down - 2 "
			    "in hand - 1 is "
			    "under the floor of 8 (80.0% of 10 hosts)");
	arena_done(&f.a);
}

/* Nobody knows that they hold one: all of them could be told something else, and stop together. */
static void silent_hosts_in_hand_are_not_free(void **state)
{
	struct fleet f;
	fleet_of(&f, 10, "eu");
	for (int i = 0; i < 10; i++) {
		f.hosts[i].avail = AVAIL_UNKNOWN;
		f.hosts[i].holds_order = i < 3;
	}
	count(&f, 800);
	assert_string_equal(
		floors_text(&f.floors, floors_forbids(&f.floors, f.hosts, 0), 800, f.hosts, 0, &f.a),
		"group: silent, so it may be serving: 10 hosts - 0 that said they are down - 3 in hand, "
		"itself "
		"among them, is under the floor of 8 (80.0% of 10 hosts)");
	f.hosts[2].holds_order = false;
	count(&f, 800);
	assert_null(floors_forbids(&f.floors, f.hosts, 0));
	assert_non_null(floors_forbids(&f.floors, f.hosts, 2));
	arena_done(&f.a);
}

static void who_is_down_leaves_less_to_the_silent(void **state)
{
	struct fleet f;
	fleet_of(&f, 5, "eu");
	f.hosts[0].avail = AVAIL_UNKNOWN;
	f.hosts[1].avail = AVAIL_DOWN;
	f.hosts[2].holds_order = true;
	count(&f, 600); /* of 5: floor 3 */
	assert_non_null(floors_forbids(&f.floors, f.hosts, 0));
	f.hosts[2].holds_order = false;
	count(&f, 600);
	assert_null(floors_forbids(&f.floors, f.hosts, 0));
	f.hosts[3].avail = AVAIL_UNKNOWN; /* it has been taken out, said so, and is silent now */
	f.hosts[3].was_down = true;
	count(&f, 600);
	assert_non_null(floors_forbids(&f.floors, f.hosts, 0));
	assert_null(floors_forbids(&f.floors, f.hosts, 3));
	arena_done(&f.a);
}

static void an_order_of_another_rollout_counts_as_commanded(void **state)
{
	struct fleet f;
	fleet_of(&f, 4, "eu");
	f.hosts[0].holds_order = true;
	count(&f, 750);
	assert_int_equal(f.floors.v[0].commanded, 1);
	assert_non_null(floors_forbids(&f.floors, f.hosts, 1));
	assert_null(floors_forbids(&f.floors, f.hosts, 0));
	arena_done(&f.a);
}

static void every_zone_and_region_has_its_own_floor(void **state)
{
	struct fleet f;
	fleet_of(&f, 0, NULL);
	for (int i = 0; i < 8; i++)
		add(&f, "eu", i < 6 ? "a" : "b", AVAIL_UP, TASK_QUEUED);
	count(&f, 500);
	floors_take(&f.floors, f.hosts, 7); /* one of the two in zone b */
	const struct domain *d = floors_forbids(&f.floors, f.hosts, 6);
	assert_non_null(d);
	assert_int_equal(d->kind, DOMAIN_ZONE);
	assert_string_equal(d->name.s, "b");
	assert_null(floors_forbids(&f.floors, f.hosts, 0));
	arena_done(&f.a);
}

static void zones_of_one_name_in_two_regions_are_two(void **state)
{
	struct fleet f;
	fleet_of(&f, 0, NULL);
	add(&f, "eu", "a", AVAIL_UP, TASK_QUEUED);
	add(&f, "eu", "a", AVAIL_UP, TASK_QUEUED);
	add(&f, "us", "a", AVAIL_UP, TASK_QUEUED);
	add(&f, "us", "a", AVAIL_UP, TASK_QUEUED);
	count(&f, 500);
	floors_take(&f.floors, f.hosts, 0);
	assert_non_null(floors_forbids(&f.floors, f.hosts, 1));
	assert_null(floors_forbids(&f.floors, f.hosts, 2));
	arena_done(&f.a);
}

static void hosts_in_hand_count_as_commanded_and_skipped_ones_not_at_all(void **state)
{
	struct fleet f;
	fleet_of(&f, 4, "eu");
	f.tasks[0].state = TASK_ASSIGNED;
	f.tasks[1].state = TASK_SKIPPED;
	count(&f, 600); /* of 3: floor 2 */
	assert_int_equal(f.floors.v[0].hosts, 3);
	assert_int_equal(f.floors.v[0].floor, 2);
	assert_non_null(floors_forbids(&f.floors, f.hosts, 2));
	arena_done(&f.a);
}

/* Going back takes hosts that are still on their way forward: each is out once, not twice. */
static void a_host_in_hand_does_not_forbid_to_be_taken_itself(void **state)
{
	struct fleet f;
	fleet_of(&f, 3, "eu");
	f.tasks[0].state = TASK_ASSIGNED;
	count(&f, 660);
	assert_int_equal(f.floors.v[0].floor, 2);
	assert_null(floors_forbids(&f.floors, f.hosts, 0));
	assert_non_null(floors_forbids(&f.floors, f.hosts, 1));
	floors_take(&f.floors, f.hosts, 0);
	assert_int_equal(f.floors.v[0].commanded, 1);
	arena_done(&f.a);
}

/* ---- can it be carried out, and taken back? ---- */

static const char *why_not(size_t hosts, permille floor, permille back_floor)
{
	static struct fleet f;
	const struct limits l = {.floor = floor, .back_floor = back_floor};
	const char *why;
	fleet_of(&f, hosts, "eu");
	int rc = plan_feasible(&l, f.tasks, f.hosts, f.nr, &f.a, &why);
	assert_int_equal(rc, why[0] == '\0' ? E_OK : E_INFEASIBLE);
	static char text[256];
	snprintf(text, sizeof text, "%s", why);
	arena_done(&f.a);
	return text;
}

static void a_floor_that_lets_nobody_out_is_refused_forward_and_back(void **state)
{
	for (size_t n = 1; n <= 3; n++) {
		permille most = (permille)((n - 1) * 1000 / n);
		assert_string_equal(why_not(n, most, most), "");
		assert_non_null(strstr(why_not(n, most + 1, most), "lower strategy.floor to"));
		assert_non_null(strstr(why_not(n, most, most + 1), "lower rollback.floor to"));
	}
	assert_string_equal(
		why_not(3, 500, 670),
		"the group has 3 hosts and a floor of 3 (67.0% of 3, rounded up), so not one may be "
		"out: lower rollback.floor to 66% or less, or add hosts");
	assert_string_equal(why_not(4, 500, 670), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ninety_five_percent_of_ten_forbids_the_first_host),
		cmocka_unit_test(each_taken_host_counts_until_the_floor_is_reached),
		cmocka_unit_test(a_host_that_is_down_costs_nothing_even_under_the_floor),
		cmocka_unit_test(silent_hosts_are_taken_as_if_they_were_serving),
		cmocka_unit_test(silent_hosts_in_hand_are_not_free),
		cmocka_unit_test(who_is_down_leaves_less_to_the_silent),
		cmocka_unit_test(an_order_of_another_rollout_counts_as_commanded),
		cmocka_unit_test(every_zone_and_region_has_its_own_floor),
		cmocka_unit_test(zones_of_one_name_in_two_regions_are_two),
		cmocka_unit_test(hosts_in_hand_count_as_commanded_and_skipped_ones_not_at_all),
		cmocka_unit_test(a_host_in_hand_does_not_forbid_to_be_taken_itself),
		cmocka_unit_test(a_floor_that_lets_nobody_out_is_refused_forward_and_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
