/* Clusters that grow, lose nodes, hand over the lead and shrink, while somebody writes. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/contract/peers/cluster.h"

static struct cluster *cl;

static int setup(void **state)
{
	cl = cluster_open("127.0.0.1");
	return 0;
}

static int teardown(void **state)
{
	cluster_close(cl);
	return 0;
}

static void three(void)
{
	node_start(cl, 1);
	cluster_grow(cl, 2);
	cluster_grow(cl, 3);
}

static uint64_t a_follower(void)
{
	uint64_t leader = cluster_wait_leader(cl);
	return leader == 1 ? 2 : 1;
}

static bool is_refused(struct cluster *c, uint64_t arg)
{
	return node_links(c, arg)->ended[CONSENSUS_LINK_REFUSED] > 0;
}

static void a_cluster_grows_from_one_to_three_while_somebody_writes(void **state)
{
	struct consensus_member_info all[CONSENSUS_MEMBERS_MAX];
	node_start(cl, 1);
	client_go(cl);
	client_propose(cl, 500);
	cluster_grow(cl, 2);
	cluster_grow(cl, 3);
	client_propose(cl, 500);
	cluster_check_same(cl);
	if (cl->stalls == 0)
		assert_int_equal(cl->client.refused + cl->client.unknown, 0);
	assert_int_equal(consensus_members(cl->nodes[3].c, all), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(all[i].role, CONSENSUS_VOTER);
		assert_string_equal(all[i].address, cl->nodes[all[i].id].address);
		assert_true(cl->stalls > 0 || all[i].leader == (all[i].id == 1));
		assert_int_equal(all[i].self, all[i].id == 3);
		assert_true(all[i].lag == consensus_unknown);
	}
}

static void a_follower_that_was_away_gets_what_it_missed(void **state)
{
	three();
	uint64_t id = a_follower();
	node_stop(cl, id);
	client_propose(cl, 300);
	node_start(cl, id);
	client_propose(cl, 300);
	cluster_check_same(cl);
	assert_int_equal(cl->nodes[id].restores, 0);
}

static void when_the_leader_stops_another_leads(void **state)
{
	three();
	client_go(cl);
	client_propose(cl, 200);
	uint64_t old = cluster_wait_leader(cl);
	node_stop(cl, old);
	client_propose(cl, 200);
	assert_true(cluster_wait_leader(cl) != old);
	node_start(cl, old);
	client_propose(cl, 200);
	cluster_check_same(cl);
}

static void one_that_missed_more_than_the_log_holds_gets_a_snapshot(void **state)
{
	cl->snapshot_threshold = 64;
	cl->snapshot_trailing = 16;
	three();
	uint64_t id = a_follower();
	node_stop(cl, id);
	client_propose(cl, 3000);
	node_start(cl, id);
	client_propose(cl, 300);
	cluster_check_same(cl);
	assert_true(cl->nodes[id].restores > 0);
	/* A new one does not get the log from its beginning either. */
	cluster_grow(cl, 4);
	client_propose(cl, 100);
	cluster_check_same(cl);
	assert_true(cl->nodes[4].restores > 0);
}

static void the_lead_is_handed_over_and_nothing_is_lost(void **state)
{
	three();
	client_go(cl);
	for (unsigned round = 0; round < 6; round++) {
		uint64_t to = cluster_wait_leader(cl) % 3 + 1;
		cluster_wait(cl, "the next leader to keep up", node_caught_up, to);
		unsigned stalls = cl->stalls;
		int rc = cluster_member(cl, CONSENSUS_LEADER_TRANSFER, to);
		if (rc == E_OK && cl->stalls == stalls)
			assert_int_equal(cluster_wait_leader(cl), to);
		else if (rc == E_OK || rc == E_UNAVAILABLE || rc == E_NOT_LEADER)
			continue;
		else if (rc != E_TIMEOUT && rc != E_UNKNOWN_OUTCOME)
			fail_msg("transfer: %s", cl->answer.text);
		client_propose(cl, 50);
	}
	cluster_check_same(cl);
}

static void one_that_was_removed_is_cut_off_and_never_comes_back(void **state)
{
	three();
	cluster_grow(cl, 4);
	uint64_t leader = cluster_wait_leader(cl);
	cluster_must(cl, CONSENSUS_MEMBER_DEMOTE, 4);
	cluster_must(cl, CONSENSUS_MEMBER_REMOVE, 4);
	assert_true(node_links(cl, leader)->ended[CONSENSUS_LINK_REMOVED] > 0);
	node_stop(cl, 4);
	node_start(cl, 4); /* as a standby by its own log; as a voter it would even ask for votes */
	client_propose(cl, 200);
	assert_int_equal(cluster_member(cl, CONSENSUS_MEMBER_ADD, 4), E_EXISTS);
	assert_non_null(strstr(cl->answer.text, "never comes back"));
	node_stop(cl, 4);
	node_wipe(cl, 4);
	client_propose(cl, 200);
	cluster_check_same(cl);
}

