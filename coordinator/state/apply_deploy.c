/*
 * apply_deploy.c: a deployment comes into being. Everything the planner relies on later is checked here,
 * before the first write: the plan was made on the state as it is, the target may be deployed, the waves are
 * a graph that only looks back, hosts are live and stand in one wave each.
 */
#include "coordinator/state/internal.h"
#include "coordinator/state/shared.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

enum { WAVES_MAX = 64 };

static int check_stale(struct apply *ap)
{
	const struct command_deploy *d = &ap->c->deploy;
	if (moved_index(ap->st, &d->deployment.app) <= d->state_index &&
	    moved_index(ap->st, NULL) <= d->state_index)
		return E_OK;
	return apply_refuse(ap, E_STALE,
			    "the fleet or %s changed after this plan was made (at index %llu); plan again",
			    d->deployment.app.s, (unsigned long long)d->state_index);
}

/* The text is stored under its digest, and what hosts run is named by that digest: it must be the one. */
static int check_spec(struct apply *ap)
{
	const struct command_deploy *d = &ap->c->deploy;
	struct digest is;
	SHA256((const uint8_t *)d->spec, d->spec_len, is.b);
	if (digest_eq(&is, &d->deployment.target.spec))
		return E_OK;
	return apply_refuse(ap, E_INVALID,
			    "the deployment file does not have the digest that its target names");
}

static int check_target(struct apply *ap)
{
	const struct command_deploy *d = &ap->c->deploy;
	struct release r;
	struct bad_mark mark;
	char id[DEPLOYMENT_ID_CAP];
	if (view_release_by_digest(ap->st, ap->a, &d->deployment.app, &d->deployment.target.artifact, &r) !=
	    E_OK)
		return apply_refuse(ap, E_NOT_FOUND, "%s has no release with these bytes",
				    d->deployment.app.s);
	if (d->force_bad ||
	    view_bad(ap->st, ap->a, &d->deployment.app, &d->deployment.target.id, &mark) != E_OK)
		return E_OK;
	return apply_refuse(ap, E_BAD_DIGEST,
			    "%s %s with this file is marked bad since %s (%s); `wavetrain release "
			    "release-bad %s %s --reason ...` lifts the mark",
			    d->deployment.app.s, d->deployment.target.version.s,
			    deployment_id_text(mark.deployment, id), mark.reason, d->deployment.app.s,
			    d->deployment.target.version.s);
}

static int check_waves(struct apply *ap)
{
	const struct command_deploy *d = &ap->c->deploy;
	if (d->waves_nr == 0 || d->waves_nr > WAVES_MAX || d->tasks_nr == 0)
		return apply_refuse(ap, E_INVALID, "a rollout has 1 to %d waves and at least one host",
				    WAVES_MAX);
	for (size_t i = 0; i < d->waves_nr; i++)
		if (d->waves[i].index != i || (d->waves[i].after >> i) != 0)
			return apply_refuse(ap, E_INVALID,
					    "wave %zu is out of order or waits for itself or a later one",
					    i + 1);
	return E_OK;
}

static int by_host(const void *pa, const void *pb)
{
	const struct task *const *a = pa, *const *b = pb;
	return name_cmp(&(*a)->host, &(*b)->host);
}

/* No two are equal: qsort keeps no order of its own, and a refusal that names two is a row of the audit. */
static int by_place(const void *pa, const void *pb)
{
	const struct task *const *a = pa, *const *b = pb;
	if ((*a)->wave != (*b)->wave)
		return (*a)->wave < (*b)->wave ? -1 : 1;
	if ((*a)->position != (*b)->position)
		return (*a)->position < (*b)->position ? -1 : 1;
	return by_host(pa, pb);
}

static bool same_place(const struct task *a, const struct task *b)
{
	return a->wave == b->wave && a->position == b->position;
}

