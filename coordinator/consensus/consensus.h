/*
 * consensus.h: the only door to the replicated log. Commands go in, every replica applies the same ones in
 * the same order. The engine behind it is libraft 0.15 inside the guard of guard.h; nothing of it shows here.
 *
 * Everything runs on the one libuv loop given at open, and so on that loop's thread; only fsm->snap_write
 * runs on a worker. No callback runs inside the call that asked for it. The program must ignore SIGPIPE.
 *
 * Durability: a done callback with code 0 means that the command is on the disk of a majority and was
 * applied, and that fsm->commit ran after it. A full disk or a failed write stops the process (exit code 70)
 * before anything false is said. The state machine's own store is a cache of snapshot + log: it needs no
 * fsync.
 */
#ifndef CONSENSUS_CONSENSUS_H
#define CONSENSUS_CONSENSUS_H

#include "base/buf.h"
#include "base/err.h"

struct uv_loop_s;
struct consensus;

/*
 * The replicated state machine. Deterministic: no clock, no randomness, no network; time and ids come inside
 * commands. A bad command is an error reply, never a failure: there is no error to return from apply.
 */
struct consensus_fsm {
	/*
	 * Apply one command. `index` is the log entry, `sub` the position of the command in its batch: the
	 * pair never repeats and only grows, with gaps. Bytes put into `reply` (empty at the call) go to the
	 * proposer, if it is here.
	 */
	void (*apply)(void *u, uint64_t index, uint32_t sub, const void *cmd, size_t n, struct buf *reply);
	/*
	 * Make what was applied so far visible and remember `index`, the highest index that is fully applied,
	 * in the same transaction. Runs once per loop turn in which something was applied, before the
	 * acknowledgements go out.
	 */
	void (*commit)(void *u, uint64_t index);
	/* The index last given to commit that the store still has; 0 when empty. Asked once, at open. */
	uint64_t (*applied)(void *u);
	/* Forget everything: the log is shorter than the store claims, or a snapshot replaces it. */
	void (*reset)(void *u);
	/* Loop thread, quick: fix a view of the committed state. E_BUSY: try at a later entry. */
	int (*snap_begin)(void *u, void **h);
	/* Worker thread: write the view to `out`. At most 1 GiB. */
	int (*snap_write)(void *h, struct buf *out);
	/* Loop thread: release the view. Once for each successful snap_begin. */
	void (*snap_end)(void *h);
	/* Replace the whole state by this snapshot, which stands for every index up to `index`. */
	int (*restore)(void *u, uint64_t index, const void *p, size_t n);
};

struct consensus_config {
	const char *dir;     /* exists, belongs to one process at a time */
	uint64_t node_id;    /* > 0, never reused */
	const char *address; /* of this node for its peers; stored in the log */
	const struct consensus_fsm *fsm;
	void *fsm_arg;
	unsigned snapshot_threshold; /* entries between snapshots; 0: 16384 */
	unsigned snapshot_trailing;  /* entries kept behind a snapshot; 0: 8192 */
	uint64_t min_free_bytes;     /* refuse ordinary proposals below; 0: 512 MiB */
	/* Called once when storage failed or the log is damaged; must not return. NULL: log and _exit(70). */
	void (*fatal)(void *arg, const char *text);
	void *fatal_arg;
};

enum consensus_flags {
	CONSENSUS_ESSENTIAL = 1 /* goes through below min_free_bytes */
};

/*
 * The end of a proposal, barrier or member operation. `reply` is valid during the call.
 *   E_OK               committed, applied, visible
 *   E_NOT_LEADER       nothing was written; ask the leader
 *   E_UNKNOWN_OUTCOME  it may or may not become part of the log later (leadership lost, closing). Repeat only
 * with a command that the state machine recognises as the same.
 */
typedef void consensus_done_fn(void *arg, int code, uint64_t index, const void *reply, size_t n);
typedef void consensus_closed_fn(void *arg);

/*
 * Open or create the log in cfg->dir and bring the state machine up to date. A new directory becomes a
 * cluster of this one node. Blocks while the log is read. `cfg` is copied; what it points to, except strings,
 * must live until closed. E_BUSY: another process has the directory. E_CORRUPT: the log is damaged; restore a
 * backup. E_INVALID, E_IO, ...
 */
int consensus_open(struct consensus **out, struct uv_loop_s *loop, const struct consensus_config *cfg,
		   struct err *e) must_check;

/* Stop; whatever is under way ends with E_UNKNOWN_OUTCOME or E_NOT_LEADER first. `c` is freed after `closed`
 * ran. */
void consensus_close(struct consensus *c, consensus_closed_fn *closed, void *arg);

/*
 * Propose one command; the bytes are copied. On E_OK `done` runs later, exactly once; on any other code
 * never: E_NOT_LEADER, E_TOO_LARGE (over 1 MiB), E_BUSY (queue full, nothing written), E_NO_SPACE (disk
 * watermark).
 */
int consensus_propose(struct consensus *c, const void *cmd, size_t n, unsigned flags, consensus_done_fn *done,
		      void *arg, struct err *e) must_check;

/* `done` with E_OK: everything acknowledged by anyone before this call is applied here; read the state after
 * it. */
int consensus_barrier(struct consensus *c, consensus_done_fn *done, void *arg, struct err *e) must_check;

enum consensus_member_op {
	CONSENSUS_MEMBER_ADD = 1,
	CONSENSUS_MEMBER_PROMOTE,
	CONSENSUS_MEMBER_DEMOTE,
	CONSENSUS_MEMBER_REMOVE,
	CONSENSUS_LEADER_TRANSFER
};

/* Change the membership. This version has no links between nodes, so every operation is E_UNSUPPORTED. */
int consensus_member(struct consensus *c, enum consensus_member_op op, uint64_t id, const char *address,
		     consensus_done_fn *done, void *arg, struct err *e) must_check;

uint64_t consensus_applied(const struct consensus *c); /* highest index applied here */
/* The entry that the newest snapshot here stands for; 0 = there is none yet. */
uint64_t consensus_snapshot(const struct consensus *c);
uint64_t consensus_term(const struct consensus *c);
bool consensus_is_leader(const struct consensus *c);
/* The leader as far as this node knows: its id, 0 when unknown; its address goes to `address` (may be NULL).
 */
uint64_t consensus_leader(const struct consensus *c, char *address, size_t n);

#endif
