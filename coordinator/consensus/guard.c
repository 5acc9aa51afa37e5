/*
 * The defects of libraft 0.15.0 that the rules close:
 *   S1 a follower claims its whole stored length      S2 and commits up to it
 *   S3 entries of old terms committed by counting     S4 an answer goes to the leader of another term
 *   S5 a failed write keeps the leadership            S6 a pre-vote rejection carries the requester's term
 *   S7 back-off one index per heartbeat               S8 a follower compacted past prev rejects for ever
 *   S9 uncommitted configurations taken for committed S10 a snapshot that comes while ours is written is lost
 *   S11 unpadded entries decoded wrong
 *   S14 a write whose submission fails in the callback of the one before is forgotten: its callback never
 * comes
 *   S15 the only voter leads without a new term       S16 a demoted server's longer log blocks the others
 *   S17 a server without a vote refuses it for ever   S18 an entry dropped and appended again while it is
 * held is freed while in use
 */
#include "coordinator/consensus/guard.h"

#include <stdlib.h>

#include "coordinator/consensus/guard_conf.h"
#include "coordinator/consensus/guard_held.h"
#include "coordinator/consensus/guard_members.h"

struct guarded_append {
	struct raft_io_append req;
	struct guard *guard;
	struct raft_io_append *theirs;
	raft_io_append_cb cb;
	raft_term term;
	struct guard_held held;
};

struct guarded_send { /* of entries */
	struct raft_io_send req;
	struct raft_io_send *theirs;
	raft_io_send_cb cb;
	struct guard_held held;
};

struct guarded_put {
	struct raft_io_snapshot_put req;
	struct guard *guard;
	struct raft_io_snapshot_put *theirs;
	raft_io_snapshot_put_cb cb;
	struct raft_snapshot snapshot; /* shallow, but for a corrected configuration */
	bool install, own_conf;
};

static struct guard *guard_of(struct raft_io *io)
{
	struct raft *r = io->data;
	return r->data;
}

static void drop_entries(struct raft_append_entries *a)
{
	void *last = NULL;
	for (unsigned i = 0; i < a->n_entries; i++) {
		if (a->entries[i].batch != last)
			raft_free(a->entries[i].batch);
		last = a->entries[i].batch;
	}
	if (a->entries)
		raft_free(a->entries);
	a->entries = NULL;
	a->n_entries = 0;
}

static void drop_message(struct raft_message *m)
{
	if (m->type == RAFT_IO_APPEND_ENTRIES)
		drop_entries(&m->append_entries);
	if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
		raft_configuration_close(&m->install_snapshot.conf);
		raft_free(m->install_snapshot.data.base);
	}
}

/* ---- rule 1 ---- */

static void barrier_done(struct raft_barrier *req, int status)
{
	raft_free(req);
}

/* Rule 1 (S3): a new leader proposes a barrier at once: only an entry of its own term lets older ones commit.
 */
static void rule_1_barrier_at_start_of_term(struct guard *g)
{
	struct raft *r = g->raft;
	if (!guard_on(g, 1) || g->closing || r->state != RAFT_LEADER || g->barrier_term == r->current_term)
		return;
	struct raft_barrier *req = raft_malloc(sizeof *req);
	if (!req)
		return;
	if (raft_barrier(r, req, barrier_done) == 0)
		g->barrier_term = r->current_term;
	else
		raft_free(req);
}

/* ---- rule 2 ---- */

/*
 * Rule 2 (S3): successes count only once what this leader stored ends in its own term; before that they are
 * no more than a sign of life, or a leader with a slow disk would think itself alone. Rejections always pass.
 */
static void rule_2_count_later(struct guard *g, struct raft_message *m)
{
	const struct raft *r = g->raft;
	if (guard_on(g, 2) && m->type == RAFT_IO_APPEND_ENTRIES_RESULT && r->state == RAFT_LEADER &&
	    m->append_entries_result.term == r->current_term && m->append_entries_result.rejected == 0 &&
	    guard_log_term(&r->log, r->last_stored) != r->current_term)
		m->append_entries_result.last_log_index = 0;
}

/* ---- rule 3 ---- */

