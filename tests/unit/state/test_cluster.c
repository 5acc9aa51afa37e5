/* Coordinators and the tokens that let them in: who may be a member, decided in the log. */
#include "tests/lib/test.h"
#include "coordinator/state/codec.h"
#include "coordinator/state/keys.h"
#include "tests/lib/fleet.h"

enum { HOUR = 3600000 };

static struct test_fleet f;

static int setup(void **state)
{
	test_fleet_init(&f);
	struct command c = {.kind = COMMAND_NODE_PUT,
			    .node_put = {.id = 1,
					 .address = "a.example",
					 .peer_address = "a.example:7702",
					 .version = "1",
					 .cert_ends = {5}}};
	assert_int_equal(test_fleet_apply(&f, &c), E_OK);
	return 0;
}

static int teardown(void **state)
{
	test_fleet_done(&f);
	return 0;
}

static struct digest hash(uint8_t v)
{
	return (struct digest){.b = {v}};
}

static int token(uint8_t secret, bool standby, int64_t lives_ms)
{
	struct command c = {.kind = COMMAND_TOKEN_CREATE,
			    .token_create = {.secret = hash(secret),
					     .standby = standby,
					     .expires_at = {f.now.v + lives_ms}}};
	return test_fleet_apply(&f, &c);
}

static int join(uint8_t secret, uint8_t key, const char *peer_address)
{
	struct command c = {.kind = COMMAND_NODE_JOIN,
			    .node_join = {.secret = hash(secret),
					  .node = {.address = "b.example",
						   .peer_address = peer_address,
						   .key = hash(key),
						   .version = "1"}}};
	return test_fleet_apply(&f, &c);
}

static int take_out(uint64_t id)
{
	struct command c = {.kind = COMMAND_NODE_REMOVE, .node_remove = id};
	return test_fleet_apply(&f, &c);
}

static struct node node(uint64_t id)
{
	struct node n;
	assert_int_equal(view_node(f.st, &f.a, id, &n), E_OK);
	return n;
}

static void a_token_lets_one_in_and_allots_an_id(void **state)
{
	assert_int_equal(token(1, false, HOUR), E_OK);
	assert_int_equal(join(1, 9, "b.example:7702"), E_OK);
	assert_int_equal(f.reply.node, 2);
	assert_string_equal(node(2).peer_address, "b.example:7702");
	assert_false(node(2).standby);
	struct join_token t;
	struct digest secret = hash(1);
	assert_int_equal(view_token(f.st, &f.a, &secret, &t), E_OK);
	assert_int_equal(t.node, 2);
}

static void the_same_key_gets_the_same_answer_and_another_none(void **state)
{
	assert_int_equal(token(1, false, HOUR), E_OK);
	assert_int_equal(join(1, 9, "b.example:7702"), E_OK);
	assert_int_equal(join(1, 9, "b.example:7702"), E_OK);
	assert_int_equal(f.reply.node, 2);
	assert_int_equal(join(1, 8, "c.example:7702"), E_DENIED);
	assert_non_null(strstr(f.reply.text, "was used by coordinator 2"));
	struct node n;
	assert_int_equal(view_node(f.st, &f.a, 3, &n), E_NOT_FOUND);
}

static void a_wrong_an_expired_and_a_revoked_token_are_refused(void **state)
{
	assert_int_equal(token(1, false, HOUR), E_OK);
	assert_int_equal(join(2, 9, "b.example:7702"), E_DENIED);
	struct command revoke = {.kind = COMMAND_TOKEN_REVOKE, .token_revoke = hash(1)};
	assert_int_equal(test_fleet_apply(&f, &revoke), E_OK);
	assert_int_equal(join(1, 9, "b.example:7702"), E_DENIED);
	assert_non_null(strstr(f.reply.text, "revoked"));
	assert_int_equal(token(3, false, HOUR), E_OK);
	f.now.v += HOUR;
	assert_int_equal(join(3, 9, "b.example:7702"), E_DENIED);
	assert_non_null(strstr(f.reply.text, "expired"));
}

static void an_answer_that_was_lost_is_not_given_after_the_end(void **state)
{
	assert_int_equal(token(1, false, HOUR), E_OK);
	assert_int_equal(join(1, 9, "b.example:7702"), E_OK);
	f.now.v += HOUR;
	assert_int_equal(join(1, 9, "b.example:7702"), E_DENIED);
}

static void expired_tokens_are_forgotten_when_another_is_made(void **state)
{
	struct join_token t;
	struct digest secret = hash(1);
	assert_int_equal(token(1, false, HOUR), E_OK);
	f.now.v += HOUR;
	assert_int_equal(token(2, false, HOUR), E_OK);
	assert_int_equal(view_token(f.st, &f.a, &secret, &t), E_NOT_FOUND);
	assert_int_equal(token(2, false, HOUR), E_EXISTS);
	assert_int_equal(token(3, false, 0), E_INVALID);
}

static void there_are_not_more_tokens_than_anyone_needs(void **state)
{
	for (uint8_t i = 1; i <= 64; i++)
		assert_int_equal(token(i, false, HOUR), E_OK);
	assert_int_equal(token(65, false, HOUR), E_TOO_LARGE);
}

