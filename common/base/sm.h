/*
 * sm.h: state machines as tables of allowed edges. One function per machine moves it (through
 * sm_edge_allowed), so every move is checked, recorded and documented from the same table (docs/machines.md
 * is made from them).
 */
#ifndef BASE_SM_H
#define BASE_SM_H

#include "base/base.h"

enum sm_flag { SM_INITIAL = 1, SM_TERMINAL = 2 };

struct sm_state {
	const char *name;
	unsigned flags;	  /* enum sm_flag */
	uint64_t next;	  /* bit (1 << s) for each state s that may follow */
	const char *wait; /* what it waits for, one phrase for people; NULL in terminal states */
};

/* States are numbered from 1; row 0 is unused. */
struct sm {
	const char *name;
	const struct sm_state *states;
	int nr; /* one more than the highest state */
};

#define SM_TO(s) (1ull << (s))

bool sm_edge_allowed(const struct sm *m, int from, int to);
bool sm_terminal(const struct sm *m, int state);
const char *sm_name(const struct sm *m, int state); /* "?" for a number that is no state */
/* Every state reachable from an initial one, every non-terminal one with an exit, no terminal one with any.
 */
bool sm_well_formed(const struct sm *m);

#endif
