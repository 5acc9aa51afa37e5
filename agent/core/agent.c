#include "agent/core/agent.h"

#include <stdio.h>
#include <string.h>

#include "agent/core/planted.h"

#ifdef PLANTED_BUGS
unsigned agent_planted;
#endif

#define TO(s) SM_TO(AGENT_##s)

/* FETCHING may follow every state: a newer assignment overtakes at the next border between two effects. */
static const struct sm_state states[AGENT_STATE_NR] = {
	[AGENT_SETTLED] = {"SETTLED", SM_INITIAL, TO(FETCHING) | TO(DRAINING), "an assignment"},
	[AGENT_FETCHING] = {"FETCHING", 0, TO(FETCHING) | TO(STAGING) | TO(DRAINING) | TO(SETTLED),
			    "the archive"},
	[AGENT_STAGING] = {"STAGING", 0, TO(FETCHING) | TO(DRAINING) | TO(PROBING) | TO(SETTLED),
			   "the archive to be unpacked"},
	[AGENT_DRAINING] = {"DRAINING", 0, TO(FETCHING) | TO(STOPPING) | TO(ADMITTING) | TO(DRAINING),
			    "connections to end"},
	[AGENT_STOPPING] = {"STOPPING", 0,
			    TO(FETCHING) | TO(SWAPPING) | TO(STOPPING) | TO(DRAINING) | TO(SETTLED),
			    "the program to end"},
	[AGENT_SWAPPING] = {"SWAPPING", 0,
			    TO(FETCHING) | TO(STARTING) | TO(STOPPING) | TO(DRAINING) | TO(SETTLED),
			    "the link to be flipped"},
	[AGENT_STARTING] = {"STARTING", 0,
			    TO(FETCHING) | TO(PROBING) | TO(STOPPING) | TO(DRAINING) | TO(STARTING) |
				    TO(SETTLED),
			    "the program to start"},
	[AGENT_PROBING] = {"PROBING", 0,
			   TO(FETCHING) | TO(ADMITTING) | TO(STOPPING) | TO(DRAINING) | TO(STARTING) |
				   TO(SETTLED),
			   "its probes"},
	[AGENT_ADMITTING] = {"ADMITTING", 0, TO(FETCHING) | TO(SETTLED) | TO(DRAINING), "the balancer"},
};
const struct sm agent_machine = {"agent", states, AGENT_STATE_NR};

static const enum agent_effect_kind effect_of[AGENT_STATE_NR] = {
	[AGENT_FETCHING] = EFFECT_FETCH, [AGENT_STAGING] = EFFECT_STAGE,   [AGENT_DRAINING] = EFFECT_DRAIN,
	[AGENT_STOPPING] = EFFECT_STOP,	 [AGENT_SWAPPING] = EFFECT_SWAP,   [AGENT_STARTING] = EFFECT_START,
	[AGENT_PROBING] = EFFECT_PROBE,	 [AGENT_ADMITTING] = EFFECT_ADMIT,
};

/* The step the coordinator knows: the last thing that is done, not the one being done. */
static const enum step_state step_of[AGENT_STATE_NR] = {
	[AGENT_FETCHING] = STEP_ACKED,	 [AGENT_STAGING] = STEP_FETCHED,   [AGENT_DRAINING] = STEP_STAGED,
	[AGENT_STOPPING] = STEP_DRAINED, [AGENT_SWAPPING] = STEP_DRAINED,  [AGENT_STARTING] = STEP_SWAPPED,
	[AGENT_PROBING] = STEP_PROBING,	 [AGENT_ADMITTING] = STEP_PROBING,
};

static bool none(const struct agent_target *t)
{
	return digest_none(&t->id);
}

static bool same(const struct agent_target *a, const struct agent_target *b)
{
	return digest_eq(&a->id, &b->id);
}

/* ---- apps
 * ------------------------------------------------------------------------------------------------------------
 */

void agent_init(struct agent *a)
{
	*a = (struct agent){0};
}

static struct agent_app *app_find(struct agent *a, const struct name *name)
{
	for (size_t i = 0; i < AGENT_APPS_MAX; i++)
		if (a->apps[i].used && name_eq(&a->apps[i].r.assignment.app, name))
			return &a->apps[i];
	return NULL;
}

