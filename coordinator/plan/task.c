/*
 * task.c: deadlines of single hosts (D3). A task ends by the agent's report; what ends it without one stands
 * here.
 */
#include "base/planted.h"
#include "coordinator/plan/step.h"

bool task_in_hand(const struct task *t)
{
	return (t->state >= TASK_ASSIGNED && t->state <= TASK_PROBING) || t->state == TASK_REVERTING;
}

bool task_failed(const struct task *t)
{
	return t->state == TASK_FAILED || (t->state == TASK_LOST && t->direction == DIRECTION_FORWARD);
}

/* Once on its way back, a host that is lost or failed waits for its return or for a person, not for us. */
bool task_to_take_back(const struct task *t)
{
	return t->touched && t->state != TASK_SKIPPED && t->state != TASK_REVERTED &&
	       t->direction != DIRECTION_BACK;
}

static bool in_grace(const struct view *v, struct wall_ms now)
{
	return now.v < v->leading_since.v + v->grace_ms;
}

/*
 * Late is never the version's fault (D3): an agent that could give up or prove it in time has done so before,
 * by the deadlines of its probes and its own. That it is still at work says that its clock began later than
 * ours: the order came late, or the host was away.
 */
static bool judge(struct step *s, size_t i, struct task_result *r)
{
	const struct task *t = &s->v->tasks[i];
	const struct host_view *h = &s->v->hosts[i];
	*r = (struct task_result){.deployment = t->deployment, .host = t->host, .seq = t->seq};
	if (!task_in_hand(t))
		return false;
	if (h->silent_ms >= s->v->lost_ms && !in_grace(s->v, s->now)) {
		r->state = TASK_LOST;
		r->cause = CAUSE_INFRA;
		r->reason =
			arena_printf(s->a, "no sign of life for %lld s", (long long)(h->silent_ms / 1000));
		return true;
	}
	if (step_past(s, step_task_deadline(s, i)) && !in_grace(s->v, s->now)) {
		r->state = TASK_FAILED;
		r->cause = CAUSE_INFRA;
		r->reason = arena_printf(s->a, "not done at its deadline, last seen at %s",
					 h->step == 0 ? "no step" : sm_name(&task_machine, (int)h->step));
		return true;
	}
	return false;
}

static void look_again_for(struct step *s, size_t i)
{
	int64_t grace_end = s->v->leading_since.v + s->v->grace_ms;
	int64_t lost = s->now.v + s->v->lost_ms - s->v->hosts[i].silent_ms;
	int64_t late = step_task_deadline(s, i).v;
	step_look_again(s, (struct wall_ms){lost > grace_end ? lost : grace_end});
	if (late != 0)
		step_look_again(s, (struct wall_ms){late > grace_end ? late : grace_end});
}

bool tasks_sweep(struct step *s)
{
	if (BUG(BUG_FORGOTTEN_DEADLINE))
		return false;
	struct task_result *v = arena_array(s->a, struct task_result, s->v->tasks_nr);
	size_t nr = 0;
	for (size_t i = 0; i < s->v->tasks_nr; i++) {
		if (judge(s, i, &v[nr]))
			nr++;
		else if (task_in_hand(&s->v->tasks[i]))
			look_again_for(s, i);
	}
	return step_results(s, v, nr);
}
