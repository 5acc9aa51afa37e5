/* inner.h: what the files of the step machine share. Not for others. */
#ifndef CORE_INNER_H
#define CORE_INNER_H

#include "agent/core/agent.h"
#include "agent/core/planted.h"

/* One call of agent_step. */
struct step_run {
	struct agent *a;
	struct mono_ms now;
	struct agent_update *out;
};

static inline bool target_none(const struct agent_target *t)
{
	return digest_none(&t->id);
}

static inline bool target_eq(const struct agent_target *a, const struct agent_target *b)
{
	return digest_eq(&a->id, &b->id);
}

static inline bool boot_eq(const struct agent_boot_id *a, const struct agent_boot_id *b)
{
	return a->hi == b->hi && a->lo == b->lo;
}

/* machine.c: the one function that moves, and what a record says. */
void machine_move(struct agent_record *r, enum agent_state to);
/* Counts a start and goes to STARTING; false when all are used up and nothing changed. */
bool machine_enter_starting(struct agent_record *r);
/* Go on through the states that have nothing to do. */
void machine_pass(struct agent_record *r, struct mono_ms now);
void machine_succeed(struct agent_record *r, struct mono_ms now);
/* `r` could not do what its state asks: nothing touched -> FAILED, else the way back. `detail` may be NULL.
 */
void machine_fail(struct agent_record *r, enum step_cause cause, int code, const char *detail);
/* Of the assignment. While a fault lasts: the latest it can become by it, so it moves only when one ends. */
struct mono_ms machine_deadline(const struct agent_record *r);
/* D3: store, network or balancer fail, and do no more. The first says whether that is new. */
bool machine_fault_begins(struct agent_record *r, struct mono_ms now);
void machine_fault_ends(struct agent_record *r, struct mono_ms now);
void machine_forget_faults(struct agent_record *r); /* the clock itself begins anew */

/* effect.c: starting, ending, cancelling effects. */
void effect_start(struct step_run *run, struct agent_app *app);
void effect_cancel(struct step_run *run, struct agent_app *app);
/* Its deadline came: whatever it waited for, that is no word against the version. */
void effect_ran_out(struct step_run *run, struct agent_app *app);
bool effect_cancellable(const struct agent_effect *e);
void effect_ended(struct step_run *run, struct agent_app *app, int code, enum step_cause cause,
		  const char *detail, const struct agent_evidence *evidence);

/* desired.c: assignments, fences, overtaking. */
int desired_offer(struct step_run *run, const struct agent_assignment *as);
void desired_adopt(struct step_run *run, struct agent_app *app);

/* report.c */
void report_durable(struct step_run *run,
		    struct agent_app *app);			/* all that the durable record lets us say */
void report_again(struct step_run *run, struct agent_app *app); /* the same assignment came again */
void report_refused(struct step_run *run, const struct agent_assignment *as, int code, const char *why);

/* agent.c */
struct agent_app *inner_find(struct agent *a, const struct name *app);
struct agent_app *inner_add(struct agent *a, const struct name *app); /* NULL: full */
/* The same with the place of an app that runs nothing and is to run nothing: exec knows its fence still. */
struct agent_app *inner_make_room(struct step_run *run, const struct name *app);
/* Why a host that is out of time is: the fault it was waiting for to pass, if there was one. */
const char *inner_out_of_time(const struct agent_app *app);
void inner_persist(struct step_run *run, struct agent_app *app);
/* Whatever is next for an app with a durable record and no effect outstanding. */
void inner_settle(struct step_run *run, struct agent_app *app);

#endif
