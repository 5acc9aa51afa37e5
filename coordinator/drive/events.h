/*
 * events.h: the story of the fleet as numbered events: what `watch`, `events`, `logs` and `history` read. A
 * ring in memory; the owner may add a sink that writes each event where it lasts. Numbers have no gaps, so a
 * reader that was away knows what it missed. One thread.
 */
#ifndef DRIVE_EVENTS_H
#define DRIVE_EVENTS_H

#include "base/arena.h"
#include "base/ids.h"

enum event_kind { EVENT_ROLLOUT = 1, EVENT_WAVE, EVENT_TASK, EVENT_STEP, EVENT_HOST, EVENT_LOG, EVENT_NR };

struct event {
	uint64_t number; /* from 1 */
	struct wall_ms at;
	enum event_kind kind;
	struct deployment_id deployment; /* 0 = none */
	struct name app, host, region;
	uint32_t wave;
	char from[16], to[24]; /* names of states; EVENT_LOG: `from` is the stream */
	char text[256];
	struct trace_id trace;
};

struct events;
typedef void events_sink_fn(void *arg, const struct event *);

struct events *events_new(size_t capacity, uint64_t first_number);
void events_free(struct events *ev);
void events_on_add(struct events *ev, events_sink_fn *sink,
		   void *arg);			     /* called for each new event, after it is in the ring */
void events_add(struct events *ev, struct event *e); /* fills e->number */
uint64_t events_newest(const struct events *ev);     /* 0 = none yet */
/* The first event with number > after, or NULL. Valid until the next add. *missed: how many in between are
 * gone. */
const struct event *events_after(const struct events *ev, uint64_t after, uint64_t *missed);
const char *event_kind_name(enum event_kind k);

#endif
