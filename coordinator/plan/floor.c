#include "coordinator/plan/floor.h"

#include <stdlib.h>
#include <string.h>

#include "base/planted.h"
#include "coordinator/plan/step.h"

enum { KINDS = 3 };

uint32_t floor_of(permille p, uint32_t n)
{
	return (uint32_t)(((uint64_t)p * n + 999) / 1000);
}

static bool counts(const struct task *t)
{
	return t->state != TASK_SKIPPED;
}

static struct name domain_name(enum domain_kind kind, const struct host_view *h)
{
	if (kind == DOMAIN_GROUP)
		return (struct name){{0}};
	return kind == DOMAIN_ZONE && !name_empty(&h->zone) ? h->zone : h->region;
}

/* Zones of the same name in two regions are two zones; they are told apart by their region's own place in the
 * list. */
struct place {
	struct name region, name;
	size_t task;
};

static int place_cmp(const void *pa, const void *pb)
{
	const struct place *a = pa, *b = pb;
	int c = name_cmp(&a->region, &b->region);
	return c != 0 ? c : name_cmp(&a->name, &b->name);
}

static bool same_place(const struct place *a, const struct place *b)
{
	return place_cmp(a, b) == 0;
}

static void add_domains(struct floors *f, struct arena *a, enum domain_kind kind,
			const struct host_view *hosts, size_t nr)
{
	struct place *p = arena_array(a, struct place, nr);
	for (size_t i = 0; i < nr; i++) {
		p[i].task = i;
		p[i].name = domain_name(kind, &hosts[i]);
		if (kind != DOMAIN_GROUP)
			p[i].region = hosts[i].region;
	}
	qsort(p, nr, sizeof *p, place_cmp);
	for (size_t i = 0; i < nr; i++) {
		if (i == 0 || !same_place(&p[i - 1], &p[i]))
			f->v[f->nr++] = (struct domain){.kind = kind, .name = p[i].name};
		f->of[p[i].task * KINDS + (size_t)(kind - DOMAIN_GROUP)] = (uint32_t)(f->nr - 1);
	}
}

static void count_task(struct floors *f, const struct task *t, const struct host_view *h, size_t i)
{
	f->in_hand[i] = task_in_hand(t) || h->holds_order;
	for (size_t k = 0; k < KINDS; k++) {
		struct domain *d = &f->v[f->of[i * KINDS + k]];
		if (!counts(t))
			continue;
		d->hosts++;
		d->down += h->avail == AVAIL_DOWN || h->was_down;
		d->available += h->avail == AVAIL_UP;
		d->silent_commanded += h->avail == AVAIL_UNKNOWN && !h->was_down && f->in_hand[i];
		d->commanded += h->avail == AVAIL_UP && f->in_hand[i];
	}
}

void floors_init(struct floors *f, struct arena *a, const struct task *tasks, const struct host_view *hosts,
		 size_t nr, permille p)
{
	*f = (struct floors){0};
	f->v = arena_array(a, struct domain, 2 * nr + 1);
	f->of = arena_array(a, uint32_t, KINDS * nr);
	f->in_hand = arena_array(a, bool, nr);
	for (enum domain_kind k = DOMAIN_GROUP; k <= DOMAIN_REGION; k++)
		add_domains(f, a, k, hosts, nr);
	for (size_t i = 0; i < nr; i++)
		count_task(f, &tasks[i], &hosts[i], i);
	for (size_t i = 0; i < f->nr; i++)
		f->v[i].floor = floor_of(p, f->v[i].hosts) -
				(BUG(BUG_FLOOR_OFF_BY_ONE) && f->v[i].hosts > 0 && p > 0);
}

bool floors_free(const struct floors *f, const struct host_view *hosts, size_t i)
{
	if (hosts[i].avail == AVAIL_UNKNOWN)
		return BUG(BUG_SILENT_FREE);
	return hosts[i].avail == AVAIL_DOWN || f->in_hand[i];
}

/* It is among those whom the domain misses already, so to take it does not make them one more. */
static bool counted(const struct floors *f, const struct host_view *hosts, size_t i)
{
	return f->in_hand[i] || hosts[i].was_down;
}

const struct domain *floors_forbids(const struct floors *f, const struct host_view *hosts, size_t i)
{
	bool silent = hosts[i].avail == AVAIL_UNKNOWN;
	if (floors_free(f, hosts, i))
		return NULL;
	for (size_t k = 0; k < KINDS; k++) {
		const struct domain *d = &f->v[f->of[i * KINDS + k]];
		uint32_t may_serve = silent ? d->hosts - d->down : d->available;
		uint32_t commanded = d->commanded + (silent ? d->silent_commanded : 0);
		if (may_serve < commanded + !counted(f, hosts, i) + d->floor)
			return d;
	}
	return NULL;
}

void floors_take(struct floors *f, const struct host_view *hosts, size_t i)
{
	for (size_t k = 0; k < KINDS && !f->in_hand[i]; k++) {
		struct domain *d = &f->v[f->of[i * KINDS + k]];
		d->commanded += hosts[i].avail == AVAIL_UP;
		d->silent_commanded += hosts[i].avail == AVAIL_UNKNOWN && !hosts[i].was_down;
	}
	f->in_hand[i] = true;
}

const char *floors_text(const struct floors *f, const struct domain *d, permille p,
			const struct host_view *hosts, size_t i, struct arena *a)
{
	bool silent = hosts[i].avail == AVAIL_UNKNOWN;
	static const char *const kinds[] = {
		[DOMAIN_GROUP] = "group", [DOMAIN_ZONE] = "zone", [DOMAIN_REGION] = "region"};
	const char *may_serve =
		silent ? arena_printf(a,
				      "silent, so it may be serving: %u hosts - %u that said they are down",
				      d->hosts, d->down)
		       : arena_printf(a, "%u available", d->available);
	return arena_printf(a, "%s%s%s: %s - %u in hand%s is under the floor of %u (%u.%u%% of %u hosts)",
			    kinds[d->kind], name_empty(&d->name) ? "" : " ", d->name.s, may_serve,
			    d->commanded + (silent ? d->silent_commanded : 0),
			    counted(f, hosts, i) ? ", itself among them," : " - 1", d->floor, p / 10, p % 10,
			    d->hosts);
}
