/*
 * step.h: what the planner's files share: the view being judged, the update being filled, and how both are
 * spoken to.
 */
#ifndef PLAN_STEP_H
#define PLAN_STEP_H

#include "coordinator/plan/floor.h"
#include "coordinator/plan/plan.h"

/* One wave counted. */
struct tally {
	uint32_t hosts, queued, in_hand, healthy, failed, lost, version_faults;
	uint32_t stopped, lost_stopping; /* recreate: these wait for their start */
	uint32_t first, end;		 /* its tasks are [first, end) */
	struct wall_ms last_good;	 /* when its last host became healthy; 0 = none */
	struct wall_ms
		unsettled_since; /* the first of its hosts that are not where they will stay; 0 = none */
};

struct step {
	const struct view *v;
	struct wall_ms now;
	struct arena *a;
	struct plan_update *out;
	struct tally *waves;	     /* d->waves_nr */
	struct allowance *allowance; /* dispatch.c: NULL until the first wave of this look hands out */
};

void step_reason(struct step *s, const char *object, struct wall_ms until, const char *fmt, ...)
	printf_like(4, 5);
void step_look_again(struct step *s, struct wall_ms at); /* the earliest wins */
/* A fresh command of the update, or NULL when it is full: the rest is for the next step. */
struct command *step_command(struct step *s, enum command_kind kind, const char *reason);
/* What was judged here, as one command of the update. `v` lives in the step's arena. False when there is
 * nothing to say, or no room for it. */
bool step_results(struct step *s, struct task_result *v, size_t nr);
const char *step_wave_name(struct step *s, uint32_t wave); /* "wave 2 (eu-west)", counted from 1 */

bool task_in_hand(const struct task *t); /* assigned, forward or back, and not ended */
bool task_failed(const struct task *t);	 /* counts against the budget */

/* Touched, and not told to go back yet. */
bool task_to_take_back(const struct task *t);
bool task_unsettled(const struct task *t); /* not where it will stay */
/* Hosts of the wave that are not where they will stay. */
uint32_t tally_unsettled(const struct tally *t);
/* `ms` after `began`, and what infrastructure faults give back (D3): the time without this coordinator. 0 =
 * no deadline, when `ms` is 0. */
struct wall_ms step_deadline(const struct step *s, struct wall_ms began, int64_t ms);
/* Likewise, and the time for which a host with work stood still for a fault around it; of all such hosts the
 * longest counts. */
struct wall_ms step_progress_deadline(const struct step *s, struct wall_ms began, int64_t ms);
/* Likewise; of task i, which is in hand. */
struct wall_ms step_task_deadline(const struct step *s, size_t i);
bool step_past(const struct step *s, struct wall_ms deadline); /* false when there is none */
/* Right after taking the lead nobody has been heard yet: an unknown host is not an unavailable one until the
 * grace is over; nor is one that has come anew and not said what runs. The second says so of a host. */
bool step_too_early(const struct step *s, const struct host_view *h);
void step_not_heard(struct step *s, const char *object, const char *host);

/* task.c: ends tasks that are late or lost. True when something was proposed. */
bool tasks_sweep(struct step *s);
/* dispatch.c: hand out as many tasks of a wave (forward) or of the rollout (back) as batch, maxUnavailable
 * and floor allow. */
void dispatch_forward(struct step *s, uint32_t wave);
bool dispatch_back(struct step *s); /* true when nothing is left to take back */
/* recreate.c: the same for a rollout that stops all of a wave first. */
void recreate_forward(struct step *s, uint32_t wave);
bool recreate_back(struct step *s);
/* The wave is being stopped, or is stopped, and nothing of the new was started in it. */
bool recreate_is_stopped(const struct step *s, uint32_t wave);
/* The host that would not stop, so that the wave cannot go on; NULL = none. */
const char *recreate_unstoppable(const struct step *s, uint32_t wave);
/* wave.c: one look at each wave; true when a move was proposed. */
bool waves_step(struct step *s);
uint32_t wave_budget(const struct step *s, uint32_t wave); /* D2: hosts of it that may fail */

#endif
