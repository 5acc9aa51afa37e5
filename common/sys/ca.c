#include "sys/ca.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "sys/fsio.h"

struct ca {
	EVP_PKEY *key;
	X509 *cert;
	struct name cluster;
};

/* A CA names itself with the URI "wavetrain://<cluster>/ca". */
static const char uri_head[] = "wavetrain://", uri_tail[] = "/ca";

enum { SAN_CAP = 4096, SERIAL_LEN = 16 };

static int fail(struct err *e, int code, const char *what)
{
	const char *why = ERR_reason_error_string(ERR_peek_error());

	err_set(e, code, "%s: %s", what, why ? why : "no reason given");
	ERR_clear_error();
	return code;
}

/* certificates ---------------------------------------- */

static bool set_serial(X509 *cert)
{
	uint8_t bytes[SERIAL_LEN];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, and always the same length */
	BIGNUM *n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
	BN_free(n);
	return ok;
}

static bool set_subject(X509 *cert, const char *common_name)
{
	X509_NAME *name = X509_get_subject_name(cert);

	return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"wavetrain", -1,
					  -1, 0) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1,
					  -1, 0);
}

static bool set_times(X509 *cert, struct wall_ms from, struct wall_ms to)
{
	return ASN1_TIME_set(X509_getm_notBefore(cert), from.v / 1000) &&
	       ASN1_TIME_set(X509_getm_notAfter(cert), to.v / 1000);
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = ext && X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

struct extension {
	int nid;
	const char *value;
};

static bool add_extensions(X509 *cert, X509 *issuer, const struct extension *list, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (!add_extension(cert, issuer, list[i].nid, list[i].value))
			return false;
	return true;
}

/* A v3 certificate with serial, times and key, and neither names nor extensions yet. */
static X509 *blank_certificate(EVP_PKEY *public_key, const char *common_name, struct wall_ms from,
			       struct wall_ms to)
{
	X509 *cert = X509_new();

	if (cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) && set_times(cert, from, to) &&
	    set_subject(cert, common_name) && X509_set_pubkey(cert, public_key))
		return cert;
	X509_free(cert);
	return NULL;
}

/* the CA ---------------------------------------- */

static X509 *self_signed(EVP_PKEY *key, const char *cluster, struct wall_ms from, struct wall_ms to)
{
	char uri[128], subject[NAME_CAP + 16];

	snprintf(uri, sizeof(uri), "URI:%s%s%s", uri_head, cluster, uri_tail);
	snprintf(subject, sizeof(subject), "CA of %.40s", cluster); /* a common name holds 64 characters */
	const struct extension list[] = {
		{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
		{NID_key_usage, "critical,keyCertSign,cRLSign"},
		{NID_subject_key_identifier, "hash"},
		{NID_subject_alt_name, uri},
	};
	X509 *cert = blank_certificate(key, subject, from, to);
	if (cert && X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
	    add_extensions(cert, cert, list, ARRAY_LEN(list)) && X509_sign(cert, key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

int ca_new(struct ca **out, const char *cluster, struct wall_ms from, struct wall_ms to, struct err *e)
{
	struct name name;

	if (!name_set(&name, cluster))
		return err_set(e, E_INVALID, "'%.64s' cannot name a cluster: use a-z, 0-9, '.', '_', '-'",
			       cluster);
	ERR_clear_error();
	struct ca *ca = calloc(1, sizeof(*ca));
	PRE(ca);
	ca->cluster = name;
	ca->key = EVP_EC_gen("P-256");
	ca->cert = ca->key ? self_signed(ca->key, cluster, from, to) : NULL;
	if (!ca->cert) {
		ca_free(ca);
		return fail(e, E_INTERNAL, "make the CA");
	}
	*out = ca;
	return E_OK;
}

void ca_free(struct ca *ca)
{
	if (!ca)
		return;
	EVP_PKEY_free(ca->key);
	X509_free(ca->cert);
	free(ca);
}

const char *ca_cluster(const struct ca *ca)
{
	return ca->cluster.s;
}

static bool cluster_of_uri(const char *uri, struct name *out)
{
	size_t head = sizeof(uri_head) - 1, tail = sizeof(uri_tail) - 1, n = strlen(uri);
	char word[NAME_CAP];

	if (n <= head + tail || n - head - tail >= NAME_CAP || strncmp(uri, uri_head, head) != 0 ||
	    strcmp(uri + n - tail, uri_tail) != 0)
		return false;
	memcpy(word, uri + head, n - head - tail);
	word[n - head - tail] = 0;
	return name_set(out, word);
}

static bool cluster_of_cert(const X509 *cert, struct name *out)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_URI)
			found = cluster_of_uri(
				(const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), out);
	}
	GENERAL_NAMES_free(names);
	return found;
}

static EVP_PKEY *parse_key(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;

	BIO_free(bio);
	return key;
}

static X509 *parse_cert(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return cert;
}

static bool is_ca_of_ours(struct ca *ca)
{
	return ca->cert && ca->key && X509_check_ca(ca->cert) == 1 &&
	       X509_check_private_key(ca->cert, ca->key) && cluster_of_cert(ca->cert, &ca->cluster);
}

int ca_load(struct ca **out, const char *cert_file, const char *key_file, struct err *e)
{
	char *cert = NULL, *key = NULL;
	int rc = tls_pem_load(&cert, cert_file, e);

	if (!rc)
		rc = tls_pem_load(&key, key_file, e);
	if (!rc) {
		ERR_clear_error();
		struct ca *ca = calloc(1, sizeof(*ca));
		PRE(ca);
		ca->cert = parse_cert(cert);
		ca->key = parse_key(key);
		if (is_ca_of_ours(ca)) {
			*out = ca;
		} else {
			ca_free(ca);
			rc = err_set(e, E_INVALID,
				     "%s and %s are not the certificate and key of a wavetrain CA", cert_file,
				     key_file);
			ERR_clear_error();
		}
	}
	tls_pem_free(cert);
	tls_pem_free(key);
	return rc;
}

static bool end_of(const X509 *cert, struct wall_ms *out)
{
	struct tm tm;

	if (!cert || !ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm))
		return false;
	out->v = (int64_t)timegm(&tm) * 1000;
	return true;
}

