#include "tests/lib/test.h"
#include "tests/lib/pki.h"

#include <gnutls/gnutls.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct pki pki;
static struct pki_files coordinator, agent;

static int open_pki(void **state)
{
	pki_open(&pki, "prod");
	pki_issue(&pki, &coordinator, TLS_ROLE_COORDINATOR, "c1");
	pki_issue(&pki, &agent, TLS_ROLE_AGENT, "web-1");
	return 0;
}

static int close_pki(void **state)
{
	pki_close(&pki);
	return 0;
}

static void keys_are_private_and_nothing_is_left_over(void **state)
{
	struct stat st;

	assert_int_equal(stat(agent.key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(agent.cert, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
}

static void a_saved_ca_comes_back_and_issues_again(void **state)
{
	char cert[PKI_PATH + 16], key[PKI_PATH + 16];
	struct ca *again;
	struct err e;

	snprintf(cert, sizeof(cert), "%s/saved.crt", pki.dir);
	snprintf(key, sizeof(key), "%s/saved.key", pki.dir);
	assert_int_equal(ca_save(pki.ca, cert, key, &e), E_OK);
	assert_int_equal(ca_load(&again, cert, key, &e), E_OK);
	assert_string_equal(ca_cluster(again), "prod");
	ca_free(again);
	assert_int_equal(ca_load(&again, cert, agent.key, &e), E_INVALID);
	assert_int_equal(ca_load(&again, agent.cert, agent.key, &e), E_INVALID);
}

static void a_certificate_tells_when_it_ends(void **state)
{
	struct wall_ms ends, wanted = pki_days_from_now(10);
	struct err e;

	assert_int_equal(ca_file_ends(agent.cert, &ends, &e), E_OK);
	assert_true(ends.v <= wanted.v && ends.v > wanted.v - 3600000);
	assert_int_equal(ca_file_ends(agent.key, &ends, &e), E_INVALID);
	assert_int_not_equal(ca_file_ends("/nonexistent/cert.pem", &ends, &e), E_OK);
}

static int issue_with(const char *name, enum tls_role role, const char *dns, int days)
{
	const char *names[] = {dns, NULL};
	struct ca_request r = {.role = role, .name = name, .dns = dns ? names : NULL};
	struct ca_pair pair;
	struct err e;

	r.from = pki_days_from_now(0);
	r.to = pki_days_from_now(days);
	int rc = ca_issue(pki.ca, &r, &pair, &e);
	if (!rc)
		ca_pair_done(&pair);
	return rc;
}

static void a_request_that_makes_no_sense_is_refused(void **state)
{
	assert_int_equal(issue_with("c2", TLS_ROLE_COORDINATOR, "c2.example", 1), E_OK);
	assert_int_equal(issue_with("Not A Name", TLS_ROLE_AGENT, NULL, 1), E_INVALID);
	assert_int_equal(issue_with("web", TLS_ROLE_AGENT, "web.example", 1), E_INVALID);
	assert_int_equal(issue_with("c2", TLS_ROLE_COORDINATOR, "a,URI:wavetrain://x/host/y?gen=1", 1),
			 E_INVALID);
	assert_int_equal(issue_with("c2", TLS_ROLE_COORDINATOR, "c2.example", -1), E_INVALID);
}

/* A key made on the host stays there: only its public half travels. */
static void a_given_public_key_is_certified_and_no_key_returned(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	char text[1024] = "";
	struct ca_request r = {.role = TLS_ROLE_AGENT, .name = "web-2", .public_key = text};
	struct ca_pair pair;
	struct err e;

	assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
	assert_true(BIO_read(bio, text, sizeof(text) - 1) > 0);
	r.from = pki_days_from_now(0);
	r.to = pki_days_from_now(1);
	assert_int_equal(ca_issue(pki.ca, &r, &pair, &e), E_OK);
	assert_true(pair.cert.len > 0);
	assert_int_equal(pair.key.len, 0);
	ca_pair_done(&pair);
	BIO_free(bio);
	EVP_PKEY_free(key);
}

/* GnuTLS (what libmicrohttpd uses) on one end of a socket pair, OpenSSL on the other. */
struct gnu {
	int fd;
	unsigned flags;
	const struct tls_files *files;
	int handshake, verify;
	unsigned verdict;
};

static void *gnu_main(void *arg)
{
	struct gnu *g = arg;
	gnutls_certificate_credentials_t cred;
	gnutls_session_t session;

	gnutls_certificate_allocate_credentials(&cred);
	gnutls_certificate_set_x509_trust_file(cred, g->files->ca, GNUTLS_X509_FMT_PEM);
	gnutls_certificate_set_x509_key_file(cred, g->files->cert, g->files->key, GNUTLS_X509_FMT_PEM);
	gnutls_init(&session, g->flags);
	gnutls_set_default_priority(session);
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, cred);
	if (g->flags & GNUTLS_SERVER)
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
	gnutls_transport_set_int(session, g->fd);
	do
		g->handshake = gnutls_handshake(session);
	while (g->handshake < 0 && !gnutls_error_is_fatal(g->handshake));
	g->verify = gnutls_certificate_verify_peers3(session, g->flags & GNUTLS_CLIENT ? "localhost" : NULL,
						     &g->verdict);
	gnutls_record_send(session, "x", 1);
	gnutls_deinit(session);
	gnutls_certificate_free_credentials(cred);
	return NULL;
}

static SSL *our_end(enum tls_side side, const struct tls_files *files)
{
	SSL_CTX *ctx;
	SSL *ssl;
	struct err e;

	assert_int_equal(tls_ctx_load(&ctx, side, files, &e), E_OK);
	if (side == TLS_CLIENT)
		assert_int_equal(tls_client_new(&ssl, ctx, "localhost", &e), E_OK);
	else
		assert_int_equal(tls_server_new(&ssl, ctx, &e), E_OK);
	SSL_CTX_free(ctx);
	return ssl;
}

static void shake_with_gnutls(enum tls_side side, const struct tls_files *ours,
			      const struct tls_files *theirs)
{
	int pair[2];
	pthread_t thread;
	struct tls_identity id;
	struct err e;
	char byte = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	struct gnu g = {
		.fd = pair[0], .flags = side == TLS_CLIENT ? GNUTLS_SERVER : GNUTLS_CLIENT, .files = theirs};
	SSL *ssl = our_end(side, ours);
	SSL_set_fd(ssl, pair[1]);
	assert_int_equal(pthread_create(&thread, NULL, gnu_main, &g), 0);
	int ok = SSL_do_handshake(ssl), read = ok == 1 ? SSL_read(ssl, &byte, 1) : 0;
	pthread_join(thread, NULL);
	assert_int_equal(ok, 1);
	assert_int_equal(read, 1);
	assert_int_equal(g.handshake, 0);
	assert_int_equal(g.verify, 0);
	assert_int_equal(g.verdict, 0);
	assert_int_equal(tls_peer_identity(ssl, &id, &e), E_OK);
	SSL_free(ssl);
	close(pair[0]);
	close(pair[1]);
}

static void gnutls_accepts_our_agents(void **state)
{
	shake_with_gnutls(TLS_CLIENT, &agent.files, &coordinator.files);
}

static void gnutls_accepts_our_coordinators(void **state)
{
	shake_with_gnutls(TLS_SERVER, &coordinator.files, &agent.files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_private_and_nothing_is_left_over),
		cmocka_unit_test(a_saved_ca_comes_back_and_issues_again),
		cmocka_unit_test(a_certificate_tells_when_it_ends),
		cmocka_unit_test(a_request_that_makes_no_sense_is_refused),
		cmocka_unit_test(a_given_public_key_is_certified_and_no_key_returned),
		cmocka_unit_test(gnutls_accepts_our_agents),
		cmocka_unit_test(gnutls_accepts_our_coordinators),
	};

	return cmocka_run_group_tests(tests, open_pki, close_pki);
}
