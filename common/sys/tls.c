#include "sys/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static const char scheme[] = "wavetrain://";
static const char *const roles[TLS_ROLE_NR] = {
	[TLS_ROLE_AGENT] = "host", [TLS_ROLE_COORDINATOR] = "coordinator"};

enum { PEM_MAX = 64 * 1024, PEER_CHAIN_MAX = 16 * 1024, CHAIN_DEPTH = 2 };

/* identity ---------------------------------------- */

const char *tls_role_name(enum tls_role role)
{
	return role > 0 && role < TLS_ROLE_NR ? roles[role] : "?";
}

const char *tls_identity_encode(const struct tls_identity *id, char out[TLS_IDENTITY_CAP])
{
	snprintf(out, TLS_IDENTITY_CAP, "%s%s/%s/%s?gen=%" PRIu64, scheme, id->cluster.s,
		 tls_role_name(id->role), id->name.s, id->generation);
	return out;
}

/* The text up to `end`, as a bounded word; leaves *p behind it. */
static bool take_word(const char **p, char end, char out[NAME_CAP])
{
	const char *stop = strchr(*p, end);

	if (!stop || stop - *p >= NAME_CAP)
		return false;
	memcpy(out, *p, (size_t)(stop - *p));
	out[stop - *p] = 0;
	*p = stop + 1;
	return true;
}

static bool role_decode(enum tls_role *out, const char *word)
{
	for (int r = 1; r < TLS_ROLE_NR; r++)
		if (strcmp(word, roles[r]) == 0) {
			*out = (enum tls_role)r;
			return true;
		}
	return false;
}

/* Digits only, no sign, no leading zero: one identity has one spelling. */
static bool number_decode(uint64_t *out, const char *s)
{
	if (strspn(s, "0123456789") != strlen(s) || s[0] == 0 || strlen(s) > 19 || (s[0] == '0' && s[1]))
		return false;
	*out = strtoull(s, NULL, 10);
	return true;
}

bool tls_identity_decode(struct tls_identity *out, const char *uri)
{
	struct tls_identity id = {0};
	char cluster[NAME_CAP], role[NAME_CAP], name[NAME_CAP];
	const char *p = uri;

	if (strncmp(p, scheme, sizeof(scheme) - 1) != 0)
		return false;
	p += sizeof(scheme) - 1;
	if (!take_word(&p, '/', cluster) || !take_word(&p, '/', role) || !take_word(&p, '?', name))
		return false;
	if (strncmp(p, "gen=", 4) != 0 || !number_decode(&id.generation, p + 4))
		return false;
	if (!name_set(&id.cluster, cluster) || !role_decode(&id.role, role) || !name_set(&id.name, name))
		return false;
	*out = id;
	return true;
}

static const char coordinator_head[] = "coordinator-";

const char *tls_coordinator_name(uint64_t node_id, char out[NAME_CAP])
{
	snprintf(out, NAME_CAP, "%s%" PRIu64, coordinator_head, node_id);
	return out;
}

bool tls_coordinator_id(const struct tls_identity *id, uint64_t *node_id)
{
	size_t head = sizeof(coordinator_head) - 1;

	return id->role == TLS_ROLE_COORDINATOR && strncmp(id->name.s, coordinator_head, head) == 0 &&
	       number_decode(node_id, id->name.s + head) && *node_id != 0;
}

/* The one URI name of ours in a certificate; false when there is none, or more than one. */
static bool certificate_identity(const X509 *cert, struct tls_identity *out)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int found = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_URI)
			continue;
		const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
		const char *text = (const char *)ASN1_STRING_get0_data(uri);
		/* An embedded zero byte must not hide the rest of a name. */
		bool whole = strlen(text) == (size_t)ASN1_STRING_length(uri);
		found += whole && tls_identity_decode(out, text) ? 1 : 2;
	}
	GENERAL_NAMES_free(names);
	return found == 1;
}

static bool usage_allows(X509 *cert, uint32_t usage)
{
	uint32_t all = X509_get_extended_key_usage(cert);

	return all != UINT32_MAX && (all & usage) != 0;
}

