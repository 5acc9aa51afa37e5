/* The agent's link and the coordinator's edge, over real TLS. */
#include "tests/lib/test.h"
#include "tests/contract/edge/agent.h"
#include "tests/contract/edge/server.h"
#include "tests/lib/pki.h"

#include <nng/nng.h>
#include <stdio.h>
#include <stdlib.h>

static struct pki pki, other;
static struct pki_files coordinator, agent_files, expired, stranger;
static struct server server;
static uv_loop_t loop;

static int start_world(void **state)
{
	pki_open(&pki, "prod");
	pki_open(&other, "staging");
	pki_issue(&pki, &coordinator, TLS_ROLE_COORDINATOR, "c1");
	pki_issue(&pki, &agent_files, TLS_ROLE_AGENT, "web-1");
	pki_issue_expired(&pki, &expired, TLS_ROLE_AGENT, "old-1");
	pki_issue(&other, &stranger, TLS_ROLE_AGENT, "web-1");
	assert_int_equal(uv_loop_init(&loop), 0);
	/* All of a fleet have one certificate here. */
	server_start(&server, &(struct edge_config){.address = "127.0.0.1",
						    .tls = coordinator.files,
						    .per_identity_max = 1000});
	return 0;
}

static int stop_world(void **state)
{
	server_stop(&server);
	assert_int_equal(uv_loop_close(&loop), 0);
	nng_fini(); /* waits for what the library still takes apart, so that a leak check sees none of it */
	pki_close(&pki);
	pki_close(&other);
	return 0;
}

static bool is_up(void *arg)
{
	struct agent *a = arg;

	return link_is_up(a->link);
}

static bool has_reply(void *arg)
{
	struct agent *a = arg;

	return a->replies > 0;
}

static bool has_poll_reply(void *arg)
{
	struct agent *a = arg;

	return a->polls > 0;
}

static bool has_gone_down(void *arg)
{
	struct agent *a = arg;

	return a->downs > 0;
}

static void come_up(struct agent *a, const struct link_config *config)
{
	agent_open(a, &loop, config, server.port);
	if (!agents_run(&loop, is_up, a))
		fail_msg("the link did not come up: %s", a->down_text);
}

static void ask(struct agent *a, const char *text)
{
	a->replies = 0;
	assert_int_equal(link_request(a->link, text, strlen(text)), E_OK);
	assert_true(agents_run(&loop, has_reply, a));
}

static void a_request_is_answered_and_the_identity_known(void **state)
{
	struct link_config config = agent_config(&agent_files.files);
	struct agent a = {0};

	come_up(&a, &config);
	ask(&a, "echo hello");
	assert_string_equal(a.last, "echo hello");
	assert_string_equal(server.last_opened.name.s, "web-1");
	assert_int_equal(server.last_opened.role, TLS_ROLE_AGENT);
	agents_close(&loop, &a, 1);
}

static bool is_parked(void *arg)
{
	return server_parked(&server) > 0;
}

static void a_parked_poll_waits_while_requests_pass(void **state)
{
	struct link_config config = agent_config(&agent_files.files);
	struct agent a = {0};

	come_up(&a, &config);
	assert_int_equal(link_poll(a.link, "park", 4), E_OK);
	assert_int_equal(link_poll(a.link, "park", 4), E_BUSY);
	assert_true(agents_run(&loop, is_parked, NULL));
	ask(&a, "echo meanwhile");
	assert_int_equal(a.polls, 0);
	server_release(&server);
	assert_true(agents_run(&loop, has_poll_reply, &a));
	assert_string_equal(a.last, "released");
	agents_close(&loop, &a, 1);
}

static void large_frames_pass_both_ways(void **state)
{
	enum { LARGE = 250 * 1024 };
	struct link_config config = agent_config(&agent_files.files);
	struct agent a = {0};
	char *large = malloc(LARGE);

	memset(large, 'x', LARGE);
	come_up(&a, &config);
	ask(&a, "trust");
	a.replies = 0;
	assert_int_equal(link_request(a.link, large, LARGE), E_OK);
	assert_true(agents_run(&loop, has_reply, &a));
	assert_int_equal(a.last_len, LARGE);
	ask(&a, "big 1000000");
	assert_int_equal(a.last_len, 1000000);
	free(large);
	agents_close(&loop, &a, 1);
}

static void a_reply_over_the_agents_limit_ends_the_session(void **state)
{
	struct link_config config = agent_config(&agent_files.files);
	struct agent a = {0};

	config.reply_max = 10000;
	come_up(&a, &config);
	assert_int_equal(link_request(a.link, "big 20000", 9), E_OK);
	assert_true(agents_run(&loop, has_gone_down, &a));
	assert_true(agents_run(&loop, is_up, &a));
	agents_close(&loop, &a, 1);
}

