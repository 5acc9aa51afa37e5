#include "agent/core/inner.h"

#include "base/deadline.h"

#include <stdio.h>
#include <string.h>

#ifdef PLANTED_BUGS
unsigned agent_core_planted;
#endif

enum { DEFAULT_DEADLINE_MS = 60 * 60 * 1000 };

/* A newer assignment may come in any state; a failure may lead back from any state after the old program was
 * touched. */
#define OVERTAKEN SM_TO(AGENT_ACKED)
#define BACK                                                                                                 \
	(SM_TO(AGENT_LEAVING) | SM_TO(AGENT_DRAINED) | SM_TO(AGENT_PROBING) | SM_TO(AGENT_HALTING) |         \
	 SM_TO(AGENT_FAILED))

static const struct sm_state states[AGENT_STATE_NR] = {
	[AGENT_IDLE] = {"IDLE", SM_INITIAL, OVERTAKEN, "an assignment"},
	[AGENT_ACKED] = {"ACKED", 0, OVERTAKEN | BACK | SM_TO(AGENT_FETCHED), "the archive"},
	[AGENT_FETCHED] = {"FETCHED", 0, OVERTAKEN | BACK | SM_TO(AGENT_STAGED), "the unpacked slot"},
	[AGENT_STAGED] = {"STAGED", 0, OVERTAKEN | BACK, "the hook before the stop"},
	[AGENT_LEAVING] = {"LEAVING", 0, OVERTAKEN | BACK, "the balancer to let go"},
	[AGENT_DRAINED] = {"DRAINED", 0, OVERTAKEN | BACK | SM_TO(AGENT_STOPPED), "the old program to end"},
	[AGENT_STOPPED] = {"STOPPED", 0, OVERTAKEN | BACK | SM_TO(AGENT_CLEARED), "the hook after the stop"},
	[AGENT_CLEARED] = {"CLEARED", 0, OVERTAKEN | BACK | SM_TO(AGENT_SWAPPED) | SM_TO(AGENT_HEALTHY),
			   "the swap"},
	[AGENT_SWAPPED] = {"SWAPPED", 0, OVERTAKEN | BACK | SM_TO(AGENT_STARTING),
			   "the hook before the start"},
	[AGENT_STARTING] = {"STARTING", 0, OVERTAKEN | BACK | SM_TO(AGENT_STARTING), "the program to start"},
	[AGENT_PROBING] = {"PROBING", 0, OVERTAKEN | BACK | SM_TO(AGENT_STARTING) | SM_TO(AGENT_PROVEN),
			   "the probes to pass"},
	[AGENT_PROVEN] = {"PROVEN", 0, OVERTAKEN | BACK | SM_TO(AGENT_STARTING) | SM_TO(AGENT_SERVING),
			  "the balancer to take it"},
	[AGENT_SERVING] = {"SERVING", 0, OVERTAKEN | BACK | SM_TO(AGENT_STARTING) | SM_TO(AGENT_HEALTHY),
			   "the hook after healthy"},
	[AGENT_HEALTHY] = {"HEALTHY", 0, OVERTAKEN, "an assignment"},
	[AGENT_HALTING] = {"HALTING", 0, OVERTAKEN | SM_TO(AGENT_FAILED), "the failed program to end"},
	[AGENT_FAILED] = {"FAILED", 0, OVERTAKEN, "an assignment"},
};

const struct sm agent_sm = {"agent", states, AGENT_STATE_NR};

void machine_move(struct agent_record *r, enum agent_state to)
{
	PRE(sm_edge_allowed(&agent_sm, (int)r->state, (int)to));
	r->state = to;
}

struct mono_ms machine_deadline(const struct agent_record *r)
{
	int64_t wait = r->work.deadline_ms > 0 ? r->work.deadline_ms : DEFAULT_DEADLINE_MS;
	int64_t back = deadline_given_back_ms(r->fault_ms, r->fault_since_ms != 0, r->work.fault_cap_ms);
	return (struct mono_ms){r->accepted_ms + wait + back};
}

