#include "coordinator/state/machines.h"

#include "base/err.h"

#define R(s) SM_TO(ROLLOUT_##s)
#define W(s) SM_TO(WAVE_##s)
#define T(s) SM_TO(TASK_##s)

/*
 *  DRAFT -> AWAITING_APPROVAL -> AWAITING_WINDOW -> RUNNING -----------------> SUCCEEDED
 *                                                   |  ^  \--> ROLLING_BACK -> ROLLED_BACK
 *                                                   v  |            ^  |
 *                                           PAUSED, HELD -----------+  +-> PAUSED, HELD
 *                                             |
 *                                             +-> FAILED (deadline), CANCELLED (abort)      any but
 * ROLLING_BACK -> SUPERSEDED
 */
static const struct sm_state rollout_states[ROLLOUT_STATE_NR] = {
	[ROLLOUT_DRAFT] = {"DRAFT", SM_INITIAL,
			   R(AWAITING_APPROVAL) | R(AWAITING_WINDOW) | R(RUNNING) | R(CANCELLED) |
				   R(SUPERSEDED),
			   "being submitted"},
	[ROLLOUT_AWAITING_APPROVAL] = {"AWAITING_APPROVAL", 0,
				       R(AWAITING_WINDOW) | R(RUNNING) | R(CANCELLED) | R(SUPERSEDED) |
					       R(FAILED),
				       "an approval, or its expiry"},
	[ROLLOUT_AWAITING_WINDOW] = {"AWAITING_WINDOW", 0,
				     R(RUNNING) | R(CANCELLED) | R(SUPERSEDED) | R(FAILED),
				     "a window to open, or its expiry"},
	[ROLLOUT_RUNNING] = {"RUNNING", SM_INITIAL,
			     R(SUCCEEDED) | R(ROLLING_BACK) | R(PAUSED) | R(HELD) | R(CANCELLED) |
				     R(SUPERSEDED) | R(FAILED),
			     "its waves, or a deadline"},
	[ROLLOUT_PAUSED] = {"PAUSED", 0,
			    R(RUNNING) | R(ROLLING_BACK) | R(HELD) | R(CANCELLED) | R(SUPERSEDED) | R(FAILED),
			    "`resume`, or the pause to expire"},
	[ROLLOUT_HELD] = {"HELD", 0, R(RUNNING) | R(ROLLING_BACK) | R(CANCELLED) | R(SUPERSEDED) | R(FAILED),
			  "a person, or its end: the total deadline, or 7 days where there is none"},
	[ROLLOUT_ROLLING_BACK] = {"ROLLING_BACK", 0,
				  R(ROLLED_BACK) | R(PAUSED) | R(HELD) | R(CANCELLED) | R(FAILED),
				  "every touched host to be back, or a deadline"},
	[ROLLOUT_SUCCEEDED] = {"SUCCEEDED", SM_TERMINAL, 0, NULL},
	[ROLLOUT_FAILED] = {"FAILED", SM_TERMINAL, 0, NULL},
	[ROLLOUT_ROLLED_BACK] = {"ROLLED_BACK", SM_TERMINAL, 0, NULL},
	[ROLLOUT_CANCELLED] = {"CANCELLED", SM_TERMINAL, 0, NULL},
	[ROLLOUT_SUPERSEDED] = {"SUPERSEDED", SM_TERMINAL, 0, NULL},
};

/* PENDING -> GATED -> ROLLING -> BAKING -> PASSED; ROLLING and BAKING may FAIL, a FAILED wave rolls again on
 * `retry`. */
static const struct sm_state wave_states[WAVE_STATE_NR] = {
	[WAVE_PENDING] = {"PENDING", SM_INITIAL, W(GATED) | W(SKIPPED), "the waves before it to pass"},
	[WAVE_GATED] = {"GATED", 0, W(ROLLING) | W(SKIPPED), "its gates to open"},
	[WAVE_ROLLING] = {"ROLLING", 0, W(BAKING) | W(FAILED), "its hosts, or a deadline"},
	[WAVE_BAKING] = {"BAKING", 0, W(PASSED) | W(FAILED), "time and continuous health, or a deadline"},
	[WAVE_FAILED] = {"FAILED", 0, W(ROLLING), "`retry`; the rollout has left RUNNING"},
	[WAVE_PASSED] = {"PASSED", SM_TERMINAL, 0, NULL},
	[WAVE_SKIPPED] = {"SKIPPED", SM_TERMINAL, 0, NULL},
};

#define ON_THE_WAY (T(HEALTHY) | T(FAILED) | T(LOST) | T(REVERTING) | T(SKIPPED) | T(QUEUED) | T(STOPPED))

