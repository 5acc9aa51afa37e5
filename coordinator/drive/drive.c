#include "coordinator/drive/internal.h"

#include <stdio.h>
#include <stdlib.h>

struct drive *drive_new(const struct drive_config *cfg, const struct drive_ports *ports, struct state *st,
			struct events *ev)
{
	struct drive *d = calloc(1, sizeof *d);
	PRE(d != NULL);
	d->cfg = *cfg;
	d->ports = *ports;
	d->st = st;
	d->events = ev;
	fleet_init(&d->fleet);
	arena_init(&d->arena);
	arena_init(&d->coordinator_strings);
	return d;
}

void drive_free(struct drive *d)
{
	if (d == NULL)
		return;
	rollouts_free(d);
	fleet_done(&d->fleet);
	arena_done(&d->arena);
	arena_done(&d->coordinator_strings);
	free(d);
}

void drive_lead(struct drive *d, struct wall_ms now)
{
	d->leads = true;
	d->leading_since = now;
	rollouts_load(d);
	join_look(d, now);
	arena_reset(&d->arena);
}

void drive_unlead(struct drive *d)
{
	d->leads = false;
	refer_parked(d);
	arena_reset(&d->arena);
}

bool drive_leads(const struct drive *d)
{
	return d->leads;
}

static void note_host(struct drive *d, const struct name *host, const char *to, const char *text,
		      struct wall_ms now)
{
	struct event e = {.at = now, .kind = EVENT_HOST, .host = *host};
	snprintf(e.to, sizeof e.to, "%s", to);
	snprintf(e.text, sizeof e.text, "%s", text);
	events_add(d->events, &e);
}

void drive_session_opened(struct drive *d, uint64_t session, const struct name *host, uint64_t generation,
			  struct wall_ms now)
{
	struct host row;
	const char *why = NULL;
	if (view_host(d->st, &d->arena, host, &row) != E_OK || row.removed)
		why = "this host is not part of the fleet";
	else if (generation != row.generation)
		why = "the certificate is of another generation of this host: make a new bundle";
	if (why != NULL) {
		note_host(d, host, "REFUSED", why, now);
		d->ports.drop(d->ports.arg, session, why);
	} else {
		fleet_bind(&d->fleet, fleet_get(&d->fleet, host), session, now);
	}
	arena_reset(&d->arena);
}

void drive_session_closed(struct drive *d, uint64_t session, struct wall_ms now)
{
	struct fleet_host *h = fleet_by_session(&d->fleet, session);
	if (h == NULL)
		return;
	if (h->greeted)
		note_host(d, &h->name, "DISCONNECTED", "", now);
	fleet_unbind(&d->fleet, h);
}

/* A host whose disk was emptied numbers its chunks from 1 again: what was acknowledged to its past says
 * nothing. */
static void know_spool(struct fleet_host *h, const Wavetrain__Agent__Hello *hello)
{
	uint64_t hi, lo;
	if (!bytes_id128(hello->spool_id, &hi, &lo) || (hi == h->spool_hi && lo == h->spool_lo))
		return;
	h->spool_hi = hi;
	h->spool_lo = lo;
	h->acked_chunk = 0;
}

static void on_hello(struct drive *d, struct fleet_host *h, struct token t, const envelope *e,
		     struct wall_ms now)
{
	const Wavetrain__Agent__Hello *hello = e->hello;
	if (hello->protocol_min > 1 || hello->protocol_max < 1) {
		dispatch_problem(d, t, e->request_id, err_name(E_VERSION),
				 "this coordinator speaks protocol 1 only");
		return;
	}
	know_spool(h, hello);
	envelope out = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Welcome w = WAVETRAIN__AGENT__WELCOME__INIT;
	w.protocol = 1;
	w.log_id = d->cfg.log_id;
	w.poll_wait_ms = d->cfg.poll_wait_ms;
	w.acked_chunk = h->acked_chunk;
	refer_welcome(d, &w);
	out.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_WELCOME;
	out.welcome = &w;
	if (!h->greeted)
		note_host(d, &h->name, "CONNECTED", "", now);
	h->greeted = true;
	snprintf(h->agent_version, sizeof h->agent_version, "%s", hello->agent_version);
	d->ports.trust(d->ports.arg, t.session);
	dispatch_answer(d, t, e->request_id, &out);
}

static bool of_this_cluster(const struct drive *d, const envelope *e)
{
	uint64_t hi, lo;
	return bytes_id128(e->cluster_id, &hi, &lo) && hi == d->cfg.cluster_hi && lo == d->cfg.cluster_lo;
}

static void on_body(struct drive *d, struct fleet_host *h, struct token t, const envelope *e,
		    struct wall_ms now)
{
	int body = (int)e->body_case;
	bool hello = body == WAVETRAIN__AGENT__ENVELOPE__BODY_HELLO;
	if (!d->leads && (hello || body == WAVETRAIN__AGENT__ENVELOPE__BODY_POLL ||
			  body == WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT))
		refer_request(d, h, t, e);
	else if (hello)
		on_hello(d, h, t, e, now);
	else if (!h->greeted)
		d->ports.drop(d->ports.arg, t.session, "spoke before saying hello");
	else if (body == WAVETRAIN__AGENT__ENVELOPE__BODY_POLL)
		dispatch_poll(d, h, t, e, now);
	else if (body == WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT)
		ingest_report(d, h, t, e, now);
	else
		d->ports.drop(d->ports.arg, t.session, "sent a message that only coordinators send");
}

