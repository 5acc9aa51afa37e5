#include "agent/core/inner.h"

#include <string.h>

void agent_init(struct agent *a)
{
	memset(a, 0, sizeof(*a));
}

struct agent_app *inner_find(struct agent *a, const struct name *app)
{
	for (size_t i = 0; i < AGENT_APPS_MAX; i++)
		if (a->apps[i].in_use && name_eq(&a->apps[i].rec.app, app))
			return &a->apps[i];
	return NULL;
}

const struct agent_app *agent_find(const struct agent *a, const struct name *app)
{
	return inner_find((struct agent *)(uintptr_t)a, app);
}

struct agent_app *inner_add(struct agent *a, const struct name *name)
{
	struct agent_app *app = inner_find(a, name);
	for (size_t i = 0; app == NULL && i < AGENT_APPS_MAX; i++) {
		if (a->apps[i].in_use)
			continue;
		app = &a->apps[i];
		memset(app, 0, sizeof(*app));
		app->in_use = true;
		app->durable = true;
		app->told = STEP_IDLE;
		app->rec.app = *name;
		app->rec.state = AGENT_IDLE;
		app->rec.boot = a->boot;
	}
	return app;
}

/* Runs nothing, is to run nothing, and all is said and written. */
static bool is_idle(const struct agent_app *app)
{
	const struct agent_record *r = &app->rec;
	return app->in_use && app->durable && app->effect.id == 0 && app->next.seq == 0 && !r->unknown &&
	       agent_at_rest(r) && target_none(&r->runs) && target_none(&r->work.target);
}

struct agent_app *inner_make_room(struct step_run *run, const struct name *name)
{
	struct agent_app *apps = run->a->apps;
	for (size_t i = 0; i < AGENT_APPS_MAX; i++) {
		if (!is_idle(&apps[i]))
			continue;
		run->out->forgets[run->out->forgets_nr++] = apps[i].rec.app;
		apps[i].in_use = false;
		return inner_add(run->a, name);
	}
	return NULL;
}

void inner_persist(struct step_run *run, struct agent_app *app)
{
	struct agent_update *out = run->out;
	app->rec.number++;
	app->durable = false;
	bool listed = false;
	for (size_t i = 0; i < out->journals_nr; i++)
		listed = listed || out->journals[i] == &app->rec;
	if (!listed)
		out->journals[out->journals_nr++] = &app->rec;
	if (PLANTED(PLANTED_JOURNAL_AFTER_EFFECT)) {
		app->durable = true;
		report_durable(run, app);
		inner_settle(run, app);
	}
}

/* ---- what is next for one app
 * -------------------------------------------------------------------------------------- */

static bool may_revive(const struct agent_record *r)
{
	return !target_none(&r->runs) && (agent_at_rest(r) || r->state < AGENT_LEAVING);
}

/* What cannot be started must not stand before the release that takes its place: on the way to that, one
 * failed try is enough. */
static bool revives_now(const struct agent_app *app)
{
	return app->want_revive && may_revive(&app->rec) && (agent_at_rest(&app->rec) || !app->revive_failed);
}

static void revive(struct step_run *run, struct agent_app *app)
{
	app->want_revive = false;
	app->rec.reviving = true;
	app->rec.activation++;
	inner_persist(run, app);
}

/* The program under probe does not run any more: one more start, when one is left. */
static void start_again(struct step_run *run, struct agent_app *app)
{
	app->want_revive = false;
	if (!machine_enter_starting(&app->rec))
		machine_fail(&app->rec, STEP_CAUSE_VERSION, E_UNAVAILABLE,
			     "the program ended by itself three times");
	machine_pass(&app->rec, run->now);
	inner_persist(run, app);
}

static bool being_proven(const struct agent_record *r)
{
	return r->state >= AGENT_PROBING && r->state <= AGENT_SERVING;
}

static bool too_late(const struct agent_app *app, struct mono_ms now)
{
	const struct agent_record *r = &app->rec;
	return !r->reverting && !r->reviving && (r->state == AGENT_ACKED || r->state == AGENT_FETCHED) &&
	       now.v >= machine_deadline(r).v;
}

/* Nothing is owed to the balancer for what does not run, and slots are freed once in a run. */
static bool is_due(const struct agent_app *app, enum agent_effect_kind action)
{
	if (action == AGENT_UNDRAIN && agent_at_rest(&app->rec))
		return app->seen_up;
	return action != 0 && !(action == AGENT_FREE_SLOTS && app->tidied);
}

const char *inner_out_of_time(const struct agent_app *app)
{
	return app->last_fault[0] != '\0' ? app->last_fault : "the time for this host ran out";
}

static void give_up(struct step_run *run, struct agent_app *app)
{
	machine_fault_ends(&app->rec, run->now);
	machine_fail(&app->rec, STEP_CAUSE_INFRA, E_TIMEOUT, inner_out_of_time(app));
	machine_pass(&app->rec, run->now);
	inner_persist(run, app);
}

