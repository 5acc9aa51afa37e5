/*
 * guard_members.h: the rules of the guard about who belongs to the cluster: 8, 11, 12 and 13. Private to
 * guard.c. Loop thread only; running out of memory and a damaged membership record go to hooks.fatal().
 */
#ifndef CONSENSUS_GUARD_MEMBERS_H
#define CONSENSUS_GUARD_MEMBERS_H

#include "coordinator/consensus/guard.h"

static inline bool guard_on(const struct guard *g, int rule)
{
	return (g->off & GUARD_RULE(rule)) == 0;
}

/* The engine's log, read only. The term is 0 when the entry is not known any more, or not yet. */
raft_index guard_log_last(const struct raft_log *l);
raft_term guard_log_term(const struct raft_log *l, raft_index index);

/* Rule 8. What was put into the log, or came with a snapshot: kept for later. */
void guard_members_remember_entry(struct guard *g, raft_index index, const struct raft_entry *e);
void guard_members_remember_snapshot(struct guard *g, const struct raft_snapshot *s);
/* Before the engine sees entries that contradict its log. */
void guard_members_roll_back(struct guard *g, const struct raft_append_entries *a);
/* Before a snapshot of our own is written. True when *s now owns a configuration that the caller must close.
 */
bool guard_members_correct_snapshot(struct guard *g, struct raft_snapshot *s);
void guard_members_installed(struct guard *g);	      /* a snapshot of the leader replaced the log */
void guard_members_mark_uncommitted(struct guard *g); /* after the start */
void guard_members_mark_committed(struct guard *g);   /* after each event */

/* Rule 11, after each event. */
void guard_members_lead_in_a_new_term(struct guard *g);

/* Rule 12. How many of the entries in *a the server `to` may be sent now. */
unsigned guard_members_may_send(struct guard *g, raft_id to, const struct raft_append_entries *a);

/* Rule 13. Around the engine's handling of a request for a vote: give back what lend returned. */
struct guard_loan {
	bool lent;
	int role;	/* of this server, as configured */
	raft_id leader; /* whom the engine takes for its leader */
};
struct guard_loan guard_members_lend_vote(struct guard *g);
void guard_members_give_back(struct guard *g, const struct guard_loan *loan);

#endif
