#include "coordinator/plan/floor.h"

#include <stdlib.h>
#include <string.h>

#include "base/planted.h"

enum { KINDS = 3 };

uint32_t floor_of(permille p, uint32_t n)
{
	return (uint32_t)(((uint64_t)p * n + 999) / 1000);
}

/* Commanded and not yet back: it may go out of rotation any moment, or is out already. */
static bool in_hand(enum task_state s)
{
	return (s >= TASK_ASSIGNED && s <= TASK_PROBING) || s == TASK_REVERTING;
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
	f->in_hand[i] = in_hand(t->state);
	for (size_t k = 0; k < KINDS; k++) {
		struct domain *d = &f->v[f->of[i * KINDS + k]];
		if (!counts(t))
			continue;
		d->hosts++;
		d->available += h->avail == AVAIL_UP;
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

const struct domain *floors_forbids(const struct floors *f, const struct host_view *hosts, size_t i)
{
	/* In hand already, and about to be told something else: it takes nobody else out. */
	if (hosts[i].avail != AVAIL_UP || f->in_hand[i])
		return NULL;
	for (size_t k = 0; k < KINDS; k++) {
		const struct domain *d = &f->v[f->of[i * KINDS + k]];
		if (d->available < d->commanded + 1 + d->floor)
			return d;
	}
	return NULL;
}

void floors_take(struct floors *f, const struct host_view *hosts, size_t i)
{
	for (size_t k = 0; k < KINDS && !f->in_hand[i]; k++)
		f->v[f->of[i * KINDS + k]].commanded += hosts[i].avail == AVAIL_UP;
	f->in_hand[i] = true;
}

const char *domain_text(const struct domain *d, permille p, struct arena *a)
{
	static const char *const kinds[] = {
		[DOMAIN_GROUP] = "group", [DOMAIN_ZONE] = "zone", [DOMAIN_REGION] = "region"};
	return arena_printf(
		a, "%s%s%s: %u available - %u in hand - 1 is under the floor of %u (%u.%u%% of %u hosts)",
		kinds[d->kind], name_empty(&d->name) ? "" : " ", d->name.s, d->available, d->commanded,
		d->floor, p / 10, p % 10, d->hosts);
}
