#include <stdlib.h>
#include <string.h>

#include "coordinator/admin/admin_conn.h"

enum { CONFIGURATION_MAX = 4096 };

void admin_env_add(struct admin_conn *c)
{
	const Admin__EnvArgs *args = c->request->env;
	struct command cmd = {.kind = COMMAND_ENV_PUT};
	if (!admin_need_name(c, "an environment", args->name, &cmd.env.name))
		return;
	if (!admin_labels_from(c, args->selector, args->n_selector, &cmd.env.selector))
		return;
	if (strlen(args->configuration) > CONFIGURATION_MAX) {
		admin_fail(c, E_TOO_LARGE, NULL, "the configuration text is longer than %d bytes",
			   CONFIGURATION_MAX);
		return;
	}
	cmd.env.configuration = args->configuration;
	cmd.env.created_at = ADMIN_OPS(c)->now(ADMIN_B(c));
	cmd.env.created_by = c->actor;
	admin_propose(c, &cmd, admin_then_done);
}

struct env_rows {
	struct admin_conn *c;
	struct admin_list envs, runs;
	const struct environment *env;
	uint32_t hosts;
};

/* ---- what runs where: from the placements of all hosts, once for all environments ---- */

struct env_run {
	struct name env;
	Admin__EnvApp row;
};

static struct env_run *find_run(const struct env_rows *rows, const struct placement *p)
{
	for (size_t i = 0; i < rows->runs.nr; i++) {
		struct env_run *r = rows->runs.v[i];
		if (name_eq(&r->env, &p->env) && strcmp(r->row.app, p->app.s) == 0 &&
		    strcmp(r->row.version, p->current.version.s) == 0)
			return r;
	}
	return NULL;
}

static bool count_run(void *arg, const struct placement *p)
{
	struct env_rows *rows = arg;
	struct arena *a = &rows->c->arena;
	if (digest_none(&p->current.id))
		return true;
	struct env_run *r = find_run(rows, p);
	if (r == NULL) {
		r = arena_new(a, struct env_run);
		r->env = p->env;
		admin__env_app__init(&r->row);
		r->row.app = arena_strdup(a, p->app.s);
		r->row.version = arena_strdup(a, p->current.version.s);
		admin_list_add(rows->c, &rows->runs, r);
	}
	r->row.hosts++;
	return true;
}

static bool count_runs_of_host(void *arg, const struct host *h)
{
	struct env_rows *rows = arg;
	view_each_placement(ADMIN_STATE(rows->c), &rows->c->arena, &h->name, 0, count_run, rows);
	return true;
}

static int by_app_and_version(const void *pa, const void *pb)
{
	const Admin__EnvApp *a = *(Admin__EnvApp *const *)pa, *b = *(Admin__EnvApp *const *)pb;
	int order = strcmp(a->app, b->app);
	return order != 0 ? order : strcmp(a->version, b->version);
}

static void fill_runs(struct env_rows *rows, Admin__Env *row)
{
	row->apps = arena_array(&rows->c->arena, Admin__EnvApp *, rows->runs.nr + 1);
	for (size_t i = 0; i < rows->runs.nr; i++) {
		struct env_run *r = rows->runs.v[i];
		if (strcmp(r->env.s, row->name) == 0)
			row->apps[row->n_apps++] = &r->row;
	}
	qsort(row->apps, row->n_apps, sizeof(row->apps[0]), by_app_and_version);
}

/* ---- list and show ---- */

static bool count_host(void *arg, const struct host *h)
{
	struct env_rows *rows = arg;
	rows->hosts += admin_labels_match(&rows->env->selector, &h->labels);
	return true;
}

static bool add_env(void *arg, const struct environment *env)
{
	struct env_rows *rows = arg;
	struct arena *a = &rows->c->arena;
	Admin__Env *row = arena_new(a, Admin__Env);
	admin__env__init(row);
	rows->env = env;
	rows->hosts = 0;
	view_each_host(ADMIN_STATE(rows->c), a, count_host, rows);
	row->name = arena_strdup(a, env->name.s);
	row->configuration = arena_strdup(a, env->configuration);
	row->selector = admin_labels(rows->c, &env->selector, &row->n_selector);
	row->created_at_ms = env->created_at.v;
	row->created_by = arena_strdup(a, env->created_by);
	row->hosts = rows->hosts;
	fill_runs(rows, row);
	admin_list_add(rows->c, &rows->envs, row);
	return true;
}

static void send_envs(struct env_rows *rows)
{
	Admin__Envs envs = ADMIN__ENVS__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	envs.v = (Admin__Env **)rows->envs.v;
	envs.n_v = rows->envs.nr;
	reply.body_case = ADMIN__REPLY__BODY_ENVS;
	reply.envs = &envs;
	admin_reply(rows->c, &reply);
	admin_done(rows->c, 0, "%s", "");
}

void admin_env_list(struct admin_conn *c)
{
	struct env_rows rows = {.c = c};
	view_each_host(ADMIN_STATE(c), &c->arena, count_runs_of_host, &rows);
	view_each_env(ADMIN_STATE(c), &c->arena, add_env, &rows);
	send_envs(&rows);
}

void admin_env_show(struct admin_conn *c)
{
	struct env_rows rows = {.c = c};
	struct environment env;
	if (!admin_need_env(c, c->request->env->name, &env))
		return;
	view_each_host(ADMIN_STATE(c), &c->arena, count_runs_of_host, &rows);
	add_env(&rows, &env);
	send_envs(&rows);
}
