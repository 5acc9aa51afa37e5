/*
 * journal.h: the durable record of each app: one file per app, replaced whole (new file, fsync, rename, fsync
 * directory), with a CRC. A damaged file is never guessed at: its app comes back as `unknown`, and exec is
 * asked what runs. Blocking I/O of a few KiB; one thread at a time per directory.
 */
#ifndef AGENT_JOURNAL_H
#define AGENT_JOURNAL_H

#include "agent/core/agent.h"
#include "base/buf.h"

/* Pure. The bytes are put at the end of `out`. */
void journal_encode(const struct agent_record *r, struct buf *out);
/* E_CORRUPT, E_VERSION; `out` is only valid on success. */
must_check int journal_decode(struct agent_record *out, const uint8_t *bytes, size_t len, struct err *e);

/* Durable when it returns E_OK; on failure the previous record still stands, or this one does. */
must_check int journal_write(const char *dir, const struct agent_record *r, struct err *e);
/* Durable; fine when there is none. */
must_check int journal_remove(const char *dir, const struct name *app, struct err *e);
/* All records of a directory, in no order. Damaged ones have only `app`, `state` IDLE and `unknown` set.
 * E_TOO_LARGE: more than cap. */
must_check int journal_load(const char *dir, struct agent_record *v, size_t cap, size_t *nr, struct err *e);

#endif