int tls_peer_identity(SSL *ssl, struct tls_identity *out, struct err *e)
{
	X509 *peer = SSL_get0_peer_certificate(ssl);
	struct tls_identity id, own;

	if (!peer)
		return err_set(e, E_DENIED, "the peer showed no certificate");
	if (!certificate_identity(peer, &id))
		return err_set(e, E_DENIED,
			       "the peer's certificate names no single wavetrain identity; issue it again");
	if (!SSL_get_certificate(ssl) || !certificate_identity(SSL_get_certificate(ssl), &own))
		return err_set(e, E_DENIED,
			       "our own certificate names no wavetrain identity; issue it again");
	if (!name_eq(&id.cluster, &own.cluster))
		return err_set(e, E_DENIED, "%s %s is of cluster '%s', this is '%s'", tls_role_name(id.role),
			       id.name.s, id.cluster.s, own.cluster.s);
	bool we_serve = SSL_is_server(ssl);
	if (!usage_allows(peer, we_serve ? XKU_SSL_CLIENT : XKU_SSL_SERVER))
		return err_set(e, E_DENIED, "the certificate of %s %s is not one of a %s",
			       tls_role_name(id.role), id.name.s, we_serve ? "client" : "server");
	if (!we_serve && id.role != TLS_ROLE_COORDINATOR)
		return err_set(e, E_DENIED, "the server is %s %s, not a coordinator", tls_role_name(id.role),
			       id.name.s);
	*out = id;
	return E_OK;
}

bool tls_certificate_identity(const void *der, size_t n, struct tls_identity *out)
{
	const unsigned char *p = der;
	X509 *cert = n <= LONG_MAX ? d2i_X509(NULL, &p, (long)n) : NULL;
	bool ok = cert && certificate_identity(cert, out);

	X509_free(cert);
	ERR_clear_error();
	return ok;
}

/* errors ---------------------------------------- */

static const char *const fault_names[TLS_FAULT_NR] = {
#define X(fault, name) [fault] = name,
	TLS_FAULTS(X)
#undef X
};

const char *tls_fault_name(enum tls_fault fault)
{
	return fault > 0 && fault < TLS_FAULT_NR ? fault_names[fault] : "none";
}

/* The root cause is the oldest entry. */
static const char *oldest_reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_error());

	return text ? text : "no reason given";
}

/* An error that is not a peer's fault: files, memory, configuration. */
static int ssl_fail(struct err *e, int code, const char *what)
{
	err_set(e, code, "%s: %s", what, oldest_reason());
	ERR_clear_error();
	return code;
}

static enum tls_fault explain_verify(SSL *ssl, long verdict, struct err *e)
{
	const char *who = SSL_is_server(ssl) ? "client" : "server";
	const char *why = X509_verify_cert_error_string(verdict);
	const char *host;

	switch (verdict) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		err_set(e, E_DENIED, "the %s's certificate: %s; renew it, or check both clocks", who, why);
		return TLS_FAULT_EXPIRED;
	case X509_V_ERR_INVALID_PURPOSE:
		err_set(e, E_DENIED, "the %s's certificate may not be used as a %s: %s", who, who, why);
		return TLS_FAULT_PURPOSE;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		host = X509_VERIFY_PARAM_get0_host(SSL_get0_param(ssl), 0);
		err_set(e, E_DENIED, "the server's certificate is not for '%s': %s",
			host ? host : "the address we dialed", why);
		return TLS_FAULT_SERVER_NAME;
	default:
		err_set(e, E_DENIED, "the %s's certificate is not from this cluster's CA: %s", who, why);
		return TLS_FAULT_UNKNOWN_CA;
	}
}

static enum tls_fault explain_reason(int reason, struct err *e)
{
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
		err_set(e, E_DENIED, "the client showed no certificate; give it one of this cluster");
		return TLS_FAULT_NO_CERTIFICATE;
	}
	if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_WRONG_SSL_VERSION) {
		err_set(e, E_DENIED, "the peer does not speak TLS 1.3, which is required");
		return TLS_FAULT_VERSION;
	}
	if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
	    reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_PACKET_LENGTH_TOO_LONG ||
	    reason == SSL_R_BAD_RECORD_TYPE) {
		err_set(e, E_PROTOCOL, "the peer does not speak TLS: %s", oldest_reason());
		return TLS_FAULT_NOT_TLS;
	}
	if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		err_set(e, E_CLOSED, "the peer hung up without a goodbye");
		return TLS_FAULT_HUNG_UP;
	}
	err_set(e, E_PROTOCOL, "TLS: %s", oldest_reason());
	return TLS_FAULT_OTHER;
}