/*
 * The steps between ASSIGNED and PROBING are soft on a coordinator: the agent reports them, the log does not
 * carry them. QUEUED -> ASSIGNED -> ... -> HEALTHY | FAILED | LOST          LOST -> HEALTHY or FAILED when
 * the host comes back any of those -> REVERTING -> REVERTED                         when the rollout goes
 * back FAILED, LOST -> QUEUED                                        `retry`
 * recreate: QUEUED -> ASSIGNED (to stop) -> STOPPED -> ASSIGNED -> ... -> HEALTHY, and on the way back
 * REVERTING (to stop) -> STOPPED -> REVERTING -> REVERTED; one lost while it was to stop is told to start
 * with the others, LOST -> ASSIGNED
 */
static const struct sm_state task_states[TASK_STATE_NR] = {
	[TASK_QUEUED] = {"QUEUED", SM_INITIAL,
			 T(ASSIGNED) | T(HEALTHY) | T(FAILED) | T(REVERTING) | T(SKIPPED),
			 "its turn in the wave"},
	[TASK_ASSIGNED] = {"ASSIGNED", 0,
			   ON_THE_WAY | T(ACKED) | T(FETCHED) | T(STAGED) | T(DRAINED) | T(SWAPPED) |
				   T(PROBING),
			   "the agent to take it"},
	[TASK_ACKED] = {"ACKED", 0, ON_THE_WAY | T(FETCHED) | T(STAGED), "the artifact"},
	[TASK_FETCHED] = {"FETCHED", 0, ON_THE_WAY | T(STAGED), "the archive to be unpacked"},
	[TASK_STAGED] = {"STAGED", 0, ON_THE_WAY | T(DRAINED), "connections to end"},
	[TASK_DRAINED] = {"DRAINED", 0, ON_THE_WAY | T(SWAPPED), "the old program to stop"},
	[TASK_SWAPPED] = {"SWAPPED", 0, ON_THE_WAY | T(PROBING), "the new program to start"},
	[TASK_PROBING] = {"PROBING", 0, ON_THE_WAY, "its probes"},
	[TASK_HEALTHY] = {"HEALTHY", 0, T(FAILED) | T(LOST) | T(REVERTING) | T(SKIPPED),
			  "the end of the rollout"},
	[TASK_FAILED] = {"FAILED", 0, T(QUEUED) | T(REVERTING) | T(SKIPPED), "`retry`, or the way back"},
	[TASK_LOST] = {"LOST", 0,
		       T(HEALTHY) | T(FAILED) | T(QUEUED) | T(REVERTING) | T(REVERTED) | T(SKIPPED) |
			       T(STOPPED) | T(ASSIGNED),
		       "its host to come back"},
	[TASK_REVERTING] = {"REVERTING", 0, T(REVERTED) | T(FAILED) | T(LOST) | T(SKIPPED) | T(STOPPED),
			    "the host to be back on what it ran"},
	[TASK_REVERTED] = {"REVERTED", SM_TERMINAL, 0, NULL},
	[TASK_SKIPPED] = {"SKIPPED", SM_TERMINAL, 0, NULL},
	[TASK_STOPPED] = {"STOPPED", 0, T(ASSIGNED) | T(REVERTING) | T(SKIPPED),
			  "the rest of its wave to stop (recreate)"},
};

const struct sm rollout_machine = {"rollout", rollout_states, ROLLOUT_STATE_NR};
const struct sm wave_machine = {"wave", wave_states, WAVE_STATE_NR};
const struct sm task_machine = {"task", task_states, TASK_STATE_NR};

int rollout_move(struct deployment *d, enum rollout_state to, const char *reason, struct wall_ms at)
{
	if (!sm_edge_allowed(&rollout_machine, (int)d->state, (int)to))
		return E_CONFLICT;
	d->state = to;
	d->reason = reason;
	d->state_since = at;
	if (sm_terminal(&rollout_machine, (int)to))
		d->ended_at = at;
	return E_OK;
}

int wave_move(struct wave *w, enum wave_state to, const char *reason, struct wall_ms at)
{
	if (!sm_edge_allowed(&wave_machine, (int)w->state, (int)to))
		return E_CONFLICT;
	w->state = to;
	w->reason = reason;
	w->state_since = at;
	return E_OK;
}

int task_move(struct task *t, enum task_state to, const char *reason, struct wall_ms at)
{
	if (!sm_edge_allowed(&task_machine, (int)t->state, (int)to))
		return E_CONFLICT;
	t->state = to;
	t->reason = reason;
	t->state_since = at;
	return E_OK;
}

