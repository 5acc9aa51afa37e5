#include <stdlib.h>
#include <string.h>

#include "base/sm.h"
#include "coordinator/admin/admin_conn.h"
#include "coordinator/state/machines.h"

/* ---- the view of one rollout ---- */

static const char *cause_text(enum cause cause)
{
	switch (cause) {
	case CAUSE_NONE:
		return "";
	case CAUSE_VERSION:
		return "version";
	case CAUSE_INFRA:
		return "infrastructure";
	case CAUSE_OPERATOR:
		return "operator";
	}
	return "";
}

static bool is_failed(const struct task *t)
{
	return t->state == TASK_FAILED || t->state == TASK_LOST;
}

/* Good: where this rollout now wants the host to be. */
static bool is_good(const struct deployment *d, const struct task *t)
{
	if (d->back)
		return t->state == TASK_REVERTED || !t->touched;
	return t->state == TASK_HEALTHY;
}

static bool task_at_rest(const struct task *t)
{
	return t->state == TASK_HEALTHY || t->state == TASK_REVERTED || t->state == TASK_FAILED ||
	       t->state == TASK_STOPPED || sm_terminal(&task_machine, (int)t->state);
}

/* What a host that is done says now, unless a later rollout has told it something else since. */
static void add_drift(struct admin_conn *c, const struct deployment *d, const struct task *t,
		      Admin__Task *row)
{
	struct admin_soft soft = {0};
	struct placement p;
	if (view_placement(ADMIN_STATE(c), &c->arena, &t->host, &d->app, &p) != E_OK ||
	    p.deployment.v != d->id.v)
		return;
	ADMIN_OPS(c)->soft(ADMIN_B(c), &c->arena, &t->host, &d->app, &soft);
	if (soft.seen)
		row->drift = admin_str(admin_drift(&p, &soft));
	row->note = admin_str(soft.note);
}

static Admin__Task *task_row(struct admin_conn *c, const struct deployment *d, const struct task *t)
{
	struct admin_soft soft = {0};
	Admin__Task *row = arena_new(&c->arena, Admin__Task);
	admin__task__init(row);
	row->host = arena_strdup(&c->arena, t->host.s);
	row->wave = t->wave;
	row->position = t->position;
	row->state = admin_str(sm_name(&task_machine, (int)t->state));
	row->back = t->direction == DIRECTION_BACK;
	row->cause = admin_str(cause_text(t->cause));
	row->reason = arena_strdup(&c->arena, admin_str(t->reason));
	row->from_version = arena_strdup(&c->arena, t->from.version.s);
	row->attempts = t->attempts;
	row->state_since_ms = t->state_since.v;
	row->passes = t->evidence.passes;
	row->failures = t->evidence.failures;
	row->touched = t->touched;
	if (t->state == TASK_QUEUED)
		return row;
	if (task_at_rest(t)) {
		add_drift(c, d, t, row);
		return row;
	}
	ADMIN_OPS(c)->soft(ADMIN_B(c), &c->arena, &t->host, &d->app, &soft);
	row->step = admin_str(soft.step);
	row->note = admin_str(soft.note);
	row->fetched_bytes = soft.fetched_bytes;
	row->fetch_total_bytes = soft.fetch_total_bytes;
	return row;
}

static Admin__Wave *wave_row(struct admin_conn *c, const struct wave *w)
{
	Admin__Wave *row = arena_new(&c->arena, Admin__Wave);
	admin__wave__init(row);
	row->index = w->index;
	row->region = arena_strdup(&c->arena, w->region.s);
	row->state = admin_str(sm_name(&wave_machine, (int)w->state));
	row->reason = arena_strdup(&c->arena, admin_str(w->reason));
	row->state_since_ms = w->state_since.v;
	row->bake_ms = w->bake_ms;
	row->after = w->after;
	row->promoted = w->promoted != 0;
	return row;
}

static void count_task(Admin__Rollout *r, const struct deployment *d, const struct task *t)
{
	bool good = is_good(d, t), bad = is_failed(t);
	r->hosts_done += good;
	r->hosts_failed += bad;
	r->hosts_touched += t->touched;
	if (t->wave < r->n_waves) {
		r->waves[t->wave]->hosts++;
		r->waves[t->wave]->good += good;
		r->waves[t->wave]->bad += bad;
	}
}

