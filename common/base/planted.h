/*
 * planted.h: faults put into the coordinator's pure half on purpose, so that the simulator can show that it
 * finds them (tests/sim, `--plant`). Only in builds with -DPLANTED_BUGS; every other build has none of this
 * code.
 */
#ifndef BASE_PLANTED_H
#define BASE_PLANTED_H

#include "base/base.h"

enum planted_bug {
	BUG_FLOOR_OFF_BY_ONE = 1 << 0,
	BUG_WAVE_ORDER = 1 << 1,
	BUG_BUDGET_ROUNDED_UP = 1 << 2,
	BUG_FORGOTTEN_DEADLINE = 1 << 3,
	BUG_DOUBLE_DISPATCH = 1 << 4, /* a host in hand is assigned again after a restart */
	BUG_EVIDENCE_UNCHECKED = 1 << 5,
	BUG_NO_BARRIER = 1 << 6, /* recreate: hosts are started without waiting for the others to stop */
	BUG_ORDERS_FORGOTTEN = 1 << 7, /* only this rollout's own tasks count as in hand */
	BUG_WAVES_APART = 1 << 8,      /* each wave spends the whole allowance */
	BUG_SILENT_FREE = 1 << 9,      /* who is silent costs nothing */
};

#ifdef PLANTED_BUGS
extern unsigned planted_bugs; /* bits of enum planted_bug; 0 at first */
#define BUG(b) ((planted_bugs & (b)) != 0)
#else
#define BUG(b) false
#endif

#endif
