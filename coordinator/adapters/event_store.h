/*
 * event_store.h: the story of the fleet where it lasts: every event is appended to one of two chains of files
 * (event_chain.h), one for what happened and one for lines that hosts logged, so a program that prints a lot
 * cannot push out what happened. Both are bounded in bytes and age. Blocking I/O; one thread.
 *
 * What survives: an event is with the kernel before event_store_add returns, so neither kill -9 nor a crash
 * of the coordinator loses or repeats one. Nothing is fsynced but at an orderly end: a power cut may cost the
 * events of the last half minute (the kernel's write-back) and never leaves more than a torn end, which is
 * cut off at opening. Numbers are never given twice, also then: they are reserved in blocks, durably, and
 * after a power cut go on behind the block, which readers see as a gap.
 *
 * A full disk stops nobody: events are dropped and counted. Log lines are dropped before that, while less
 * than `spare_bytes` are free, for the coordinator's own log needs them more.
 */
#ifndef ADAPTERS_EVENT_STORE_H
#define ADAPTERS_EVENT_STORE_H

#include "base/err.h"
#include "coordinator/drive/events.h"

struct event_store;

struct event_store_limits {	/* 0 = the default */
	uint64_t events_bytes;	/* 64 MiB */
	uint64_t logs_bytes;	/* 128 MiB */
	uint64_t segment_bytes; /* 4 MiB */
	int64_t events_age_ms;	/* 90 days */
	int64_t logs_age_ms;	/* 14 days */
	uint64_t spare_bytes;	/* 512 MiB */
};

/*
 * `dir` is made when it is not there; all in it is read, some 100 MiB a second. `ev`, which has none yet,
 * goes on with the next number, knows which chunks of hosts were told, and has the store as its sink and
 * source; it must not be used after the store is closed.
 */
must_check int event_store_open(struct event_store **out, const char *dir,
				const struct event_store_limits *limits, struct events *ev, struct err *e);
void event_store_close(struct event_store *s); /* NULL-safe */

/* What the sink and the source call. */
void event_store_add(struct event_store *s, const struct event *ev);
/* The first one kept with number > after; false: none. */
bool event_store_after(struct event_store *s, uint64_t after, struct event *out);
/* The highest number of those told before `at`; 0 = none. */
uint64_t event_store_before(struct event_store *s, struct wall_ms at);

struct event_store_stats {
	uint64_t events_bytes, logs_bytes;
	struct wall_ms events_since, logs_since; /* oldest kept; 0 = none */
	uint64_t events_dropped, logs_dropped;	 /* since opening */
	uint64_t damaged_bytes;			 /* found when opening */
	const char *trouble;			 /* why the last one was dropped; "" = none was */
};
void event_store_stats(const struct event_store *s, struct event_store_stats *out);

#endif
