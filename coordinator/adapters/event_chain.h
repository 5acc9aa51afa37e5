/*
 * event_chain.h: events of one class in a chain of segment files, oldest first; appended to the newest, read
 * by number, retired from the oldest. Damage costs the records it hit and nothing else: a reader goes on at
 * the next one that is whole. Blocking I/O; one thread.
 */
#ifndef ADAPTERS_EVENT_CHAIN_H
#define ADAPTERS_EVENT_CHAIN_H

#include "base/err.h"
#include "coordinator/drive/events.h"

struct event_chain;

struct event_chain_limits {
	uint64_t segment_bytes; /* a segment is closed beyond */
	uint64_t most_bytes;	/* the oldest segments are removed beyond; at least one stays */
	int64_t most_age_ms;	/* ... and those whose newest event is older than this */
};

/*
 * Files are `dir`/`prefix`-NUMBER.seg. All of them are read once, to find what is whole; a torn end of the
 * newest is cut off. `each` (may be NULL) sees all events, by number.
 */
must_check int event_chain_open(struct event_chain **out, const char *dir, char prefix,
				const struct event_chain_limits *limits,
				void (*each)(void *arg, const struct event *), void *arg, struct err *e);
void event_chain_close(struct event_chain *c); /* fsyncs the newest segment. NULL-safe */

/*
 * With the kernel when it returns E_OK; durable some seconds later, or after close. On failure nothing of it
 * is there: E_NO_SPACE, E_IO. e->number must be above all before.
 */
must_check int event_chain_add(struct event_chain *c, const struct event *ev, struct err *e);
/* The first with number > after. False: none. */
bool event_chain_after(struct event_chain *c, uint64_t after, struct event *out);
/* The highest number of those with `at` before this; 0 = none. */
uint64_t event_chain_before(struct event_chain *c, struct wall_ms at);

uint64_t event_chain_newest(const struct event_chain *c); /* number; 0 = empty */
uint64_t event_chain_bytes(const struct event_chain *c);
uint64_t event_chain_damaged(const struct event_chain *c); /* bytes that are no records, found when opening */
struct wall_ms event_chain_since(const struct event_chain *c); /* time of the oldest event; 0 = empty */

#endif
