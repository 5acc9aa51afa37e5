/*
 * planted.h: faults that the simulator's own test switches on to show that its checks find them. A build
 * without -DPLANTED_BUGS has none of it: the macro is a constant false.
 */
#ifndef AGENT_CORE_PLANTED_H
#define AGENT_CORE_PLANTED_H

enum agent_planted {
	PLANTED_ACCEPT_LOWER_FENCE = 1 << 0,
	PLANTED_OLD_EVIDENCE = 1 << 1,
	PLANTED_EFFECT_BEFORE_JOURNAL = 1 << 2,
	PLANTED_NO_DEADLINE = 1 << 3,
	PLANTED_RETAIN_FREES_GOOD = 1 << 4,
};

#ifdef PLANTED_BUGS
extern unsigned agent_planted;
#define PLANTED(bug) ((agent_planted & (bug)) != 0)
#else
#define PLANTED(bug) false
#endif

#endif
