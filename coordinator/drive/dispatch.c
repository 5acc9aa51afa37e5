/*
 * dispatch.c: answers to polls. What a host should run is read from committed placements each time; a poll
 * that finds nothing newer than the agent has is parked until a placement of that host changes or its time is
 * up.
 */
#include "coordinator/drive/internal.h"

#include <stdlib.h>

void dispatch_answer(struct drive *d, struct token t, uint64_t request_id, envelope *e)
{
	struct buf b;
	e->version = ENVELOPE_VERSION;
	e->request_id = request_id;
	e->epoch = state_applied(d->st);
	e->cluster_id = id128_bytes(&d->arena, d->cfg.cluster_hi, d->cfg.cluster_lo);
	buf_init(&b);
	envelope_encode(&b, e);
	d->ports.answer(d->ports.arg, t, b.data, b.len);
	buf_done(&b);
}

void dispatch_problem(struct drive *d, struct token t, uint64_t request_id, const char *code,
		      const char *text)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Problem p = WAVETRAIN__AGENT__PROBLEM__INIT;
	p.code = arena_strdup(&d->arena, code);
	p.text = arena_strdup(&d->arena, text);
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_PROBLEM;
	e.problem = &p;
	dispatch_answer(d, t, request_id, &e);
}

/* ---- a placement as an assignment
 * ------------------------------------------------------------------------------ */

static Wavetrain__Agent__Target *target_message(struct drive *d, const struct name *app,
						const struct target *t)
{
	struct arena *a = &d->arena;
	Wavetrain__Agent__Target *m = arena_new(a, Wavetrain__Agent__Target);
	struct release r;
	const char *spec;
	size_t n;
	wavetrain__agent__target__init(m);
	if (digest_none(&t->id))
		return m;
	m->id = digest_bytes(a, &t->id);
	m->artifact = digest_bytes(a, &t->artifact);
	m->spec_digest = digest_bytes(a, &t->spec);
	m->version = arena_strdup(a, t->version.s);
	if (view_release_by_digest(d->st, a, app, &t->artifact, &r) == E_OK) {
		m->size_bytes = r.size_bytes;
		m->unpacked_bytes = r.unpacked_bytes;
		m->entries = r.entries;
		m->type = arena_strdup(a, r.type);
	}
	if (view_spec(d->st, a, &t->spec, &spec, &n) == E_OK)
		m->spec = (ProtobufCBinaryData){.len = n, .data = arena_memdup(a, spec, n)};
	return m;
}

static void set_labels(struct arena *a, Wavetrain__Agent__Assignment *m, const struct labels *labels)
{
	m->labels = arena_array(a, Wavetrain__Agent__Assignment__LabelsEntry *, labels->nr);
	m->n_labels = labels->nr;
	for (size_t i = 0; i < labels->nr; i++) {
		m->labels[i] = arena_new(a, Wavetrain__Agent__Assignment__LabelsEntry);
		wavetrain__agent__assignment__labels_entry__init(m->labels[i]);
		m->labels[i]->key = arena_strdup(a, labels->v[i].key);
		m->labels[i]->value = arena_strdup(a, labels->v[i].value);
	}
}

/* A tenth less than the task has: the host itself gives up first, and says why. */
static void set_limits(struct drive *d, Wavetrain__Agent__Assignment *m, const struct placement *p)
{
	struct deployment dep;
	if (view_deployment(d->st, &d->arena, p->deployment, &dep) != E_OK)
		return;
	m->deadline_ms = (uint64_t)(dep.limits.task_ms - dep.limits.task_ms / 10);
	m->fault_cap_ms = (uint64_t)dep.limits.infra_cap_ms;
	m->skip_stop_hooks = dep.limits.skip_stop_hooks;
}

/* Going back moves no bytes (D9), also where the order names no place to go to by itself (recreate, 0007). */
static void set_keep(struct drive *d, Wavetrain__Agent__Assignment *m, const struct placement *p)
{
	struct task t;
	if (view_task(d->st, &d->arena, p->deployment, &p->host, &t) == E_OK)
		m->keep_artifact = digest_bytes(&d->arena, &t.from.artifact);
}

static Wavetrain__Agent__Assignment *assignment_message(struct drive *d, const struct host *host,
							const struct placement *p)
{
	struct arena *a = &d->arena;
	Wavetrain__Agent__Assignment *m = arena_new(a, Wavetrain__Agent__Assignment);
	Wavetrain__Agent__Fence *f = arena_new(a, Wavetrain__Agent__Fence);
	wavetrain__agent__assignment__init(m);
	wavetrain__agent__fence__init(f);
	f->generation = p->fence.generation;
	f->term = p->fence.term;
	f->epoch = p->fence.epoch;
	m->fence = f;
	m->app = arena_strdup(a, p->app.s);
	m->seq = p->seq;
	m->deployment = p->deployment.v;
	m->wave = p->wave;
	m->back = p->direction == DIRECTION_BACK;
	m->target = target_message(d, &p->app, &p->desired);
	m->fallback = target_message(d, &p->app, &p->fallback);
	set_limits(d, m, p);
	set_keep(d, m, p);
	m->trace_id = id128_bytes(a, p->trace.hi, p->trace.lo);
	m->env = arena_strdup(a, p->env.s);
	m->region = arena_strdup(a, host->region.s);
	m->zone = arena_strdup(a, host->zone.s);
	set_labels(a, m, &host->labels);
	return m;
}

struct gather {
	struct drive *d;
	struct placement *v;
	size_t nr, cap;
	uint64_t newest;
};

