/*
 * apply_task.c: hosts are told what to run, say how it went, and come late.
 */
#include "base/planted.h"
#include "coordinator/state/internal.h"
#include "coordinator/state/shared.h"

static bool may_assign(const struct deployment *d, enum direction dir)
{
	return dir == DIRECTION_FORWARD ? d->state == ROLLOUT_RUNNING : d->state == ROLLOUT_ROLLING_BACK;
}

static struct placement placement_row(struct apply *ap, const struct task *t, const struct deployment *d)
{
	struct placement p;
	if (view_placement(ap->st, ap->a, &t->host, &d->app, &p) == E_OK)
		return p;
	return (struct placement){.host = t->host, .app = d->app, .env = d->env};
}

/* The assignment: the next number of this host, and a fence that no earlier one reaches. */
static void put_assignment(struct apply *ap, const struct deployment *d, struct host *h, struct task *t)
{
	struct placement p = placement_row(ap, t, d);
	bool back = ap->c->assign.direction == DIRECTION_BACK, stop = ap->c->assign.stop;
	h->seq++;
	put_host(ap, h);
	t->seq = p.seq = h->seq;
	t->fence = p.fence =
		(struct fence){.generation = h->generation, .term = ap->c->assign.term, .epoch = ap->index};
	p.env = d->env;
	p.deployment = d->id;
	p.wave = t->wave;
	p.direction = ap->c->assign.direction;
	p.desired = stop ? (struct target){0} : back ? t->from : d->target;
	/* recreate: a host that fails to start must not go back by itself while others of its wave run the
	 * new. */
	bool alone = !back && (stop || !d->limits.recreate);
	p.fallback = alone ? t->from : (struct target){0};
	p.assigned_at = ap->c->at;
	p.trace = ap->c->trace;
	put_placement(ap, &p);
	*apply_change(ap, CHANGE_PLACEMENT) = (struct change){
		.kind = CHANGE_PLACEMENT, .app = d->app, .host = t->host, .deployment = d->id};
}

static bool assign_one(struct apply *ap, const struct deployment *d, const struct name *host)
{
	bool back = ap->c->assign.direction == DIRECTION_BACK;
	enum task_state to = back ? TASK_REVERTING : TASK_ASSIGNED;
	struct host h;
	struct task t;
	if (view_host(ap->st, ap->a, host, &h) != E_OK || h.removed ||
	    view_task(ap->st, ap->a, d->id, host, &t) != E_OK)
		return false;
	if (BUG(BUG_DOUBLE_DISPATCH) && t.state == TASK_ASSIGNED && to == TASK_ASSIGNED)
		t.state = TASK_QUEUED;
	/* A lost host keeps what it was told, unless that was only to stop. */
	if (!sm_edge_allowed(&task_machine, (int)t.state, (int)to) ||
	    (t.state == TASK_LOST && !back && !t.stop))
		return false;
	t.direction = ap->c->assign.direction;
	t.touched = true;
	t.stop = ap->c->assign.stop;
	t.attempts += !back && !t.stop;
	t.cause = CAUSE_NONE;
	t.assigned_at = ap->c->at;
	t.deadline.v = d->limits.task_ms == 0 ? 0 : ap->c->at.v + d->limits.task_ms;
	put_assignment(ap, d, &h, &t);
	PRE(apply_task_move(ap, &t, &d->app, to, t.stop ? "to stop" : "") == E_OK);
	return true;
}

/* ---- recreate: all of a wave stop before the first one starts (docs/decisions/0007) ---- */

static const char *barrier_holder(struct apply *ap, const struct deployment *d, uint32_t wave)
{
	struct deployment again;
	struct wave *waves;
	struct task *tasks;
	size_t nr;
	if (view_rollout(ap->st, ap->a, d->id, &again, &waves, &tasks, &nr) != E_OK)
		return "?";
	for (size_t i = 0; i < nr; i++)
		if (tasks[i].wave == wave && task_holds_barrier(&tasks[i], ap->c->assign.direction))
			return tasks[i].host.s;
	return NULL;
}

