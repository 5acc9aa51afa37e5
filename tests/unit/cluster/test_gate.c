/* The join port and who visits it, over real sockets: nothing is said to a server that is not who was meant,
 * and nothing but one bounded request is heard. */
#include "tests/lib/test.h"
#include "coordinator/cluster/gate.h"
#include "coordinator/cluster/visit.h"
#include "sys/csr.h"
#include "sys/tls_pin.h"
#include "tests/lib/pki.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct pki pki, other;
static struct pki_files coordinator, agent;

static int open_pki(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	pki_open(&pki, "prod");
	pki_open(&other, "other");
	pki_issue(&pki, &coordinator, TLS_ROLE_COORDINATOR, "coordinator-1");
	pki_issue(&pki, &agent, TLS_ROLE_AGENT, "web-1");
	return 0;
}

static int close_pki(void **state)
{
	pki_close(&pki);
	pki_close(&other);
	return 0;
}

/* ---- a gate on the test's loop, a visitor on a thread ---- */

struct scene {
	uv_loop_t loop;
	struct gate *gate;
	uint16_t port;
	unsigned asked;
	char heard[64];
	uv_async_t over;
	/* the visitor's */
	const char *address_host;
	struct digest ca;
	struct buf request, answer;
	struct err err;
	int rc;
};

static void on_asked(void *arg, uint64_t visitor, const char *from, const uint8_t *p, size_t n)
{
	struct scene *s = arg;
	s->asked++;
	snprintf(s->heard, sizeof s->heard, "%.*s", (int)n, (const char *)p);
	gate_answer(s->gate, visitor, "welcome", 7);
	gate_answer(s->gate, visitor, "again", 5); /* nobody is there for it */
}

static uint16_t free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static void on_over(uv_async_t *h)
{
	struct scene *s = h->data;
	gate_close(s->gate, NULL, NULL);
	uv_close((uv_handle_t *)h, NULL);
}

static void open_scene_at(struct scene *s, const struct pki_files *files, const char *listen)
{
	struct err e;
	*s = (struct scene){.port = free_port(), .address_host = "127.0.0.1"};
	const struct gate_config cfg = {
		.address = listen, .port = s->port, .tls = files->files, .asked = on_asked, .arg = s};
	buf_init(&s->request);
	buf_init(&s->answer);
	buf_puts(&s->request, "may I?");
	assert_int_equal(tls_pin_digest(pki.ca_file, &s->ca, &e), E_OK);
	assert_int_equal(uv_loop_init(&s->loop), 0);
	assert_int_equal(uv_async_init(&s->loop, &s->over, on_over), 0);
	s->over.data = s;
	assert_int_equal(gate_open(&s->gate, &s->loop, &cfg, &e), E_OK);
}

static void open_scene(struct scene *s, const struct pki_files *files)
{
	open_scene_at(s, files, "127.0.0.1");
}

static void *visit(void *arg)
{
	struct scene *s = arg;
	char address[80];
	snprintf(address, sizeof address, "%s:%u", s->address_host, (unsigned)s->port);
	s->rc = visit_ask(address, &s->ca, &s->request, &s->answer, &s->err);
	uv_async_send(&s->over);
	return NULL;
}

static void play(struct scene *s, void *(*visitor)(void *))
{
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, visitor, s), 0);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	pthread_join(t, NULL);
	assert_int_equal(uv_loop_close(&s->loop), 0);
	buf_done(&s->request);
}

static void one_question_one_answer(void **state)
{
	struct scene s;
	open_scene(&s, &coordinator);
	play(&s, visit);
	assert_int_equal(s.rc, E_OK);
	assert_int_equal(s.asked, 1);
	assert_string_equal(s.heard, "may I?");
	assert_string_equal(buf_cstr(&s.answer), "welcome");
	buf_done(&s.answer);
}

static void nothing_is_said_to_another_cluster(void **state)
{
	struct scene s;
	struct err e;
	open_scene(&s, &coordinator);
	assert_int_equal(tls_pin_digest(other.ca_file, &s.ca, &e), E_OK);
	play(&s, visit);
	assert_int_equal(s.rc, E_DENIED);
	assert_int_equal(s.asked, 0);
	buf_done(&s.answer);
}

static void nothing_is_said_to_who_is_no_coordinator(void **state)
{
	struct scene s;
	open_scene(&s, &agent);
	play(&s, visit);
	assert_int_equal(s.rc, E_DENIED);
	assert_int_equal(s.asked, 0);
	buf_done(&s.answer);
}

static void nothing_is_said_to_a_coordinator_of_another_host(void **state)
{
	struct scene s;
	open_scene_at(&s, &coordinator, "0.0.0.0");
	s.address_host = "127.0.0.2"; /* not in its certificate */
	play(&s, visit);
	assert_int_equal(s.rc, E_DENIED);
	assert_int_equal(s.asked, 0);
	buf_done(&s.answer);
}

