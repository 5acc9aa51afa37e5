/*
 * check.c: what must hold after every event, looked at from outside: from the commands as they are committed,
 * from what hosts really do, and from nothing the planner or the fold computed for themselves.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/sim/fleet/host_internal.h"
#include "tests/sim/fleet/service.h"
#include "tests/sim/fleet/sim.h"

enum { ASSIGNMENTS_MAX = 20000, CHAINS_MAX = 8000 };

struct assigned {
	struct name host;
	uint64_t epoch;
	struct digest target, fallback;
	enum direction direction;
	uint64_t deployment;
};

struct check {
	struct sim *s;
	struct assigned assigned[ASSIGNMENTS_MAX];
	size_t assigned_nr;
	uint64_t obeyed[SIM_HOSTS_MAX]; /* highest epoch each host began an effect of */
	struct service *service;
	int64_t stood_at[SIM_HOSTS_MAX]; /* when each was last silent, or without what it needs */
	uint32_t retries;		 /* said by operators, ever */
	uint64_t apart[SIM_HOSTS_MAX];	 /* recreate: the rollout whose barrier did not wait for this host */
	struct digest *chains;		 /* by index */
	size_t chains_nr;
};

static struct check *the_check;

struct check *check_new(struct sim *s)
{
	struct check *c = calloc(1, sizeof *c);
	PRE(c != NULL);
	c->s = s;
	c->service = service_new(s);
	c->chains = calloc(CHAINS_MAX, sizeof *c->chains);
	PRE(c->chains != NULL);
	the_check = c;
	return c;
}

void check_free(struct check *c)
{
	service_free(c->service);
	free(c->chains);
	free(c);
}

static struct state *st(const struct check *c)
{
	return coordinator_state(c->s->c);
}

static size_t index_of(const struct check *c, const struct sim_host *h)
{
	return (size_t)(h - c->s->hosts);
}

/* ---- hosts
 * -----------------------------------------------------------------------------------------------------------------
 */

static const struct assigned *find(const struct check *c, const struct name *host, uint64_t epoch)
{
	for (size_t i = c->assigned_nr; i-- > 0;)
		if (c->assigned[i].epoch == epoch && name_eq(&c->assigned[i].host, host))
			return &c->assigned[i];
	return NULL;
}

static const struct agent_record *record_of(const struct sim_host *h)
{
	const struct agent_app *p = agent_find(&h->agent, &h->app);
	return p == NULL ? NULL : &p->rec;
}

/* A lower fence is never obeyed after a higher one, and nothing is done before it stands in the journal. */
void host_check_effect(struct sim_host *h, const struct agent_effect *e)
{
	struct check *c = the_check;
	const struct agent_record *r = record_of(h);
	uint64_t *highest = &c->obeyed[index_of(c, h)], epoch = r->work.fence.epoch;
	if (epoch < *highest)
		world_violation(h->w, "%s: works for epoch %llu after it obeyed %llu", h->name.s,
				(unsigned long long)epoch, (unsigned long long)*highest);
	if (epoch > *highest)
		*highest = epoch;
	if (e->kind == AGENT_DRAIN || e->kind == AGENT_STOP)
		service_leaves(c->service, h, epoch);
	/* D9: going back moves no bytes. */
	const struct assigned *as = find(c, &h->name, epoch);
	if (e->kind == AGENT_FETCH && as != NULL && as->direction == DIRECTION_BACK &&
	    !sim_host_has_slot(h, &e->target.artifact))
		world_violation(h->w, "%s: goes back to %s, which is not on its disk any more", h->name.s,
				e->target.version.s);
	if (!h->has_record || h->record.number != r->number)
		world_violation(h->w, "%s: begins effect %d before its record is durable", h->name.s,
				(int)e->kind);
}

/*
 * recreate: no host of a wave starts the new while another one still runs something else, and on the way back
 * none starts the old while another one runs the new. Apart from it stand hosts that nobody could wait for:
 * lost when the barrier opened, joined later, or removed.
 */
