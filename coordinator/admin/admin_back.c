/*
 * admin_back.c: where `rollback` leads. A rollout under way is taken back by a verb of its own. One that has
 * ended is undone by a new deployment of what was deployed before it: the same version with the same file, as
 * the log holds them.
 */
#include <string.h>

#include "base/sm.h"
#include "coordinator/admin/admin_conn.h"
#include "coordinator/state/machines.h"

struct search {
	struct name app, env;	   /* env empty: any, but only one */
	struct name version;	   /* empty: the one before */
	struct deployment_id only; /* 0: any */
	bool has_newest, has_current, has_found, many_envs;
	struct deployment newest;  /* of all */
	struct deployment current; /* the newest that succeeded: what hosts run when the newest went back */
	struct deployment found;
};

static bool look_at(void *arg, const struct deployment *d)
{
	struct search *s = arg;
	if (!name_eq(&d->app, &s->app) || (!name_empty(&s->env) && !name_eq(&d->env, &s->env)))
		return true;
	if (!s->has_newest) {
		s->newest = *d;
		s->has_newest = true;
	}
	s->many_envs = s->many_envs || !name_eq(&d->env, &s->newest.env);
	if (d->state != ROLLOUT_SUCCEEDED || s->has_found)
		return true;
	bool is_first = !s->has_current;
	if (is_first) {
		s->current = *d;
		s->has_current = true;
	}
	bool undoes = s->newest.state != ROLLOUT_SUCCEEDED || !digest_eq(&d->target.id, &s->newest.target.id);
	bool wanted = name_empty(&s->version) ? undoes : name_eq(&d->target.version, &s->version);
	if (wanted && (s->only.v == 0 || s->only.v == d->id.v)) {
		s->found = *d;
		s->has_found = true;
	}
	return true;
}

/* Application and environment: of the word typed, which names either. */
static bool need_names(struct admin_conn *c, const Admin__DeployArgs *args, struct search *s)
{
	struct environment env;
	struct app app;
	if (args->rollout[0]) {
		Admin__RolloutArgs which = ADMIN__ROLLOUT_ARGS__INIT;
		struct deployment d;
		which.deployment = args->rollout;
		if (!admin_need_rollout(c, &which, &d))
			return false;
		s->app = d.app;
		s->env = d.env;
		return true;
	}
	if (!admin_need_app(c, args->app, &app))
		return false;
	s->app = app.name;
	if (args->env[0] && !admin_need_env(c, args->env, &env))
		return false;
	if (args->env[0])
		s->env = env.name;
	return true;
}

static bool refuse(struct admin_conn *c, const struct search *s)
{
	char id[DEPLOYMENT_ID_CAP];
	const char *app = s->app.s, *env = s->newest.env.s;
	if (!name_empty(&s->version))
		admin_fail(c, E_NOT_FOUND,
			   arena_printf(&c->arena, "see what was: wavetrain history %s -e %s", app, env),
			   "no rollout of %s %s in %s succeeded, so it cannot be gone back to", app,
			   s->version.s, env);
	else
		admin_fail(c, E_NOT_FOUND,
			   arena_printf(&c->arena, "see what was: wavetrain history %s -e %s", app, env),
			   "there is nothing before %s to %s %s in %s to go back to",
			   deployment_id_text(s->newest.id, id), app, s->newest.target.version.s, env);
	return false;
}

/* A rollback typed while an automatic one just ended must not go back one more. */
static bool refuse_second(struct admin_conn *c, const struct search *s)
{
	char id[DEPLOYMENT_ID_CAP];
	admin_fail(c, E_CONFLICT,
		   arena_printf(&c->arena, "to go further back: wavetrain rollback %s -e %s --to VERSION",
				s->app.s, s->newest.env.s),
		   "%s is rolled back already: the hosts run %s", deployment_id_text(s->newest.id, id),
		   s->has_current ? s->current.target.version.s : "what they ran before");
	return false;
}

/* An older one of the same application was named: what came later would be undone with it. */
static bool is_newest(struct admin_conn *c, const Admin__DeployArgs *args, const struct search *s)
{
	char id[DEPLOYMENT_ID_CAP];
	struct deployment d;
	if (args->rollout[0] == '\0' ||
	    (view_deployment_by_prefix(ADMIN_STATE(c), &c->arena, args->rollout, &d) == E_OK &&
	     d.id.v == s->newest.id.v))
		return true;
	admin_fail(c, E_CONFLICT,
		   arena_printf(&c->arena, "wavetrain rollback %s -e %s --to VERSION", s->app.s,
				s->newest.env.s),
		   "%s is not the newest rollout of %s in %s, that is %s", args->rollout, s->app.s,
		   s->newest.env.s, deployment_id_text(s->newest.id, id));
	return false;
}

static bool search(struct admin_conn *c, struct search *s)
{
	view_each_deployment(ADMIN_STATE(c), &c->arena, look_at, s);
	if (s->many_envs && name_empty(&s->env)) {
		admin_fail(c, E_AMBIGUOUS, "add -e ENV", "%s was deployed to more than one environment",
			   s->app.s);
		return false;
	}
	if (s->has_newest)
		return true;
	admin_fail(c, E_NOT_FOUND, "start one: wavetrain deploy APP VERSION -e ENV",
		   "there is no rollout of %s%s%s", s->app.s, name_empty(&s->env) ? "" : " in ", s->env.s);
	return false;
}

/* What a rollout under way came from is reached by its own verb, which is quicker and keeps the floor. */
static bool takes_back(const struct search *s)
{
	return !sm_terminal(&rollout_machine, (int)s->newest.state) &&
	       (name_empty(&s->version) || name_eq(&s->version, &s->newest.from_version));
}

/* --to takes a version, or a rollout: then exactly what that one deployed. */
static bool need_version(struct admin_conn *c, const char *text, struct search *s)
{
	Admin__RolloutArgs which = ADMIN__ROLLOUT_ARGS__INIT;
	struct deployment d;
	if (text[0] == '\0')
		return true;
	if (strncmp(text, "r-", 2) != 0)
		return admin_need_version(c, text, &s->version);
	which.deployment = admin_str(text);
	if (!admin_need_rollout(c, &which, &d))
		return false;
	s->only = d.id;
	s->version = d.target.version;
	return true;
}

enum admin_back admin_back(struct admin_conn *c, const Admin__DeployArgs *args, struct deployment *out)
{
	struct search s = {0};
	if (!need_names(c, args, &s) || !need_version(c, args->version, &s) || !search(c, &s) ||
	    !is_newest(c, args, &s))
		return ADMIN_BACK_REFUSED;
	*out = s.newest;
	if (takes_back(&s))
		return ADMIN_BACK_BY_VERB;
	bool second = name_empty(&s.version) && s.newest.state == ROLLOUT_ROLLED_BACK;
	if (second ? !refuse_second(c, &s) : !s.has_found && !refuse(c, &s))
		return ADMIN_BACK_REFUSED;
	*out = s.found;
	return ADMIN_BACK_BY_DEPLOY;
}