/* Rule 3 (S1, S2): neither commit nor acknowledge beyond what this message proved to be the leader's. */
static void rule_3_cap_incoming(struct guard *g, struct raft_append_entries *a)
{
	if (!guard_on(g, 3))
		return;
	g->cap = a->prev_log_index + a->n_entries;
	g->capped = true;
	if (a->leader_commit > g->cap)
		a->leader_commit = g->cap;
}

static void rule_3_cap_answer(const struct guard *g, struct raft_append_entries_result *res)
{
	if (g->capped && res->rejected == 0 && res->last_log_index > g->cap)
		res->last_log_index = g->cap;
}

/* ---- rule 4 ---- */

/* Rule 4 (S4): a write that completes in another term, or without a leader, has nobody to answer to. */
static bool rule_4_nobody_to_answer(const struct guard *g, raft_term submitted)
{
	const struct raft *r = g->raft;
	if (!guard_on(g, 4))
		return false;
	return r->current_term != submitted ||
	       (r->state == RAFT_FOLLOWER && r->follower_state.current_leader.address == NULL);
}

/* ---- rule 5 ---- */

/* Rule 5 (S5): after a failed write memory and disk disagree; stop before anything false is said. */
static void rule_5_storage_failed(struct guard *g, const char *what, int rv)
{
	if (rv == 0 || g->closing || !guard_on(g, 5))
		return;
	char text[512];
	snprintf(text, sizeof text,
		 "cannot write the log: %s: %s (%s). Nothing unwritten was acknowledged. Free or repair the "
		 "disk, then start again",
		 what, raft_strerror(rv), g->raft->io->errmsg);
	g->hooks.fatal(g->hooks.arg, text);
}

/*
 * Rule 5 (S14): the engine's I/O keeps such a failure to itself, but for its message. Once it runs, nothing
 * but a failed write of the log sets that; without this the process would neither answer nor end.
 */
static void rule_5_storage_failed_silently(struct guard *g)
{
	if (g->started && g->raft->io->errmsg[0] != '\0')
		rule_5_storage_failed(g, "write", RAFT_IOERR);
}

/* ---- rule 6 ---- */

static bool busy_writing(const struct guard *g)
{
	return g->appends > 0 || g->installs > 0;
}

/* Rule 6: a follower whose writes are under way hears its leader; it must not stand for election meanwhile.
 */
static void rule_6_hold_election(struct guard *g)
{
	struct raft *r = g->raft;
	if (guard_on(g, 6) && r->state == RAFT_FOLLOWER && busy_writing(g))
		r->election_timer_start = r->io->time(r->io);
}

static bool rule_6_ignore_timeout_now(const struct guard *g, const struct raft_message *m)
{
	return guard_on(g, 6) && m->type == RAFT_IO_TIMEOUT_NOW && busy_writing(g);
}

/* ---- rule 7 ---- */

/* Rule 7 (S6, S7): rejections tell what the other side needs: our term, and where our logs surely agree. */
static void rule_7_helpful_rejections(const struct guard *g, struct raft_message *m)
{
	if (!guard_on(g, 7))
		return;
	if (m->type == RAFT_IO_REQUEST_VOTE_RESULT && !m->request_vote_result.vote_granted &&
	    m->request_vote_result.pre_vote == raft_tribool_true)
		m->request_vote_result.term = g->raft->current_term;
	if (m->type == RAFT_IO_APPEND_ENTRIES_RESULT && m->append_entries_result.rejected > 0)
		m->append_entries_result.last_log_index = g->raft->commit_index;
}

/*
 * Rule 7 (S8): entries before our compacted log are committed, here and at any leader. The engine would
 * reject them for ever, or append them at the wrong place: take the message as a heartbeat at our commit
 * index.
 */
static void rule_7_before_compacted(struct guard *g, struct raft_append_entries *a)
{
	const struct raft *r = g->raft;
	const struct raft_log *l = &r->log;
	if (!guard_on(g, 7) || a->term < r->current_term || l->snapshot.last_index == 0 || g->installs > 0)
		return;
	if (a->prev_log_index >= l->snapshot.last_index || guard_log_term(l, a->prev_log_index) != 0)
		return;
	raft_term term = guard_log_term(l, r->commit_index);
	if (term == 0)
		return;
	drop_entries(a);
	a->prev_log_index = r->commit_index;
	a->prev_log_term = term;
}

/* ---- rule 9 ---- */

