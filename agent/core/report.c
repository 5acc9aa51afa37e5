#include "agent/core/inner.h"

#include <stdio.h>
#include <string.h>

/* NULL when full: then the driver's next BOOT, or the assignment coming again, says it. */
static struct agent_report *report_add(struct step_run *run, enum agent_report_kind kind,
				       const struct agent_assignment *as)
{
	struct agent_update *out = run->out;
	if (out->reports_nr == AGENT_REPORTS_MAX)
		return NULL;
	struct agent_report *p = &out->reports[out->reports_nr++];
	memset(p, 0, sizeof(*p));
	p->kind = kind;
	p->app = as->app;
	p->seq = as->seq;
	p->deployment = as->deployment;
	p->trace = as->trace;
	return p;
}

static void say_accepted(struct step_run *run, struct agent_app *app)
{
	if (report_add(run, AGENT_REPORT_ACCEPTED, &app->rec.work) == NULL)
		return;
	app->accepted_told = true;
	app->told = STEP_ASSIGNED;
}

static void say_step(struct step_run *run, struct agent_app *app, enum step step)
{
	struct agent_report *p = report_add(run, AGENT_REPORT_STEP, &app->rec.work);
	if (p == NULL)
		return;
	p->from = app->told;
	p->to = step;
	app->told = step;
}

static void say_result(struct step_run *run, struct agent_app *app)
{
	const struct agent_record *r = &app->rec;
	struct agent_report *p = report_add(run, AGENT_REPORT_RESULT, &r->work);
	if (p == NULL)
		return;
	p->state = agent_step_of(r);
	p->cause = r->cause;
	p->code = r->code;
	memcpy(p->reason, r->reason, sizeof(p->reason));
	if (digest_eq(&r->evidence.target, &r->runs.id))
		p->evidence = r->evidence;
	p->running = r->runs.id;
	app->result_told = true;
}

void report_durable(struct step_run *run, struct agent_app *app)
{
	const struct agent_record *r = &app->rec;
	if (r->work.seq == 0 || r->state == AGENT_IDLE)
		return;
	if (!app->accepted_told)
		say_accepted(run, app);
	enum step step = agent_step_of(r);
	if (agent_at_rest(r)) {
		if (!app->result_told)
			say_result(run, app);
		app->told = step;
	} else if (step != app->told) {
		say_step(run, app, step);
	}
}

void report_again(struct step_run *run, struct agent_app *app)
{
	if (!app->durable) /* comes with the record */
		return;
	app->accepted_told = false;
	app->result_told = false;
	report_durable(run, app);
}

void report_refused(struct step_run *run, const struct agent_assignment *as, int code, const char *why)
{
	const struct agent_app *app = agent_find(run->a, &as->app);
	struct agent_report *p = report_add(run, AGENT_REPORT_RESULT, as);
	if (p == NULL)
		return;
	p->state = STEP_FAILED;
	p->cause = STEP_CAUSE_INFRA;
	p->code = code;
	snprintf(p->reason, sizeof(p->reason), "%s: %s", err_name(code), why);
	if (app != NULL)
		p->running = app->rec.runs.id;
}
