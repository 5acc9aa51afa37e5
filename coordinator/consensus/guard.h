/*
 * guard.h: what makes libraft 0.15.0 safe. It sits between the engine and its I/O (`struct raft_io`) and
 * corrects what passes. Each rule closes defects that were reproduced in simulation (the list S1, S2, ... at
 * the top of guard.c).
 *
 * Use: raft_init(), then guard_install(), then raft_bootstrap()/raft_start(). It owns raft->data. Loop thread
 * only.
 */
#ifndef CONSENSUS_GUARD_H
#define CONSENSUS_GUARD_H

#include <raft.h>

#include "base/base.h"

#define GUARD_RULE(n) (1u << (n)) /* n is 1..15 */

struct guard_held; /* entries in the hands of a write or a message */
struct guard_conf; /* one configuration of the log or of a snapshot */

struct guard_hooks {
	void *arg;
	/* Storage failed or the log is damaged; must not return. */
	void (*fatal)(void *arg, const char *text);
	/* What was found on disk, before any of it is applied. May be NULL. */
	void (*loaded)(void *arg, raft_index last_index);
	/* After each event handled by the engine. May be NULL. */
	void (*turned)(void *arg);
};

struct guard {
	struct raft *raft;
	struct raft_io inner; /* the vtable before ours */
	struct guard_hooks hooks;
	unsigned off; /* bit mask of GUARD_RULE()s switched off: only for the simulation */
	raft_io_tick_cb tick;
	raft_io_recv_cb recv;
	raft_term barrier_term; /* the term whose first barrier is proposed (rule 1) */
	raft_term term;		/* the last one written */
	raft_term stood;	/* the last one in which this node voted for itself (rule 11) */
	unsigned appends;	/* appends in flight */
	unsigned installs;	/* snapshot installs in flight */
	raft_index cap;		/* highest index that the answer of now may claim (rule 3) */
	bool capped, swallow;	/* whether `cap` holds; whether the answer of now is dropped (rule 4) */
	bool started, closing;
	struct {
		raft_id leader;
		raft_term term; /* 0: none */
		raft_index index;
	} ignored;		  /* a snapshot of the leader that the engine let fall (rule 15) */
	struct guard_held *held;  /* rule 14 */
	struct guard_conf *confs; /* ascending by index */
	unsigned n_confs, cap_confs;
};

void guard_install(struct guard *g, struct raft *r, const struct guard_hooks *hooks, unsigned rules_off);
void guard_started(struct guard *g); /* right after raft_start() returned 0 */
void guard_closing(
	struct guard *g);	  /* right before raft_close(): cancelled writes are no failures any more */
void guard_done(struct guard *g); /* after the engine is closed */

/*
 * Whether raft_add(), raft_assign() and raft_remove() may be called now: this node leads, has committed an
 * entry of its own term, and no change is under way. The engine does not ask for the second, without which
 * the changes of two leaders could have majorities that do not meet. Whoever changes members must ask this
 * first.
 */
bool guard_may_change_members(const struct guard *g);

#endif
