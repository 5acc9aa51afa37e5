/*
 * tls.h: how wavetrain speaks TLS, in one place: TLS 1.3 only, certificates on both sides, ECDSA P-256, one
 * pinned CA.
 *
 * Identity. Every certificate carries exactly one URI name (subjectAltName) of ours:
 *
 *     wavetrain://<cluster>/host/<name>?gen=<n>           an agent; n is the generation of its host record
 *     wavetrain://<cluster>/coordinator/<name>?gen=<n>    a coordinator, named "coordinator-<node id>"
 *
 * and says in its extended key usage what it may be: agents are clients only, coordinators both.
 * tls_peer_identity checks both, and that the peer's cluster is our own certificate's cluster.
 *
 * Functions that fail leave OpenSSL's error queue empty and a text for people in `e`. A context may be used
 * from any thread, an SSL object from one at a time.
 */
#ifndef SYS_TLS_H
#define SYS_TLS_H

#include <openssl/ssl.h>

#include "base/err.h"
#include "base/ids.h"

enum tls_role { TLS_ROLE_AGENT = 1, TLS_ROLE_COORDINATOR, TLS_ROLE_NR };

struct tls_identity {
	enum tls_role role;
	struct name cluster, name;
	uint64_t generation;
};

enum { TLS_IDENTITY_CAP = 192 };
const char *tls_role_name(enum tls_role role); /* the word in the URI: "host", "coordinator" */
/* The URI above; always terminated. */
const char *tls_identity_encode(const struct tls_identity *id, char out[TLS_IDENTITY_CAP]);
must_check bool tls_identity_decode(struct tls_identity *out, const char *uri);
/* The name of the coordinator with this node id, "coordinator-3"; and back. False when `id` names an agent,
 * or a coordinator by another word than that: a node id is 1 to 19 digits, not 0, without a leading one. */
const char *tls_coordinator_name(uint64_t node_id, char out[NAME_CAP]);
must_check bool tls_coordinator_id(const struct tls_identity *id, uint64_t *node_id);

/* PEM texts, and the files that hold them. The CA may be several certificates (while it is being replaced).
 */
struct tls_pem {
	const char *ca, *cert, *key;
};
struct tls_files {
	const char *ca, *cert, *key;
};

enum tls_side { TLS_CLIENT = 1, TLS_SERVER, TLS_SIDE_NR };

/* Each gives a reference the caller frees with SSL_CTX_free; SSL objects made from it keep their own. */
must_check int tls_ctx_new(SSL_CTX **out, enum tls_side side, const struct tls_pem *pem, struct err *e);
must_check int tls_ctx_load(SSL_CTX **out, enum tls_side side, const struct tls_files *files, struct err *e);
/* A whole PEM file as text, at most 64 KiB; the caller frees it with tls_pem_free, which wipes it. */
must_check int tls_pem_load(char **out, const char *path, struct err *e);
void tls_pem_free(char *pem);

/* A connection without BIOs yet; free with SSL_free. `server_name` is a DNS name or an IP literal, and is
 * required. */
must_check int tls_client_new(SSL **out, SSL_CTX *ctx, const char *server_name, struct err *e);
must_check int tls_server_new(SSL **out, SSL_CTX *ctx, struct err *e);

/*
 * Who the peer is, once the handshake is done. E_DENIED, with the reason, when the certificate does not name
 * one identity of our cluster, or may not stand on that side of a connection.
 */
must_check int tls_peer_identity(SSL *ssl, struct tls_identity *out, struct err *e);
/* The identity that a certificate (DER) names. Says nothing about who signed it: that is checked before.
 * False when it names none, or more than one. */
must_check bool tls_certificate_identity(const void *der, size_t n, struct tls_identity *out);

/* Why a handshake or a read failed, for counters. */
#define TLS_FAULTS(X)                                                                                        \
	X(TLS_FAULT_NOT_TLS, "not_tls")                                                                      \
	X(TLS_FAULT_VERSION, "version")                                                                      \
	X(TLS_FAULT_NO_CERTIFICATE, "no_certificate")                                                        \
	X(TLS_FAULT_UNKNOWN_CA, "unknown_ca")                                                                \
	X(TLS_FAULT_EXPIRED, "expired")                                                                      \
	X(TLS_FAULT_PURPOSE, "purpose")                                                                      \
	X(TLS_FAULT_SERVER_NAME, "server_name")                                                              \
	X(TLS_FAULT_IDENTITY, "identity")                                                                    \
	X(TLS_FAULT_REFUSED_BY_PEER, "refused_by_peer")                                                      \
	X(TLS_FAULT_HUNG_UP, "hung_up")                                                                      \
	X(TLS_FAULT_OTHER, "other")
enum tls_fault {
	TLS_FAULT_NONE = 0,
#define X(fault, name) fault,
	TLS_FAULTS(X)
#undef X
		TLS_FAULT_NR
};
const char *tls_fault_name(enum tls_fault fault);

/*
 * Explain the failed SSL call just made on `ssl` (any but WANT_READ/WANT_WRITE): fills `e`, empties the error
 * queue, returns the kind. The code in `e` is E_DENIED, E_CLOSED (the peer hung up) or E_PROTOCOL.
 */
enum tls_fault tls_explain(SSL *ssl, int ssl_error, struct err *e);

#endif
