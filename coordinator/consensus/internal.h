/* internal.h: what the files of consensus/ share. */
#ifndef CONSENSUS_INTERNAL_H
#define CONSENSUS_INTERNAL_H

#include <raft.h>
#include <raft/uv.h>
#include <uv.h>

#include "coordinator/consensus/consensus.h"
#include "coordinator/consensus/entry.h"
#include "coordinator/consensus/guard.h"
#include "coordinator/consensus/peer.h"

enum { MAX_IN_FLIGHT = 4, MAX_QUEUED_BYTES = 16 * 1024 * 1024, MAX_QUEUED = 65536 };

/* One proposal from propose to done; a barrier when `barrier`. */
struct proposal {
	struct proposal *next;
	consensus_done_fn *done;
	void *arg;
	int code;
	uint64_t index;
	size_t reply_at, reply_len; /* in the replies of its batch */
	bool barrier;
	size_t len;
	uint8_t bytes[];
};

struct fifo {
	struct proposal *first, **tail;
};

/* One log entry, or one barrier, under way. */
struct batch {
	union {
		struct raft_apply apply;
		struct raft_barrier barrier;
	} req;
	struct consensus *consensus;
	struct batch *next; /* among the finished */
	struct fifo members;
	struct buf replies;
};

/* The replies of the entry applied last; its proposer, when it is here, takes them before the next is
 * applied. */
struct applied_entry {
	uint64_t index;
	struct buf replies;
	size_t at[ENTRY_MAX_COMMANDS + 1]; /* where each reply starts, and the end of the last */
	unsigned n;
};

struct snapshot_job {
	void *handle;
	uint64_t index, highest_id;
	int failed; /* code; told when it ends */
	struct raft_buffer buf;
};

enum member_step {
	MEMBER_IDLE = 0,
	MEMBER_ASKED,
	MEMBER_BARRIER,	     /* waits for an entry of this term to be committed */
	MEMBER_BARRIER_DONE, /* to be given to the engine */
	MEMBER_UNDER_WAY,
	MEMBER_FINISHED /* to be told */
};

/* The one change of the membership, or transfer, that may be under way. */
struct member_change {
	enum member_step step;
	enum consensus_member_op op;
	uint64_t id, term;
	char address[CONSENSUS_ADDRESS_CAP];
	bool assigned; /* of ADD: the second half, spare to standby */
	consensus_done_fn *done;
	void *arg;
	int code;
	char text[512];
	struct raft_barrier barrier;
	struct raft_change change;
	struct raft_transfer
		transfer; /* the engine uses it after its callback (S12): never freed before it closed */
};

struct consensus {
	struct consensus_config cfg;
	char *dir, *address;
	uv_loop_t *loop;
	uv_prepare_t prepare;
	struct raft raft;
	struct raft_io io;
	void (*io_close)(struct raft_io *io, raft_io_close_cb closed); /* the engine's own */
	raft_io_close_cb io_closed;				       /* whom to tell that it has closed */
	uv_timer_t late;
	struct raft_uv_transport transport;
	struct peers *peers; /* NULL: a node without links */
	struct member_change member;
	uint64_t highest_id;   /* of all nodes that ever were members, as far as log and snapshots say */
	uint64_t members_seen; /* fingerprint of the membership last looked at */
	struct raft_fsm fsm;
	struct guard guard;
	int lock_fd;
	struct fifo queue;
	size_t queued, queued_bytes;
	unsigned in_flight;
	struct batch *finished, **finished_tail;
	struct applied_entry last;
	struct buf entry; /* scratch of the batcher */
	uint64_t applied; /* index given to fsm last, or skipped because it had it */
	bool dirty;	  /* applied since the last commit */
	struct snapshot_job snapshot;
	int restore_failed; /* code of fsm->restore: the engine loses it */
	uint64_t disk_checked_ms;
	bool disk_low, closing;
	consensus_closed_fn *closed;
	void *closed_arg;
};

/* propose.c */
void propose_init(struct consensus *c);
void propose_done(struct consensus *c);
void propose_flush(struct consensus *c);   /* queue -> engine */
void propose_deliver(struct consensus *c); /* finished -> their done callbacks */
void propose_refuse_queue(struct consensus *c, int code);

/* fsm.c */
void fsm_init(struct consensus *c);
void fsm_done(struct consensus *c);
void fsm_commit(struct consensus *c); /* the store's one transaction of this turn */
void fsm_loaded(struct consensus *c, raft_index last_index);

/*
 * snapshot.c: "WTS1", version 2, index, length, the highest id that ever was a member, SHA-256 of all that
 * and of the state, then the state. Version 1 had no id, and is read.
 */
enum { SNAPSHOT_HEADER = 64 };
/* The first SNAPSHOT_HEADER bytes of b are room for the header. */
int snapshot_seal(struct buf *b, uint64_t index, uint64_t highest_id);
int snapshot_open(const void *p, size_t n, uint64_t *index, uint64_t *highest_id, const uint8_t **body,
		  size_t *len) must_check;

/* member.c */
void member_turn(struct consensus *c);	  /* once per loop turn, outside of the engine */
void member_deliver(struct consensus *c); /* the done callback of a change that has finished */
void member_refuse(struct consensus *c, int code);
void member_look(struct consensus *c); /* the membership may be another */
const char *member_address(void *arg, uint64_t id);
void member_link_lost(void *arg, uint64_t id);
int member_check_own_address(struct consensus *c, struct err *e) must_check;

/* engine_io.c: check once the I/O is initialised, then ask at each turn. */
int engine_io_check(const struct consensus *c, const char *log_dir, struct err *e) must_check;
bool engine_io_failed(const struct consensus *c);
void engine_io_closes_late(struct consensus *c); /* before the engine is given the I/O */

/* transport.c: a node without links to others. */
void no_links_init(struct raft_uv_transport *t);

#endif
