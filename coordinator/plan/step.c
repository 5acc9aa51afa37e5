#include "coordinator/plan/step.h"

#include "base/deadline.h"

#include <stdarg.h>
#include <stdio.h>

void step_reason(struct step *s, const char *object, struct wall_ms until, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	if (s->out->reasons_nr == PLAN_REASONS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	s->out->reasons[s->out->reasons_nr++] =
		(struct plan_reason){.object = object, .text = arena_strdup(s->a, text), .until = until};
}

void step_look_again(struct step *s, struct wall_ms at)
{
	if (at.v != 0 && (s->out->next_at.v == 0 || at.v < s->out->next_at.v))
		s->out->next_at = at;
}

struct command *step_command(struct step *s, enum command_kind kind, const char *reason)
{
	if (s->out->commands_nr == PLAN_COMMANDS_MAX) {
		step_look_again(s, s->now);
		return NULL;
	}
	struct command *c = &s->out->commands[s->out->commands_nr++];
	c->kind = kind;
	c->reason = reason == NULL ? "" : reason;
	return c;
}

bool step_results(struct step *s, struct task_result *v, size_t nr)
{
	struct command *c = nr == 0 ? NULL : step_command(s, COMMAND_TASK_RESULTS, "");
	if (c == NULL)
		return false;
	c->results.v = v;
	c->results.nr = nr;
	return true;
}

const char *step_wave_name(struct step *s, uint32_t wave)
{
	return arena_printf(s->a, "wave %u (%s)", wave + 1, s->v->waves[wave].region.s);
}

uint32_t tally_unsettled(const struct tally *t)
{
	return t->queued + t->in_hand + t->stopped + t->lost_stopping;
}

bool task_unsettled(const struct task *t)
{
	return t->state == TASK_QUEUED || t->state == TASK_STOPPED || task_in_hand(t) ||
	       (t->state == TASK_LOST && t->stop);
}

static int64_t at_least_0(int64_t ms)
{
	return ms < 0 ? 0 : ms;
}

/*
 * D3, docs/decisions/0012. What a clock that began then gets back: the time since when there was another
 * coordinator or none, and the faults around a host after that. They may have been at the same time, so it is
 * more than it might be, and the cap bounds it.
 */
static int64_t given_back(const struct step *s, struct wall_ms began, const struct fault_view *f)
{
	int64_t away = at_least_0(s->v->leading_since.v - began.v), cap = s->v->d->limits.infra_cap_ms;
	int64_t since = at_least_0(f->until.v - began.v);
	return deadline_given_back_ms(away + (f->ms < since ? f->ms : since), f->lasts, cap);
}

/* What is heard of task i's work; the work before it does not count. While the host is silent the network may
 * keep its end from us. */
static struct fault_view fault_of(const struct step *s, size_t i)
{
	const struct host_view *h = &s->v->hosts[i];
	const struct task *t = &s->v->tasks[i];
	if (h->avail == AVAIL_UNKNOWN)
		return (struct fault_view){.lasts = task_in_hand(t)};
	return h->seq == t->seq ? h->fault : (struct fault_view){0};
}

struct wall_ms step_deadline(const struct step *s, struct wall_ms began, int64_t ms)
{
	static const struct fault_view none = {0};
	return (struct wall_ms){ms == 0 ? 0 : began.v + given_back(s, began, &none) + ms};
}

/* One that failed counts on: the time that it cost the others is not owed because of that. */
static bool holds_others_up(const struct task *t)
{
	return task_in_hand(t) || t->state == TASK_FAILED;
}

struct wall_ms step_progress_deadline(const struct step *s, struct wall_ms began, int64_t ms)
{
	struct wall_ms most = step_deadline(s, began, ms);
	for (size_t i = 0; i < s->v->tasks_nr && ms != 0; i++) {
		struct fault_view f = fault_of(s, i);
		int64_t at = holds_others_up(&s->v->tasks[i]) ? began.v + given_back(s, began, &f) + ms : 0;
		most.v = at > most.v ? at : most.v;
	}
	return most;
}

struct wall_ms step_task_deadline(const struct step *s, size_t i)
{
	const struct task *t = &s->v->tasks[i];
	struct fault_view f = fault_of(s, i);
	int64_t set = t->deadline.v;
	return (struct wall_ms){set == 0 ? 0 : set + given_back(s, t->assigned_at, &f)};
}

bool step_past(const struct step *s, struct wall_ms deadline)
{
	return deadline.v != 0 && s->now.v >= deadline.v;
}

bool step_too_early(const struct step *s, const struct host_view *h)
{
	bool grace = s->now.v < s->v->leading_since.v + s->v->grace_ms;
	return h->avail == AVAIL_UNKNOWN && (grace || h->unsaid);
}

void step_not_heard(struct step *s, const char *object, const char *host)
{
	struct wall_ms until = {s->v->leading_since.v + s->v->grace_ms};
	if (s->now.v >= until.v) {
		step_reason(s, object, (struct wall_ms){0},
			    "host %s: has come anew, and not said yet what it runs", host);
		return;
	}
	step_reason(s, object, until, "host %s: not heard of yet since this coordinator began to lead", host);
	step_look_again(s, until);
}

/* The first domain that a floor of p would close for good, in words; NULL when there is none. */
static const char *closed_by(permille p, const char *key, const struct task *tasks,
			     const struct host_view *hosts, size_t nr, struct arena *a)
{
	static const char *const kinds[] = {"", "the group", "zone", "region"};
	struct floors f;
	floors_init(&f, a, tasks, hosts, nr, p);
	for (size_t i = 0; i < f.nr; i++) {
		const struct domain *d = &f.v[i];
		if (d->hosts > d->floor || d->hosts == 0)
			continue;
		return arena_printf(a,
				    "%s%s%s has %u hosts and a floor of %u (%u.%u%% of %u, rounded up), so "
				    "not one may be out: lower "
				    "%s to %u%% or less, or add hosts",
				    kinds[d->kind], name_empty(&d->name) ? "" : " ", d->name.s, d->hosts,
				    d->floor, p / 10, p % 10, d->hosts, key, (d->hosts - 1) * 100 / d->hosts);
	}
	return NULL;
}

int plan_feasible(const struct limits *l, const struct task *tasks, const struct host_view *hosts, size_t nr,
		  struct arena *a, const char **why)
{
	*why = "";
	if (l->recreate)
		return E_OK;
	const char *closed = closed_by(l->floor, "strategy.floor", tasks, hosts, nr, a);
	if (closed == NULL)
		closed = closed_by(l->back_floor, "rollback.floor", tasks, hosts, nr, a);
	if (closed == NULL)
		return E_OK;
	*why = closed;
	return E_INFEASIBLE;
}
