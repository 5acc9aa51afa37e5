#include "agent/core/inner.h"

#include <stdio.h>
#include <string.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, TRIES_MAX = 5, RETRY_MS = 2 * SECOND, RETRY_CAP_MS = 2 * MINUTE };
#define HOUR  (60LL * MINUTE)
#define DAY   (24 * HOUR)
#define MONTH (31 * DAY)

/*
 * The limits are the last guard, beyond all that a deployment file may ask for. Whoever carries an effect out
 * ends it in the time of its own file and knows who is to blame; of what does not end here nobody knows.
 */
static const struct {
	int64_t limit_ms;
	bool cancellable;    /* nothing outside the agent's own files changes half way */
	bool retried;	     /* a transient failure is tried again until the assignment's deadline */
	bool until_deadline; /* ends with the assignment's deadline, too */
	bool around;	     /* it needs the store and the network, or a balancer */
} kinds[AGENT_EFFECT_NR] = {
	[AGENT_FETCH] = {MONTH, true, true, true, true},
	[AGENT_UNPACK] = {MONTH, true, true, true, false},
	[AGENT_HOOK] = {DAY, false, false, false, false},
	[AGENT_DRAIN] = {MONTH, false, true, false, true},
	[AGENT_STOP] = {2 * HOUR, false, true, false, false},
	[AGENT_SWAP] = {2 * HOUR, false, false, false, false},
	[AGENT_START] = {MONTH, false, false, false, false},
	[AGENT_PROBE] = {MONTH, true, false, true, false},
	[AGENT_UNDRAIN] = {MONTH, false, true, false, true},
	[AGENT_FREE_SLOTS] = {2 * HOUR, false, false, false, false},
};

bool effect_cancellable(const struct agent_effect *e)
{
	return kinds[e->kind].cancellable;
}

static enum agent_hook hook_of(enum agent_state s)
{
	if (s == AGENT_STAGED)
		return AGENT_HOOK_BEFORE_STOP;
	if (s == AGENT_STOPPED)
		return AGENT_HOOK_AFTER_STOP;
	return s == AGENT_SWAPPED ? AGENT_HOOK_BEFORE_START : AGENT_HOOK_AFTER_HEALTHY;
}

static bool about_old_program(const struct agent_record *r)
{
	return r->reviving || (r->state >= AGENT_STAGED && r->state <= AGENT_STOPPED) ||
	       r->state == AGENT_HALTING;
}

static void keep_add(struct agent_effect *e, const struct digest *artifact)
{
	if (!digest_none(artifact))
		e->keep[e->keep_nr++] = *artifact;
}

static void keep_list(struct agent_effect *e, const struct agent_record *r)
{
	keep_add(e, &r->runs.artifact);
	if (PLANTED(PLANTED_FREES_GOOD))
		return;
	keep_add(e, &r->good.artifact);
	keep_add(e, &r->work.fallback.artifact);
	keep_add(e, &r->work.target.artifact);
	keep_add(e, &r->work.keep);
}

static struct mono_ms limit_of(const struct agent_record *r, enum agent_effect_kind kind, struct mono_ms now)
{
	int64_t at = now.v + kinds[kind].limit_ms;
	int64_t end = machine_deadline(r).v;
	return (struct mono_ms){kinds[kind].until_deadline && !r->reverting && end < at ? end : at};
}

void effect_start(struct step_run *run, struct agent_app *app)
{
	const struct agent_record *r = &app->rec;
	struct agent_effect *e = &app->effect;
	memset(e, 0, sizeof(*e));
	e->id = ++run->a->next_effect;
	e->kind = agent_action(r);
	e->app = r->app;
	e->target = about_old_program(r) ? r->runs : r->to;
	e->activation = r->activation;
	e->trace = r->work.trace;
	e->deadline = limit_of(r, e->kind, run->now);
	if (e->kind == AGENT_HOOK)
		e->hook = hook_of(r->state);
	if (e->kind == AGENT_FREE_SLOTS)
		keep_list(e, r);
	PRE(run->out->effects_nr < AGENT_APPS_MAX);
	run->out->effects[run->out->effects_nr++] = *e;
}

void effect_cancel(struct step_run *run, struct agent_app *app)
{
	PRE(run->out->cancels_nr < ARRAY_LEN(run->out->cancels));
	run->out->cancels[run->out->cancels_nr++] = app->effect.id;
	app->effect.id = 0;
}

void effect_ran_out(struct step_run *run, struct agent_app *app)
{
	bool of_host = app->effect.deadline.v == machine_deadline(&app->rec).v;
	effect_cancel(run, app);
	effect_ended(run, app, E_TIMEOUT, STEP_CAUSE_INFRA,
		     of_host ? inner_out_of_time(app) : "took longer than it may", NULL);
}

