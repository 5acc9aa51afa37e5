/* Peers that misbehave: the edge closes them, counts why, leaks nothing, and serves the next one. */
#include "tests/lib/test.h"
#include "tests/contract/edge/raw.h"
#include "tests/contract/edge/server.h"
#include "tests/lib/pki.h"

#include <signal.h>

#include "proto/sp.h"

enum { CROWD = 50, SHORT_MS = 60 };

static struct pki pki;
static struct pki_files coordinator, agent;
static SSL_CTX *good_ctx;
static struct server server;

static int open_world(void **state)
{
	struct err e;

	pki_open(&pki, "prod");
	pki_issue(&pki, &coordinator, TLS_ROLE_COORDINATOR, "c1");
	pki_issue(&pki, &agent, TLS_ROLE_AGENT, "web-1");
	return tls_ctx_load(&good_ctx, TLS_CLIENT, &agent.files, &e);
}

static int close_world(void **state)
{
	SSL_CTX_free(good_ctx);
	pki_close(&pki);
	return 0;
}

static void start(struct edge_config config)
{
	config.address = "127.0.0.1";
	config.tls = coordinator.files;
	server_start(&server, &config);
}

static bool nobody_is_left(const struct edge_counters *c, uint64_t accepted)
{
	uint64_t closed = 0;

	for (int i = 0; i < EDGE_REASON_NR; i++)
		closed += c->closed[i];
	return c->sessions == 0 && c->pending == 0 && c->accepted == accepted && closed == accepted;
}

static void assert_a_good_client_is_served(void)
{
	struct raw r = raw_reach(server.port, good_ctx, RAW_AFTER_SP_HELLO);

	raw_request(&r, 5, "echo me");
	assert_true(raw_reply(&r, 5, "echo me"));
	raw_leave(&r, RAW_CLOSE);
}

static void every_way_to_leave_at_every_stage_leaks_nothing(void **state)
{
	uint64_t clients = 0;

	start((struct edge_config){.per_address_max = 1000});
	assert_a_good_client_is_served();
	clients++;
	assert_true(server_wait(&server, nobody_is_left, clients));
	unsigned fds = open_fds();
	for (int stage = 0; stage < RAW_STAGE_NR; stage++)
		for (int how = 0; how < RAW_LEAVE_NR; how++) {
			for (int i = 0; i < CROWD; i++) {
				struct raw r = raw_reach(server.port, good_ctx, (enum raw_stage)stage);

				raw_leave(&r, (enum raw_leave)how);
			}
			assert_a_good_client_is_served();
			clients += CROWD + 1;
		}
	assert_true(server_wait(&server, nobody_is_left, clients));
	assert_int_equal(open_fds(), fds);
	server_stop(&server);
}

static bool slow_hellos(const struct edge_counters *c, uint64_t want)
{
	return c->closed[EDGE_SLOW_HELLO] == want;
}

static void silent_connections_are_dropped(void **state)
{
	struct raw crowd[20];

	start((struct edge_config){.hello_timeout_ms = SHORT_MS});
	for (int i = 0; i < 10; i++)
		crowd[i] = raw_reach(server.port, NULL, i % 2 ? RAW_BEFORE_HELLO : RAW_MID_HANDSHAKE);
	assert_true(server_wait(&server, slow_hellos, 10));
	for (int i = 10; i < 12; i++)
		crowd[i] = raw_reach(server.port, good_ctx, RAW_AFTER_HANDSHAKE);
	assert_true(server_wait(&server, slow_hellos, 12));
	for (int i = 0; i < 12; i++)
		raw_leave(&crowd[i], RAW_CLOSE);
	server_stop(&server);
}

static bool slow_trust(const struct edge_counters *c, uint64_t want)
{
	return c->closed[EDGE_SLOW_TRUST] == want;
}

static void a_session_nobody_trusts_is_dropped_and_a_trusted_one_stays(void **state)
{
	start((struct edge_config){.trust_timeout_ms = SHORT_MS});
	struct raw trusted = raw_reach(server.port, good_ctx, RAW_AFTER_SP_HELLO);
	raw_request(&trusted, 1, "trust");
	assert_true(raw_reply(&trusted, 1, "trust"));
	struct raw silent = raw_reach(server.port, good_ctx, RAW_AFTER_SP_HELLO);
	assert_true(server_wait(&server, slow_trust, 1));
	raw_request(&trusted, 2, "echo");
	assert_true(raw_reply(&trusted, 2, "echo"));
	raw_leave(&trusted, RAW_CLOSE);
	raw_leave(&silent, RAW_CLOSE);
	server_stop(&server);
}