int ca_file_ends(const char *cert_file, struct wall_ms *out, struct err *e)
{
	char *pem = NULL;
	int rc = tls_pem_load(&pem, cert_file, e);

	if (rc)
		return rc;
	ERR_clear_error();
	X509 *cert = parse_cert(pem);
	if (!end_of(cert, out))
		rc = err_set(e, E_INVALID, "%s holds no certificate", cert_file);
	ERR_clear_error();
	X509_free(cert);
	tls_pem_free(pem);
	return rc;
}

/* PEM ---------------------------------------- */

static void take_bio(BIO *bio, struct buf *out)
{
	char *data;
	long n = BIO_get_mem_data(bio, &data);

	if (n > 0)
		buf_put(out, data, (size_t)n);
}

static int put_cert(const X509 *cert, struct buf *out, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int rc = E_OK;

	if (!bio || !PEM_write_bio_X509(bio, cert))
		rc = fail(e, E_NOMEM, "write a certificate as PEM");
	else
		take_bio(bio, out);
	BIO_free(bio);
	return rc;
}

static int put_key(const EVP_PKEY *key, struct buf *out, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	int rc = E_OK;

	if (!bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		rc = fail(e, E_NOMEM, "write a key as PEM");
	else
		take_bio(bio, out);
	BIO_free(bio);
	return rc;
}

int ca_cert_pem(const struct ca *ca, struct buf *out, struct err *e)
{
	return put_cert(ca->cert, out, e);
}

/* issuing ---------------------------------------- */

static bool word_ok(const char *s)
{
	/* The list below is parsed by OpenSSL: a comma or a colon too much would add a name nobody asked for.
	 */
	return s[0] && strlen(s) < 256 && !strpbrk(s, ",= \t\n");
}

/* "URI:...,DNS:...,IP:..."; false when it does not fit or a name is not one. */
static bool san_text(const struct ca *ca, const struct ca_request *r, char out[SAN_CAP])
{
	struct tls_identity id = {.role = r->role, .cluster = ca->cluster, .generation = r->generation};
	char uri[TLS_IDENTITY_CAP];

	if (!name_set(&id.name, r->name))
		return false;
	int n = snprintf(out, SAN_CAP, "URI:%s", tls_identity_encode(&id, uri));
	for (const char *const *p = r->dns; p && *p && n < SAN_CAP; p++) {
		if (!word_ok(*p) || strchr(*p, ':'))
			return false;
		n += snprintf(out + n, (size_t)(SAN_CAP - n), ",DNS:%s", *p);
	}
	for (const char *const *p = r->ips; p && *p && n < SAN_CAP; p++) {
		if (!word_ok(*p))
			return false;
		n += snprintf(out + n, (size_t)(SAN_CAP - n), ",IP:%s", *p);
	}
	return n < SAN_CAP;
}

static X509 *signed_certificate(const struct ca *ca, const struct ca_request *r, EVP_PKEY *public_key,
				const char *san)
{
	bool server = r->role == TLS_ROLE_COORDINATOR;
	const struct extension list[] = {
		{NID_basic_constraints, "critical,CA:FALSE"},
		{NID_key_usage, "critical,digitalSignature"},
		{NID_ext_key_usage, server ? "serverAuth,clientAuth" : "clientAuth"},
		{NID_subject_key_identifier, "hash"},
		{NID_authority_key_identifier, "keyid:always"},
		{NID_subject_alt_name, san},
	};
	X509 *cert = blank_certificate(public_key, r->name, r->from, r->to);
	if (cert && X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) &&
	    add_extensions(cert, ca->cert, list, ARRAY_LEN(list)) && X509_sign(cert, ca->key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

static EVP_PKEY *parse_public_key(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
	char group[32] = "";

	BIO_free(bio);
	if (key && EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) &&
	    strcmp(group, SN_X9_62_prime256v1) == 0)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

static int check_request(const struct ca *ca, const struct ca_request *r, char san[SAN_CAP], struct err *e)
{
	if (r->role <= 0 || r->role >= TLS_ROLE_NR || !name_ok(r->name))
		return err_set(e, E_INVALID, "'%.64s' cannot name a host or coordinator", r->name);
	if (r->role == TLS_ROLE_AGENT && (r->dns || r->ips))
		return err_set(e, E_INVALID,
			       "agent %s: an agent's certificate names no address: it never serves", r->name);
	if (r->from.v >= r->to.v)
		return err_set(e, E_INVALID, "%s: the certificate would end before it begins", r->name);
	if (!san_text(ca, r, san))
		return err_set(e, E_INVALID, "%s: a DNS name or address is not usable in a certificate",
			       r->name);
	return E_OK;
}

int ca_issue(const struct ca *ca, const struct ca_request *r, struct ca_pair *out, struct err *e)
{
	char san[SAN_CAP];
	int rc = check_request(ca, r, san, e);

	if (rc)
		return rc;
	ERR_clear_error();
	EVP_PKEY *key = r->public_key ? parse_public_key(r->public_key) : EVP_EC_gen("P-256");
	if (!key)
		return fail(e, E_INVALID, "the public key is not ECDSA P-256");
	struct ca_pair pair;
	buf_init(&pair.cert);
	buf_init(&pair.key);
	X509 *cert = signed_certificate(ca, r, key, san);
	rc = cert ? put_cert(cert, &pair.cert, e) : fail(e, E_INVALID, "sign the certificate");
	if (!rc && !r->public_key)
		rc = put_key(key, &pair.key, e);
	X509_free(cert);
	EVP_PKEY_free(key);
	if (rc) {
		ca_pair_done(&pair);
		return rc;
	}
	*out = pair;
	return E_OK;
}

void ca_pair_done(struct ca_pair *pair)
{
	if (pair->key.data)
		OPENSSL_cleanse(pair->key.data, pair->key.len);
	buf_done(&pair->cert);
	buf_done(&pair->key);
}

/* files ---------------------------------------- */

/* Readers see the old file or the new one, and a key is never readable by others, not even for a moment. */
static int write_file(const char *path, const struct buf *text, mode_t mode, struct err *e)
{
	char tmp[PATH_MAX];

	if (snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path) >= (int)sizeof(tmp))
		return err_set(e, E_INVALID, "the path %.64s... is too long", path);
	int fd = mkostemp(tmp, O_CLOEXEC); /* made 0600 */
	if (fd < 0)
		return err_sys(e, E_IO, errno, "create %s", path);
	bool ok = fsio_write_all(fd, text->data, text->len, e) == E_OK && fchmod(fd, mode) == 0 &&
		  fsync(fd) == 0;
	int errnum = errno;
	close(fd);
	if (ok && rename(tmp, path) == 0)
		return fsio_sync_dir_of(path, e);
	if (ok)
		errnum = errno;
	unlink(tmp);
	return err_sys(e, errnum == ENOSPC ? E_NO_SPACE : E_IO, errnum, "write %s", path);
}

int ca_pair_save(const struct ca_pair *pair, const char *cert_file, const char *key_file, struct err *e)
{
	if (pair->key.len > 0) {
		int rc = write_file(key_file, &pair->key, 0600, e);

		if (rc)
			return rc;
	}
	return write_file(cert_file, &pair->cert, 0644, e);
}

int ca_save(const struct ca *ca, const char *cert_file, const char *key_file, struct err *e)
{
	struct ca_pair pair;

	buf_init(&pair.cert);
	buf_init(&pair.key);
	int rc = put_cert(ca->cert, &pair.cert, e);
	if (!rc)
		rc = put_key(ca->key, &pair.key, e);
	if (!rc)
		rc = ca_pair_save(&pair, cert_file, key_file, e);
	ca_pair_done(&pair);
	return rc;
}