void inner_settle(struct step_run *run, struct agent_app *app)
{
	const struct agent_record *r = &app->rec;
	if (!app->durable || app->effect.id != 0 || r->unknown)
		return;
	if (app->next.seq != 0 && !r->reviving)
		desired_adopt(run, app);
	else if (too_late(app, run->now))
		give_up(run, app);
	else if (run->now.v < app->retry_at.v)
		return;
	else if (app->want_revive && being_proven(r))
		start_again(run, app);
	else if (revives_now(app))
		revive(run, app);
	else if (is_due(app, agent_action(r)))
		effect_start(run, app);
}

/* ---- events
 * -------------------------------------------------------------------------------------------------------- */

static bool record_ok(const struct agent_record *r)
{
	return !name_empty(&r->app) && r->state >= AGENT_IDLE && r->state < AGENT_STATE_NR;
}

/* After a reboot nothing we started is there any more, and the clock started anew. */
static void note_new_boot(struct step_run *run, struct agent_record *r)
{
	r->boot = run->a->boot;
	r->accepted_ms = run->now.v;
	r->activated_ms = run->now.v;
	machine_forget_faults(r);
}

static void re_enter(struct step_run *run, struct agent_app *app)
{
	struct agent_record *r = &app->rec;
	bool rebooted = !boot_eq(&r->boot, &run->a->boot);
	if (rebooted)
		note_new_boot(run, r);
	if (r->reviving)
		r->activation++;
	else if (r->state == AGENT_STARTING || (rebooted && being_proven(r))) {
		if (!machine_enter_starting(
			    r)) /* each start counts, also one that the agent did not survive */
			machine_fail(r, rebooted ? STEP_CAUSE_VERSION : STEP_CAUSE_INFRA, E_UNAVAILABLE,
				     "the program was started too often");
	}
	machine_pass(r, run->now);
	inner_persist(run, app);
}

static int on_boot(struct step_run *run, const struct agent_event *ev)
{
	if (run->a->booted || ev->boot.nr > AGENT_APPS_MAX)
		return E_INVALID;
	for (size_t i = 0; i < ev->boot.nr; i++)
		if (!record_ok(&ev->boot.records[i]))
			return E_INVALID;
	run->a->boot = ev->boot.boot;
	run->a->booted = true;
	for (size_t i = 0; i < ev->boot.nr; i++) {
		struct agent_app *app = inner_add(run->a, &ev->boot.records[i].app);
		app->rec = ev->boot.records[i];
		re_enter(run, app);
	}
	return E_OK;
}

static int on_desired(struct step_run *run, const struct agent_event *ev)
{
	int rc = E_OK;
	for (size_t i = 0; i < ev->desired.nr; i++) {
		int one = name_empty(&ev->desired.v[i].app) || ev->desired.v[i].seq == 0
				  ? E_INVALID
				  : desired_offer(run, &ev->desired.v[i]);
		rc = rc == E_OK ? one : rc;
	}
	if (ev->desired.snapshot || ev->desired.up_to_seq > run->a->after_seq)
		run->a->after_seq = ev->desired.up_to_seq;
	return rc;
}

static int on_journaled(struct step_run *run, const struct agent_event *ev)
{
	struct agent_app *app = inner_find(run->a, &ev->journaled.app);
	if (app == NULL)
		return E_INVALID;
	if (ev->journaled.number != app->rec.number || app->durable)
		return E_OK; /* a newer record is on its way */
	app->durable = true;
	report_durable(run, app);
	inner_settle(run, app);
	return E_OK;
}

static int on_effect_done(struct step_run *run, const struct agent_event *ev)
{
	struct agent_app *app = inner_find(run->a, &ev->done.app);
	if (app == NULL)
		return E_INVALID;
	if (ev->done.id != 0 && ev->done.id == app->effect.id)
		effect_ended(run, app, ev->done.code, ev->done.cause, ev->done.detail, &ev->done.evidence);
	return E_OK;
}

static void on_timer(struct step_run *run, struct agent_app *app)
{
	if (app->effect.id != 0 && run->now.v >= app->effect.deadline.v)
		effect_ran_out(run, app);
	if (run->now.v >= app->retry_at.v)
		app->retry_at = (struct mono_ms){0};
	inner_settle(run, app);
}

/* ---- what exec says of the program
 * --------------------------------------------------------------------------------- */

static void not_running(struct step_run *run, struct agent_app *app)
{
	const struct agent_effect *e = &app->effect;
	bool starting = (e->id != 0 && e->kind == AGENT_START) || app->rec.reviving;
	if (starting || !(may_revive(&app->rec) || being_proven(&app->rec)))
		return;
	app->seen_up = false;
	app->want_revive = true;
	if (e->id != 0 && effect_cancellable(e))
		effect_cancel(run, app);
	inner_settle(run, app);
}

static void cancel_probe(struct step_run *run, struct agent_app *app)
{
	if (app->effect.id != 0)
		effect_cancel(run, app);
}

