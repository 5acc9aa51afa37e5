/*
 * ingest.c: reports of agents. Steps and log lines become events, which the sink of events has written before
 * anything is acknowledged; results become one command a report, and the report is acknowledged only when
 * that command is committed. A report that comes twice is harmless: events know chunks and lines that were
 * told, the fold ignores results of tasks that have ended or of assignments that were overtaken.
 */
#include "coordinator/drive/internal.h"

#include <stdio.h>
#include <stdlib.h>

struct pending_ack {
	struct drive *d;
	struct name host;
	struct token token;
	uint64_t request_id, up_to;
};

static void acknowledge(struct drive *d, struct fleet_host *h, struct token t, uint64_t request_id,
			uint64_t up_to)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__ReportAck ack = WAVETRAIN__AGENT__REPORT_ACK__INIT;
	if (up_to > h->acked_chunk)
		h->acked_chunk = up_to;
	ack.acked_chunk = up_to;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT_ACK;
	e.report_ack = &ack;
	dispatch_answer(d, t, request_id, &e);
}

static void committed_cb(void *arg, int code, const struct command_reply *reply)
{
	struct pending_ack *p = arg;
	struct fleet_host *h = fleet_find(&p->d->fleet, &p->host);
	/* Not committed, or the agent is gone: no acknowledgement, so it sends the same chunks again. */
	if (h != NULL && h->session == p->token.session) {
		if (code == E_OK)
			acknowledge(p->d, h, p->token, p->request_id, p->up_to);
		else if (code == E_NOT_LEADER || !p->d->leads)
			refer(p->d, p->token, p->request_id);
		else
			dispatch_problem(p->d, p->token, p->request_id, err_name(code), err_text(code));
	}
	free(p);
}

/* ---- one chunk
 * ---------------------------------------------------------------------------------------------------- */

