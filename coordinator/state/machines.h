/*
 * machines.h: the three machines of a deployment as edge tables (base/sm.h), and the one function each
 * through which they move. docs/machines.md is generated from these tables. Verbs: what each says in each
 * state, total.
 */
#ifndef STATE_MACHINES_H
#define STATE_MACHINES_H

#include "base/sm.h"
#include "coordinator/state/command.h"

extern const struct sm rollout_machine, wave_machine, task_machine;

/* Move or refuse: E_CONFLICT when `from` is not the state any more or the edge is not in the table. Sets
 * state_since and reason. */
must_check int rollout_move(struct deployment *d, enum rollout_state to, const char *reason,
			    struct wall_ms at);
must_check int wave_move(struct wave *w, enum wave_state to, const char *reason, struct wall_ms at);
must_check int task_move(struct task *t, enum task_state to, const char *reason, struct wall_ms at);

/*
 * recreate: while one task of a wave holds the barrier of a direction, no host of the wave may start that
 * way. What has stopped, has left or is lost holds nothing; going back, neither does what was never touched.
 */
bool task_holds_barrier(const struct task *t, enum direction dir);

enum verb_effect {
	VERB_MOVES = 1,
	VERB_NOTHING,
	VERB_REFUSED
}; /* NOTHING: already so, answered as success */

struct verb_rule {
	enum verb_effect effect;
	enum rollout_state to; /* MOVES; 0 = stays, but a field changes (promote, retry) */
	const char *text;      /* NOTHING and REFUSED: what to tell the person, with what to do instead */
};

/* Total over verb x state; for PAUSED and HELD the answer may depend on d->back. */
struct verb_rule verb_rule(enum verb v, const struct deployment *d);
const char *verb_name(enum verb v);

#endif
