/* A coordinator's address where something rude answers: every link always comes back. */
#include "tests/lib/test.h"
#include "tests/contract/edge/agent.h"
#include "tests/contract/edge/raw.h"
#include "tests/contract/edge/server.h"
#include "tests/lib/pki.h"

#include <arpa/inet.h>
#include <nng/nng.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "proto/sp.h"

enum { FLEET = 5, PER_CELL = 10, STAGES = RAW_STAGE_NR + 1, MID_REPLY = RAW_STAGE_NR };
enum { VISITS = STAGES * RAW_LEAVE_NR * PER_CELL };

static struct pki pki;
static struct pki_files coordinator, agent_files;
static uv_loop_t loop;

static int open_world(void **state)
{
	pki_open(&pki, "prod");
	pki_issue(&pki, &coordinator, TLS_ROLE_COORDINATOR, "c1");
	pki_issue(&pki, &agent_files, TLS_ROLE_AGENT, "web-1");
	return uv_loop_init(&loop);
}

static int close_world(void **state)
{
	pki_close(&pki);
	nng_fini(); /* waits for what the library still takes apart, so that a leak check sees none of it */
	return uv_loop_close(&loop);
}

/* the rude server ------------------------------------------------------------------------ */

struct rude {
	uv_thread_t thread;
	int fd;
	uint16_t port;
	SSL_CTX *ctx;
	int visits; /* how many to receive before it goes away */
	unsigned reached[STAGES];
	bool done;
};

static bool accept_tls(struct rude *s, struct raw *r)
{
	r->ssl = SSL_new(s->ctx);
	SSL_set_fd(r->ssl, r->fd);
	return SSL_accept(r->ssl) == 1;
}

static bool exchange_hellos(struct raw *r)
{
	uint8_t hello[SP_HELLO_LEN];

	if (!raw_read(r, hello, sizeof(hello)))
		return false;
	sp_hello_encode(hello, SP_REP0);
	return raw_write(r, hello, sizeof(hello));
}

/* The start of a reply of 100 bytes to a request whose frame comes in. */
static bool half_reply(struct raw *r)
{
	uint8_t head[SP_FRAME_HEAD_LEN + SP_REQUEST_HEAD_LEN];

	if (!raw_read(r, head, sizeof(head)))
		return false;
	put_u64(head, 100);
	return raw_write(r, head, sizeof(head));
}

static bool play(struct rude *s, struct raw *r, int stage)
{
	static const uint8_t half_record[] = {22, 3, 3, 1, 0, 2, 0, 0, 200};
	uint8_t byte[SP_FRAME_HEAD_LEN];

	if (stage == RAW_MID_HANDSHAKE)
		return raw_read(r, byte, 1) && raw_write(r, half_record, sizeof(half_record));
	if (stage >= RAW_AFTER_HANDSHAKE && !accept_tls(s, r))
		return false;
	if (stage >= RAW_AFTER_SP_HELLO && !exchange_hellos(r))
		return false;
	if (stage == RAW_MID_REQUEST)
		return raw_read(r, byte, sizeof(byte));
	return stage != MID_REPLY || half_reply(r);
}

static void rude_main(void *arg)
{
	struct rude *s = arg;

	for (int i = 0; i < s->visits; i++) {
		struct raw r = {.fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)};
		int stage = i / RAW_LEAVE_NR % STAGES;

		setsockopt(r.fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 2},
			   sizeof(struct timeval));
		s->reached[stage] += play(s, &r, stage);
		raw_leave(&r, (enum raw_leave)(i % RAW_LEAVE_NR));
	}
	close(s->fd);
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
}

static void rude_start(struct rude *s, int visits)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	struct err e;

	*s = (struct rude){.visits = visits, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s->fd, 64), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
	s->port = ntohs(a.sin_port);
	assert_int_equal(tls_ctx_load(&s->ctx, TLS_SERVER, &coordinator.files, &e), E_OK);
	assert_int_equal(uv_thread_create(&s->thread, rude_main, s), 0);
}

