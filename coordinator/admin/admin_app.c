#include <string.h>

#include "coordinator/admin/admin_conn.h"

void admin_app_add(struct admin_conn *c)
{
	struct command cmd = {.kind = COMMAND_APP_PUT};
	struct app existing;
	if (!admin_need_name(c, "an application", c->request->app->name, &cmd.app.name))
		return;
	if (view_app(ADMIN_STATE(c), &c->arena, &cmd.app.name, &existing) == E_OK) {
		admin_done(c, 0, "application %s is already registered", cmd.app.name.s);
		return;
	}
	cmd.app.created_at = ADMIN_OPS(c)->now(ADMIN_B(c));
	cmd.app.created_by = c->actor;
	admin_propose(c, &cmd, admin_then_done);
}

/* ---- list and show ---- */

struct app_rows {
	struct admin_conn *c;
	Admin__App *app; /* being filled */
	struct admin_list apps, envs;
	int64_t newest_ms;
	struct name name;
};

static bool count_release(void *arg, const struct release *r)
{
	struct app_rows *rows = arg;
	rows->app->releases++;
	if (r->created_at.v >= rows->newest_ms) {
		rows->newest_ms = r->created_at.v;
		rows->app->newest = arena_strdup(&rows->c->arena, r->version.s);
	}
	return true;
}

/* Newest first: the first rollout of an environment says what was last wanted there. */
static bool add_env(void *arg, const struct deployment *d)
{
	struct app_rows *rows = arg;
	char id[DEPLOYMENT_ID_CAP];
	struct deployment active;
	if (!name_eq(&d->app, &rows->name))
		return true;
	for (size_t i = 0; i < rows->envs.nr; i++)
		if (strcmp(((Admin__AppEnv *)rows->envs.v[i])->env, d->env.s) == 0)
			return true;

	Admin__AppEnv *e = arena_new(&rows->c->arena, Admin__AppEnv);
	admin__app_env__init(e);
	e->env = arena_strdup(&rows->c->arena, d->env.s);
	e->version = arena_strdup(&rows->c->arena,
				  d->state == ROLLOUT_SUCCEEDED ? d->target.version.s : d->from_version.s);
	e->hosts = d->hosts_nr;
	if (view_active_deployment(ADMIN_STATE(rows->c), &rows->c->arena, &d->app, &d->env, &active) == E_OK)
		e->active = arena_strdup(&rows->c->arena, deployment_id_text(active.id, id));
	admin_list_add(rows->c, &rows->envs, e);
	return true;
}

static bool add_app(void *arg, const struct app *app)
{
	struct app_rows *rows = arg;
	Admin__App *row = arena_new(&rows->c->arena, Admin__App);
	admin__app__init(row);
	row->name = arena_strdup(&rows->c->arena, app->name.s);
	row->created_at_ms = app->created_at.v;
	row->created_by = arena_strdup(&rows->c->arena, app->created_by);
	rows->app = row;
	rows->name = app->name;
	rows->newest_ms = 0;
	rows->envs = (struct admin_list){0};
	view_each_release(ADMIN_STATE(rows->c), &rows->c->arena, &app->name, count_release, rows);
	view_each_deployment(ADMIN_STATE(rows->c), &rows->c->arena, add_env, rows);
	row->envs = (Admin__AppEnv **)rows->envs.v;
	row->n_envs = rows->envs.nr;
	admin_list_add(rows->c, &rows->apps, row);
	return true;
}

static void send_apps(struct app_rows *rows)
{
	Admin__Apps apps = ADMIN__APPS__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	apps.v = (Admin__App **)rows->apps.v;
	apps.n_v = rows->apps.nr;
	reply.body_case = ADMIN__REPLY__BODY_APPS;
	reply.apps = &apps;
	admin_reply(rows->c, &reply);
	admin_done(rows->c, 0, "%s", "");
}

void admin_app_list(struct admin_conn *c)
{
	struct app_rows rows = {.c = c};
	view_each_app(ADMIN_STATE(c), &c->arena, add_app, &rows);
	send_apps(&rows);
}

void admin_app_show(struct admin_conn *c)
{
	struct app_rows rows = {.c = c};
	struct app app;
	if (!admin_need_app(c, c->request->app->name, &app))
		return;
	add_app(&rows, &app);
	send_apps(&rows);
}
