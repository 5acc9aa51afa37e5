#include "coordinator/drive/events.h"

#include <stdlib.h>

struct events {
	struct event *v;
	size_t cap;
	uint64_t first, next; /* numbers held: [first, next) */
	events_sink_fn *sink;
	void *sink_arg;
};

struct events *events_new(size_t capacity, uint64_t first_number)
{
	struct events *ev = calloc(1, sizeof *ev);
	PRE(ev != NULL && capacity > 0 && first_number > 0);
	ev->v = calloc(capacity, sizeof *ev->v);
	PRE(ev->v != NULL);
	ev->cap = capacity;
	ev->first = ev->next = first_number;
	return ev;
}

void events_free(struct events *ev)
{
	if (ev == NULL)
		return;
	free(ev->v);
	free(ev);
}

void events_on_add(struct events *ev, events_sink_fn *sink, void *arg)
{
	ev->sink = sink;
	ev->sink_arg = arg;
}

void events_add(struct events *ev, struct event *e)
{
	e->number = ev->next++;
	ev->v[e->number % ev->cap] = *e;
	if (ev->next - ev->first > ev->cap)
		ev->first = ev->next - ev->cap;
	if (ev->sink != NULL)
		ev->sink(ev->sink_arg, e);
}

uint64_t events_newest(const struct events *ev)
{
	return ev->next - 1;
}

const struct event *events_after(const struct events *ev, uint64_t after, uint64_t *missed)
{
	uint64_t want = after + 1 < ev->first ? ev->first : after + 1;
	*missed = want - (after + 1);
	return want < ev->next ? &ev->v[want % ev->cap] : NULL;
}

const char *event_kind_name(enum event_kind k)
{
	static const char *const names[EVENT_NR] = {
		[EVENT_ROLLOUT] = "rollout", [EVENT_WAVE] = "wave", [EVENT_TASK] = "task",
		[EVENT_STEP] = "step",	     [EVENT_HOST] = "host", [EVENT_LOG] = "log"};
	return k > 0 && k < EVENT_NR ? names[k] : "?";
}