static struct agent_app *app_new(struct agent *a, const struct name *name)
{
	for (size_t i = 0; i < AGENT_APPS_MAX; i++) {
		struct agent_app *p = &a->apps[i];
		if (p->used)
			continue;
		*p = (struct agent_app){.used = true, .r = {.state = AGENT_SETTLED}};
		p->r.assignment.app = *name;
		return p;
	}
	return NULL; /* more apps than a host may have: the assignment waits at the coordinator until its
			deadline */
}

const struct agent_record *agent_app_record(const struct agent *a, size_t i)
{
	return i < AGENT_APPS_MAX && a->apps[i].used ? &a->apps[i].r : NULL;
}

static enum step_state app_step(const struct agent_app *p)
{
	if (p->r.state == AGENT_SETTLED)
		return p->r.result;
	return p->r.failing ? STEP_REVERTING : step_of[p->r.state];
}

enum step_state agent_app_step(const struct agent *a, size_t i)
{
	return agent_app_record(a, i) == NULL ? STEP_NONE : app_step(&a->apps[i]);
}

uint64_t agent_after_seq(const struct agent *a)
{
	uint64_t seq = 0;
	for (size_t i = 0; i < AGENT_APPS_MAX; i++) {
		const struct agent_app *p = &a->apps[i];
		/* What is on its way into the journal, or waits for an effect, is not durable: it would be
		 * asked for again after a crash. */
		if (p->used && !p->writing && p->r.assignment.seq > seq)
			seq = p->r.assignment.seq;
	}
	return seq;
}

/* ---- moving
 * ------------------------------------------------------------------------------------------------------------
 */

static void report(struct agent_update *out, struct agent_app *p, enum agent_report_kind kind,
		   enum step_state from, enum step_state to)
{
	PRE(out->reports_nr < AGENT_OUT_MAX);
	out->reports[out->reports_nr++] = (struct agent_report){
		.kind = kind, .app = p->r.assignment.app, .from = from, .to = to, .record = &p->r};
}

static void effect(struct agent *a, struct agent_update *out, struct agent_app *p,
		   enum agent_effect_kind kind, uint64_t id)
{
	PRE(out->effects_nr < AGENT_OUT_MAX);
	out->effects[out->effects_nr++] = (struct agent_effect){.kind = kind,
								.id = id,
								.app = p->r.assignment.app,
								.aim = p->r.aim,
								.old = p->r.running,
								.activation = p->r.activation,
								.record = &p->r};
}

static void begin_effect(struct agent *a, struct agent_update *out, struct agent_app *p,
			 enum agent_effect_kind kind)
{
	p->effect_id = ++a->effects;
	p->effect = kind;
	effect(a, out, p, kind, p->effect_id);
}

static void journal(struct agent_update *out, struct agent_app *p)
{
	p->writing = true;
	for (size_t i = 0; i < out->journal_nr; i++)
		if (out->journal[i] == &p->r)
			return;
	PRE(out->journal_nr < AGENT_APPS_MAX);
	out->journal[out->journal_nr++] = &p->r;
}

/* The one function that changes a state. What is done in the state begins when the record is durable. */
static void move(struct agent *a, struct agent_update *out, struct agent_app *p, enum agent_state to)
{
	PRE(sm_edge_allowed(&agent_machine, (int)p->r.state, (int)to));
	p->r.state = to;
	if (to == AGENT_STARTING) {
		p->r.tries--;
		p->r.activation++;
		p->r.running = p->r.aim;
	}
	journal(out, p);
	if (PLANTED(PLANTED_EFFECT_BEFORE_JOURNAL) && to != AGENT_SETTLED)
		begin_effect(a, out, p, effect_of[to]);
}

static void settle(struct agent *a, struct agent_update *out, struct agent_app *p, enum step_state result)
{
	p->r.result = result;
	move(a, out, p, AGENT_SETTLED);
}

static void set_reason(struct agent_app *p, enum step_cause cause, const char *reason)
{
	p->r.cause = cause;
	snprintf(p->r.reason, sizeof p->r.reason, "%s", reason == NULL ? "" : reason);
}

/* ---- failing
 * ------------------------------------------------------------------------------------------------------------
 */

