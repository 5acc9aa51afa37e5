/*
 * talk.c: the agent's side of docs/protocol.md, as much as a deployment needs: Hello, polls, Accepted,
 * Result. Instead of doing the work an agent says at once that it is done, with evidence. Steps and log lines
 * are not sent.
 */
#include <string.h>
#include <time.h>

#include "proto/envelope.h"
#include "proto/sp.h"
#include "tests/bench/fleet.h"

/* TASK_* of coordinator/state/model.h as the wire says them; the agent's own core spells them out too. */
enum { WIRE_ACKED = 3, WIRE_HEALTHY = 9 };

static const uint8_t boot[16] = "bench-boot-id-16";

static void count_sent(struct agent *g, enum exchange x, size_t n)
{
	g->fleet->bytes[x].sent += n;
	g->fleet->bytes[x].count++;
}

/* Returns the bytes of the whole frame; the SP request's id in *id. */
static size_t ask(struct agent *g, envelope *e, uint32_t *id)
{
	struct fleet *f = g->fleet;
	uint8_t head[SP_REQUEST_HEAD_LEN], cluster[16];
	struct buf body;
	put_u64(cluster, f->cluster_hi);
	put_u64(cluster + 8, f->cluster_lo);
	e->version = ENVELOPE_VERSION;
	e->trace_id = id128_bytes(&f->arena, g->trace.hi, g->trace.lo);
	e->boot_id = (ProtobufCBinaryData){sizeof boot, (uint8_t *)(uintptr_t)boot};
	e->cluster_id = (ProtobufCBinaryData){sizeof cluster, cluster};
	e->request_id = ++g->request_id;
	*id = 0x80000000u | ++g->next_id;
	buf_init(&body);
	envelope_encode(&body, e);
	sp_request_head_encode(head, *id);
	buf_reset(&f->frame);
	sp_frame_encode(&f->frame, head, sizeof head, body.data, body.len);
	peer_send(&g->line, f->frame.data, f->frame.len);
	buf_done(&body);
	return f->frame.len;
}

static size_t poll_again(struct agent *g)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Poll p = WAVETRAIN__AGENT__POLL__INIT;
	Wavetrain__Agent__AppStatus s = WAVETRAIN__AGENT__APP_STATUS__INIT, *apps[] = {&s};
	p.log_id = g->log_id;
	p.after_seq = g->after_seq;
	p.wait_ms = 300000; /* the coordinator shortens it to its own */
	p.free_bytes = 1ull << 33;
	s.app = g->app.s;
	s.seq = g->seq;
	s.target = digest_bytes(&g->fleet->arena, &g->running);
	s.health = digest_none(&g->running) ? WAVETRAIN__AGENT__HEALTH__HEALTH_STARTING
					    : WAVETRAIN__AGENT__HEALTH__HEALTH_HEALTHY;
	s.healthy_for_ms = 1000;
	s.in_rotation = true;
	s.step = g->stage == STAGE_ACCEPTING ? WIRE_ACKED : 0;
	p.apps = apps;
	p.n_apps = name_empty(&g->app) ? 0 : 1;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_POLL;
	e.poll = &p;
	return ask(g, &e, &g->poll_id);
}

static size_t report(struct agent *g, Wavetrain__Agent__Chunk *c)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Report r = WAVETRAIN__AGENT__REPORT__INIT;
	Wavetrain__Agent__Chunk *chunks[] = {c};
	uint32_t id;
	c->number = ++g->chunk;
	c->app = g->app.s;
	c->seq = g->seq;
	c->deployment = g->deployment;
	c->trace_id = id128_bytes(&g->fleet->arena, g->trace.hi, g->trace.lo);
	c->at_wall_ms = (int64_t)time(NULL) * 1000;
	r.chunks = chunks;
	r.n_chunks = 1;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT;
	e.report = &r;
	return ask(g, &e, &id);
}