struct waiting {
	struct admin_conn *c;
	struct admin_list lines;
};

static void add_line(void *arg, const char *line)
{
	struct waiting *w = arg;
	admin_list_add(w->c, &w->lines, arena_strdup(&w->c->arena, line));
}

static void fill_waiting(struct admin_conn *c, const struct deployment *d, Admin__Rollout *r)
{
	struct waiting w = {.c = c};
	if (!r->terminal && ADMIN_OPS(c)->explain)
		ADMIN_OPS(c)->explain(ADMIN_B(c), &c->arena, d->id, add_line, &w);
	r->waiting = (char **)w.lines.v;
	r->n_waiting = w.lines.nr;
}

Admin__Rollout *admin_rollout_view(struct admin_conn *c, const struct deployment *d)
{
	Admin__Rollout *r = admin_rollout_row(c, d);
	struct deployment fresh;
	struct bad_mark mark;
	struct wave *waves = NULL;
	struct task *tasks = NULL;
	size_t nr = 0;
	if (view_rollout(ADMIN_STATE(c), &c->arena, d->id, &fresh, &waves, &tasks, &nr) != E_OK)
		return r;
	r->waves = arena_array(&c->arena, Admin__Wave *, fresh.waves_nr ? fresh.waves_nr : 1);
	r->n_waves = fresh.waves_nr;
	for (size_t i = 0; i < fresh.waves_nr; i++)
		r->waves[i] = wave_row(c, &waves[i]);
	r->tasks = arena_array(&c->arena, Admin__Task *, nr ? nr : 1);
	r->n_tasks = nr;
	for (size_t i = 0; i < nr; i++) {
		r->tasks[i] = task_row(c, &fresh, &tasks[i]);
		count_task(r, &fresh, &tasks[i]);
	}
	fill_waiting(c, d, r);
	r->target_bad = view_bad(ADMIN_STATE(c), &c->arena, &d->app, &d->target.id, &mark) == E_OK;
	r->now_ms = ADMIN_OPS(c)->now(ADMIN_B(c)).v;
	r->cursor = events_newest(c->admin->config.events);
	return r;
}

void admin_send_rollout(struct admin_conn *c, Admin__Rollout *row)
{
	Admin__Reply reply = ADMIN__REPLY__INIT;
	reply.body_case = ADMIN__REPLY__BODY_ROLLOUT;
	reply.rollout = row;
	admin_reply(c, &reply);
}

void admin_status(struct admin_conn *c)
{
	struct deployment d;
	if (!admin_need_rollout(c, c->request->rollout, &d))
		return;
	Admin__Rollout *r = admin_rollout_view(c, &d);
	if (r->terminal || d.state == ROLLOUT_HELD || d.back)
		admin_seen(c, &d, r);
	admin_send_rollout(c, r);
	admin_done_rollout(c, admin_rollout_exit(&d, false), d.id, 0, "");
}

/* ---- list and history ---- */

struct rollout_rows {
	struct admin_conn *c;
	struct admin_list v;
	struct name app, env; /* empty: any */
	uint32_t limit;
};

static bool add_rollout(void *arg, const struct deployment *d)
{
	struct rollout_rows *rows = arg;
	if (!name_empty(&rows->app) && !name_eq(&rows->app, &d->app))
		return true;
	if (!name_empty(&rows->env) && !name_eq(&rows->env, &d->env))
		return true;
	admin_list_add(rows->c, &rows->v, admin_rollout_row(rows->c, d));
	return rows->v.nr < rows->limit;
}

static bool add_finished(void *arg, const struct deployment *d)
{
	return sm_terminal(&rollout_machine, (int)d->state) ? add_rollout(arg, d) : true;
}

static bool want(struct admin_conn *c, struct rollout_rows *rows)
{
	const Admin__ListArgs *args = c->request->list;
	struct app app;
	struct environment env;
	if (args->app[0]) {
		if (!admin_need_app(c, args->app, &app))
			return false;
		rows->app = app.name;
	}
	if (args->env[0]) {
		if (!admin_need_env(c, args->env, &env))
			return false;
		rows->env = env.name;
	}
	rows->limit = args->limit && args->limit <= 1000 ? args->limit : 20;
	return true;
}