/* Is there something to go back to by ourselves? A rollback has no fallback but what ran before it. */
static bool can_fall_back(const struct agent_app *p)
{
	return !p->r.failing && !none(&p->r.assignment.fallback) &&
	       !same(&p->r.assignment.fallback, &p->r.assignment.target);
}

static void fail_after_touching(struct agent *a, struct agent_update *out, struct agent_app *p)
{
	bool back = can_fall_back(p);
	p->r.failing = true;
	p->r.tries = AGENT_TRIES;
	p->r.aim = back ? p->r.assignment.fallback : (struct agent_target){0};
	/* A program that fails is not left running: nothing says that what it does is harmless. */
	move(a, out, p, AGENT_STOPPING);
}

static void fail(struct agent *a, struct agent_update *out, struct agent_app *p, enum step_cause cause,
		 const char *reason)
{
	bool first = !p->r.failing;
	if (first)
		set_reason(p, cause, reason);
	switch (p->r.state) {
	case AGENT_FETCHING:
	case AGENT_STAGING:
		settle(a, out, p, STEP_FAILED);
		return;
	case AGENT_DRAINING:
		p->r.failing = true;
		p->r.aim = p->r.running;
		move(a, out, p, AGENT_ADMITTING);
		return;
	case AGENT_ADMITTING:
		settle(a, out, p, STEP_FAILED);
		return;
	case AGENT_STOPPING:
	case AGENT_SWAPPING:
	case AGENT_STARTING:
	case AGENT_PROBING:
		if (first)
			fail_after_touching(a, out, p);
		else if (p->r.tries > 0 && (p->r.state == AGENT_STARTING || p->r.state == AGENT_PROBING))
			move(a, out, p, AGENT_STARTING);
		else
			settle(a, out, p, STEP_FAILED);
		return;
	case AGENT_SETTLED:
	case AGENT_STATE_NR:
		return;
	}
}

/* ---- going on
 * ------------------------------------------------------------------------------------------------------------
 */

static enum step_state success_of(const struct agent_app *p)
{
	return p->r.failing ? STEP_FAILED : p->r.assignment.back ? STEP_REVERTED : STEP_HEALTHY;
}

static void take_evidence(struct agent_app *p, const struct agent_evidence *e)
{
	p->r.evidence = *e;
	p->r.evidence.target = p->r.aim.id;
	p->r.evidence.activation = p->r.activation;
}

static void on_staged(struct agent *a, struct agent_update *out, struct agent_app *p)
{
	/* It runs already: nothing is touched, but "already healthy" proves nothing, so it is measured anew
	 * (D1). */
	bool runs = same(&p->r.running, &p->r.aim) && !none(&p->r.aim);
	move(a, out, p, runs ? AGENT_PROBING : AGENT_DRAINING);
}

static void on_swapped(struct agent *a, struct agent_update *out, struct agent_app *p)
{
	if (!none(&p->r.aim)) {
		move(a, out, p, AGENT_STARTING);
		return;
	}
	p->r.running = (struct agent_target){0};
	settle(a, out, p, success_of(p));
}

/* D1 again: a measurement from before the activation is not one. */
static bool counts(const struct agent_evidence *e)
{
	return PLANTED(PLANTED_OLD_EVIDENCE) || (e->passes > 0 && e->measured_ms >= e->activated_ms);
}

static void on_probed(struct agent *a, struct agent_update *out, struct agent_app *p,
		      const struct agent_evidence *e)
{
	if (!counts(e)) {
		fail(a, out, p, STEP_CAUSE_VERSION, "the probes measured nothing after the start");
		return;
	}
	take_evidence(p, e);
	move(a, out, p, AGENT_ADMITTING);
}

static void on_admitted(struct agent *a, struct agent_update *out, struct agent_app *p)
{
	if (!p->r.failing || same(&p->r.running, &p->r.assignment.fallback))
		p->r.good = p->r.running;
	settle(a, out, p, success_of(p));
}

