/*
 * spread.h: the order inside a wave, D2: "spread over racks". Next is a host of the zone with the fewest
 * hosts in hand, among those of the one with the fewest taken so far, among those of the one whose host
 * stands first in the plan. So a batch is spread over the zones, and one host at a time goes round them. A
 * host without a zone stands in the zone that is its region. Deterministic: committed rows in, an order out.
 */
#ifndef PLAN_SPREAD_H
#define PLAN_SPREAD_H

#include "coordinator/plan/plan.h"

struct spread_zone;

struct spread {
	const struct view *v;
	struct spread_zone *zones;
	uint32_t nr;
	uint32_t *order;	  /* tasks of the wave, zone by zone */
	struct spread_zone *last; /* that spread_next took from */
};

typedef bool spread_wants_fn(void *arg, uint32_t task);

/* Tasks [first, end) of the view are one wave. */
void spread_init(struct spread *sp, struct arena *a, const struct view *v, uint32_t first, uint32_t end);
/* From the beginning again; what was taken stays counted. */
void spread_rewind(struct spread *sp);
/* The next task that `wants` says true of; each is given once. False: there is none left. */
bool spread_next(struct spread *sp, spread_wants_fn *wants, void *arg, uint32_t *task);
/* The task that spread_next gave last is taken in hand. */
void spread_took(struct spread *sp);

#endif