static void an_address_belongs_to_one_member(void **state)
{
	assert_int_equal(token(1, false, HOUR), E_OK);
	assert_int_equal(join(1, 9, "a.example:7702"), E_EXISTS);
	assert_non_null(strstr(f.reply.text, "wavetrain cluster remove 1"));
	assert_int_equal(join(1, 9, "b.example:7702"), E_OK); /* a refusal uses no token up */
}

static void ids_only_grow_and_a_removed_one_stays_removed(void **state)
{
	for (uint8_t i = 1; i <= 3; i++)
		assert_int_equal(token(i, false, HOUR), E_OK);
	assert_int_equal(join(1, 9, "b.example:7702"), E_OK);
	assert_int_equal(join(2, 8, "c.example:7702"), E_OK);
	assert_int_equal(take_out(3), E_OK);
	assert_int_equal(take_out(3), E_OK); /* said twice is said once */
	assert_true(node(3).removed);
	assert_int_equal(join(2, 8, "c.example:7702"), E_DENIED);
	assert_int_equal(join(3, 7, "c.example:7702"), E_OK); /* its address is free again */
	assert_int_equal(f.reply.node, 4);
	struct command put = {.kind = COMMAND_NODE_PUT, .node_put = node(3)};
	put.node_put.removed = false;
	assert_int_equal(test_fleet_apply(&f, &put), E_OK);
	assert_true(node(3).removed);
}

static void the_last_voter_stays(void **state)
{
	assert_int_equal(take_out(1), E_INFEASIBLE);
	assert_non_null(strstr(f.reply.text, "last"));
	assert_int_equal(token(1, false, HOUR), E_OK);
	assert_int_equal(token(2, true, HOUR), E_OK);
	assert_int_equal(join(1, 9, "b.example:7702"), E_OK);
	assert_int_equal(join(2, 8, "c.example:7702"), E_OK);
	assert_true(node(3).standby);
	assert_int_equal(take_out(2), E_OK);
	assert_int_equal(take_out(1), E_INFEASIBLE); /* what is left beside it does not vote */
	assert_int_equal(take_out(3), E_OK);
	assert_int_equal(take_out(7), E_NOT_FOUND);
}

static bool no_secret(void *arg, const struct audit_entry *a)
{
	char hex[DIGEST_HEX_CAP];
	struct digest secret = hash(0xab);
	digest_hex(&secret, hex);
	assert_null(strstr(a->object, hex));
	assert_null(strstr(a->detail, hex));
	*(int *)arg += strcmp(a->verb, "cluster token create") == 0 && strstr(a->object, "token ab") != NULL;
	return true;
}

static void the_audit_names_a_token_by_the_first_digits_of_its_hash(void **state)
{
	int seen = 0;
	assert_int_equal(token(0xab, false, HOUR), E_OK);
	view_each_audit(f.st, &f.a, 0, no_secret, &seen);
	assert_int_equal(seen, 1);
}

static void rows_come_back_field_by_field(void **state)
{
	struct buf b;
	struct node n = {.id = 3,
			 .address = "a",
			 .peer_address = "a:1",
			 .agent_port = 1,
			 .artifact_port = 2,
			 .join_port = 3,
			 .standby = true,
			 .removed = true,
			 .key = hash(4),
			 .version = "0.1",
			 .cert_ends = {5},
			 .created_at = {6},
			 .created_by = "ann"},
		    m;
	buf_init(&b);
	node_encode(&b, &n);
	assert_int_equal(node_decode(&f.a, b.data, b.len, &m), E_OK);
	assert_string_equal(m.address, "a");
	assert_string_equal(m.peer_address, "a:1");
	assert_string_equal(m.version, "0.1");
	assert_string_equal(m.created_by, "ann");
	m.address = n.address, m.peer_address = n.peer_address, m.version = n.version,
	m.created_by = n.created_by;
	assert_memory_equal(&m, &n, sizeof n);
	n.agent_port = 65536;
	buf_reset(&b);
	node_encode(&b, &n);
	assert_int_equal(node_decode(&f.a, b.data, b.len, &m), E_CORRUPT);
	buf_done(&b);
}

static void a_damaged_row_stops_the_fold(void **state)
{
	struct key k = key_number(TABLE_NODE, 1);
	struct node n;
	f.store->ops->put(f.store, key_slice(&k), (struct store_slice){(const uint8_t *)"\xff", 1});
	assert_int_equal(view_node(f.st, &f.a, 1, &n), E_CORRUPT);
	assert_true(state_damaged(f.st));
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_token_lets_one_in_and_allots_an_id),
		CASE(the_same_key_gets_the_same_answer_and_another_none),
		CASE(a_wrong_an_expired_and_a_revoked_token_are_refused),
		CASE(an_answer_that_was_lost_is_not_given_after_the_end),
		CASE(expired_tokens_are_forgotten_when_another_is_made),
		CASE(there_are_not_more_tokens_than_anyone_needs),
		CASE(an_address_belongs_to_one_member),
		CASE(ids_only_grow_and_a_removed_one_stays_removed),
		CASE(the_last_voter_stays),
		CASE(the_audit_names_a_token_by_the_first_digits_of_its_hash),
		CASE(rows_come_back_field_by_field),
		CASE(a_damaged_row_stops_the_fold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
