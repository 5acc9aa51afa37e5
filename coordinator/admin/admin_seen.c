/*
 * admin_seen.c: why a rollout ended badly, from the story that was told of it: which hosts failed, with what,
 * and what their programs printed before. A host that was taken back has forgotten its failure in the state;
 * the events have not.
 */
#include <stdio.h>
#include <string.h>

#include "coordinator/admin/admin_conn.h"

/* A story may be long: looks are bounded, and begin shortly before the failure. */
enum { LOOKS_MAX = 20000, SEEN_MAX = 3, BEFORE_MS = 120000 };

struct seen {
	struct admin_conn *c;
	const struct deployment *d;
	uint64_t from;
	Admin__Seen *v[SEEN_MAX];
	bool reverting[SEEN_MAX]; /* what it prints from here on is of the version before */
	bool telling[SEEN_MAX];	  /* the line kept speaks of trouble */
	size_t nr;
};

/* The next event of the rollout, or NULL. */
static const struct event *next_of(struct seen *s, uint64_t *at, int *looks)
{
	const struct event *e;
	uint64_t missed;
	while (++*looks <= LOOKS_MAX && (e = events_after(s->c->admin->config.events, *at, &missed))) {
		*at = e->number;
		if (e->deployment.v == s->d->id.v)
			return e;
	}
	return NULL;
}

static bool went_wrong(const struct event *e)
{
	return e->kind == EVENT_TASK && (strcmp(e->to, "FAILED") == 0 || strcmp(e->to, "LOST") == 0);
}

static Admin__Seen *row_of(struct seen *s, const char *host)
{
	for (size_t i = 0; i < s->nr; i++)
		if (strcmp(s->v[i]->host, host) == 0)
			return s->v[i];
	return NULL;
}

/* A host that failed twice is shown with the last time. */
static void add_failure(struct seen *s, const struct event *e, Admin__Rollout *r)
{
	Admin__Seen *row = row_of(s, e->host.s);
	if (!row && s->nr == SEEN_MAX) {
		r->seen_more++;
		return;
	}
	if (!row) {
		row = arena_new(&s->c->arena, Admin__Seen);
		admin__seen__init(row);
		s->v[s->nr++] = row;
	}
	row->host = arena_strdup(&s->c->arena, e->host.s);
	row->wave = e->wave;
	row->state = arena_strdup(&s->c->arena, e->to);
	row->reason = arena_strdup(&s->c->arena, e->text);
	row->at_ms = e->at.v;
}

static bool speaks_of_trouble(const char *line)
{
	static const char *const words[] = {"panic", "fatal", "error",	"exception", "traceback",
					    "abort", "fail",  "cannot", "denied",    "refused"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasestr(line, words[i]))
			return true;
	return false;
}

/* The line that tells most: the last one that speaks of trouble, else the last. */
static void take_line(struct seen *s, size_t i, const struct event *e)
{
	Admin__Seen *row = s->v[i];
	bool telling = speaks_of_trouble(e->text);
	if (s->telling[i] && !telling)
		return;
	bool same = row->line[0] && strcmp(row->line, e->text) == 0;
	s->telling[i] = telling;
	row->line_count = same ? row->line_count + 1 : 1;
	if (!same)
		row->line = arena_strdup(&s->c->arena, e->text);
}

static void take_event(struct seen *s, const struct event *e)
{
	for (size_t i = 0; i < s->nr; i++) {
		if (strcmp(s->v[i]->host, e->host.s) != 0)
			continue;
		if (e->kind == EVENT_STEP)
			s->reverting[i] = strcmp(e->to, "REVERTING") == 0 || strcmp(e->to, "REVERTED") == 0;
		else if (e->kind == EVENT_LOG && !s->reverting[i])
			take_line(s, i, e);
	}
}

static struct wall_ms time_of_failure(const struct deployment *d, const Admin__Rollout *r)
{
	struct wall_ms at = d->ended_at.v ? d->ended_at : d->state_since;
	for (size_t i = 0; i < r->n_waves; i++)
		if (strcmp(r->waves[i]->state, "FAILED") == 0 && r->waves[i]->state_since_ms < at.v)
			at.v = r->waves[i]->state_since_ms;
	at.v -= BEFORE_MS;
	return at.v > d->created_at.v ? at : d->created_at;
}

void admin_seen(struct admin_conn *c, const struct deployment *d, Admin__Rollout *r)
{
	struct seen s = {.c = c, .d = d};
	const struct event *e;
	int looks = 0;
	if (d->state == ROLLOUT_SUCCEEDED)
		return;
	s.from = events_before(c->admin->config.events, time_of_failure(d, r));
	uint64_t at = s.from;
	while ((e = next_of(&s, &at, &looks)))
		if (went_wrong(e))
			add_failure(&s, e, r);
	looks = 0;
	at = s.from;
	while (s.nr > 0 && (e = next_of(&s, &at, &looks)))
		take_event(&s, e);
	r->seen = arena_array(&c->arena, Admin__Seen *, SEEN_MAX);
	memcpy(r->seen, s.v, sizeof s.v);
	r->n_seen = s.nr;
}