/* The wave that all hosts of the command stand in; false when they stand in more than one, or in none. */
static bool one_wave(struct apply *ap, const struct deployment *d, struct wave *w)
{
	struct task t;
	bool found = false;
	for (size_t i = 0; i < ap->c->assign.hosts_nr; i++) {
		if (view_task(ap->st, ap->a, d->id, &ap->c->assign.hosts[i], &t) != E_OK)
			continue;
		if (found && t.wave != w->index)
			return false;
		found = view_wave(ap->st, ap->a, d->id, t.wave, w) == E_OK;
	}
	return found;
}

/* May the hosts of this command start, or be stopped, now? */
static int check_barrier(struct apply *ap, const struct deployment *d, const struct wave *w)
{
	enum direction dir = ap->c->assign.direction;
	if (ap->c->assign.stop)
		return w->opened != dir
			       ? E_OK
			       : apply_refuse(
					 ap, E_CONFLICT,
					 "wave %u starts already: its hosts are not stopped first any more",
					 w->index + 1);
	/* Going back before anything of the new could start: there is nothing to stop. */
	if (w->opened == dir || (dir == DIRECTION_BACK && w->opened == 0) || BUG(BUG_NO_BARRIER))
		return E_OK;
	const char *holder = barrier_holder(ap, d, w->index);
	return holder == NULL ? E_OK
			      : apply_refuse(ap, E_CONFLICT, "host %s of wave %u has not stopped yet", holder,
					     w->index + 1);
}

static void open_wave(struct apply *ap, const struct deployment *d, uint32_t index)
{
	struct wave w;
	PRE(view_wave(ap->st, ap->a, d->id, index, &w) == E_OK);
	if (w.opened == ap->c->assign.direction)
		return;
	w.opened = ap->c->assign.direction;
	put_wave(ap, &w);
}

int apply_assign(struct apply *ap)
{
	struct deployment d;
	char id[DEPLOYMENT_ID_CAP];
	if (view_deployment(ap->st, ap->a, ap->c->assign.deployment, &d) != E_OK)
		return apply_refuse(ap, E_NOT_FOUND, "there is no such rollout");
	apply_object(ap, "%s %s %s, %zu hosts", deployment_id_text(d.id, id), d.app.s, d.target.version.s,
		     ap->c->assign.hosts_nr);
	if (!may_assign(&d, ap->c->assign.direction))
		return apply_refuse(ap, E_CONFLICT, "the rollout is %s by now",
				    sm_name(&rollout_machine, (int)d.state));
	struct wave w = {.index = 0};
	if (ap->c->assign.stop && !d.limits.recreate)
		return apply_refuse(ap, E_INVALID, "only a recreate rollout stops hosts first");
	if (d.limits.recreate && !one_wave(ap, &d, &w))
		return apply_refuse(ap, E_INVALID, "these hosts do not stand in one wave");
	int rc = d.limits.recreate ? check_barrier(ap, &d, &w) : E_OK;
	if (rc != E_OK)
		return rc;
	size_t assigned = 0;
	for (size_t i = 0; i < ap->c->assign.hosts_nr; i++)
		assigned += assign_one(ap, &d, &ap->c->assign.hosts[i]);
	if (assigned == 0)
		return apply_refuse(ap, E_CONFLICT, "none of these hosts can be assigned any more");
	if (d.limits.recreate && !ap->c->assign.stop)
		open_wave(ap, &d, w.index);
	return E_OK;
}

/* ---- results
 * ------------------------------------------------------------------------------------------------------- */

/*
 * D1: measured after this activation, of this target; by the same comparison as the agent's own (effect.c).
 * Going back to nothing has nothing to measure. NULL: it counts, else why not. The boot may be an earlier one
 * than the report's: a proof waits in the agent's spool, and what became of the host since is for the bake.
 */
static const char *evidence_flaw(const struct evidence *e, const struct target *expected)
{
	if (digest_none(&expected->id) || BUG(BUG_EVIDENCE_UNCHECKED))
		return NULL;
	if (!digest_eq(&e->target, &expected->id))
		return "its evidence is of another target";
	if (e->activation == 0 || e->passes == 0)
		return "its evidence names no probe that passed";
	if (e->boot_hi == 0 && e->boot_lo == 0)
		return "its evidence names no boot, so its times say nothing";
	return e->measured_ms > e->activated_ms ? NULL : "its evidence was not measured after the activation";
}

