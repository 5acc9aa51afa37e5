/*
 * link.c: a host's connection in simulation. The messages are the real bytes. Latency is random; a cut loses
 * what is on its way, and each side notices by its own timeout. One poll and one report are outstanding at
 * most, as on the wire.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/wire.h"
#include "base/err.h"
#include "proto/envelope.h"
#include "tests/sim/fleet/host_internal.h"
#include "tests/sim/fleet/sim.h"

enum {
	POLL_WAIT_MS = 25000,
	REQUEST_TIMEOUT_MS = 10000,
	JITTER_BASE_MS = 500,
	JITTER_CAP_MS = 60000,
	REFERRED_CAP_MS = 10000,
	REPORT_CHUNKS = 16
};
enum request_kind { REQUEST_HELLO = 1, REQUEST_POLL, REQUEST_REPORT };

/* A message on its way to the coordinator. */
struct flight {
	struct sim_host *h;
	size_t node;
	uint64_t session;
	struct token token;
	struct buf bytes;
};

static void flight_free(void *arg)
{
	struct flight *f = arg;
	buf_done(&f->bytes);
	free(f);
}

static int64_t latency(struct sim_host *h)
{
	return rng_range(&h->w->rng, 1, 40);
}

static void arrive_cb(void *arg)
{
	struct flight *f = arg;
	struct sim_host *h = f->h;
	if (!h->cut && h->session == f->session && coordinator_node_up(h->c, f->node))
		coordinator_request(h->c, f->node, f->token, f->bytes.data, f->bytes.len);
	flight_free(f);
}

static void send(struct sim_host *h, enum request_kind kind, envelope *e, struct arena *a)
{
	struct flight *f = calloc(1, sizeof *f);
	PRE(f != NULL);
	*f = (struct flight){.h = h, .node = h->node, .session = h->session, .token = {h->session, kind}};
	e->version = ENVELOPE_VERSION;
	e->request_id = ++h->requests;
	e->boot_id = id128_bytes(a, 1, h->boots);
	e->cluster_id = id128_bytes(a, SIM_CLUSTER_HI, SIM_CLUSTER_LO);
	envelope_encode(&f->bytes, e);
	world_at_owning(h->w, latency(h), arrive_cb, f, flight_free);
}

/* ---- down and up
 * ----------------------------------------------------------------------------------------------------------
 */

static void dial_next(struct sim_host *h)
{
	h->node = (h->node + 1) % coordinator_nodes(h->c);
	host_connect_later(h);
}

static void no_answer(struct sim_host *h)
{
	host_disconnect(h);
	if (h->agent_up)
		dial_next(h);
}

static void no_poll_cb(void *arg)
{
	struct sim_host *h = arg;
	h->poll_timeout = NULL;
	no_answer(h);
}

static void no_report_cb(void *arg)
{
	struct sim_host *h = arg;
	h->report_timeout = NULL;
	no_answer(h);
}

void host_disconnect(struct sim_host *h)
{
	world_cancel(h->w, h->poll_timeout);
	world_cancel(h->w, h->report_timeout);
	world_cancel(h->w, h->beat);
	h->poll_timeout = h->report_timeout = h->beat = NULL;
	h->polling = h->reporting = false;
	if (h->session != 0)
		coordinator_session_closed(h->c, h->node, h->session);
	h->session = 0;
}

static void hello(struct sim_host *h)
{
	struct arena a;
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Hello m = WAVETRAIN__AGENT__HELLO__INIT;
	arena_init(&a);
	m.agent_version = arena_strdup(&a, "sim");
	m.protocol_min = m.protocol_max = 1;
	m.generation = h->generation;
	m.machine_id = arena_strdup(&a, h->name.s);
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_HELLO;
	e.hello = &m;
	send(h, REQUEST_HELLO, &e, &a);
	h->report_timeout = world_at(h->w, REQUEST_TIMEOUT_MS, no_report_cb, h);
	h->reporting = true;
	arena_done(&a);
}

struct dial {
	struct sim_host *h;
	uint64_t life;
};

static void dial_cb(void *arg)
{
	struct dial *d = arg;
	struct sim_host *h = d->h;
	bool mine = h->agent_up && d->life == h->life && h->session == 0;
	free(d);
	if (!mine)
		return;
	if (h->cut || !coordinator_node_up(h->c, h->node)) {
		h->attempts++;
		dial_next(h);
		return;
	}
	h->session = sim_next_session(h);
	coordinator_session_opened(h->c, h->node, h->session, &h->name, h->generation);
	if (h->session != 0)
		hello(h);
}

static void connect_in(struct sim_host *h, int64_t ms)
{
	struct dial *d = malloc(sizeof *d);
	PRE(d != NULL);
	*d = (struct dial){h, h->life};
	world_at_owning(h->w, ms, dial_cb, d, free);
}

void host_connect_later(struct sim_host *h)
{
	connect_in(h, 1 + rng_full_jitter_ms(&h->w->rng, h->attempts, JITTER_BASE_MS, JITTER_CAP_MS));
}