static int check_tasks(struct apply *ap)
{
	const struct command_deploy *d = &ap->c->deploy;
	const struct task **sorted = arena_array(ap->a, const struct task *, d->tasks_nr);
	struct host h;
	for (size_t i = 0; i < d->tasks_nr; i++) {
		sorted[i] = &d->tasks[i];
		if (d->tasks[i].wave >= d->waves_nr)
			return apply_refuse(ap, E_INVALID, "host %s stands in a wave that is not there",
					    d->tasks[i].host.s);
		if (view_host(ap->st, ap->a, &d->tasks[i].host, &h) != E_OK || h.removed)
			return apply_refuse(ap, E_STALE, "host %s is not in the fleet any more; plan again",
					    d->tasks[i].host.s);
	}
	qsort(sorted, d->tasks_nr, sizeof *sorted, by_host);
	for (size_t i = 1; i < d->tasks_nr; i++)
		if (by_host(&sorted[i - 1], &sorted[i]) == 0)
			return apply_refuse(ap, E_INVALID, "host %s stands in two waves", sorted[i]->host.s);
	/* A task's row is named by its place: two in one place would be one. */
	qsort(sorted, d->tasks_nr, sizeof *sorted, by_place);
	for (size_t i = 1; i < d->tasks_nr; i++)
		if (same_place(sorted[i - 1], sorted[i]))
			return apply_refuse(ap, E_INVALID, "hosts %s and %s have the same place in wave %u",
					    sorted[i - 1]->host.s, sorted[i]->host.s, sorted[i]->wave + 1);
	return E_OK;
}

/* No other environment of this app has one of these hosts. */
static int check_shared(struct apply *ap)
{
	const struct command_deploy *d = &ap->c->deploy;
	struct name *hosts = arena_array(ap->a, struct name, d->tasks_nr);
	struct shared other;
	for (size_t i = 0; i < d->tasks_nr; i++)
		hosts[i] = d->tasks[i].host;
	if (!shared_find(ap->st, ap->a, &d->deployment.app, &d->deployment.env, hosts, d->tasks_nr, &other))
		return E_OK;
	return apply_refuse(ap, E_CONFLICT, "%s", shared_text(&other, ap->a));
}

static int check_names(struct apply *ap)
{
	const struct deployment *d = &ap->c->deploy.deployment;
	struct app app;
	struct environment env;
	struct deployment other;
	if (view_app(ap->st, ap->a, &d->app, &app) != E_OK)
		return apply_refuse(ap, E_NOT_FOUND, "no app is named '%s'", d->app.s);
	if (view_env(ap->st, ap->a, &d->env, &env) != E_OK)
		return apply_refuse(ap, E_NOT_FOUND,
				    "no environment is named '%s'; `wavetrain env add %s` makes it", d->env.s,
				    d->env.s);
	if (d->id.v == 0 || view_deployment(ap->st, ap->a, d->id, &other) == E_OK)
		return apply_refuse(ap, E_INVALID, "the deployment's id is taken");
	return E_OK;
}

/* A newer deployment replaces one that goes forward. One that goes back must finish: it is repairing
 * something. */
static int check_active(struct apply *ap, struct deployment *active, bool *found)
{
	const struct deployment *d = &ap->c->deploy.deployment;
	char id[DEPLOYMENT_ID_CAP];
	*found = view_active_deployment(ap->st, ap->a, &d->app, &d->env, active) == E_OK;
	if (*found && active->back)
		return apply_refuse(ap, E_CONFLICT,
				    "%s is taking %s back in %s; wait for it, or `wavetrain abort %s`",
				    deployment_id_text(active->id, id), d->app.s, d->env.s, id);
	return E_OK;
}