/* A result may come after a newer rollout was assigned here, or after the host was removed or rebuilt: then
 * it ends its task and says nothing of what runs now. */
static bool speaks_of_now(struct apply *ap, const struct task *t, const struct placement *p)
{
	struct host h;
	return view_host(ap->st, ap->a, &t->host, &h) == E_OK && !h.removed &&
	       (t->seq == 0 || t->fence.generation == h.generation) && t->seq >= p->seq;
}

static void put_current(struct apply *ap, const struct deployment *d, const struct task *t,
			const struct target *now)
{
	struct placement p = placement_row(ap, t, d);
	if (!speaks_of_now(ap, t, &p))
		return;
	p.current = *now;
	put_placement(ap, &p);
	apply_moved(ap, &d->app);
}

/* What a result may say, given what was asked. The planner's own LOST and FAILED come this way too. */
static bool answers(const struct task_result *r, const struct task *t)
{
	bool back = t->direction == DIRECTION_BACK;
	if (r->state == TASK_HEALTHY)
		return !back;
	if (r->state == TASK_REVERTED)
		return back;
	return r->state == TASK_FAILED || r->state == TASK_LOST;
}

/* What a result moves its task to. The answer to "run nothing" is that it has stopped. */
static enum task_state result_state(const struct task_result *r, const struct task *t)
{
	bool good = r->state == TASK_HEALTHY || r->state == TASK_REVERTED;
	return good && t->stop ? TASK_STOPPED : r->state;
}

/* What a result proves to run; NULL = nothing. */
static const struct target *proven_by(const struct task_result *r, const struct task *t,
				      const struct deployment *d)
{
	if (t->stop)
		return NULL;
	return r->state == TASK_HEALTHY ? &d->target : r->state == TASK_REVERTED ? &t->from : NULL;
}

/* No fault of a stop is the new version's, and there is nothing to measure of it. Who is lost keeps what it
 * had proven. */
static void note_verdict(struct task *t, const struct task_result *r)
{
	t->cause = t->stop && r->cause == CAUSE_VERSION ? CAUSE_INFRA : r->cause;
	if (r->state != TASK_LOST)
		t->evidence = t->stop ? (struct evidence){0} : r->evidence;
}

/* An agent says its last result again when it starts. That proves nothing new of a host that was lost since.
 */
static bool proven_before_loss(const struct task *t, const struct evidence *e)
{
	const struct evidence *had = &t->evidence;
	return t->state == TASK_LOST && digest_eq(&had->target, &e->target) && had->boot_hi == e->boot_hi &&
	       had->boot_lo == e->boot_lo && had->activation == e->activation &&
	       e->measured_ms <= had->measured_ms;
}

/* NULL: it was applied, or said before. Else why it counts for nothing. */
static const char *take_result(struct apply *ap, const struct task_result *r)
{
	struct deployment d;
	struct task t;
	if (view_deployment(ap->st, ap->a, r->deployment, &d) != E_OK ||
	    view_task(ap->st, ap->a, d.id, &r->host, &t) != E_OK)
		return "the host has no task in such a rollout";
	if (r->seq != t.seq)
		return arena_printf(ap->a, "the newest assignment there is %llu", (unsigned long long)t.seq);
	enum task_state to = result_state(r, &t);
	if (to == t.state)
		return NULL; /* the acknowledgement was lost on its way */
	if (!answers(r, &t))
		return "it does not answer what the host was asked";
	const struct target *proven = proven_by(r, &t, &d);
	const char *flaw = proven == NULL ? NULL : evidence_flaw(&r->evidence, proven);
	if (flaw != NULL)
		return flaw;
	if (proven != NULL && !digest_none(&proven->id) && proven_before_loss(&t, &r->evidence))
		return "it says again what it had proven before it was lost";
	note_verdict(&t, r);
	enum task_state was = t.state;
	int rc = apply_task_move(ap, &t, &d.app, to, to == TASK_STOPPED ? "" : r->reason);
	/* What is proven to run is true all the same, and later plans must know it. */
	if (proven != NULL)
		put_current(ap, &d, &t, proven);
	return rc == E_OK ? NULL
			  : arena_printf(ap->a, "its task is %s by now", sm_name(&task_machine, (int)was));
}