void sim_host_dropped(struct sim_host *h, uint64_t session)
{
	if (h->session != session)
		return;
	host_disconnect(h);
	h->attempts++;
	if (h->agent_up)
		dial_next(h);
}

/* As agent/link/link.c: at once where a leader is named, else the next of the list, later each time. */
static void go_to_leader(struct sim_host *h, const Wavetrain__Agent__Problem *p)
{
	size_t leader;
	bool named = sscanf(p->leader, "c%zu:1", &leader) == 1;
	host_disconnect(h);
	int64_t wait = named ? rng_full_jitter_ms(&h->w->rng, h->referred++, JITTER_BASE_MS, REFERRED_CAP_MS)
			     : rng_full_jitter_ms(&h->w->rng, h->attempts++, JITTER_BASE_MS, JITTER_CAP_MS);
	h->node = (named ? leader - 1 : h->node + 1) % coordinator_nodes(h->c);
	connect_in(h, 1 + (int64_t)p->retry_after_ms + wait);
}

void sim_host_cut(struct sim_host *h, bool cut)
{
	if (h->cut != cut)
		world_say(h->w, "%s: link %s", h->name.s, cut ? "cut" : "healed");
	h->cut = cut;
}

/* ---- poll: the parked question and the heartbeat
 * -------------------------------------------------------------------------- */

/* As wavetrain-agent says it: what never was healthy since its start is starting, what died is unhealthy. */
static Wavetrain__Agent__Health health_of(struct sim_host *h)
{
	if (digest_none(&h->running))
		return h->died ? WAVETRAIN__AGENT__HEALTH__HEALTH_UNHEALTHY
			       : WAVETRAIN__AGENT__HEALTH__HEALTH_STOPPED;
	if (sim_host_healthy(h)) {
		h->was_healthy = true;
		return WAVETRAIN__AGENT__HEALTH__HEALTH_HEALTHY;
	}
	return h->was_healthy ? WAVETRAIN__AGENT__HEALTH__HEALTH_UNHEALTHY
			      : WAVETRAIN__AGENT__HEALTH__HEALTH_STARTING;
}

static Wavetrain__Agent__AppStatus *status(struct sim_host *h, struct arena *a)
{
	Wavetrain__Agent__AppStatus *s = arena_new(a, Wavetrain__Agent__AppStatus);
	const struct agent_app *p = agent_find(&h->agent, &h->app);
	bool healthy = sim_host_healthy(h);
	wavetrain__agent__app_status__init(s);
	s->app = arena_strdup(a, h->app.s);
	s->target = digest_bytes(a, &h->running);
	s->health = health_of(h);
	s->healthy_for_ms = healthy ? (uint64_t)(h->w->now_ms - h->started_at) : 0;
	s->seq = p == NULL ? 0 : p->rec.work.seq;
	s->step = p == NULL ? 0 : (uint32_t)agent_step_of(&p->rec);
	s->note = arena_strdup(a, "");
	s->fault_ms = p == NULL ? 0 : (uint64_t)agent_fault_ms(&p->rec, (struct mono_ms){host_mono(h)});
	s->fault_lasts = p != NULL && p->rec.fault_since_ms != 0;
	s->in_rotation = h->in_rotation;
	return s;
}

static void poll_now(struct sim_host *h)
{
	struct arena a;
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Poll m = WAVETRAIN__AGENT__POLL__INIT;
	Wavetrain__Agent__AppStatus *apps[1];
	if (h->session == 0 || h->log_id == 0)
		return;
	arena_init(&a);
	apps[0] = status(h, &a);
	m.log_id = h->log_id;
	m.after_seq = h->agent.after_seq;
	m.wait_ms = POLL_WAIT_MS;
	m.apps = apps;
	m.n_apps = 1;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_POLL;
	e.poll = &m;
	send(h, REQUEST_POLL, &e, &a);
	h->poll_id = h->requests;
	world_cancel(h->w, h->poll_timeout);
	h->poll_timeout = world_at(h->w, POLL_WAIT_MS + REQUEST_TIMEOUT_MS, no_poll_cb, h);
	h->polling = true;
	arena_done(&a);
}

/* A change of what runs is told at once: the coordinator answers the parked poll and the next one carries the
 * news. */
static void beat_cb(void *arg)
{
	struct sim_host *h = arg;
	h->beat = NULL;
	if (!h->reporting) /* as the agent: first what it has done, then how it is; the answer comes back here
			    */
		poll_now(h);
}

void sim_host_poke(struct sim_host *h)
{
	if (h->session == 0)
		return;
	world_cancel(h->w, h->beat);
	h->beat = world_at(h->w, 1, beat_cb, h);
}

/* ---- report
 * ----------------------------------------------------------------------------------------------------------------
 */