static void go_on(struct agent *a, struct agent_update *out, struct agent_app *p,
		  const struct agent_evidence *e)
{
	switch (p->r.state) {
	case AGENT_FETCHING:
		move(a, out, p, AGENT_STAGING);
		return;
	case AGENT_STAGING:
		on_staged(a, out, p);
		return;
	case AGENT_DRAINING:
		move(a, out, p, AGENT_STOPPING);
		return;
	case AGENT_STOPPING:
		move(a, out, p, AGENT_SWAPPING);
		return;
	case AGENT_SWAPPING:
		on_swapped(a, out, p);
		return;
	case AGENT_STARTING:
		move(a, out, p, AGENT_PROBING);
		return;
	case AGENT_PROBING:
		on_probed(a, out, p, e);
		return;
	case AGENT_ADMITTING:
		on_admitted(a, out, p);
		return;
	case AGENT_SETTLED:
	case AGENT_STATE_NR:
		return;
	}
}

/* ---- assignments
 * ------------------------------------------------------------------------------------------------------- */

static void take(struct agent *a, struct agent_update *out, struct agent_app *p,
		 const struct agent_assignment *as, int64_t now_ms)
{
	p->r.assignment = *as;
	p->r.aim = as->target;
	p->r.failing = false;
	p->r.tries = AGENT_TRIES;
	p->r.result = STEP_NONE;
	set_reason(p, STEP_CAUSE_NONE, "");
	p->r.evidence = (struct agent_evidence){0};
	p->received_ms = now_ms;
	p->has_next = false;
	p->accepted = false;
	/* Nothing to fetch for "run nothing". */
	move(a, out, p, none(&as->target) ? AGENT_DRAINING : AGENT_FETCHING);
}

/* Long ones are cut short when something newer waits; the others end soon and must not be torn. */
static bool can_cut_short(enum agent_effect_kind k)
{
	return k == EFFECT_FETCH || k == EFFECT_STAGE || k == EFFECT_PROBE || k == EFFECT_ENSURE;
}

static void overtake(struct agent *a, struct agent_update *out, struct agent_app *p,
		     const struct agent_assignment *as)
{
	p->next = *as;
	p->has_next = true;
	if (p->effect_id != 0 && can_cut_short(p->effect))
		effect(a, out, p, EFFECT_CANCEL, p->effect_id);
}

static void on_assignment(struct agent *a, struct agent_update *out, const struct agent_assignment *as,
			  int64_t now_ms)
{
	struct agent_app *p = app_find(a, &as->app);
	if (p == NULL)
		p = app_new(a, &as->app);
	if (p == NULL)
		return;
	int c = fence_cmp(&as->fence, &p->r.assignment.fence);
	if (c < 0 && !PLANTED(PLANTED_ACCEPT_LOWER_FENCE))
		return; /* of a coordinator that has been overtaken: never obeyed */
	if (c == 0) {
		/* Said again: the answer may have been lost. */
		if (p->r.state == AGENT_SETTLED && !p->writing && p->r.result != STEP_NONE)
			report(out, p, REPORT_RESULT, STEP_NONE, p->r.result);
		return;
	}
	if (p->has_next && fence_cmp(&as->fence, &p->next.fence) <= 0)
		return;
	if (p->writing || p->effect_id != 0)
		overtake(a, out, p, as);
	else
		take(a, out, p, as, now_ms);
}

/* ---- events
 * --------------------------------------------------------------------------------------------------------------
 */

static void on_boot(struct agent *a, const struct agent_event *ev, struct agent_update *out)
{
	for (size_t i = 0; i < ev->boot.nr && i < AGENT_APPS_MAX; i++) {
		struct agent_app *p = &a->apps[i];
		*p = (struct agent_app){.used = true, .r = ev->boot.records[i], .received_ms = ev->now_ms};
		if (p->r.state == AGENT_SETTLED) {
			if (p->r.result != STEP_NONE)
				report(out, p, REPORT_RESULT, STEP_NONE, p->r.result);
			if (!none(&p->r.running))
				begin_effect(a, out, p, EFFECT_ENSURE);
			continue;
		}
		/* A start that was under way may have happened: it counts as one, and is done again with one
		 * try less. */
		if (p->r.state == AGENT_STARTING && p->r.tries == 0)
			fail(a, out, p, STEP_CAUSE_VERSION, "the agent died in each of its starts");
		else if (p->r.state == AGENT_STARTING)
			move(a, out, p, AGENT_STARTING);
		else
			begin_effect(a, out, p, effect_of[p->r.state]);
	}
}

