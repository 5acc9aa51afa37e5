/*
 * events.h: the story of the fleet as numbered events: what `watch`, `events` and `logs` read. A ring in
 * memory; the owner may add a sink that writes each event where it lasts, and a source that gives those back
 * which the ring no longer holds. Numbers have no gaps, so a reader that was away knows what it missed. One
 * thread.
 */
#ifndef DRIVE_EVENTS_H
#define DRIVE_EVENTS_H

#include "base/arena.h"
#include "base/ids.h"

enum event_kind { EVENT_ROLLOUT = 1, EVENT_WAVE, EVENT_TASK, EVENT_STEP, EVENT_HOST, EVENT_LOG, EVENT_NR };

enum { EVENT_TEXT_CAP = 1025 };

/* Which line of which chunk of its host's spool an event was made of; number 0 = it came another way. */
struct event_chunk {
	uint64_t spool_hi, spool_lo; /* who numbered it: a host whose disk was emptied has another spool */
	uint64_t number;	     /* from 1 */
	uint32_t line;		     /* from 1 */
};

struct event {
	uint64_t number; /* from 1 */
	struct wall_ms at;
	enum event_kind kind;
	struct deployment_id deployment; /* 0 = none */
	struct name app, host, region;
	uint32_t wave;
	char from[16], to[24]; /* names of states; EVENT_LOG: `from` is the stream */
	char text[EVENT_TEXT_CAP];
	struct trace_id trace;
	struct event_chunk chunk;
};

struct events;
typedef void events_sink_fn(void *arg, const struct event *);

/* Where events are that fell out of the ring, or are of a life before. */
struct events_source {
	void *arg;
	/* The first one kept with number > after; false when there is none. */
	bool (*after)(void *arg, uint64_t after, struct event *out);
	/* The highest number of those told before `at`; 0 = none. */
	uint64_t (*before)(void *arg, struct wall_ms at);
};

struct events *events_new(size_t capacity, uint64_t first_number);
void events_free(struct events *ev);
void events_go_on(struct events *ev,
		  uint64_t number); /* the next event has this number; before the first add */
void events_on_add(struct events *ev, events_sink_fn *sink,
		   void *arg);			     /* called for each new event, after it is in the ring */
void events_add(struct events *ev, struct event *e); /* fills e->number */
uint64_t events_newest(const struct events *ev);     /* 0 = none yet */
void events_older(struct events *ev, const struct events_source *source);
/* The first event with number > after, or NULL. Valid until the next call. *missed: how many in between are
 * gone. */
const struct event *events_after(const struct events *ev, uint64_t after, uint64_t *missed);
/* The highest number of those told before `at`, so reading after it gives all since then; 0 = from the start.
 */
uint64_t events_before(const struct events *ev, struct wall_ms at);

/*
 * A host sends a chunk again when it saw no acknowledgement. What was told of it already is known by spool,
 * chunk and line; events_add remembers that, events_chunk_told remembers it for events of a life before.
 */
bool events_chunk_seen(const struct events *ev, const struct name *host, const struct event_chunk *c);
void events_chunk_told(struct events *ev, const struct name *host, const struct event_chunk *c);

const char *event_kind_name(enum event_kind k);

#endif
