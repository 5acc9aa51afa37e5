#include "tests/sim/fleet/service.h"

#include <stdlib.h>

#include "base/err.h"

enum {
	ORDERS = 8,	  /* remembered of each host */
	KNOWN_MS = 90000, /* after this the coordinator knows that a host is silent, or down */
	KNOWN_UP_MS =
		35000, /* after this it has heard of a host that can be reached: a heartbeat, and a timeout */
};

struct order {
	uint64_t epoch;
	struct deployment_id deployment;
	enum direction direction;
	int64_t at;
	bool spends; /* it was known, or had to be expected, that the host serves and is not in hand */
	bool silent; /* it could not be reached then */
};

struct seen {
	int64_t serving_since, down_since; /* one of them is 0 */
	int64_t heard_since, silent_since; /* likewise */
	int64_t rests_since;		   /* its agent has ended what it was told; 0 = it works */
	uint64_t rests_at;		   /* the epoch of that */
	bool taken;			   /* out of service by our order, and not back yet */
	uint64_t taken_by;		   /* its epoch */
	struct order orders[ORDERS];	   /* newest over oldest */
	size_t orders_nr;
};

struct service {
	struct sim *s;
	struct seen hosts[SIM_HOSTS_MAX];
	int64_t shrank_at;
};

struct service *service_new(struct sim *s)
{
	struct service *v = calloc(1, sizeof *v);
	PRE(v != NULL);
	v->s = s;
	return v;
}

void service_free(struct service *v)
{
	free(v);
}

void service_fleet_shrank(struct service *v)
{
	v->shrank_at = v->s->w.now_ms;
}

/* ---- what hosts do
 * ------------------------------------------------------------------------------------------------------ */

static void since(int64_t *is, int64_t *is_not, bool now, int64_t at)
{
	if (now && *is == 0)
		*is = at;
	if (!now && *is_not == 0)
		*is_not = at;
	*(now ? is_not : is) = 0;
}

static const struct agent_record *record_of(const struct sim_host *h)
{
	const struct agent_app *p = agent_find(&h->agent, &h->app);
	return p == NULL ? NULL : &p->rec;
}

static void watch_agent(struct seen *o, const struct sim_host *h, int64_t now)
{
	const struct agent_record *r = record_of(h);
	bool rests = h->agent_up && r != NULL && agent_at_rest(r);
	if (!rests)
		o->rests_since = 0;
	else if (o->rests_since == 0 || o->rests_at != r->work.fence.epoch)
		o->rests_since = now;
	o->rests_at = rests ? r->work.fence.epoch : 0;
}

void service_watch(struct service *v)
{
	int64_t now = v->s->w.now_ms;
	for (size_t i = 0; i < v->s->hosts_nr; i++) {
		const struct sim_host *h = &v->s->hosts[i];
		struct seen *o = &v->hosts[i];
		since(&o->serving_since, &o->down_since, sim_host_serving(h), now);
		since(&o->heard_since, &o->silent_since, h->session != 0 && !h->cut, now);
		watch_agent(o, h, now);
		o->taken = o->taken && o->serving_since == 0;
	}
}

/* ---- what can be known of them
 * ------------------------------------------------------------------------------------------ */

/* Something is so since `t`: had it been told by `at`? */
static bool told(const struct seen *o, int64_t t, int64_t at)
{
	if (o->silent_since != 0)
		return t + KNOWN_UP_MS < o->silent_since;
	return (t > o->heard_since ? t : o->heard_since) + KNOWN_UP_MS < at;
}

static const struct order *newest(const struct seen *o)
{
	return o->orders_nr == 0 ? NULL : &o->orders[(o->orders_nr - 1) % ORDERS];
}

/* It was told something before, and the coordinator need not know that this has ended. */
static bool may_be_in_hand(const struct seen *o, int64_t now)
{
	const struct order *last = newest(o);
	bool ended = last == NULL ||
		     (o->rests_since != 0 && o->rests_at == last->epoch && told(o, o->rests_since, now));
	return !ended;
}

static bool silence_noticed(const struct seen *o, int64_t now)
{
	return o->silent_since != 0 && now - o->silent_since > KNOWN_MS;
}

/* In service for as long as D2 wants, and the coordinator knows, or must reckon with it. */
static bool known_to_serve(const struct seen *o, int64_t min_healthy_ms, int64_t now)
{
	int64_t t = o->serving_since;
	return t != 0 && now - t > min_healthy_ms + KNOWN_UP_MS &&
	       (told(o, t, now) || silence_noticed(o, now));
}

static struct seen *host_of(struct service *v, const struct name *name)
{
	const struct sim_host *h = sim_host(v->s, name->s);
	return h == NULL ? NULL : &v->hosts[h - v->s->hosts];
}

void service_ordered(struct service *v, const struct placement *p, bool unseen)
{
	struct deployment d;
	struct seen *o = host_of(v, &p->host);
	int64_t now = v->s->w.now_ms;
	if (o == NULL || view_deployment(coordinator_state(v->s->c), &v->s->arena, p->deployment, &d) != E_OK)
		return;
	bool spends = known_to_serve(o, d.limits.min_healthy_ms, now) &&
		      (silence_noticed(o, now) || !may_be_in_hand(o, now));
	struct order order = {.epoch = p->fence.epoch,
			      .deployment = p->deployment,
			      .direction = p->direction,
			      .at = now,
			      .spends = spends && !unseen,
			      .silent = o->silent_since != 0};
	o->orders[o->orders_nr++ % ORDERS] = order;
}

