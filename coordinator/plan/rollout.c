/*
 * rollout.c: the planner's outermost machine: one function per state of the rollout. The edges stand in
 * state/machines.c; what makes the planner propose them stands here.
 *
 *   RUNNING ------> SUCCEEDED                              every wave passed, no host queued or in hand
 *      | version fault over budget; recreate: a wave that stopped cannot start
 *      +----------> ROLLING_BACK --> ROLLED_BACK           every touched host back on what it ran
 *      |                 | a host cannot go back
 *      +----------> HELD <+                                infrastructure fault over budget, or rollback:
 * auto is off PAUSED -------> HELD                                   the pause expired HELD ---------> FAILED
 * the total deadline passed
 */
#include "coordinator/plan/step.h"

static void move(struct step *s, enum rollout_state to, bool blames, const char *reason)
{
	struct command *c = step_command(s, COMMAND_ROLLOUT_MOVE, reason);
	if (c == NULL)
		return;
	c->rollout_move.deployment = s->v->d->id;
	c->rollout_move.from = s->v->d->state;
	c->rollout_move.to = to;
	c->rollout_move.blames_target = blames;
	c->rollout_move.hosts_nr = to == ROLLOUT_SUCCEEDED ? s->v->d->hosts_nr : 0;
}

/* recreate: a wave that stands still runs nothing. Nobody is to blame, and nobody should have to come to
 * start it again. */
static bool stands_still(const struct step *s)
{
	for (uint32_t w = 0; w < s->v->d->waves_nr; w++)
		if (recreate_is_stopped(s, w))
			return true;
	return false;
}

/* Something went wrong going forward: back if it is the version's fault and the file allows it, else a person
 * decides. */
static void stop_forward(struct step *s, bool version_fault, const char *reason)
{
	bool back = version_fault || stands_still(s);
	bool by_itself = back && s->v->d->limits.auto_rollback;
	/* D9: what has failed is marked bad, whoever takes it back. */
	move(s, by_itself ? ROLLOUT_ROLLING_BACK : ROLLOUT_HELD, version_fault, reason);
}

static struct wall_ms later(struct wall_ms a, struct wall_ms b)
{
	return a.v > b.v ? a : b;
}

/* Since when a wave that goes forward owes a healthy host; 0 = it owes none. One that bakes or has passed
 * owes those that came late. */
static struct wall_ms owes_since(const struct step *s, uint32_t w)
{
	enum wave_state st = s->v->waves[w].state;
	if (st == WAVE_ROLLING)
		return s->v->waves[w].state_since;
	bool begun = st == WAVE_BAKING || st == WAVE_PASSED || st == WAVE_SKIPPED;
	return begun ? s->waves[w].unsettled_since : (struct wall_ms){0};
}

/* D3: the progress clock runs while hosts are owed (or go back). It begins with the wave, or with the host
 * that came late, and begins anew when a host becomes terminal-good. */
static struct wall_ms progress_deadline(struct step *s)
{
	const struct deployment *d = s->v->d;
	struct wall_ms began = {0};
	bool runs = d->back;
	for (uint32_t w = 0; w < d->waves_nr; w++) {
		struct wall_ms owes = d->back ? (struct wall_ms){0} : owes_since(s, w);
		if (!d->back && owes.v == 0)
			continue;
		runs = true;
		began = later(began, later(owes, s->waves[w].last_good));
	}
	began = later(began, d->state_since); /* `resume` and `retry` begin it anew too */
	return runs ? step_progress_deadline(s, began, d->limits.progress_ms) : (struct wall_ms){0};
}

static bool out_of_time(struct step *s, const char **why)
{
	const struct deployment *d = s->v->d;
	struct wall_ms progress = progress_deadline(s);
	if (step_past(s, d->total_deadline))
		*why = "the total deadline has passed";
	else if (step_past(s, progress))
		*why = arena_printf(s->a, "no host became healthy for %lld s (progress deadline)",
				    (long long)d->limits.progress_ms / 1000);
	else
		*why = NULL;
	step_look_again(s, d->total_deadline);
	step_look_again(s, progress);
	return *why != NULL;
}