static enum tls_fault explain_queue(SSL *ssl, struct err *e)
{
	int reason = ERR_GET_REASON(ERR_peek_error());
	int alert = reason - SSL_AD_REASON_OFFSET;

	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
		return explain_verify(ssl, SSL_get_verify_result(ssl), e);
	if (alert >= 0 && alert < 256) {
		err_set(e, E_DENIED, "the peer refused us: %s", SSL_alert_desc_string_long(alert));
		return alert == SSL_AD_PROTOCOL_VERSION ? TLS_FAULT_VERSION : TLS_FAULT_REFUSED_BY_PEER;
	}
	return explain_reason(reason, e);
}

enum tls_fault tls_explain(SSL *ssl, int ssl_error, struct err *e)
{
	enum tls_fault fault = TLS_FAULT_HUNG_UP;

	if (ERR_peek_error() != 0)
		fault = explain_queue(ssl, e);
	else if (ssl_error == SSL_ERROR_ZERO_RETURN)
		err_set(e, E_CLOSED, "the peer closed the connection");
	else
		err_set(e, E_CLOSED, "the peer hung up without a goodbye");
	ERR_clear_error();
	return fault;
}

/* contexts ---------------------------------------- */

/* Keys with a passphrase are refused rather than prompted for. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	return -1;
}

static int set_policy(SSL_CTX *ctx, enum tls_side side, struct err *e)
{
	static const unsigned char session_context[] = "wavetrain";

	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_verify_depth(ctx, CHAIN_DEPTH);
	SSL_CTX_set_max_cert_list(ctx, PEER_CHAIN_MAX);
	/* No resumption: every connection shows its certificate again, so a revoked one cannot come back on a
	 * ticket. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (side == TLS_SERVER && !SSL_CTX_set_num_tickets(ctx, 0))
		return ssl_fail(e, E_INTERNAL, "TLS tickets");
	if (!SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set1_groups_list(ctx, "X25519:P-256") ||
	    !SSL_CTX_set1_sigalgs_list(ctx, "ecdsa_secp256r1_sha256") ||
	    !SSL_CTX_set1_client_sigalgs_list(ctx, "ecdsa_secp256r1_sha256") ||
	    !SSL_CTX_set_session_id_context(ctx, session_context, sizeof(session_context) - 1))
		return ssl_fail(e, E_INTERNAL, "TLS policy");
	return E_OK;
}

static X509 *next_certificate(BIO *bio)
{
	X509 *cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);

	if (!cert && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
		ERR_clear_error(); /* the normal end of the text */
	return cert;
}

static int pin_ca(SSL_CTX *ctx, const char *pem, struct err *e)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	int added = 0;
	X509 *cert;

	while (bio && (cert = next_certificate(bio))) {
		bool ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) &&
			  SSL_CTX_add_client_CA(ctx, cert);

		X509_free(cert);
		added += ok;
	}
	BIO_free(bio);
	if (added == 0 || ERR_peek_error() != 0)
		return ssl_fail(e, E_INVALID, "the CA certificate cannot be read");
	return E_OK;
}

static int use_certificates(SSL_CTX *ctx, const char *pem, struct err *e)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	bool ok = true;
	int nr = 0;
	X509 *cert;

	while (ok && bio && (cert = next_certificate(bio))) {
		ok = nr == 0 ? SSL_CTX_use_certificate(ctx, cert) : SSL_CTX_add1_chain_cert(ctx, cert);
		X509_free(cert);
		nr++;
	}
	BIO_free(bio);
	if (!ok || nr == 0 || ERR_peek_error() != 0)
		return ssl_fail(e, E_INVALID, "our certificate cannot be read");
	return E_OK;
}

static bool key_is_p256(const EVP_PKEY *key)
{
	char group[32] = "";

	return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) &&
	       strcmp(group, SN_X9_62_prime256v1) == 0;
}

