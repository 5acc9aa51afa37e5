/*
 * session.h: one connection of the edge, from accept to close. Internal to coordinator/edge.
 *
 *   HANDSHAKE --TLS done--> HELLO --REQ--> REPLYING --\
 *       |                     | \---SUB--> PUBLISHING -+--> CLOSING (handle closing, nothing is heard or
 * said)
 *       \---------------------+---> LINGERING ---------/
 *
 * LINGERING sends the last words (a TLS alert, a last reply) and waits briefly for the peer to hang up first:
 * closing with unread input would reset the connection and destroy those words on their way.
 */
#ifndef EDGE_SESSION_H
#define EDGE_SESSION_H

#include "base/sm.h"
#include "coordinator/edge/edge.h"
#include "proto/sp.h"
#include "sys/stream.h"

enum session_state {
	SESSION_HANDSHAKE = 1,
	SESSION_HELLO,
	SESSION_REPLYING,
	SESSION_PUBLISHING,
	SESSION_LINGERING,
	SESSION_CLOSING,
	SESSION_NR
};
extern const struct sm session_sm;

enum { OUTSTANDING_MAX = 2 };

/* Which list of the edge a session is on: PENDING ones are counted and timed, UNTRUSTED ones timed. */
enum session_list { LIST_PENDING = 0, LIST_UNTRUSTED, LIST_OPEN, LIST_SUBSCRIBED, LIST_ENDING, LIST_NR };

struct edge_session {
	struct stream stream;
	struct edge *edge;
	enum session_state state;
	enum session_list list;
	struct edge_session *prev, *next;
	struct edge_identity *same;		    /* NULL: its name is not proven, or it is ending */
	struct edge_session *same_prev, *same_next; /* of this name */
	uint64_t deadline; /* of PENDING, UNTRUSTED and ENDING, in uv_now() milliseconds */
	struct sp_decoder decoder;
	struct tls_identity identity;
	uint32_t outstanding[OUTSTANDING_MAX]; /* request ids; 0 is free */
	enum edge_reason reason;	       /* why it ends */
	bool announced;			       /* on_open was called */
	uv_shutdown_t shutdown;
	char address[INET6_ADDRSTRLEN];
	void *data;
};

/* Accept the connection that waits on the listener; frees everything itself when that fails. */
void session_accept(struct edge *edge);
void session_end(struct edge_session *s, enum edge_reason reason);	  /* at once */
void session_end_softly(struct edge_session *s, enum edge_reason reason); /* after the last words */
bool session_ending(const struct edge_session *s);
/* Queue one frame and send it; the session ends when it cannot. */
int session_send(struct edge_session *s, const void *head, size_t head_len, const void *body,
		 size_t body_len);

#endif
