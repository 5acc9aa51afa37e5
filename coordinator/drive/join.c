/*
 * join.c: a host that comes into the fleet while rollouts are under way gets the version that its region is
 * at: it joins the wave of its region as a late task. A region that no wave names is not part of the
 * rollout.
 */
#include "coordinator/drive/internal.h"
#include "coordinator/state/shared.h"

struct joining {
	struct drive *d;
	const struct host *h;
};

static void ignore_cb(void *arg, int code, const struct command_reply *reply)
{
	/* Refused because the rollout has ended meanwhile, or not committed: the host then waits for the next
	 * deployment. */
}

static void propose_join(struct joining *j, const struct deployment *dep, uint32_t wave)
{
	struct command c = {.kind = COMMAND_TASK_JOIN, .actor = "planner", .reason = "", .trace = dep->trace};
	c.join.deployment = dep->id;
	c.join.wave = wave;
	c.join.host = j->h->name;
	j->d->ports.propose(j->d->ports.arg, &c, ignore_cb, NULL);
}

static bool join_one(void *arg, const struct deployment *dep)
{
	struct joining *j = arg;
	struct wave w;
	struct shared other;
	if (dep->back || !labels_select(&dep->selector, &j->h->labels))
		return true;
	for (uint32_t i = 0; i < dep->waves_nr; i++)
		if (view_wave(j->d->st, &j->d->arena, dep->id, i, &w) == E_OK &&
		    name_eq(&w.region, &j->h->region)) {
			if (!shared_find(j->d->st, &j->d->arena, &dep->app, &dep->env, &j->h->name, 1,
					 &other))
				propose_join(j, dep, i);
			return true;
		}
	return true;
}

void join_host(struct drive *d, const struct name *host)
{
	struct host h;
	struct joining j = {d, &h};
	if (d->leads && view_host(d->st, &d->arena, host, &h) == E_OK && !h.removed)
		view_each_active(d->st, &d->arena, join_one, &j);
}