static void check_recreate(struct check *c, const struct sim_host *h, const struct assigned *as,
			   const struct agent_target *t)
{
	struct arena *a = &c->s->arena;
	struct deployment d;
	struct wave *waves;
	struct task *tasks, own;
	size_t nr;
	if (!coordinator_up(c->s->c) ||
	    view_rollout(st(c), a, (struct deployment_id){as->deployment}, &d, &waves, &tasks, &nr) != E_OK ||
	    !d.limits.recreate || sm_terminal(&rollout_machine, (int)d.state) ||
	    view_task(st(c), a, d.id, &h->name, &own) != E_OK || own.state == TASK_SKIPPED ||
	    c->apart[index_of(c, h)] == d.id.v)
		return;
	bool new_one = digest_eq(&t->id, &d.target.id);
	for (size_t i = 0; i < nr; i++) {
		const struct sim_host *o = sim_host(c->s, tasks[i].host.s);
		if (o == NULL || o == h || tasks[i].wave != own.wave || tasks[i].state == TASK_SKIPPED ||
		    c->apart[index_of(c, o)] == d.id.v || digest_none(&o->running))
			continue;
		/* Where the new is what ran before, too, it cannot be told apart from it. */
		bool same =
			digest_eq(&own.from.id, &d.target.id) || digest_eq(&tasks[i].from.id, &d.target.id);
		if (!same && new_one != digest_eq(&o->running, &d.target.id))
			world_violation(&c->s->w, "recreate: %s starts %s while %s of its wave runs %s",
					h->name.s, t->version.s, o->name.s, sim_runs(c->s, o));
	}
}

/* No host starts what no committed assignment of that epoch names. */
void host_check_start(struct sim_host *h, const struct agent_target *t)
{
	struct check *c = the_check;
	uint64_t epoch = record_of(h)->work.fence.epoch;
	const struct assigned *as = find(c, &h->name, epoch);
	if (as != NULL)
		check_recreate(c, h, as, t);
	/* A10: to start again what ran here last is nothing new, whatever was assigned since. */
	if (digest_eq(&h->last_run, &t->id))
		return;
	if (as == NULL)
		world_violation(h->w, "%s: starts %s for epoch %llu, which nobody committed", h->name.s,
				t->version.s, (unsigned long long)epoch);
	else if (!digest_eq(&as->target, &t->id) && !digest_eq(&as->fallback, &t->id))
		world_violation(h->w, "%s: starts %s, which its assignment does not name", h->name.s,
				t->version.s);
}

/* ---- commits
 * ----------------------------------------------------------------------------------------------------------------
 */

static void note_assignments(struct check *c, const struct command *cmd, uint64_t index)
{
	struct arena *a = &c->s->arena;
	struct placement p;
	for (size_t i = 0; i < cmd->assign.hosts_nr; i++) {
		if (view_placement(st(c), a, &cmd->assign.hosts[i], &c->s->app, &p) != E_OK ||
		    p.fence.epoch != index)
			continue;
		PRE(c->assigned_nr < ASSIGNMENTS_MAX);
		c->assigned[c->assigned_nr++] = (struct assigned){.host = p.host,
								  .epoch = index,
								  .target = p.desired.id,
								  .fallback = p.fallback.id,
								  .direction = p.direction,
								  .deployment = p.deployment.v};
		service_ordered(c->service, &p, false);
	}
}

/* Nobody hears it, or it has said that what it needs is away. */
static bool stands_still(const struct sim_host *h)
{
	const struct agent_record *r = record_of(h);
	return h->cut || !h->agent_up || h->session == 0 || r == NULL || r->fault_since_ms != 0;
}

void check_watch(struct check *c)
{
	service_watch(c->service);
	for (size_t i = 0; i < c->s->hosts_nr; i++)
		if (stands_still(&c->s->hosts[i]))
			c->stood_at[i] = c->s->w.now_ms;
}

static bool in_hand(enum task_state s)
{
	return (s >= TASK_ASSIGNED && s <= TASK_PROBING) || s == TASK_REVERTING;
}

