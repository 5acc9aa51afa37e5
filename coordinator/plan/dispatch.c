/*
 * dispatch.c: which hosts next. Forward: inside a wave, at most a batch in hand, maxUnavailable and the floor
 * kept; hosts that are out anyway go first because they cost nothing (D2). Back: reverse order, larger steps,
 * its own floor (D9).
 */
#include "base/planted.h"
#include "coordinator/plan/amount.h"
#include "coordinator/plan/spread.h"
#include "coordinator/plan/step.h"

#include <stdlib.h>

struct picks {
	struct name *hosts;
	size_t nr;
	uint32_t room; /* hosts that may still be taken in hand */
	uint32_t out;  /* hosts of the rollout not available or in hand */
	uint32_t out_max;
	struct floors floors;
	permille floor;
	const char *refusal; /* of the first host that was not taken */
};

static uint32_t hosts_out(const struct view *v)
{
	uint32_t n = 0;
	for (size_t i = 0; i < v->tasks_nr; i++)
		n += v->tasks[i].state != TASK_SKIPPED &&
		     (task_in_hand(&v->tasks[i]) || v->hosts[i].avail != AVAIL_UP);
	return n;
}

static uint32_t hosts_counted(const struct view *v)
{
	uint32_t n = 0;
	for (size_t i = 0; i < v->tasks_nr; i++)
		n += v->tasks[i].state != TASK_SKIPPED;
	return n;
}

static void picks_init(struct step *s, struct picks *p, permille floor, uint32_t out_max)
{
	*p = (struct picks){
		.hosts = arena_array(s->a, struct name, s->v->tasks_nr), .floor = floor, .out_max = out_max};
	p->out = hosts_out(s->v);
	floors_init(&p->floors, s->a, s->v->tasks, s->v->hosts, s->v->tasks_nr, floor);
}

static const char *refusal_of(struct step *s, const struct picks *p, size_t i)
{
	const struct domain *d = floors_forbids(&p->floors, s->v->hosts, i);
	if (d != NULL)
		return domain_text(d, p->floor, s->a);
	if (s->v->hosts[i].avail == AVAIL_UP && p->out >= p->out_max)
		return arena_printf(s->a, "%u hosts are out, maxUnavailable is %u", p->out, p->out_max);
	return NULL;
}

/* Take task i if there is room and nothing forbids it. False: there is no room for anyone. */
static bool pick(struct step *s, struct picks *p, size_t i)
{
	if (p->room == 0)
		return false;
	const char *refusal = refusal_of(s, p, i);
	if (refusal != NULL) {
		if (p->refusal == NULL)
			p->refusal = arena_printf(s->a, "host %s: %s", s->v->tasks[i].host.s, refusal);
		return true;
	}
	p->out += s->v->hosts[i].avail == AVAIL_UP;
	floors_take(&p->floors, s->v->hosts, i);
	p->hosts[p->nr++] = s->v->tasks[i].host;
	p->room--;
	return true;
}

static void assign(struct step *s, const struct picks *p, enum direction dir, const char *reason)
{
	struct command *c = p->nr == 0 ? NULL : step_command(s, COMMAND_ASSIGN, reason);
	if (c == NULL)
		return;
	c->assign.deployment = s->v->d->id;
	c->assign.direction = dir;
	c->assign.hosts = p->hosts;
	c->assign.hosts_nr = p->nr;
}

/* Hosts that are out cost nothing, so they go first; then those nobody has heard of; then the rest, each
 * spread over the zones. */
static const enum availability dispatch_order[] = {AVAIL_DOWN, AVAIL_UNKNOWN, AVAIL_UP};

static bool waits(const struct step *s, const struct task *t)
{
	bool again = BUG(BUG_DOUBLE_DISPATCH) && t->state == TASK_ASSIGNED &&
		     t->assigned_at.v < s->v->leading_since.v;
	return t->state == TASK_QUEUED || again;
}

struct queued {
	struct step *s;
	enum availability avail;
};

