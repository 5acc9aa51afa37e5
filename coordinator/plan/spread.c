#include "coordinator/plan/spread.h"

#include <stdlib.h>

#include "coordinator/plan/step.h"

struct spread_zone {
	uint32_t first, next, end; /* its part of the order; next: not given yet */
	uint32_t in_hand, taken;
};

struct place {
	struct name zone;
	uint32_t task;
};

static int place_cmp(const void *pa, const void *pb)
{
	const struct place *a = pa, *b = pb;
	int c = name_cmp(&a->zone, &b->zone);
	return c != 0 ? c : a->task < b->task ? -1 : a->task > b->task;
}

static void count(struct spread_zone *z, const struct task *t)
{
	z->in_hand += task_in_hand(t);
	z->taken += t->touched && t->state != TASK_QUEUED;
}

void spread_init(struct spread *sp, struct arena *a, const struct view *v, uint32_t first, uint32_t end)
{
	uint32_t n = end - first;
	struct place *p = arena_array(a, struct place, n);
	*sp = (struct spread){
		.v = v, .zones = arena_array(a, struct spread_zone, n), .order = arena_array(a, uint32_t, n)};
	for (uint32_t i = 0; i < n; i++) {
		const struct host_view *h = &v->hosts[first + i];
		p[i] = (struct place){name_empty(&h->zone) ? h->region : h->zone, first + i};
	}
	qsort(p, n, sizeof *p, place_cmp);
	for (uint32_t i = 0; i < n; i++) {
		if (i == 0 || !name_eq(&p[i - 1].zone, &p[i].zone))
			sp->zones[sp->nr++] = (struct spread_zone){.first = i, .next = i};
		sp->order[i] = p[i].task;
		sp->zones[sp->nr - 1].end = i + 1;
		count(&sp->zones[sp->nr - 1], &v->tasks[p[i].task]);
	}
}

void spread_rewind(struct spread *sp)
{
	for (uint32_t i = 0; i < sp->nr; i++)
		sp->zones[i].next = sp->zones[i].first;
}

static bool goes_first(const struct spread *sp, const struct spread_zone *a, const struct spread_zone *b)
{
	if (a->in_hand != b->in_hand)
		return a->in_hand < b->in_hand;
	if (a->taken != b->taken)
		return a->taken < b->taken;
	return sp->order[a->next] < sp->order[b->next];
}

bool spread_next(struct spread *sp, spread_wants_fn *wants, void *arg, uint32_t *task)
{
	sp->last = NULL;
	for (uint32_t i = 0; i < sp->nr; i++) {
		struct spread_zone *z = &sp->zones[i];
		while (z->next < z->end && !wants(arg, sp->order[z->next]))
			z->next++;
		if (z->next < z->end && (sp->last == NULL || goes_first(sp, z, sp->last)))
			sp->last = z;
	}
	if (sp->last == NULL)
		return false;
	*task = sp->order[sp->last->next++];
	return true;
}

void spread_took(struct spread *sp)
{
	sp->last->in_hand++;
	sp->last->taken++;
}