static void send_rollouts(struct rollout_rows *rows)
{
	Admin__Rollouts rollouts = ADMIN__ROLLOUTS__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	rollouts.v = (Admin__Rollout **)rows->v.v;
	rollouts.n_v = rows->v.nr;
	reply.body_case = ADMIN__REPLY__BODY_ROLLOUTS;
	reply.rollouts = &rollouts;
	admin_reply(rows->c, &reply);
	admin_done(rows->c, 0, "%s", "");
}

/* Those under way first, whatever their age: they are what people look for. */
void admin_list(struct admin_conn *c)
{
	struct rollout_rows rows = {.c = c};
	if (!want(c, &rows))
		return;
	view_each_active(ADMIN_STATE(c), &c->arena, add_rollout, &rows);
	if (rows.v.nr < rows.limit)
		view_each_deployment(ADMIN_STATE(c), &c->arena, add_finished, &rows);
	send_rollouts(&rows);
}

void admin_history(struct admin_conn *c)
{
	struct rollout_rows rows = {.c = c};
	if (!want(c, &rows))
		return;
	view_each_deployment(ADMIN_STATE(c), &c->arena, add_rollout, &rows);
	send_rollouts(&rows);
}

/* ---- explain ---- */

static void send_lines(struct waiting *w)
{
	Admin__Lines lines = ADMIN__LINES__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	lines.v = (char **)w->lines.v;
	lines.n_v = w->lines.nr;
	reply.body_case = ADMIN__REPLY__BODY_LINES;
	reply.lines = &lines;
	admin_reply(w->c, &reply);
}

/* What the hosts at work say of themselves: a balancer that must keep its last server, a fetch that is tried
 * again. */
static void add_notes(struct admin_conn *c, const struct deployment *d, struct waiting *w)
{
	struct deployment fresh;
	struct wave *waves;
	struct task *tasks;
	size_t nr = 0;
	if (view_rollout(ADMIN_STATE(c), &c->arena, d->id, &fresh, &waves, &tasks, &nr) != E_OK)
		return;
	for (size_t i = 0; i < nr; i++) {
		const Admin__Task *row = task_row(c, &fresh, &tasks[i]);
		if (row->note[0] != '\0')
			add_line(w, arena_printf(&c->arena, "host %s: %s", row->host, row->note));
	}
}

/* Which hosts brought it to its end, when that was a bad one. */
static void explain_end(struct waiting *w, const struct deployment *d)
{
	Admin__Rollout *r = admin_rollout_view(w->c, d);
	admin_seen(w->c, d, r);
	for (size_t i = 0; i < r->n_seen; i++) {
		const Admin__Seen *s = r->seen[i];
		const char *said =
			s->line[0] ? arena_printf(&w->c->arena, "; it printed \"%s\"", s->line) : "";
		add_line(w,
			 arena_printf(&w->c->arena, "host %s: %s: %s%s", s->host, s->state, s->reason, said));
	}
	if (r->seen_more)
		add_line(w, arena_printf(&w->c->arena, "and %u more hosts", r->seen_more));
}

void admin_explain(struct admin_conn *c)
{
	struct waiting w = {.c = c};
	struct deployment d;
	if (!admin_need_rollout(c, c->request->rollout, &d))
		return;
	const char *state = sm_name(&rollout_machine, (int)d.state);
	add_line(&w, arena_printf(&c->arena, "%s %s in %s is %s%s%s", d.app.s, d.target.version.s, d.env.s,
				  state, d.reason && d.reason[0] ? ": " : "", admin_str(d.reason)));
	if (ADMIN_OPS(c)->explain)
		ADMIN_OPS(c)->explain(ADMIN_B(c), &c->arena, d.id, add_line, &w);
	add_notes(c, &d, &w);
	if (sm_terminal(&rollout_machine, (int)d.state))
		explain_end(&w, &d);
	send_lines(&w);
	admin_done_rollout(c, 0, d.id, 0, "");
}
