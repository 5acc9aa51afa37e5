/*
 * fetch_file.h: the file of one download. What has come lies in `<dir>/<digest>.partial`, locked, until it is
 * whole and has the right digest; then it is `<dir>/<digest>`. A later download goes on where this one ended.
 *
 * One thread at a time: fetch.c calls from the thread pool, one job after the other.
 */
#ifndef SYS_FETCH_FILE_H
#define SYS_FETCH_FILE_H

#include "base/err.h"
#include "base/ids.h"
#include "sys/fsio.h"

struct fetch_file {
	struct digest artifact;
	uint64_t size, reserve; /* bytes: of the archive, and that must stay free on the disk */
	uint64_t have;		/* bytes that are there */
	int fd;			/* -1 when closed */
	char hex[DIGEST_HEX_CAP], dir[FSIO_PATH_CAP], partial[FSIO_PATH_CAP], final[FSIO_PATH_CAP];
};

enum { FETCH_SHORT_HEX = 12 }; /* as much of a digest as a person needs to see */

/* Checks and names only; touches no disk. `partial_dir`: NULL, or another folder of the same file system
 * for the partial file. E_INVALID. */
int fetch_file_init(struct fetch_file *f, const char *dir, const char *partial_dir,
		    const struct digest *artifact, uint64_t size, uint64_t reserve, struct err *e);

/* Opens or makes the partial file and locks it. `there`: the archive is complete already, as its digest says.
 * E_BUSY when another download of it is under way; E_NO_SPACE when the rest would eat into the reserve; E_IO.
 */
int fetch_file_open(struct fetch_file *f, bool *there, struct err *e);

/* Appends. What fits stays and is counted in `have`, also on failure. E_NO_SPACE, E_IO. */
int fetch_file_write(struct fetch_file *f, const uint8_t *p, size_t n, struct err *e);

/* Forgets what is there. E_IO. */
int fetch_file_empty(struct fetch_file *f, struct err *e);

/* All is there: makes it durable, compares the digest, gives it its name. Bytes of another digest are
 * removed: E_CORRUPT; or, where `may_retry`, the file is emptied, which `*emptied` says, and E_OK.
 * E_NO_SPACE, E_IO. */
int fetch_file_finish(struct fetch_file *f, bool may_retry, bool *emptied, struct err *e);

/* Closes, which gives the lock back. More than once is fine. */
void fetch_file_close(struct fetch_file *f);

#endif