static void a_session_closed_by_the_coordinator_is_dialed_again(void **state)
{
	struct link_config config = agent_config(&agent_files.files);
	struct agent a = {0};

	come_up(&a, &config);
	assert_int_equal(link_request(a.link, "drop", 4), E_OK);
	assert_true(agents_run(&loop, has_gone_down, &a));
	assert_true(agents_run(&loop, is_up, &a));
	ask(&a, "echo again");
	agents_close(&loop, &a, 1);
}

static void a_call_without_answer_ends_the_session_in_time(void **state)
{
	struct link_config config = agent_config(&agent_files.files);
	struct agent a = {0};

	config.poll_timeout_ms = 50;
	come_up(&a, &config);
	assert_int_equal(link_poll(a.link, "park", 4), E_OK);
	assert_true(agents_run(&loop, has_gone_down, &a));
	assert_int_equal(a.down_code, E_TIMEOUT);
	assert_true(agents_run(&loop, is_up, &a));
	agents_close(&loop, &a, 1);
}

static void a_revoked_host_is_dropped_and_stays_out(void **state)
{
	struct link_config config = agent_config(&agent_files.files);
	char why[256];
	struct agent a = {0};

	come_up(&a, &config);
	assert_int_equal(server_drop(&server, "web-1"), 1);
	assert_true(agents_run(&loop, has_gone_down, &a));
	a.downs = 0;
	assert_true(agents_run(&loop, has_gone_down, &a));
	assert_false(link_is_up(a.link));
	server_take_refusal(&server, why);
	assert_non_null(strstr(why, "host web-1 generation 1 is not allowed"));
	agents_close(&loop, &a, 1);
	server_drop(&server, "nobody");
}

static void leaving_waits_as_long_as_asked(void **state)
{
	struct link_config config = agent_config(&agent_files.files);
	struct agent a = {0};

	come_up(&a, &config);
	link_leave(a.link, 40);
	assert_int_equal(a.downs, 1);
	assert_true(a.next_ms >= 40);
	assert_true(agents_run(&loop, is_up, &a));
	agents_close(&loop, &a, 1);
}

/* leaders ---------------------------------------------------------------------------------- */

static struct server second;

static void start_second(char address[64])
{
	server_start(&second, &(struct edge_config){.address = "127.0.0.1", .tls = coordinator.files});
	snprintf(address, 64, "127.0.0.1:%u", second.port);
}

static bool is_up_again(void *arg)
{
	struct agent *a = arg;

	return a->ups == 2 && link_is_up(a->link);
}

static void a_leader_is_dialed_next_though_no_list_names_it(void **state)
{
	struct link_config config = agent_config(&agent_files.files);
	struct agent a = {0};
	char leader[64];

	start_second(leader);
	come_up(&a, &config);
	link_leave_for(a.link, leader, 0);
	assert_int_equal(a.down_code, E_NOT_LEADER);
	assert_non_null(strstr(a.down_text, a.address));
	assert_non_null(strstr(a.down_text, leader));
	assert_true(agents_run(&loop, is_up_again, &a));
	assert_string_equal(a.up_to, leader);
	ask(&a, "echo leader");
	/* It goes, and cannot be reached any more: the list goes on. */
	a.ups = 1;
	server_shut_port(&second);
	assert_true(agents_run(&loop, is_up_again, &a));
	assert_string_equal(a.up_to, a.address);
	agents_close(&loop, &a, 1);
	server_stop(&second);
}

static void without_a_leader_the_next_of_the_list_is_dialed(void **state)
{
	static const char *const none[] = {NULL, "nowhere", ""};
	struct link_config config = agent_config(&agent_files.files);
	struct agent a = {0};

	come_up(&a, &config);
	for (size_t i = 0; i < 3; i++) {
		a.ups = 1;
		link_leave_for(a.link, none[i], 30);
		assert_int_equal(a.down_code, E_NOT_LEADER);
		assert_non_null(strstr(a.down_text, "nobody who does"));
		assert_true(a.next_ms >= 30);
		assert_true(agents_run(&loop, is_up_again, &a));
		assert_string_equal(a.up_to, a.address);
	}
	agents_close(&loop, &a, 1);
}