static const struct order *order_of(const struct seen *o, uint64_t epoch)
{
	for (size_t i = 0; i < ORDERS && i < o->orders_nr; i++)
		if (o->orders[i].epoch == epoch)
			return &o->orders[i];
	return NULL;
}

/* ---- what an order may do
 * -------------------------------------------------------------------------------------------------- */

struct judged {
	struct service *v;
	const struct order *order;
	const struct deployment *d;
	const struct task *tasks;
	size_t nr;
};

/* Out by itself, and that was known when the order was given. Where silent hosts are told too, only those
 * count that say that they are out. */
static bool known_out(const struct judged *j, const struct seen *o, const struct sim_host *h)
{
	int64_t at = j->order->at, now = h->w->now_ms;
	if (o->silent_since != 0)
		return !j->order->silent && at - o->silent_since > KNOWN_MS;
	if (at - o->heard_since <= KNOWN_UP_MS)
		return false;
	if (o->down_since != 0)
		return at - o->down_since > KNOWN_MS;
	/* Serving, and not yet for long enough to count. */
	return at - h->started_at > KNOWN_UP_MS && now - h->started_at < j->d->limits.min_healthy_ms;
}

/* Taken by an order, and the one that is judged had to reckon with it: it was given before, or spends. */
static bool known_taken(const struct judged *j, const struct seen *o)
{
	const struct order *by = o->taken ? order_of(o, o->taken_by) : NULL;
	return by != NULL && (by->spends || by->at <= j->order->at);
}

struct domain_of {
	const struct name *region,
		*zone; /* both NULL: the group; a host without a zone stands in its region's */
};

static const struct name *zone_of(const struct sim_host *h)
{
	return name_empty(&h->zone) ? &h->region : &h->zone;
}

static bool stands_in(const struct sim_host *h, struct domain_of d)
{
	return (d.region == NULL || name_eq(&h->region, d.region)) &&
	       (d.zone == NULL || name_eq(zone_of(h), d.zone));
}

static uint32_t count_out(const struct judged *j, struct domain_of domain, uint32_t *hosts)
{
	uint32_t out = 0;
	*hosts = 0;
	for (size_t i = 0; i < j->nr; i++) {
		const struct sim_host *h = sim_host(j->v->s, j->tasks[i].host.s);
		if (h == NULL || j->tasks[i].state == TASK_SKIPPED || !stands_in(h, domain))
			continue;
		const struct seen *o = &j->v->hosts[h - j->v->s->hosts];
		++*hosts;
		out += known_taken(j, o) || known_out(j, o, h);
	}
	return out;
}

static void judge_floor(const struct judged *j, const struct sim_host *taken, struct domain_of domain,
			permille p)
{
	uint32_t hosts, out = count_out(j, domain, &hosts);
	uint32_t floor = (hosts * p + 999) / 1000;
	if (hosts - out < floor)
		world_violation(&j->v->s->w,
				"floor: %s is taken out, and so %u of %u hosts of %s are; the floor is %u",
				taken->name.s, out, hosts,
				domain.region == NULL ? "the group"
				: domain.zone == NULL ? domain.region->s
						      : domain.zone->s,
				floor);
}

static void judge_unavailable(const struct judged *j, const struct sim_host *taken)
{
	uint32_t hosts, out = count_out(j, (struct domain_of){0}, &hosts);
	struct amount a = j->d->limits.unavailable;
	uint32_t most = a.is_share ? a.v * hosts / 1000 : a.v;
	if (most < 1)
		most = 1;
	if (out > most)
		world_violation(&j->v->s->w,
				"maxUnavailable: %s is taken out, and so %u of %u hosts are; %u may be",
				taken->name.s, out, hosts, most);
}

/* An order forward whose rollout goes back by now: the looser floor of both holds for all that are out. */
static permille floor_for(const struct deployment *d, const struct order *o)
{
	permille looser = d->limits.floor < d->limits.back_floor ? d->limits.floor : d->limits.back_floor;
	if (!d->back)
		return d->limits.floor;
	return o->direction == DIRECTION_BACK ? d->limits.back_floor : looser;
}

static void judge(struct service *v, const struct sim_host *h, const struct order *o)
{
	struct deployment d;
	struct wave *waves;
	struct judged j = {.v = v, .order = o, .d = &d};
	struct task *tasks;
	if (!coordinator_up(v->s->c) ||
	    view_rollout(coordinator_state(v->s->c), &v->s->arena, o->deployment, &d, &waves, &tasks,
			 &j.nr) != E_OK ||
	    d.limits.recreate || sm_terminal(&rollout_machine, (int)d.state))
		return;
	j.tasks = tasks;
	judge_floor(&j, h, (struct domain_of){0}, floor_for(&d, o));
	judge_floor(&j, h, (struct domain_of){&h->region, NULL}, floor_for(&d, o));
	judge_floor(&j, h, (struct domain_of){&h->region, zone_of(h)}, floor_for(&d, o));
	if (!d.back)
		judge_unavailable(&j, h);
}

void service_leaves(struct service *v, struct sim_host *h, uint64_t epoch)
{
	struct seen *o = &v->hosts[h - v->s->hosts];
	const struct order *order = order_of(o, epoch);
	if (order == NULL || !sim_host_serving(h))
		return;
	o->taken = true;
	o->taken_by = epoch;
	if (order->spends && order->at > v->shrank_at)
		judge(v, h, order);
}
