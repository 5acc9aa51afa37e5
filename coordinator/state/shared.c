#include "coordinator/state/shared.h"

#include <string.h>

#include "base/err.h"

static const char *value_of(const struct labels *l, const char *key)
{
	for (size_t i = 0; i < l->nr; i++)
		if (strcmp(l->v[i].key, key) == 0)
			return l->v[i].value;
	return NULL;
}

bool labels_select(const struct labels *selector, const struct labels *host)
{
	for (size_t i = 0; i < selector->nr; i++) {
		const char *v = value_of(host, selector->v[i].key);
		if (v == NULL || strcmp(v, selector->v[i].value) != 0)
			return false;
	}
	return true;
}

struct search {
	struct state *st;
	struct arena *a;
	const struct name *app, *env, *hosts;
	size_t nr;
	struct shared *out;
	bool found;
};

static bool found(struct search *s, const struct name *host, const struct name *env,
		  struct deployment_id rollout)
{
	*s->out = (struct shared){.host = *host, .app = *s->app, .env = *env, .rollout = rollout};
	s->found = true;
	return true;
}

/* Ends the iteration, with false, at the first host found. */
static bool in_rollout(void *arg, const struct deployment *d)
{
	struct search *s = arg;
	struct task t;
	if (!name_eq(&d->app, s->app) || name_eq(&d->env, s->env))
		return true;
	for (size_t i = 0; i < s->nr && !s->found; i++)
		if (view_task(s->st, s->a, d->id, &s->hosts[i], &t) == E_OK && t.state != TASK_SKIPPED)
			found(s, &s->hosts[i], &d->env, d->id);
	return !s->found;
}

static bool runs_anything(const struct placement *p)
{
	return p->seq != 0 && (!digest_none(&p->current.id) || !digest_none(&p->desired.id));
}

static bool in_placement(struct search *s, const struct name *host)
{
	struct placement p;
	struct environment env;
	struct host h;
	if (view_placement(s->st, s->a, host, s->app, &p) != E_OK || name_eq(&p.env, s->env) ||
	    !runs_anything(&p) || view_env(s->st, s->a, &p.env, &env) != E_OK ||
	    view_host(s->st, s->a, host, &h) != E_OK || !labels_select(&env.selector, &h.labels))
		return false;
	return found(s, host, &p.env, (struct deployment_id){0});
}

bool shared_find(struct state *st, struct arena *a, const struct name *app, const struct name *env,
		 const struct name *hosts, size_t nr, struct shared *out)
{
	struct search s = {.st = st, .a = a, .app = app, .env = env, .hosts = hosts, .nr = nr, .out = out};
	view_each_active(st, a, in_rollout, &s);
	for (size_t i = 0; i < nr && !s.found; i++)
		in_placement(&s, &hosts[i]);
	return s.found;
}

const char *shared_text(const struct shared *s, struct arena *a)
{
	char id[DEPLOYMENT_ID_CAP];
	const char *what =
		arena_printf(a, "runs %s of environment %s, which selects it too", s->app.s, s->env.s);
	if (s->rollout.v != 0)
		what = arena_printf(a, "has a task in %s, a rollout of %s in environment %s",
				    deployment_id_text(s->rollout, id), s->app.s, s->env.s);
	return arena_printf(a,
			    "host %s %s: an app runs once on a host, so give the environments labels that no "
			    "host has in common",
			    s->host.s, what);
}