static const struct raft_server *server_by_id(const struct raft *r, raft_id id)
{
	for (unsigned i = 0; i < r->configuration.n; i++)
		if (r->configuration.servers[i].id == id)
			return &r->configuration.servers[i];
	return NULL;
}

static bool same_text(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* Rule 9: a peer speaks only for itself and from its configured address. server_id is that of the link. */
static bool rule_9_pretends(const struct guard *g, const struct raft_message *m)
{
	if (!guard_on(g, 9))
		return false;
	if (m->type == RAFT_IO_REQUEST_VOTE && m->request_vote.candidate_id != m->server_id)
		return true;
	const struct raft_server *s = server_by_id(g->raft, m->server_id);
	return s && m->server_address && !same_text(s->address, m->server_address);
}

/* ---- rule 10 ---- */

/* Rule 10 (S11): an entry whose length is no multiple of 8 would be decoded wrong by a follower that catches
 * up. */
static void rule_10_padded(struct guard *g, const struct raft_entry *e)
{
	if (guard_on(g, 10) && e->buf.len % 8 != 0)
		g->hooks.fatal(g->hooks.arg,
			       "a log entry is not padded to 8 bytes; this is a bug, please report it");
}

/* ---- rule 14 ---- */

/*
 * Rule 14 (S18): an entry that the log dropped while a write or a message still holds it must not come back
 * before that has ended: the engine counts the holders of both as one and frees memory in use. Until then the
 * message is a heartbeat; the leader will send the entries again.
 */
static void rule_14_not_again_yet(const struct guard *g, struct raft_append_entries *a)
{
	if (guard_on(g, 14) && a->n_entries > 0 && guard_held_again(g, a))
		drop_entries(a);
}

/* ---- rule 15 ---- */

static bool snapshot_under_way(const struct raft *r)
{
	return r->snapshot.pending.term != 0 || r->snapshot.put.data != NULL;
}

/*
 * Rule 15 (S10): a snapshot of the leader that comes while we write our own is let fall by the engine without
 * a word, and the leader waits for its install timeout. Note it, and refuse it once ours is done: the leader
 * sends it again at once.
 */
static void rule_15_note_ignored(struct guard *g, const struct raft_message *m)
{
	const struct raft *r = g->raft;
	const struct raft_install_snapshot *s = &m->install_snapshot;
	if (guard_on(g, 15) && snapshot_under_way(r) && g->installs == 0 && s->term >= r->current_term) {
		g->ignored.leader = m->server_id;
		g->ignored.term = s->term;
		g->ignored.index = s->last_index;
	}
}

static void refusal_sent(struct raft_io_send *req, int status)
{
	raft_free(req);
}

static void send_refusal(struct guard *g)
{
	struct raft *r = g->raft;
	struct raft_io_send *req = raft_malloc(sizeof *req);
	struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES_RESULT,
				 .server_id = r->follower_state.current_leader.id,
				 .server_address = r->follower_state.current_leader.address};
	m.append_entries_result = (struct raft_append_entries_result){
		.term = r->current_term, .rejected = g->ignored.index, .last_log_index = r->commit_index};
	if (req && g->inner.send(r->io, req, &m, refusal_sent) != 0)
		raft_free(req);
}

static void rule_15_refuse_ignored(struct guard *g)
{
	const struct raft *r = g->raft;
	if (g->ignored.term == 0 || g->closing || snapshot_under_way(r))
		return;
	if (r->state == RAFT_FOLLOWER && r->current_term == g->ignored.term &&
	    r->follower_state.current_leader.id == g->ignored.leader &&
	    r->follower_state.current_leader.address)
		send_refusal(g);
	g->ignored.term = 0;
}

/* ---- the vtable ---- */

static void after_event(struct guard *g)
{
	guard_members_mark_committed(g);
	guard_members_lead_in_a_new_term(g);
	rule_1_barrier_at_start_of_term(g);
	rule_15_refuse_ignored(g);
	if (g->hooks.turned)
		g->hooks.turned(g->hooks.arg);
}

static void on_tick(struct raft_io *io)
{
	struct guard *g = guard_of(io);
	rule_5_storage_failed_silently(g);
	rule_6_hold_election(g);
	g->tick(io);
	after_event(g);
}