/* What was waited before is no reason to wait for a leader that is there; being sent on and on is one. */
static void a_leader_is_waited_for_by_its_own_count(void **state)
{
	enum { BASE = 5, FAR = 40, TIMES = 12 };
	struct link_config config = agent_config(&agent_files.files);
	struct agent a = {0};
	int64_t longest = 0;

	config.healthy_ms = 1000000;
	config.backoff_cap_ms = 50;
	config.referred_cap_ms = FAR;
	come_up(&a, &config);
	for (int i = 0; i < 4; i++) { /* four failures */
		a.ups = 1;
		link_leave(a.link, 1);
		assert_true(agents_run(&loop, is_up_again, &a));
	}
	for (int i = 0; i < TIMES; i++) {
		a.ups = 1;
		link_leave_for(a.link, a.address, 0);
		assert_in_range(a.next_ms, 1, (i == 0 ? BASE : FAR) + 1);
		longest = a.next_ms > longest ? a.next_ms : longest;
		assert_true(agents_run(&loop, is_up_again, &a));
	}
	assert_true(longest > 2 * BASE);
	agents_close(&loop, &a, 1);
}

static void another_list_keeps_the_session_and_holds_from_the_next_dial(void **state)
{
	static const char *const wrong[] = {"nowhere", NULL}, *const none[] = {NULL};
	struct link_config config = agent_config(&agent_files.files);
	struct agent a = {0};
	char leader[64];
	struct err e;

	start_second(leader);
	const char *const list[] = {leader, NULL};
	come_up(&a, &config);
	assert_int_equal(link_coordinators(a.link, wrong, &e), E_INVALID);
	assert_int_equal(link_coordinators(a.link, none, &e), E_INVALID);
	ask(&a, "echo as before");
	assert_int_equal(link_coordinators(a.link, list, &e), E_OK);
	ask(&a, "echo still here");
	assert_int_equal(a.downs, 0);
	link_leave(a.link, 1);
	assert_non_null(strstr(a.down_text, a.address));
	assert_true(agents_run(&loop, is_up_again, &a));
	assert_string_equal(a.up_to, leader);
	agents_close(&loop, &a, 1);
	server_stop(&second);
}

/* One try with these files; the text of both sides. */
static void try_in_vain(const struct tls_files *files, const char *server_name, char ours[256],
			char theirs[256])
{
	struct link_config config = agent_config(files);
	struct agent a = {0};

	config.server_name = server_name;
	server_forget_refusal(&server);
	agent_open(&a, &loop, &config, server.port);
	assert_true(agents_run(&loop, has_gone_down, &a));
	assert_int_equal(a.ups, 0);
	snprintf(ours, 256, "%s", a.down_text);
	server_take_refusal(&server, theirs);
	agents_close(&loop, &a, 1);
}

static void an_expired_certificate_is_refused_with_clear_words(void **state)
{
	char ours[256], theirs[256];

	try_in_vain(&expired.files, NULL, ours, theirs);
	assert_non_null(strstr(ours, "the peer refused us: certificate expired"));
	assert_non_null(strstr(theirs, "certificate has expired"));
	assert_true(server_counters(&server).handshake_failed[TLS_FAULT_EXPIRED] > 0);
}

static void a_certificate_of_another_cluster_is_refused_with_clear_words(void **state)
{
	struct tls_files mixed = {.ca = pki.ca_file, .cert = stranger.cert, .key = stranger.key};
	char ours[256], theirs[256];

	try_in_vain(&mixed, NULL, ours, theirs);
	assert_non_null(strstr(ours, "coordinator c1 is of cluster 'prod', this is 'staging'"));
	assert_non_null(strstr(theirs, "not from this cluster's CA"));
	assert_true(server_counters(&server).handshake_failed[TLS_FAULT_UNKNOWN_CA] > 0);
}

static void a_coordinator_of_another_ca_is_refused_with_clear_words(void **state)
{
	char ours[256], theirs[256];

	try_in_vain(&stranger.files, NULL, ours, theirs);
	assert_non_null(strstr(ours, "the server's certificate is not from this cluster's CA"));
	assert_non_null(strstr(theirs, "the peer refused us: unknown CA"));
}

static void a_coordinator_of_another_name_is_refused(void **state)
{
	char ours[256], theirs[256];

	try_in_vain(&agent_files.files, "c9.example", ours, theirs);
	assert_non_null(strstr(ours, "not for 'c9.example'"));
}

static void an_agents_certificate_cannot_serve(void **state)
{
	char ours[256], theirs[256];

	assert_int_equal(server_reload(&server, &agent_files.files), E_OK);
	try_in_vain(&agent_files.files, NULL, ours, theirs);
	assert_non_null(strstr(ours, "may not be used as a server"));
	assert_int_equal(server_reload(&server, &coordinator.files), E_OK);
}

