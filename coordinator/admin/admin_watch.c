#include "base/sm.h"
#include "coordinator/admin/admin_conn.h"
#include "coordinator/state/machines.h"

enum { VIEW_MS = 1000, EVENTS_PER_TICK = 1000 };

static void send_event(struct admin_conn *c, const struct admin_ring_event *e)
{
	Admin__Event event = ADMIN__EVENT__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	char id[DEPLOYMENT_ID_CAP];
	event.cursor = e->cursor;
	event.at_ms = e->at.v;
	event.kind = admin_str(change_kind_name(e->kind));
	event.app = admin_str(e->app.s);
	event.host = admin_str(e->host.s);
	if (e->deployment.v)
		event.deployment = admin_str(deployment_id_text(e->deployment, id));
	event.wave = e->wave;
	event.has_wave = e->kind == CHANGE_WAVE || e->kind == CHANGE_TASK;
	event.from = admin_str(change_state_name(e->kind, e->from));
	event.to = admin_str(change_state_name(e->kind, e->to));
	event.reason = admin_str(e->reason);
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
	event.reason = admin_str("older events are gone; what follows begins later");
	event.at_ms = ADMIN_OPS(c)->now(ADMIN_B(c)).v;
	reply.body_case = ADMIN__REPLY__BODY_EVENT;
	reply.event = &event;
	admin_reply(c, &reply);
}

static bool wanted(const struct admin_conn *c, const struct admin_ring_event *e)
{
	return c->whole_stream || e->deployment.v == c->watched.v;
}

/* True when the ring is read to its end. */
static bool send_events(struct admin_conn *c)
{
	for (int i = 0; i < EVENTS_PER_TICK; i++) {
		const struct admin_ring_event *e = admin_ring_get(&c->admin->ring, c->next_event);
		if (!e)
			return true;
		if (e->number > c->next_event)
			send_reset(c);
		c->next_event = e->number + 1;
		if (wanted(c, e))
			send_event(c, e);
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
	admin_send_rollout(c, admin_rollout_view(c, &d));
	if (terminal && !c->closing)
		end_watch(c, &d);
}

void admin_watch_tick(struct admin_conn *c)
{
	bool all = send_events(c);
	if (!c->whole_stream && all && !c->closing)
		tick_rollout(c);
}

void admin_watch_start(struct admin_conn *c, const struct deployment *d, uint64_t cursor)
{
	bool reset = false;
	c->watched = d->id;
	c->next_event = cursor ? admin_ring_after(&c->admin->ring, cursor, &reset) : c->admin->ring.next;
	c->last_view_ms = INT64_MIN / 2;
	c->watching = true;
	if (reset)
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
	bool reset = false;
	c->whole_stream = true;
	c->next_event = admin_ring_after(&c->admin->ring, args->cursor, &reset);
	if (reset && args->cursor)
		send_reset(c);
	if (args->follow) {
		c->watching = true;
		admin_watch_tick(c);
		return;
	}
	while (!send_events(c) && !c->closing)
		;
	admin_done(c, 0, "%s", "");
}
