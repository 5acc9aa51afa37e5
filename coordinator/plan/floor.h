/*
 * floor.h: the availability floor, D2. A domain is the group (all hosts of the rollout), a zone or a region.
 * For each domain d: N(d) hosts, a(d) available, c(d) available but already commanded; f(d) = ceil(p * N(d)).
 * Commanded is who is in hand of this rollout, or holds an order of any other that it has not answered.
 * Taking one more available host out is legal iff a(d) - c(d) - 1 >= f(d) in each of its domains. A host that
 * says that it is down costs nothing, nor does one that is commanded already and is now told something else.
 * One that is silent may be serving all the same, and all that are cut off come back together: it may be
 * taken iff N(d) - those whose last word is that they are down - all commanded >= f(d), itself counted.
 */
#ifndef PLAN_FLOOR_H
#define PLAN_FLOOR_H

#include "coordinator/plan/plan.h"

enum domain_kind { DOMAIN_GROUP = 1, DOMAIN_ZONE, DOMAIN_REGION };

struct domain {
	enum domain_kind kind;
	struct name name; /* empty for the group */
	uint32_t hosts, down, available, commanded, floor;
	uint32_t silent_commanded; /* commanded, and nobody knows whether it is available */
};

struct floors {
	struct domain *v;
	size_t nr;
	uint32_t *of;  /* tasks_nr x 3: the domains of each task */
	bool *in_hand; /* tasks_nr: counted as commanded already */
};

/* ceil(p * n / 1000) */
uint32_t floor_of(permille p, uint32_t n);

void floors_init(struct floors *f, struct arena *a, const struct task *tasks, const struct host_view *hosts,
		 size_t nr, permille p);
/* Task i can be taken and nobody is out because of it: it is down, or in hand and heard. */
bool floors_free(const struct floors *f, const struct host_view *hosts, size_t i);
/* The domain that forbids taking out task i now, or NULL. */
const struct domain *floors_forbids(const struct floors *f, const struct host_view *hosts, size_t i);
/* Task i is taken out: counts it as commanded in its domains. */
void floors_take(struct floors *f, const struct host_view *hosts, size_t i);
/* Why d forbids task i: "zone eu-a: 3 available - 1 in hand - 1 is under the floor of 3 (75.0% of 4 hosts)"
 */
const char *floors_text(const struct floors *f, const struct domain *d, permille p,
			const struct host_view *hosts, size_t i, struct arena *a);

#endif