/*
 * An answer stays well under what an envelope may be; the next poll brings the rest. One assignment always
 * fits: its two files are at most MAKE_FILE_MAX each, its labels are few and short.
 */
enum { ASSIGNMENTS_MAX = 16, ANSWER_MAX_BYTES = 192 * 1024 };
static_assert(ANSWER_MAX_BYTES + 32 * 1024 < ENVELOPE_MAX_BYTES, "room for the rest of the envelope");

static int by_seq(const void *pa, const void *pb)
{
	const struct placement *a = pa, *b = pb;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

static bool gather_one(void *arg, const struct placement *p)
{
	struct gather *g = arg;
	if (p->seq == 0)
		return true;
	if (g->nr == g->cap) {
		size_t cap = g->cap == 0 ? ASSIGNMENTS_MAX : 2 * g->cap;
		struct placement *v = arena_array(&g->d->arena, struct placement, cap);
		if (g->nr > 0)
			memcpy(v, g->v, g->nr * sizeof *v);
		g->v = v;
		g->cap = cap;
	}
	g->v[g->nr++] = *p;
	return true;
}

/* The oldest of those gathered, as many as an answer holds. */
static void fill(struct drive *d, const struct host *host, const struct gather *g,
		 Wavetrain__Agent__Desired *m)
{
	size_t bytes = 0;
	m->assignments = arena_array(&d->arena, Wavetrain__Agent__Assignment *, ASSIGNMENTS_MAX);
	for (size_t i = 0; i < g->nr && i < ASSIGNMENTS_MAX; i++) {
		Wavetrain__Agent__Assignment *next = assignment_message(d, host, &g->v[i]);
		bytes += wavetrain__agent__assignment__get_packed_size(next);
		if (i > 0 && bytes > ANSWER_MAX_BYTES)
			return;
		m->assignments[m->n_assignments++] = next;
		m->up_to_seq = next->seq;
	}
}

/* Everything the host has not seen, oldest first, so that a cut answer leaves no gap behind up_to_seq. */
static bool answer_with_news(struct drive *d, struct fleet_host *h, struct token t, uint64_t request_id,
			     uint64_t after, bool snapshot)
{
	struct gather g = {.d = d};
	struct host host;
	if (view_host(d->st, &d->arena, &h->name, &host) != E_OK)
		return false;
	view_each_placement(d->st, &d->arena, &h->name, after, gather_one, &g);
	if (g.nr == 0 && !snapshot)
		return false;
	if (g.nr > 0)
		qsort(g.v, g.nr, sizeof *g.v, by_seq);

	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Desired m = WAVETRAIN__AGENT__DESIRED__INIT;
	m.log_id = d->cfg.log_id;
	m.up_to_seq = after;
	fill(d, &host, &g, &m);
	m.snapshot = snapshot && m.n_assignments == g.nr;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_DESIRED;
	e.desired = &m;
	dispatch_answer(d, t, request_id, &e);
	return true;
}

static void answer_empty(struct drive *d, struct fleet_host *h)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Desired m = WAVETRAIN__AGENT__DESIRED__INIT;
	m.log_id = d->cfg.log_id;
	m.up_to_seq = h->poll_after;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_DESIRED;
	e.desired = &m;
	fleet_unpark(&d->fleet, h);
	dispatch_answer(d, h->poll, h->poll_request_id, &e);
}

static void take_status(struct drive *d, struct fleet_host *h, const envelope *e, struct wall_ms now)
{
	const Wavetrain__Agent__Poll *p = e->poll;
	bool changed = false;
	PRE(bytes_id128(e->boot_id, &h->boot_hi, &h->boot_lo)); /* the decoder has checked its length */
	h->free_bytes = p->free_bytes;
	h->polled_at = now;
	for (size_t i = 0; i < p->n_apps; i++)
		changed |= fleet_status(h, p->apps[i], now);
	changed |= fleet_prune(h, p->n_apps, p->apps);
	if (changed)
		rollouts_touch_host(d, &h->name);
}

void dispatch_poll(struct drive *d, struct fleet_host *h, struct token t, const envelope *e,
		   struct wall_ms now)
{
	const Wavetrain__Agent__Poll *p = e->poll;
	if (p->n_apps > FLEET_APPS_MAX) {
		d->ports.drop(d->ports.arg, t.session, "sent the status of more than 64 apps");
		return;
	}
	bool snapshot = p->log_id != d->cfg.log_id;
	uint64_t after = snapshot ? 0 : p->after_seq;
	take_status(d, h, e, now);
	if (h->parked)
		answer_empty(d, h);
	if (answer_with_news(d, h, t, e->request_id, after, snapshot))
		return;
	uint32_t wait = p->wait_ms < d->cfg.poll_wait_ms ? p->wait_ms : d->cfg.poll_wait_ms;
	h->poll = t;
	h->poll_request_id = e->request_id;
	h->poll_after = after;
	fleet_park(&d->fleet, h, (struct wall_ms){now.v + wait});
}

void dispatch_host(struct drive *d, const struct name *host)
{
	struct fleet_host *h = fleet_find(&d->fleet, host);
	if (h == NULL || !h->parked)
		return;
	if (answer_with_news(d, h, h->poll, h->poll_request_id, h->poll_after, false))
		fleet_unpark(&d->fleet, h);
}

int64_t dispatch_expire(struct drive *d, struct wall_ms now)
{
	while (d->fleet.parked != NULL && now.v >= d->fleet.parked->poll_until.v)
		answer_empty(d, d->fleet.parked);
	return d->fleet.parked == NULL ? 0 : d->fleet.parked->poll_until.v;
}
