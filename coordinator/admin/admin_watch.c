#include "base/sm.h"
#include "coordinator/admin/admin_conn.h"
#include "coordinator/state/machines.h"

enum { VIEW_MS = 1000, EVENTS_PER_TICK = 2000 };

void admin_send_event(struct admin_conn *c, const struct event *e)
{
	Admin__Event event = ADMIN__EVENT__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	char id[DEPLOYMENT_ID_CAP];
	event.cursor = e->number;
	event.at_ms = e->at.v;
	event.kind = admin_str(event_kind_name(e->kind));
	event.app = admin_str(e->app.s);
	event.host = admin_str(e->host.s);
	event.region = admin_str(e->region.s);
	if (e->deployment.v)
		event.deployment = admin_str(deployment_id_text(e->deployment, id));
	event.wave = e->wave;
	event.has_wave = e->kind == EVENT_WAVE || e->kind == EVENT_TASK;
	event.from = admin_str(e->from);
	event.to = admin_str(e->to);
	event.reason = admin_str(e->text);
	reply.body_case = ADMIN__REPLY__BODY_EVENT;
	reply.event = &event;
	admin_reply(c, &reply);
}

static void send_reset(struct admin_conn *c)
{
	Admin__Event event = ADMIN__EVENT__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	event.reset = true;
	event.kind = admin_str("reset");
	event.reason = admin_str("some in between are not kept here any more; what follows begins later");
	event.at_ms = ADMIN_OPS(c)->now(ADMIN_B(c)).v;
	reply.body_case = ADMIN__REPLY__BODY_EVENT;
	reply.event = &event;
	admin_reply(c, &reply);
}

static bool wanted(const struct admin_conn *c, const struct event *e)
{
	return c->whole_stream || e->deployment.v == c->watched.v;
}

void admin_send_gap(struct admin_conn *c)
{
	if (!c->told_gap)
		send_reset(c);
	c->told_gap = true;
}

bool admin_backlogged(const struct admin_conn *c)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&c->pipe) > ADMIN_BACKLOG_WAIT;
}

/* Sends a bounded number of events. True when the last one there is has been sent; false when more are left
 * for the next tick. */
static bool send_events(struct admin_conn *c)
{
	for (int i = 0; i < EVENTS_PER_TICK && !c->closing && !admin_backlogged(c) && admin_may_look(c);
	     i++) {
		uint64_t missed;
		const struct event *e = events_after(c->admin->config.events, c->seen_event, &missed);
		if (!e || (c->ends && e->number > c->until)) {
			c->told_gap = false;
			return true;
		}
		if (missed && c->seen_event)
			admin_send_gap(c);
		c->seen_event = e->number;
		if (!wanted(c, e))
			continue;
		c->dirty = true;
		admin_send_event(c, e);
	}
	return false;
}

/* A view of 5000 hosts is large: it is sent less often, so that a watcher costs the loop a bounded share. */
static bool view_due(struct admin_conn *c, uint32_t hosts)
{
	int64_t since = admin_loop_ms(c->admin) - c->last_view_ms;
	int64_t interval = c->dirty ? ADMIN_TICK_MS : VIEW_MS;
	return since >= interval + hosts / 10;
}

static void end_watch(struct admin_conn *c, const struct deployment *d)
{
	admin_done_rollout(c, admin_rollout_exit(d, false), d->id, 0, admin_str(d->reason));
}

static void tick_rollout(struct admin_conn *c)
{
	struct deployment d;
	arena_reset(&c->arena);
	if (view_deployment(ADMIN_STATE(c), &c->arena, c->watched, &d) != E_OK) {
		admin_fail(c, E_NOT_FOUND, "see wavetrain list", "the rollout is not in the state any more");
		return;
	}
	bool terminal = sm_terminal(&rollout_machine, (int)d.state);
	if (!terminal && !view_due(c, d.hosts_nr))
		return;
	c->dirty = false;
	c->last_view_ms = admin_loop_ms(c->admin);
	Admin__Rollout *r = admin_rollout_view(c, &d);
	if (terminal)
		admin_seen(c, &d, r);
	admin_send_rollout(c, r);
	if (terminal && !c->closing)
		end_watch(c, &d);
}

/* However many watch and search, the loop gives them so many looks a tick: each an equal share of what those
 * before it left. */
bool admin_may_look(struct admin_conn *c)
{
	if (c->looks == 0)
		return false;
	c->looks--;
	c->admin->looks--;
	return true;
}

void admin_watch_tick(struct admin_conn *c)
{
	const struct admin *a = c->admin;
	c->looks = a->looks / (a->watchers > 0 ? a->watchers : 1);
	if (c->logs) {
		admin_logs_tick(c);
		return;
	}
	bool all = send_events(c);
	if (!c->whole_stream && all && !c->closing)
		tick_rollout(c);
	if (c->ends && all && !c->closing)
		admin_done(c, 0, "%s", "");
}

void admin_watch_start(struct admin_conn *c, const struct deployment *d, uint64_t cursor)
{
	uint64_t newest = events_newest(c->admin->config.events);
	/* A cursor from the future is one of another coordinator or of a life before: begin at what is new
	 * here. */
	c->seen_event = cursor && cursor <= newest ? cursor : newest;
	c->watched = d->id;
	c->last_view_ms = INT64_MIN / 2;
	c->watching = true;
	if (cursor > newest)
		send_reset(c);
	admin_watch_tick(c);
}

void admin_watch(struct admin_conn *c)
{
	struct deployment d;
	if (admin_need_rollout(c, c->request->rollout, &d))
		admin_watch_start(c, &d, c->request->rollout->cursor);
}

void admin_events(struct admin_conn *c)
{
	const Admin__RolloutArgs *args = c->request->rollout;
	bool future = args->cursor > events_newest(c->admin->config.events);
	c->whole_stream = true;
	c->seen_event = future ? 0 : args->cursor;
	c->ends = !args->follow;
	c->until = events_newest(c->admin->config.events);
	if (future)
		send_reset(c);
	c->watching = true;
	admin_watch_tick(c);
}
