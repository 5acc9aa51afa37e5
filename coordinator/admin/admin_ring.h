/*
 * admin_ring.h: the newest events, for watchers that come back with a cursor. A cursor is (log index << 20) |
 * position in the entry, the same on every coordinator; live steps have cursor 0 and are found by their
 * number only. One thread.
 */
#ifndef ADMIN_RING_H
#define ADMIN_RING_H

#include "coordinator/state/state.h"

struct admin_ring_event {
	uint64_t number; /* of this ring, from 1 */
	uint64_t cursor;
	struct wall_ms at;
	enum change_kind kind; /* 0: a live step */
	struct name app, host;
	struct deployment_id deployment;
	uint32_t wave;
	int from, to;
	char reason[200]; /* step: "probing: 2/3 passes" */
};

struct admin_ring {
	struct admin_ring_event *v;
	size_t cap;
	uint64_t next;	      /* number of the next event */
	uint64_t lost_cursor; /* the highest cursor pushed out; 0 = none */
};

void admin_ring_init(struct admin_ring *r, size_t cap);
void admin_ring_done(struct admin_ring *r);
void admin_ring_put(struct admin_ring *r, const struct admin_ring_event *e); /* number is set here */
void admin_ring_changes(struct admin_ring *r, uint64_t index, uint32_t sub, struct wall_ms at,
			const struct changes *changes);
/* The event with this number or the oldest after it; NULL: none yet. */
const struct admin_ring_event *admin_ring_get(const struct admin_ring *r, uint64_t number);
/* The number to continue with after `cursor`; `reset` tells that events in between are gone. */
uint64_t admin_ring_after(const struct admin_ring *r, uint64_t cursor, bool *reset);
uint64_t admin_ring_newest(const struct admin_ring *r); /* highest cursor, 0 = none */

const char *change_kind_name(enum change_kind k);
const char *change_state_name(enum change_kind k, int state); /* "" for nouns without a machine */

#endif
