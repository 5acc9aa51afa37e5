#include "agent/core/inner.h"

#include <string.h>

/* The highest assignment seen of an app: the one waiting, else the one obeyed. */
static const struct agent_assignment *newest(const struct agent_app *app)
{
	return app->next.seq != 0 ? &app->next : &app->rec.work;
}

enum newness { OLDER, SAME, NEWER };

static enum newness compare(const struct agent_assignment *as, const struct agent_assignment *known)
{
	if (known->seq == 0)
		return NEWER;
	int c = fence_cmp(&as->fence, &known->fence);
	if (as->seq == known->seq && as->fence.generation == known->fence.generation &&
	    target_eq(&as->target, &known->target))
		return c < 0 ? OLDER : SAME;
	if (c != 0)
		return c < 0 ? OLDER : NEWER;
	return as->seq < known->seq ? OLDER : NEWER;
}

static void overtake(struct step_run *run, struct agent_app *app, const struct agent_assignment *as)
{
	app->next = *as;
	if (app->effect.id != 0 && effect_cancellable(&app->effect))
		effect_cancel(run, app);
	app->retry_at = (struct mono_ms){0};
	inner_settle(run, app);
}

int desired_offer(struct step_run *run, const struct agent_assignment *as)
{
	struct agent_app *app = inner_add(run->a, &as->app);
	if (app == NULL)
		app = inner_make_room(run, &as->app);
	if (app == NULL) {
		report_refused(run, as, E_TOO_LARGE,
			       "this host carries as many apps as an agent can; move one elsewhere");
		return E_TOO_LARGE;
	}
	enum newness n = compare(as, newest(app));
	if (n == OLDER && PLANTED(PLANTED_ACCEPT_LOWER_FENCE))
		n = NEWER;
	if (n == OLDER)
		report_refused(run, as, E_FENCED, "this host obeys a newer assignment already");
	else if (n == SAME && app->next.seq == 0)
		report_again(run, app);
	else if (n == NEWER)
		overtake(run, app, as);
	return E_OK;
}

/* What ran and was proven is worth keeping on disk; what was stopped or half started does not run. */
static void note_what_runs(struct agent_record *r)
{
	bool proven = r->state == AGENT_HEALTHY ||
		      (r->state == AGENT_FAILED && digest_eq(&r->evidence.target, &r->runs.id));
	if (proven && !target_none(&r->runs))
		r->good = r->runs;
	if (r->state >= AGENT_STOPPED && r->state <= AGENT_STARTING)
		memset(&r->runs, 0, sizeof(r->runs));
}

static void take_over(struct agent_record *r, const struct agent_assignment *as, struct mono_ms now)
{
	r->work = *as;
	r->to = as->target;
	r->reverting = false;
	r->starts = 0;
	r->accepted_ms = now.v;
	machine_forget_faults(r);
	r->cause = STEP_CAUSE_NONE;
	r->code = E_OK;
	r->reason[0] = '\0';
}

void desired_adopt(struct step_run *run, struct agent_app *app)
{
	struct agent_record *r = &app->rec;
	note_what_runs(r);
	take_over(r, &app->next, run->now);
	/* Told to run nothing: what it may be asked to run again stays on disk through whatever comes next.
	 */
	if (target_none(&r->to) && !target_none(&r->work.fallback))
		r->good = r->work.fallback;
	memset(&app->next, 0, sizeof(app->next));
	app->accepted_told = false;
	app->result_told = false;
	app->tidied = false;
	app->failed_tries = 0;
	app->last_fault[0] = '\0';
	app->retry_at = (struct mono_ms){0};
	machine_move(r, AGENT_ACKED);
	if (!target_none(&r->to) && target_eq(&r->to, &r->runs))
		machine_move(r, AGENT_PROBING); /* runs already: only fresh evidence is missing (D1) */
	machine_pass(r, run->now);
	inner_persist(run, app);
}
