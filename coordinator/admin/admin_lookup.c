#include <stdio.h>
#include <string.h>

#include "base/sm.h"
#include "coordinator/admin/admin_conn.h"
#include "coordinator/admin/commands_words.h"
#include "coordinator/state/machines.h"

/* ---- did you mean ---- */

enum { SUGGESTIONS_MAX = 5 };

struct suggest {
	struct admin_conn *c;
	const char *wanted;
	struct admin_list found;
};

static void consider(struct suggest *s, const struct name *n)
{
	size_t len = strlen(s->wanted);
	bool close = commands_words_close(s->wanted, n->s);
	bool prefix = len >= 2 && strncmp(n->s, s->wanted, len) == 0;
	if ((close || prefix) && s->found.nr < SUGGESTIONS_MAX)
		admin_list_add(s->c, &s->found, arena_strdup(&s->c->arena, n->s));
}

static bool consider_app(void *arg, const struct app *a)
{
	consider(arg, &a->name);
	return true;
}

static bool consider_env(void *arg, const struct environment *e)
{
	consider(arg, &e->name);
	return true;
}

static bool consider_host(void *arg, const struct host *h)
{
	consider(arg, &h->name);
	return true;
}

static bool consider_release(void *arg, const struct release *r)
{
	consider(arg, &r->version);
	return true;
}

static void fail_not_found(struct suggest *s, const char *what, const char *next)
{
	struct arena *a = &s->c->arena;
	const char *hint = s->found.nr ? arena_printf(a, "did you mean '%s'?", (char *)s->found.v[0]) : next;
	admin_fail_with(s->c, E_NOT_FOUND, hint, (char **)s->found.v, s->found.nr,
			arena_printf(a, "there is no %s '%s'", what, s->wanted));
}

/* ---- names ---- */

bool admin_need_name(struct admin_conn *c, const char *what, const char *text, struct name *out)
{
	if (name_set(out, text))
		return true;
	admin_fail(c, E_INVALID, "names are 1 to 64 of a-z 0-9 . _ - and start with a letter or digit",
		   "'%.80s' is not a name for %s", text, what);
	return false;
}

bool admin_need_version(struct admin_conn *c, const char *text, struct name *out)
{
	if (name_set_version(out, text))
		return true;
	admin_fail(c, E_INVALID, "versions are 1 to 64 of letters, digits and . _ - +",
		   "'%.80s' is not a version", text);
	return false;
}

bool admin_need_app(struct admin_conn *c, const char *text, struct app *out)
{
	struct name n;
	if (!admin_need_name(c, "an application", text, &n))
		return false;
	if (view_app(ADMIN_STATE(c), &c->arena, &n, out) == E_OK)
		return true;
	struct suggest s = {.c = c, .wanted = n.s};
	view_each_app(ADMIN_STATE(c), &c->arena, consider_app, &s);
	fail_not_found(&s, "application", arena_printf(&c->arena, "register it: wavetrain app add %s", n.s));
	return false;
}

bool admin_need_env(struct admin_conn *c, const char *text, struct environment *out)
{
	struct name n;
	if (text[0] == '\0') {
		admin_fail(c, E_INVALID, "add -e ENV, or set WAVETRAIN_ENV", "no environment was given");
		return false;
	}
	if (!admin_need_name(c, "an environment", text, &n))
		return false;
	if (view_env(ADMIN_STATE(c), &c->arena, &n, out) == E_OK)
		return true;
	struct suggest s = {.c = c, .wanted = n.s};
	view_each_env(ADMIN_STATE(c), &c->arena, consider_env, &s);
	fail_not_found(&s, "environment", arena_printf(&c->arena, "register it: wavetrain env add %s", n.s));
	return false;
}

bool admin_need_host(struct admin_conn *c, const char *text, struct host *out)
{
	struct name n;
	if (!admin_need_name(c, "a host", text, &n))
		return false;
	if (view_host(ADMIN_STATE(c), &c->arena, &n, out) == E_OK && !out->removed)
		return true;
	struct suggest s = {.c = c, .wanted = n.s};
	view_each_host(ADMIN_STATE(c), &c->arena, consider_host, &s);
	fail_not_found(&s, "host", "see them all: wavetrain agents list");
	return false;
}

bool admin_need_release(struct admin_conn *c, const struct name *app, const char *version,
			struct release *out)
{
	struct name n;
	if (!admin_need_version(c, version, &n))
		return false;
	if (view_release(ADMIN_STATE(c), &c->arena, app, &n, out) == E_OK)
		return true;
	struct suggest s = {.c = c, .wanted = n.s};
	view_each_release(ADMIN_STATE(c), &c->arena, app, consider_release, &s);
	fail_not_found(&s, arena_printf(&c->arena, "release of %s", app->s),
		       arena_printf(&c->arena, "push it: wavetrain release push %s %s PATH", app->s, n.s));
	return false;
}