static bool evidence_counts(const struct agent_record *r, const struct agent_evidence *ev)
{
	if (PLANTED(PLANTED_EVIDENCE_FROM_OLD))
		return true;
	return digest_eq(&ev->target, &r->to.id) && boot_eq(&ev->boot, &r->boot) &&
	       ev->activation == r->activation && ev->measured_ms > r->activated_ms;
}

static void wait_before_retry(struct agent_app *app, struct mono_ms now)
{
	uint32_t n = app->failed_tries < 10 ? app->failed_tries : 10;
	int64_t wait = (int64_t)RETRY_MS << n;
	int64_t end = machine_deadline(&app->rec).v;
	app->failed_tries++;
	app->retry_at.v = now.v + (wait < RETRY_CAP_MS ? wait : RETRY_CAP_MS);
	/* Whoever would wait beyond its time says so in time. */
	if (!app->rec.reviving && !app->rec.reverting && end > now.v && app->retry_at.v > end)
		app->retry_at.v = end;
}

static bool try_again(const struct agent_app *app, enum agent_effect_kind kind, int code, struct mono_ms now)
{
	if (!kinds[kind].retried || err_class(code) != ERR_TRANSIENT)
		return false;
	if (app->rec.reverting)
		return app->failed_tries < TRIES_MAX;
	return now.v < machine_deadline(&app->rec).v;
}

static void revive_failed(struct step_run *run, struct agent_app *app)
{
	app->rec.reviving = false;
	app->want_revive = app->revive_failed = true;
	wait_before_retry(app, run->now);
	inner_persist(run, app);
}

/* D3: not the host's own disk or memory; those are why it has a deadline. */
static bool fault_around(enum agent_effect_kind kind, int code)
{
	bool away = code == E_UNAVAILABLE || code == E_TIMEOUT || code == E_BUSY || code == E_CLOSED;
	return kinds[kind].around && away;
}

static void retry(struct step_run *run, struct agent_app *app, int code, const char *detail)
{
	snprintf(app->last_fault, sizeof(app->last_fault), "%s", detail == NULL ? err_text(code) : detail);
	bool begins = false;
	if (fault_around(app->effect.kind, code))
		begins = machine_fault_begins(&app->rec, run->now);
	else
		machine_fault_ends(&app->rec, run->now);
	wait_before_retry(app, run->now);
	if (begins) /* an agent that dies now knows afterwards how long the clock has stood */
		inner_persist(run, app);
}

static void failed(struct step_run *run, struct agent_app *app, int code, enum step_cause cause,
		   const char *detail)
{
	enum agent_effect_kind kind = app->effect.kind;
	if (app->rec.reviving) {
		revive_failed(run, app);
	} else if (app->next.seq != 0) {
		inner_settle(run, app);
	} else if (agent_at_rest(&app->rec)) { /* an undrain that is owed */
		wait_before_retry(app, run->now);
	} else if (try_again(app, kind, code, run->now)) {
		retry(run, app, code, detail);
	} else {
		app->failed_tries = 0;
		machine_fault_ends(&app->rec, run->now);
		machine_fail(&app->rec, cause, code, detail);
		machine_pass(&app->rec, run->now);
		inner_persist(run, app);
	}
}

/* Says nothing about this activation: measure again, but not in a tight loop, and on the way back not for
 * ever. */
static void evidence_discarded(struct step_run *run, struct agent_app *app)
{
	if (app->rec.reverting && app->failed_tries >= TRIES_MAX)
		failed(run, app, E_STALE, STEP_CAUSE_INFRA, "the probes keep measuring another activation");
	else
		wait_before_retry(app, run->now);
	inner_settle(run, app); /* an assignment that waits does not wait for that */
}

static void succeeded(struct step_run *run, struct agent_app *app, const struct agent_evidence *ev)
{
	struct agent_record *r = &app->rec;
	if (app->effect.kind == AGENT_START)
		app->want_revive = app->revive_failed = false;
	if (app->effect.kind == AGENT_START || app->effect.kind == AGENT_PROBE)
		app->seen_up = true;
	if (r->state == AGENT_PROBING && !r->reviving) {
		if (ev == NULL || !evidence_counts(r, ev)) {
			evidence_discarded(run, app);
			return;
		}
		r->evidence = *ev;
		r->evidence.activated_ms = r->activated_ms;
	}
	app->failed_tries = 0;
	app->last_fault[0] = '\0';
	app->retry_at = (struct mono_ms){0};
	if (!r->reviving)
		machine_fault_ends(r, run->now);
	machine_succeed(r, run->now);
	inner_persist(run, app);
}

void effect_ended(struct step_run *run, struct agent_app *app, int code, enum step_cause cause,
		  const char *detail, const struct agent_evidence *evidence)
{
	app->effect.id = 0;
	if (app->effect.kind ==
	    AGENT_FREE_SLOTS) { /* slots left over are tried again with the next release */
		app->tidied = true;
		inner_settle(run, app);
	} else if (code == E_OK) {
		succeeded(run, app, evidence);
	} else {
		failed(run, app, code, cause, detail);
	}
}