static void apply_result(struct apply *ap, const struct task_result *r)
{
	const char *why = take_result(ap, r);
	if (why != NULL)
		*apply_change(ap, CHANGE_RESULT_IGNORED) = (struct change){.kind = CHANGE_RESULT_IGNORED,
									   .host = r->host,
									   .deployment = r->deployment,
									   .seq = r->seq,
									   .to = (int)r->state,
									   .reason = why};
}

/* A host may say what counts for nothing as often as it likes: that is no entry of the audit. */
static bool changed_something(const struct apply *ap)
{
	for (size_t i = 0; i < ap->changes_nr; i++)
		if (ap->changes[i].kind != CHANGE_RESULT_IGNORED)
			return true;
	return false;
}

int apply_results(struct apply *ap)
{
	apply_object(ap, "%zu results", ap->c->results.nr);
	if (ap->c->results.nr == 1)
		apply_object(ap, "host %s %s", ap->c->results.v[0].host.s,
			     sm_name(&task_machine, (int)ap->c->results.v[0].state));
	for (size_t i = 0; i < ap->c->results.nr; i++)
		apply_result(ap, &ap->c->results.v[i]);
	ap->unaudited = !changed_something(ap);
	return E_OK;
}

/* ---- hosts that come late
 * ----------------------------------------------------------------------------------------- */

/* A wave that has failed hands out nothing: the newcomer waits for `retry`, and is left alone when the
 * rollout goes back. */
static const char *newcomer_reason(const struct wave *w)
{
	return w->state == WAVE_FAILED ? "joined late; its wave has failed, so it waits for `retry`"
				       : "joined late";
}

static void put_newcomer(struct apply *ap, struct deployment *d, struct wave *w, const struct name *host)
{
	struct task t = {.deployment = d->id,
			 .host = *host,
			 .wave = w->index,
			 .position = d->hosts_nr,
			 .state = TASK_QUEUED,
			 .direction = DIRECTION_FORWARD,
			 .reason = newcomer_reason(w),
			 .state_since = ap->c->at};
	d->hosts_nr++;
	put_deployment(ap, d);
	put_task(ap, &t);
	put_task_of(ap, &t);
	/* What was decided of the wave without the newcomer is decided anew. */
	w->revision++;
	put_wave(ap, w);
	*apply_change(ap, CHANGE_TASK) = (struct change){.kind = CHANGE_TASK,
							 .app = d->app,
							 .host = t.host,
							 .deployment = d->id,
							 .wave = t.wave,
							 .to = TASK_QUEUED,
							 .reason = t.reason};
}

int apply_join(struct apply *ap)
{
	struct deployment d;
	struct wave w;
	struct host h;
	struct task old;
	struct shared other;
	if (view_deployment(ap->st, ap->a, ap->c->join.deployment, &d) != E_OK ||
	    sm_terminal(&rollout_machine, (int)d.state) || d.back)
		return apply_refuse(ap, E_CONFLICT, "the rollout takes no more hosts");
	apply_object(ap, "host %s into wave %u of %s", ap->c->join.host.s, ap->c->join.wave + 1, d.app.s);
	if (view_wave(ap->st, ap->a, d.id, ap->c->join.wave, &w) != E_OK ||
	    view_host(ap->st, ap->a, &ap->c->join.host, &h) != E_OK || h.removed)
		return apply_refuse(ap, E_NOT_FOUND, "no such wave or host");
	if (view_task(ap->st, ap->a, d.id, &h.name, &old) == E_OK && old.state != TASK_SKIPPED)
		return E_OK;
	if (shared_find(ap->st, ap->a, &d.app, &d.env, &h.name, 1, &other))
		return apply_refuse(ap, E_CONFLICT, "%s", shared_text(&other, ap->a));
	put_newcomer(ap, &d, &w, &h.name);
	return E_OK;
}