int64_t agent_fault_ms(const struct agent_record *r, struct mono_ms now)
{
	return r->fault_ms + (r->fault_since_ms == 0 ? 0 : now.v - r->fault_since_ms);
}

bool machine_fault_begins(struct agent_record *r, struct mono_ms now)
{
	bool begins = r->fault_since_ms == 0;
	if (begins)
		r->fault_since_ms = now.v;
	return begins;
}

void machine_fault_ends(struct agent_record *r, struct mono_ms now)
{
	r->fault_ms = agent_fault_ms(r, now);
	r->fault_since_ms = 0;
}

void machine_forget_faults(struct agent_record *r)
{
	r->fault_since_ms = r->fault_ms = 0;
}

bool agent_at_rest(const struct agent_record *r)
{
	return !r->reviving &&
	       (r->state == AGENT_IDLE || r->state == AGENT_HEALTHY || r->state == AGENT_FAILED);
}

/* What we went back to runs, but the balancer would not take it: that is owed until it does. */
static bool out_of_rotation(const struct agent_record *r)
{
	return r->reverting && r->drained && target_eq(&r->runs, &r->to);
}

/* The way back does not depend on what is left behind; nor does a way forward that an operator freed from it.
 */
static bool skips_stop_hooks(const struct agent_record *r)
{
	return r->work.back || r->work.skip_stop_hooks || target_none(&r->runs);
}

enum agent_effect_kind agent_action(const struct agent_record *r)
{
	enum agent_effect_kind none = (enum agent_effect_kind)0;
	if (r->reviving)
		return AGENT_START;
	switch (r->state) {
	case AGENT_ACKED:
		return target_none(&r->to) ? none : AGENT_FETCH;
	case AGENT_FETCHED:
		return target_none(&r->to) ? none : AGENT_UNPACK;
	case AGENT_STAGED:
		return skips_stop_hooks(r) ? none : AGENT_HOOK;
	case AGENT_LEAVING:
		return AGENT_DRAIN;
	case AGENT_DRAINED:
	case AGENT_HALTING:
		return AGENT_STOP;
	case AGENT_STOPPED: /* the hooks of what just failed are not asked on the way back */
		return r->reverting || skips_stop_hooks(r) ? none : AGENT_HOOK;
	case AGENT_CLEARED:
		return AGENT_SWAP;
	case AGENT_SWAPPED:
		return AGENT_HOOK;
	case AGENT_STARTING:
		return AGENT_START;
	case AGENT_PROBING:
		return AGENT_PROBE;
	case AGENT_PROVEN:
		return AGENT_UNDRAIN;
	case AGENT_SERVING:
		return r->reverting ? none : AGENT_HOOK;
	case AGENT_HEALTHY: /* what runs nothing may be on its way somewhere: nothing is freed under it */
	case AGENT_FAILED:  /* what failed left a slot, too */
		if (target_none(&r->runs))
			return none;
		return out_of_rotation(r) ? AGENT_UNDRAIN : AGENT_FREE_SLOTS;
	case AGENT_IDLE:
	case AGENT_STATE_NR:
		return none;
	}
	return none;
}

static enum step forward_step(enum agent_state s)
{
	static const enum step of[AGENT_STATE_NR] = {
		[AGENT_IDLE] = STEP_IDLE,	  [AGENT_ACKED] = STEP_ACKED,
		[AGENT_FETCHED] = STEP_FETCHED,	  [AGENT_STAGED] = STEP_STAGED,
		[AGENT_LEAVING] = STEP_STAGED,	  [AGENT_DRAINED] = STEP_DRAINED,
		[AGENT_STOPPED] = STEP_DRAINED,	  [AGENT_CLEARED] = STEP_DRAINED,
		[AGENT_SWAPPED] = STEP_SWAPPED,	  [AGENT_STARTING] = STEP_SWAPPED,
		[AGENT_PROBING] = STEP_PROBING,	  [AGENT_PROVEN] = STEP_PROBING,
		[AGENT_SERVING] = STEP_PROBING,	  [AGENT_HEALTHY] = STEP_HEALTHY,
		[AGENT_HALTING] = STEP_REVERTING, [AGENT_FAILED] = STEP_FAILED,
	};
	return of[s];
}

