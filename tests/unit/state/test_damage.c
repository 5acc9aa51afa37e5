/* A row that cannot be read is never taken for one that is absent: views say E_CORRUPT, and the fold stops.
 */
#include "tests/lib/test.h"
#include "coordinator/state/keys.h"
#include "coordinator/state/machines.h"
#include "tests/lib/fleet.h"

static const char *const regions[] = {"eu"};
enum { ID = 0x0100 };

static struct test_fleet f;

static int setup(void **state)
{
	test_fleet_init(&f);
	test_fleet_shop(&f);
	test_fleet_host(&f, "eu-1", "eu");
	assert_int_equal(test_fleet_deploy(&f, ID, "shop", "1.0", regions, 1), E_OK);
	assert_int_equal(test_fleet_assign(&f, ID, "eu-1", DIRECTION_FORWARD), E_OK);
	return 0;
}

static int teardown(void **state)
{
	test_fleet_done(&f);
	return 0;
}

/* Every row of the table becomes one byte that is no row. */
static void damage(enum table table)
{
	struct key at = key_of(table);
	struct store_slice key, value;
	size_t damaged = 0;
	while (f.store->ops->seek(f.store, key_slice(&at), &key, &value) && key.p[0] == (uint8_t)table) {
		struct key k = {.n = 0};
		key_bytes(&k, key.p, key.n);
		at = key_after(key);
		f.store->ops->put(f.store, key_slice(&k), (struct store_slice){(const uint8_t *)"\xff", 1});
		damaged++;
	}
	assert_true(damaged > 0);
}

static int apply(struct command *c)
{
	struct buf b;
	buf_init(&b);
	c->at = f.now;
	c->actor = "test";
	c->reason = "";
	command_encode(&b, c);
	int rc = state_apply(f.st, &f.a, ++f.index, 0, b.data, b.len, &f.reply, &f.changes);
	buf_done(&b);
	return rc;
}

static bool any_deployment(void *arg, const struct deployment *d)
{
	return true;
}

static void looks(void)
{
	struct name shop = test_name("shop"), prod = test_name("prod"), eu1 = test_name("eu-1");
	struct deployment_id id = {ID};
	struct app app;
	struct environment env;
	struct host host;
	struct release release;
	struct deployment d;
	struct wave w;
	struct task t;
	struct placement p;
	struct name version = test_target("1.0").version;
	struct digest artifact = test_target("1.0").artifact;
	int rc[] = {view_app(f.st, &f.a, &shop, &app),
		    view_env(f.st, &f.a, &prod, &env),
		    view_host(f.st, &f.a, &eu1, &host),
		    view_release(f.st, &f.a, &shop, &version, &release),
		    view_release_by_digest(f.st, &f.a, &shop, &artifact, &release),
		    view_deployment(f.st, &f.a, id, &d),
		    view_active_deployment(f.st, &f.a, &shop, &prod, &d),
		    view_wave(f.st, &f.a, id, 0, &w),
		    view_task(f.st, &f.a, id, &eu1, &t),
		    view_placement(f.st, &f.a, &eu1, &shop, &p)};
	for (size_t i = 0; i < ARRAY_LEN(rc); i++)
		assert_true(rc[i] == E_OK || rc[i] == E_CORRUPT);
	view_each_deployment(f.st, &f.a, any_deployment, NULL);
}

static void whatever_row_is_damaged_a_look_at_it_stops_the_fold(void **state)
{
	static const enum table tables[] = {
		TABLE_APP,    TABLE_ENV,    TABLE_HOST, TABLE_RELEASE, TABLE_RELEASE_OF, TABLE_DEPLOYMENT,
		TABLE_SERIAL, TABLE_ACTIVE, TABLE_WAVE, TABLE_TASK,    TABLE_TASK_OF,	 TABLE_PLACEMENT};
	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		struct command c = {.kind = COMMAND_APP_PUT, .app = {.name = test_name("other")}};
		damage(tables[i]);
		assert_false(state_damaged(f.st));
		looks();
		assert_true(state_damaged(f.st));
		uint64_t applied = state_applied(f.st);
		assert_int_equal(apply(&c), E_CORRUPT);
		assert_int_equal(state_applied(f.st), applied);
		teardown(NULL);
		setup(NULL);
	}
}

static void a_command_that_meets_a_damaged_row_stops_the_fold_itself(void **state)
{
	struct command add = {.kind = COMMAND_HOST_ADD,
			      .host = {.name = test_name("eu-1"), .region = test_name("eu")}};
	damage(TABLE_HOST); /* read as absent, the host would be added as the first of its name */
	assert_int_equal(apply(&add), E_CORRUPT);
}

static void a_deployment_that_an_index_names_must_be_there(void **state)
{
	struct key k = key_id(TABLE_DEPLOYMENT, (struct deployment_id){ID});
	struct name shop = test_name("shop"), prod = test_name("prod");
	struct deployment d;
	f.store->ops->del(f.store, key_slice(&k));
	assert_int_equal(view_active_deployment(f.st, &f.a, &shop, &prod, &d), E_CORRUPT);
}

static void what_is_absent_is_only_absent(void **state)
{
	struct name nobody = test_name("nobody");
	struct host h;
	assert_int_equal(view_host(f.st, &f.a, &nobody, &h), E_NOT_FOUND);
	assert_false(state_damaged(f.st));
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(whatever_row_is_damaged_a_look_at_it_stops_the_fold),
		CASE(a_command_that_meets_a_damaged_row_stops_the_fold_itself),
		CASE(a_deployment_that_an_index_names_must_be_there),
		CASE(what_is_absent_is_only_absent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