static void tell_step(struct agent_update *out, struct agent_app *p)
{
	enum step_state now = app_step(p);
	if (!p->accepted) {
		report(out, p, REPORT_ACCEPTED, STEP_NONE, STEP_NONE);
		p->told = STEP_ASSIGNED;
		p->accepted = true;
	}
	if (now != p->told && now != STEP_NONE)
		report(out, p, REPORT_STEP, p->told, now);
	p->told = now;
}

static void on_journaled(struct agent *a, const struct agent_event *ev, struct agent_update *out)
{
	struct agent_app *p = app_find(a, &ev->journaled);
	if (p == NULL || !p->writing)
		return;
	p->writing = false;
	tell_step(out, p);
	if (p->r.state == AGENT_SETTLED) {
		report(out, p, REPORT_RESULT, STEP_NONE, p->r.result);
		effect(a, out, p, EFFECT_RETAIN, 0);
	}
	if (p->has_next)
		take(a, out, p, &p->next, ev->now_ms);
	else if (p->r.state != AGENT_SETTLED && p->effect_id == 0)
		begin_effect(a, out, p, effect_of[p->r.state]);
}

static void on_done(struct agent *a, const struct agent_event *ev, struct agent_update *out)
{
	struct agent_app *p = app_find(a, &ev->done.app);
	if (p == NULL || p->effect_id == 0 || p->effect_id != ev->done.id)
		return; /* of an effect that was given up */
	enum agent_effect_kind kind = p->effect;
	p->effect_id = 0;
	if (p->has_next) {
		take(a, out, p, &p->next, ev->now_ms);
		return;
	}
	if (kind == EFFECT_ENSURE)
		return; /* what runs and what does not is told by the heartbeat */
	if (ev->done.ok)
		go_on(a, out, p, &ev->done.evidence);
	else
		fail(a, out, p, ev->done.cause, ev->done.reason);
}

static bool late(const struct agent_app *p, int64_t now_ms)
{
	const struct agent_assignment *as = &p->r.assignment;
	return p->used && p->r.state != AGENT_SETTLED && !p->r.failing && as->deadline_ms != 0 &&
	       now_ms >= p->received_ms + as->deadline_ms && !PLANTED(PLANTED_NO_DEADLINE);
}

/* Only between effects, or by cutting one short: an effect that must not be torn has a deadline of its own in
 * the driver. */
static void on_timer(struct agent *a, const struct agent_event *ev, struct agent_update *out)
{
	for (size_t i = 0; i < AGENT_APPS_MAX; i++) {
		struct agent_app *p = &a->apps[i];
		if (!late(p, ev->now_ms) || p->writing || p->effect_id == 0 || !can_cut_short(p->effect))
			continue;
		effect(a, out, p, EFFECT_CANCEL, p->effect_id);
		p->effect_id = 0;
		enum step_cause cause = p->r.state == AGENT_PROBING ? STEP_CAUSE_VERSION : STEP_CAUSE_INFRA;
		fail(a, out, p, cause, "not done at the deadline of the assignment");
	}
}

static void set_timer(const struct agent *a, int64_t now_ms, struct agent_update *out)
{
	for (size_t i = 0; i < AGENT_APPS_MAX; i++) {
		const struct agent_app *p = &a->apps[i];
		if (!p->used || p->r.state == AGENT_SETTLED || p->r.failing ||
		    p->r.assignment.deadline_ms == 0)
			continue;
		int64_t at = p->received_ms + p->r.assignment.deadline_ms;
		at = at <= now_ms ? now_ms + 1000 : at;
		if (out->next_at == 0 || at < out->next_at)
			out->next_at = at;
	}
}

void agent_step(struct agent *a, const struct agent_event *ev, struct agent_update *out)
{
	*out = (struct agent_update){0};
	switch (ev->kind) {
	case AGENT_BOOT:
		on_boot(a, ev, out);
		break;
	case AGENT_DESIRED:
		for (size_t i = 0; i < ev->desired.nr; i++)
			on_assignment(a, out, &ev->desired.assignments[i], ev->now_ms);
		break;
	case AGENT_JOURNALED:
		on_journaled(a, ev, out);
		break;
	case AGENT_EFFECT_DONE:
		on_done(a, ev, out);
		break;
	case AGENT_TIMER:
		on_timer(a, ev, out);
		break;
	}
	set_timer(a, ev->now_ms, out);
}