static void clean(char *out, size_t cap, const char *s)
{
	snprintf(out, cap, "%s", s);
	for (char *c = out; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

static bool event_for(struct fleet_host *h, const Wavetrain__Agent__Chunk *c, enum event_kind kind,
		      struct wall_ms now, struct event *e)
{
	*e = (struct event){.at = now, .kind = kind, .host = h->name, .deployment = {c->deployment}};
	e->chunk = (struct event_chunk){h->spool_hi, h->spool_lo, c->number, 1};
	return name_set(&e->app, c->app) && bytes_id128(c->trace_id, &e->trace.hi, &e->trace.lo);
}

static void tell_once(struct drive *d, struct event *e)
{
	if (!events_chunk_seen(d->events, &e->host, &e->chunk))
		events_add(d->events, e);
}

static void on_step(struct drive *d, struct fleet_host *h, const Wavetrain__Agent__Chunk *c,
		    struct wall_ms now)
{
	struct event e;
	if (!event_for(h, c, EVENT_STEP, now, &e))
		return;
	snprintf(e.from, sizeof e.from, "%s", sm_name(&task_machine, (int)c->step->from));
	snprintf(e.to, sizeof e.to, "%s", sm_name(&task_machine, (int)c->step->to));
	clean(e.text, sizeof e.text, c->step->note);
	tell_once(d, &e);
}

static void on_log(struct drive *d, struct fleet_host *h, const Wavetrain__Agent__Chunk *c,
		   struct wall_ms now)
{
	const Wavetrain__Agent__LogLines *log = c->log;
	struct event e;
	if (!event_for(h, c, EVENT_LOG, now, &e))
		return;
	clean(e.from, sizeof e.from, log->stream);
	if (log->dropped > 0) {
		snprintf(e.text, sizeof e.text, "(%llu lines are missing here: more than the host may send)",
			 (unsigned long long)log->dropped);
		tell_once(d, &e);
		e.chunk.line++;
	}
	for (size_t i = 0; i < log->n_lines; i++, e.chunk.line++) {
		clean(e.text, sizeof e.text, log->lines[i]);
		tell_once(d, &e);
	}
}

static bool evidence_of(const Wavetrain__Agent__Evidence *m, struct evidence *out)
{
	if (m == NULL)
		return true;
	out->activation = m->activation;
	out->activated_ms = m->activated_ms;
	out->measured_ms = m->measured_ms;
	out->passes = m->passes;
	out->failures = m->failures;
	return bytes_digest(m->target, &out->target) && bytes_id128(m->boot_id, &out->boot_hi, &out->boot_lo);
}

static bool result_of(struct arena *a, struct fleet_host *h, const Wavetrain__Agent__Chunk *c,
		      struct task_result *out)
{
	const Wavetrain__Agent__Result *r = c->result;
	char reason[200];
	bool ended = r->state == TASK_HEALTHY || r->state == TASK_FAILED || r->state == TASK_REVERTED;
	if (!ended || r->cause > CAUSE_OPERATOR)
		return false;
	clean(reason, sizeof reason, r->reason);
	*out = (struct task_result){.deployment = {c->deployment},
				    .host = h->name,
				    .seq = c->seq,
				    .state = (enum task_state)r->state,
				    .cause = (enum cause)r->cause,
				    .reason = arena_strdup(a, reason)};
	return evidence_of(r->evidence, &out->evidence);
}

/* A report's results are one command; should they be of two rollouts, it is under the trace of the first. */
static struct trace_id trace_of(struct drive *d, const struct task_result *first)
{
	struct deployment dep;
	bool known = view_deployment(d->st, &d->arena, first->deployment, &dep) == E_OK;
	return known ? dep.trace : (struct trace_id){0};
}

static void propose_results(struct drive *d, struct fleet_host *h, struct token t, const envelope *e,
			    struct task_result *v, size_t nr, uint64_t up_to)
{
	struct pending_ack *p = calloc(1, sizeof *p);
	PRE(p != NULL);
	*p = (struct pending_ack){
		.d = d, .host = h->name, .token = t, .request_id = e->request_id, .up_to = up_to};
	struct command c = {.kind = COMMAND_TASK_RESULTS, .reason = "", .results = {.v = v, .nr = nr}};
	c.actor = arena_printf(&d->arena, "agent:%s", h->name.s);
	c.trace = trace_of(d, v);
	d->ports.propose(d->ports.arg, &c, committed_cb, p);
}

/*
 * What one report may cost the loop: each chunk and each line is an event. The rest is not acknowledged, so
 * it comes again. An agent puts at most 1024 lines into a chunk.
 */
enum { REPORT_COST_MAX = 4096 };

static size_t cost_of(const Wavetrain__Agent__Chunk *c)
{
	return 1 + (c->what_case == WAVETRAIN__AGENT__CHUNK__WHAT_LOG ? c->log->n_lines : 0);
}

void ingest_report(struct drive *d, struct fleet_host *h, struct token t, const envelope *e,
		   struct wall_ms now)
{
	const Wavetrain__Agent__Report *r = e->report;
	struct task_result *v = arena_array(&d->arena, struct task_result, r->n_chunks);
	size_t nr = 0;
	uint64_t up_to = h->acked_chunk;
	size_t cost = 0;
	for (size_t i = 0; i < r->n_chunks; i++) {
		const Wavetrain__Agent__Chunk *c = r->chunks[i];
		int what = (int)c->what_case;
		if (c->number <= h->acked_chunk)
			continue; /* seen before: the acknowledgement was lost on its way */
		cost += cost_of(c);
		if (cost > REPORT_COST_MAX)
			break;
		up_to = c->number > up_to ? c->number : up_to;
		if (what == WAVETRAIN__AGENT__CHUNK__WHAT_STEP)
			on_step(d, h, c, now);
		else if (what == WAVETRAIN__AGENT__CHUNK__WHAT_LOG)
			on_log(d, h, c, now);
		else if (what == WAVETRAIN__AGENT__CHUNK__WHAT_RESULT && result_of(&d->arena, h, c, &v[nr]))
			nr++;
	}
	if (cost > REPORT_COST_MAX && up_to == h->acked_chunk)
		d->ports.drop(d->ports.arg, t.session, "sent a chunk of more than 4095 lines");
	else if (nr > 0)
		propose_results(d, h, t, e, v, nr, up_to);
	else
		acknowledge(d, h, t, e->request_id, up_to);
}
