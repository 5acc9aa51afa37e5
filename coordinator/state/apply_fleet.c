/*
 * apply_fleet.c: cluster, apps, environments and hosts.
 */
#include "coordinator/state/internal.h"

int apply_init(struct apply *ap)
{
	struct state *st = ap->st;
	if (st->cluster_hi != 0 || st->cluster_lo != 0) {
		if (st->cluster_hi == ap->c->init.cluster_hi && st->cluster_lo == ap->c->init.cluster_lo)
			return E_OK;
		return apply_refuse(ap, E_EXISTS, "this state belongs to cluster '%s' already",
				    st->cluster.s);
	}
	st->cluster_hi = ap->c->init.cluster_hi;
	st->cluster_lo = ap->c->init.cluster_lo;
	st->cluster = ap->c->init.name;
	apply_object(ap, "cluster %s", st->cluster.s);
	return E_OK;
}

int apply_app_put(struct apply *ap)
{
	struct app row;
	apply_object(ap, "app %s", ap->c->app.name.s);
	if (name_empty(&ap->c->app.name))
		return apply_refuse(ap, E_INVALID, "an app needs a name");
	if (view_app(ap->st, ap->a, &ap->c->app.name, &row) == E_OK)
		return E_OK; /* said twice is said once */
	row = ap->c->app;
	row.created_at = ap->c->at;
	row.created_by = ap->c->actor;
	put_app(ap, &row);
	apply_change(ap, CHANGE_APP)->app = row.name;
	return E_OK;
}

int apply_env_put(struct apply *ap)
{
	struct environment row = ap->c->env, old;
	apply_object(ap, "env %s", row.name.s);
	if (name_empty(&row.name))
		return apply_refuse(ap, E_INVALID, "an environment needs a name");
	bool is_new = view_env(ap->st, ap->a, &row.name, &old) != E_OK;
	row.created_at = is_new ? ap->c->at : old.created_at;
	row.created_by = is_new ? ap->c->actor : old.created_by;
	put_env(ap, &row);
	apply_moved(ap, NULL);
	apply_change(ap, CHANGE_ENV);
	return E_OK;
}

int apply_host_add(struct apply *ap)
{
	struct host row = ap->c->host, old;
	apply_object(ap, "host %s", row.name.s);
	if (name_empty(&row.name) || name_empty(&row.region))
		return apply_refuse(ap, E_INVALID, "a host needs a name and a region");
	bool known = view_host(ap->st, ap->a, &row.name, &old) == E_OK;
	if (known && !old.removed)
		return apply_refuse(
			ap, E_EXISTS,
			"host %s is in the fleet already (region %s); remove it first to make a new bundle",
			row.name.s, old.region.s);
	row.generation = known ? old.generation + 1 : 1;
	row.seq = known ? old.seq : 0;
	row.removed = false;
	row.created_at = ap->c->at;
	row.created_by = ap->c->actor;
	put_host(ap, &row);
	apply_moved(ap, NULL);
	apply_change(ap, CHANGE_HOST)->host = row.name;
	ap->reply->generation = row.generation;
	return E_OK;
}

/* The tasks it still has in rollouts under way end as SKIPPED: an acknowledged scale-in lowers N (D2). */
static bool skip_task(void *arg, const struct deployment *d)
{
	struct apply *ap = arg;
	struct task t;
	if (view_task(ap->st, ap->a, d->id, &ap->c->host_remove, &t) == E_OK)
		/* A task that has ended has no way to SKIPPED; then there is nothing to do. */
		if (apply_task_move(ap, &t, &d->app, TASK_SKIPPED, "the host was removed from the fleet") !=
		    E_OK)
			return true;
	return true;
}

struct apps {
	struct name v[256];
	size_t nr;
};

static bool collect_app(void *arg, const struct placement *p)
{
	struct apps *apps = arg;
	apps->v[apps->nr++] = p->app;
	return apps->nr < ARRAY_LEN(apps->v);
}

static void drop_placements(struct apply *ap, const struct name *host)
{
	struct apps apps;
	do {
		apps.nr = 0;
		view_each_placement(ap->st, ap->a, host, 0, collect_app, &apps);
		for (size_t i = 0; i < apps.nr; i++) {
			struct key k = key_names(TABLE_PLACEMENT, host, &apps.v[i]);
			ap->st->store->ops->del(ap->st->store, key_slice(&k));
		}
	} while (apps.nr == ARRAY_LEN(apps.v));
}

int apply_host_remove(struct apply *ap)
{
	struct host row;
	const struct name *name = &ap->c->host_remove;
	apply_object(ap, "host %s", name->s);
	if (view_host(ap->st, ap->a, name, &row) != E_OK)
		return apply_refuse(ap, E_NOT_FOUND, "no host is named %s", name->s);
	if (row.removed)
		return E_OK;
	row.removed = true;
	put_host(ap, &row);
	view_each_active(ap->st, ap->a, skip_task, ap);
	drop_placements(ap, name);
	apply_moved(ap, NULL);
	apply_change(ap, CHANGE_HOST)->host = *name;
	return E_OK;
}
