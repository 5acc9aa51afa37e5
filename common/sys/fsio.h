/*
 * fsio.h: files that survive. Every function that says "durable" has fsynced the file and then its directory;
 * a failed fsync is returned and never tried again, because what the kernel did with the pages is not known
 * then. Blocking; any thread.
 */
#ifndef SYS_FSIO_H
#define SYS_FSIO_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

enum { FSIO_PATH_CAP = 1024 };

/* Durable: `path` holds the old bytes or all of the new ones, whatever happens (new file, fsync, rename,
 * fsync directory). */
must_check int fsio_write_atomic(const char *path, const void *p, size_t n, mode_t mode, struct err *e);
/* The whole file at the end of `out`; E_TOO_LARGE over `max`, E_NOT_FOUND. */
must_check int fsio_read(const char *path, size_t max, struct buf *out, struct err *e);
/* Durable: `to` is `from` from now on. Both in one file system. */
must_check int fsio_rename(const char *from, const char *to, struct err *e);
must_check int fsio_mkdir(const char *path, mode_t mode, struct err *e); /* there already is fine */
must_check int fsio_sync_dir_of(const char *path, struct err *e);	 /* the directory that holds `path` */
must_check int fsio_write_all(int fd, const void *p, size_t n, struct err *e);
/* Free for this user on the file system of `path`. */
must_check int fsio_free_bytes(const char *path, uint64_t *out, struct err *e);

#endif
