#include "tests/lib/test.h"
#include "coordinator/state/keys.h"
#include "tests/lib/fleet.h"

static int setup(void **state)
{
	static struct test_fleet f;
	test_fleet_init(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	test_fleet_done(*state);
	return 0;
}

static void a_host_that_comes_again_is_a_new_generation(void **state)
{
	struct test_fleet *f = *state;
	struct command rm = {.kind = COMMAND_HOST_REMOVE, .host_remove = test_name("eu-1")};
	test_fleet_host(f, "eu-1", "eu");
	assert_int_equal(f->reply.generation, 1);
	struct command again = {.kind = COMMAND_HOST_ADD,
				.host = {.name = test_name("eu-1"), .region = test_name("eu")}};
	assert_int_equal(test_fleet_apply(f, &again), E_EXISTS);
	assert_int_equal(test_fleet_apply(f, &rm), E_OK);
	assert_int_equal(test_fleet_apply(f, &again), E_OK);
	assert_int_equal(f->reply.generation, 2);
}

static void a_version_is_never_changed(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_app(f, "shop");
	test_fleet_release(f, "shop", "1.0");
	test_fleet_release(f, "shop", "1.0"); /* the same bytes: said twice is said once */
	struct release r = {.app = test_name("shop"),
			    .version = test_target("1.0").version,
			    .artifact = test_target("2.0").artifact,
			    .size_bytes = 1,
			    .type = ""};
	assert_int_equal(test_fleet_apply(f, &(struct command){.kind = COMMAND_RELEASE_ADD, .release = r}),
			 E_EXISTS);
	assert_non_null(strstr(f->reply.text, "never changed"));
}

static void a_repeated_command_is_answered_and_not_applied(void **state)
{
	struct test_fleet *f = *state;
	struct command c = {.kind = COMMAND_HOST_ADD,
			    .host = {.name = test_name("eu-1"), .region = test_name("eu")},
			    .client_hi = 1,
			    .client_seq = 5};
	assert_int_equal(test_fleet_apply(f, &c), E_OK);
	assert_int_equal(test_fleet_apply(f, &c), E_OK);
	assert_int_equal(f->reply.generation, 1);
	assert_int_equal(f->changes.nr, 0);
	c.client_seq = 4;
	assert_int_equal(test_fleet_apply(f, &c), E_CONFLICT);
}

static struct command of_client(uint64_t client, uint64_t seq)
{
	return (struct command){.kind = COMMAND_APP_PUT,
				.app = {.name = test_name("shop")},
				.client_lo = client,
				.client_seq = seq};
}

static size_t rows_of(struct test_fleet *f, enum table table)
{
	struct key at = key_of(table);
	struct store_slice key, value;
	size_t n = 0;
	for (; f->store->ops->seek(f->store, key_slice(&at), &key, &value) && key.p[0] == (uint8_t)table; n++)
		at = key_after(key);
	return n;
}

static bool is_answered(struct test_fleet *f, uint64_t client, uint64_t seq)
{
	struct command c = {.kind = COMMAND_HOST_REMOVE,
			    .host_remove = test_name("nobody"),
			    .client_lo = client,
			    .client_seq = seq};
	return test_fleet_apply(f, &c) != E_NOT_FOUND; /* applied it would be refused */
}

static void only_the_newest_clients_are_remembered(void **state)
{
	struct test_fleet *f = *state;
	for (uint64_t i = 1; i <= STATE_CLIENTS_MAX; i++) {
		struct command c = of_client(i, 1);
		test_fleet_apply(f, &c);
	}
	struct command used_again = of_client(1, 2), one_more = of_client(STATE_CLIENTS_MAX + 1, 1);
	test_fleet_apply(f, &used_again);
	test_fleet_apply(f, &one_more);
	assert_int_equal(rows_of(f, TABLE_CLIENT), STATE_CLIENTS_MAX);
	assert_int_equal(rows_of(f, TABLE_CLIENT_USED), STATE_CLIENTS_MAX);
	assert_true(is_answered(f, 1, 2));
	assert_true(is_answered(f, 3, 1));
	assert_false(is_answered(f, 2, 1)); /* the one whose last use was longest ago */
	assert_int_equal(rows_of(f, TABLE_CLIENT), STATE_CLIENTS_MAX);
}

static void one_client_is_one_row_however_much_it_says(void **state)
{
	struct test_fleet *f = *state;
	for (uint64_t seq = 1; seq <= 20; seq++) {
		struct command c = of_client(7, seq);
		test_fleet_apply(f, &c);
		test_fleet_apply(f, &c); /* a repeat is no use */
	}
	assert_int_equal(rows_of(f, TABLE_CLIENT), 1);
	assert_int_equal(rows_of(f, TABLE_CLIENT_USED), 1);
}

static void an_index_that_was_applied_is_skipped(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_app(f, "shop");
	struct digest before = state_digest(f->st);
	f->index--;
	test_fleet_app(f, "other");
	struct digest after = state_digest(f->st);
	assert_true(digest_eq(&before, &after));
}

static void time_never_goes_back(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_app(f, "shop");
	f->now.v -= 1000000;
	test_fleet_app(f, "other");
	assert_int_equal(state_clock(f->st).v, f->now.v + 1000000);
}

static void the_same_log_gives_the_same_bytes(void **state)
{
	struct test_fleet *f = *state, g;
	test_fleet_init(&g);
	for (int i = 0; i < 2; i++) {
		struct test_fleet *x = i == 0 ? f : &g;
		test_fleet_shop(x);
		test_fleet_host(x, "eu-1", "eu");
	}
	struct digest a = state_digest(f->st), b = state_digest(g.st);
	assert_true(digest_eq(&a, &b));
	a = state_chain(f->st);
	b = state_chain(g.st);
	assert_true(digest_eq(&a, &b));
	test_fleet_done(&g);
}

static void a_dump_restores_to_the_same_state(void **state)
{
	struct test_fleet *f = *state, g;
	struct buf b;
	test_fleet_init(&g);
	buf_init(&b);
	test_fleet_app(f, "shop");
	test_fleet_host(f, "eu-1", "eu");
	test_fleet_app(&g, "gone-after-the-restore");
	state_dump(f->store, &b);
	assert_int_equal(state_restore(g.st, b.data, b.len), E_OK);
	struct digest x = state_digest(f->st), y = state_digest(g.st);
	assert_true(digest_eq(&x, &y));
	assert_int_equal(state_applied(g.st), f->index);
	for (size_t n = 1; n < b.len; n++) { /* any cut is refused, or falls on a border of rows */
		int rc = state_restore(g.st, b.data, b.len - n);
		assert_true(rc == E_CORRUPT || rc == E_OK);
	}
	buf_done(&b);
	test_fleet_done(&g);
}

static void a_key_that_cannot_be_continued_is_corrupt(void **state)
{
	struct test_fleet *f = *state;
	uint8_t dump[8 + KEY_CAP] = {0, 0, 0, KEY_CAP};
	test_fleet_app(f, "shop");
	assert_int_equal(state_restore(f->st, dump, sizeof dump), E_CORRUPT);
	assert_int_equal(state_applied(f->st), 1);
}

static void a_dump_of_another_format_leaves_the_rows(void **state)
{
	struct test_fleet *f = *state;
	struct buf b;
	test_fleet_app(f, "shop");
	buf_init(&b);
	state_dump(f->store, &b);
	size_t at = 0; /* the meta row's value begins with the format */
	while (b.data[at + 8] != TABLE_META)
		at += 8 + get_u32(b.data + at) + get_u32(b.data + at + 4);
	put_u32(b.data + at + 8 + get_u32(b.data + at), 99);
	struct digest before = state_digest(f->st);
	assert_int_equal(state_restore(f->st, b.data, b.len), E_VERSION);
	struct digest after = state_digest(f->st);
	assert_true(digest_eq(&before, &after));
	buf_done(&b);
}

static bool count_refused(void *arg, const struct audit_entry *e)
{
	*(int *)arg += strncmp(e->detail, "refused", 7) == 0;
	return true;
}

static void refusals_are_audited_too(void **state)
{
	struct test_fleet *f = *state;
	int refused = 0;
	struct command rm = {.kind = COMMAND_HOST_REMOVE, .host_remove = test_name("nobody")};
	assert_int_equal(test_fleet_apply(f, &rm), E_NOT_FOUND);
	view_each_audit(f->st, &f->a, 0, count_refused, &refused);
	assert_int_equal(refused, 1);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_host_that_comes_again_is_a_new_generation),
		CASE(a_version_is_never_changed),
		CASE(a_repeated_command_is_answered_and_not_applied),
		CASE(only_the_newest_clients_are_remembered),
		CASE(one_client_is_one_row_however_much_it_says),
		CASE(an_index_that_was_applied_is_skipped),
		CASE(time_never_goes_back),
		CASE(the_same_log_gives_the_same_bytes),
		CASE(a_dump_restores_to_the_same_state),
		CASE(a_key_that_cannot_be_continued_is_corrupt),
		CASE(a_dump_of_another_format_leaves_the_rows),
		CASE(refusals_are_audited_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
