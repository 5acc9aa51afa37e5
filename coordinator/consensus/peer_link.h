/*
 * peer_link.h: one link, from accept or dial to its end. Shared by peer.c and peer_link.c only.
 *
 *   dialed    RESOLVING -> CONNECTING -> HANDSHAKE -> HELLO (waits for the answer) -> OPEN --\
 *   accepted                             HANDSHAKE -> HELLO (waits for the hello)  -> OPEN ---+-> CLOSING
 *                                            \-----------+-> LINGERING --------------------/
 *
 * LINGERING sends the last words (a TLS alert, the answer that refuses) and waits briefly for the peer to
 * hang up first: closing with unread input would reset the connection and destroy those words on their way.
 */
#ifndef CONSENSUS_PEER_LINK_H
#define CONSENSUS_PEER_LINK_H

#include "base/sm.h"
#include "coordinator/consensus/peer.h"
#include "coordinator/consensus/peer_wire.h"
#include "sys/stream.h"

enum link_state {
	LINK_RESOLVING = 1,
	LINK_CONNECTING,
	LINK_HANDSHAKE,
	LINK_HELLO,
	LINK_OPEN,
	LINK_LINGERING,
	LINK_CLOSING,
	LINK_STATE_NR
};
extern const struct sm link_sm;

enum { LINK_READ_CAP = 64 * 1024, LINK_PLAIN_CAP = 16 * 1024, LINK_NAME_CAP = 320 };
/* Bytes that wait on one side before the other is not read any more, and below which it is again. */
enum { LINK_HIGH_WATER = 1024 * 1024, LINK_LOW_WATER = 256 * 1024 };
enum { LINK_HANDSHAKE_MS = 5000, LINK_LINGER_MS = 1000, LINK_STALL_MS = 10000 };

/* A node that once was a member here. */
struct peer {
	struct peer *next;
	uint64_t id, heard_ms, dialed_ms; /* times of the loop; 0: never */
	unsigned dials;
	enum consensus_link_end trouble; /* why it could not be reached, as it was logged last */
};

struct link {
	struct peers *peers;
	struct link *prev, *next;
	struct stream outer; /* TCP and TLS */
	struct stream inner; /* our end of the socket pair; made when the link opens */
	enum link_state state;
	enum consensus_link_end end;
	bool accepted, inner_made, opened;
	bool held;		     /* the side it takes from is not read, until the other has sent */
	struct peer *peer;	     /* NULL until the certificate has said who it is */
	char name[LINK_NAME_CAP];    /* for people: "192.0.2.1", "coordinator 2 at b.example:7102" */
	uint64_t deadline;	     /* of handshake or lingering */
	size_t unsent;		     /* seen at the last sweep */
	uint64_t unsent_since;	     /* when it last was less */
	struct raft_uv_connect *req; /* whom to tell, until told */
	raft_uv_connect_cb told;
	uv_getaddrinfo_t resolve;
	uv_connect_t connect;
	uv_shutdown_t shutdown;
	struct buf hello; /* of the hello, or of the answer, what has come */
	struct peer_inspector inspector;
	unsigned handles; /* open handles and requests that keep the link alive */
};

struct peers {
	uv_loop_t *loop;
	struct raft_uv_transport *transport;
	struct peers_config config;
	char *address, *listen;
	SSL_CTX *server, *client;
	raft_uv_accept_cb accepted;
	raft_uv_transport_close_cb closed;
	uv_tcp_t listener;
	uv_timer_t sweeper;
	struct link *links;
	struct peer *known;
	struct consensus_links counters;
	uint64_t log_next_ms[CONSENSUS_LINK_END_NR];
	unsigned log_held[CONSENSUS_LINK_END_NR];
	struct err listen_error;
	bool listening, accept_waits, closing;
	unsigned handles; /* open handles and links */
	uint8_t input[LINK_READ_CAP], plain[LINK_PLAIN_CAP];
};

/* peer.c */
struct peer *peers_know(struct peers *p, uint64_t id); /* made when it is not known */
const char *peers_member_address(const struct peers *p, uint64_t id);
void peers_link_begins(struct link *l);
void peers_link_opened(struct link *l);
void peers_link_ended(struct link *l, const char *why); /* once for each, when its end is decided */
void peers_link_gone(struct link *l);			/* before it is freed */

/* peer_link.c */
bool link_ending(const struct link *l);
void link_accept(struct peers *p); /* the connection that waits at the listener */
/* A RAFT_* code; 0: `told` comes later, once. */
int link_dial(struct peers *p, struct peer *peer, const char *address, struct raft_uv_connect *req,
	      raft_uv_connect_cb told);
void link_end(struct link *l, enum consensus_link_end end, const char *why);
void link_sweep(struct link *l, uint64_t now);

#endif
