/*
 * plan.h: the planner. It looks at one rollout (committed rows plus what the fleet says of itself now) and
 * proposes facts. Pure: no clock, no I/O; the same view and event give the same bytes. Only the leader runs
 * it, and every decision is a command that the fold applies only if the world is still as the planner saw it,
 * so a decision made twice is harmless.
 *
 * The words (floor, budget, bake, deadline, cause) are those of docs/semantics.md.
 */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include "base/arena.h"
#include "base/err.h"
#include "coordinator/state/command.h"
#include "coordinator/state/machines.h"
#include "coordinator/state/model.h"

enum availability {
	AVAIL_UNKNOWN = 0, /* silent, or not heard since this coordinator began to lead */
	AVAIL_UP,	   /* in rotation, healthy, lease valid */
	AVAIL_DOWN,	   /* says so itself, or runs nothing */
};

/* D3: the work of a host stands still, or stood, because store, network or balancer fail. */
struct fault_view {
	int64_t ms;	      /* all of it so far */
	struct wall_ms until; /* heard to last at that time; 0 = there was none */
	bool lasts;
};

/* What the fleet says of one host of the rollout. Soft: lost with the coordinator, rebuilt by one poll. */
struct host_view {
	struct name region, zone;
	enum availability avail;
	struct digest running;	      /* target id; all zero = nothing or not known */
	struct wall_ms up_since;      /* AVAIL_UP without a break since */
	struct wall_ms missing_since; /* not heard to be healthy in rotation since; 0 = it is */
	struct wall_ms heard_at;      /* when it said this; 0 = never to this leader */
	bool unsaid;   /* has come anew and not said yet what runs: UNKNOWN, and not to be taken for free */
	bool was_down; /* UNKNOWN, and its last word was that it is down */
	bool holds_order; /* told what to run, by any rollout, and has not said how that ended: whatever its
			     task says, it may go out of rotation at any moment */
	bool unhealthy; /* says that its probe fails or its program died; not that it starts or is stopped */
	bool was_well;	/* it was healthy in the boot it is in, and this coordinator heard it */
	uint64_t boot_hi, boot_lo; /* of its host, as it said last; 0 = not known */
	int64_t silent_ms;    /* since its last sign of life, or since the leader began if there was none */
	uint64_t seq;	      /* of the assignment that it works on, or ended last; 0 = not known */
	enum task_state step; /* where it says it is with that; 0 = not known */
	struct fault_view fault; /* likewise */
};

struct view {
	const struct deployment *d;
	const struct wave *waves; /* d->waves_nr */
	const struct task *tasks; /* by (wave, position) */
	size_t tasks_nr;
	const struct host_view *hosts; /* parallel to tasks */
	struct wall_ms leading_since;
	int64_t grace_ms; /* after leading_since, nobody counts as lost */
	int64_t lost_ms;  /* silence after which a host is lost */
};

struct plan_event {
	struct wall_ms now;
};

/* Why nothing, or not more, happens: the rows of `explain`. */
struct plan_reason {
	const char *object;   /* "rollout", "wave 2 (eu-west)", "host eu-3" */
	const char *text;     /* names the gate, host or timer, with the arithmetic */
	struct wall_ms until; /* when it ends by itself; 0 = not known */
};

enum { PLAN_COMMANDS_MAX = 32, PLAN_REASONS_MAX = 64 };

struct plan_update {
	struct command
		commands[PLAN_COMMANDS_MAX]; /* kind, reason and body are set; the proposer stamps the rest */
	size_t commands_nr;
	struct plan_reason reasons[PLAN_REASONS_MAX]; /* the most telling first; further ones are dropped */
	size_t reasons_nr;
	struct wall_ms next_at; /* look again then, even if nothing changes; 0 = only on change */
};

/* Fills `out`; everything it points to lives in `a`. */
void plan_step(const struct view *v, const struct plan_event *ev, struct arena *a, struct plan_update *out);

/*
 * Can these waves be carried out, and taken back, at all with these limits (D2: N - f < 1 without surge is
 * refused)? E_OK, or E_INFEASIBLE with the arithmetic of the first domain that forbids it in *why. `hosts`
 * parallel to `tasks`.
 */
must_check int plan_feasible(const struct limits *l, const struct task *tasks, const struct host_view *hosts,
			     size_t nr, struct arena *a, const char **why);

#endif
