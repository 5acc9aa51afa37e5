/*
 * planted.h: faults put in on purpose, so that the simulator can show that it finds them. Only in builds with
 * -DPLANTED_BUGS; every other build has none of this code.
 */
#ifndef CORE_PLANTED_H
#define CORE_PLANTED_H

enum agent_planted {
	PLANTED_JOURNAL_AFTER_EFFECT = 1, /* effects start before their record is durable */
	PLANTED_ACCEPT_LOWER_FENCE = 2,
	PLANTED_EVIDENCE_FROM_OLD = 4, /* any evidence counts, whatever it was measured of */
	PLANTED_ENDLESS_STARTS = 8,    /* starts are not counted */
	PLANTED_NO_REVERT = 16,	       /* a failed target stays where it is */
	PLANTED_FREES_GOOD = 32	       /* only what runs is kept: the rollback target's slot is freed */
};

#ifdef PLANTED_BUGS
extern unsigned agent_core_planted; /* bits of enum agent_planted; 0 at first */
#define PLANTED(bit) ((agent_core_planted & (bit)) != 0)
#else
#define PLANTED(bit) false
#endif

#endif
