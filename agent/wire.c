#include "agent/wire.h"

#include <string.h>

static bool target_of(struct arena *a, const Wavetrain__Agent__Target *m, struct agent_target *t,
		      struct wire_target *w)
{
	*t = (struct agent_target){0};
	*w = (struct wire_target){.type = ""};
	if (m == NULL || m->id.len == 0)
		return true;
	if (!bytes_digest(m->id, &t->id) || !bytes_digest(m->artifact, &t->artifact) ||
	    !bytes_digest(m->spec_digest, &w->spec_digest))
		return false;
	w->id = t->id;
	w->artifact = t->artifact;
	w->size_bytes = m->size_bytes;
	w->unpacked_bytes = m->unpacked_bytes;
	w->entries = m->entries;
	w->type = arena_strdup(a, m->type);
	w->spec = arena_memdup(a, m->spec.data, m->spec.len);
	w->spec_len = m->spec.len;
	return name_set_version(&t->version, m->version);
}

static bool assignment_of(struct arena *a, const Wavetrain__Agent__Assignment *m, struct agent_assignment *as,
			  struct wire_target *two)
{
	*as = (struct agent_assignment){
		.seq = m->seq, .deployment = m->deployment, .wave = m->wave, .back = m->back};
	if (m->fence == NULL || m->seq == 0 || m->deadline_ms > INT32_MAX)
		return false;
	as->fence = (struct fence){m->fence->generation, m->fence->term, m->fence->epoch};
	as->deadline_ms = (int64_t)m->deadline_ms;
	return name_set(&as->app, m->app) && bytes_id128(m->trace_id, &as->trace.hi, &as->trace.lo) &&
	       target_of(a, m->target, &as->target, &two[0]) &&
	       target_of(a, m->fallback, &as->fallback, &two[1]);
}

bool wire_desired(struct arena *a, const Wavetrain__Agent__Desired *m, struct wire_desired *out)
{
	*out = (struct wire_desired){.log_id = m->log_id,
				     .up_to_seq = m->up_to_seq,
				     .snapshot = m->snapshot,
				     .nr = m->n_assignments};
	out->assignments = arena_array(a, struct agent_assignment, out->nr);
	out->targets = arena_array(a, struct wire_target, 2 * out->nr);
	for (size_t i = 0; i < out->nr; i++)
		if (!assignment_of(a, m->assignments[i], &out->assignments[i], &out->targets[2 * i]))
			return false;
	return true;
}

static Wavetrain__Agent__Evidence *evidence_message(struct arena *a, const struct agent_evidence *e,
						    uint64_t boot_hi, uint64_t boot_lo)
{
	Wavetrain__Agent__Evidence *m = arena_new(a, Wavetrain__Agent__Evidence);
	wavetrain__agent__evidence__init(m);
	m->target = digest_bytes(a, &e->target);
	m->boot_id = id128_bytes(a, boot_hi, boot_lo);
	m->activation = e->activation;
	m->activated_ms = e->activated_ms;
	m->measured_ms = e->measured_ms;
	m->passes = e->passes;
	m->failures = e->failures;
	return m;
}

static void set_result(struct arena *a, Wavetrain__Agent__Chunk *c, const struct agent_record *r,
		       uint64_t boot_hi, uint64_t boot_lo)
{
	Wavetrain__Agent__Result *m = arena_new(a, Wavetrain__Agent__Result);
	wavetrain__agent__result__init(m);
	m->state = (uint32_t)r->result;
	m->cause = (uint32_t)r->cause;
	m->reason = arena_strdup(a, r->reason);
	m->evidence = evidence_message(a, &r->evidence, boot_hi, boot_lo);
	m->running = digest_bytes(a, &r->running.id);
	c->result = m;
	c->what_case = WAVETRAIN__AGENT__CHUNK__WHAT_RESULT;
}

static void set_step(struct arena *a, Wavetrain__Agent__Chunk *c, const struct agent_report *r)
{
	Wavetrain__Agent__Step *m = arena_new(a, Wavetrain__Agent__Step);
	wavetrain__agent__step__init(m);
	m->from = (uint32_t)r->from;
	m->to = (uint32_t)r->to;
	m->note = arena_strdup(a, r->to == STEP_REVERTING ? r->record->reason : "");
	c->step = m;
	c->what_case = WAVETRAIN__AGENT__CHUNK__WHAT_STEP;
}

static void set_accepted(struct arena *a, Wavetrain__Agent__Chunk *c)
{
	Wavetrain__Agent__Accepted *m = arena_new(a, Wavetrain__Agent__Accepted);
	wavetrain__agent__accepted__init(m);
	c->accepted = m;
	c->what_case = WAVETRAIN__AGENT__CHUNK__WHAT_ACCEPTED;
}

Wavetrain__Agent__Chunk *wire_chunk(struct arena *a, const struct agent_report *r, uint64_t boot_hi,
				    uint64_t boot_lo)
{
	const struct agent_assignment *as = &r->record->assignment;
	Wavetrain__Agent__Chunk *c = arena_new(a, Wavetrain__Agent__Chunk);
	wavetrain__agent__chunk__init(c);
	c->app = arena_strdup(a, r->app.s);
	c->seq = as->seq;
	c->deployment = as->deployment;
	c->trace_id = id128_bytes(a, as->trace.hi, as->trace.lo);
	switch (r->kind) {
	case REPORT_ACCEPTED:
		set_accepted(a, c);
		break;
	case REPORT_STEP:
		set_step(a, c, r);
		break;
	case REPORT_RESULT:
		set_result(a, c, r->record, boot_hi, boot_lo);
		break;
	}
	return c;
}
