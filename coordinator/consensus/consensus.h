/*
 * consensus.h: the only door to the replicated log. Commands go in, every replica applies the same ones in
 * the same order. The engine behind it is libraft 0.15 inside the guard of guard.h; nothing of it shows here.
 *
 * A node without a listen address is a cluster of one and has no port. With one it talks to the other members
 * over TLS, and nothing behind that port is reachable but with the certificate of a member.
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
#include "sys/tls.h"

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

/* A node by id and by the address that its peers dial: "name:port", "192.0.2.1:port", "[2001:db8::1]:port".
 */
struct consensus_peer {
	uint64_t id;
	const char *address;
};

struct consensus_config {
	const char *dir;     /* exists, belongs to one process at a time */
	uint64_t node_id;    /* > 0, never reused; with `listen` at most 19 digits, as the certificate says */
	const char *address; /* of this node for its peers, as in consensus_peer; stored in the log */
	/*
	 * Where to listen for peers: numeric address and port. NULL: nowhere, and no peers. `tls`: the
	 * cluster's CA, and the certificate of "coordinator-<node id>", which names the host of `address`.
	 */
	const char *listen;
	struct tls_files tls;
	bool join; /* an empty directory waits to be added, rather than becoming a cluster of one */
	/*
	 * Nodes to talk to though the log here does not know them: for one that joins, the members that are
	 * there; for one that was away, members that came meanwhile. A node that the log has once known is
	 * taken from the log alone.
	 */
	const struct consensus_peer *peers;
	size_t peers_nr;
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
 * The end of a proposal, barrier or member operation. `reply` is valid during the call; for a member
 * operation that failed it is a text for people.
 *
 *   E_OK               committed, applied, visible
 *   E_NOT_LEADER       nothing was written; ask the leader
 *   E_UNKNOWN_OUTCOME  it may or may not become part of the log (leadership lost, closing)
 *
 * After the last, repeat only with a command that the state machine recognises as the same.
 */
typedef void consensus_done_fn(void *arg, int code, uint64_t index, const void *reply, size_t n);
typedef void consensus_closed_fn(void *arg);

/*
 * Open or create the log in cfg->dir and bring the state machine up to date. A new directory becomes a
 * cluster of this one node, unless cfg->join. Blocks while the log and the certificates are read. `cfg` is
 * copied, strings and peers too; what else it points to must live until closed. E_BUSY: another process has
 * the directory. E_CORRUPT: the log is damaged; restore a backup. E_UNAVAILABLE: cannot listen. E_CONFLICT:
 * the cluster knows this node by another address. E_INVALID, E_IO, ...
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

/* ---- members ---- */

enum consensus_member_op {
	CONSENSUS_MEMBER_ADD = 1, /* as standby: it gets the log but does not vote */
	CONSENSUS_MEMBER_PROMOTE, /* standby -> voter */
	CONSENSUS_MEMBER_DEMOTE,  /* voter -> standby */
	CONSENSUS_MEMBER_REMOVE,
	CONSENSUS_LEADER_TRANSFER /* to voter `id`; 0: to whoever is furthest */
};

/*
 * Change the membership, or hand over the lead; only on the leader, and one at a time. `address` is for ADD,
 * NULL otherwise. On E_OK `done` runs later, exactly once, with E_OK when the change is committed (after ADD:
 * as standby; after a transfer: when the other leads). On any other code never, and nothing was changed:
 *
 *   E_NOT_LEADER    ask the leader
 *   E_BUSY          a change or a transfer is under way, or the one before is not committed yet
 *   E_UNAVAILABLE   a member that has to be there is silent
 *   E_CONFLICT      it has not caught up, it is the leader, or has another role than this change begins from
 *   E_EXISTS        the id or the address is in use, or the id was used before: ids only grow
 *   E_NOT_FOUND     no such member
 *   E_INFEASIBLE    too few voters would be left
 *   E_INVALID, E_UNSUPPORTED (this node does not listen for peers)
 *
 * `done` may say these too (it looks again before it writes), and E_TIMEOUT: it did not catch up, or did not
 * take the lead, and nothing has changed; E_UNKNOWN_OUTCOME: list the members. An ADD that ended otherwise
 * than with E_OK may have left a spare, which gets nothing: the same call goes on with it.
 */
int consensus_member(struct consensus *c, enum consensus_member_op op, uint64_t id, const char *address,
		     consensus_done_fn *done, void *arg, struct err *e) must_check;

enum consensus_role { CONSENSUS_SPARE = 1, CONSENSUS_STANDBY, CONSENSUS_VOTER, CONSENSUS_ROLE_NR };
const char *consensus_role_name(enum consensus_role role);

enum { CONSENSUS_ADDRESS_CAP = 264, CONSENSUS_MEMBERS_MAX = 32 };
static const uint64_t consensus_unknown = UINT64_MAX;

struct consensus_member_info {
	uint64_t id;
	char address[CONSENSUS_ADDRESS_CAP];
	enum consensus_role role;
	bool self, leader;
	uint64_t lag; /* on the leader: entries of its log that this one is not known to have; else unknown */
	uint64_t silent_ms; /* since something came from it here; unknown: nothing ever did, or it is this
			       node */
};

/* The members as far as this node knows; how many there are (none: it waits to be added). */
size_t consensus_members(const struct consensus *c, struct consensus_member_info out[CONSENSUS_MEMBERS_MAX]);

/* ---- links ---- */

/* How a link can end: X(name, text, what to do). From CONSENSUS_LINK_TLS on it never was a link, or one that
 * must not go on. */
#define CONSENSUS_LINK_ENDS(X)                                                                               \
	X(CONSENSUS_LINK_CLOSED, "the other side closed it", "see its log")                                  \
	X(CONSENSUS_LINK_BROKE, "the connection broke", "see that the other side runs")                      \
	X(CONSENSUS_LINK_REPLACED, "a newer link of the same coordinator took its place",                    \
	  "if this goes on, two processes use one certificate: stop one")                                    \
	X(CONSENSUS_LINK_REMOVED, "it is no member any more", "stop it; it never comes back under its id")   \
	X(CONSENSUS_LINK_STALLED, "it took nothing of what it was sent for 10 s",                            \
	  "look at that machine and the network between")                                                    \
	X(CONSENSUS_LINK_SHUTDOWN, "this coordinator stops", "")                                             \
	X(CONSENSUS_LINK_UNREACHABLE, "it cannot be reached",                                                \
	  "see that it runs, and look at its address, name and firewall")                                    \
	X(CONSENSUS_LINK_REFUSED, "it refused us", "see its log")                                            \
	X(CONSENSUS_LINK_TLS, "TLS failed", "only coordinators of this cluster may connect here")            \
	X(CONSENSUS_LINK_NO_COORDINATOR, "its certificate names no coordinator of a number",                 \
	  "this port is for coordinators; agents dial the agent port")                                       \
	X(CONSENSUS_LINK_NO_MEMBER, "it is no member of this cluster",                                       \
	  "add it if it should be one; if it was removed, stop it")                                          \
	X(CONSENSUS_LINK_OTHER_NODE, "its certificate is that of another coordinator",                       \
	  "look at the address, and at the certificate there")                                               \
	X(CONSENSUS_LINK_OTHER_ADDRESS, "it claims another address than the cluster has for it",             \
	  "start it with the address it was added with, or remove it and add it under a new id")             \
	X(CONSENSUS_LINK_BAD_HELLO, "its first bytes are not those of a coordinator",                        \
	  "install the same build on both")                                                                  \
	X(CONSENSUS_LINK_SLOW, "no handshake and hello within 5 s",                                          \
	  "look at the network between, and at who opens connections and says nothing")                      \
	X(CONSENSUS_LINK_CAP, "too many unfinished connections from there",                                  \
	  "look at who opens connections there")                                                             \
	X(CONSENSUS_LINK_BAD_MESSAGE, "it sent what is no message of the engine",                            \
	  "install the same build on both; if it is the same, do not trust that machine")                    \
	X(CONSENSUS_LINK_LARGE_MESSAGE, "it sent a message over the bound",                                  \
	  "install the same build on both; if it is the same, do not trust that machine")                    \
	X(CONSENSUS_LINK_FALSE_NAME, "it speaks in another coordinator's name",                              \
	  "do not trust that machine: remove it and issue its certificate anew under a new id")
enum consensus_link_end {
	CONSENSUS_LINK_END_NONE = 0,
#define X(end, text, advice) end,
	CONSENSUS_LINK_ENDS(X)
#undef X
		CONSENSUS_LINK_END_NR
};
const char *consensus_link_end_text(enum consensus_link_end end);

struct consensus_links {
	uint64_t accepted, dialed, opened;
	uint64_t ended[CONSENSUS_LINK_END_NR]; /* every connection ends in exactly one */
	uint64_t tls_faults[TLS_FAULT_NR];     /* of those ended by CONSENSUS_LINK_TLS */
	uint64_t messages_in, bytes_in, bytes_out;
	uint64_t open, pending; /* now */
};

/* All zero when this node does not listen. */
const struct consensus_links *consensus_links(const struct consensus *c);

/* ---- what is known here ---- */

uint64_t consensus_applied(const struct consensus *c); /* highest index applied here */
/* The entry that the newest snapshot here stands for; 0 = there is none yet. */
uint64_t consensus_snapshot(const struct consensus *c);
uint64_t consensus_term(const struct consensus *c);
bool consensus_is_leader(const struct consensus *c);
/* The leader as far as this node knows: its id, 0 when unknown; its address goes to `address` (may be NULL).
 */
uint64_t consensus_leader(const struct consensus *c, char *address, size_t n);

#endif
