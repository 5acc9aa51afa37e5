#include "tests/sim/fleet/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static struct sim *the_sim; /* hosts reach their world through it; one simulation per process at a time */

/* ---- between coordinator and hosts
 * ----------------------------------------------------------------------------------- */

static struct sim_host *by_session(struct sim *s, uint64_t session)
{
	for (size_t i = 0; i < s->hosts_nr; i++)
		if (s->hosts[i].session == session)
			return &s->hosts[i];
	return NULL;
}

static void answer_hook(void *arg, struct token t, const uint8_t *p, size_t n)
{
	struct sim_host *h = by_session(arg, t.session);
	if (h != NULL)
		sim_host_answer(h, t.session, p, n);
}

struct drop {
	struct sim_host *h;
	uint64_t session;
};

static void drop_cb(void *arg)
{
	struct drop *d = arg;
	sim_host_dropped(d->h, d->session);
	free(d);
}

static void drop_hook(void *arg, uint64_t session, const char *why)
{
	struct sim *s = arg;
	struct sim_host *h = by_session(s, session);
	if (h == NULL)
		return;
	world_say(&s->w, "%s: dropped: %s", h->name.s, why);
	struct drop *d = malloc(sizeof *d);
	PRE(d != NULL);
	*d = (struct drop){h, session};
	world_at_owning(&s->w, 0, drop_cb, d, free);
}

static void say_change(struct sim *s, const struct change *ch)
{
	if (ch->from == ch->to)
		return;
	const char *why = ch->reason == NULL || ch->reason[0] == '\0' ? "" : ch->reason;
	if (ch->kind == CHANGE_DEPLOYMENT)
		world_say(&s->w, "rollout %s -> %s%s%s%s",
			  ch->from == 0 ? "new" : sm_name(&rollout_machine, ch->from),
			  sm_name(&rollout_machine, ch->to), *why ? " (" : "", why, *why ? ")" : "");
	else if (ch->kind == CHANGE_WAVE)
		world_say(&s->w, "wave %u %s -> %s%s%s%s", ch->wave + 1, sm_name(&wave_machine, ch->from),
			  sm_name(&wave_machine, ch->to), *why ? " (" : "", why, *why ? ")" : "");
	else if (ch->kind == CHANGE_TASK)
		world_say(&s->w, "%s %s -> %s%s%s%s", ch->host.s,
			  ch->from == 0 ? "new" : sm_name(&task_machine, ch->from),
			  sm_name(&task_machine, ch->to), *why ? " (" : "", why, *why ? ")" : "");
}

static void applied_hook(void *arg, const struct command *c, const struct command_reply *r,
			 const struct changes *ch)
{
	struct sim *s = arg;
	if (r->code != E_OK)
		world_say(&s->w, "refused: %s", r->text);
	for (size_t i = 0; i < ch->nr; i++)
		say_change(s, &ch->v[i]);
	check_applied(s->check, c, r, ch);
}

uint64_t sim_next_session(struct sim_host *h)
{
	return ++the_sim->sessions;
}

/* ---- building
 * ------------------------------------------------------------------------------------------------------------
 */

void sim_init(struct sim *s, uint64_t seed, bool verbose)
{
	const struct coordinator_hooks hooks = {
		.arg = s, .answer = answer_hook, .drop = drop_hook, .applied = applied_hook};
	memset(s, 0, sizeof *s);
	the_sim = s;
	world_init(&s->w, seed);
	s->w.verbose = verbose;
	arena_init(&s->arena);
	PRE(name_set(&s->app, "shop") && name_set(&s->env, "prod"));
	s->check = check_new(s);
	s->c = coordinator_new(&s->w, &hooks);
	struct command init = {
		.kind = COMMAND_CLUSTER_INIT,
		.init = {.cluster_hi = SIM_CLUSTER_HI, .cluster_lo = SIM_CLUSTER_LO, .name = {"sim"}}};
	PRE(coordinator_now(s->c, &init).code == E_OK);
	PRE(coordinator_now(s->c, &(struct command){.kind = COMMAND_APP_PUT, .app = {.name = s->app}}).code ==
	    E_OK);
	PRE(coordinator_now(s->c, &(struct command){.kind = COMMAND_ENV_PUT,
						    .env = {.name = s->env, .configuration = ""}})
		    .code == E_OK);
}