enum step agent_step_of(const struct agent_record *r)
{
	if (r->state == AGENT_HEALTHY)
		return r->work.back ? STEP_REVERTED : STEP_HEALTHY;
	if (r->state == AGENT_IDLE || r->state == AGENT_FAILED || (r->state == AGENT_ACKED && !r->reverting))
		return forward_step(r->state);
	return r->reverting || r->work.back ? STEP_REVERTING : forward_step(r->state);
}

bool machine_enter_starting(struct agent_record *r)
{
	if (r->starts >= AGENT_STARTS_MAX && !PLANTED(PLANTED_ENDLESS_STARTS))
		return false;
	machine_move(r, AGENT_STARTING);
	r->starts++;
	r->activation++;
	return true;
}

/* ---- what follows when the action of a state succeeded
 * ------------------------------------------------------------- */

static void on_staged(struct agent_record *r)
{
	machine_move(r, AGENT_LEAVING);
	r->touched = true;
}

static void on_leaving(struct agent_record *r)
{
	machine_move(r, AGENT_DRAINED);
	r->drained = true;
}

static void on_stopped(struct agent_record *r)
{
	machine_move(r, AGENT_CLEARED);
	memset(&r->runs, 0, sizeof(r->runs));
}

static void rest_healthy(struct agent_record *r)
{
	machine_move(r, AGENT_HEALTHY);
	r->touched = false;
}

static void rest_failed(struct agent_record *r)
{
	machine_move(r, AGENT_FAILED);
	r->touched = false;
}

static void on_cleared(struct agent_record *r)
{
	if (target_none(&r->to))
		rest_healthy(r);
	else
		machine_move(r, AGENT_SWAPPED);
}

static void on_swapped(struct agent_record *r)
{
	if (!machine_enter_starting(r))
		machine_fail(r, STEP_CAUSE_VERSION, E_UNAVAILABLE,
			     "the program was started too often without becoming healthy");
}

static void on_starting(struct agent_record *r, struct mono_ms now)
{
	machine_move(r, AGENT_PROBING);
	r->runs = r->to;
	r->activated_ms = now.v;
}

static void on_proven(struct agent_record *r)
{
	machine_move(r, AGENT_SERVING);
	r->drained = false;
}

static void on_serving(struct agent_record *r)
{
	if (r->reverting)
		rest_failed(r);
	else
		rest_healthy(r);
}

static void on_halting(struct agent_record *r)
{
	memset(&r->runs, 0, sizeof(r->runs));
	rest_failed(r);
}

static void on_reviving(struct agent_record *r, struct mono_ms now)
{
	r->reviving = false;
	r->activated_ms = now.v;
}

static void succeed_once(struct agent_record *r, struct mono_ms now)
{
	switch (r->state) {
	case AGENT_ACKED:
		machine_move(r, AGENT_FETCHED);
		return;
	case AGENT_FETCHED:
		machine_move(r, AGENT_STAGED);
		return;
	case AGENT_STAGED:
		on_staged(r);
		return;
	case AGENT_LEAVING:
		on_leaving(r);
		return;
	case AGENT_DRAINED:
		machine_move(r, AGENT_STOPPED);
		return;
	case AGENT_STOPPED:
		on_stopped(r);
		return;
	case AGENT_CLEARED:
		on_cleared(r);
		return;
	case AGENT_SWAPPED:
		on_swapped(r);
		return;
	case AGENT_STARTING:
		on_starting(r, now);
		return;
	case AGENT_PROBING:
		machine_move(r, AGENT_PROVEN);
		return;
	case AGENT_PROVEN:
		on_proven(r);
		return;
	case AGENT_SERVING:
		on_serving(r);
		return;
	case AGENT_HALTING:
		on_halting(r);
		return;
	case AGENT_FAILED: /* the undrain that was owed */
		r->drained = false;
		return;
	case AGENT_IDLE:
	case AGENT_HEALTHY:
	case AGENT_STATE_NR:
		return;
	}
}