static bool is_queued(void *arg, uint32_t i)
{
	const struct queued *q = arg;
	return waits(q->s, &q->s->v->tasks[i]) && q->s->v->hosts[i].avail == q->avail;
}

static void pick_queued(struct step *s, struct picks *p, struct spread *sp, enum availability avail)
{
	struct queued q = {s, avail};
	uint32_t i;
	spread_rewind(sp);
	while (p->room > 0 && spread_next(sp, is_queued, &q, &i)) {
		if (step_too_early(s, &s->v->hosts[i])) {
			step_not_heard(s, step_wave_name(s, s->v->tasks[i].wave), s->v->tasks[i].host.s);
			continue;
		}
		size_t before = p->nr;
		pick(s, p, i);
		if (p->nr > before)
			spread_took(sp);
	}
}

void dispatch_forward(struct step *s, uint32_t wave)
{
	const struct limits *l = &s->v->d->limits;
	const struct tally *w = &s->waves[wave];
	struct picks p;
	struct spread sp;
	uint32_t batch = amount_up(l->batch, w->hosts);
	if (l->recreate) {
		recreate_forward(s, wave);
		return;
	}
	if (w->queued == 0)
		return;
	picks_init(s, &p, l->floor, amount_down_to_one(l->unavailable, hosts_counted(s->v)));
	p.room = batch > w->in_hand ? batch - w->in_hand : 0;
	spread_init(&sp, s->a, s->v, w->first, w->end);
	for (size_t i = 0; i < ARRAY_LEN(dispatch_order); i++)
		pick_queued(s, &p, &sp, dispatch_order[i]);
	if (p.nr == 0 && p.refusal != NULL)
		step_reason(s, step_wave_name(s, wave), (struct wall_ms){0}, "%s", p.refusal);
	assign(s, &p, DIRECTION_FORWARD, "");
}

/* A host whose agent went back by itself has nothing to lose: it is only asked to prove it. */
static void pick_already_back(struct step *s, struct picks *p)
{
	for (size_t i = s->v->tasks_nr; i-- > 0 && p->room > 0;) {
		const struct task *t = &s->v->tasks[i];
		if (!task_to_take_back(t) || digest_none(&t->from.id) ||
		    !digest_eq(&s->v->hosts[i].running, &t->from.id))
			continue;
		p->hosts[p->nr++] = t->host;
		p->room--;
	}
}

static bool picked(const struct picks *p, const struct name *host)
{
	for (size_t i = 0; i < p->nr; i++)
		if (name_eq(&p->hosts[i], host))
			return true;
	return false;
}

bool dispatch_back(struct step *s)
{
	const struct limits *l = &s->v->d->limits;
	struct picks p;
	uint32_t in_hand = 0, left = 0, touched = 0;
	if (l->recreate)
		return recreate_back(s);
	for (size_t i = 0; i < s->v->tasks_nr; i++) {
		const struct task *t = &s->v->tasks[i];
		touched += t->touched && t->state != TASK_SKIPPED;
		in_hand += t->state == TASK_REVERTING;
		left += task_to_take_back(t) || t->state == TASK_REVERTING;
	}
	if (left == 0)
		return true;
	picks_init(s, &p, l->back_floor, UINT32_MAX);
	uint32_t batch = amount_up((struct amount){.is_share = true, .v = l->back_batch}, touched);
	p.room = batch > in_hand ? batch - in_hand : 0;
	pick_already_back(s, &p);
	for (size_t k = 0; k < ARRAY_LEN(dispatch_order); k++)
		for (size_t i = s->v->tasks_nr; i-- > 0;)
			if (task_to_take_back(&s->v->tasks[i]) && s->v->hosts[i].avail == dispatch_order[k] &&
			    !step_too_early(s, &s->v->hosts[i]) && !picked(&p, &s->v->tasks[i].host) &&
			    !pick(s, &p, i))
				break;
	if (p.nr == 0 && p.refusal != NULL)
		step_reason(s, "rollback", (struct wall_ms){0}, "%s", p.refusal);
	assign(s, &p, DIRECTION_BACK, "");
	return false;
}
