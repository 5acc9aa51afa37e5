#include "sys/tls_pin.h"

#include <arpa/inet.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static int fail(struct err *e, int code, const char *what)
{
	const char *why = ERR_reason_error_string(ERR_peek_error());

	err_set(e, code, "%s: %s", what, why ? why : "no reason given");
	ERR_clear_error();
	return code;
}

static int first_certificate(X509 **out, const char *file, struct err *e)
{
	char *pem = NULL;
	int rc = tls_pem_load(&pem, file, e);

	if (rc)
		return rc;
	ERR_clear_error();
	BIO *bio = BIO_new_mem_buf(pem, -1);
	*out = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	if (!*out)
		rc = err_set(e, E_INVALID, "%s holds no certificate", file);
	ERR_clear_error();
	BIO_free(bio);
	tls_pem_free(pem);
	return rc;
}

/* A client that knows only the hash has to be shown the CA's certificate, which servers else leave out. */
static int show_ca(SSL_CTX *ctx, const char *ca_file, struct err *e)
{
	X509 *ca = NULL;
	int rc = first_certificate(&ca, ca_file, e);

	if (rc == E_OK && !SSL_CTX_add1_chain_cert(ctx, ca))
		rc = fail(e, E_INTERNAL, "TLS chain");
	X509_free(ca);
	return rc;
}

int tls_pin_server_new(SSL_CTX **out, const struct tls_files *files, struct err *e)
{
	int rc = tls_ctx_load(out, TLS_SERVER, files, e);

	if (rc)
		return rc;
	SSL_CTX_set_verify(*out, SSL_VERIFY_NONE, NULL);
	rc = show_ca(*out, files->ca, e);
	if (rc)
		SSL_CTX_free(*out);
	return rc;
}

int tls_pin_client_new(SSL_CTX **out, struct err *e)
{
	ERR_clear_error();
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set1_sigalgs_list(ctx, "ecdsa_secp256r1_sha256")) {
		SSL_CTX_free(ctx);
		return fail(e, E_INTERNAL, "TLS context");
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL); /* tls_pin_check does it */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	*out = ctx;
	return E_OK;
}

static bool has_digest(const X509 *cert, const struct digest *d)
{
	struct digest mine;
	unsigned n = 0;

	return X509_digest(cert, EVP_sha256(), mine.b, &n) && n == DIGEST_LEN && digest_eq(&mine, d);
}

int tls_pin_digest(const char *ca_file, struct digest *out, struct err *e)
{
	X509 *ca = NULL;
	unsigned n;
	int rc = first_certificate(&ca, ca_file, e);

	if (rc == E_OK && !X509_digest(ca, EVP_sha256(), out->b, &n))
		rc = fail(e, E_INTERNAL, "hash of the CA's certificate");
	X509_free(ca);
	return rc;
}

static X509 *pinned_ca(SSL *ssl, const struct digest *ca)
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);

	for (int i = 0; i < sk_X509_num(chain); i++)
		if (has_digest(sk_X509_value(chain, i), ca))
			return sk_X509_value(chain, i);
	return NULL;
}

static bool expect_host(X509_VERIFY_PARAM *param, const char *host)
{
	struct in6_addr any;
	bool is_ip = inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;

	return is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, host)
		     : X509_VERIFY_PARAM_set1_host(param, host, 0);
}

/* The chain has one link: the CA signs coordinators itself. */
static int verify(X509_STORE *store, X509 *leaf, X509 *ca, const char *host, struct err *e)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int rc = E_OK;

	if (!ctx || !X509_STORE_add_cert(store, ca) || !X509_STORE_CTX_init(ctx, store, leaf, NULL) ||
	    !X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER) ||
	    !expect_host(X509_STORE_CTX_get0_param(ctx), host))
		rc = fail(e, E_INTERNAL, "TLS check");
	else if (X509_verify_cert(ctx) != 1)
		rc = err_set(e, E_DENIED, "the server's certificate for '%s' is not good: %s", host,
			     X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return rc;
}

static int check_identity(X509 *leaf, struct tls_identity *out, struct err *e)
{
	unsigned char *der = NULL;
	int n = i2d_X509(leaf, &der);
	bool ok = n > 0 && tls_certificate_identity(der, (size_t)n, out) && out->role == TLS_ROLE_COORDINATOR;

	OPENSSL_free(der);
	return ok ? E_OK : err_set(e, E_DENIED, "the server's certificate is not that of a coordinator");
}

int tls_pin_check(SSL *ssl, const struct digest *ca, const char *host, struct tls_identity *out,
		  struct err *e)
{
	X509 *leaf = SSL_get0_peer_certificate(ssl), *root = pinned_ca(ssl, ca);

	if (!leaf || !root)
		return err_set(e, E_DENIED,
			       "the server does not belong to the CA that was named: it is another "
			       "cluster's, or somebody "
			       "is in between");
	X509_STORE *store = X509_STORE_new();
	int rc = store ? verify(store, leaf, root, host, e) : fail(e, E_NOMEM, "TLS check");
	X509_STORE_free(store);
	return rc ? rc : check_identity(leaf, out, e);
}
