/*
 * join.c: a host that comes into the fleet while rollouts are under way gets the version that its region is
 * at: it joins the wave of its region as a late task. A region that no wave names is not part of the
 * rollout.
 *
 * The host is one entry of the log and its task another. A coordinator may be killed between them and a
 * proposal may be refused, so all hosts are looked at when this one begins to lead and after each refusal
 * that may be none the next time.
 */
#include "coordinator/drive/internal.h"
#include "coordinator/state/shared.h"

enum { JOIN_RETRY_MS = 1000, JOIN_ASKED = -1 };

struct joining {
	struct drive *d;
	struct host *hosts;
	size_t nr, cap;
};

/* A refusal by the fold is final: the rollout has ended meanwhile, or the host is gone or has its task. */
static void joined_cb(void *arg, int code, const struct command_reply *reply)
{
	struct drive *d = arg;
	if (code != E_OK && err_class(code) == ERR_TRANSIENT)
		d->join_at.v = JOIN_ASKED;
}

static void propose_join(struct drive *d, const struct deployment *dep, uint32_t wave, const struct host *h)
{
	struct command c = {.kind = COMMAND_TASK_JOIN, .actor = "planner", .reason = "", .trace = dep->trace};
	c.join.deployment = dep->id;
	c.join.wave = wave;
	c.join.host = h->name;
	d->ports.propose(d->ports.arg, &c, joined_cb, d);
}

static bool wants(struct drive *d, const struct deployment *dep, const struct host *h)
{
	struct task t;
	struct shared other;
	bool has = view_task(d->st, &d->arena, dep->id, &h->name, &t) == E_OK && t.state != TASK_SKIPPED;
	return !has && labels_select(&dep->selector, &h->labels) &&
	       !shared_find(d->st, &d->arena, &dep->app, &dep->env, &h->name, 1, &other);
}

static bool join_one(void *arg, const struct deployment *dep)
{
	struct joining *j = arg;
	struct wave w;
	for (uint32_t i = 0; i < dep->waves_nr && !dep->back; i++) {
		if (view_wave(j->d->st, &j->d->arena, dep->id, i, &w) != E_OK)
			continue;
		for (size_t k = 0; k < j->nr; k++)
			if (name_eq(&w.region, &j->hosts[k].region) && wants(j->d, dep, &j->hosts[k]))
				propose_join(j->d, dep, i, &j->hosts[k]);
	}
	return true;
}

void join_host(struct drive *d, const struct name *host)
{
	struct host h;
	struct joining j = {.d = d, .hosts = &h, .nr = 1};
	if (d->leads && view_host(d->st, &d->arena, host, &h) == E_OK && !h.removed)
		view_each_active(d->st, &d->arena, join_one, &j);
}

static bool collect(void *arg, const struct host *h)
{
	struct joining *j = arg;
	if (j->nr == j->cap) {
		size_t cap = j->cap == 0 ? 64 : 2 * j->cap;
		struct host *v = arena_array(&j->d->arena, struct host, cap);
		if (j->nr > 0)
			memcpy(v, j->hosts, j->nr * sizeof *v);
		j->hosts = v;
		j->cap = cap;
	}
	j->hosts[j->nr++] = *h;
	return true;
}

void join_look(struct drive *d, struct wall_ms now)
{
	d->join_at = now;
}

int64_t join_run(struct drive *d, struct wall_ms now)
{
	struct joining j = {.d = d};
	if (d->join_at.v == JOIN_ASKED)
		d->join_at.v = now.v + JOIN_RETRY_MS;
	if (d->join_at.v == 0 || now.v < d->join_at.v)
		return d->join_at.v;
	d->join_at.v = 0;
	view_each_host(d->st, &d->arena, collect, &j);
	view_each_active(d->st, &d->arena, join_one, &j);
	return d->join_at.v == JOIN_ASKED ? now.v + JOIN_RETRY_MS : 0;
}
