#include "tests/lib/test.h"
#include "tests/lib/pki.h"

#include <openssl/err.h>

/* Two ends of a connection in memory. */
struct duo {
	SSL *client, *server;
	struct err client_error, server_error;
	enum tls_fault client_fault, server_fault;
};

static bool push(SSL *ssl, enum tls_fault *fault, struct err *e, bool *done)
{
	int rc = SSL_do_handshake(ssl);
	uint8_t byte;

	if (rc == 1 && (rc = SSL_peek(ssl, &byte, 1)) > 0)
		return true;
	*done = SSL_is_init_finished(ssl);
	int error = SSL_get_error(ssl, rc);
	if (error == SSL_ERROR_WANT_READ)
		return true;
	*fault = tls_explain(ssl, error, e);
	return false;
}

static void join(struct duo *d)
{
	BIO *a = NULL, *b = NULL;

	assert_int_equal(BIO_new_bio_pair(&a, 65536, &b, 65536), 1);
	SSL_set_bio(d->client, a, a);
	SSL_set_bio(d->server, b, b);
}

/* True when both sides finished and stayed happy for a few rounds more (a TLS 1.3 refusal comes late). */
static bool shake(struct duo *d, const struct tls_files *client, const struct tls_files *server,
		  const char *name)
{
	SSL_CTX *cctx, *sctx;
	struct err e;
	bool cdone = false, sdone = false, cok = true, sok = true;

	*d = (struct duo){0};
	assert_int_equal(tls_ctx_load(&cctx, TLS_CLIENT, client, &e), E_OK);
	assert_int_equal(tls_ctx_load(&sctx, TLS_SERVER, server, &e), E_OK);
	assert_int_equal(tls_client_new(&d->client, cctx, name, &e), E_OK);
	assert_int_equal(tls_server_new(&d->server, sctx, &e), E_OK);
	SSL_CTX_free(cctx);
	SSL_CTX_free(sctx);
	join(d);
	for (int i = 0; i < 6; i++) {
		cok = cok && push(d->client, &d->client_fault, &d->client_error, &cdone);
		sok = sok && push(d->server, &d->server_fault, &d->server_error, &sdone);
	}
	assert_int_equal(ERR_peek_error(), 0);
	return cok && sok && cdone && sdone;
}

static void part(struct duo *d)
{
	SSL_free(d->client);
	SSL_free(d->server);
}

static struct pki pki, other;
static struct pki_files coordinator, agent, expired, stranger;

static int open_pki(void **state)
{
	pki_open(&pki, "prod");
	pki_open(&other, "staging");
	pki_issue(&pki, &coordinator, TLS_ROLE_COORDINATOR, "c1");
	pki_issue(&pki, &agent, TLS_ROLE_AGENT, "web-1");
	pki_issue_expired(&pki, &expired, TLS_ROLE_AGENT, "old-1");
	pki_issue(&other, &stranger, TLS_ROLE_AGENT, "web-1");
	return 0;
}

static int close_pki(void **state)
{
	pki_close(&pki);
	pki_close(&other);
	return 0;
}

static void both_sides_learn_who_the_other_is(void **state)
{
	struct tls_identity id;
	struct duo d;
	struct err e;

	assert_true(shake(&d, &agent.files, &coordinator.files, "localhost"));
	assert_int_equal(tls_peer_identity(d.server, &id, &e), E_OK);
	assert_string_equal(id.name.s, "web-1");
	assert_string_equal(id.cluster.s, "prod");
	assert_int_equal(id.role, TLS_ROLE_AGENT);
	assert_int_equal(id.generation, 1);
	assert_int_equal(tls_peer_identity(d.client, &id, &e), E_OK);
	assert_int_equal(id.role, TLS_ROLE_COORDINATOR);
	assert_int_equal(SSL_version(d.client), TLS1_3_VERSION);
	part(&d);
}

static void an_address_is_checked_like_a_name(void **state)
{
	struct duo d;

	assert_true(shake(&d, &agent.files, &coordinator.files, "127.0.0.1"));
	part(&d);
	assert_false(shake(&d, &agent.files, &coordinator.files, "127.0.0.2"));
	assert_int_equal(d.client_fault, TLS_FAULT_SERVER_NAME);
	part(&d);
}

static void an_expired_client_is_refused_and_told_so(void **state)
{
	struct duo d;

	assert_false(shake(&d, &expired.files, &coordinator.files, "localhost"));
	assert_int_equal(d.server_fault, TLS_FAULT_EXPIRED);
	assert_non_null(strstr(d.server_error.text, "expired"));
	assert_int_equal(d.client_fault, TLS_FAULT_REFUSED_BY_PEER);
	assert_non_null(strstr(d.client_error.text, "certificate expired"));
	part(&d);
}

static void a_server_of_another_ca_is_refused(void **state)
{
	struct tls_files mixed = {.ca = other.ca_file, .cert = agent.cert, .key = agent.key};
	struct duo d;

	assert_false(shake(&d, &mixed, &coordinator.files, "localhost"));
	assert_int_equal(d.client_fault, TLS_FAULT_UNKNOWN_CA);
	assert_non_null(strstr(d.client_error.text, "not from this cluster's CA"));
	part(&d);
}

