/*
 * replica.c: the fold behind consensus. Each turn of the loop applies what was committed, commits the store
 * once, and only then are proposers and drive told. A command that cannot be followed stops the process: to
 * go on would be to diverge.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/adapters/store_lmdb.h"
#include "coordinator/daemon.h"
#include "sys/log.h"

static _Noreturn void cannot_follow(uint64_t index, int rc)
{
	log_error("state",
		  "entry %llu of the log cannot be applied (%s): this build is older than the one that wrote "
		  "it, or the log is "
		  "damaged; install the newer build, or restore a snapshot",
		  (unsigned long long)index, err_text(rc));
	_exit(70);
}

static struct change copy_change(struct daemon *d, const struct change *c)
{
	struct change out = *c;
	out.reason = c->reason == NULL ? NULL : arena_strdup(&d->news_arena, c->reason);
	return out;
}

static void keep_news(struct daemon *d, const struct changes *ch)
{
	if (ch->nr == 0)
		return;
	if (d->news_nr == d->news_cap) {
		d->news_cap = d->news_cap == 0 ? 16 : 2 * d->news_cap;
		d->news = realloc(d->news, d->news_cap * sizeof *d->news);
		PRE(d->news != NULL);
	}
	struct changes *n = &d->news[d->news_nr++];
	n->nr = ch->nr;
	n->v = arena_array(&d->news_arena, struct change, ch->nr);
	for (size_t i = 0; i < ch->nr; i++)
		n->v[i] = copy_change(d, &ch->v[i]);
}

static void apply_cb(void *arg, uint64_t index, uint32_t sub, const void *cmd, size_t n, struct buf *out)
{
	struct daemon *d = arg;
	struct command_reply reply;
	struct changes ch;
	uint64_t since = uv_hrtime();
	int rc = state_apply(d->state, &d->arena, index, sub, cmd, n, &reply, &ch);
	if (rc != E_OK)
		cannot_follow(index, rc);
	command_reply_encode(out, &reply);
	keep_news(d, &ch);
	arena_reset(&d->arena);
	looptime_ran(&d->looptime, "apply", since);
}

static void commit_cb(void *arg, uint64_t index)
{
	struct daemon *d = arg;
	uint64_t since = uv_hrtime();
	d->store->ops->commit(d->store);
	looptime_ran(&d->looptime, "commit", since);
	daemon_soon(d);
}

static uint64_t applied_cb(void *arg)
{
	struct daemon *d = arg;
	return state_applied(d->state);
}

static void reset_cb(void *arg)
{
	struct daemon *d = arg;
	PRE(state_restore(d->state, NULL, 0) == E_OK);
	d->store->ops->commit(d->store);
}

static int snap_begin_cb(void *arg, void **h)
{
	struct daemon *d = arg;
	d->store->ops->commit(d->store);
	return store_lmdb_snap_begin(d->store, h);
}

static int snap_write_cb(void *h, struct buf *out)
{
	return store_lmdb_snap_write(h, out);
}

static void snap_end_cb(void *h)
{
	store_lmdb_snap_end(h);
}

static int restore_cb(void *arg, uint64_t index, const void *p, size_t n)
{
	struct daemon *d = arg;
	int rc = state_restore(d->state, p, n);
	if (rc == E_OK)
		d->store->ops->commit(d->store);
	return rc;
}

const struct consensus_fsm *replica_table(void)
{
	static const struct consensus_fsm table = {.apply = apply_cb,
						   .commit = commit_cb,
						   .applied = applied_cb,
						   .reset = reset_cb,
						   .snap_begin = snap_begin_cb,
						   .snap_write = snap_write_cb,
						   .snap_end = snap_end_cb,
						   .restore = restore_cb};
	return &table;
}

void replica_tell(struct daemon *d)
{
	uint64_t since = uv_hrtime();
	/* Before there is a drive these are entries replayed at the start: nobody waits for them. */
	for (size_t i = 0; i < d->news_nr && d->drive != NULL; i++) {
		drive_changed(d->drive, &d->news[i], daemon_now(d));
		copies_changed(d, &d->news[i]);
	}
	d->news_nr = 0;
	arena_reset(&d->news_arena);
	looptime_ran(&d->looptime, "changes", since);
}

void replica_done(struct daemon *d)
{
	free(d->news);
	arena_done(&d->news_arena);
	arena_done(&d->arena);
}
