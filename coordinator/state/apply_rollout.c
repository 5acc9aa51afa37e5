/*
 * apply_rollout.c: what operators say to a rollout, and what the planner decides of rollouts and waves.
 */
#include "coordinator/state/internal.h"

static int load(struct apply *ap, struct deployment_id id, struct deployment *d)
{
	char text[DEPLOYMENT_ID_CAP];
	if (view_deployment(ap->st, ap->a, id, d) != E_OK)
		return apply_refuse(ap, E_NOT_FOUND, "there is no rollout %s", deployment_id_text(id, text));
	apply_object(ap, "%s %s %s in %s", deployment_id_text(id, text), d->app.s, d->target.version.s,
		     d->env.s);
	return E_OK;
}

/* Failed and lost hosts get another turn: forward they queue again, on the way back the planner takes them
 * anew. */
static void requeue(struct apply *ap, const struct deployment *d)
{
	struct deployment again;
	struct wave *waves;
	struct task *tasks;
	size_t nr;
	if (view_rollout(ap->st, ap->a, d->id, &again, &waves, &tasks, &nr) != E_OK)
		return;
	for (size_t i = 0; i < nr; i++) {
		struct task *t = &tasks[i];
		if (t->state != TASK_FAILED && t->state != TASK_LOST)
			continue;
		if (d->back) {
			t->direction = DIRECTION_FORWARD; /* so that dispatch takes it back again */
			put_task(ap, t);
		} else {
			PRE(apply_task_move(ap, t, &d->app, TASK_QUEUED, "tried again") == E_OK);
		}
	}
	for (uint32_t w = 0; w < d->waves_nr && !d->back; w++)
		if (view_wave(ap->st, ap->a, d->id, w, &waves[w]) == E_OK && waves[w].state == WAVE_FAILED)
			PRE(apply_wave_move(ap, &waves[w], &d->app, WAVE_ROLLING, "tried again") == E_OK);
}

static int promote(struct apply *ap, struct deployment *d, bool all)
{
	struct wave w;
	if (all) {
		d->promoted = true;
		put_deployment(ap, d);
		apply_change(ap, CHANGE_DEPLOYMENT)->deployment = d->id;
		return E_OK;
	}
	if (view_wave(ap->st, ap->a, d->id, ap->c->verb.wave, &w) != E_OK)
		return apply_refuse(ap, E_NOT_FOUND, "the rollout has %u waves, not %u", d->waves_nr,
				    ap->c->verb.wave + 1);
	if (w.state == WAVE_PASSED || w.promoted)
		return apply_refuse(ap, E_OK, "wave %u has passed or is promoted already", w.index + 1);
	if (w.state != WAVE_BAKING)
		return apply_refuse(ap, E_CONFLICT,
				    "wave %u is %s, it does not bake; only a bake can be ended early",
				    w.index + 1, sm_name(&wave_machine, (int)w.state));
	w.promoted = 1;
	put_wave(ap, &w);
	struct change *ch = apply_change(ap, CHANGE_WAVE);
	ch->deployment = d->id;
	ch->wave = w.index;
	return E_OK;
}

static const char *said(struct apply *ap)
{
	return arena_printf(ap->a, "%s by %s%s%s", verb_name(ap->c->verb.verb), ap->c->actor,
			    ap->c->reason[0] == '\0' ? "" : ": ", ap->c->reason);
}

int apply_verb(struct apply *ap)
{
	struct deployment d;
	enum verb v = ap->c->verb.verb;
	int rc = load(ap, ap->c->verb.deployment, &d);
	if (rc != E_OK)
		return rc;
	struct verb_rule rule = verb_rule(v, &d);
	if (rule.effect != VERB_MOVES)
		return apply_refuse(ap, rule.effect == VERB_NOTHING ? E_OK : E_CONFLICT, "%s", rule.text);
	if (v == VERB_PROMOTE || v == VERB_PROMOTE_FULL)
		return promote(ap, &d, v == VERB_PROMOTE_FULL);
	if (v == VERB_RETRY)
		requeue(ap, &d);
	if (rule.to != 0)
		return apply_rollout_move(ap, &d, rule.to, said(ap));
	apply_change(ap, CHANGE_DEPLOYMENT)->deployment = d.id;
	return E_OK;
}