void machine_pass(struct agent_record *r, struct mono_ms now)
{
	while (!agent_at_rest(r) && agent_action(r) == 0)
		succeed_once(r, now);
}

void machine_succeed(struct agent_record *r, struct mono_ms now)
{
	if (r->reviving)
		on_reviving(r, now);
	else
		succeed_once(r, now);
	machine_pass(r, now);
}

/* ---- the way back
 * -------------------------------------------------------------------------------------------------- */

static void blame(struct agent_record *r, enum step_cause cause, int code, const char *detail)
{
	r->cause = cause == STEP_CAUSE_NONE ? STEP_CAUSE_INFRA : cause;
	r->code = code;
	snprintf(r->reason, sizeof(r->reason), "%s: %.150s", sm_name(&agent_sm, (int)r->state),
		 detail != NULL && detail[0] != '\0' ? detail : err_text(code));
}

/* The first reason stays; that going back failed too is added. */
static void blame_way_back(struct agent_record *r, int code, const char *detail)
{
	size_t have = strlen(r->reason);
	snprintf(r->reason + have, sizeof(r->reason) - have, "; going back: %.40s",
		 detail != NULL && detail[0] != '\0' ? detail : err_text(code));
}

static void fail_way_back(struct agent_record *r, int code, const char *detail)
{
	if (r->state == AGENT_LEAVING) { /* what failed must go, drained or not */
		on_leaving(r);
		return;
	}
	blame_way_back(r, code, detail);
	/* What we go back to cannot be stopped, so it runs: it serves on, when it is healthy. */
	if (r->state == AGENT_DRAINED && target_eq(&r->runs, &r->to)) {
		machine_move(r, AGENT_PROBING);
		return;
	}
	if (r->state == AGENT_PROBING && machine_enter_starting(r))
		return;
	if (r->state == AGENT_HALTING || r->state == AGENT_PROVEN || r->state == AGENT_SERVING)
		rest_failed(r);
	else
		machine_move(r, AGENT_HALTING);
}

static void go_back(struct agent_record *r)
{
	bool still_runs = r->state < AGENT_DRAINED && target_eq(&r->runs, &r->work.fallback);
	r->reverting = true;
	r->starts = 0;
	r->to = r->work.fallback;
	if (target_none(&r->to))
		machine_move(r, AGENT_HALTING);
	else if (still_runs)
		machine_move(r, AGENT_PROBING);
	else if (r->state == AGENT_LEAVING)
		on_leaving(r);
	else if (!(r->drained && r->state == AGENT_DRAINED))
		machine_move(r, r->drained ? AGENT_DRAINED : AGENT_LEAVING);
}

/* Untouched, and either nothing began or what runs is what we would go back to. */
static bool stays_as_it_is(const struct agent_record *r)
{
	if (r->touched)
		return false;
	return r->state < AGENT_LEAVING || target_none(&r->work.fallback) ||
	       target_eq(&r->runs, &r->work.fallback);
}

void machine_fail(struct agent_record *r, enum step_cause cause, int code, const char *detail)
{
	if (r->reverting) {
		fail_way_back(r, code, detail);
		return;
	}
	blame(r, cause, code, detail);
	if (r->state == AGENT_STOPPED)
		memset(&r->runs, 0, sizeof(r->runs));
	if (stays_as_it_is(r) || PLANTED(PLANTED_NO_REVERT)) {
		rest_failed(r);
		return;
	}
	r->touched = true;
	go_back(r);
}