void host_report(struct sim_host *h)
{
	struct arena a;
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Report m = WAVETRAIN__AGENT__REPORT__INIT;
	if (h->session == 0 || h->reporting || h->acked == h->spooled)
		return;
	arena_init(&a);
	ProtobufCAllocator alloc = arena_allocator(&a);
	m.chunks = arena_array(&a, Wavetrain__Agent__Chunk *, REPORT_CHUNKS);
	for (uint64_t n = h->acked + 1; n <= h->spooled && m.n_chunks < REPORT_CHUNKS; n++) {
		const struct host_chunk *c = &h->chunks[n % HOST_CHUNKS];
		m.chunks[m.n_chunks++] = wavetrain__agent__chunk__unpack(&alloc, c->n, c->p);
	}
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT;
	e.report = &m;
	send(h, REQUEST_REPORT, &e, &a);
	h->reporting = true;
	world_cancel(h->w, h->report_timeout);
	h->report_timeout = world_at(h->w, REQUEST_TIMEOUT_MS, no_report_cb, h);
	arena_done(&a);
}

/* ---- answers
 * ---------------------------------------------------------------------------------------------------------------
 */

struct reply {
	struct sim_host *h;
	uint64_t session;
	bool replay; /* a copy that comes long after, from whatever session it was */
	struct buf bytes;
};

static void on_desired(struct sim_host *h, struct arena *a, const envelope *e)
{
	const Wavetrain__Agent__Desired *m = e->desired;
	struct wire_desired d;
	struct err err;
	bool newest = e->request_id == h->poll_id; /* an overtaken poll is answered too, and says nothing */
	if (newest) {
		world_cancel(h->w, h->poll_timeout);
		h->poll_timeout = NULL;
		h->polling = false;
	}
	if (wire_desired_decode(a, m, &d, &err) != E_OK) {
		world_violation(h->w, "%s: an answer that breaks the protocol: %s", h->name.s, err.text);
		return;
	}
	struct agent_event ev = {.kind = AGENT_DESIRED, .now = {host_mono(h)}};
	ev.desired.v = d.assignments;
	ev.desired.nr = d.nr;
	ev.desired.up_to_seq = d.up_to_seq;
	ev.desired.snapshot = d.snapshot;
	if (d.nr > 0)
		host_step(h, &ev);
	if (newest)
		sim_host_poke(h);
}

static void answered(struct sim_host *h)
{
	world_cancel(h->w, h->report_timeout);
	h->report_timeout = NULL;
	h->reporting = false;
}

static void on_reply(struct sim_host *h, struct arena *a, const envelope *e)
{
	int body = (int)e->body_case;
	if (body == WAVETRAIN__AGENT__ENVELOPE__BODY_WELCOME) {
		answered(h);
		h->log_id = e->welcome->log_id;
		h->attempts = h->referred = 0;
		host_report(h);
		if (!h->reporting)
			sim_host_poke(h);
	} else if (body == WAVETRAIN__AGENT__ENVELOPE__BODY_DESIRED) {
		on_desired(h, a, e);
	} else if (body == WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT_ACK) {
		answered(h);
		if (e->report_ack->acked_chunk > h->acked)
			h->acked = e->report_ack->acked_chunk;
		host_report(h);
		if (!h->reporting) /* all is told: now what it changed, as the agent does (decision 0009) */
			sim_host_poke(h);
	} else if (body == WAVETRAIN__AGENT__ENVELOPE__BODY_PROBLEM &&
		   strcmp(e->problem->code, err_name(E_NOT_LEADER)) == 0) {
		go_to_leader(h, e->problem);
	} else {
		answered(h);
		sim_host_dropped(h, h->session);
	}
}

static void reply_free(void *arg)
{
	struct reply *r = arg;
	buf_done(&r->bytes);
	free(r);
}

/* Of old frames only desired state is worth replaying: it is what a fence is for. */
static void take_reply(struct reply *r, struct arena *a)
{
	struct sim_host *h = r->h;
	const envelope *e = envelope_decode(a, r->bytes.data, r->bytes.len);
	if (e == NULL)
		world_violation(h->w, "%s: an answer that is no envelope", h->name.s);
	else if (!r->replay || e->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_DESIRED)
		on_reply(h, a, e);
}

static void reply_cb(void *arg)
{
	struct reply *r = arg;
	struct sim_host *h = r->h;
	struct arena a;
	arena_init(&a);
	if (h->agent_up && !h->cut && (r->replay || h->session == r->session))
		take_reply(r, &a);
	arena_done(&a);
	reply_free(r);
}

static void reply_later(struct sim_host *h, uint64_t session, const uint8_t *p, size_t n, int64_t delay_ms,
			bool replay)
{
	struct reply *r = calloc(1, sizeof *r);
	PRE(r != NULL);
	*r = (struct reply){.h = h, .session = session, .replay = replay};
	buf_put(&r->bytes, p, n);
	world_at_owning(h->w, delay_ms, reply_cb, r, reply_free);
}

void sim_host_answer(struct sim_host *h, uint64_t session, const uint8_t *p, size_t n)
{
	enum { REPLAY_MOST_MS = 300000 };
	reply_later(h, session, p, n, latency(h), false);
	if (h->replays && rng_chance(&h->w->rng, 200))
		reply_later(h, session, p, n, rng_range(&h->w->rng, 1, REPLAY_MOST_MS), true);
}
