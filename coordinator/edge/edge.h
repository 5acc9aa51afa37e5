/*
 * edge.h: the port agents dial. It speaks NNG's SP wire itself on libuv and OpenSSL
 * (docs/decisions/0003-edge.md): a REQ0 peer finds a REP0 here, a SUB0 peer a PUB0; any other is refused.
 * TLS 1.3 with certificates on both sides, and the peer's identity is bound to its session before the first
 * byte of SP is looked at.
 *
 * The edge does not parse requests. It hands their bytes up and takes replies down; a request may stay
 * unanswered as long as the owner wants (a parked poll). A peer may have two requests outstanding: one poll
 * and one other.
 *
 * Everything happens on the thread of the loop. No call blocks and none calls back: callbacks come from the
 * loop only, so any function here may be called from any callback.
 */
#ifndef EDGE_EDGE_H
#define EDGE_EDGE_H

#include <uv.h>

#include "base/err.h"
#include "sys/tls.h"

struct edge;
struct edge_session;

/* Names a request of one session until it is answered or the session closes. */
struct edge_token {
	uint32_t v;
};

#define EDGE_REASONS(X)                                                                                      \
	X(EDGE_PEER_CLOSED, "the peer closed the connection")                                                \
	X(EDGE_PEER_BROKE, "the connection broke")                                                           \
	X(EDGE_TLS, "TLS failed")                                                                            \
	X(EDGE_REFUSED, "this identity is not allowed")                                                      \
	X(EDGE_ADDRESS_CAP, "too many unfinished connections from this address")                             \
	X(EDGE_SLOW_HELLO, "no TLS handshake and SP hello in time")                                          \
	X(EDGE_SLOW_TRUST, "no accepted application hello in time")                                          \
	X(EDGE_BAD_HELLO, "not an SP hello of a REQ or SUB peer")                                            \
	X(EDGE_BAD_FRAME, "a frame that is no request")                                                      \
	X(EDGE_LARGE_FRAME, "a frame over the limit")                                                        \
	X(EDGE_EXCESS, "more than two requests outstanding")                                                 \
	X(EDGE_OUTPUT_FULL, "the peer does not read its replies")                                            \
	X(EDGE_DROPPED, "closed by the coordinator")                                                         \
	X(EDGE_REVOKED, "the identity was revoked")                                                          \
	X(EDGE_IDENTITY_CAP, "too many connections of this identity; the oldest goes")                       \
	X(EDGE_SHUTDOWN, "the coordinator stops")
enum edge_reason {
	EDGE_REASON_NONE = 0,
#define X(reason, text) reason,
	EDGE_REASONS(X)
#undef X
		EDGE_REASON_NR
};
const char *edge_reason_text(enum edge_reason reason);

/* All durations in milliseconds; 0 anywhere below chooses the default in brackets. */
struct edge_config {
	const char *address;	   /* numeric, IPv4 or IPv6 */
	uint16_t port;		   /* 0: any free one, see edge_port */
	struct tls_files tls;	   /* unused with insecure_for_tests */
	bool insecure_for_tests;   /* plain TCP for stock NNG peers; refused unless the address is loopback */
	unsigned handshakes_max;   /* unfinished connections at one time [64]; more wait in the backlog */
	unsigned per_address_max;  /* of those, from one address [32]; more are closed */
	unsigned per_identity_max; /* of connections that proved one name, at least 2 [4]; the oldest is
				      closed */
	int backlog;		   /* [4096] */
	int64_t hello_timeout_ms;  /* for TLS handshake and SP hello together [10 000] */
	int64_t trust_timeout_ms;  /* from the SP hello to edge_session_trust, REQ peers only [30 000] */
	size_t untrusted_frame_max; /* bytes of a frame before edge_session_trust [4 KiB] */
	size_t trusted_frame_max;   /* and after [256 KiB] */
	size_t output_max;	    /* unsent bytes of one session [1 MiB]; more drops the session */
	size_t publish_queue_max;   /* unsent bytes above which a SUB peer misses a hint [64 KiB] */
};

struct edge_callbacks {
	void *arg;
	/* Optional: may this identity connect? Asked once, after the handshake; revoked names are refused
	 * here. */
	bool (*is_allowed)(void *arg, const struct tls_identity *id);
	/* Optional: a connection that never became a session. `why` is for people, valid during the call. */
	void (*on_refused)(void *arg, const char *address, enum edge_reason reason, enum tls_fault fault,
			   const char *why);
	/* A REQ peer is there, identity bound. Sessions of SUB peers stay inside the edge. */
	void (*on_open)(void *arg, struct edge_session *s);
	/* One request; `bytes` is valid during the call only. */
	void (*on_request)(void *arg, struct edge_session *s, struct edge_token token, const uint8_t *bytes,
			   size_t len);
	/* Once for each on_open, and the last use of `s`; its outstanding tokens are void. */
	void (*on_close)(void *arg, struct edge_session *s, enum edge_reason reason);
};

struct edge_counters {
	uint64_t accepted, opened;
	uint64_t handshake_failed[TLS_FAULT_NR];
	uint64_t closed[EDGE_REASON_NR]; /* every accepted connection ends in exactly one */
	uint64_t bytes_in, bytes_out;	 /* on the wire */
	uint64_t requests, replies, published, hints_missed;
	uint64_t sessions, pending; /* now: established; unfinished */
};

/* Listen. The edge copies what it needs of `config`; the loop must run for anything to happen (and once more
 * after a failure, to free what was begun). */
must_check int edge_open(struct edge **out, uv_loop_t *loop, const struct edge_config *config,
			 const struct edge_callbacks *callbacks, struct err *e);
uint16_t edge_port(const struct edge *edge);
/* Closes the port and every session (on_close comes for each), then calls `closed`, after which `edge` is
 * gone. */
void edge_close(struct edge *edge, void (*closed)(void *arg), void *arg);
/* New certificates for connections from now on; the old ones stay in use when this fails. Reads files: blocks
 * briefly. */
must_check int edge_reload(struct edge *edge, const struct tls_files *tls, struct err *e);
/* Close every session of this name (a host's certificate was revoked); returns how many. */
unsigned edge_drop_identity(struct edge *edge, const char *name);
/* A hint to all SUB peers: `topic` and `msg` back to back; SUB peers filter by prefix themselves. Returns how
 * many got it; a peer that does not keep up misses it. E_TOO_LARGE messages reach nobody (0). */
unsigned edge_publish(struct edge *edge, const void *topic, size_t topic_len, const void *msg, size_t len);
const struct edge_counters *edge_counters(const struct edge *edge);

/*
 * Answer a request. E_NOT_FOUND: no such request is outstanding; E_CLOSED: the session is closing;
 * E_TOO_LARGE: over the output limit, which drops the session. None needs handling beyond forgetting the
 * token.
 */
int edge_reply(struct edge_session *s, struct edge_token token, const void *bytes, size_t len);
/* The application accepted the peer's hello: larger frames are allowed from now on. */
void edge_session_trust(struct edge_session *s);
/* Send what is queued, then close; no more requests come. on_close follows with EDGE_DROPPED. */
void edge_session_close(struct edge_session *s);
const struct tls_identity *edge_session_identity(const struct edge_session *s);
const char *edge_session_address(const struct edge_session *s); /* "192.0.2.1" */
/* One pointer of the owner's; NULL at first. */
void edge_session_set_data(struct edge_session *s, void *data);
void *edge_session_data(const struct edge_session *s);

#endif