/* Exec started it again: what was measured so far was another process. */
static void restarted(struct step_run *run, struct agent_app *app)
{
	struct agent_record *r = &app->rec;
	if (r->state != AGENT_PROBING || r->reviving)
		return;
	cancel_probe(run, app);
	if (r->starts >= AGENT_STARTS_MAX) {
		machine_fail(r, STEP_CAUSE_VERSION, E_UNAVAILABLE, "the program ended by itself three times");
		machine_pass(r, run->now);
	} else {
		r->starts++;
		r->activated_ms = run->now.v;
	}
	inner_persist(run, app);
}

static void crash_loop(struct step_run *run, struct agent_app *app)
{
	struct agent_record *r = &app->rec;
	if (r->state != AGENT_PROBING || r->reviving)
		return;
	cancel_probe(run, app);
	machine_fail(r, STEP_CAUSE_VERSION, E_UNAVAILABLE, "the program dies again and again");
	machine_pass(r, run->now);
	inner_persist(run, app);
}

/* The journal was damaged: what exec says it started is all that is known. */
static void learn(struct step_run *run, struct agent_app *app, const struct agent_event *ev)
{
	struct agent_record *r = &app->rec;
	r->unknown = false;
	r->runs = ev->status.target;
	r->activation = ev->status.activation;
	r->activated_ms = run->now.v;
	inner_persist(run, app);
}

/* The journal is gone, but exec looks after a program that an agent here began: as with a damaged one. */
static struct agent_app *found_running(struct step_run *run, const struct agent_event *ev)
{
	if (name_empty(&ev->status.app) || target_none(&ev->status.target))
		return NULL;
	struct agent_app *app = inner_add(run->a, &ev->status.app);
	if (app != NULL)
		app->rec.unknown = true;
	return app;
}

static int on_status(struct step_run *run, const struct agent_event *ev)
{
	struct agent_app *app = inner_find(run->a, &ev->status.app);
	if (app == NULL)
		app = found_running(run, ev);
	if (app == NULL)
		return E_INVALID;
	if (app->rec.unknown)
		learn(run, app, ev);
	if (ev->status.activation != 0 && ev->status.activation < app->rec.activation)
		return E_OK; /* of a process that is replaced already */
	switch (ev->status.status) {
	case AGENT_RUNNING:
		app->want_revive = app->revive_failed = false;
		app->seen_up = true;
		inner_settle(run, app);
		break;
	case AGENT_NOT_RUNNING:
		not_running(run, app);
		break;
	case AGENT_RESTARTED:
		restarted(run, app);
		break;
	case AGENT_CRASH_LOOP:
		crash_loop(run, app);
		break;
	}
	return E_OK;
}

/* ---- dispatch
 * ------------------------------------------------------------------------------------------------------ */

static void each_app(struct step_run *run, void (*f)(struct step_run *run, struct agent_app *app))
{
	for (size_t i = 0; i < AGENT_APPS_MAX; i++)
		if (run->a->apps[i].in_use)
			f(run, &run->a->apps[i]);
}

/* A fetch that waits for its next try is tried at once: the line is back. */
static void on_link_up(struct step_run *run, struct agent_app *app)
{
	if (app->rec.state == AGENT_ACKED && !app->rec.reviving)
		app->retry_at = (struct mono_ms){0};
	inner_settle(run, app);
}

static void sooner(struct mono_ms *at, struct mono_ms t)
{
	if (t.v != 0 && (at->v == 0 || t.v < at->v))
		*at = t;
}

static struct mono_ms next_at(const struct agent *a)
{
	struct mono_ms at = {0};
	for (size_t i = 0; i < AGENT_APPS_MAX; i++) {
		const struct agent_app *app = &a->apps[i];
		if (!app->in_use)
			continue;
		if (app->effect.id != 0)
			sooner(&at, app->effect.deadline);
		else if (app->durable)
			sooner(&at, app->retry_at);
	}
	return at;
}

static int dispatch(struct step_run *run, const struct agent_event *ev)
{
	switch (ev->kind) {
	case AGENT_BOOT:
		return on_boot(run, ev);
	case AGENT_DESIRED:
		return on_desired(run, ev);
	case AGENT_JOURNALED:
		return on_journaled(run, ev);
	case AGENT_EFFECT_DONE:
		return on_effect_done(run, ev);
	case AGENT_STATUS:
		return on_status(run, ev);
	case AGENT_TIMER:
		each_app(run, on_timer);
		return E_OK;
	case AGENT_LINK_UP:
		each_app(run, on_link_up);
		return E_OK;
	case AGENT_LINK_DOWN: /* nothing changes: what runs keeps running (A10) */
		return E_OK;
	}
	return E_INVALID;
}

int agent_step(struct agent *a, const struct agent_event *ev, struct agent_update *out)
{
	struct step_run run = {a, ev->now, out};
	out->forgets_nr = out->journals_nr = out->cancels_nr = out->effects_nr = out->reports_nr = 0;
	out->next_at = (struct mono_ms){0};
	if (!a->booted && ev->kind != AGENT_BOOT)
		return E_INVALID;
	int rc = dispatch(&run, ev);
	out->next_at = next_at(a);
	return rc;
}