static void report_accepted(struct agent *g)
{
	Wavetrain__Agent__Chunk c = WAVETRAIN__AGENT__CHUNK__INIT;
	Wavetrain__Agent__Accepted a = WAVETRAIN__AGENT__ACCEPTED__INIT;
	c.what_case = WAVETRAIN__AGENT__CHUNK__WHAT_ACCEPTED;
	c.accepted = &a;
	g->stage = STAGE_ACCEPTING;
	count_sent(g, EXCHANGE_ACCEPTED, report(g, &c));
}

static void report_result(struct agent *g)
{
	Wavetrain__Agent__Chunk c = WAVETRAIN__AGENT__CHUNK__INIT;
	Wavetrain__Agent__Result r = WAVETRAIN__AGENT__RESULT__INIT;
	Wavetrain__Agent__Evidence v = WAVETRAIN__AGENT__EVIDENCE__INIT;
	v.target = digest_bytes(&g->fleet->arena, &g->target);
	v.boot_id = (ProtobufCBinaryData){sizeof boot, (uint8_t *)(uintptr_t)boot};
	v.activation = g->seq;
	v.activated_ms = 1000;
	v.measured_ms = 2000;
	v.passes = 3;
	r.state = WIRE_HEALTHY;
	r.reason = (char *)(uintptr_t) "";
	r.evidence = &v;
	r.running = v.target;
	c.what_case = WAVETRAIN__AGENT__CHUNK__WHAT_RESULT;
	c.result = &r;
	g->stage = STAGE_FINISHING;
	count_sent(g, EXCHANGE_RESULT, report(g, &c));
}

void talk_results(struct fleet *f)
{
	f->times.results_begun = stat_now_ns();
	for (size_t i = 0; i < f->nr; i++)
		if (f->agents[i].stage == STAGE_ACCEPTED)
			report_result(&f->agents[i]);
	arena_reset(&f->arena);
}

/* ---- what the coordinator says ---- */

static void on_welcome(struct agent *g, const Wavetrain__Agent__Welcome *w)
{
	g->log_id = w->log_id;
	g->chunk = w->acked_chunk;
	g->greeted = true;
	g->fleet->connected++;
	g->fleet->unfinished--;
	poll_again(g);
}

static void take(struct agent *g, const Wavetrain__Agent__Assignment *a)
{
	bool known = name_set(&g->app, a->app) && a->target != NULL &&
		     bytes_digest(a->target->id, &g->target) &&
		     bytes_id128(a->trace_id, &g->trace.hi, &g->trace.lo);
	if (!known)
		stat_die("%s: an assignment that an agent would refuse", g->host.s);
	g->seq = a->seq;
	g->deployment = a->deployment;
}

static void on_desired(struct agent *g, const Wavetrain__Agent__Desired *d, uint32_t id, size_t frame_len)
{
	struct fleet *f = g->fleet;
	bool current = id == g->poll_id;
	g->after_seq = d->up_to_seq > g->after_seq ? d->up_to_seq : g->after_seq;
	if (d->n_assignments == 0) {
		f->polls_answered_empty++;
		if (!current) /* of the poll before the status changed */
			f->bytes[EXCHANGE_STATUS].received += frame_len;
		else
			poll_again(g);
		return;
	}
	take(g, d->assignments[d->n_assignments - 1]);
	f->times.last_desired = stat_now_ns();
	if (f->times.desired++ == 0)
		f->times.first_desired = f->times.last_desired;
	f->bytes[EXCHANGE_DESIRED].received += frame_len;
	report_accepted(g);
	count_sent(g, EXCHANGE_DESIRED, poll_again(g));
}