bool task_holds_barrier(const struct task *t, enum direction dir)
{
	if (t->state == TASK_STOPPED || t->state == TASK_SKIPPED)
		return false;
	if (dir == DIRECTION_FORWARD)
		return t->state != TASK_LOST;
	bool told_and_lost = t->state == TASK_LOST && t->direction == DIRECTION_BACK;
	return t->touched && t->state != TASK_REVERTED && !told_and_lost;
}

/* ---- verbs
 * ---------------------------------------------------------------------------------------------------------
 */

#define MOVES(s)                                                                                             \
	{                                                                                                    \
		.effect = VERB_MOVES, .to = ROLLOUT_##s                                                      \
	}
#define FIELD                                                                                                \
	{                                                                                                    \
		.effect = VERB_MOVES                                                                         \
	}
#define NOTHING(t)                                                                                           \
	{                                                                                                    \
		.effect = VERB_NOTHING, .text = (t)                                                          \
	}
#define REFUSED(t)                                                                                           \
	{                                                                                                    \
		.effect = VERB_REFUSED, .text = (t)                                                          \
	}

#define ENDED_WELL                                                                                           \
	REFUSED("this rollout has succeeded; to undo it deploy the earlier version: `wavetrain rollback "    \
		"APP`")
#define ENDED_FAILED REFUSED("this rollout has failed; deploy again")
#define ENDED_BACK   REFUSED("this rollout has been rolled back; deploy again, or another version")
#define ENDED_CANCEL REFUSED("this rollout was aborted; deploy again")
#define ENDED_SUPER  REFUSED("a newer rollout has replaced this one; name that one")
#define NOT_BEGUN    REFUSED("this rollout has not begun; `wavetrain abort` ends it")

/* Every verb in every state. PAUSED and HELD look at where they would go back to (`resume_to`) in verb_rule.
 */