static void rude_end(struct rude *s)
{
	uv_thread_join(&s->thread);
	SSL_CTX_free(s->ctx);
}

/* ---------------------------------------------------------------------------------------- */

static struct agent fleet[FLEET];

static bool all_served(void *arg)
{
	for (int i = 0; i < FLEET; i++)
		if (!link_is_up(fleet[i].link) || fleet[i].replies == 0)
			return false;
	return true;
}

static void open_fleet(uint16_t port)
{
	struct link_config config = agent_config(&agent_files.files);

	config.backoff_base_ms = 1;
	config.backoff_cap_ms = 4;
	config.dial_timeout_ms = 500;
	config.reply_timeout_ms = 100; /* libnng overlooks some ends; this is how they are noticed */
	config.poll_timeout_ms = 300;
	for (int i = 0; i < FLEET; i++) {
		fleet[i].polite = true;
		config.seed = (uint64_t)i;
		agent_open(&fleet[i], &loop, &config, port);
	}
}

static bool rude_is_done(void *arg)
{
	struct rude *s = arg;

	return __atomic_load_n(&s->done, __ATOMIC_ACQUIRE);
}

static void every_link_comes_back_after_every_rudeness(void **state)
{
	struct rude rude;
	struct server server;

	rude_start(&rude, VISITS);
	open_fleet(rude.port);
	if (!agents_run(&loop, rude_is_done, &rude))
		for (int i = 0; i < FLEET; i++)
			fprintf(stderr, "# link %d: ups %u downs %u wedged %d: %s\n", i, fleet[i].ups,
				fleet[i].downs, fleet[i].wedged, fleet[i].down_text);
	rude_end(&rude);
	for (int i = 0; i < STAGES; i++)
		assert_true(rude.reached[i] > 0);
	for (int i = 0; i < FLEET; i++)
		fleet[i].replies = 0;
	server_start(&server, &(struct edge_config){.address = "127.0.0.1",
						    .port = rude.port,
						    .tls = coordinator.files,
						    .per_identity_max = 1000});
	assert_true(agents_run(&loop, all_served, NULL));
	for (int i = 0; i < FLEET; i++)
		assert_false(fleet[i].wedged);
	agents_close(&loop, fleet, FLEET);
	server_stop(&server);
}

static bool is_up(void *arg)
{
	struct agent *a = arg;

	return link_is_up(a->link);
}

static bool went_down(void *arg)
{
	struct agent *a = arg;

	return a->downs > 0;
}

/* Nobody listens: refused at once, and the wait is within the jitter's bounds. */
static void a_refused_dial_is_told_and_tried_again(void **state)
{
	struct link_config config = agent_config(&agent_files.files);
	struct rude rude;
	struct agent a = {0};

	rude_start(&rude, 0); /* gives its port back at once */
	rude_end(&rude);
	agent_open(&a, &loop, &config, rude.port);
	assert_true(agents_run(&loop, went_down, &a));
	assert_int_equal(a.down_code, E_UNAVAILABLE);
	assert_true(a.next_ms >= 0 && a.next_ms <= config.backoff_cap_ms);
	agents_close(&loop, &a, 1);
}

/* Something accepts and says nothing: the dial ends in time, and its thread and socket go away. */
static void a_silent_listener_costs_only_the_dial_timeout(void **state)
{
	struct link_config config = agent_config(&agent_files.files);
	struct sockaddr_in at = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);
	struct agent a = {0};

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	config.dial_timeout_ms = 50;
	agent_open(&a, &loop, &config, ntohs(at.sin_port));
	assert_true(agents_run(&loop, went_down, &a));
	assert_int_equal(a.down_code, E_TIMEOUT);
	assert_false(is_up(&a));
	agents_close(&loop, &a, 1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_link_comes_back_after_every_rudeness),
		cmocka_unit_test(a_refused_dial_is_told_and_tried_again),
		cmocka_unit_test(a_silent_listener_costs_only_the_dial_timeout),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, open_world, close_world);
}
