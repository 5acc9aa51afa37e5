#include "tests/lib/test.h"
#include "tests/unit/admin/world.h"

static struct world w;

static int setup(void **state)
{
	world_init(&w);
	world_fill(&w);
	return 0;
}

static int teardown(void **state)
{
	world_done(&w);
	return 0;
}

/* The answer and, when `first` is not NULL, the rows before it. */
static Admin__Reply *say(enum command_id verb, const Admin__ClusterArgs *args, Admin__Reply **first)
{
	Admin__Request rq;
	Admin__ClusterArgs own = *args;
	world_request(&rq, verb);
	rq.args_case = ADMIN__REQUEST__ARGS_CLUSTER;
	rq.cluster = &own;
	return world_ask(&w, &rq, first);
}

static void assert_refused(Admin__Reply *r, const char *code, const char *words)
{
	assert_non_null(r);
	assert_int_equal(r->body_case, ADMIN__REPLY__BODY_ERROR);
	assert_string_equal(r->error->code, code);
	if (!strstr(r->error->text, words) && !strstr(r->error->hint, words))
		fail_msg("%s / %s", r->error->text, r->error->hint);
	admin__reply__free_unpacked(r, NULL);
}

static void assert_done(Admin__Reply *r, const char *words)
{
	assert_non_null(r);
	if (r->body_case == ADMIN__REPLY__BODY_ERROR)
		fail_msg("%s", r->error->text);
	assert_non_null(strstr(r->done->text, words));
	admin__reply__free_unpacked(r, NULL);
}

static void status_says_what_is_known(void **state)
{
	Admin__ClusterArgs args = ADMIN__CLUSTER_ARGS__INIT;
	Admin__Reply *first;
	assert_done(say(CMD_CLUSTER_STATUS, &args, &first), "");
	const Admin__Cluster *c = first->cluster;
	assert_int_equal(c->n_nodes, 3);
	assert_int_equal(c->voters, 3);
	assert_string_equal(c->warning, "");
	assert_true(c->nodes[0]->leader && c->nodes[0]->self && !c->nodes[0]->silent_known);
	assert_int_equal(c->nodes[2]->lag, 2);
	admin__reply__free_unpacked(first, NULL);
}

static void an_even_number_of_voters_is_warned_of(void **state)
{
	Admin__ClusterArgs args = ADMIN__CLUSTER_ARGS__INIT;
	Admin__Reply *first;
	w.voters = 2;
	assert_done(say(CMD_CLUSTER_STATUS, &args, &first), "");
	assert_non_null(strstr(first->cluster->warning, "2 voters"));
	assert_string_equal(first->cluster->nodes[2]->waits, "coordinator 3 is silent");
	admin__reply__free_unpacked(first, NULL);
}

static void a_follower_changes_nothing_and_says_that_it_may_be_behind(void **state)
{
	Admin__ClusterArgs args = ADMIN__CLUSTER_ARGS__INIT;
	Admin__Reply *first;
	w.follows = "coordinator 2 on b.example leads";
	assert_refused(say(CMD_TOKEN_CREATE, &args, NULL), "E_NOT_LEADER",
		       "coordinator 2 on b.example leads");
	assert_int_equal(w.proposed, 0);
	Admin__Reply *r = say(CMD_CLUSTER_STATUS, &args, &first);
	assert_non_null(strstr(r->done->note, "coordinator 2 on b.example leads"));
	admin__reply__free_unpacked(r, NULL);
	admin__reply__free_unpacked(first, NULL);
	w.follows = NULL;
	r = say(CMD_CLUSTER_STATUS, &args, NULL);
	assert_string_equal(r->done->note, "");
	admin__reply__free_unpacked(r, NULL);
}

