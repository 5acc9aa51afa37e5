#include "sys/csr.h"

#include <limits.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

static int fail(struct err *e, int code, const char *what)
{
	const char *why = ERR_reason_error_string(ERR_peek_error());

	err_set(e, code, "%s: %s", what, why ? why : "no reason given");
	ERR_clear_error();
	return code;
}

static void take_bio(BIO *bio, struct buf *out)
{
	char *data;
	long n = BIO_get_mem_data(bio, &data);

	if (n > 0)
		buf_put(out, data, (size_t)n);
}

int csr_key_new(struct buf *out, struct err *e)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_secmem());
	int rc = E_OK;

	if (!key || !bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		rc = fail(e, E_INTERNAL, "make a key");
	else
		take_bio(bio, out);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return rc;
}

static X509_REQ *signed_request(EVP_PKEY *key)
{
	X509_REQ *rq = X509_REQ_new();

	if (rq && X509_REQ_set_version(rq, X509_REQ_VERSION_1) && X509_REQ_set_pubkey(rq, key) &&
	    X509_REQ_sign(rq, key, EVP_sha256()))
		return rq;
	X509_REQ_free(rq);
	return NULL;
}

int csr_new(const char *key_pem, struct buf *out, struct err *e)
{
	BIO *bio = BIO_new_mem_buf(key_pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;
	X509_REQ *rq = key ? signed_request(key) : NULL;
	unsigned char *der = NULL;
	int n = rq ? i2d_X509_REQ(rq, &der) : -1;
	int rc = E_OK;

	if (n > 0)
		buf_put(out, der, (size_t)n);
	else
		rc = fail(e, E_INVALID, "the key cannot be read, or cannot sign");
	OPENSSL_free(der);
	X509_REQ_free(rq);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return rc;
}

static bool is_p256(const EVP_PKEY *key)
{
	char group[32] = "";

	return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) &&
	       strcmp(group, SN_X9_62_prime256v1) == 0;
}

static int put_public_key(EVP_PKEY *key, struct buf *out, struct digest *id, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(key, &der), rc = E_OK;

	if (!bio || n <= 0 || !PEM_write_bio_PUBKEY(bio, key)) {
		rc = fail(e, E_NOMEM, "write a public key as PEM");
	} else {
		take_bio(bio, out);
		SHA256(der, (size_t)n, id->b);
	}
	OPENSSL_free(der);
	BIO_free(bio);
	return rc;
}

int csr_public_key(const void *der, size_t n, struct buf *out, struct digest *id, struct err *e)
{
	const unsigned char *p = der;
	X509_REQ *rq = n <= LONG_MAX ? d2i_X509_REQ(NULL, &p, (long)n) : NULL;
	EVP_PKEY *key = rq ? X509_REQ_get0_pubkey(rq) : NULL;
	int rc;

	if (!key || p != (const unsigned char *)der + n)
		rc = fail(e, E_INVALID, "the certificate request cannot be read");
	else if (!is_p256(key))
		rc = err_set(e, E_INVALID, "the certificate request is not over an ECDSA P-256 key");
	else if (X509_REQ_verify(rq, key) != 1)
		rc = fail(e, E_INVALID, "the certificate request is not signed by its own key");
	else
		rc = put_public_key(key, out, id, e);
	ERR_clear_error();
	X509_REQ_free(rq);
	return rc;
}
