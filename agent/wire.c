#include "agent/wire.h"

#include <string.h>

static int bad(struct err *e, const char *field)
{
	return err_set(e, E_PROTOCOL, "the coordinator's answer: %s is not as agreed", field);
}

/* Empty is "none". */
static bool take_digest(const ProtobufCBinaryData *b, struct digest *out)
{
	memset(out, 0, sizeof(*out));
	if (b->len == DIGEST_LEN)
		memcpy(out->b, b->data, DIGEST_LEN);
	return b->len == 0 || b->len == DIGEST_LEN;
}

static bool take_trace(const ProtobufCBinaryData *b, struct trace_id *out)
{
	*out = (struct trace_id){0};
	if (b->len == 0)
		return true;
	if (b->len != 16)
		return false;
	*out = (struct trace_id){get_u64(b->data), get_u64(b->data + 8)};
	return true;
}

static bool take_type(const char *type, char *out, size_t cap)
{
	if (strcmp(type, "tar.zst") != 0 && strcmp(type, "tar.gz") != 0)
		return false;
	memcpy(out, type, strlen(type) + 1);
	return strlen(type) < cap;
}

static int take_bytes(const Wavetrain__Agent__Target *m, struct agent_target *out, struct wire_text *text,
		      struct err *e)
{
	if (digest_none(&out->artifact) || digest_none(&out->spec))
		return bad(e, "a target without artifact or spec digest");
	if (!name_set_version(&out->version, m->version))
		return bad(e, "the version of a target");
	if (!take_type(m->type, out->type, sizeof(out->type)))
		return bad(e, "the archive type of a target");
	if (m->spec.len == 0 || m->spec.len > WIRE_SPEC_MAX)
		return bad(e, "the size of a rendered file");
	out->size_bytes = m->size_bytes;
	out->unpacked_bytes = m->unpacked_bytes;
	out->entries = m->entries;
	*text = (struct wire_text){out->id, m->spec.data, m->spec.len};
	return E_OK;
}

static int take_target(const Wavetrain__Agent__Target *m, struct agent_target *out, struct wire_text *text,
		       struct err *e)
{
	memset(out, 0, sizeof(*out));
	memset(text, 0, sizeof(*text));
	if (m == NULL)
		return E_OK;
	if (!take_digest(&m->id, &out->id) || !take_digest(&m->artifact, &out->artifact) ||
	    !take_digest(&m->spec_digest, &out->spec))
		return bad(e, "the length of a digest");
	if (!digest_none(&out->id))
		return take_bytes(m, out, text, e);
	memset(out, 0, sizeof(*out));
	return E_OK;
}

static int take_assignment(const Wavetrain__Agent__Assignment *m, struct agent_assignment *out,
			   struct wire_text texts[2], struct err *e)
{
	memset(out, 0, sizeof(*out));
	if (!name_set(&out->app, m->app))
		return bad(e, "the app of an assignment");
	if (m->seq == 0 || m->fence == NULL || m->fence->generation == 0)
		return bad(e, "an assignment without sequence or fence");
	if (!take_trace(&m->trace_id, &out->trace) || m->deadline_ms > INT32_MAX ||
	    m->fault_cap_ms > INT32_MAX)
		return bad(e, "the trace or deadline of an assignment");
	if (!take_digest(&m->keep_artifact, &out->keep))
		return bad(e, "the artifact to keep");
	out->seq = m->seq;
	out->fence = (struct fence){m->fence->generation, m->fence->term, m->fence->epoch};
	out->deployment = m->deployment;
	out->wave = m->wave;
	out->back = m->back;
	out->skip_stop_hooks = m->skip_stop_hooks;
	out->deadline_ms = (int64_t)m->deadline_ms;
	out->fault_cap_ms = (int64_t)m->fault_cap_ms;
	int rc = take_target(m->target, &out->target, &texts[0], e);
	return rc == E_OK ? take_target(m->fallback, &out->fallback, &texts[1], e) : rc;
}

static int take_labels(struct arena *a, const Wavetrain__Agent__Assignment *m, struct wire_labels *out,
		       struct err *e)
{
	struct wire_label *v = arena_array(a, struct wire_label, m->n_labels + 1);
	if (m->n_labels > WIRE_LABELS_MAX)
		return bad(e, "the number of labels");
	for (size_t i = 0; i < m->n_labels; i++)
		v[i] = (struct wire_label){m->labels[i]->key, m->labels[i]->value};
	*out = (struct wire_labels){v, m->n_labels};
	return E_OK;
}

int wire_desired_decode(struct arena *a, const Wavetrain__Agent__Desired *m, struct wire_desired *out,
			struct err *e)
{
	memset(out, 0, sizeof(*out));
	if (m->n_assignments > WIRE_ASSIGNMENTS_MAX)
		return bad(e, "the number of assignments");
	out->log_id = m->log_id;
	out->up_to_seq = m->up_to_seq;
	out->snapshot = m->snapshot;
	out->retry_after_ms = m->retry_after_ms;
	out->nr = m->n_assignments;
	out->assignments = arena_array(a, struct agent_assignment, out->nr + 1);
	out->texts = arena_array(a, struct wire_text, 2 * out->nr + 1);
	int rc = E_OK;
	out->labels = arena_array(a, struct wire_labels, out->nr + 1);
	for (size_t i = 0; rc == E_OK && i < out->nr; i++) {
		rc = take_assignment(m->assignments[i], &out->assignments[i], &out->texts[2 * i], e);
		if (rc == E_OK)
			rc = take_labels(a, m->assignments[i], &out->labels[i], e);
	}
	return rc;
}