/* ---- rollouts ---- */

struct pick {
	struct admin_conn *c;
	struct name app, env; /* empty: any */
	const char *prefix;   /* NULL: any */
	struct deployment active, newest;
	bool has_active, has_newest;
	unsigned active_nr;
	struct admin_list candidates;
};

static bool pick_matches(const struct pick *p, const struct deployment *d)
{
	char text[DEPLOYMENT_ID_CAP];
	if (!name_empty(&p->app) && !name_eq(&p->app, &d->app))
		return false;
	if (!name_empty(&p->env) && !name_eq(&p->env, &d->env))
		return false;
	return !p->prefix || strncmp(deployment_id_text(d->id, text) + 2, p->prefix, strlen(p->prefix)) == 0;
}

static bool pick_each(void *arg, const struct deployment *d)
{
	struct pick *p = arg;
	char text[DEPLOYMENT_ID_CAP];
	if (!pick_matches(p, d))
		return true;
	if (!p->has_newest)
		p->newest = *d;
	p->has_newest = true;
	if (!sm_terminal(&rollout_machine, (int)d->state)) {
		p->active = *d;
		p->has_active = true;
		p->active_nr++;
	}
	if (p->candidates.nr < 10 && (p->prefix || !sm_terminal(&rollout_machine, (int)d->state)))
		admin_list_add(p->c, &p->candidates,
			       arena_printf(&p->c->arena, "%s  %s %s  %s  %s",
					    deployment_id_text(d->id, text), d->app.s, d->target.version.s,
					    d->env.s, sm_name(&rollout_machine, (int)d->state)));
	return true;
}

static bool fail_ambiguous(struct admin_conn *c, struct pick *p, const char *text)
{
	admin_fail_with(c, E_AMBIGUOUS, "give more of the id", (char **)p->candidates.v, p->candidates.nr,
			text);
	return false;
}

static bool by_prefix(struct admin_conn *c, const char *text, struct deployment *out)
{
	struct pick p = {.c = c, .prefix = strncmp(text, "r-", 2) == 0 ? text + 2 : text};
	int rc = view_deployment_by_prefix(ADMIN_STATE(c), &c->arena, text, out);
	if (rc == E_OK)
		return true;
	if (rc == E_AMBIGUOUS) {
		view_each_deployment(ADMIN_STATE(c), &c->arena, pick_each, &p);
		return fail_ambiguous(
			c, &p, arena_printf(&c->arena, "more than one rollout begins with '%s'", text));
	}
	admin_fail(c, E_NOT_FOUND, "see them: wavetrain list", "there is no rollout '%.40s'", text);
	return false;
}

static bool newest_or_active(struct admin_conn *c, struct pick *p, struct deployment *out)
{
	view_each_deployment(ADMIN_STATE(c), &c->arena, pick_each, p);
	if (p->active_nr > 1)
		return fail_ambiguous(c, p, "more than one rollout is under way");
	if (!p->has_newest) {
		admin_fail(c, E_NOT_FOUND, "start one: wavetrain deploy APP VERSION -e ENV",
			   "there is no rollout%s%s%s%s", name_empty(&p->app) ? "" : " of ", p->app.s,
			   name_empty(&p->env) ? "" : " in ", p->env.s);
		return false;
	}
	*out = p->has_active ? p->active : p->newest;
	return true;
}

bool admin_need_rollout(struct admin_conn *c, const Admin__RolloutArgs *args, struct deployment *out)
{
	struct pick p = {.c = c};
	struct environment env;
	struct app app;
	if (args->deployment[0])
		return by_prefix(c, args->deployment, out);
	if (args->app[0]) {
		if (!admin_need_app(c, args->app, &app))
			return false;
		p.app = app.name;
	}
	if (args->env[0]) {
		if (!admin_need_env(c, args->env, &env))
			return false;
		p.env = env.name;
	}
	return newest_or_active(c, &p, out);
}

/* ---- labels ---- */

static bool has_label(const struct labels *l, const struct label *wanted)
{
	for (size_t i = 0; i < l->nr; i++)
		if (strcmp(l->v[i].key, wanted->key) == 0)
			return strcmp(l->v[i].value, wanted->value) == 0;
	return false;
}

bool admin_labels_match(const struct labels *selector, const struct labels *labels)
{
	for (size_t i = 0; i < selector->nr; i++)
		if (!has_label(labels, &selector->v[i]))
			return false;
	return true;
}
