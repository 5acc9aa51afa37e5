/*
 * world.h: virtual time for the simulator. Everything that happens is an event at a time; events of equal
 * time happen in the order they were made (the tie-break rule). One seeded generator decides all chance. Each
 * event hashes when it happened, and its place among all events made, into the trace; its owner adds the
 * state it led to (world_trace). The same seed gives the same trace hash.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "base/arena.h"
#include "base/ids.h"
#include "base/rng.h"

typedef void world_fn(void *arg);

struct world_event;
struct world {
	int64_t now_ms; /* virtual wall clock; starts at WORLD_EPOCH_MS */
	uint64_t sequence, steps;
	struct rng rng;
	struct world_event **heap;
	size_t nr, cap;
	uint64_t trace; /* running hash of what happened */
	bool verbose;
	void (*listener)(void *arg, const char *line); /* each line of the story; may be NULL */
	void *listener_arg;
	char violation[512]; /* the first one found; empty = none */
};

enum { WORLD_EPOCH_S = 1700000000 };

void world_init(struct world *w, uint64_t seed);
void world_done(struct world *w);
/* Calls fn(arg) at now + delay. Returns a handle that world_cancel takes until the event has run. */
struct world_event *world_at(struct world *w, int64_t delay_ms, world_fn *fn, void *arg);
/* The same for an event that owns `arg`: drop(arg) is called instead when the world ends before it. fn must
 * free it otherwise. */
struct world_event *world_at_owning(struct world *w, int64_t delay_ms, world_fn *fn, void *arg,
				    world_fn *drop);
void world_cancel(struct world *w, struct world_event *e);
/* Runs the next event; false when there is none or it lies after `until_ms`. */
bool world_step(struct world *w, int64_t until_ms);
int64_t world_since_start(const struct world *w);

/* Adds what an event led to. */
void world_trace(struct world *w, const void *p, size_t n);
/* One line of the story; hashed into the trace, printed when verbose. */
void world_say(struct world *w, const char *fmt, ...) printf_like(2, 3);
/* A broken invariant. The first is kept and ends the run. */
void world_violation(struct world *w, const char *fmt, ...) printf_like(2, 3);

#endif
