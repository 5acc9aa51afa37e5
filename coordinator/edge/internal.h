/* internal.h: the edge itself, shared by edge.c and session.c only. */
#ifndef EDGE_INTERNAL_H
#define EDGE_INTERNAL_H

#include "coordinator/edge/session.h"

/* One read from a socket, and the plain bytes of one TLS record. Shared by all sessions: used within one
 * callback. */
enum { EDGE_READ_CAP = 64 * 1024, EDGE_PLAIN_CAP = 16 * 1024 };

struct edge {
	uv_loop_t *loop;
	uv_tcp_t listener;
	uv_timer_t sweeper;
	struct edge_config config;
	struct edge_callbacks callbacks;
	struct edge_counters counters;
	SSL_CTX *ctx; /* NULL: plain */
	struct edge_session *lists[LIST_NR];
	struct edge_identity *identities; /* by name; uthash */
	bool accept_waits;		  /* a connection waits because too many are unfinished */
	bool closing;
	unsigned handles; /* open handles and sessions that keep the edge alive */
	void (*closed)(void *arg);
	void *closed_arg;
	struct buf frame; /* scratch for outgoing frames */
	uint8_t input[EDGE_READ_CAP], plain[EDGE_PLAIN_CAP];
};

/* session.c tells edge.c: the session moves to another list; a pending one finished; one is gone. */
void edge_move(struct edge_session *s, enum session_list to);
void edge_forget(struct edge_session *s);
/* identity.c: who has proven a name, until its session begins to end. One too many ends the oldest. */
void identity_bind(struct edge_session *s);
void identity_unbind(struct edge_session *s);
/* Unfinished connections from the same address as `s`, itself included. */
unsigned edge_pending_from(const struct edge *edge, const char *address);

#endif