static void on_recv(struct raft_io *io, struct raft_message *m)
{
	struct guard *g = guard_of(io);
	if (rule_9_pretends(g, m) || rule_6_ignore_timeout_now(g, m)) {
		drop_message(m);
		return;
	}
	rule_2_count_later(g, m);
	if (m->type == RAFT_IO_APPEND_ENTRIES) {
		rule_14_not_again_yet(g, &m->append_entries);
		rule_7_before_compacted(g, &m->append_entries);
		guard_members_roll_back(g, &m->append_entries);
		rule_3_cap_incoming(g, &m->append_entries);
	}
	if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
		rule_15_note_ignored(g, m);
		g->cap = m->install_snapshot.last_index;
		g->capped = guard_on(g, 3);
	}
	struct guard_loan loan = {0};
	if (m->type == RAFT_IO_REQUEST_VOTE)
		loan = guard_members_lend_vote(g);
	g->recv(io, m);
	guard_members_give_back(g, &loan);
	g->capped = false;
	after_event(g);
}

static int guarded_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	struct guard *g = guard_of(io);
	g->tick = tick;
	g->recv = recv;
	return g->inner.start(io, ms, on_tick, on_recv);
}

static int guarded_load(struct raft_io *io, raft_term *term, raft_id *vote, struct raft_snapshot **snapshot,
			raft_index *start, struct raft_entry *entries[], size_t *n)
{
	struct guard *g = guard_of(io);
	int rv = g->inner.load(io, term, vote, snapshot, start, entries, n);
	if (rv != 0)
		return rv;
	guard_conf_clear(g);
	raft_index last = *n > 0 ? *start + *n - 1 : 0;
	if (*snapshot) {
		guard_members_remember_snapshot(g, *snapshot);
		if ((*snapshot)->index > last)
			last = (*snapshot)->index;
	}
	for (size_t i = 0; i < *n; i++)
		guard_members_remember_entry(g, *start + i, &(*entries)[i]);
	if (g->hooks.loaded)
		g->hooks.loaded(g->hooks.arg, last);
	return 0;
}

static void entries_sent(struct raft_io_send *req, int status)
{
	struct guarded_send *s = req->data;
	guard_held_end(&s->held);
	if (s->cb)
		s->cb(s->theirs, status);
	free(s);
}

static int send_entries(struct guard *g, struct raft_io_send *req, struct raft_message *m, raft_io_send_cb cb)
{
	struct guarded_send *s = calloc(1, sizeof *s);
	if (!s)
		return RAFT_NOMEM;
	*s = (struct guarded_send){.req.data = s, .theirs = req, .cb = cb};
	guard_held_begin(g, &s->held, m->append_entries.prev_log_index + 1, m->append_entries.n_entries);
	m->append_entries.n_entries = guard_members_may_send(g, m->server_id, &m->append_entries);
	int rv = g->inner.send(g->raft->io, &s->req, m, entries_sent);
	if (rv != 0) {
		guard_held_end(&s->held);
		free(s);
	}
	return rv;
}

static int guarded_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *m,
			raft_io_send_cb cb)
{
	struct guard *g = guard_of(io);
	struct raft_message copy = *m;
	if (m->type == RAFT_IO_APPEND_ENTRIES && m->append_entries.n_entries > 0)
		return send_entries(g, req, &copy, cb);
	if (m->type == RAFT_IO_APPEND_ENTRIES_RESULT) {
		if (g->swallow)
			return RAFT_NOCONNECTION;
		rule_3_cap_answer(g, &copy.append_entries_result);
	}
	rule_7_helpful_rejections(g, &copy);
	return g->inner.send(io, req, &copy, cb);
}

static void append_done(struct raft_io_append *req, int status)
{
	struct guarded_append *a = req->data;
	struct guard *g = a->guard;
	g->appends--;
	guard_held_end(&a->held);
	rule_5_storage_failed(g, "append", status);
	g->swallow = rule_4_nobody_to_answer(g, a->term);
	g->cap = a->held.last;
	g->capped = guard_on(g, 3);
	a->cb(a->theirs, status);
	g->swallow = g->capped = false;
	free(a);
	after_event(g);
}