void sim_done(struct sim *s)
{
	coordinator_free(s->c);
	for (size_t i = 0; i < s->hosts_nr; i++)
		sim_host_done(&s->hosts[i]);
	check_free(s->check);
	arena_done(&s->arena);
	world_done(&s->w);
}

struct sim_host *sim_host(struct sim *s, const char *name)
{
	for (size_t i = 0; i < s->hosts_nr; i++)
		if (strcmp(s->hosts[i].name.s, name) == 0)
			return &s->hosts[i];
	return NULL;
}

struct sim_host *sim_add_host(struct sim *s, const char *name, const char *region)
{
	return sim_add_host_in(s, name, region, "");
}

void sim_add_region(struct sim *s, const char *region, int n, int zones)
{
	char name[64], zone[64] = "";
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof name, "%s-%d", region, i + 1);
		if (zones > 0)
			snprintf(zone, sizeof zone, "%s-z%d", region, i * zones / n + 1);
		sim_add_host_in(s, name, region, zone);
	}
}

struct sim_host *sim_add_host_in(struct sim *s, const char *name, const char *region, const char *zone)
{
	PRE(s->hosts_nr < SIM_HOSTS_MAX);
	struct sim_host *h = &s->hosts[s->hosts_nr];
	struct command c = {.kind = COMMAND_HOST_ADD};
	PRE(name_set(&c.host.name, name) && name_set(&c.host.region, region));
	if (zone[0] != '\0')
		PRE(name_set(&c.host.zone, zone));
	struct command_reply r = coordinator_now(s->c, &c);
	PRE(r.code == E_OK);
	sim_host_init(h, &s->w, s->c, &s->versions, name, region, s->app.s, r.generation);
	h->zone = c.host.zone;
	h->node = s->hosts_nr % coordinator_nodes(s->c);
	s->hosts_nr++;
	sim_host_boot(h);
	return h;
}

void sim_remove_host(struct sim *s, struct sim_host *h)
{
	if (coordinator_led(s->c))
		coordinator_now(s->c, &(struct command){.kind = COMMAND_HOST_REMOVE,
							.host_remove = h->name,
							.reason = "scale-in"});
}

static void trace_state(struct sim *s)
{
	if (!coordinator_up(s->c))
		return;
	struct digest chain = state_chain(coordinator_state(s->c));
	world_trace(&s->w, chain.b, sizeof chain.b);
}

void sim_run_ms(struct sim *s, int64_t ms)
{
	int64_t until = s->w.now_ms + ms;
	while (s->w.violation[0] == '\0' && world_step(&s->w, until)) {
		trace_state(s);
		check_watch(s->check);
	}
	if (s->w.now_ms < until)
		s->w.now_ms = until;
}

/* ---- operators
 * ------------------------------------------------------------------------------------------------------------
 */

struct limits sim_limits(void)
{
	return (struct limits){.batch = {.v = 1},
			       .unavailable = {.is_share = true, .v = 1000},
			       .budget = {.v = 0},
			       .back_batch = 330,
			       .auto_rollback = true,
			       .progress_ms = 600000,
			       .total_ms = 4 * 3600000,
			       .task_ms = 300000,
			       .infra_cap_ms = 600000,
			       .pause_ms = 3600000};
}

permille sim_back_floor(permille floor)
{
	return floor < 670 ? floor : 670;
}

static void release(struct sim *s, const struct version *v)
{
	struct release r = {.app = s->app,
			    .version = v->name,
			    .artifact = v->artifact,
			    .size_bytes = 1000,
			    .unpacked_bytes = 2000,
			    .type = "tar.zst"};
	r.build = (struct build){.commit = "", .branch = "", .url = ""};
	PRE(coordinator_now(s->c, &(struct command){.kind = COMMAND_RELEASE_ADD, .release = r}).code == E_OK);
}

bool sim_host_is_live(struct sim *s, const struct sim_host *h)
{
	struct host row;
	return view_host(coordinator_state(s->c), &s->arena, &h->name, &row) == E_OK && !row.removed;
}