static bool large_frames(const struct edge_counters *c, uint64_t want)
{
	return c->closed[EDGE_LARGE_FRAME] == want;
}

static void a_frame_of_two_to_the_63_is_refused(void **state)
{
	static const uint8_t claim[SP_FRAME_HEAD_LEN] = {0x80}, zeros[SP_FRAME_HEAD_LEN] = {0};

	start((struct edge_config){0});
	struct raw r = raw_reach(server.port, good_ctx, RAW_AFTER_SP_HELLO);
	assert_true(raw_write(&r, claim, sizeof(claim)));
	assert_true(server_wait(&server, large_frames, 1));
	raw_leave(&r, RAW_CLOSE);
	r = raw_reach(server.port, good_ctx, RAW_AFTER_SP_HELLO);
	assert_true(raw_write(&r, zeros, sizeof(zeros))); /* an empty frame has no request id */
	uint8_t byte;
	assert_false(raw_read(&r, &byte, 1));
	assert_int_equal(server_counters(&server).closed[EDGE_BAD_FRAME], 1);
	raw_leave(&r, RAW_CLOSE);
	server_stop(&server);
}

static bool address_capped(const struct edge_counters *c, uint64_t want)
{
	return c->closed[EDGE_ADDRESS_CAP] == want;
}

static void one_address_gets_only_its_share_of_unfinished_connections(void **state)
{
	struct raw crowd[6];

	start((struct edge_config){.per_address_max = 4});
	for (int i = 0; i < 6; i++)
		crowd[i] = raw_connect(server.port);
	assert_true(server_wait(&server, address_capped, 2));
	for (int i = 0; i < 6; i++)
		raw_leave(&crowd[i], RAW_CLOSE);
	server_stop(&server);
}

static bool identity_capped(const struct edge_counters *c, uint64_t want)
{
	return c->closed[EDGE_IDENTITY_CAP] == want;
}

/* A host whose connections break half, or a stolen certificate: the newest ones are those that matter. */
static void one_identity_keeps_only_its_newest_connections(void **state)
{
	struct raw crowd[6];

	start((struct edge_config){.per_identity_max = 4, .per_address_max = 1000});
	for (int i = 0; i < 6; i++)
		crowd[i] = raw_reach(server.port, good_ctx, RAW_AFTER_SP_HELLO);
	assert_true(server_wait(&server, identity_capped, 2));
	assert_int_equal(server_counters(&server).sessions, 4);
	for (int i = 2; i < 6; i++) {
		raw_request(&crowd[i], 5, "echo still here");
		assert_true(raw_reply(&crowd[i], 5, "echo still here"));
	}
	uint8_t byte;
	for (int i = 0; i < 2; i++)
		assert_false(raw_read(&crowd[i], &byte, 1));
	for (int i = 0; i < 6; i++)
		raw_leave(&crowd[i], RAW_CLOSE);
	assert_true(server_wait(&server, nobody_is_left, 6));
	assert_a_good_client_is_served();
	server_stop(&server);
}

static void a_revoked_identity_loses_its_hints_and_unfinished_connections_too(void **state)
{
	static const uint8_t sub_hello[SP_HELLO_LEN] = {0, 'S', 'P', 0, 0, 0x21, 0, 0};
	uint8_t theirs[SP_HELLO_LEN], byte;

	start((struct edge_config){0});
	struct raw sub = raw_reach(server.port, good_ctx, RAW_AFTER_HANDSHAKE);
	assert_true(raw_write(&sub, sub_hello, sizeof(sub_hello)));
	assert_true(raw_read(&sub, theirs, sizeof(theirs)));
	struct raw req = raw_reach(server.port, good_ctx, RAW_AFTER_SP_HELLO);
	assert_int_equal(server_drop(&server, "web-2"), 0);
	assert_int_equal(server_drop(&server, "web-1"), 2);
	assert_int_equal(server_drop(&server, "web-1"), 0);
	assert_false(raw_read(&sub, &byte, 1));
	assert_false(raw_read(&req, &byte, 1));
	raw_leave(&sub, RAW_CLOSE);
	raw_leave(&req, RAW_CLOSE);
	server_stop(&server);
}

static bool all_accepted(const struct edge_counters *c, uint64_t want)
{
	return c->accepted == want;
}