static int use_key(SSL_CTX *ctx, const char *pem, struct err *e)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	int rc = E_OK;

	if (!key)
		rc = ssl_fail(e, E_INVALID,
			      "our private key cannot be read (it must be PEM without passphrase)");
	else if (!key_is_p256(key))
		rc = err_set(e, E_INVALID,
			     "our private key is not ECDSA P-256, the only kind in use; issue a new one");
	else if (!SSL_CTX_use_PrivateKey(ctx, key) || !SSL_CTX_check_private_key(ctx))
		rc = ssl_fail(e, E_INVALID, "our private key does not belong to our certificate");
	EVP_PKEY_free(key);
	BIO_free(bio);
	return rc;
}

int tls_ctx_new(SSL_CTX **out, enum tls_side side, const struct tls_pem *pem, struct err *e)
{
	ERR_clear_error();
	SSL_CTX *ctx = SSL_CTX_new(side == TLS_SERVER ? TLS_server_method() : TLS_client_method());

	if (!ctx)
		return ssl_fail(e, E_NOMEM, "TLS context");
	int rc = set_policy(ctx, side, e);
	if (!rc)
		rc = pin_ca(ctx, pem->ca, e);
	if (!rc)
		rc = use_certificates(ctx, pem->cert, e);
	if (!rc)
		rc = use_key(ctx, pem->key, e);
	if (rc) {
		SSL_CTX_free(ctx);
		return rc;
	}
	*out = ctx;
	return E_OK;
}

int tls_pem_load(char **out, const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return err_sys(e, errno == ENOENT ? E_NOT_FOUND : E_IO, errno, "open %s", path);
	char *text = calloc(1, PEM_MAX + 1);
	PRE(text);
	size_t n = fread(text, 1, PEM_MAX + 1, f);
	int rc = E_OK;
	if (ferror(f))
		rc = err_sys(e, E_IO, errno, "read %s", path);
	else if (n > PEM_MAX)
		rc = err_set(e, E_TOO_LARGE, "%s is larger than %d bytes: not a PEM file of ours", path,
			     PEM_MAX);
	else
		text[n] = 0;
	fclose(f);
	if (rc) {
		tls_pem_free(text);
		return rc;
	}
	*out = text;
	return E_OK;
}

void tls_pem_free(char *pem)
{
	if (!pem)
		return;
	OPENSSL_cleanse(pem, strlen(pem));
	free(pem);
}

int tls_ctx_load(SSL_CTX **out, enum tls_side side, const struct tls_files *files, struct err *e)
{
	char *ca = NULL, *cert = NULL, *key = NULL;
	int rc = tls_pem_load(&ca, files->ca, e);

	if (!rc)
		rc = tls_pem_load(&cert, files->cert, e);
	if (!rc)
		rc = tls_pem_load(&key, files->key, e);
	if (!rc) {
		rc = tls_ctx_new(out, side, &(struct tls_pem){.ca = ca, .cert = cert, .key = key}, e);
		if (rc)
			err_wrap(e, "%s, %s, %s", files->ca, files->cert, files->key);
	}
	tls_pem_free(ca);
	tls_pem_free(cert);
	tls_pem_free(key);
	return rc;
}

/* connections ---------------------------------------- */

static bool expect_server(SSL *ssl, const char *name)
{
	struct in6_addr any;
	bool is_ip = inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;

	if (is_ip)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
	return SSL_set_tlsext_host_name(ssl, name) && SSL_set1_host(ssl, name);
}

int tls_client_new(SSL **out, SSL_CTX *ctx, const char *server_name, struct err *e)
{
	ERR_clear_error();
	if (!server_name || server_name[0] == 0)
		return err_set(e, E_INVALID,
			       "TLS client: no server name given; without it any coordinator would do");
	SSL *ssl = SSL_new(ctx);
	if (!ssl)
		return ssl_fail(e, E_NOMEM, "TLS connection");
	if (!expect_server(ssl, server_name)) {
		SSL_free(ssl);
		return ssl_fail(e, E_INVALID, "TLS client: the server name");
	}
	SSL_set_connect_state(ssl);
	*out = ssl;
	return E_OK;
}

int tls_server_new(SSL **out, SSL_CTX *ctx, struct err *e)
{
	ERR_clear_error();
	SSL *ssl = SSL_new(ctx);

	if (!ssl)
		return ssl_fail(e, E_NOMEM, "TLS connection");
	SSL_set_accept_state(ssl);
	*out = ssl;
	return E_OK;
}
