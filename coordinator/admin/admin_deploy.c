#include <stdio.h>
#include <string.h>

#include "base/sm.h"
#include "coordinator/admin/admin_conn.h"
#include "coordinator/state/machines.h"

/* ---- plan ---- */

struct planned {
	const char *app, *version, *env, *spec; /* asked for */
	size_t spec_len;
	const char *back;   /* NULL, or where a rollback leads */
	struct command cmd; /* deploy is filled */
	struct admin_plan_text text;
	uint64_t state_index;
	uint64_t size_bytes;
	const char *supersedes; /* NULL: nothing */
};

static bool make_request(struct admin_conn *c, struct admin_plan_request *rq, struct planned *p)
{
	const Admin__DeployArgs *args = c->request->deploy;
	struct app app;
	struct environment env;
	struct release r;
	if (!admin_need_app(c, p->app, &app) || !admin_need_release(c, &app.name, p->version, &r))
		return false;
	if (!admin_need_env(c, p->env, &env))
		return false;
	if ((args->force_bad || args->skip_stop_hooks) && c->request->reason[0] == '\0') {
		admin_fail(c, E_INVALID, "add --reason TEXT", "%s needs a reason; it is kept in the audit",
			   args->force_bad ? "--force-bad" : "--skip-stop-hooks");
		return false;
	}
	p->size_bytes = r.size_bytes;
	rq->app = app.name;
	rq->version = r.version;
	rq->env = env.name;
	rq->spec = p->spec;
	rq->spec_len = p->spec_len;
	rq->force_bad = args->force_bad;
	rq->skip_stop_hooks = args->skip_stop_hooks;
	rq->initiator = c->actor;
	rq->id.v = args->deployment;
	if (c->request->trace_id.len == 16)
		rq->trace = (struct trace_id){get_u64(c->request->trace_id.data),
					      get_u64(c->request->trace_id.data + 8)};
	return true;
}

/*
 * A newer deployment supersedes one that goes forward, which the plan says; one that goes back must finish.
 * Said here in words, before the log would say it in a code.
 */
static bool check_free(struct admin_conn *c, const struct admin_plan_request *rq, struct planned *p)
{
	struct deployment active;
	char id[DEPLOYMENT_ID_CAP];
	if (view_active_deployment(ADMIN_STATE(c), &c->arena, &rq->app, &rq->env, &active) != E_OK)
		return true;
	deployment_id_text(active.id, id);
	p->supersedes = arena_printf(&c->arena, "supersedes: %s to %s, by %s", id, active.target.version.s,
				     active.initiator);
	if (!active.back)
		return true;
	admin_fail(c, E_CONFLICT,
		   arena_printf(&c->arena, "wait for it (wavetrain watch %s) or end it (wavetrain abort %s)",
				id, id),
		   "%s is being taken back in %s by %s (%s)", rq->app.s, rq->env.s, id,
		   sm_name(&rollout_machine, (int)active.state));
	return false;
}

/* The backend's notes, and what will be superseded. */
static void fill_notes(struct admin_conn *c, const struct planned *p, Admin__Plan *out)
{
	out->notes = arena_array(&c->arena, char *, p->text.notes_nr + 2);
	if (p->back)
		out->notes[out->n_notes++] = admin_str(p->back);
	for (size_t i = 0; i < p->text.notes_nr; i++)
		out->notes[out->n_notes++] = admin_str(p->text.notes[i]);
	if (p->supersedes)
		out->notes[out->n_notes++] = admin_str(p->supersedes);
}

static struct planned *asked_for(struct admin_conn *c)
{
	const Admin__DeployArgs *args = c->request->deploy;
	struct planned *p = arena_new(&c->arena, struct planned);
	p->app = args->app;
	p->version = args->version;
	p->env = args->env;
	p->spec = (const char *)args->spec.data;
	p->spec_len = args->spec.len;
	return p;
}

static bool make_plan(struct admin_conn *c, struct planned *p)
{
	struct admin_plan_request rq = {0};
	if (!make_request(c, &rq, p) || !check_free(c, &rq, p))
		return false;
	p->state_index = state_applied(ADMIN_STATE(c));
	p->cmd.kind = COMMAND_DEPLOY;
	int rc = ADMIN_OPS(c)->plan(ADMIN_B(c), &c->arena, &rq, &p->cmd.deploy, &p->text);
	if (rc == E_OK)
		return true;
	admin_fail(c, rc, p->text.hint, "%s", p->text.error ? p->text.error : err_text(rc));
	return false;
}