static size_t tasks_of(struct sim *s, const struct sim_deploy *d, struct task *tasks)
{
	size_t nr = 0;
	for (size_t w = 0; w < d->regions_nr; w++)
		for (size_t i = 0; i < s->hosts_nr; i++)
			if (strcmp(s->hosts[i].region.s, d->regions[w]) == 0 &&
			    sim_host_is_live(s, &s->hosts[i])) {
				tasks[nr] = (struct task){.host = s->hosts[i].name,
							  .wave = (uint32_t)w,
							  .position = (uint32_t)nr,
							  .state = TASK_QUEUED};
				nr++;
			}
	return nr;
}

/* What drive/make.c asks before it makes a deployment out of a file. */
static int feasible(struct sim *s, const struct sim_deploy *d, const struct task *tasks, size_t nr)
{
	struct host_view views[SIM_HOSTS_MAX] = {0};
	const char *why;
	for (size_t i = 0; i < nr; i++) {
		const struct sim_host *h = sim_host(s, tasks[i].host.s);
		views[i].region = h->region;
		views[i].zone = h->zone;
	}
	int rc = plan_feasible(&d->limits, tasks, views, nr, &s->arena, &why);
	if (rc != E_OK)
		world_say(&s->w, "infeasible: %s", why);
	return rc;
}

int sim_deploy(struct sim *s, const struct sim_deploy *d)
{
	const struct version *v = versions_get(&s->versions, d->version);
	struct wave waves[8] = {0};
	struct task tasks[SIM_HOSTS_MAX];
	if (!coordinator_led(s->c))
		return E_UNAVAILABLE;
	size_t nr = tasks_of(s, d, tasks);
	int rc = feasible(s, d, tasks, nr);
	if (rc != E_OK)
		return rc;
	release(s, v);
	for (size_t w = 0; w < d->regions_nr; w++) {
		waves[w] = (struct wave){.index = (uint32_t)w,
					 .after = w == 0		 ? 0
						  : d->beside & SM_TO(w) ? waves[w - 1].after
									 : SM_TO(w - 1),
					 .bake_ms = d->bake_ms,
					 .state = WAVE_PENDING};
		PRE(name_set(&waves[w].region, d->regions[w]));
	}
	struct command c = {.kind = COMMAND_DEPLOY, .actor = "operator"};
	c.deploy = (struct command_deploy){.deployment = {.id = {s->deployments + 1},
							  .app = s->app,
							  .env = s->env,
							  .target = {v->id, v->artifact, v->spec, v->name},
							  .limits = d->limits,
							  .state = ROLLOUT_RUNNING},
					   .spec = "{}",
					   .spec_len = 2,
					   .state_index = UINT64_MAX,
					   .waves = waves,
					   .waves_nr = d->regions_nr,
					   .tasks = tasks,
					   .tasks_nr = nr};
	rc = coordinator_now(s->c, &c).code;
	s->deployments += rc == E_OK;
	return rc;
}

int sim_verb(struct sim *s, uint64_t id, enum verb v, uint32_t wave)
{
	if (!coordinator_led(s->c))
		return E_UNAVAILABLE;
	world_say(&s->w, "operator: %s", verb_name(v));
	struct command c = {.kind = COMMAND_VERB,
			    .actor = "operator",
			    .verb = {.deployment = {id}, .verb = v, .wave = wave}};
	return coordinator_now(s->c, &c).code;
}

struct deployment sim_deployment(struct sim *s, uint64_t id)
{
	struct deployment d = {0};
	if (coordinator_up(s->c))
		PRE(view_deployment(coordinator_state(s->c), &s->arena, (struct deployment_id){id}, &d) ==
		    E_OK);
	return d;
}

bool sim_run_until_over(struct sim *s, uint64_t id, int64_t ms)
{
	enum { SLICE_MS = 1000 };
	for (int64_t t = 0; t < ms && s->w.violation[0] == '\0'; t += SLICE_MS) {
		struct deployment d = sim_deployment(s, id);
		if (d.state != 0 && (d.state == ROLLOUT_HELD || sm_terminal(&rollout_machine, (int)d.state)))
			return true;
		sim_run_ms(s, SLICE_MS);
		if (t % 60000 == 0)
			check_now(s->check);
	}
	return false;
}

const char *sim_runs(struct sim *s, const struct sim_host *h)
{
	const struct version *v = versions_by_id(&s->versions, &h->running);
	return v == NULL ? "nothing" : v->name.s;
}
