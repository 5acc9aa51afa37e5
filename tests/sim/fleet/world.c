#include "tests/sim/fleet/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world_event {
	int64_t at;
	uint64_t sequence;
	world_fn *fn; /* NULL: cancelled */
	void *arg;
	world_fn *drop; /* NULL: owns nothing */
};

void world_init(struct world *w, uint64_t seed)
{
	*w = (struct world){.now_ms = (int64_t)WORLD_EPOCH_S * 1000, .trace = 14695981039346656037u};
	rng_seed(&w->rng, seed);
}

void world_done(struct world *w)
{
	for (size_t i = 0; i < w->nr; i++) {
		if (w->heap[i]->drop != NULL)
			w->heap[i]->drop(w->heap[i]->arg);
		free(w->heap[i]);
	}
	free(w->heap);
}

int64_t world_since_start(const struct world *w)
{
	return w->now_ms - (int64_t)WORLD_EPOCH_S * 1000;
}

static bool before(const struct world_event *a, const struct world_event *b)
{
	return a->at < b->at || (a->at == b->at && a->sequence < b->sequence);
}

static void swap(struct world *w, size_t i, size_t j)
{
	struct world_event *t = w->heap[i];
	w->heap[i] = w->heap[j];
	w->heap[j] = t;
}

static void sift_up(struct world *w, size_t i)
{
	for (; i > 0 && before(w->heap[i], w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		swap(w, i, (i - 1) / 2);
}

static void sift_down(struct world *w, size_t i)
{
	for (;;) {
		size_t least = i, l = 2 * i + 1, r = l + 1;
		if (l < w->nr && before(w->heap[l], w->heap[least]))
			least = l;
		if (r < w->nr && before(w->heap[r], w->heap[least]))
			least = r;
		if (least == i)
			return;
		swap(w, i, least);
		i = least;
	}
}

struct world_event *world_at(struct world *w, int64_t delay_ms, world_fn *fn, void *arg)
{
	struct world_event *e = malloc(sizeof *e);
	PRE(e != NULL && delay_ms >= 0);
	*e = (struct world_event){
		.at = w->now_ms + delay_ms, .sequence = w->sequence++, .fn = fn, .arg = arg};
	if (w->nr == w->cap) {
		w->cap = w->cap == 0 ? 256 : 2 * w->cap;
		w->heap = realloc(w->heap, w->cap * sizeof(struct world_event *));
		PRE(w->heap != NULL);
	}
	w->heap[w->nr] = e;
	sift_up(w, w->nr++);
	return e;
}

struct world_event *world_at_owning(struct world *w, int64_t delay_ms, world_fn *fn, void *arg,
				    world_fn *drop)
{
	struct world_event *e = world_at(w, delay_ms, fn, arg);
	e->drop = drop;
	return e;
}

void world_cancel(struct world *w, struct world_event *e)
{
	if (e != NULL)
		e->fn = NULL;
}

/* FNV-1a. */
void world_trace(struct world *w, const void *p, size_t n)
{
	for (const uint8_t *at = p, *end = at + n; at < end; at++)
		w->trace = (w->trace ^ *at) * 1099511628211u;
}

bool world_step(struct world *w, int64_t until_ms)
{
	if (w->nr == 0 || w->heap[0]->at > until_ms)
		return false;
	struct world_event *e = w->heap[0];
	w->heap[0] = w->heap[--w->nr];
	sift_down(w, 0);
	w->now_ms = e->at;
	if (e->fn != NULL) {
		w->steps++;
		world_trace(w, &e->at, sizeof e->at);
		world_trace(w, &e->sequence, sizeof e->sequence);
		e->fn(e->arg);
	}
	free(e);
	return true;
}

void world_say(struct world *w, const char *fmt, ...)
{
	char line[512];
	int n = snprintf(line, sizeof line, "[%7.1fs] ", (double)world_since_start(w) / 1000.0);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	va_end(ap);
	world_trace(w, line, strlen(line));
	if (w->listener != NULL)
		w->listener(w->listener_arg, line);
	if (w->verbose)
		puts(line);
}

void world_violation(struct world *w, const char *fmt, ...)
{
	char text[sizeof w->violation];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	world_say(w, "VIOLATION %s", text);
	if (w->violation[0] == '\0')
		memcpy(w->violation, text, sizeof text);
}
