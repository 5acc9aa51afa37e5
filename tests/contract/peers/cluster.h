/*
 * cluster.h: real consensus nodes over loopback, all on one loop, with a client that proposes to whoever
 * leads. Everything fails the test that should not go wrong.
 */
#ifndef TESTS_CONTRACT_PEERS_CLUSTER_H
#define TESTS_CONTRACT_PEERS_CLUSTER_H

#include <uv.h>

#include "coordinator/consensus/consensus.h"
#include "tests/lib/pki.h"

enum { NODES_MAX = 6, NUMBERS_MAX = 200000 }; /* nodes are 1 to NODES_MAX */

/* The state: which numbers were applied, and their order as a running hash. */
struct memory {
	uint64_t hash, index;
	uint32_t count;
	uint8_t seen[NUMBERS_MAX];
};

struct node {
	struct cluster *cluster;
	uint64_t id;
	struct consensus *c; /* NULL: it does not run */
	char dir[300], address[64], listen[64];
	struct pki_files files;
	struct memory m;
	unsigned restores;
};

struct client {
	bool on;
	uint32_t next; /* number */
	unsigned under_way;
	unsigned acked, refused, unknown;
	uint8_t is_acked[NUMBERS_MAX];
};

/* The end of the membership call that was made last. */
struct answer {
	bool came;
	int code;
	char text[512];
};

struct cluster {
	uv_loop_t loop;
	uv_timer_t waker; /* so that a wait looks at its condition now and then */
	struct pki pki;
	struct node nodes[NODES_MAX + 1];
	struct client client;
	struct answer answer;
	uint64_t turned_ns; /* when the loop last turned */
	unsigned stalls;    /* times that the loop did not turn for so long that the nodes may have lost each
			       other */
	unsigned snapshot_threshold, snapshot_trailing;
	struct consensus_peer seeds[NODES_MAX]; /* what a joining node is told */
	size_t seeds_nr;
};

struct cluster *cluster_open(const char *host); /* of nodes that do not run yet, addressed as `host`:port */
void cluster_close(struct cluster *cl);

/* Node 1 becomes a cluster of one when it starts first, the others wait to be added. */
void node_start(struct cluster *cl, uint64_t id);
int node_try_start(struct cluster *cl, uint64_t id, struct err *e);
void node_stop(struct cluster *cl, uint64_t id); /* and waits until it has */
void node_wipe(struct cluster *cl, uint64_t id);

/* Run the loop until `is` says so; fails the test, naming `what`, after a minute. */
void cluster_wait(struct cluster *cl, const char *what, bool (*is)(struct cluster *cl, uint64_t arg),
		  uint64_t arg);
void cluster_run_ms(struct cluster *cl, unsigned ms);
/* Id of a node that runs here and leads; 0: none. */
uint64_t cluster_leader(struct cluster *cl);
uint64_t cluster_wait_leader(struct cluster *cl);
bool node_caught_up(struct cluster *cl,
		    uint64_t id); /* a standby or voter with little lag, as the leader says */

/* Ask the leader, and wait for the end: the code of the call, or of its callback. */
int cluster_member(struct cluster *cl, enum consensus_member_op op, uint64_t id);
/* The same, again while it can be hoped for; E_OK, or the test fails. */
void cluster_must(struct cluster *cl, enum consensus_member_op op, uint64_t id);
/* Start, add, wait, promote. */
void cluster_grow(struct cluster *cl, uint64_t id);

void client_go(struct cluster *cl);		     /* proposes on and on */
void client_pause(struct cluster *cl);		     /* and waits until nothing is under way */
void client_propose(struct cluster *cl, unsigned n); /* that many more are acknowledged */
/* What was acknowledged is on each node that runs, once, and all of them are the same. */
void cluster_check_same(struct cluster *cl);

const struct consensus_links *node_links(const struct cluster *cl, uint64_t id);

#endif