/* It was not told: by its own log it is a voter that hears no leader, so it asks for votes. */
static void a_voter_that_was_removed_is_refused_and_told_why(void **state)
{
	three();
	uint64_t id = a_follower();
	cluster_must(cl, CONSENSUS_MEMBER_REMOVE, id);
	cluster_wait(cl, "the removed one to be refused", is_refused, id);
	assert_true(node_links(cl, cluster_wait_leader(cl))->ended[CONSENSUS_LINK_NO_MEMBER] > 0);
	client_propose(cl, 100);
	node_stop(cl, id);
	cluster_check_same(cl);
}

static void an_id_stays_used_when_nothing_but_a_snapshot_remembers_it(void **state)
{
	cl->snapshot_threshold = 64;
	cl->snapshot_trailing = 16;
	three();
	cluster_grow(cl, 4);
	cluster_must(cl, CONSENSUS_MEMBER_REMOVE, 4);
	node_stop(cl, 4);
	client_propose(cl, 3000);
	for (uint64_t id = 1; id <= 3; id++) {
		node_stop(cl, id);
		node_start(cl, id);
	}
	client_propose(cl, 10);
	cluster_wait_leader(cl);
	assert_int_equal(cluster_member(cl, CONSENSUS_MEMBER_ADD, 4), E_EXISTS);
	cluster_check_same(cl);
}

static void the_rules_are_kept_and_say_what_to_do(void **state)
{
	struct err e;
	node_start(cl, 1);
	client_propose(cl, 10);
	assert_int_equal(cluster_member(cl, CONSENSUS_MEMBER_REMOVE, 1), E_CONFLICT);
	assert_non_null(strstr(cl->answer.text, "hand over the lead first"));
	assert_int_equal(cluster_member(cl, CONSENSUS_MEMBER_PROMOTE, 2), E_NOT_FOUND);
	assert_int_equal(cluster_member(cl, CONSENSUS_LEADER_TRANSFER, 0), E_NOT_FOUND);
	assert_int_equal(consensus_member(cl->nodes[1].c, CONSENSUS_MEMBER_ADD, 2, "b", NULL, NULL, &e),
			 E_INVALID);
	assert_int_equal(consensus_member(cl->nodes[1].c, CONSENSUS_MEMBER_ADD, 0, "b:1", NULL, NULL, &e),
			 E_INVALID);
	assert_int_equal(consensus_member(cl->nodes[1].c, CONSENSUS_MEMBER_ADD, 2, cl->nodes[1].address, NULL,
					  NULL, &e),
			 E_EXISTS);
	/* Added, but it does not run: it cannot be promoted, and nobody else can be added; it can be removed.
	 */
	cluster_must(cl, CONSENSUS_MEMBER_ADD, 2);
	assert_int_equal(cluster_member(cl, CONSENSUS_MEMBER_PROMOTE, 2), E_UNAVAILABLE);
	assert_int_equal(cluster_member(cl, CONSENSUS_MEMBER_ADD, 3), E_UNAVAILABLE);
	assert_non_null(strstr(cl->answer.text, "is silent"));
	assert_int_equal(cluster_member(cl, CONSENSUS_MEMBER_DEMOTE, 2), E_CONFLICT);
	cluster_must(cl, CONSENSUS_MEMBER_REMOVE, 2);
	cluster_grow(cl, 3);
	assert_int_equal(cluster_member(cl, CONSENSUS_MEMBER_DEMOTE, 1), E_CONFLICT);
	assert_int_equal(cluster_member(cl, CONSENSUS_MEMBER_DEMOTE, 3), E_OK);
	assert_int_equal(cluster_member(cl, CONSENSUS_MEMBER_DEMOTE, 1), E_CONFLICT);
	client_propose(cl, 10);
	assert_int_equal(cluster_member(cl, CONSENSUS_MEMBER_PROMOTE, 3), E_OK);
	assert_int_equal(consensus_member(cl->nodes[3].c, CONSENSUS_MEMBER_ADD, 4, "b:1", NULL, NULL, &e),
			 E_NOT_LEADER);
	client_propose(cl, 10);
	cluster_check_same(cl);
}

static void ignore(void *arg, int code, uint64_t index, const void *reply, size_t n)
{
	++*(unsigned *)arg;
}

static void one_change_at_a_time(void **state)
{
	struct err e;
	unsigned ended = 0;
	node_start(cl, 1);
	assert_int_equal(consensus_member(cl->nodes[1].c, CONSENSUS_MEMBER_ADD, 2, cl->nodes[2].address,
					  ignore, &ended, &e),
			 E_OK);
	assert_int_equal(consensus_member(cl->nodes[1].c, CONSENSUS_MEMBER_ADD, 3, cl->nodes[3].address,
					  ignore, &ended, &e),
			 E_BUSY);
	assert_int_equal(ended, 0);
	node_stop(cl, 1); /* whatever is under way is told */
	assert_int_equal(ended, 1);
}

static bool is_spare(struct cluster *c, uint64_t id)
{
	struct consensus_member_info all[CONSENSUS_MEMBERS_MAX];
	size_t n = consensus_members(c->nodes[1].c, all);
	return n == 2 && all[1].id == id && all[1].role == CONSENSUS_SPARE;
}

