/*
 * rollouts.c: lets the planner look at each active rollout when something it depends on has changed or its
 * own timer is due, and proposes what it decides. While a decision of a rollout is on its way through the log
 * the planner waits for it.
 */
#include "coordinator/drive/internal.h"

#include <stdlib.h>

#include "base/planted.h"

struct watched {
	uint64_t id;
	struct drive *d;
	bool dirty;
	unsigned in_flight;	 /* proposals not answered yet */
	struct wall_ms look_at;	 /* the planner's timer; 0 = none */
	struct wall_ms retry_at; /* after a proposal that failed */
	UT_hash_handle hh;
};

static struct watched *find(struct drive *d, struct deployment_id id)
{
	struct watched *w;
	HASH_FIND(hh, d->rollouts, &id.v, sizeof id.v, w);
	return w;
}

static struct watched *get(struct drive *d, struct deployment_id id)
{
	struct watched *w = find(d, id);
	if (w != NULL)
		return w;
	w = calloc(1, sizeof *w);
	PRE(w != NULL);
	w->id = id.v;
	w->d = d;
	HASH_ADD(hh, d->rollouts, id, sizeof w->id, w);
	return w;
}

void rollouts_touch(struct drive *d, struct deployment_id id)
{
	if (id.v != 0)
		get(d, id)->dirty = true;
}

void rollouts_touch_host(struct drive *d, const struct name *host)
{
	struct watched *w, *next;
	struct task t;
	HASH_ITER(hh, d->rollouts, w, next)
	{
		if (!w->dirty && view_task(d->st, &d->arena, (struct deployment_id){w->id}, host, &t) == E_OK)
			w->dirty = true;
	}
}

static bool load_one(void *arg, const struct deployment *dep)
{
	rollouts_touch(arg, dep->id);
	return true;
}

void rollouts_load(struct drive *d)
{
	view_each_active(d->st, &d->arena, load_one, d);
}

void rollouts_free(struct drive *d)
{
	struct watched *w, *next;
	HASH_ITER(hh, d->rollouts, w, next)
	{
		HASH_DEL(d->rollouts, w);
		free(w);
	}
}

/* ---- one look
 * ------------------------------------------------------------------------------------------------------ */

static bool is_proven(const struct task *t)
{
	return t->state == TASK_HEALTHY || t->state == TASK_REVERTED || t->state == TASK_STOPPED;
}

/* Of a host that its rollout has given nothing yet: what the one before gave it. */
static bool holds_older_order(struct drive *d, struct arena *a, const struct name *host,
			      const struct name *app)
{
	struct placement p;
	struct task t;
	if (view_placement(d->st, a, host, app, &p) != E_OK || p.seq == 0 ||
	    fleet_ended(&d->fleet, host, app, p.seq))
		return false;
	bool known = view_task(d->st, a, p.deployment, host, &t) == E_OK && t.seq == p.seq;
	return !(known && is_proven(&t));
}

/*
 * The newest assignment of the host, whichever rollout gave it, has not ended there. The host's own word goes
 * first: a task may have been ended without it, as late, lost or superseded, while the order stands and the
 * host works on it or will as soon as it comes back. Of hosts that an active rollout has told something, that
 * is the newest, and no row need be read: this is asked of each host in each look.
 */
static bool holds_order(struct drive *d, struct arena *a, const struct task *t, const struct name *app)
{
	if (BUG(BUG_ORDERS_FORGOTTEN))
		return false;
	if (t->seq == 0)
		return holds_older_order(d, a, &t->host, app);
	return !is_proven(t) && !fleet_ended(&d->fleet, &t->host, app, t->seq);
}