static void a_request_over_the_bound_is_not_heard(void **state)
{
	struct scene s;
	open_scene(&s, &coordinator);
	memset(buf_reserve(&s.request, GATE_REQUEST_MAX), 'x', GATE_REQUEST_MAX);
	s.request.len += GATE_REQUEST_MAX;
	play(&s, visit);
	assert_int_equal(s.rc, E_UNKNOWN_OUTCOME);
	assert_int_equal(s.asked, 0);
	buf_done(&s.answer);
}

/* Bytes that are no TLS, and a connection that only opens and goes. */
static void *stranger(void *arg)
{
	struct scene *s = arg;
	char buf[64];
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	for (int i = 0; i < 2 * GATE_VISITORS_MAX; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		s->rc |= connect(fd, (struct sockaddr *)&a, sizeof a);
		if (i % 2) {
			s->rc |= send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL) != 18;
			while (recv(fd, buf, sizeof buf, 0) > 0)
				;
		}
		close(fd);
	}
	return visit(s);
}

static void strangers_go_and_the_next_visitor_is_heard(void **state)
{
	struct scene s;
	open_scene(&s, &coordinator);
	play(&s, stranger);
	assert_int_equal(s.rc, E_OK);
	assert_int_equal(s.asked, 1);
	buf_done(&s.answer);
}

/* ---- the request for a certificate ---- */

static void a_certificate_is_signed_for_the_key_of_the_request(void **state)
{
	struct buf key, csr, public_key, again;
	struct digest id, id2;
	struct err e;
	struct ca_pair pair;
	const char *ips[] = {"127.0.0.1", NULL};
	buf_init(&key), buf_init(&csr), buf_init(&public_key), buf_init(&again);
	assert_int_equal(csr_key_new(&key, &e), E_OK);
	assert_int_equal(csr_new(buf_cstr(&key), &csr, &e), E_OK);
	assert_int_equal(csr_public_key(csr.data, csr.len, &public_key, &id, &e), E_OK);
	const struct ca_request rq = {.role = TLS_ROLE_COORDINATOR,
				      .name = "coordinator-2",
				      .generation = 1,
				      .ips = ips,
				      .public_key = buf_cstr(&public_key),
				      .from = pki_days_from_now(-1),
				      .to = pki_days_from_now(1)};
	assert_int_equal(ca_issue(pki.ca, &rq, &pair, &e), E_OK);
	assert_int_equal(pair.key.len, 0);
	struct buf ca_pem;
	buf_init(&ca_pem);
	assert_int_equal(ca_cert_pem(pki.ca, &ca_pem, &e), E_OK);
	SSL_CTX *ctx;
	const struct tls_pem pem = {buf_cstr(&ca_pem), buf_cstr(&pair.cert), buf_cstr(&key)};
	assert_int_equal(tls_ctx_new(&ctx, TLS_SERVER, &pem, &e),
			 E_OK); /* certificate and key belong together */
	SSL_CTX_free(ctx);
	buf_reset(&csr);
	assert_int_equal(csr_new(buf_cstr(&key), &csr, &e), E_OK);
	assert_int_equal(csr_public_key(csr.data, csr.len, &again, &id2, &e), E_OK);
	assert_true(digest_eq(&id, &id2)); /* the same key is the same coordinator */
	ca_pair_done(&pair);
	buf_done(&ca_pem), buf_done(&key), buf_done(&csr), buf_done(&public_key), buf_done(&again);
}

static void what_is_no_request_or_was_changed_is_refused(void **state)
{
	struct buf key, csr, out;
	struct digest id;
	struct err e;
	buf_init(&key), buf_init(&csr), buf_init(&out);
	assert_int_equal(csr_public_key("x", 1, &out, &id, &e), E_INVALID);
	assert_int_equal(csr_public_key("", 0, &out, &id, &e), E_INVALID);
	assert_int_equal(csr_key_new(&key, &e), E_OK);
	assert_int_equal(csr_new(buf_cstr(&key), &csr, &e), E_OK);
	for (size_t n = 0; n < csr.len; n++)
		assert_int_equal(csr_public_key(csr.data, n, &out, &id, &e), E_INVALID);
	for (size_t i = 0; i < csr.len; i++) {
		csr.data[i] ^= 1;
		assert_int_not_equal(csr_public_key(csr.data, csr.len, &out, &id, &e), E_OK);
		csr.data[i] ^= 1;
	}
	assert_int_equal(out.len, 0);
	buf_done(&key), buf_done(&csr), buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_question_one_answer),
		cmocka_unit_test(nothing_is_said_to_another_cluster),
		cmocka_unit_test(nothing_is_said_to_who_is_no_coordinator),
		cmocka_unit_test(nothing_is_said_to_a_coordinator_of_another_host),
		cmocka_unit_test(a_request_over_the_bound_is_not_heard),
		cmocka_unit_test(strangers_go_and_the_next_visitor_is_heard),
		cmocka_unit_test(a_certificate_is_signed_for_the_key_of_the_request),
		cmocka_unit_test(what_is_no_request_or_was_changed_is_refused),
	};
	return cmocka_run_group_tests(tests, open_pki, close_pki);
}
