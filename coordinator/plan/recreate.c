/*
 * recreate.c: dispatch of a rollout that stops all hosts of a wave before the first one starts
 * (docs/decisions/0007). A wave is handed out twice: first every host is told to run nothing; when no task
 * holds the barrier any more, all of them are told what to run. Going back is the same walk, wave by wave
 * from the last. The fold checks the barrier again when it applies a start.
 */
#include "base/planted.h"
#include "coordinator/plan/step.h"

typedef bool wanted_fn(const struct task *t);

static bool to_stop(const struct task *t)
{
	return t->state == TASK_QUEUED;
}

static bool lost_stopping(const struct task *t)
{
	return t->state == TASK_LOST && t->stop;
}

/* Also one that was lost while it was to stop: when it comes back it learns at once what to run. */
static bool to_start(const struct task *t)
{
	return t->state == TASK_QUEUED || t->state == TASK_STOPPED || lost_stopping(t);
}

static bool to_stop_back(const struct task *t)
{
	return task_to_take_back(t) && t->state != TASK_STOPPED;
}

static bool to_start_back(const struct task *t)
{
	return task_to_take_back(t) || t->state == TASK_STOPPED ||
	       (lost_stopping(t) && t->direction == DIRECTION_BACK);
}

/* One command for all of the wave that are wanted. The first one that must wait to be heard of is named. */
static void hand_out(struct step *s, uint32_t wave, wanted_fn *wanted, enum direction dir, bool stop)
{
	const struct tally *w = &s->waves[wave];
	struct name *hosts = arena_array(s->a, struct name, w->end - w->first);
	const char *unheard = NULL;
	size_t nr = 0;
	for (uint32_t i = w->first; i < w->end; i++) {
		const struct task *t = &s->v->tasks[i];
		if (!wanted(t))
			continue;
		if (t->state != TASK_STOPPED && step_too_early(s, &s->v->hosts[i]))
			unheard = unheard == NULL ? t->host.s : unheard;
		else
			hosts[nr++] = t->host;
	}
	if (unheard != NULL)
		step_not_heard(s, step_wave_name(s, wave), unheard);
	/* Going forward nobody is stopped before all can be told: the others would stand still for nothing.
	 */
	if (unheard != NULL && stop && dir == DIRECTION_FORWARD)
		return;
	struct command *c = nr == 0 ? NULL : step_command(s, COMMAND_ASSIGN, "");
	if (c == NULL)
		return;
	c->assign.deployment = s->v->d->id;
	c->assign.direction = dir;
	c->assign.stop = stop;
	c->assign.hosts = hosts;
	c->assign.hosts_nr = nr;
}

/* The hosts that the others wait for; 0 = the barrier is open. */
static uint32_t say_holders(struct step *s, uint32_t wave, enum direction dir)
{
	const struct tally *w = &s->waves[wave];
	const char *first = NULL;
	uint32_t holders = 0;
	for (uint32_t i = w->first; i < w->end; i++) {
		if (!task_holds_barrier(&s->v->tasks[i], dir))
			continue;
		first = holders++ == 0 ? s->v->tasks[i].host.s : first;
	}
	if (holders > 0)
		step_reason(s, step_wave_name(s, wave), (struct wall_ms){0},
			    "recreate: %u of %u hosts have stopped; none starts before host %s%s", w->stopped,
			    w->hosts, first, holders > 1 ? " and others have, too" : " has, too");
	return holders;
}

void recreate_forward(struct step *s, uint32_t wave)
{
	const struct tally *w = &s->waves[wave];
	if (s->v->waves[wave].opened == DIRECTION_FORWARD || BUG(BUG_NO_BARRIER))
		hand_out(s, wave, to_start, DIRECTION_FORWARD, false);
	else if (w->queued > 0)
		hand_out(s, wave, to_stop, DIRECTION_FORWARD, true);
	else if (say_holders(s, wave, DIRECTION_FORWARD) == 0)
		hand_out(s, wave, to_start, DIRECTION_FORWARD, false);
}

static uint32_t count(const struct step *s, uint32_t wave, wanted_fn *wanted)
{
	uint32_t n = 0;
	for (uint32_t i = s->waves[wave].first; i < s->waves[wave].end; i++)
		n += wanted(&s->v->tasks[i]);
	return n;
}

static bool is_reverting(const struct task *t)
{
	return t->state == TASK_REVERTING;
}

/* True when nothing is left to take back in this wave. A wave that was not opened for the new runs none of it
 * anywhere: what was stopped starts again at once. */
static bool wave_back(struct step *s, uint32_t wave)
{
	if (count(s, wave, to_start_back) + count(s, wave, is_reverting) == 0)
		return true;
	if (s->v->waves[wave].opened != DIRECTION_FORWARD || BUG(BUG_NO_BARRIER))
		hand_out(s, wave, to_start_back, DIRECTION_BACK, false);
	else if (count(s, wave, to_stop_back) > 0)
		hand_out(s, wave, to_stop_back, DIRECTION_BACK, true);
	else if (say_holders(s, wave, DIRECTION_BACK) == 0)
		hand_out(s, wave, to_start_back, DIRECTION_BACK, false);
	return false;
}

bool recreate_back(struct step *s)
{
	for (uint32_t w = s->v->d->waves_nr; w-- > 0;)
		if (!wave_back(s, w))
			return false;
	return true;
}

bool recreate_is_stopped(const struct step *s, uint32_t wave)
{
	enum wave_state st = s->v->waves[wave].state;
	return s->v->d->limits.recreate && s->v->waves[wave].opened == 0 &&
	       (st == WAVE_ROLLING || st == WAVE_FAILED);
}

const char *recreate_unstoppable(const struct step *s, uint32_t wave)
{
	const struct tally *w = &s->waves[wave];
	for (uint32_t i = w->first; i < w->end && recreate_is_stopped(s, wave); i++)
		if (s->v->tasks[i].state == TASK_FAILED)
			return s->v->tasks[i].host.s;
	return NULL;
}