static void more_handshakes_than_allowed_wait_their_turn(void **state)
{
	struct raw crowd[6];

	start((struct edge_config){.handshakes_max = 2, .hello_timeout_ms = SHORT_MS});
	for (int i = 0; i < 6; i++)
		crowd[i] = raw_connect(server.port);
	assert_true(server_wait(&server, all_accepted, 2));
	assert_true(server_counters(&server).pending <= 2);
	assert_true(server_wait(&server, all_accepted, 6));
	assert_a_good_client_is_served();
	for (int i = 0; i < 6; i++)
		raw_leave(&crowd[i], RAW_CLOSE);
	server_stop(&server);
}

static bool output_full(const struct edge_counters *c, uint64_t want)
{
	return c->closed[EDGE_OUTPUT_FULL] == want;
}

static void a_peer_that_does_not_read_is_dropped(void **state)
{
	start((struct edge_config){0});
	struct raw r = raw_reach(server.port, good_ctx, RAW_AFTER_SP_HELLO);
	for (uint32_t id = 1; id <= 20; id++)
		raw_request(&r, id,
			    "big 1000000"); /* each answered at once, so never more than one outstanding */
	assert_true(server_wait(&server, output_full, 1));
	raw_leave(&r, RAW_CLOSE);
	server_stop(&server);
}

/* TLS with other rules than ours. */
static enum tls_fault refused_with(const SSL_METHOD *method, int version, bool with_certificate)
{
	SSL_CTX *ctx = SSL_CTX_new(method);
	struct edge_counters before = server_counters(&server), after;
	uint8_t byte;

	SSL_CTX_set_max_proto_version(ctx, version);
	if (with_certificate) {
		assert_int_equal(SSL_CTX_use_certificate_file(ctx, agent.cert, SSL_FILETYPE_PEM), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, agent.key, SSL_FILETYPE_PEM), 1);
	}
	struct raw r = raw_connect(server.port);
	if (raw_handshake(&r, ctx))
		assert_false(raw_read(&r, &byte, 1));
	raw_leave(&r, RAW_CLOSE);
	SSL_CTX_free(ctx);
	after = server_counters(&server);
	for (int i = 0; i < TLS_FAULT_NR; i++)
		if (after.handshake_failed[i] > before.handshake_failed[i])
			return (enum tls_fault)i;
	return TLS_FAULT_NONE;
}

static bool not_tls(const struct edge_counters *c, uint64_t want)
{
	return c->handshake_failed[TLS_FAULT_NOT_TLS] == want;
}

static void each_kind_of_wrong_tls_has_its_counter(void **state)
{
	char why[256];

	start((struct edge_config){0});
	assert_int_equal(refused_with(TLS_client_method(), TLS1_2_VERSION, true), TLS_FAULT_VERSION);
	server_take_refusal(&server, why);
	assert_non_null(strstr(why, "TLS 1.3"));
	assert_int_equal(refused_with(TLS_client_method(), TLS1_3_VERSION, false), TLS_FAULT_NO_CERTIFICATE);
	struct raw r = raw_connect(server.port);
	assert_true(raw_write(&r, "GET / HTTP/1.1\r\n\r\n", 18));
	assert_true(server_wait(&server, not_tls, 1));
	raw_leave(&r, RAW_CLOSE);
	server_stop(&server);
}

static void a_resend_of_an_outstanding_request_is_answered_once(void **state)
{
	start((struct edge_config){0});
	struct raw r = raw_reach(server.port, good_ctx, RAW_AFTER_SP_HELLO);
	raw_request(&r, 3, "park");
	raw_request(&r, 3, "park");
	raw_request(&r, 4, "echo");
	assert_true(raw_reply(&r, 4, "echo"));
	server_release(&server);
	assert_true(raw_reply(&r, 3, "released"));
	raw_request(&r, 5, "echo");
	assert_true(raw_reply(&r, 5, "echo"));
	raw_leave(&r, RAW_CLOSE);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_to_leave_at_every_stage_leaks_nothing),
		cmocka_unit_test(silent_connections_are_dropped),
		cmocka_unit_test(a_session_nobody_trusts_is_dropped_and_a_trusted_one_stays),
		cmocka_unit_test(a_frame_of_two_to_the_63_is_refused),
		cmocka_unit_test(one_address_gets_only_its_share_of_unfinished_connections),
		cmocka_unit_test(one_identity_keeps_only_its_newest_connections),
		cmocka_unit_test(a_revoked_identity_loses_its_hints_and_unfinished_connections_too),
		cmocka_unit_test(more_handshakes_than_allowed_wait_their_turn),
		cmocka_unit_test(a_peer_that_does_not_read_is_dropped),
		cmocka_unit_test(each_kind_of_wrong_tls_has_its_counter),
		cmocka_unit_test(a_resend_of_an_outstanding_request_is_answered_once),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, open_world, close_world);
}
