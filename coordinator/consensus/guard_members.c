#include "coordinator/consensus/guard_members.h"

#include "coordinator/consensus/guard_conf.h"

/* ---- the engine's log, read only ---- */

static raft_index log_count(const struct raft_log *l)
{
	return l->front <= l->back ? l->back - l->front : l->size - l->front + l->back;
}

raft_index guard_log_last(const struct raft_log *l)
{
	return l->offset + log_count(l);
}

raft_term guard_log_term(const struct raft_log *l, raft_index index)
{
	if (index != 0 && index == l->snapshot.last_index)
		return l->snapshot.last_term;
	if (index <= l->offset || index > guard_log_last(l))
		return 0;
	return l->entries[(l->front + (index - 1 - l->offset)) % l->size].term;
}

/* ---- rule 8 ---- */

/* The first index at which the message contradicts our log; 0 when it does not. */
static raft_index first_conflict(const struct guard *g, const struct raft_append_entries *a)
{
	for (unsigned i = 0; i < a->n_entries; i++) {
		raft_index index = a->prev_log_index + 1 + i;
		raft_term ours = guard_log_term(&g->raft->log, index);
		if (ours != 0 && ours != a->entries[i].term)
			return index;
	}
	return 0;
}

static void replace_configuration(struct guard *g, const struct guard_conf *c)
{
	struct raft *r = g->raft;
	struct raft_configuration conf;
	raft_configuration_init(&conf);
	if (guard_conf_decode(c, &conf) != 0)
		g->hooks.fatal(g->hooks.arg, "the log holds a damaged membership record; restore this node");
	raft_configuration_close(&r->configuration);
	r->configuration = conf;
	r->configuration_index = c->index;
	r->configuration_uncommitted_index = 0;
}

/* Rule 8 (S9): roll back from our copy before the engine looks for an entry that may be compacted. */
void guard_members_roll_back(struct guard *g, const struct raft_append_entries *a)
{
	struct raft *r = g->raft;
	if (!guard_on(g, 8) || a->term < r->current_term || r->configuration_uncommitted_index == 0)
		return;
	if (guard_log_term(&r->log, a->prev_log_index) != a->prev_log_term && a->prev_log_index != 0)
		return; /* will be rejected */
	raft_index conflict = first_conflict(g, a);
	if (conflict == 0 || r->configuration_uncommitted_index < conflict)
		return;
	const struct guard_conf *c = guard_conf_upto(g, conflict - 1);
	if (c)
		replace_configuration(g, c);
}

/* Rule 8 (S9): a snapshot holds the last committed configuration, whatever the engine put there. */
bool guard_members_correct_snapshot(struct guard *g, struct raft_snapshot *s)
{
	const struct guard_conf *c = guard_conf_upto(g, s->index);
	if (!guard_on(g, 8) || !c || c->index == s->configuration_index)
		return false;
	struct raft_configuration conf;
	raft_configuration_init(&conf);
	if (guard_conf_decode(c, &conf) != 0)
		g->hooks.fatal(g->hooks.arg, "the log holds a damaged membership record; restore this node");
	s->configuration = conf;
	s->configuration_index = c->index;
	return true;
}

/* Rule 8 (S9): what was uncommitted went with the log; the engine keeps its index. */
void guard_members_installed(struct guard *g)
{
	if (guard_on(g, 8))
		g->raft->configuration_uncommitted_index = 0;
}

/*
 * Rule 8 (S9): after a start a configuration above the commit index is not committed, though the engine says
 * so.
 */
void guard_members_mark_uncommitted(struct guard *g)
{
	struct raft *r = g->raft;
	if (!guard_on(g, 8) || r->configuration_uncommitted_index != 0 ||
	    r->configuration_index <= r->commit_index)
		return;
	const struct guard_conf *c = guard_conf_upto(g, r->commit_index);
	if (!c)
		return; /* the first configuration of all: bootstrap */
	r->configuration_uncommitted_index = r->configuration_index;
	r->configuration_index = c->index;
}

void guard_members_mark_committed(struct guard *g)
{
	struct raft *r = g->raft;
	if (!guard_on(g, 8) || r->configuration_uncommitted_index == 0 ||
	    r->configuration_uncommitted_index > r->last_applied)
		return;
	r->configuration_index = r->configuration_uncommitted_index;
	r->configuration_uncommitted_index = 0;
}

void guard_members_remember_entry(struct guard *g, raft_index index, const struct raft_entry *e)
{
	if (e->type == RAFT_CHANGE && !guard_conf_put(g, index, e->buf.base, e->buf.len))
		g->hooks.fatal(g->hooks.arg, "out of memory while recording a membership change");
}

void guard_members_remember_snapshot(struct guard *g, const struct raft_snapshot *s)
{
	if (!guard_conf_put_decoded(g, s->configuration_index, &s->configuration))
		g->hooks.fatal(g->hooks.arg, "out of memory while recording the membership of a snapshot");
}

