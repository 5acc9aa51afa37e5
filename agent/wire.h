/*
 * wire.h: between agent.proto's messages and the core's plain structs. The generated types stop here and in
 * the driver that sends them. Everything lives in the arena. Pure.
 */
#ifndef AGENT_WIRE_H
#define AGENT_WIRE_H

#include "agent/core/agent.h"
#include "proto/envelope.h"

/* What the core does not need of a target but the driver does. */
struct wire_target {
	struct digest id, artifact, spec_digest;
	uint64_t size_bytes, unpacked_bytes, entries;
	const char *type;
	const uint8_t *spec;
	size_t spec_len;
};

struct wire_desired {
	uint64_t log_id, up_to_seq;
	bool snapshot;
	struct agent_assignment *assignments;
	struct wire_target *targets; /* two for each assignment: target, fallback */
	size_t nr;
};

/* False for an answer that breaks the protocol: names, digests or fences that are none. */
must_check bool wire_desired(struct arena *a, const Wavetrain__Agent__Desired *m, struct wire_desired *out);

/* A report of the core as a chunk; the spool gives the number and the time. */
Wavetrain__Agent__Chunk *wire_chunk(struct arena *a, const struct agent_report *r, uint64_t boot_hi,
				    uint64_t boot_lo);

#endif