static void check_waves(struct check *c, const struct command *cmd, const struct wave *waves)
{
	struct arena *a = &c->s->arena;
	struct task t;
	for (size_t i = 0; i < cmd->assign.hosts_nr; i++) {
		if (view_task(st(c), a, cmd->assign.deployment, &cmd->assign.hosts[i], &t) != E_OK)
			continue;
		for (uint32_t w = 0; w < t.wave; w++) {
			bool over = waves[w].state == WAVE_PASSED || waves[w].state == WAVE_SKIPPED;
			if ((waves[t.wave].after & SM_TO(w)) != 0 && !over)
				world_violation(&c->s->w, "%s of wave %u is assigned while wave %u is %s",
						t.host.s, t.wave + 1, w + 1,
						sm_name(&wave_machine, (int)waves[w].state));
		}
	}
}

static void on_assign(struct check *c, const struct command *cmd)
{
	struct arena *a = &c->s->arena;
	struct deployment d;
	struct wave *waves;
	struct task *tasks;
	size_t nr;
	if (view_rollout(st(c), a, cmd->assign.deployment, &d, &waves, &tasks, &nr) != E_OK)
		return;
	if (cmd->assign.direction == DIRECTION_FORWARD)
		check_waves(c, cmd, waves);
}

static void set_apart(struct check *c, const struct name *host, uint64_t deployment)
{
	struct sim_host *h = sim_host(c->s, host->s);
	if (h != NULL)
		c->apart[index_of(c, h)] = deployment;
}

/* recreate: whom did the barrier not wait for? Those that were lost when the others were told to start, and
 * those that joined a wave after that. */
static void note_apart(struct check *c, const struct command *cmd, const struct changes *ch)
{
	struct arena *a = &c->s->arena;
	struct deployment d;
	struct wave w;
	struct task t;
	for (size_t i = 0; i < ch->nr; i++) {
		const struct change *x = &ch->v[i];
		if (x->kind != CHANGE_TASK || view_deployment(st(c), a, x->deployment, &d) != E_OK ||
		    !d.limits.recreate || view_wave(st(c), a, d.id, x->wave, &w) != E_OK || w.opened == 0)
			continue;
		bool joined = x->from == 0;
		bool was_lost = x->from == TASK_LOST && cmd->kind == COMMAND_ASSIGN && !cmd->assign.stop;
		if (joined || was_lost)
			set_apart(c, &x->host, d.id.v);
	}
	if (cmd->kind != COMMAND_ASSIGN || cmd->assign.stop)
		return;
	for (size_t i = 0; i < c->s->hosts_nr; i++)
		if (view_task(st(c), a, cmd->assign.deployment, &c->s->hosts[i].name, &t) == E_OK &&
		    t.state == TASK_LOST)
			set_apart(c, &t.host, t.deployment.v);
}

/* D6: a wave passes only after its bake, and only with no more failures than its budget. */
static void on_wave_passed(struct check *c, const struct command *cmd)
{
	struct arena *a = &c->s->arena;
	struct deployment d;
	struct wave *waves;
	struct task *tasks;
	size_t nr;
	uint32_t bad = 0, hosts = 0;
	if (view_rollout(st(c), a, cmd->wave_move.deployment, &d, &waves, &tasks, &nr) != E_OK)
		return;
	const struct wave *w = &waves[cmd->wave_move.wave];
	for (size_t i = 0; i < nr; i++) {
		if (tasks[i].wave != w->index || tasks[i].state == TASK_SKIPPED)
			continue;
		hosts++;
		bad += tasks[i].state == TASK_FAILED || tasks[i].state == TASK_LOST;
		bool baked = c->s->w.now_ms - tasks[i].state_since.v >= w->bake_ms;
		if (tasks[i].state == TASK_HEALTHY && !baked && !w->promoted && !d.promoted)
			world_violation(&c->s->w, "wave %u passed before %s had baked", w->index + 1,
					tasks[i].host.s);
	}
	uint32_t budget = d.limits.budget.is_share ? d.limits.budget.v * hosts / 1000 : d.limits.budget.v;
	if (bad > budget)
		world_violation(&c->s->w, "wave %u passed with %u bad hosts, the budget is %u", w->index + 1,
				bad, budget);
}