/* Nobody is at work and nothing is decided: what the reasons name forbids it, and this is how long. */
static void say_stalled(struct step *s)
{
	struct wall_ms ends = progress_deadline(s);
	uint32_t in_hand = 0;
	for (uint32_t w = 0; w < s->v->d->waves_nr; w++)
		in_hand += s->waves[w].in_hand;
	if (in_hand == 0 && ends.v != 0 && s->out->commands_nr == 0)
		step_reason(s, "rollout", ends,
			    "is held if no host becomes healthy before its progress deadline");
}

static const struct wave *failed_wave(const struct step *s)
{
	for (uint32_t w = 0; w < s->v->d->waves_nr; w++)
		if (s->v->waves[w].state == WAVE_FAILED)
			return &s->v->waves[w];
	return NULL;
}

static bool all_over(const struct step *s)
{
	for (uint32_t w = 0; w < s->v->d->waves_nr; w++) {
		enum wave_state st = s->v->waves[w].state;
		if ((st != WAVE_PASSED && st != WAVE_SKIPPED) || tally_unsettled(&s->waves[w]) > 0)
			return false;
	}
	return true;
}

/* Success names the hosts that did not make it within the budget. */
static const char *success_text(struct step *s)
{
	uint32_t hosts = 0, healthy = 0;
	const char *left = "";
	for (uint32_t w = 0; w < s->v->d->waves_nr; w++) {
		hosts += s->waves[w].hosts;
		healthy += s->waves[w].healthy;
	}
	for (size_t i = 0, named = 0; i < s->v->tasks_nr && named < 8; i++)
		if (task_failed(&s->v->tasks[i])) {
			left = arena_printf(s->a, "%s%s %s", left, named == 0 ? "; not on it:" : ",",
					    s->v->tasks[i].host.s);
			named++;
		}
	return arena_printf(s->a, "%u of %u hosts healthy on it%s", healthy, hosts, left);
}

static void on_running(struct step *s)
{
	const char *why;
	const struct wave *bad = failed_wave(s);
	if (bad != NULL) {
		const struct tally *t = &s->waves[bad->index];
		/* A fault of the version that the budget allows does not make it guilty of the hosts that
		 * were lost besides. */
		stop_forward(s, t->version_faults > wave_budget(s, bad->index),
			     arena_printf(s->a, "%s failed: %s", step_wave_name(s, bad->index), bad->reason));
		return;
	}
	if (tasks_sweep(s))
		return;
	if (out_of_time(s, &why)) {
		stop_forward(s, false, why);
		return;
	}
	if (!waves_step(s) && all_over(s))
		move(s, ROLLOUT_SUCCEEDED, false, success_text(s));
	say_stalled(s);
}

static const struct task *stuck_going_back(const struct step *s)
{
	for (size_t i = 0; i < s->v->tasks_nr; i++)
		if (s->v->tasks[i].state == TASK_FAILED && s->v->tasks[i].direction == DIRECTION_BACK)
			return &s->v->tasks[i];
	return NULL;
}

static void on_rolling_back(struct step *s)
{
	const char *why;
	const struct task *stuck = stuck_going_back(s);
	if (stuck != NULL) {
		move(s, ROLLOUT_HELD, false,
		     arena_printf(s->a, "host %s cannot go back: %s", stuck->host.s, stuck->reason));
		return;
	}
	if (tasks_sweep(s))
		return;
	if (out_of_time(s, &why)) {
		move(s, ROLLOUT_HELD, false, why);
		return;
	}
	step_reason(s, "rollback", (struct wall_ms){0},
		    "takes every host that saw %s back to what it ran before", s->v->d->target.version.s);
	if (dispatch_back(s))
		move(s, ROLLOUT_ROLLED_BACK, false, s->v->d->reason);
	say_stalled(s);
}

static void on_paused(struct step *s)
{
	const struct deployment *d = s->v->d;
	struct wall_ms ends = {d->limits.pause_ms == 0 ? 0 : d->state_since.v + d->limits.pause_ms};
	bool total = d->total_deadline.v != 0 && (ends.v == 0 || d->total_deadline.v < ends.v);
	if (total)
		ends = d->total_deadline;
	if (tasks_sweep(s))
		return;
	if (step_past(s, ends)) {
		move(s, ROLLOUT_HELD, false, total ? "the total deadline has passed" : "the pause expired");
		return;
	}
	step_reason(s, "rollout", ends, "paused: %s; waits for `wavetrain resume`", d->reason);
	step_look_again(s, ends);
}

