/* Stock NNG peers over plain TCP: the edge speaks the same wire as the library. */
#include "tests/lib/test.h"
#include "tests/contract/edge/server.h"

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdio.h>
#include <stdlib.h>

static struct server server;

static int start_server(void **state)
{
	server_start(&server, &(struct edge_config){.address = "127.0.0.1", .insecure_for_tests = true});
	return 0;
}

static int stop_server(void **state)
{
	server_stop(&server);
	return 0;
}

static void dial(nng_socket sock)
{
	char url[64];

	snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", server.port);
	assert_int_equal(nng_socket_set_ms(sock, NNG_OPT_RECVTIMEO, 10000), 0);
	assert_int_equal(nng_socket_set_ms(sock, NNG_OPT_SENDTIMEO, 10000), 0);
	assert_int_equal(nng_dial(sock, url, NULL, 0), 0);
}

static nng_socket dial_req(void)
{
	nng_socket sock;

	assert_int_equal(nng_req0_open(&sock), 0);
	dial(sock);
	return sock;
}

static void say(nng_socket sock, const char *text)
{
	assert_int_equal(nng_send(sock, (void *)(uintptr_t)text, strlen(text), 0), 0);
}

static void hear(nng_socket sock, const char *text)
{
	char got[256];
	size_t n = sizeof(got);

	assert_int_equal(nng_recv(sock, got, &n, 0), 0);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(got, text, n);
}

static void a_request_is_answered(void **state)
{
	nng_socket sock = dial_req();

	for (int i = 0; i < 10; i++) {
		say(sock, "echo one");
		hear(sock, "echo one");
	}
	nng_close(sock);
}

static void two_contexts_share_a_connection_and_a_parked_one_waits(void **state)
{
	nng_socket sock = dial_req();
	nng_ctx park, other;
	nng_aio *aio;
	nng_msg *msg;

	assert_int_equal(nng_ctx_open(&park, sock), 0);
	assert_int_equal(nng_ctx_open(&other, sock), 0);
	assert_int_equal(nng_aio_alloc(&aio, NULL, NULL), 0);
	assert_int_equal(nng_msg_alloc(&msg, 0), 0);
	nng_msg_append(msg, "park", 4);
	nng_aio_set_msg(aio, msg);
	nng_ctx_send(park, aio);
	nng_aio_wait(aio);
	assert_int_equal(nng_aio_result(aio), 0);
	nng_ctx_recv(park, aio);
	say(sock, "echo meanwhile");
	hear(sock, "echo meanwhile");
	while (server_parked(&server) == 0)
		uv_sleep(1);
	server_release(&server);
	nng_aio_wait(aio);
	assert_int_equal(nng_aio_result(aio), 0);
	msg = nng_aio_get_msg(aio);
	assert_int_equal(nng_msg_len(msg), 8);
	assert_memory_equal(nng_msg_body(msg), "released", 8);
	nng_msg_free(msg);
	nng_aio_free(aio);
	nng_close(sock);
}

static void large_frames_pass_both_ways_after_trust(void **state)
{
	enum { LARGE = 200 * 1024 };
	nng_socket sock = dial_req();
	uint8_t *large = calloc(1, LARGE), *got;
	size_t n;

	say(sock, "trust");
	hear(sock, "trust");
	assert_int_equal(nng_send(sock, large, LARGE, 0), 0);
	assert_int_equal(nng_recv(sock, &got, &n, NNG_FLAG_ALLOC), 0);
	assert_int_equal(n, LARGE);
	nng_free(got, n);
	say(sock, "big 1000000");
	assert_int_equal(nng_recv(sock, &got, &n, NNG_FLAG_ALLOC), 0);
	assert_int_equal(n, 1000000);
	nng_free(got, n);
	free(large);
	nng_close(sock);
}

static bool one_large_frame(const struct edge_counters *c, uint64_t arg)
{
	return c->closed[EDGE_LARGE_FRAME] >= arg;
}

static void a_large_frame_before_trust_closes_the_session(void **state)
{
	static uint8_t large[8 * 1024];
	nng_socket sock = dial_req();

	assert_int_equal(nng_send(sock, large, sizeof(large), 0), 0);
	assert_true(server_wait(&server, one_large_frame, 1));
	nng_close(sock);
}

static bool one_session_more(const struct edge_counters *c, uint64_t before)
{
	return c->opened > before;
}

static void a_subscriber_gets_what_it_asked_for(void **state)
{
	uint64_t before = server_counters(&server).opened;
	nng_socket sock;

	assert_int_equal(nng_sub0_open(&sock), 0);
	assert_int_equal(nng_socket_set(sock, NNG_OPT_SUB_SUBSCRIBE, "eu", 2), 0);
	dial(sock);
	assert_true(server_wait(&server, one_session_more, before));
	assert_int_equal(server_publish(&server, "us", "-one"), 1);
	assert_int_equal(server_publish(&server, "eu", "-two"), 1);
	hear(sock, "eu-two");
	nng_close(sock);
}

static bool bad_hello(const struct edge_counters *c, uint64_t before)
{
	return c->closed[EDGE_BAD_HELLO] > before;
}

static void any_other_pattern_is_refused(void **state)
{
	char url[64];
	nng_socket sock;

	snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", server.port);
	assert_int_equal(nng_pair0_open(&sock), 0);
	assert_int_equal(nng_dial(sock, url, NULL, NNG_FLAG_NONBLOCK), 0);
	assert_true(server_wait(&server, bad_hello, 0));
	nng_close(sock);
}

static bool excess(const struct edge_counters *c, uint64_t before)
{
	return c->closed[EDGE_EXCESS] > before;
}

static void a_third_outstanding_request_closes_the_session(void **state)
{
	nng_socket sock = dial_req();
	nng_ctx ctx[3];
	nng_aio *aio[3];

	for (int i = 0; i < 3; i++) {
		nng_msg *msg;

		assert_int_equal(nng_ctx_open(&ctx[i], sock), 0);
		assert_int_equal(nng_aio_alloc(&aio[i], NULL, NULL), 0);
		assert_int_equal(nng_msg_alloc(&msg, 0), 0);
		nng_msg_append(msg, "park", 4);
		nng_aio_set_msg(aio[i], msg);
		nng_ctx_send(ctx[i], aio[i]);
		nng_aio_wait(aio[i]);
	}
	assert_true(server_wait(&server, excess, 0));
	for (int i = 0; i < 3; i++)
		nng_aio_free(aio[i]);
	nng_close(sock);
	assert_int_equal(server_parked(&server), 0);
}

static void plain_tcp_beyond_loopback_is_refused(void **state)
{
	const struct edge_callbacks callbacks = {.on_request = NULL};
	struct edge_config config = {.address = "0.0.0.0", .insecure_for_tests = true};
	struct edge *edge;
	struct err e;

	assert_int_equal(edge_open(&edge, uv_default_loop(), &config, &callbacks, &e), E_DENIED);
	config.address = "not an address";
	assert_int_equal(edge_open(&edge, uv_default_loop(), &config, &callbacks, &e), E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_answered),
		cmocka_unit_test(two_contexts_share_a_connection_and_a_parked_one_waits),
		cmocka_unit_test(large_frames_pass_both_ways_after_trust),
		cmocka_unit_test(a_large_frame_before_trust_closes_the_session),
		cmocka_unit_test(a_subscriber_gets_what_it_asked_for),
		cmocka_unit_test(any_other_pattern_is_refused),
		cmocka_unit_test(a_third_outstanding_request_closes_the_session),
		cmocka_unit_test(plain_tcp_beyond_loopback_is_refused),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
