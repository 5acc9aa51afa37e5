/*
 * store_lmdb.h: the store of the state in LMDB. It is a cache of snapshot and log: commits are atomic but not
 * synced, so after a loss of power (another kernel boot without a clean end) what lies there is not trusted
 * and is wiped; after a kill it is kept. Any failure of LMDB ends the process with the reason. One thread,
 * but for snap_write.
 */
#ifndef ADAPTERS_STORE_LMDB_H
#define ADAPTERS_STORE_LMDB_H

#include "base/buf.h"
#include "base/err.h"
#include "coordinator/state/store.h"

/* `dir` exists and belongs to this process. The state may grow to 4 GiB there. */
must_check int store_lmdb_open(struct store **out, const char *dir, struct err *e);
/* The same with another limit, a multiple of 4 KiB. */
must_check int store_lmdb_open_up_to(struct store **out, const char *dir, size_t max_bytes, struct err *e);
/* Bytes of the file that were ever in use, and how many there may be: the process ends when they are full. */
void store_lmdb_usage(struct store *s, uint64_t *used, uint64_t *max);
/* Clean: everything is on disk before it returns, and the next open trusts it whatever happened in between.
 */
void store_lmdb_close(struct store *s, bool clean);

/* A view of what was committed last, for a snapshot: begin and end on the loop's thread, write on a worker.
 * Bytes as state_dump. */
must_check int store_lmdb_snap_begin(struct store *s, void **h);
must_check int store_lmdb_snap_write(void *h, struct buf *out);
void store_lmdb_snap_end(void *h);

#endif
