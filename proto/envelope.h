/*
 * envelope.h: the one reader and writer of agent.proto's Envelope. The generated types stop at drive/ and
 * agent/: everything decoded lives in the arena and dies with it. Pure; any thread with its own arena.
 */
#ifndef PROTO_ENVELOPE_H
#define PROTO_ENVELOPE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/ids.h"
#include "proto/agent.pb-c.h"

enum { ENVELOPE_VERSION = 1, ENVELOPE_MAX_BYTES = 256 * 1024 };

typedef Wavetrain__Agent__Envelope envelope;

/* Matched by envelope_decode. Appends to `out`. */
void envelope_encode(struct buf *out, const envelope *e);

/*
 * Matched by envelope_encode. NULL for anything that is not an envelope of ours: too large, too many fields,
 * nested too deep (checked before a byte is unpacked), wrong version, no body, ids of the wrong length. Text
 * may hold any bytes but NUL (protobuf-c does not check UTF-8): whoever shows it cleans it first.
 */
const envelope *envelope_decode(struct arena *a, const uint8_t *p, size_t n);

/* Fixed-length bytes fields. False when the length is wrong (an empty digest is "none" and fine). */
must_check bool bytes_digest(ProtobufCBinaryData b, struct digest *out);
must_check bool bytes_id128(ProtobufCBinaryData b, uint64_t *hi, uint64_t *lo); /* empty = zeros */
ProtobufCBinaryData digest_bytes(struct arena *a, const struct digest *d);	/* none = empty */
ProtobufCBinaryData id128_bytes(struct arena *a, uint64_t hi, uint64_t lo);

/* protobuf-c allocating from an arena; free does nothing. */
ProtobufCAllocator arena_allocator(struct arena *a);

#endif