static int view_of(struct drive *d, struct deployment_id id, struct arena *a, struct wall_ms now,
		   struct deployment *dep, struct view *v)
{
	struct wave *waves;
	struct task *tasks;
	size_t nr;
	int rc = view_rollout(d->st, a, id, dep, &waves, &tasks, &nr);
	if (rc != E_OK)
		return rc;
	struct host_view *hosts = arena_array(a, struct host_view, nr);
	for (size_t i = 0; i < nr; i++) {
		struct host h;
		/* Silence counts from when it could have been heard: since this coordinator leads, or the
		 * host exists. */
		struct wall_ms since = d->leading_since;
		if (view_host(d->st, a, &tasks[i].host, &h) == E_OK) {
			if (h.created_at.v > since.v)
				since = h.created_at;
			hosts[i].region = h.region;
			hosts[i].zone = h.zone;
		}
		fleet_view(&d->fleet, &tasks[i].host, &dep->app, dep->limits.min_healthy_ms, now, since,
			   d->cfg.suspect_ms, &hosts[i]);
		hosts[i].holds_order = holds_order(d, a, &tasks[i], &dep->app);
	}
	*v = (struct view){.d = dep,
			   .waves = waves,
			   .tasks = tasks,
			   .tasks_nr = nr,
			   .hosts = hosts,
			   .leading_since = d->leading_since,
			   .grace_ms = d->cfg.grace_ms,
			   .lost_ms = d->cfg.lost_ms};
	return E_OK;
}

static void proposed_cb(void *arg, int code, const struct command_reply *reply)
{
	struct watched *w = arg;
	w->in_flight--;
	w->dirty = true;
	/* Refused or lost: the next look decides anew from what is committed then. */
	if (code != E_OK)
		w->retry_at.v = -1;
}

static void propose(struct drive *d, struct watched *w, const struct deployment *dep, struct plan_update *u)
{
	for (size_t i = 0; i < u->commands_nr; i++) {
		struct command *c = &u->commands[i];
		c->actor = "planner";
		c->trace = dep->trace;
		if (c->kind == COMMAND_ASSIGN)
			c->assign.term = d->ports.term(d->ports.arg);
		w->in_flight++;
		d->ports.propose(d->ports.arg, c, proposed_cb, w);
	}
}

/* Health ripens and silence grows without any message: an active rollout is looked at this often even if
 * nothing comes. */
enum { LOOK_EVERY_MS = 1000 };

static struct wall_ms sooner(struct wall_ms a, int64_t b)
{
	return (struct wall_ms){a.v != 0 && a.v < b ? a.v : b};
}

static void look(struct drive *d, struct watched *w, struct wall_ms now)
{
	struct plan_update u;
	struct deployment dep;
	struct view v;
	struct arena a;
	w->dirty = false;
	w->look_at = (struct wall_ms){0};
	arena_init(&a);
	if (view_of(d, (struct deployment_id){w->id}, &a, now, &dep, &v) == E_OK) {
		plan_step(&v, &(struct plan_event){.now = now}, &a, &u);
		w->look_at = sooner(u.next_at, now.v + LOOK_EVERY_MS);
		propose(d, w, &dep, &u);
	}
	arena_done(&a);
}

static bool is_over(struct drive *d, const struct watched *w)
{
	struct deployment dep;
	if (view_deployment(d->st, &d->arena, (struct deployment_id){w->id}, &dep) != E_OK)
		return true;
	return sm_terminal(&rollout_machine, (int)dep.state);
}

static int64_t run_one(struct drive *d, struct watched *w, struct wall_ms now)
{
	enum { RETRY_MS = 200 };
	if (w->in_flight > 0)
		return 0;
	if (w->retry_at.v < 0)
		w->retry_at.v = now.v + RETRY_MS;
	if (w->retry_at.v > now.v)
		return w->retry_at.v;
	w->retry_at.v = 0;
	if (w->look_at.v != 0 && now.v >= w->look_at.v)
		w->dirty = true;
	if (w->dirty)
		look(d, w, now);
	return w->look_at.v;
}

int64_t rollouts_run(struct drive *d, struct wall_ms now)
{
	int64_t next = 0;
	struct watched *w, *tmp;
	HASH_ITER(hh, d->rollouts, w, tmp)
	{
		if (w->in_flight == 0 && is_over(d, w)) {
			HASH_DEL(d->rollouts, w);
			free(w);
			continue;
		}
		int64_t at = run_one(d, w, now);
		if (at != 0 && (next == 0 || at < next))
			next = at;
	}
	return next;
}

int drive_explain(struct drive *d, struct deployment_id id, struct arena *a, struct wall_ms now,
		  struct plan_update *out)
{
	struct deployment *dep = arena_new(a, struct deployment);
	struct view v;
	int rc = view_of(d, id, a, now, dep, &v);
	if (rc == E_OK)
		plan_step(&v, &(struct plan_event){.now = now}, a, out);
	return rc;
}