enum { HELD_DAYS = 7, DAY_MS = 24 * 3600000 };

/* D3: nothing waits for a person for ever. */
static struct wall_ms hold_ends(const struct deployment *d)
{
	struct wall_ms most = {d->state_since.v + (int64_t)HELD_DAYS * DAY_MS};
	return d->total_deadline.v != 0 ? d->total_deadline : most;
}

static const char *hold_end_text(struct step *s, const struct deployment *d)
{
	return d->total_deadline.v != 0 ? "until the total deadline"
					: arena_printf(s->a, "for %d days", HELD_DAYS);
}

static void on_held(struct step *s)
{
	const struct deployment *d = s->v->d;
	if (tasks_sweep(s))
		return;
	struct wall_ms ends = hold_ends(d);
	const char *how_long = hold_end_text(s, d);
	if (step_past(s, ends)) {
		move(s, ROLLOUT_FAILED, false, arena_printf(s->a, "held %s: %s", how_long, d->reason));
		return;
	}
	step_reason(s, "rollout", ends,
		    "held: %.120s; waits for `wavetrain retry`, `resume`, `rollback` or `abort`; fails when "
		    "held %s",
		    d->reason, how_long);
	step_look_again(s, ends);
}

/* There are no approvals and no windows, so a rollout starts at once. */
static void on_waiting(struct step *s)
{
	move(s, ROLLOUT_RUNNING, false, "");
}

static void count(struct step *s)
{
	for (size_t i = 0; i < s->v->tasks_nr; i++) {
		const struct task *t = &s->v->tasks[i];
		PRE(t->wave < s->v->d->waves_nr);
		struct tally *w = &s->waves[t->wave];
		if (w->end == 0)
			w->first = (uint32_t)i;
		w->end = (uint32_t)i + 1;
		w->hosts += t->state != TASK_SKIPPED;
		w->queued += t->state == TASK_QUEUED;
		w->in_hand += task_in_hand(t);
		w->healthy += t->state == TASK_HEALTHY;
		w->failed += t->state == TASK_FAILED;
		w->lost += t->state == TASK_LOST;
		w->stopped += t->state == TASK_STOPPED;
		w->lost_stopping += t->state == TASK_LOST && t->stop;
		w->version_faults += t->state == TASK_FAILED && t->cause == CAUSE_VERSION;
		if (task_unsettled(t) &&
		    (w->unsettled_since.v == 0 || t->state_since.v < w->unsettled_since.v))
			w->unsettled_since = t->state_since;
		bool good = t->state == TASK_HEALTHY || t->state == TASK_REVERTED;
		if (good && t->state_since.v > w->last_good.v)
			w->last_good = t->state_since;
	}
}

static void step_rollout(struct step *s)
{
	switch (s->v->d->state) {
	case ROLLOUT_RUNNING:
		on_running(s);
		return;
	case ROLLOUT_ROLLING_BACK:
		on_rolling_back(s);
		return;
	case ROLLOUT_PAUSED:
		on_paused(s);
		return;
	case ROLLOUT_HELD:
		on_held(s);
		return;
	case ROLLOUT_DRAFT:
	case ROLLOUT_AWAITING_APPROVAL:
	case ROLLOUT_AWAITING_WINDOW:
		on_waiting(s);
		return;
	case ROLLOUT_SUCCEEDED:
	case ROLLOUT_FAILED:
	case ROLLOUT_ROLLED_BACK:
	case ROLLOUT_CANCELLED:
	case ROLLOUT_SUPERSEDED:
	case ROLLOUT_STATE_NR:
		return;
	}
}

void plan_step(const struct view *v, const struct plan_event *ev, struct arena *a, struct plan_update *out)
{
	struct step s = {.v = v, .now = ev->now, .a = a, .out = out};
	*out = (struct plan_update){0};
	s.waves = arena_array(a, struct tally, v->d->waves_nr);
	count(&s);
	step_rollout(&s);
}