static void supersede(struct apply *ap, struct deployment *old)
{
	char id[DEPLOYMENT_ID_CAP];
	const struct deployment *d = &ap->c->deploy.deployment;
	old->superseded_by = d->id;
	const char *why = arena_printf(ap->a, "superseded by %s (%s, by %s)", deployment_id_text(d->id, id),
				       d->target.version.s, ap->c->actor);
	PRE(apply_rollout_move(ap, old, ROLLOUT_SUPERSEDED, why) == E_OK);
}

static void put_indexes(struct apply *ap, const struct deployment *d)
{
	uint8_t id[8];
	struct key serial = key_of(TABLE_SERIAL), active = key_names(TABLE_ACTIVE, &d->app, &d->env);
	put_u64(id, d->id.v);
	key_u64(&serial, ~d->serial);
	put_raw(ap->st, &serial, id, sizeof id);
	put_raw(ap->st, &active, id, sizeof id);
}

static struct target from_of(struct apply *ap, const struct name *host, const struct name *app)
{
	struct placement p;
	if (view_placement(ap->st, ap->a, host, app, &p) != E_OK)
		return (struct target){0};
	return digest_none(&p.stable.id) ? p.current : p.stable;
}

static void put_rows(struct apply *ap, struct deployment *d)
{
	const struct command_deploy *dp = &ap->c->deploy;
	struct key spec = key_digest(TABLE_SPEC, NULL, &d->target.spec);
	put_raw(ap->st, &spec, dp->spec, dp->spec_len);
	for (size_t i = 0; i < dp->waves_nr; i++) {
		struct wave w = dp->waves[i];
		w.deployment = d->id;
		w.state = WAVE_PENDING;
		w.state_since = ap->c->at;
		w.reason = "";
		put_wave(ap, &w);
	}
	for (size_t i = 0; i < dp->tasks_nr; i++) {
		struct task t = {.deployment = d->id,
				 .host = dp->tasks[i].host,
				 .wave = dp->tasks[i].wave,
				 .position = dp->tasks[i].position,
				 .state = TASK_QUEUED,
				 .direction = DIRECTION_FORWARD,
				 .from = from_of(ap, &dp->tasks[i].host, &d->app),
				 .reason = "",
				 .state_since = ap->c->at};
		put_task(ap, &t);
		put_task_of(ap, &t);
	}
}

int apply_deploy(struct apply *ap)
{
	struct deployment d = ap->c->deploy.deployment, active;
	bool found;
	char id[DEPLOYMENT_ID_CAP];
	apply_object(ap, "%s %s %s in %s", deployment_id_text(d.id, id), d.app.s, d.target.version.s,
		     d.env.s);
	static int (*const checks[])(struct apply *) = {check_names, check_stale, check_spec,  check_target,
							check_waves, check_tasks, check_shared};
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		int rc = checks[i](ap);
		if (rc != E_OK)
			return rc;
	}
	int rc = check_active(ap, &active, &found);
	if (rc != E_OK)
		return rc;
	if (found)
		supersede(ap, &active);
	d.serial = ap->index;
	d.state = ROLLOUT_RUNNING;
	d.resume_to = ROLLOUT_RUNNING;
	d.back = d.promoted = false;
	d.reason = ap->c->reason;
	d.initiator = ap->c->actor;
	d.trace = ap->c->trace;
	d.waves_nr = (uint32_t)ap->c->deploy.waves_nr;
	d.hosts_nr = (uint32_t)ap->c->deploy.tasks_nr;
	d.created_at = d.state_since = ap->c->at;
	d.total_deadline.v = d.limits.total_ms == 0 ? 0 : ap->c->at.v + d.limits.total_ms;
	put_rows(ap, &d);
	put_deployment(ap, &d);
	put_indexes(ap, &d);
	apply_moved(ap, &d.app);
	*apply_change(ap, CHANGE_DEPLOYMENT) = (struct change){.kind = CHANGE_DEPLOYMENT,
							       .app = d.app,
							       .deployment = d.id,
							       .to = ROLLOUT_RUNNING,
							       .reason = d.reason};
	return E_OK;
}