static void a_reload_keeps_sessions_and_a_bad_one_changes_nothing(void **state)
{
	struct link_config config = agent_config(&agent_files.files);
	struct tls_files bad = {.ca = pki.ca_file, .cert = coordinator.cert, .key = agent_files.key};
	struct agent two[2] = {{0}};

	come_up(&two[0], &config);
	assert_int_equal(server_reload(&server, &bad), E_INVALID);
	assert_int_equal(server_reload(&server, &coordinator.files), E_OK);
	ask(&two[0], "echo still");
	assert_int_equal(two[0].ups, 1);
	come_up(&two[1], &config);
	assert_int_equal(two[1].downs, 0);
	agents_close(&loop, two, 2);
}

static void not_expected(void *arg, const uint8_t *bytes, size_t len)
{
	fail_msg("a reply without a session");
}

static void unusable_files_are_an_error_at_once(void **state)
{
	struct tls_files bad = {.ca = pki.ca_file, .cert = agent_files.cert, .key = coordinator.key};
	const struct link_callbacks callbacks = {.on_poll_reply = not_expected, .on_reply = not_expected};
	const char *coordinators[] = {"localhost:1", NULL};
	struct link_config config = agent_config(&bad);
	struct link *link;
	struct err e;

	config.coordinators = coordinators;
	assert_int_equal(link_open(&link, &loop, &config, &callbacks, &e), E_INVALID);
	assert_non_null(strstr(e.text, "does not belong"));
}

/* soak ----------------------------------------------------------------------------------- */

enum { FLEET = 10, RESTARTS = 10 };

static struct agent fleet[FLEET];

static bool fleet_is_up(void *arg)
{
	for (int i = 0; i < FLEET; i++)
		if (!link_is_up(fleet[i].link) || fleet[i].replies == 0)
			return false;
	return server_parked(&server) == FLEET;
}

static bool fleet_is_down(void *arg)
{
	for (int i = 0; i < FLEET; i++)
		if (link_is_up(fleet[i].link))
			return false;
	return true;
}

/* Busy links lose their coordinator in mid-sentence, again and again; every one of them comes back every
 * time. */
static void every_link_survives_ten_restarts_of_the_coordinator(void **state)
{
	struct link_config config = agent_config(&agent_files.files);

	for (int i = 0; i < FLEET; i++) {
		fleet[i].polite = true;
		config.seed = (uint64_t)i;
		agent_open(&fleet[i], &loop, &config, server.port);
	}
	for (int round = 0; round < RESTARTS; round++) {
		for (int i = 0; i < FLEET; i++)
			fleet[i].replies = 0;
		assert_true(agents_run(&loop, fleet_is_up, NULL));
		server_shut_port(&server);
		assert_true(agents_run(&loop, fleet_is_down, NULL));
		server_reopen(&server);
	}
	for (int i = 0; i < FLEET; i++) {
		fleet[i].polite = false;
		assert_false(fleet[i].wedged);
	}
	agents_close(&loop, fleet, FLEET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_answered_and_the_identity_known),
		cmocka_unit_test(a_parked_poll_waits_while_requests_pass),
		cmocka_unit_test(large_frames_pass_both_ways),
		cmocka_unit_test(a_reply_over_the_agents_limit_ends_the_session),
		cmocka_unit_test(a_session_closed_by_the_coordinator_is_dialed_again),
		cmocka_unit_test(a_call_without_answer_ends_the_session_in_time),
		cmocka_unit_test(a_revoked_host_is_dropped_and_stays_out),
		cmocka_unit_test(leaving_waits_as_long_as_asked),
		cmocka_unit_test(a_leader_is_dialed_next_though_no_list_names_it),
		cmocka_unit_test(without_a_leader_the_next_of_the_list_is_dialed),
		cmocka_unit_test(a_leader_is_waited_for_by_its_own_count),
		cmocka_unit_test(another_list_keeps_the_session_and_holds_from_the_next_dial),
		cmocka_unit_test(an_expired_certificate_is_refused_with_clear_words),
		cmocka_unit_test(a_certificate_of_another_cluster_is_refused_with_clear_words),
		cmocka_unit_test(a_coordinator_of_another_ca_is_refused_with_clear_words),
		cmocka_unit_test(a_coordinator_of_another_name_is_refused),
		cmocka_unit_test(an_agents_certificate_cannot_serve),
		cmocka_unit_test(a_reload_keeps_sessions_and_a_bad_one_changes_nothing),
		cmocka_unit_test(unusable_files_are_an_error_at_once),
		cmocka_unit_test(every_link_survives_ten_restarts_of_the_coordinator),
	};

	return cmocka_run_group_tests(tests, start_world, stop_world);
}
