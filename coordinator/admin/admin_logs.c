/*
 * admin_logs.c: what the programs of the fleet printed. Lines are events like all others; old ones are read
 * from disk, so a request is served in turns of the clock, each of a bounded number of looks.
 */
#include <stdlib.h>
#include <string.h>

#include "coordinator/admin/admin_conn.h"

enum { LINES_PER_TICK = 2000, LIMIT_MAX = 100000 };

struct admin_logs {
	struct deployment_id deployment; /* 0: any */
	struct name app, host;		 /* empty: any */
	const char *grep;
	/* With a limit the stream is gone through twice: first to find where its last lines begin. */
	uint64_t *last; /* numbers of the last `limit` lines found, a ring; NULL: there is no limit, or it is
			   done */
	uint64_t limit, found;
};

static bool is_wanted(const struct admin_logs *l, const struct event *e)
{
	return e->kind == EVENT_LOG && (l->deployment.v == 0 || l->deployment.v == e->deployment.v) &&
	       (name_empty(&l->app) || name_eq(&l->app, &e->app)) &&
	       (name_empty(&l->host) || name_eq(&l->host, &e->host)) &&
	       (l->grep[0] == '\0' || strstr(e->text, l->grep) != NULL);
}

/* NULL: the stream ends here, or the connection has had its share of this turn. */
static const struct event *next_event(struct admin_conn *c, bool *at_end)
{
	uint64_t missed;
	*at_end = false;
	if (!admin_may_look(c))
		return NULL;
	const struct event *e = events_after(c->admin->config.events, c->seen_event, &missed);
	*at_end = e == NULL || ((c->ends || c->logs->last) && e->number > c->until);
	if (*at_end)
		return NULL;
	if (missed && c->seen_event && !c->logs->last)
		admin_send_gap(c);
	c->seen_event = e->number;
	return e;
}

/* True when it is known where to begin. */
static bool find_begin(struct admin_conn *c)
{
	struct admin_logs *l = c->logs;
	const struct event *e;
	bool at_end;
	while ((e = next_event(c, &at_end)) != NULL)
		if (is_wanted(l, e))
			l->last[l->found++ % l->limit] = e->number;
	if (!at_end)
		return false;
	if (l->found > 0)
		c->seen_event = l->last[l->found > l->limit ? l->found % l->limit : 0] - 1;
	l->last = NULL;
	return true;
}

/* True when all there is was sent. */
static bool send_lines(struct admin_conn *c)
{
	const struct event *e;
	bool at_end = false;
	int sent = 0;
	while (!c->closing && !admin_backlogged(c) && sent < LINES_PER_TICK &&
	       (e = next_event(c, &at_end)) != NULL) {
		if (!is_wanted(c->logs, e))
			continue;
		admin_send_event(c, e);
		sent++;
	}
	c->told_gap = c->told_gap && !at_end;
	return at_end;
}

void admin_logs_tick(struct admin_conn *c)
{
	if (c->logs->last && !find_begin(c))
		return;
	if (send_lines(c) && c->ends && !c->closing)
		admin_done_rollout(c, 0, c->logs->deployment, 0, "");
}

/* All of an application, or one rollout: from which time on. */
static bool choose(struct admin_conn *c, struct admin_logs *l, struct wall_ms *from)
{
	const Admin__RolloutArgs *args = c->request->rollout;
	struct deployment d;
	struct app app;
	*from = (struct wall_ms){0};
	if (args->app[0] && !args->env[0]) {
		if (!admin_need_app(c, args->app, &app))
			return false;
		l->app = app.name;
		return true;
	}
	if (!admin_need_rollout(c, args, &d))
		return false;
	l->deployment = d.id;
	*from = d.created_at;
	return true;
}

static void set_limit(struct admin_conn *c, struct admin_logs *l, uint32_t limit)
{
	l->limit = limit < LIMIT_MAX ? limit : LIMIT_MAX;
	if (limit > 0)
		l->last = arena_array(&c->arena, uint64_t, l->limit);
}

void admin_logs(struct admin_conn *c)
{
	const Admin__RolloutArgs *args = c->request->rollout;
	struct admin_logs *l = arena_new(&c->arena, struct admin_logs);
	struct wall_ms from, now = ADMIN_OPS(c)->now(ADMIN_B(c));
	struct host host;
	if (!choose(c, l, &from))
		return;
	if (args->host[0] && !admin_need_host(c, args->host, &host))
		return;
	if (args->host[0])
		l->host = host.name;
	l->grep = args->grep;
	if (args->since_ms > 0 && args->since_ms < (uint64_t)now.v)
		from.v = now.v - (int64_t)args->since_ms > from.v ? now.v - (int64_t)args->since_ms : from.v;
	set_limit(c, l, args->limit);
	c->logs = l;
	c->ends = !args->follow;
	c->until = events_newest(c->admin->config.events);
	bool goes_on = args->cursor > 0 && args->cursor <= c->until;
	c->seen_event = goes_on ? args->cursor : events_before(c->admin->config.events, from);
	c->watching = true;
	admin_watch_tick(c);
}
