#include "tests/lib/test.h"
#include "coordinator/cluster/reconcile.h"

/* What is due, for a cluster in which coordinator 1 leads and is asked. */
struct world {
	struct reconcile_node nodes[8];
	struct consensus_member_info members[8];
	size_t nodes_nr, members_nr;
};

static void node(struct world *w, uint64_t id, bool standby, bool removed)
{
	w->nodes[w->nodes_nr++] =
		(struct reconcile_node){.id = id, .address = "h:1", .standby = standby, .removed = removed};
}

static void member(struct world *w, uint64_t id, enum consensus_role role)
{
	w->members[w->members_nr++] =
		(struct consensus_member_info){.id = id, .role = role, .self = id == 1, .leader = id == 1};
}

static struct reconcile_step next(const struct world *w, uint64_t after)
{
	return reconcile_next(w->nodes, w->nodes_nr, w->members, w->members_nr, after);
}

static void assert_step(struct reconcile_step s, enum consensus_member_op op, uint64_t id)
{
	assert_int_equal(s.op, op);
	assert_int_equal(s.id, id);
}

static void nothing_is_due_when_all_is_as_it_should_be(void **state)
{
	struct world w = {.nodes_nr = 0};
	assert_step(next(&w, 0), 0, 0);
	node(&w, 1, false, false), member(&w, 1, CONSENSUS_VOTER);
	node(&w, 2, true, false), member(&w, 2, CONSENSUS_STANDBY);
	node(&w, 3, false, true); /* removed, and gone */
	assert_step(next(&w, 0), 0, 0);
}

static void a_new_one_is_added_and_then_promoted(void **state)
{
	struct world w = {.nodes_nr = 0};
	node(&w, 1, false, false), member(&w, 1, CONSENSUS_VOTER);
	node(&w, 2, false, false);
	assert_step(next(&w, 0), CONSENSUS_MEMBER_ADD, 2);
	assert_string_equal(next(&w, 0).address, "h:1");
	member(&w, 2, CONSENSUS_SPARE); /* half added: the same call goes on with it */
	assert_step(next(&w, 0), CONSENSUS_MEMBER_ADD, 2);
	w.members[1].role = CONSENSUS_STANDBY;
	assert_step(next(&w, 0), CONSENSUS_MEMBER_PROMOTE, 2);
	w.nodes[1].standby = true;
	assert_step(next(&w, 0), 0, 0);
}

static void a_removed_one_is_removed_whatever_it_was(void **state)
{
	static const enum consensus_role roles[] = {CONSENSUS_SPARE, CONSENSUS_STANDBY, CONSENSUS_VOTER};
	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		struct world w = {.nodes_nr = 0};
		node(&w, 1, false, false), member(&w, 1, CONSENSUS_VOTER);
		node(&w, 2, false, true), member(&w, 2, roles[i]);
		assert_step(next(&w, 0), CONSENSUS_MEMBER_REMOVE, 2);
	}
}

static void a_removed_leader_hands_over_before_it_goes(void **state)
{
	struct world w = {.nodes_nr = 0};
	node(&w, 1, false, true), member(&w, 1, CONSENSUS_VOTER);
	assert_step(next(&w, 0), 0, 0); /* nobody else votes */
	node(&w, 2, true, false), member(&w, 2, CONSENSUS_STANDBY);
	assert_step(next(&w, 0), 0, 0);
	node(&w, 3, false, false), member(&w, 3, CONSENSUS_VOTER);
	assert_step(next(&w, 0), CONSENSUS_LEADER_TRANSFER, 0);
}

static void one_that_cannot_be_changed_does_not_hold_up_the_others(void **state)
{
	struct world w = {.nodes_nr = 0};
	node(&w, 1, false, false), member(&w, 1, CONSENSUS_VOTER);
	node(&w, 2, false, false);
	node(&w, 3, false, true), member(&w, 3, CONSENSUS_VOTER);
	node(&w, 4, false, false), member(&w, 4, CONSENSUS_STANDBY);
	assert_step(next(&w, 0), CONSENSUS_MEMBER_ADD, 2);
	assert_step(next(&w, 2), CONSENSUS_MEMBER_REMOVE, 3);
	assert_step(next(&w, 3), CONSENSUS_MEMBER_PROMOTE, 4);
	assert_step(next(&w, 4), CONSENSUS_MEMBER_ADD, 2); /* and round */
}

static void a_member_without_a_row_is_left_alone(void **state)
{
	struct world w = {.nodes_nr = 0};
	member(&w, 1, CONSENSUS_VOTER);
	member(&w, 7, CONSENSUS_STANDBY);
	assert_step(next(&w, 0), 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_due_when_all_is_as_it_should_be),
		cmocka_unit_test(a_new_one_is_added_and_then_promoted),
		cmocka_unit_test(a_removed_one_is_removed_whatever_it_was),
		cmocka_unit_test(a_removed_leader_hands_over_before_it_goes),
		cmocka_unit_test(one_that_cannot_be_changed_does_not_hold_up_the_others),
		cmocka_unit_test(a_member_without_a_row_is_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
