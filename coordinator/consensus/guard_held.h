/*
 * guard_held.h: which entries of the engine's log are in the hands of a write or of a message under way
 * (rule 14). Private to guard.c. Loop thread only.
 */
#ifndef CONSENSUS_GUARD_HELD_H
#define CONSENSUS_GUARD_HELD_H

#include "coordinator/consensus/guard.h"

struct guard_held { /* embedded in what is under way */
	struct guard_held *next, **link;
	raft_index first, last;
	bool dropped; /* the log has let go of some of it meanwhile */
};

void guard_held_begin(struct guard *g, struct guard_held *h, raft_index first, unsigned n);
void guard_held_end(struct guard_held *h);
void guard_held_drop(struct guard *g, raft_index from); /* the log lets go of what is at or after `from` */

/* Whether the message would put into the log what it let go of while it is held. */
bool guard_held_again(const struct guard *g, const struct raft_append_entries *a);

#endif