/* D1: what is HEALTHY was measured of the target after its activation. */
static void check_evidence(struct check *c, const struct changes *ch)
{
	struct arena *a = &c->s->arena;
	struct deployment d;
	struct task t;
	for (size_t i = 0; i < ch->nr; i++) {
		if (ch->v[i].kind != CHANGE_TASK || ch->v[i].to != TASK_HEALTHY ||
		    ch->v[i].from == ch->v[i].to)
			continue;
		if (view_deployment(st(c), a, ch->v[i].deployment, &d) != E_OK ||
		    view_task(st(c), a, d.id, &ch->v[i].host, &t) != E_OK)
			continue;
		bool good = digest_eq(&t.evidence.target, &d.target.id) &&
			    (t.evidence.boot_hi | t.evidence.boot_lo) != 0 &&
			    t.evidence.measured_ms > t.evidence.activated_ms;
		if (!good)
			world_violation(&c->s->w, "%s became HEALTHY by evidence from before its activation",
					t.host.s);
	}
}

enum { DEADLINE_SLACK_MS = 30000, LEADING_MS = 150000 }; /* a look every second; the grace is 90 s */

/* The time without a coordinator does not count, nor does that without store, network or balancer, up to the
 * cap. */
static int64_t given_back(const struct check *c, const struct deployment *d, const struct task *t)
{
	const struct sim_host *h = sim_host(c->s, t->host.s);
	const struct agent_record *r = h == NULL ? NULL : record_of(h);
	int64_t cap = d->limits.infra_cap_ms, away = coordinator_since(c->s->c) - t->assigned_at.v;
	if (h != NULL && c->s->w.now_ms - c->stood_at[index_of(c, h)] < DEADLINE_SLACK_MS)
		return cap; /* its coordinator may not know yet that this is over */
	int64_t back = (away < 0 ? 0 : away) + (r == NULL ? 0 : r->fault_ms);
	return back < cap ? back : cap;
}

/* D3: no task stays in hand past its deadline while there is a coordinator to end it. */
static bool check_one_rollout(void *arg, const struct deployment *d)
{
	struct check *c = arg;
	struct arena *a = &c->s->arena;
	struct deployment again;
	struct wave *waves;
	struct task *tasks;
	size_t nr;
	if (view_rollout(st(c), a, d->id, &again, &waves, &tasks, &nr) != E_OK)
		return true;
	int64_t slack = DEADLINE_SLACK_MS + coordinator_backlog_ms(c->s->c);
	for (size_t i = 0; i < nr; i++) {
		const struct task *t = &tasks[i];
		if (t->direction == DIRECTION_FORWARD && t->attempts > 1 + c->retries)
			world_violation(&c->s->w, "%s was assigned %u times with %u retries asked for",
					t->host.s, t->attempts, c->retries);
		int64_t up = c->s->w.now_ms - coordinator_since(c->s->c);
		int64_t latest = t->deadline.v + given_back(c, d, t) + slack;
		if (in_hand(t->state) && t->deadline.v != 0 && c->s->w.now_ms > latest && up > LEADING_MS)
			world_violation(&c->s->w, "%s is still %s long after its deadline", t->host.s,
					sm_name(&task_machine, (int)t->state));
	}
	return true;
}

static void check_deadlines(struct check *c)
{
	view_each_active(st(c), &c->s->arena, check_one_rollout, c);
}

void check_now(struct check *c)
{
	if (coordinator_up(c->s->c))
		check_deadlines(c);
}

