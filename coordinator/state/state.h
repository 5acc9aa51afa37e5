/*
 * state.h: the fold. Committed commands in, rows out: the same bytes on every node. Pure: time is in the
 * command, storage is behind store.h. One thread (the loop's). A command that is refused changes nothing but
 * the applied index, the chain and the dedupe table.
 */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include "base/buf.h"
#include "coordinator/state/command.h"
#include "coordinator/state/store.h"

enum change_kind {
	CHANGE_APP = 1,
	CHANGE_ENV,
	CHANGE_HOST,
	CHANGE_RELEASE,
	CHANGE_BAD_MARK,
	CHANGE_DEPLOYMENT,
	CHANGE_WAVE,
	CHANGE_TASK,
	CHANGE_PLACEMENT,
	CHANGE_RESULT_IGNORED, /* `host` said `to` of its assignment `seq`, and `reason` is why that counts
				  for nothing */
	CHANGE_NR
};

/* What one apply touched, for the planner, dispatch and the event log. In order; `from`/`to` are states of
 * the noun's machine, else 0. */
struct change {
	enum change_kind kind;
	struct name app, host;
	struct deployment_id deployment;
	uint32_t wave;
	uint64_t seq; /* RESULT_IGNORED */
	int from, to;
	const char *reason;
	struct trace_id trace; /* of the command */
};

struct changes {
	struct change *v;
	size_t nr;
};

struct state;

/* `s` must outlive the state. Opens what is there (or an empty state). E_CORRUPT or E_VERSION when the rows
 * are not ours. */
must_check int state_open(struct store *s, struct state **out);
void state_free(struct state *st);

/*
 * Apply the command bytes at log `index` (sub: position inside the entry's batch, from 0). The caller commits
 * the store. Fills `reply` and `changes` from `a`. Returns 0, or E_CORRUPT / E_VERSION: then the node must
 * stop, it cannot follow the log, and what it wrote for this command must not be committed. E_CORRUPT is also
 * the answer once a row was met, here or by a view, that does not decode or that an index names and is not
 * there: a row that cannot be read is never taken for one that is absent.
 *
 * Repeats: a command with the client and seq of one that was applied is answered with what was answered then,
 * and changes nothing. A client may rely on that until STATE_CLIENTS_MAX other clients have had a command
 * applied after its own; the state holds the newest command of the STATE_CLIENTS_MAX most recent clients.
 * Clients number their commands without reuse.
 */
enum { STATE_CLIENTS_MAX = 4096 };
must_check int state_apply(struct state *st, struct arena *a, uint64_t index, uint32_t sub,
			   const uint8_t *cmd, size_t n, struct command_reply *reply,
			   struct changes *changes);

bool state_damaged(const struct state *st);	/* a row could not be read: the next apply says E_CORRUPT */
uint64_t state_applied(const struct state *st); /* highest index applied; 0 = none */
struct wall_ms state_clock(const struct state *st); /* highest command time applied */
struct digest
state_chain(const struct state *st);	      /* hash chain over all commands: equal index => equal chain */
struct digest state_digest(struct state *st); /* over all rows; slow, for tests and the simulator */

/* Snapshot: all rows as one stream of (klen, vlen, key, value), in key order. Restore replaces everything. */
void state_dump(struct store *s, struct buf *out);
must_check int state_restore(struct state *st, const uint8_t *p, size_t n);

#endif
