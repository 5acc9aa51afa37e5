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

/* What all hosts of the rollout may spend together in one look. The waves that roll side by side share it. */
struct allowance {
	struct floors floors;
	permille floor;
	uint32_t out;	   /* hosts in hand, or not known to be available */
	uint32_t sure_out; /* hosts in hand, or down by their last word */
	uint32_t out_max;
};

struct picks {
	struct allowance *all;
	struct name *hosts;
	size_t nr;
	uint32_t room;	     /* hosts that may still be taken in hand */
	const char *refusal; /* of the first host that was not taken */
};

static uint32_t hosts_counted(const struct view *v)
{
	uint32_t n = 0;
	for (size_t i = 0; i < v->tasks_nr; i++)
		n += v->tasks[i].state != TASK_SKIPPED;
	return n;
}

static bool is_sure_out(const struct allowance *all, const struct view *v, size_t i)
{
	return all->floors.in_hand[i] || v->hosts[i].avail == AVAIL_DOWN || v->hosts[i].was_down;
}

static void count_out(struct allowance *all, const struct view *v)
{
	for (size_t i = 0; i < v->tasks_nr; i++) {
		if (v->tasks[i].state == TASK_SKIPPED)
			continue;
		all->out += all->floors.in_hand[i] || v->hosts[i].avail != AVAIL_UP;
		all->sure_out += is_sure_out(all, v, i);
	}
}

static struct allowance *allowance(struct step *s, permille floor, uint32_t out_max)
{
	if (s->allowance != NULL && !BUG(BUG_WAVES_APART))
		return s->allowance;
	s->allowance = arena_new(s->a, struct allowance);
	*s->allowance = (struct allowance){.floor = floor, .out_max = out_max};
	floors_init(&s->allowance->floors, s->a, s->v->tasks, s->v->hosts, s->v->tasks_nr, floor);
	count_out(s->allowance, s->v);
	return s->allowance;
}

static void picks_init(struct step *s, struct picks *p, permille floor, uint32_t out_max)
{
	*p = (struct picks){.all = allowance(s, floor, out_max),
			    .hosts = arena_array(s->a, struct name, s->v->tasks_nr)};
}

static const char *refusal_of(struct step *s, const struct allowance *all, size_t i)
{
	bool silent = s->v->hosts[i].avail == AVAIL_UNKNOWN;
	uint32_t out = silent ? all->sure_out : all->out;
	const struct domain *d = floors_forbids(&all->floors, s->v->hosts, i);
	if (d != NULL)
		return floors_text(&all->floors, d, all->floor, s->v->hosts, i, s->a);
	if (!floors_free(&all->floors, s->v->hosts, i) && out + !is_sure_out(all, s->v, i) > all->out_max)
		return arena_printf(s->a, "%s%u hosts are out, maxUnavailable is %u",
				    silent ? "silent, so it may be serving: " : "", out, all->out_max);
	return NULL;
}

static void spend(struct step *s, struct allowance *all, size_t i)
{
	bool fresh = !is_sure_out(all, s->v, i);
	all->out += fresh && s->v->hosts[i].avail == AVAIL_UP;
	all->sure_out += fresh;
	floors_take(&all->floors, s->v->hosts, i);
}

/* Take task i if there is room and nothing forbids it. False: there is no room for anyone. */
static bool pick(struct step *s, struct picks *p, size_t i)
{
	if (p->room == 0)
		return false;
	const char *refusal = refusal_of(s, p->all, i);
	if (refusal != NULL) {
		if (p->refusal == NULL)
			p->refusal = arena_printf(s->a, "host %s: %s", s->v->tasks[i].host.s, refusal);
		return true;
	}
	spend(s, p->all, i);
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

/* Hosts that are out or in hand of an older rollout cost nothing, so they go first; then those nobody has
 * heard of; then the rest, each spread over the zones. */
enum turn { TURN_FREE = 1, TURN_UNKNOWN, TURN_UP, TURN_NR };

static enum turn turn_of(const struct host_view *h)
{
	if (h->avail == AVAIL_UNKNOWN)
		return TURN_UNKNOWN;
	return h->avail == AVAIL_DOWN || h->holds_order ? TURN_FREE : TURN_UP;
}

static bool waits(const struct step *s, const struct task *t)
{
	bool again = BUG(BUG_DOUBLE_DISPATCH) && t->state == TASK_ASSIGNED &&
		     t->assigned_at.v < s->v->leading_since.v;
	return t->state == TASK_QUEUED || again;
}

struct queued {
	struct step *s;
	enum turn turn;
};

static bool is_queued(void *arg, uint32_t i)
{
	const struct queued *q = arg;
	return waits(q->s, &q->s->v->tasks[i]) && turn_of(&q->s->v->hosts[i]) == q->turn;
}

static void pick_queued(struct step *s, struct picks *p, struct spread *sp, enum turn turn)
{
	struct queued q = {s, turn};
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

/* Its task has ended without it, and it is at work all the same: it takes a place of the batch, too. */
static bool works_besides(const struct task *t, const struct host_view *h)
{
	bool ended = t->state != TASK_QUEUED && t->state != TASK_SKIPPED && !task_in_hand(t);
	return ended && h->holds_order && h->avail != AVAIL_UNKNOWN;
}

static uint32_t in_progress(const struct step *s, const struct tally *w)
{
	uint32_t n = w->in_hand;
	for (uint32_t i = w->first; i < w->end; i++)
		n += works_besides(&s->v->tasks[i], &s->v->hosts[i]);
	return n;
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
	uint32_t working = in_progress(s, w);
	p.room = batch > working ? batch - working : 0;
	spread_init(&sp, s->a, s->v, w->first, w->end);
	for (enum turn t = TURN_FREE; t < TURN_NR; t++)
		pick_queued(s, &p, &sp, t);
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
		in_hand += t->state == TASK_REVERTING ||
			   (t->direction == DIRECTION_BACK && works_besides(t, &s->v->hosts[i]));
		left += task_to_take_back(t) || t->state == TASK_REVERTING;
	}
	if (left == 0)
		return true;
	picks_init(s, &p, l->back_floor, UINT32_MAX);
	uint32_t batch = amount_up((struct amount){.is_share = true, .v = l->back_batch}, touched);
	p.room = batch > in_hand ? batch - in_hand : 0;
	pick_already_back(s, &p);
	for (enum turn k = TURN_FREE; k < TURN_NR; k++)
		for (size_t i = s->v->tasks_nr; i-- > 0;)
			if (task_to_take_back(&s->v->tasks[i]) && turn_of(&s->v->hosts[i]) == k &&
			    !step_too_early(s, &s->v->hosts[i]) && !picked(&p, &s->v->tasks[i].host) &&
			    !pick(s, &p, i))
				break;
	if (p.nr == 0 && p.refusal != NULL)
		step_reason(s, "rollback", (struct wall_ms){0}, "%s", p.refusal);
	assign(s, &p, DIRECTION_BACK, "");
	return false;
}
