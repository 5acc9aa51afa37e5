/*
 * codec.h: the nouns of model.h as protobuf rows and back. Encode and decode are paired and adjacent in
 * codec.c; the generated types stop there and in command.c. Decoding checks every number and name: E_CORRUPT
 * for what we could not have written.
 */
#ifndef STATE_CODEC_H
#define STATE_CODEC_H

#include "base/buf.h"
#include "base/err.h"
#include "coordinator/state/model.h"
#include "proto/model.pb-c.h"

#define CODEC_NOUNS(X)                                                                                       \
	X(app, App, app)                                                                                     \
	X(environment, Environment, environment)                                                             \
	X(host, Host, host)                                                                                  \
	X(release, Release, release)                                                                         \
	X(bad_mark, BadMark, bad_mark)                                                                       \
	X(deployment, Deployment, deployment)                                                                \
	X(wave, Wave, wave)                                                                                  \
	X(task, Task, task)                                                                                  \
	X(placement, Placement, placement)                                                                   \
	X(node, Node, node)                                                                                  \
	X(join_token, JoinToken, join_token)                                                                 \
	X(audit_entry, AuditEntry, audit_entry)

/* For each noun: x_message and x_of (messages), x_encode and x_decode (bytes). */
#define X(noun, Message, c)                                                                                  \
	Row__##Message *noun##_message(struct arena *a, const struct noun *v);                               \
	must_check bool noun##_of(struct arena *a, const Row__##Message *m, struct noun *out);               \
	void noun##_encode(struct buf *out, const struct noun *v);                                           \
	must_check int noun##_decode(struct arena *a, const uint8_t *p, size_t n, struct noun *out);
CODEC_NOUNS(X)
#undef X

Row__Evidence *evidence_message(struct arena *a, const struct evidence *v);
must_check bool evidence_of(struct arena *a, const Row__Evidence *m, struct evidence *out);

/* Names that may be absent: an empty string is the empty name. */
must_check bool codec_name(struct name *out, const char *s);
must_check bool codec_version(struct name *out, const char *s);
char *codec_text(struct arena *a, const char *s); /* NULL becomes "" */
ProtobufCBinaryData trace_bytes(struct arena *a, const struct trace_id *t);
must_check bool trace_of(ProtobufCBinaryData b, struct trace_id *out);

#endif
