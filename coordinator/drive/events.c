#include "coordinator/drive/events.h"

#include <stdlib.h>
#include <uthash.h>

/* The newest line told of each host. */
struct told {
	struct name host;
	struct event_chunk chunk;
	UT_hash_handle hh;
};

struct events {
	struct event *v;
	size_t cap;
	uint64_t first, next; /* numbers held: [first, next) */
	events_sink_fn *sink;
	void *sink_arg;
	struct events_source source;
	struct event *older; /* what the source gave last */
	struct told *told;
};

struct events *events_new(size_t capacity, uint64_t first_number)
{
	struct events *ev = calloc(1, sizeof *ev);
	PRE(ev != NULL && capacity > 0 && first_number > 0);
	ev->v = calloc(capacity, sizeof *ev->v);
	ev->older = calloc(1, sizeof *ev->older);
	PRE(ev->v != NULL && ev->older != NULL);
	ev->cap = capacity;
	ev->first = ev->next = first_number;
	return ev;
}

void events_free(struct events *ev)
{
	if (ev == NULL)
		return;
	struct told *t, *next;
	HASH_ITER(hh, ev->told, t, next)
	{
		HASH_DEL(ev->told, t);
		free(t);
	}
	free(ev->older);
	free(ev->v);
	free(ev);
}

void events_go_on(struct events *ev, uint64_t number)
{
	PRE(ev->first == ev->next && number > 0);
	ev->first = ev->next = number;
}

void events_on_add(struct events *ev, events_sink_fn *sink, void *arg)
{
	ev->sink = sink;
	ev->sink_arg = arg;
}

void events_older(struct events *ev, const struct events_source *source)
{
	ev->source = *source;
}

void events_add(struct events *ev, struct event *e)
{
	e->number = ev->next++;
	ev->v[e->number % ev->cap] = *e;
	if (ev->next - ev->first > ev->cap)
		ev->first = ev->next - ev->cap;
	if (e->chunk.number != 0)
		events_chunk_told(ev, &e->host, &e->chunk);
	if (ev->sink != NULL)
		ev->sink(ev->sink_arg, e);
}

uint64_t events_newest(const struct events *ev)
{
	return ev->next - 1;
}

const struct event *events_after(const struct events *ev, uint64_t after, uint64_t *missed)
{
	const struct event *e = NULL;
	if (after + 1 < ev->first && ev->source.after != NULL &&
	    ev->source.after(ev->source.arg, after, ev->older) && ev->older->number < ev->first)
		e = ev->older;
	uint64_t want = e != NULL ? e->number : after + 1 < ev->first ? ev->first : after + 1;
	*missed = want - (after + 1);
	return e != NULL ? e : want < ev->next ? &ev->v[want % ev->cap] : NULL;
}

uint64_t events_before(const struct events *ev, struct wall_ms at)
{
	uint64_t low = ev->first, high = ev->next; /* the first in the ring that is not before `at` */
	while (low < high) {
		uint64_t mid = low + (high - low) / 2;
		if (ev->v[mid % ev->cap].at.v < at.v)
			low = mid + 1;
		else
			high = mid;
	}
	if (low > ev->first)
		return low - 1;
	return ev->source.before == NULL ? 0 : ev->source.before(ev->source.arg, at);
}

/* ---- chunks of hosts
 * ------------------------------------------------------------------------------------------------------- */

static bool is_repeat(const struct event_chunk *told, const struct event_chunk *c)
{
	bool same_spool = c->spool_hi == told->spool_hi && c->spool_lo == told->spool_lo;
	bool behind = c->number < told->number || (c->number == told->number && c->line <= told->line);
	return same_spool && behind;
}

static struct told *find_told(const struct events *ev, const struct name *host)
{
	struct told *t;
	HASH_FIND_STR(ev->told, host->s, t);
	return t;
}

bool events_chunk_seen(const struct events *ev, const struct name *host, const struct event_chunk *c)
{
	const struct told *t = find_told(ev, host);
	return t != NULL && is_repeat(&t->chunk, c);
}

void events_chunk_told(struct events *ev, const struct name *host, const struct event_chunk *c)
{
	struct told *t = find_told(ev, host);
	if (t == NULL) {
		t = calloc(1, sizeof *t);
		PRE(t != NULL);
		t->host = *host;
		HASH_ADD_STR(ev->told, host.s, t);
	} else if (is_repeat(&t->chunk, c)) {
		return;
	}
	t->chunk = *c;
}

const char *event_kind_name(enum event_kind k)
{
	static const char *const names[EVENT_NR] = {
		[EVENT_ROLLOUT] = "rollout", [EVENT_WAVE] = "wave", [EVENT_TASK] = "task",
		[EVENT_STEP] = "step",	     [EVENT_HOST] = "host", [EVENT_LOG] = "log"};
	return k > 0 && k < EVENT_NR ? names[k] : "?";
}