static void a_client_of_another_ca_is_refused(void **state)
{
	struct tls_files mixed = {.ca = pki.ca_file, .cert = stranger.cert, .key = stranger.key};
	struct duo d;

	assert_false(shake(&d, &mixed, &coordinator.files, "localhost"));
	assert_int_equal(d.server_fault, TLS_FAULT_UNKNOWN_CA);
	part(&d);
}

static void an_agent_cannot_pose_as_a_server(void **state)
{
	struct duo d;

	assert_false(shake(&d, &agent.files, &agent.files, "localhost"));
	assert_int_equal(d.client_fault, TLS_FAULT_PURPOSE);
	assert_non_null(strstr(d.client_error.text, "may not be used as a server"));
	part(&d);
}

static void a_client_needs_a_server_name(void **state)
{
	SSL_CTX *ctx;
	SSL *ssl;
	struct err e;

	assert_int_equal(tls_ctx_load(&ctx, TLS_CLIENT, &agent.files, &e), E_OK);
	assert_int_equal(tls_client_new(&ssl, ctx, "", &e), E_INVALID);
	assert_int_equal(tls_client_new(&ssl, ctx, NULL, &e), E_INVALID);
	SSL_CTX_free(ctx);
}

static void unusable_files_are_named(void **state)
{
	struct tls_files wrong_key = {.ca = pki.ca_file, .cert = agent.cert, .key = coordinator.key};
	struct tls_files missing = {.ca = pki.ca_file, .cert = "/nonexistent/x.crt", .key = agent.key};
	struct tls_files not_a_key = {.ca = pki.ca_file, .cert = agent.cert, .key = agent.cert};
	SSL_CTX *ctx;
	struct err e;

	assert_int_equal(tls_ctx_load(&ctx, TLS_CLIENT, &wrong_key, &e), E_INVALID);
	assert_non_null(strstr(e.text, "does not belong"));
	assert_int_equal(tls_ctx_load(&ctx, TLS_CLIENT, &missing, &e), E_NOT_FOUND);
	assert_non_null(strstr(e.text, "/nonexistent/x.crt"));
	assert_int_equal(tls_ctx_load(&ctx, TLS_CLIENT, &not_a_key, &e), E_INVALID);
}

static void an_identity_round_trips_and_has_one_spelling(void **state)
{
	static const char *const bad[] = {"",
					  "wavetrain://",
					  "wavetrain://a/host/b",
					  "wavetrain://a/host/b?gen=",
					  "wavetrain://a/host/b?gen=01",
					  "wavetrain://a/host/b?gen=-1",
					  "wavetrain://a/host/b?gen=1x",
					  "wavetrain://A/host/b?gen=1",
					  "wavetrain://a/root/b?gen=1",
					  "wavetrain://a/host/?gen=1",
					  "http://a/host/b?gen=1",
					  "wavetrain://a/host/b?gen=99999999999999999999"};
	struct tls_identity id;
	char text[TLS_IDENTITY_CAP];

	assert_true(tls_identity_decode(&id, "wavetrain://prod/host/eu-3.web?gen=17"));
	assert_int_equal(id.generation, 17);
	assert_string_equal(tls_identity_encode(&id, text), "wavetrain://prod/host/eu-3.web?gen=17");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(tls_identity_decode(&id, bad[i]));
}

static void a_coordinators_name_says_its_node_id(void **state)
{
	static const char *const bad[] = {"coordinator-0",
					  "coordinator-01",
					  "coordinator-",
					  "coordinator-1x",
					  "c1",
					  "coordinator-99999999999999999999"};
	struct tls_identity id = {.role = TLS_ROLE_COORDINATOR};
	char name[NAME_CAP];
	uint64_t node = 0;

	assert_string_equal(tls_coordinator_name(17, name), "coordinator-17");
	assert_true(name_set(&id.name, name));
	assert_true(tls_coordinator_id(&id, &node));
	assert_int_equal(node, 17);
	id.role = TLS_ROLE_AGENT; /* a host may bear any name */
	assert_false(tls_coordinator_id(&id, &node));
	id.role = TLS_ROLE_COORDINATOR;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_true(name_set(&id.name, bad[i]));
		assert_false(tls_coordinator_id(&id, &node));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_sides_learn_who_the_other_is),
		cmocka_unit_test(an_address_is_checked_like_a_name),
		cmocka_unit_test(an_expired_client_is_refused_and_told_so),
		cmocka_unit_test(a_server_of_another_ca_is_refused),
		cmocka_unit_test(a_client_of_another_ca_is_refused),
		cmocka_unit_test(an_agent_cannot_pose_as_a_server),
		cmocka_unit_test(a_client_needs_a_server_name),
		cmocka_unit_test(unusable_files_are_named),
		cmocka_unit_test(an_identity_round_trips_and_has_one_spelling),
		cmocka_unit_test(a_coordinators_name_says_its_node_id),
	};

	return cmocka_run_group_tests(tests, open_pki, close_pki);
}
