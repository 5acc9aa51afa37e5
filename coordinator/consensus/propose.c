#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "coordinator/consensus/internal.h"

static void fifo_init(struct fifo *f)
{
	f->first = NULL;
	f->tail = &f->first;
}

static void fifo_put(struct fifo *f, struct proposal *p)
{
	p->next = NULL;
	*f->tail = p;
	f->tail = &p->next;
}

static struct proposal *fifo_take(struct fifo *f)
{
	struct proposal *p = f->first;
	f->first = p->next;
	if (!f->first)
		f->tail = &f->first;
	return p;
}

void propose_init(struct consensus *c)
{
	fifo_init(&c->queue);
	c->finished_tail = &c->finished;
	buf_init(&c->entry);
}

void propose_done(struct consensus *c)
{
	buf_done(&c->entry);
}

/* ---- into the queue ---- */

static int enqueue(struct consensus *c, const void *cmd, size_t n, bool barrier, consensus_done_fn *done,
		   void *arg, struct err *e)
{
	if (c->closing || raft_state(&c->raft) != RAFT_LEADER)
		return err_set(e, E_NOT_LEADER, "coordinator %llu does not lead its cluster; ask the leader",
			       (unsigned long long)c->cfg.node_id);
	if (c->queued >= MAX_QUEUED || c->queued_bytes + n > MAX_QUEUED_BYTES)
		return err_set(e, E_BUSY,
			       "%zu commands wait for the disk already; nothing was written, try again",
			       c->queued);
	struct proposal *p = calloc(1, sizeof *p + n);
	if (!p)
		return err_set(e, E_NOMEM, "no memory for a command of %zu bytes", n);
	*p = (struct proposal){.done = done, .arg = arg, .barrier = barrier, .len = n};
	if (n > 0)
		memcpy(p->bytes, cmd, n);
	fifo_put(&c->queue, p);
	c->queued++;
	c->queued_bytes += n;
	return E_OK;
}