static const struct verb_rule rules[VERB_NR][ROLLOUT_STATE_NR] = {
	[VERB_PAUSE] = {[ROLLOUT_DRAFT] = NOT_BEGUN,
			[ROLLOUT_AWAITING_APPROVAL] = NOT_BEGUN,
			[ROLLOUT_AWAITING_WINDOW] = NOT_BEGUN,
			[ROLLOUT_RUNNING] = MOVES(PAUSED),
			[ROLLOUT_PAUSED] = NOTHING("it is paused already"),
			[ROLLOUT_HELD] = NOTHING("it is held already: nothing is handed out"),
			[ROLLOUT_ROLLING_BACK] = MOVES(PAUSED),
			[ROLLOUT_SUCCEEDED] = ENDED_WELL,
			[ROLLOUT_FAILED] = ENDED_FAILED,
			[ROLLOUT_ROLLED_BACK] = ENDED_BACK,
			[ROLLOUT_CANCELLED] = ENDED_CANCEL,
			[ROLLOUT_SUPERSEDED] = ENDED_SUPER},
	[VERB_RESUME] = {[ROLLOUT_DRAFT] = NOT_BEGUN,
			 [ROLLOUT_AWAITING_APPROVAL] = NOT_BEGUN,
			 [ROLLOUT_AWAITING_WINDOW] = NOT_BEGUN,
			 [ROLLOUT_RUNNING] = NOTHING("it is running already"),
			 [ROLLOUT_PAUSED] = MOVES(RUNNING),
			 [ROLLOUT_HELD] = MOVES(RUNNING),
			 [ROLLOUT_ROLLING_BACK] = NOTHING("it is running already, and going back"),
			 [ROLLOUT_SUCCEEDED] = ENDED_WELL,
			 [ROLLOUT_FAILED] = ENDED_FAILED,
			 [ROLLOUT_ROLLED_BACK] = ENDED_BACK,
			 [ROLLOUT_CANCELLED] = ENDED_CANCEL,
			 [ROLLOUT_SUPERSEDED] = ENDED_SUPER},
	[VERB_ABORT] = {[ROLLOUT_DRAFT] = MOVES(CANCELLED),
			[ROLLOUT_AWAITING_APPROVAL] = MOVES(CANCELLED),
			[ROLLOUT_AWAITING_WINDOW] = MOVES(CANCELLED),
			[ROLLOUT_RUNNING] = MOVES(CANCELLED),
			[ROLLOUT_PAUSED] = MOVES(CANCELLED),
			[ROLLOUT_HELD] = MOVES(CANCELLED),
			[ROLLOUT_ROLLING_BACK] = MOVES(CANCELLED),
			[ROLLOUT_SUCCEEDED] = ENDED_WELL,
			[ROLLOUT_FAILED] = NOTHING("it has ended already: failed"),
			[ROLLOUT_ROLLED_BACK] = NOTHING("it has ended already: rolled back"),
			[ROLLOUT_CANCELLED] = NOTHING("it is aborted already"),
			[ROLLOUT_SUPERSEDED] = ENDED_SUPER},
	[VERB_RETRY] = {[ROLLOUT_DRAFT] = NOT_BEGUN,
			[ROLLOUT_AWAITING_APPROVAL] = NOT_BEGUN,
			[ROLLOUT_AWAITING_WINDOW] = NOT_BEGUN,
			[ROLLOUT_RUNNING] = FIELD,
			[ROLLOUT_PAUSED] = FIELD,
			[ROLLOUT_HELD] = MOVES(RUNNING),
			[ROLLOUT_ROLLING_BACK] = FIELD,
			[ROLLOUT_SUCCEEDED] = ENDED_WELL,
			[ROLLOUT_FAILED] = ENDED_FAILED,
			[ROLLOUT_ROLLED_BACK] = ENDED_BACK,
			[ROLLOUT_CANCELLED] = ENDED_CANCEL,
			[ROLLOUT_SUPERSEDED] = ENDED_SUPER},
	[VERB_PROMOTE] = {[ROLLOUT_DRAFT] = NOT_BEGUN,
			  [ROLLOUT_AWAITING_APPROVAL] = NOT_BEGUN,
			  [ROLLOUT_AWAITING_WINDOW] = NOT_BEGUN,
			  [ROLLOUT_RUNNING] = FIELD,
			  [ROLLOUT_PAUSED] = REFUSED("it is paused; `wavetrain resume` first"),
			  [ROLLOUT_HELD] = REFUSED("it is held; `wavetrain retry` or `resume` first"),
			  [ROLLOUT_ROLLING_BACK] = REFUSED("it is going back; there is no bake to end"),
			  [ROLLOUT_SUCCEEDED] = NOTHING("it has succeeded already"),
			  [ROLLOUT_FAILED] = ENDED_FAILED,
			  [ROLLOUT_ROLLED_BACK] = ENDED_BACK,
			  [ROLLOUT_CANCELLED] = ENDED_CANCEL,
			  [ROLLOUT_SUPERSEDED] = ENDED_SUPER},
	[VERB_ROLLBACK] = {[ROLLOUT_DRAFT] = NOT_BEGUN,
			   [ROLLOUT_AWAITING_APPROVAL] = NOT_BEGUN,
			   [ROLLOUT_AWAITING_WINDOW] = NOT_BEGUN,
			   [ROLLOUT_RUNNING] = MOVES(ROLLING_BACK),
			   [ROLLOUT_PAUSED] = MOVES(ROLLING_BACK),
			   [ROLLOUT_HELD] = MOVES(ROLLING_BACK),
			   [ROLLOUT_ROLLING_BACK] = NOTHING("it is going back already"),
			   [ROLLOUT_SUCCEEDED] = ENDED_WELL,
			   [ROLLOUT_FAILED] = ENDED_FAILED,
			   [ROLLOUT_ROLLED_BACK] = NOTHING("it has been rolled back already"),
			   [ROLLOUT_CANCELLED] = ENDED_CANCEL,
			   [ROLLOUT_SUPERSEDED] = ENDED_SUPER},
};

static bool waits_to_go_back(const struct deployment *d)
{
	return d->back && (d->state == ROLLOUT_PAUSED || d->state == ROLLOUT_HELD);
}

struct verb_rule verb_rule(enum verb v, const struct deployment *d)
{
	PRE(v > 0 && v < VERB_NR && d->state > 0 && d->state < ROLLOUT_STATE_NR);
	struct verb_rule r = rules[v == VERB_PROMOTE_FULL ? VERB_PROMOTE : v][d->state];
	if (r.effect == VERB_MOVES && r.to == ROLLOUT_RUNNING && waits_to_go_back(d))
		r.to = ROLLOUT_ROLLING_BACK;
	return r;
}

const char *verb_name(enum verb v)
{
	static const char *const names[VERB_NR] = {
		[VERB_PAUSE] = "pause",	     [VERB_RESUME] = "resume",
		[VERB_ABORT] = "abort",	     [VERB_RETRY] = "retry",
		[VERB_PROMOTE] = "promote",  [VERB_PROMOTE_FULL] = "promote --full",
		[VERB_ROLLBACK] = "rollback"};
	return v > 0 && v < VERB_NR ? names[v] : "?";
}