/* ---- the planner's facts
 * ---------------------------------------------------------------------------------------------- */

static void mark_bad(struct apply *ap, const struct deployment *d)
{
	struct bad_mark mark = {.app = d->app,
				.target = d->target,
				.deployment = d->id,
				.reason = ap->c->reason,
				.marked_at = ap->c->at};
	struct key k = key_digest(TABLE_BAD, &d->app, &d->target.id);
	struct buf b;
	buf_init(&b);
	bad_mark_encode(&b, &mark);
	put_raw(ap->st, &k, b.data, b.len);
	buf_done(&b);
	apply_change(ap, CHANGE_BAD_MARK)->app = d->app;
}

/* Held for a fault and then tried again by a person, it has passed after all. */
static void lift_own_mark(struct apply *ap, const struct deployment *d)
{
	struct bad_mark mark;
	if (view_bad(ap->st, ap->a, &d->app, &d->target.id, &mark) != E_OK || mark.deployment.v != d->id.v)
		return;
	struct key k = key_digest(TABLE_BAD, &d->app, &d->target.id);
	ap->st->store->ops->del(ap->st->store, key_slice(&k));
	apply_change(ap, CHANGE_BAD_MARK)->app = d->app;
}

/* D9: what a whole rollout has proven here is what later ones go back to. */
static void mark_stable(struct apply *ap, const struct deployment *d)
{
	struct deployment again;
	struct wave *waves;
	struct task *tasks;
	struct placement p;
	size_t nr;
	if (view_rollout(ap->st, ap->a, d->id, &again, &waves, &tasks, &nr) != E_OK)
		return;
	for (size_t i = 0; i < nr; i++) {
		if (tasks[i].state != TASK_HEALTHY ||
		    view_placement(ap->st, ap->a, &tasks[i].host, &d->app, &p) != E_OK)
			continue;
		if (!digest_eq(&p.current.id, &d->target.id))
			continue;
		p.stable = d->target;
		put_placement(ap, &p);
	}
}

int apply_rollout(struct apply *ap)
{
	struct deployment d;
	int rc = load(ap, ap->c->rollout_move.deployment, &d);
	if (rc != E_OK)
		return rc;
	if (d.state != ap->c->rollout_move.from)
		return apply_refuse(ap, E_CONFLICT, "the rollout is %s by now",
				    sm_name(&rollout_machine, (int)d.state));
	if (ap->c->rollout_move.hosts_nr != 0 && ap->c->rollout_move.hosts_nr != d.hosts_nr)
		return apply_refuse(ap, E_CONFLICT, "a host has joined the rollout meanwhile");
	rc = apply_rollout_move(ap, &d, ap->c->rollout_move.to, ap->c->reason);
	if (rc != E_OK)
		return apply_refuse(ap, rc, "%s does not lead to %s", sm_name(&rollout_machine, (int)d.state),
				    sm_name(&rollout_machine, (int)ap->c->rollout_move.to));
	if (ap->c->rollout_move.blames_target)
		mark_bad(ap, &d);
	if (d.state == ROLLOUT_SUCCEEDED) {
		mark_stable(ap, &d);
		lift_own_mark(ap, &d);
	}
	return E_OK;
}

int apply_wave(struct apply *ap)
{
	struct deployment d;
	struct wave w;
	int rc = load(ap, ap->c->wave_move.deployment, &d);
	if (rc != E_OK)
		return rc;
	if (d.state != ROLLOUT_RUNNING)
		return apply_refuse(ap, E_CONFLICT, "the rollout is %s by now",
				    sm_name(&rollout_machine, (int)d.state));
	if (view_wave(ap->st, ap->a, d.id, ap->c->wave_move.wave, &w) != E_OK ||
	    w.state != ap->c->wave_move.from || w.revision != ap->c->wave_move.revision)
		return apply_refuse(ap, E_CONFLICT, "the wave has moved by now");
	rc = apply_wave_move(ap, &w, &d.app, ap->c->wave_move.to, ap->c->reason);
	if (rc != E_OK)
		return apply_refuse(ap, rc, "that is no edge of a wave");
	return E_OK;
}
