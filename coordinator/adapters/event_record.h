/*
 * event_record.h: an event as bytes: a mark, the length and the CRC of the body, the body. Pure; any thread.
 *
 * Texts hold no zero bytes and a head always does: what a program printed cannot look like a record, wherever
 * a reader begins to look.
 */
#ifndef ADAPTERS_EVENT_RECORD_H
#define ADAPTERS_EVENT_RECORD_H

#include "base/buf.h"
#include "coordinator/drive/events.h"

enum { EVENT_RECORD_HEAD = 12, EVENT_RECORD_MAX = 2048 };

enum event_record {
	EVENT_RECORD_WHOLE = 1, /* *used bytes were taken */
	EVENT_RECORD_SHORT,	/* so far it may be one; more bytes are needed to know */
	EVENT_RECORD_BAD	/* no record begins here */
};

void event_record_encode(const struct event *e, struct buf *out); /* at the end of `out` */
/* `out` and *used are only set when it is WHOLE. */
enum event_record event_record_decode(const uint8_t *p, size_t n, struct event *out, size_t *used);
/* How far it is from p, where none begins, to the next place where one may begin; n when there is none. The
 * last bytes may be the beginning of a mark. */
size_t event_record_skip(const uint8_t *p, size_t n);

#endif