bool guard_may_change_members(const struct guard *g)
{
	const struct raft *r = g->raft;
	return r->state == RAFT_LEADER && !r->transfer && r->configuration_uncommitted_index == 0 &&
	       r->leader_state.promotee_id == 0 &&
	       guard_log_term(&r->log, r->commit_index) == r->current_term;
}

/* ---- rule 11 ---- */

/*
 * Rule 11 (S15): who leads without having stood for election in this term is the only voter, which the engine
 * lets lead in the term it finds. That term may be its own from before a crash: entries that it had sent but
 * not kept would get second contents at the same index and term. Nothing was sent or written yet: begin a
 * term.
 */
void guard_members_lead_in_a_new_term(struct guard *g)
{
	struct raft *r = g->raft;
	if (!guard_on(g, 11) || g->closing || r->state != RAFT_LEADER || g->stood == r->current_term)
		return;
	if (r->io->set_term(r->io, r->current_term + 1) != 0 || r->io->set_vote(r->io, r->id) != 0)
		return;
	r->current_term++;
	r->voted_for = r->id;
}

/* ---- rule 12 ---- */

static bool votes_in(struct guard *g, const struct guard_conf *c, raft_id id)
{
	struct raft_configuration conf;
	bool votes = false;
	raft_configuration_init(&conf);
	if (guard_conf_decode(c, &conf) != 0)
		g->hooks.fatal(g->hooks.arg, "the log holds a damaged membership record; restore this node");
	for (unsigned i = 0; i < conf.n; i++)
		votes |= conf.servers[i].id == id && conf.servers[i].role == RAFT_VOTER;
	raft_configuration_close(&conf);
	return votes;
}

/*
 * Whether the newest change of all, which is at `index`, takes the vote of `id` away. Each older one was
 * committed before the next was made, though a leader after a restart may not know it.
 */
static bool newest_demotes(struct guard *g, raft_index index, raft_id id)
{
	const struct guard_conf *now = guard_conf_upto(g, UINT64_MAX);
	const struct guard_conf *before = guard_conf_upto(g, index - 1);
	return now && now->index == index && before && votes_in(g, before, id) && !votes_in(g, now, id);
}

/*
 * Rule 12 (S16): who is demoted and holds the change neither stands for election nor votes for a shorter log
 * than its own. When the leader has lost the change in a crash, or is gone, the others may need exactly that.
 * So a change is sent only once the leader's own disk has it, and to the one it demotes only once it is
 * committed. What comes after it waits with it; the engine sees a rejection or a short answer and sends it
 * again.
 */
unsigned guard_members_may_send(struct guard *g, raft_id to, const struct raft_append_entries *a)
{
	const struct raft *r = g->raft;
	if (!guard_on(g, 12))
		return a->n_entries;
	for (unsigned i = 0; i < a->n_entries; i++) {
		raft_index index = a->prev_log_index + 1 + i;
		if (a->entries[i].type == RAFT_CHANGE && index > r->commit_index &&
		    (index > r->last_stored || newest_demotes(g, index, to)))
			return i;
	}
	return a->n_entries;
}

/* ---- rule 13 ---- */

static struct raft_server *this_server(struct raft *r)
{
	for (unsigned i = 0; i < r->configuration.n; i++)
		if (r->configuration.servers[i].id == r->id)
			return &r->configuration.servers[i];
	return NULL;
}

/*
 * Rule 13 (S17): a server votes whatever its own configuration says of it, as the Raft paper has it: the
 * candidate's says whose votes count. The only voter, restarted after it wrote the change that makes a second
 * one, needs the vote of that second one, which has not heard of the change yet. The engine refuses that: to
 * a server without a vote, and for the sake of a leader whom such a server, which never stands for election,
 * would remember for ever.
 */
struct guard_loan guard_members_lend_vote(struct guard *g)
{
	struct raft *r = g->raft;
	struct raft_server *s = this_server(r);
	struct guard_loan loan = {0};
	if (!guard_on(g, 13) || !s || s->role == RAFT_VOTER || r->state != RAFT_FOLLOWER)
		return loan;
	loan = (struct guard_loan){
		.lent = true, .role = s->role, .leader = r->follower_state.current_leader.id};
	s->role = RAFT_VOTER;
	if (r->io->time(r->io) - r->election_timer_start >= r->election_timeout)
		r->follower_state.current_leader.id = 0;
	return loan;
}

void guard_members_give_back(struct guard *g, const struct guard_loan *loan)
{
	struct raft *r = g->raft;
	if (!loan->lent)
		return;
	this_server(r)->role = loan->role;
	if (r->state == RAFT_FOLLOWER)
		r->follower_state.current_leader.id = loan->leader;
}