void drive_request(struct drive *d, struct token t, const uint8_t *p, size_t n, struct wall_ms now)
{
	struct fleet_host *h = fleet_by_session(&d->fleet, t.session);
	const envelope *e = h == NULL ? NULL : envelope_decode(&d->arena, p, n);
	if (h == NULL) {
		d->ports.drop(d->ports.arg, t.session, "no session");
	} else if (e == NULL) {
		d->ports.drop(d->ports.arg, t.session, "sent what is not an envelope of protocol 1");
	} else if (!of_this_cluster(d, e)) {
		d->ports.drop(d->ports.arg, t.session, "belongs to another cluster");
	} else {
		h->last_seen = now;
		on_body(d, h, t, e, now);
	}
	arena_reset(&d->arena);
}

static enum event_kind event_of(enum change_kind k)
{
	return k == CHANGE_DEPLOYMENT ? EVENT_ROLLOUT
	       : k == CHANGE_WAVE     ? EVENT_WAVE
	       : k == CHANGE_TASK     ? EVENT_TASK
				      : 0;
}

static const struct sm *machine_of(enum change_kind k)
{
	return k == CHANGE_DEPLOYMENT ? &rollout_machine : k == CHANGE_WAVE ? &wave_machine : &task_machine;
}

/* Told once for each assignment: a host that says it again and again does not push everything else out of the
 * events. */
static void tell_ignored(struct drive *d, const struct change *c, struct wall_ms now)
{
	struct fleet_host *h = fleet_find(&d->fleet, &c->host);
	struct event e = {.at = now,
			  .kind = EVENT_HOST,
			  .deployment = c->deployment,
			  .host = c->host,
			  .to = "IGNORED",
			  .trace = c->trace};
	if (h == NULL || (h->ignored.v == c->deployment.v && h->ignored_seq == c->seq))
		return;
	h->ignored = c->deployment;
	h->ignored_seq = c->seq;
	snprintf(e.text, sizeof e.text, "%s of assignment %llu counts for nothing: %s",
		 sm_name(&task_machine, c->to), (unsigned long long)c->seq, c->reason);
	events_add(d->events, &e);
}

static void tell(struct drive *d, const struct change *c, struct wall_ms now)
{
	struct event e = {.at = now,
			  .kind = event_of(c->kind),
			  .deployment = c->deployment,
			  .app = c->app,
			  .host = c->host,
			  .wave = c->wave};
	if (e.kind == 0 || c->from == c->to)
		return;
	e.trace = c->trace;
	snprintf(e.from, sizeof e.from, "%s", c->from == 0 ? "" : sm_name(machine_of(c->kind), c->from));
	snprintf(e.to, sizeof e.to, "%s", sm_name(machine_of(c->kind), c->to));
	snprintf(e.text, sizeof e.text, "%s", c->reason == NULL ? "" : c->reason);
	events_add(d->events, &e);
}

static void on_host_change(struct drive *d, const struct name *name)
{
	struct host row;
	struct fleet_host *h = fleet_find(&d->fleet, name);
	bool live = view_host(d->st, &d->arena, name, &row) == E_OK && !row.removed;
	if (!live && h != NULL) {
		if (h->session != 0)
			d->ports.drop(d->ports.arg, h->session, "removed from the fleet");
		fleet_forget(&d->fleet, name);
	}
	/* Who subscribed to hints has no session here. And one that was just added has no certificate yet. */
	if (d->ports.revoke != NULL)
		d->ports.revoke(d->ports.arg, name);
	if (live)
		join_host(d, name);
}

void drive_changed(struct drive *d, const struct changes *ch, struct wall_ms now)
{
	for (size_t i = 0; i < ch->nr; i++) {
		const struct change *c = &ch->v[i];
		tell(d, c, now);
		if (c->kind == CHANGE_RESULT_IGNORED)
			tell_ignored(d, c, now);
		if (c->kind == CHANGE_PLACEMENT)
			dispatch_host(d, &c->host);
		if (c->kind == CHANGE_HOST)
			on_host_change(d, &c->host);
		if (d->leads &&
		    (c->kind == CHANGE_DEPLOYMENT || c->kind == CHANGE_WAVE || c->kind == CHANGE_TASK))
			rollouts_touch(d, c->deployment);
	}
	hints_send(d, ch);
	arena_reset(&d->arena);
}

static int64_t earliest(int64_t a, int64_t b)
{
	return a == 0 ? b : b == 0 ? a : a < b ? a : b;
}

struct wall_ms drive_tick(struct drive *d, struct wall_ms now)
{
	enum { AT_LEAST_EVERY_MS = 1000 }; /* silence grows without any event: look at it now and then */
	int64_t next = dispatch_expire(d, now);
	if (d->leads)
		next = earliest(next, earliest(rollouts_run(d, now), join_run(d, now)));
	arena_reset(&d->arena);
	next = earliest(next, now.v + AT_LEAST_EVERY_MS);
	return (struct wall_ms){next <= now.v ? now.v + 1 : next};
}

const struct fleet_host *drive_host(struct drive *d, const struct name *host)
{
	return fleet_find(&d->fleet, host);
}
