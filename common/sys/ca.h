/*
 * ca.h: the small certificate authority of one cluster: an ECDSA P-256 CA and the certificates of sys/tls.h.
 *
 * Nothing here keeps state: issuing twice gives two certificates. Private keys exist in memory (wiped by
 * *_done/_free) and in the files the caller asks for. Blocking (files, key generation); any thread, one CA
 * object from one at a time.
 */
#ifndef SYS_CA_H
#define SYS_CA_H

#include "base/buf.h"
#include "sys/tls.h"

struct ca;

/* Times are wall clock; certificates are valid in [from, to], to the second. */
must_check int ca_new(struct ca **out, const char *cluster, struct wall_ms from, struct wall_ms to,
		      struct err *e);
/* Read it back; E_INVALID when the certificate is not a CA of ours or the key is another's. */
must_check int ca_load(struct ca **out, const char *cert_file, const char *key_file, struct err *e);
must_check int ca_save(const struct ca *ca, const char *cert_file, const char *key_file, struct err *e);
void ca_free(struct ca *ca);
const char *ca_cluster(const struct ca *ca);
/* The CA certificate as PEM, appended to `out`: what every host pins. */
must_check int ca_cert_pem(const struct ca *ca, struct buf *out, struct err *e);

/* When the certificate in a PEM file ends. E_NOT_FOUND, or E_INVALID when there is none in it. */
must_check int ca_file_ends(const char *cert_file, struct wall_ms *out, struct err *e);

struct ca_request {
	enum tls_role role; /* agents become clients only, coordinators servers and clients */
	const char *name;
	uint64_t generation;
	const char *const
		*dns; /* names and addresses clients dial; coordinators only; NULL-terminated or NULL */
	const char *const *ips;
	const char *public_key; /* PEM of a P-256 key made elsewhere; NULL: make a key here and return it */
	struct wall_ms from, to;
};

/* A certificate and its key as PEM. `key` is empty when the public key was given. */
struct ca_pair {
	struct buf cert, key;
};

must_check int ca_issue(const struct ca *ca, const struct ca_request *r, struct ca_pair *out, struct err *e);
/* The key is written 0600, the certificate 0644, each through a temporary name, fsync and rename; the key
 * first. */
must_check int ca_pair_save(const struct ca_pair *pair, const char *cert_file, const char *key_file,
			    struct err *e);
void ca_pair_done(struct ca_pair *pair);

#endif