void check_applied(struct check *c, const struct command *cmd, const struct command_reply *r,
		   const struct changes *ch)
{
	uint64_t index = coordinator_index(c->s->c);
	if (index >= CHAINS_MAX) {
		world_violation(&c->s->w, "the log grows without end: %llu entries",
				(unsigned long long)index);
		return;
	}
	c->chains[index] = state_chain(st(c));
	if (index > c->chains_nr)
		c->chains_nr = index;
	check_watch(c);
	if (r->code != E_OK)
		return;
	note_apart(c, cmd, ch);
	if (cmd->kind == COMMAND_ASSIGN) {
		note_assignments(c, cmd, index);
		on_assign(c, cmd);
	}
	if (cmd->kind == COMMAND_HOST_REMOVE)
		service_fleet_shrank(c->service);
	if (cmd->kind == COMMAND_VERB && cmd->verb.verb == VERB_RETRY)
		c->retries++;
	check_evidence(c, ch);
	check_deadlines(c);
	if (cmd->kind == COMMAND_WAVE_MOVE && cmd->wave_move.to == WAVE_PASSED)
		on_wave_passed(c, cmd);
}

/* Equal index, equal chain: the replay must have given what was there before. */
void check_restarted(struct check *c)
{
	uint64_t index = coordinator_index(c->s->c);
	struct digest now = state_chain(st(c));
	if (index <= c->chains_nr && !digest_none(&c->chains[index]) && !digest_eq(&c->chains[index], &now))
		world_violation(&c->s->w, "the replay of %llu entries gave another state",
				(unsigned long long)index);
	if (index < c->chains_nr)
		world_violation(&c->s->w, "committed entries are gone: %llu of %zu left",
				(unsigned long long)index, c->chains_nr);
	/* An entry that became durable in the crash was never seen by check_applied: its assignments are
	 * noted now. */
	struct arena *a = &c->s->arena;
	for (size_t i = 0; i < c->s->hosts_nr; i++) {
		struct placement p;
		if (view_placement(st(c), a, &c->s->hosts[i].name, &c->s->app, &p) != E_OK || p.seq == 0)
			continue;
		if (index > c->chains_nr)
			c->apart[i] = p.deployment.v; /* what the unseen entry was about is not known */
		if (find(c, &p.host, p.fence.epoch) != NULL)
			continue;
		service_ordered(c->service, &p, true);
		c->assigned[c->assigned_nr++] = (struct assigned){.host = p.host,
								  .epoch = p.fence.epoch,
								  .target = p.desired.id,
								  .fallback = p.fallback.id,
								  .direction = p.direction,
								  .deployment = p.deployment.v};
	}
}

/* ---- ends
 * -------------------------------------------------------------------------------------------------------------------
 */

static void check_end_of(struct check *c, const struct deployment *d, const struct task *t)
{
	struct sim_host *h = sim_host(c->s, t->host.s);
	if (h == NULL || !h->powered || h->gave_up) /* it died after the rollout was over */
		return;
	bool on_target = digest_eq(&h->running, &d->target.id);
	if (t->state == TASK_HEALTHY && !on_target)
		world_violation(&c->s->w, "%s is HEALTHY on %s but runs %s", t->host.s, d->target.version.s,
				sim_runs(c->s, h));
	if (t->state == TASK_REVERTED && !digest_eq(&h->running, &t->from.id))
		world_violation(&c->s->w, "%s is REVERTED to %s but runs %s", t->host.s, t->from.version.s,
				sim_runs(c->s, h));
	if (t->state == TASK_QUEUED && !t->touched && on_target && !digest_eq(&t->from.id, &d->target.id))
		world_violation(&c->s->w, "%s was never assigned but runs %s", t->host.s,
				d->target.version.s);
	if (t->touched && !digest_none(&t->from.id) && !sm_terminal(&rollout_machine, (int)d->state) &&
	    !sim_host_has_slot(h, &t->from.artifact))
		world_violation(&c->s->w, "%s: the rollback target %s is not on disk", t->host.s,
				t->from.version.s);
}

void check_over(struct check *c, uint64_t id)
{
	struct arena *a = &c->s->arena;
	struct deployment d;
	struct wave *waves;
	struct task *tasks;
	size_t nr;
	if (!coordinator_up(c->s->c) ||
	    view_rollout(st(c), a, (struct deployment_id){id}, &d, &waves, &tasks, &nr) != E_OK)
		return;
	for (size_t i = 0; i < nr; i++)
		check_end_of(c, &d, &tasks[i]);
}