/* Asked at most once a second: statvfs is a system call for each of thousands of commands otherwise. */
static bool disk_is_low(struct consensus *c)
{
	struct statvfs v;
	uint64_t now = uv_now(c->loop);
	if (c->disk_checked_ms != 0 && now - c->disk_checked_ms < 1000)
		return c->disk_low;
	c->disk_checked_ms = now ? now : 1;
	c->disk_low = statvfs(c->dir, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < c->cfg.min_free_bytes;
	return c->disk_low;
}

int consensus_propose(struct consensus *c, const void *cmd, size_t n, unsigned flags, consensus_done_fn *done,
		      void *arg, struct err *e)
{
	if (n > ENTRY_MAX_COMMAND)
		return err_set(e, E_TOO_LARGE, "a command of %zu bytes; the limit is %d", n,
			       ENTRY_MAX_COMMAND);
	if (!(flags & CONSENSUS_ESSENTIAL) && disk_is_low(c))
		return err_set(e, E_NO_SPACE,
			       "less than %llu MiB free below %s: only what steers a rollout under way "
			       "(pause, resume, abort, retry, promote, rollback) is accepted; free space",
			       (unsigned long long)(c->cfg.min_free_bytes >> 20), c->dir);
	return enqueue(c, cmd, n, false, done, arg, e);
}

int consensus_barrier(struct consensus *c, consensus_done_fn *done, void *arg, struct err *e)
{
	return enqueue(c, NULL, 0, true, done, arg, e);
}

/* ---- queue to engine ---- */

static int code_of(int status)
{
	switch (status) {
	case 0:
		return E_OK;
	case RAFT_NOTLEADER: /* refused before anything was written */
		return E_NOT_LEADER;
	default:
		return E_UNKNOWN_OUTCOME;
	}
}

static void finish(struct batch *b, int code, uint64_t index)
{
	struct consensus *c = b->consensus;
	for (struct proposal *p = b->members.first; p; p = p->next) {
		p->code = code;
		p->index = index;
	}
	b->next = NULL;
	*c->finished_tail = b;
	c->finished_tail = &b->next;
}

static void take_replies(struct batch *b, struct applied_entry *last)
{
	struct buf swap = b->replies;
	unsigned i = 0;
	b->replies = last->replies;
	last->replies = swap;
	for (struct proposal *p = b->members.first; p && i < last->n; p = p->next, i++) {
		p->reply_at = last->at[i];
		p->reply_len = last->at[i + 1] - last->at[i];
	}
}

static void apply_done(struct raft_apply *req, int status, void *result)
{
	struct batch *b = container_of(req, struct batch, req.apply);
	struct applied_entry *last = result;
	b->consensus->in_flight--;
	if (status == 0)
		take_replies(b, last);
	finish(b, code_of(status), status == 0 ? last->index : 0);
}

static void barrier_done(struct raft_barrier *req, int status)
{
	struct batch *b = container_of(req, struct batch, req.barrier);
	b->consensus->in_flight--;
	finish(b, code_of(status), status == 0 ? b->consensus->applied : 0);
}

static struct proposal *unqueue(struct consensus *c)
{
	struct proposal *p = fifo_take(&c->queue);
	c->queued--;
	c->queued_bytes -= p->len;
	return p;
}

static struct batch *batch_new(struct consensus *c)
{
	struct batch *b = calloc(1, sizeof *b);
	PRE(b);
	b->consensus = c;
	fifo_init(&b->members);
	buf_init(&b->replies);
	return b;
}

static int submit_commands(struct consensus *c, struct batch *b)
{
	unsigned n = 0;
	entry_begin(&c->entry);
	while (c->queue.first && !c->queue.first->barrier &&
	       entry_has_room(&c->entry, n, c->queue.first->len)) {
		struct proposal *p = unqueue(c);
		entry_add(&c->entry, p->bytes, p->len);
		fifo_put(&b->members, p);
		n++;
	}
	entry_seal(&c->entry);
	struct raft_buffer buf = {.base = raft_malloc(c->entry.len), .len = c->entry.len};
	PRE(buf.base);
	memcpy(buf.base, c->entry.data, c->entry.len);
	int rv = raft_apply(&c->raft, &b->req.apply, &buf, 1, apply_done);
	if (rv != 0)
		raft_free(buf.base);
	return rv;
}

/* All barriers that wait at the head of the queue share one. */
static int submit_barrier(struct consensus *c, struct batch *b)
{
	while (c->queue.first && c->queue.first->barrier)
		fifo_put(&b->members, unqueue(c));
	return raft_barrier(&c->raft, &b->req.barrier, barrier_done);
}

/* While the lead is handed over the engine takes nothing: what waits goes on here afterwards, or is refused.
 */
void propose_flush(struct consensus *c)
{
	while (c->queue.first && c->in_flight < MAX_IN_FLIGHT && !c->closing && !c->raft.transfer) {
		struct batch *b = batch_new(c);
		int rv = c->queue.first->barrier ? submit_barrier(c, b) : submit_commands(c, b);
		if (rv == 0)
			c->in_flight++;
		else
			finish(b, code_of(rv), 0);
	}
}

/* ---- back to the proposers ---- */

static void deliver(struct batch *b)
{
	while (b->members.first) {
		struct proposal *p = fifo_take(&b->members);
		const uint8_t *reply = p->reply_len > 0 ? b->replies.data + p->reply_at : NULL;
		p->done(p->arg, p->code, p->index, reply, p->reply_len);
		free(p);
	}
	buf_done(&b->replies);
	free(b);
}

/* Callbacks may propose again: that only fills the queue. */
void propose_deliver(struct consensus *c)
{
	while (c->finished) {
		struct batch *b = c->finished;
		c->finished = b->next;
		if (!c->finished)
			c->finished_tail = &c->finished;
		deliver(b);
	}
}

void propose_refuse_queue(struct consensus *c, int code)
{
	while (c->queue.first) {
		struct proposal *p = unqueue(c);
		p->done(p->arg, code, 0, NULL, 0);
		free(p);
	}
}