static int guarded_append(struct raft_io *io, struct raft_io_append *req, const struct raft_entry entries[],
			  unsigned n, raft_io_append_cb cb)
{
	struct guard *g = guard_of(io);
	raft_index last = guard_log_last(&g->raft->log);
	for (unsigned i = 0; i < n; i++) {
		rule_10_padded(g, &entries[i]);
		guard_members_remember_entry(g, last - n + 1 + i, &entries[i]);
	}
	struct guarded_append *a = calloc(1, sizeof *a);
	if (!a)
		return RAFT_NOMEM;
	*a = (struct guarded_append){
		.req.data = a, .guard = g, .theirs = req, .cb = cb, .term = g->raft->current_term};
	guard_held_begin(g, &a->held, last - n + 1, n);
	int rv = g->inner.append(io, &a->req, entries, n, append_done);
	if (rv != 0) {
		guard_held_end(&a->held);
		rule_5_storage_failed(g, "append", rv);
		free(a);
		return rv;
	}
	g->appends++;
	return 0;
}

static int guarded_set_term(struct raft_io *io, raft_term term)
{
	struct guard *g = guard_of(io);
	int rv = g->inner.set_term(io, term);
	rule_5_storage_failed(g, "term", rv);
	g->term = term;
	return rv;
}

static int guarded_set_vote(struct raft_io *io, raft_id id)
{
	struct guard *g = guard_of(io);
	int rv = g->inner.set_vote(io, id);
	rule_5_storage_failed(g, "vote", rv);
	if (id == g->raft->id)
		g->stood = g->term;
	return rv;
}

static int guarded_truncate(struct raft_io *io, raft_index index)
{
	struct guard *g = guard_of(io);
	int rv = g->inner.truncate(io, index);
	rule_5_storage_failed(g, "truncate", rv);
	guard_conf_cut(g, index);
	guard_held_drop(g, index);
	return rv;
}

static void put_done(struct raft_io_snapshot_put *req, int status)
{
	struct guarded_put *p = req->data;
	struct guard *g = p->guard;
	if (p->install) {
		g->installs--;
		rule_5_storage_failed(g, "snapshot of the leader", status);
	}
	if (p->own_conf)
		raft_configuration_close(&p->snapshot.configuration);
	p->cb(p->theirs, status);
	if (p->install && status == 0)
		guard_members_installed(g);
	free(p);
	after_event(g);
}

/* The engine asks for no trailing entries only when it installs a snapshot that a leader sent. */
static int guarded_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
				const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
	struct guard *g = guard_of(io);
	struct guarded_put *p = calloc(1, sizeof *p);
	if (!p)
		return RAFT_NOMEM;
	*p = (struct guarded_put){.req.data = p,
				  .guard = g,
				  .theirs = req,
				  .cb = cb,
				  .snapshot = *snapshot,
				  .install = trailing == 0};
	p->own_conf = !p->install && guard_members_correct_snapshot(g, &p->snapshot);
	int rv = g->inner.snapshot_put(io, trailing, &p->req, &p->snapshot, put_done);
	if (rv != 0) {
		if (p->own_conf)
			raft_configuration_close(&p->snapshot.configuration);
		free(p);
		return rv;
	}
	if (p->install) {
		g->installs++;
		guard_conf_cut(g, 0);
		guard_held_drop(g, 0);
		guard_members_remember_snapshot(g, snapshot);
	}
	return 0;
}

void guard_install(struct guard *g, struct raft *r, const struct guard_hooks *hooks, unsigned rules_off)
{
	*g = (struct guard){.raft = r, .inner = *r->io, .hooks = *hooks, .off = rules_off};
	PRE(hooks->fatal);
	r->data = g;
	r->io->load = guarded_load;
	r->io->start = guarded_start;
	r->io->send = guarded_send;
	r->io->append = guarded_append;
	r->io->set_term = guarded_set_term;
	r->io->set_vote = guarded_set_vote;
	r->io->truncate = guarded_truncate;
	r->io->snapshot_put = guarded_snapshot_put;
}

void guard_started(struct guard *g)
{
	g->started = true;
	g->raft->io->errmsg[0] = '\0'; /* what was said while the log was read */
	guard_members_mark_uncommitted(g);
	after_event(g);
}

void guard_closing(struct guard *g)
{
	g->closing = true;
}

void guard_done(struct guard *g)
{
	guard_conf_clear(g);
}