static void a_token_is_shown_once(void **state)
{
	Admin__ClusterArgs args = ADMIN__CLUSTER_ARGS__INIT;
	Admin__Reply *first;
	args.standby = true;
	assert_done(say(CMD_TOKEN_CREATE, &args, &first), "");
	assert_string_equal(first->tokens->v[0]->token, "wtj1.the-secret");
	admin__reply__free_unpacked(first, NULL);
	assert_done(say(CMD_TOKEN_LIST, &args, &first), "");
	assert_int_equal(first->tokens->n_v, 1);
	const Admin__Token *t = first->tokens->v[0];
	assert_string_equal(t->token, "");
	assert_string_equal(t->state, "valid");
	assert_true(t->standby);
	assert_int_equal(strncmp(t->id, "abcd", 4), 0);
	assert_int_equal(strlen(t->id), 12);
	admin__reply__free_unpacked(first, NULL);
}

static void a_token_has_an_end_that_is_near(void **state)
{
	Admin__ClusterArgs args = ADMIN__CLUSTER_ARGS__INIT;
	args.ttl_ms = (int64_t)8 * 86400000;
	assert_refused(say(CMD_TOKEN_CREATE, &args, NULL), "E_INVALID", "7 days");
	args.ttl_ms = -1;
	assert_refused(say(CMD_TOKEN_CREATE, &args, NULL), "E_INVALID", "7 days");
}

static void a_token_is_revoked_by_the_first_digits_of_its_hash(void **state)
{
	Admin__ClusterArgs args = ADMIN__CLUSTER_ARGS__INIT;
	Admin__Reply *first;
	assert_done(say(CMD_TOKEN_CREATE, &args, NULL), "");
	assert_done(say(CMD_TOKEN_CREATE, &args, NULL), "");
	args.token = (char *)(uintptr_t) "abcd";
	assert_refused(say(CMD_TOKEN_REVOKE, &args, NULL), "E_AMBIGUOUS", "more than one");
	args.token = (char *)(uintptr_t) "abc";
	assert_refused(say(CMD_TOKEN_REVOKE, &args, NULL), "E_NOT_FOUND", "no token");
	args.token = (char *)(uintptr_t) "abcd01";
	assert_done(say(CMD_TOKEN_REVOKE, &args, NULL), "");
	assert_done(say(CMD_TOKEN_LIST, &args, &first), "");
	assert_string_equal(first->tokens->v[1]->state, "revoked");
	admin__reply__free_unpacked(first, NULL);
}

static void the_leader_is_not_removed_by_itself(void **state)
{
	Admin__ClusterArgs args = ADMIN__CLUSTER_ARGS__INIT;
	args.node = 1;
	assert_refused(say(CMD_CLUSTER_REMOVE, &args, NULL), "E_CONFLICT", "cluster transfer");
	assert_int_equal(w.proposed, 0);
	args.node = 9;
	assert_refused(say(CMD_CLUSTER_REMOVE, &args, NULL), "E_NOT_FOUND", "no coordinator 9");
}

static void the_lead_is_handed_over_or_the_reason_told(void **state)
{
	Admin__ClusterArgs args = ADMIN__CLUSTER_ARGS__INIT;
	args.node = 2;
	assert_done(say(CMD_CLUSTER_TRANSFER, &args, NULL), "leads now");
	w.transfer_code = E_TIMEOUT;
	assert_refused(say(CMD_CLUSTER_TRANSFER, &args, NULL), "E_TIMEOUT", "");
	args.node = 1;
	assert_refused(say(CMD_CLUSTER_TRANSFER, &args, NULL), "E_CONFLICT", "leads already");
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(status_says_what_is_known),
		CASE(an_even_number_of_voters_is_warned_of),
		CASE(a_follower_changes_nothing_and_says_that_it_may_be_behind),
		CASE(a_token_is_shown_once),
		CASE(a_token_has_an_end_that_is_near),
		CASE(a_token_is_revoked_by_the_first_digits_of_its_hash),
		CASE(the_leader_is_not_removed_by_itself),
		CASE(the_lead_is_handed_over_or_the_reason_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
