#include <stdio.h>
#include <string.h>

#include "coordinator/consensus/internal.h"
#include "sys/log.h"

static void die(struct consensus *c, uint64_t index, const char *what)
{
	char text[256];
	snprintf(text, sizeof text,
		 "%s/log, entry %llu: %s. Restore this node from a backup or a healthy peer", c->dir,
		 (unsigned long long)index, what);
	c->guard.hooks.fatal(c->guard.hooks.arg, text);
}

static void apply_commands(struct consensus *c, uint64_t index, struct entry_reader *r)
{
	struct applied_entry *last = &c->last;
	const uint8_t *cmd;
	size_t n;
	buf_reset(&last->replies);
	last->index = index;
	last->n = 0;
	struct buf one;
	buf_init(&one);
	while (entry_next(r, &cmd, &n)) {
		if (last->n == ENTRY_MAX_COMMANDS)
			die(c, index, "holds more commands than this version ever writes");
		buf_reset(&one);
		c->cfg.fsm->apply(c->cfg.fsm_arg, index, last->n, cmd, n, &one);
		last->at[last->n++] = last->replies.len;
		if (one.len > 0)
			buf_put(&last->replies, one.data, one.len);
	}
	last->at[last->n] = last->replies.len;
	buf_done(&one);
}

/* The engine gives no index: it is the one after the last applied, which moves only after this call. */
static int apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
	struct consensus *c = fsm->data;
	struct entry_reader r;
	uint64_t index = raft_last_applied(&c->raft) + 1;
	*result = NULL;
	int rv = entry_open(&r, buf->base, buf->len);
	if (rv != E_OK)
		die(c, index,
		    rv == E_VERSION ? "was written by a newer version" : "its checksum does not match");
	if (index <= c->applied)
		return 0; /* the store survived with it */
	apply_commands(c, index, &r);
	c->applied = index;
	c->dirty = true;
	*result = &c->last;
	return 0;
}

void fsm_commit(struct consensus *c)
{
	if (!c->dirty)
		return;
	c->dirty = false;
	c->cfg.fsm->commit(c->cfg.fsm_arg, c->applied);
}

void fsm_loaded(struct consensus *c, raft_index last_index)
{
	c->applied = c->cfg.fsm->applied(c->cfg.fsm_arg);
	if (c->applied <= last_index)
		return;
	c->cfg.fsm->reset(c->cfg.fsm_arg);
	c->applied = 0;
}

/* Loop thread. The view must hold all that is applied, so the turn's transaction ends here. */
static int snap_begin(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
	struct consensus *c = fsm->data;
	fsm_commit(c);
	member_look(c);
	c->snapshot =
		(struct snapshot_job){.index = raft_last_applied(&c->raft), .highest_id = c->highest_id};
	if (c->cfg.fsm->snap_begin(c->cfg.fsm_arg, &c->snapshot.handle) != E_OK)
		return RAFT_BUSY;
	*bufs = NULL;
	*n = 0;
	return 0;
}

/* Worker thread. */
static int snap_write(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
	struct consensus *c = fsm->data;
	struct buf b;
	buf_init(&b);
	memset(buf_reserve(&b, SNAPSHOT_HEADER), 0, SNAPSHOT_HEADER);
	b.len = SNAPSHOT_HEADER;
	int rv = c->cfg.fsm->snap_write(c->snapshot.handle, &b);
	if (rv == E_OK)
		rv = snapshot_seal(&b, c->snapshot.index, c->snapshot.highest_id);
	if (rv == E_OK) {
		c->snapshot.buf = (struct raft_buffer){.base = raft_malloc(b.len), .len = b.len};
		rv = c->snapshot.buf.base ? E_OK : E_NOMEM;
	}
	if (rv == E_OK) {
		memcpy(c->snapshot.buf.base, b.data, b.len);
		*bufs = &c->snapshot.buf;
		*n = 1;
	}
	buf_done(&b);
	c->snapshot.failed = rv;
	return rv == E_OK ? 0 : RAFT_IOERR;
}

static int snap_end(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
	struct consensus *c = fsm->data;
	c->cfg.fsm->snap_end(c->snapshot.handle);
	if (c->snapshot.failed != E_OK)
		log_error("consensus", "%s: no snapshot at entry %llu (%s): the log grows until there is one",
			  c->dir, (unsigned long long)c->snapshot.index, err_text(c->snapshot.failed));
	raft_free(c->snapshot.buf.base);
	c->snapshot = (struct snapshot_job){0};
	*bufs = NULL;
	*n = 0;
	return 0;
}

/* The engine would go on with an empty state. At the start it is told, and says so itself. */
static void stop_if_running(struct consensus *c, int rv)
{
	char text[256];
	if (!c->guard.started)
		return;
	snprintf(text, sizeof text,
		 "the leader's snapshot cannot be used (%s): install the build that the leader runs; if it "
		 "is the "
		 "same, the state on the leader is damaged",
		 err_text(rv));
	c->guard.hooks.fatal(c->guard.hooks.arg, text);
}

static int restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
	struct consensus *c = fsm->data;
	const uint8_t *body;
	uint64_t index, highest_id = 0;
	size_t len;
	int rv = snapshot_open(buf->base, buf->len, &index, &highest_id, &body, &len);
	if (rv == E_OK && c->highest_id < highest_id)
		c->highest_id = highest_id;
	if (rv == E_OK && c->applied < index) {
		c->cfg.fsm->reset(c->cfg.fsm_arg);
		rv = c->cfg.fsm->restore(c->cfg.fsm_arg, index, body, len);
		c->applied = index;
		c->dirty = true;
	}
	c->restore_failed = rv;
	if (rv != E_OK) {
		stop_if_running(c, rv);
		return RAFT_CORRUPT;
	}
	raft_free(buf->base);
	return 0;
}

void fsm_init(struct consensus *c)
{
	c->fsm = (struct raft_fsm){.version = 3,
				   .data = c,
				   .apply = apply,
				   .snapshot = snap_begin,
				   .restore = restore,
				   .snapshot_finalize = snap_end,
				   .snapshot_async = snap_write};
	buf_init(&c->last.replies);
}

void fsm_done(struct consensus *c)
{
	buf_done(&c->last.replies);
}