static void an_add_that_was_cut_short_is_asked_for_again(void **state)
{
	struct err e;
	unsigned ended = 0;
	node_start(cl, 1);
	assert_int_equal(consensus_member(cl->nodes[1].c, CONSENSUS_MEMBER_ADD, 2, cl->nodes[2].address,
					  ignore, &ended, &e),
			 E_OK);
	cluster_wait(cl, "the first half", is_spare, 2);
	node_stop(cl, 1);
	assert_int_equal(ended, 1);
	node_start(cl, 1);
	cluster_grow(cl, 2);
	client_propose(cl, 10);
	cluster_check_same(cl);
}

static void the_address_of_a_cluster_of_one_may_change_and_of_more_may_not(void **state)
{
	struct consensus_member_info all[CONSENSUS_MEMBERS_MAX];
	struct err e;
	char real[64];
	strcpy(real, cl->nodes[1].address);
	strcpy(cl->nodes[1].address,
	       "127.0.0.1:1"); /* as clusters of one were made before there were peers */
	node_start(cl, 1);
	client_propose(cl, 10);
	node_stop(cl, 1);
	strcpy(cl->nodes[1].address, real);
	node_start(cl, 1);
	cluster_grow(cl, 2);
	assert_int_equal(consensus_members(cl->nodes[2].c, all), 2);
	assert_string_equal(all[0].address, real);
	node_stop(cl, 2);
	strcpy(cl->nodes[2].address, "127.0.0.1:1");
	assert_int_equal(node_try_start(cl, 2, &e), E_CONFLICT);
	assert_non_null(strstr(e.text, "would refuse it"));
	cl->nodes[2].c = NULL;
	node_stop(cl, 1);
	cl->nodes[1].listen[0] = 0;
	assert_int_equal(node_try_start(cl, 1, &e), E_INVALID);
	assert_non_null(strstr(e.text, "nowhere to listen"));
	cl->nodes[1].c = NULL;
	cluster_run_ms(cl, 50); /* frees what was begun */
}

static void peers_may_have_names_and_ipv6_addresses(void **state)
{
	static const char *const hosts[] = {"localhost", "[::1]"};
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		cluster_close(cl);
		cl = cluster_open(hosts[i]);
		node_start(cl, 1);
		cluster_grow(cl, 2);
		client_propose(cl, 50);
		cluster_check_same(cl);
	}
}

static bool is_unreachable(struct cluster *c, uint64_t leader)
{
	return node_links(c, leader)->ended[CONSENSUS_LINK_UNREACHABLE] > 0;
}

static void a_name_that_nobody_knows_is_a_peer_that_cannot_be_reached(void **state)
{
	node_start(cl, 1);
	strcpy(cl->nodes[2].address, "coordinator-2.invalid:7102");
	cluster_must(cl, CONSENSUS_MEMBER_ADD, 2);
	cluster_wait(cl, "the name to be looked up", is_unreachable, 1);
	client_propose(cl, 20);
	cluster_must(cl, CONSENSUS_MEMBER_REMOVE, 2);
	client_propose(cl, 20);
}

static void what_cannot_work_is_said_at_the_start(void **state)
{
	struct node *n = &cl->nodes[2];
	struct err e;
	node_start(cl, 1);
	strcpy(n->listen, cl->nodes[1].listen);
	assert_int_equal(node_try_start(cl, 2, &e), E_UNAVAILABLE);
	assert_non_null(strstr(e.text, "cannot listen for peers"));
	cluster_run_ms(cl, 50); /* frees what was begun */
	strcpy(n->listen, "example:1");
	assert_int_equal(node_try_start(cl, 2, &e), E_INVALID);
	strcpy(n->listen, "127.0.0.1:1");
	n->files = cl->nodes[3].files;
	assert_int_equal(node_try_start(cl, 2, &e), E_INVALID);
	assert_non_null(strstr(e.text, "coordinator-2"));
	n->c = NULL;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_cluster_grows_from_one_to_three_while_somebody_writes),
		T(a_follower_that_was_away_gets_what_it_missed),
		T(when_the_leader_stops_another_leads),
		T(one_that_missed_more_than_the_log_holds_gets_a_snapshot),
		T(the_lead_is_handed_over_and_nothing_is_lost),
		T(one_that_was_removed_is_cut_off_and_never_comes_back),
		T(a_voter_that_was_removed_is_refused_and_told_why),
		T(an_id_stays_used_when_nothing_but_a_snapshot_remembers_it),
		T(the_rules_are_kept_and_say_what_to_do),
		T(one_change_at_a_time),
		T(an_add_that_was_cut_short_is_asked_for_again),
		T(the_address_of_a_cluster_of_one_may_change_and_of_more_may_not),
		T(peers_may_have_names_and_ipv6_addresses),
		T(a_name_that_nobody_knows_is_a_peer_that_cannot_be_reached),
		T(what_cannot_work_is_said_at_the_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