/* ---- reports
 * ------------------------------------------------------------------------------------------------------- */

static ProtobufCBinaryData view(const void *p, size_t n)
{
	return (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)p};
}

static ProtobufCBinaryData digest_view(const struct digest *d)
{
	return view(d->b, digest_none(d) ? 0 : DIGEST_LEN);
}

static void pack(const Wavetrain__Agent__Chunk *c, struct buf *out)
{
	size_t n = wavetrain__agent__chunk__get_packed_size(c);
	wavetrain__agent__chunk__pack(c, buf_reserve(out, n));
	out->len += n;
}

static void pack_result(Wavetrain__Agent__Chunk *c, const struct agent_report *r, struct buf *out)
{
	Wavetrain__Agent__Evidence ev = WAVETRAIN__AGENT__EVIDENCE__INIT;
	Wavetrain__Agent__Result res = WAVETRAIN__AGENT__RESULT__INIT;
	uint8_t boot[16];
	put_u64(boot, r->evidence.boot.hi);
	put_u64(boot + 8, r->evidence.boot.lo);
	ev.target = digest_view(&r->evidence.target);
	ev.boot_id = view(boot, sizeof(boot));
	ev.activation = r->evidence.activation;
	ev.activated_ms = r->evidence.activated_ms;
	ev.measured_ms = r->evidence.measured_ms;
	ev.passes = r->evidence.passes;
	ev.failures = r->evidence.failures;
	res.state = r->state;
	res.cause = r->cause;
	res.reason = (char *)(uintptr_t)r->reason;
	res.running = digest_view(&r->running);
	if (!digest_none(&r->evidence.target))
		res.evidence = &ev;
	c->what_case = WAVETRAIN__AGENT__CHUNK__WHAT_RESULT;
	c->result = &res;
	pack(c, out);
}

static void pack_step(Wavetrain__Agent__Chunk *c, const struct agent_report *r, struct buf *out)
{
	Wavetrain__Agent__Step step = WAVETRAIN__AGENT__STEP__INIT;
	step.from = r->from;
	step.to = r->to;
	c->what_case = WAVETRAIN__AGENT__CHUNK__WHAT_STEP;
	c->step = &step;
	pack(c, out);
}

static void pack_accepted(Wavetrain__Agent__Chunk *c, struct buf *out)
{
	Wavetrain__Agent__Accepted accepted = WAVETRAIN__AGENT__ACCEPTED__INIT;
	c->what_case = WAVETRAIN__AGENT__CHUNK__WHAT_ACCEPTED;
	c->accepted = &accepted;
	pack(c, out);
}

void wire_chunk_encode(const struct agent_report *r, uint64_t number, struct wall_ms at, struct buf *out)
{
	Wavetrain__Agent__Chunk c = WAVETRAIN__AGENT__CHUNK__INIT;
	uint8_t trace[16];
	put_u64(trace, r->trace.hi);
	put_u64(trace + 8, r->trace.lo);
	c.number = number;
	c.app = (char *)(uintptr_t)r->app.s;
	c.seq = r->seq;
	c.deployment = r->deployment;
	c.trace_id = view(trace, sizeof(trace));
	c.at_wall_ms = at.v;
	switch (r->kind) {
	case AGENT_REPORT_ACCEPTED:
		pack_accepted(&c, out);
		return;
	case AGENT_REPORT_STEP:
		pack_step(&c, r, out);
		return;
	case AGENT_REPORT_RESULT:
		pack_result(&c, r, out);
		return;
	}
}

void wire_log_encode(const struct name *app, uint64_t seq, uint64_t deployment, struct trace_id trace,
		     const struct tail_batch *batch, uint64_t number, struct wall_ms at, struct buf *out)
{
	Wavetrain__Agent__Chunk c = WAVETRAIN__AGENT__CHUNK__INIT;
	Wavetrain__Agent__LogLines log = WAVETRAIN__AGENT__LOG_LINES__INIT;
	uint8_t id[16];
	put_u64(id, trace.hi);
	put_u64(id + 8, trace.lo);
	log.stream = (char *)(uintptr_t)batch->stream;
	log.lines = (char **)(uintptr_t)batch->lines;
	log.n_lines = batch->nr;
	log.dropped = batch->dropped;
	c.number = number;
	c.app = (char *)(uintptr_t)app->s;
	c.seq = seq;
	c.deployment = deployment;
	c.trace_id = view(id, sizeof(id));
	c.at_wall_ms = at.v;
	c.what_case = WAVETRAIN__AGENT__CHUNK__WHAT_LOG;
	c.log = &log;
	pack(&c, out);
}
