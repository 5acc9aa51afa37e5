/*
 * peer.h: the engine's transport between coordinators: TLS 1.3 with certificates on both sides, only members.
 *
 * Each node dials every other one that it has something to say to, so two nodes have two links, one each way.
 * A link is a TCP connection under TLS on one side, and on the other one end of a socket pair whose other end
 * the engine is given as its stream. In between each message is read and bounded (peer_wire.h). Who the peer
 * is stands in its certificate ("coordinator-3") and nowhere else. Whatever goes wrong ends both sides of the
 * link: the engine notices and dials again.
 *
 * Loop thread only; names of hosts are resolved on libuv's workers.
 */
#ifndef CONSENSUS_PEER_H
#define CONSENSUS_PEER_H

#include <raft/uv.h>

#include "coordinator/consensus/consensus.h"

struct peers;

struct peers_config {
	uint64_t id;
	const char *address; /* our own, as the cluster knows it; copied */
	const char *listen;  /* "192.0.2.1:7102", "[::]:7102": numeric; copied */
	struct tls_files tls;
	/* The address of this node by the membership of now; NULL: it is no member, and nothing of it is
	 * taken. */
	const char *(*address_of)(void *arg, uint64_t id);
	/* Our link to this node has ended: what the engine was told is sent may never have arrived. */
	void (*lost)(void *arg, uint64_t id);
	void *arg;
};

/*
 * Reads the certificates and fills `t`, to be given to raft_uv_init; it listens when the engine starts.
 * E_INVALID, E_NOT_FOUND, E_IO: what is wrong with addresses or files.
 */
must_check int peers_new(struct peers **out, struct raft_uv_transport *t, uv_loop_t *loop,
			 const struct peers_config *config, struct err *e);
void peers_free(
	struct peers *p); /* after the engine has closed its I/O, or before it was given it; NULL is fine */
/* Why it cannot listen; NULL when that is not what failed. */
const struct err *peers_listen_error(const struct peers *p);
/* The membership may be another: end the links of those who are no member any more. */
void peers_membership_changed(struct peers *p);
/* For how long nothing came from this node, in ms; UINT64_MAX: nothing ever did. */
uint64_t peers_silent_ms(const struct peers *p, uint64_t id);
const struct consensus_links *peers_links(const struct peers *p);

#endif
