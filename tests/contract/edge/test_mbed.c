/*
 * Stock libnng with its own TLS (mbedTLS 2.28) knows TLS 1.2 at most, so it cannot be a client of the edge:
 * conformance here means that it is refused at the handshake, is counted as just that, and harms nobody. A
 * program of its own: once our engine is registered, a process has no other.
 */
#include "tests/lib/test.h"
#include "tests/contract/edge/server.h"
#include "tests/lib/pki.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>
#include <stdio.h>

static char *slurp(const char *path)
{
	struct err e;
	char *text;

	assert_int_equal(tls_pem_load(&text, path, &e), E_OK);
	return text;
}

static nng_tls_config *stock_config(const struct tls_files *files)
{
	nng_tls_config *config;
	char *ca = slurp(files->ca), *cert = slurp(files->cert), *key = slurp(files->key);

	assert_int_equal(nng_tls_config_alloc(&config, NNG_TLS_MODE_CLIENT), 0);
	assert_int_equal(nng_tls_config_server_name(config, "localhost"), 0);
	assert_int_equal(nng_tls_config_ca_chain(config, ca, NULL), 0);
	assert_int_equal(nng_tls_config_own_cert(config, cert, key, NULL), 0);
	tls_pem_free(ca);
	tls_pem_free(cert);
	tls_pem_free(key);
	return config;
}

static bool refused_for_version(const struct edge_counters *c, uint64_t arg)
{
	return c->handshake_failed[TLS_FAULT_VERSION] >= arg && c->sessions == 0;
}

static void stock_tls_is_refused_for_its_version(void **state)
{
	struct pki_files coordinator, agent;
	struct server server;
	struct pki pki;
	nng_socket sock;
	nng_dialer dialer;
	char url[64];

	pki_open(&pki, "prod");
	pki_issue(&pki, &coordinator, TLS_ROLE_COORDINATOR, "c1");
	pki_issue(&pki, &agent, TLS_ROLE_AGENT, "web-1");
	server_start(&server, &(struct edge_config){.address = "127.0.0.1", .tls = coordinator.files});
	snprintf(url, sizeof(url), "tls+tcp://127.0.0.1:%u", server.port);
	assert_int_equal(nng_req0_open(&sock), 0);
	assert_int_equal(nng_dialer_create(&dialer, sock, url), 0);
	nng_tls_config *config = stock_config(&agent.files);
	assert_int_equal(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config), 0);
	assert_string_not_equal(nng_tls_engine_name(), "wavetrain-openssl");
	assert_int_not_equal(nng_dialer_start(dialer, 0), 0);
	assert_true(server_wait(&server, refused_for_version, 1));
	assert_int_equal(server_counters(&server).opened, 0);
	nng_close(sock);
	nng_tls_config_free(config);
	server_stop(&server);
	pki_close(&pki);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stock_tls_is_refused_for_its_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
