/*
 * wire.h: between agent.proto and the step machine's plain structs; the generated types of protobuf-c stop
 * here. Pure.
 */
#ifndef AGENT_WIRE_H
#define AGENT_WIRE_H

#include "agent/core/agent.h"
#include "agent/steps/tail_batch.h"
#include "base/arena.h"
#include "base/buf.h"
#include "proto/agent.pb-c.h"

/* What the driver keeps of a target beside the machine: its rendered file and where it is rendered for. */
struct wire_text {
	struct digest target;
	const uint8_t *spec;
	size_t spec_len;
};

struct wire_label {
	const char *key, *value;
};
/* The labels of this host, for the templates of what is assigned. */
struct wire_labels {
	const struct wire_label *v;
	size_t nr;
};

struct wire_desired {
	uint64_t log_id, up_to_seq;
	bool snapshot;
	uint64_t retry_after_ms;
	struct agent_assignment *assignments;
	struct wire_text *texts; /* two per assignment: target, fallback; `target` none where there is none */
	struct wire_labels *labels; /* one per assignment */
	size_t nr;
};

enum { WIRE_ASSIGNMENTS_MAX = 1024, WIRE_SPEC_MAX = 128 * 1024, WIRE_LABELS_MAX = 256 };

/* E_PROTOCOL, naming the field, when the answer breaks the rules; nothing of it may be used then. Lives in
 * the arena; the specs point into `m`. That a spec has the digest its target names is for the caller to
 * check: SHA-256 is not pure code's. */
must_check int wire_desired_decode(struct arena *a, const Wavetrain__Agent__Desired *m,
				   struct wire_desired *out, struct err *e);

/* One chunk, packed, at the end of `out`. */
void wire_chunk_encode(const struct agent_report *r, uint64_t number, struct wall_ms at, struct buf *out);

/* The same for lines of a program's output, told of the assignment it runs for; seq 0 = of none. */
void wire_log_encode(const struct name *app, uint64_t seq, uint64_t deployment, struct trace_id trace,
		     const struct tail_batch *batch, uint64_t number, struct wall_ms at, struct buf *out);

#endif