static void on_report_ack(struct agent *g, const Wavetrain__Agent__ReportAck *a, size_t frame_len)
{
	struct round_times *t = &g->fleet->times;
	if (a->acked_chunk < g->chunk)
		stat_die("%s: chunk %llu was not acknowledged", g->host.s, (unsigned long long)g->chunk);
	if (g->stage == STAGE_ACCEPTING) {
		g->stage = STAGE_ACCEPTED;
		t->accepted++;
		t->last_accepted = stat_now_ns();
		g->fleet->bytes[EXCHANGE_ACCEPTED].received += frame_len;
	} else if (g->stage == STAGE_FINISHING) {
		g->stage = STAGE_FINISHED;
		g->running = g->target;
		t->results++;
		t->last_result = stat_now_ns();
		g->fleet->bytes[EXCHANGE_RESULT].received += frame_len;
		count_sent(g, EXCHANGE_STATUS,
			   poll_again(g)); /* what runs is news; the parked poll is superseded */
	}
}

static void on_envelope(struct agent *g, const envelope *e, uint32_t id, size_t frame_len)
{
	int body = (int)e->body_case;
	if (body == WAVETRAIN__AGENT__ENVELOPE__BODY_WELCOME)
		on_welcome(g, e->welcome);
	else if (body == WAVETRAIN__AGENT__ENVELOPE__BODY_DESIRED)
		on_desired(g, e->desired, id, frame_len);
	else if (body == WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT_ACK)
		on_report_ack(g, e->report_ack, frame_len);
	else if (body == WAVETRAIN__AGENT__ENVELOPE__BODY_PROBLEM)
		stat_die("%s: the coordinator answered %s: %s", g->host.s, e->problem->code,
			 e->problem->text);
	else
		stat_die("%s: an answer that no agent expects", g->host.s);
}

static void say_hello(struct agent *g)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Hello h = WAVETRAIN__AGENT__HELLO__INIT;
	uint32_t id;
	h.agent_version = (char *)(uintptr_t)WAVETRAIN_VERSION;
	h.protocol_min = h.protocol_max = 1;
	h.generation = g->generation;
	h.free_bytes = 1ull << 33;
	h.spool_id = (ProtobufCBinaryData){sizeof boot, (uint8_t *)(uintptr_t)boot};
	h.machine_id = g->host.s;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_HELLO;
	e.hello = &h;
	ask(g, &e, &id);
}

static bool take_sp_hello(struct agent *g)
{
	uint16_t peer = 0;
	if (g->line.in.len < SP_HELLO_LEN)
		return false;
	if (sp_hello_decode(g->line.in.data, &peer) != E_OK || peer != SP_REP0)
		stat_die("%s: the port does not speak SP", g->host.s);
	buf_drop(&g->line.in, SP_HELLO_LEN);
	g->hello_sent = true;
	say_hello(g);
	return true;
}

static bool take_frame(struct agent *g)
{
	struct buf *in = &g->line.in;
	const uint8_t *body;
	size_t n, len;
	uint32_t id;
	if (in->len < SP_FRAME_HEAD_LEN || in->len - SP_FRAME_HEAD_LEN < get_u64(in->data))
		return false;
	len = (size_t)get_u64(in->data);
	if (sp_request_decode(in->data + SP_FRAME_HEAD_LEN, len, &id, &body, &n) != E_OK)
		stat_die("%s: a frame that is no answer", g->host.s);
	const envelope *e = envelope_decode(&g->fleet->arena, body, n);
	if (e == NULL)
		stat_die("%s: an answer that is no envelope", g->host.s);
	on_envelope(g, e, id, SP_FRAME_HEAD_LEN + len);
	buf_drop(in, SP_FRAME_HEAD_LEN + len);
	arena_reset(&g->fleet->arena);
	return true;
}

static void on_open(struct peer *p)
{
	uint8_t hello[SP_HELLO_LEN];
	sp_hello_encode(hello, SP_REQ0);
	peer_send(p, hello, sizeof hello);
}

static void on_bytes(struct peer *p)
{
	struct agent *g = p->arg;
	if (!g->hello_sent && !take_sp_hello(g))
		return;
	while (take_frame(g))
		;
}

const struct peer_ops talk_ops = {.open = on_open, .bytes = on_bytes};
