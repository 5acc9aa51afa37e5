/*
 * world.h: a cluster of real libraft engines with our guard, over disks and links made of memory and virtual
 * time. One seed is one run; each run has a process of its own, so memory of crashed nodes is simply left
 * behind.
 */
#ifndef SIM_RAFT_WORLD_H
#define SIM_RAFT_WORLD_H

#include <raft.h>
#include <setjmp.h>

#include "base/rng.h"
#include "coordinator/consensus/guard.h"

enum { MAX_FIRST = 5, MAX_NODES = 8, MAX_INDEX = 1 << 17, MAX_TERM = 1 << 14, MAX_EVENTS = 1 << 16 };

struct record { /* one entry on a disk */
	raft_term term;
	unsigned short type;
	size_t len;
	void *bytes; /* never freed, never changed: shared freely */
};

struct saved { /* a snapshot on a disk; index 0: none */
	raft_index index, conf_index;
	raft_term term;
	struct raft_configuration conf;
	void *bytes;
	size_t len;
};

enum write_kind { WRITE_APPEND, WRITE_TRUNCATE, WRITE_SNAPSHOT };

struct write { /* accepted by the disk, not done yet */
	struct write *next;
	enum write_kind kind;
	struct record *records;
	unsigned n, trailing;
	raft_index index;
	struct saved snapshot;
	struct raft_io_append *append;
	struct raft_io_snapshot_put *put;
	raft_io_append_cb append_cb;
	raft_io_snapshot_put_cb put_cb;
};

struct disk {
	struct world *w;
	raft_term term;
	raft_id vote;
	raft_index start;	/* index of records[0] */
	struct record *records; /* MAX_INDEX of them */
	unsigned n;
	struct saved snapshot;
	struct write *first, **tail;
	raft_index next; /* of the next append */
	unsigned slow_ms;
	uint64_t hangs_until;
	bool full, failed;
};

enum life { UNBORN, MEMBER, REMOVED };

struct node {
	struct world *w;
	unsigned nr; /* id is nr + 1 */
	char address[8];
	struct raft *raft;
	struct raft_io *io;
	struct guard *guard;
	struct raft_fsm *fsm;
	raft_io_tick_cb tick;
	raft_io_recv_cb recv;
	unsigned tick_ms, epoch;
	enum life life;
	bool alive;
	uint64_t paused_until, clock_ahead;
	struct disk disk;
	uint64_t chain; /* hash over all commands applied */
	raft_id voted[MAX_TERM];
};

typedef void event_fn(struct node *n, void *arg);

struct event {
	uint64_t at, seq;
	struct node *node;
	unsigned epoch; /* for another life of the node: dropped */
	event_fn *fn;
	void *arg;
};

struct world {
	struct rng rng;
	uint64_t now, seq, events;
	struct event heap[MAX_EVENTS];
	unsigned n_heap, n_first, n_nodes, rules_off; /* n_nodes: those of the beginning and those to come */
	struct node nodes[MAX_NODES];
	bool cut[MAX_NODES][MAX_NODES];
	uint64_t arrives[MAX_NODES][MAX_NODES]; /* links keep order */
	uint64_t command_at[MAX_INDEX], chain_at[MAX_INDEX];
	raft_id leader_of[MAX_TERM];
	uint64_t next_command, in_flight, acked, top_acked_index;
	unsigned threshold, trailing, least_voters, fault_gap_ms, talkative;
	bool verbose, free_transfers;
	bool quiet;	 /* clients propose next to nothing in this run */
	bool hurry;	 /* a change of the membership was just begun: the next fault meets it */
	jmp_buf stopped; /* to the loop, when a node ends itself in the middle of an event */
};

_Noreturn void violation(struct world *w, const char *fmt, ...) printf_like(2, 3);
void at(struct node *n, uint64_t delay, event_fn *fn, void *arg);

void node_boot(struct node *n);	 /* a new life with what the disk kept */
void node_crash(struct node *n); /* a random prefix of the writes under way is kept */

void io_init(struct node *n);	  /* io.c */
void disk_format(struct node *n); /* as raft_bootstrap() leaves it */
void disk_empty(struct node *n);  /* as a new one has it */
void disk_crash(struct node *n);  /* keep a random prefix */
void configuration_copy(const struct raft_configuration *from, struct raft_configuration *to);
void configuration_all(struct world *w, struct raft_configuration *c);

struct node *leader(struct world *w); /* faults.c; NULL: none */
void one_fault(struct world *w);
void no_more_faults(struct world *w);

void run_until(struct world *w, uint64_t end); /* raft_sim.c */
void play_held(struct world *w);	       /* scene.c; with five nodes */

void heap_begin(struct world *w); /* heap.c: from now on the engine's memory is this seed's */

void fsm_sim_init(struct node *n); /* node.c */
bool propose_one(struct node *n);

#endif