static Admin__PlanWave *wave_row(struct admin_conn *c, const struct planned *p, const struct wave *w)
{
	const struct command_deploy *d = &p->cmd.deploy;
	Admin__PlanWave *row = arena_new(&c->arena, Admin__PlanWave);
	struct admin_list names = {0};
	admin__plan_wave__init(row);
	row->index = w->index;
	row->region = arena_strdup(&c->arena, w->region.s);
	row->bake_ms = w->bake_ms;
	for (size_t i = 0; i < d->tasks_nr; i++)
		if (d->tasks[i].wave == w->index)
			admin_list_add(c, &names, arena_strdup(&c->arena, d->tasks[i].host.s));
	row->names = (char **)names.v;
	row->n_names = names.nr;
	row->hosts = (uint32_t)names.nr;
	row->after = arena_array(&c->arena, uint32_t, 64);
	for (uint32_t i = 0; i < 64; i++)
		if (w->after & (1ull << i))
			row->after[row->n_after++] = i;
	return row;
}

static uint32_t count_regions(const struct command_deploy *d)
{
	uint32_t n = 0;
	for (size_t i = 0; i < d->waves_nr; i++) {
		bool seen = false;
		for (size_t j = 0; j < i; j++)
			seen = seen || name_eq(&d->waves[j].region, &d->waves[i].region);
		n += !seen;
	}
	return n;
}

static void fill_waves(struct admin_conn *c, const struct planned *p, Admin__Plan *out)
{
	const struct command_deploy *d = &p->cmd.deploy;
	out->waves = arena_array(&c->arena, Admin__PlanWave *, d->waves_nr ? d->waves_nr : 1);
	out->n_waves = d->waves_nr;
	for (size_t i = 0; i < d->waves_nr; i++)
		out->waves[i] = wave_row(c, p, &d->waves[i]);
	out->hosts = (uint32_t)d->tasks_nr;
	out->regions = count_regions(d);
}

static void send_plan(struct admin_conn *c, const struct planned *p)
{
	const struct deployment *d = &p->cmd.deploy.deployment;
	Admin__Plan plan = ADMIN__PLAN__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	plan.app = admin_str(d->app.s);
	plan.env = admin_str(d->env.s);
	plan.version = admin_str(d->target.version.s);
	plan.from_version = admin_str(d->from_version.s);
	plan.state_index = p->state_index;
	plan.deployment = d->id.v;
	plan.size_bytes = p->size_bytes;
	plan.auto_rollback = d->limits.auto_rollback;
	plan.force_bad = p->cmd.deploy.force_bad;
	plan.skip_stop_hooks = d->limits.skip_stop_hooks;
	admin_bytes(c, &plan.digest, &p->cmd.deploy.plan);
	admin_bytes(c, &plan.artifact, &d->target.artifact);
	plan.changes = (char **)(uintptr_t)p->text.changes;
	plan.n_changes = p->text.changes_nr;
	fill_notes(c, p, &plan);
	plan.severe = p->text.severe != NULL;
	plan.severe_why = admin_str(p->text.severe);
	plan.no_change = p->text.no_change;
	if (p->back) {
		plan.spec.data = (uint8_t *)(uintptr_t)p->spec;
		plan.spec.len = p->spec_len;
	}
	fill_waves(c, p, &plan);
	reply.body_case = ADMIN__REPLY__BODY_PLAN;
	reply.plan = &plan;
	admin_reply(c, &reply);
}

/* `plan` of a rollback asks for the earlier target again. False: answered. */
static bool turn_back(struct admin_conn *c, struct planned *p)
{
	struct deployment to;
	char id[DEPLOYMENT_ID_CAP];
	enum admin_back how = admin_back(c, c->request->deploy, &to);
	if (how == ADMIN_BACK_BY_VERB)
		admin_done_rollout(c, 0, to.id, 0, "");
	if (how != ADMIN_BACK_BY_DEPLOY)
		return false;
	deployment_id_text(to.id, id);
	p->app = arena_strdup(&c->arena, to.app.s);
	p->version = arena_strdup(&c->arena, to.target.version.s);
	p->env = arena_strdup(&c->arena, to.env.s);
	p->back = arena_printf(&c->arena, "goes back to what %s deployed, with its file", id);
	if (view_spec(ADMIN_STATE(c), &c->arena, &to.target.spec, &p->spec, &p->spec_len) == E_OK)
		return true;
	admin_fail(
		c, E_NOT_FOUND,
		arena_printf(&c->arena, "wavetrain deploy %s %s -e %s -f FILE", p->app, p->version, p->env),
		"the file that %s was deployed with is not kept any more", id);
	return false;
}

void admin_plan(struct admin_conn *c)
{
	struct planned *p = asked_for(c);
	if (c->request->deploy->back && !turn_back(c, p))
		return;
	if (!make_plan(c, p))
		return;
	send_plan(c, p);
	admin_done(c, p->text.no_change ? 0 : 2, "%s", "");
}

/* ---- deploy ---- */

