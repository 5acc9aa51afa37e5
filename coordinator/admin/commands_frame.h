/*
 * commands_frame.h: frames of the admin socket: a big-endian u32 length, then one protobuf message. Used by
 * both ends. Pure; any thread.
 */
#ifndef ADMIN_COMMANDS_FRAME_H
#define ADMIN_COMMANDS_FRAME_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"

enum {
	COMMANDS_FRAME_HEAD = 4,
	COMMANDS_FRAME_REQUEST_MAX = 256 * 1024, /* also of Data frames */
	COMMANDS_FRAME_REPLY_MAX = 32 * 1024 * 1024,
	COMMANDS_FRAME_CHUNK = 64 * 1024, /* bytes of an upload in one Data frame */
};

enum frame_state { FRAME_WHOLE = 1, FRAME_PARTIAL, FRAME_TOO_LARGE };

/* Looks at the first frame in the n bytes at p; WHOLE gives its body, which points into p. Consumes nothing.
 */
enum frame_state commands_frame_next(const uint8_t *p, size_t n, size_t max, const uint8_t **body,
				     size_t *body_n);

/* Append m as one frame. Pair of commands_frame_next. */
void commands_frame_put(struct buf *out, const ProtobufCMessage *m);

#endif
