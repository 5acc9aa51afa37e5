/*
 * durable.h: small files replaced whole: new file, fsync, rename, fsync of the directory. Blocking.
 */
#ifndef AGENT_DURABLE_H
#define AGENT_DURABLE_H

#include "base/buf.h"
#include "base/err.h"

/* Durable when E_OK; on failure the file is the old or the new one, never a mix. */
must_check int durable_write(const char *dir, const char *leaf, const void *bytes, size_t len, struct err *e);
/* Durable when E_OK; fine when there is no such file. */
must_check int durable_remove(const char *dir, const char *leaf, struct err *e);
/* Puts the bytes at the end of `b`. E_NOT_FOUND; E_TOO_LARGE beyond `most`. Links are not followed. */
must_check int durable_read(const char *dir, const char *leaf, size_t most, struct buf *b, struct err *e);

#endif