/* What the person agreed to must be what happens: the same state must give the same plan. */
static bool check_seen(struct admin_conn *c, const struct planned *p)
{
	const Admin__DeployArgs *args = c->request->deploy;
	if (args->plan.len != DIGEST_LEN || args->deployment == 0) {
		admin_fail(c, E_INVALID, "run wavetrain plan first, or wavetrain deploy, which does it",
			   "a deployment needs the plan that was shown");
		return false;
	}
	if (memcmp(args->plan.data, p->cmd.deploy.plan.b, DIGEST_LEN) == 0)
		return true;
	admin_fail(c, E_STALE, "plan again and look at what changed",
		   "the plan was made at state %llu, the state is now %llu and the plan would be another one",
		   (unsigned long long)args->state_index, (unsigned long long)p->state_index);
	return false;
}

static void then_rollout(struct admin_conn *c, const struct command_reply *reply)
{
	struct deployment_id *id = c->extra;
	admin_done_rollout(c, 0, *id, reply->index, reply->text);
}

void admin_deploy(struct admin_conn *c)
{
	struct planned *p = asked_for(c);
	if (!make_plan(c, p) || !check_seen(c, p))
		return;
	struct deployment_id *id = arena_new(&c->arena, struct deployment_id);
	*id = p->cmd.deploy.deployment.id;
	c->extra = id;
	p->cmd.deploy.state_index = c->request->deploy->state_index;
	admin_propose(c, &p->cmd, then_rollout);
}

/* ---- verbs ---- */

static enum verb verb_of(const struct admin_conn *c)
{
	if (c->row->id == CMD_PAUSE)
		return VERB_PAUSE;
	if (c->row->id == CMD_RESUME)
		return VERB_RESUME;
	if (c->row->id == CMD_ABORT)
		return VERB_ABORT;
	if (c->row->id == CMD_RETRY)
		return VERB_RETRY;
	if (c->row->id == CMD_ROLLBACK)
		return VERB_ROLLBACK;
	return c->request->rollout->promote_full ? VERB_PROMOTE_FULL : VERB_PROMOTE;
}

/* The wave to promote: the one named, else the one that bakes. */
static bool need_wave(struct admin_conn *c, const struct deployment *d, uint32_t *out)
{
	const Admin__RolloutArgs *args = c->request->rollout;
	struct wave w;
	if (args->has_wave && args->wave >= d->waves_nr) {
		admin_fail(c, E_NOT_FOUND, "see wavetrain status", "there is no wave %u, only 1 to %u",
			   args->wave + 1, d->waves_nr);
		return false;
	}
	for (uint32_t i = 0; i < d->waves_nr && !args->has_wave; i++)
		if (view_wave(ADMIN_STATE(c), &c->arena, d->id, i, &w) == E_OK && w.state == WAVE_BAKING) {
			*out = i;
			return true;
		}
	if (!args->has_wave)
		admin_fail(c, E_CONFLICT, "wavetrain explain ROLLOUT tells what it waits for",
			   "no wave is baking now");
	*out = args->wave;
	return args->has_wave;
}

static const char *next_step(struct admin_conn *c, const struct deployment *d)
{
	char id[DEPLOYMENT_ID_CAP];
	if (c->row->id == CMD_ROLLBACK && !name_empty(&d->from_version))
		return arena_printf(&c->arena,
				    "to go back after its end: wavetrain rollback %s -e %s --to %s", d->app.s,
				    d->env.s, d->from_version.s);
	return arena_printf(&c->arena, "see where it stands: wavetrain status %s --watch=false",
			    deployment_id_text(d->id, id));
}

static bool rule_allows(struct admin_conn *c, enum verb v, const struct deployment *d)
{
	struct verb_rule rule = verb_rule(v, d);
	char id[DEPLOYMENT_ID_CAP];
	deployment_id_text(d->id, id);
	if (rule.effect == VERB_MOVES)
		return true;
	if (rule.effect == VERB_NOTHING)
		admin_done_rollout(c, 0, d->id, 0, arena_printf(&c->arena, "%s: %s", id, rule.text));
	else
		admin_fail(c, E_CONFLICT, next_step(c, d), "%s is %s: %s", id,
			   sm_name(&rollout_machine, (int)d->state), rule.text);
	return false;
}

void admin_verb(struct admin_conn *c)
{
	struct command cmd = {.kind = COMMAND_VERB};
	struct deployment d;
	if (!admin_need_rollout(c, c->request->rollout, &d))
		return;
	cmd.verb.deployment = d.id;
	cmd.verb.verb = verb_of(c);
	if (!rule_allows(c, cmd.verb.verb, &d))
		return;
	if (cmd.verb.verb == VERB_PROMOTE && !need_wave(c, &d, &cmd.verb.wave))
		return;
	struct deployment_id *id = arena_new(&c->arena, struct deployment_id);
	*id = d.id;
	c->extra = id;
	admin_propose(c, &cmd, then_rollout);
}

void admin_rollback(struct admin_conn *c)
{
	admin_verb(c);
}
