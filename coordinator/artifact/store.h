/*
 * store.h: archives by digest: <root>/sha256/<hex>, complete ones only; <root>/partial/<hex> while bytes
 * still come (<hex>.partial when they are fetched from another coordinator). A broken upload goes on where it
 * stopped. What does not have the digest it was announced with never gets a name. One upload of a digest at a
 * time: two would write one file. Blocking; one thread, but for finish.
 */
#ifndef ARTIFACT_STORE_H
#define ARTIFACT_STORE_H

#include "base/err.h"
#include "base/ids.h"
#include "sys/fsio.h"

struct artifact_store;
struct artifact_upload;

enum { ARTIFACT_RESERVE_BYTES = 64 << 20 };

/* Makes its folders in `root`, which exists. */
must_check int artifact_store_open(struct artifact_store **out, const char *root, struct err *e);
void artifact_store_close(struct artifact_store *s);
bool artifact_store_has(const struct artifact_store *s, const struct digest *d);
/* A descriptor for reading, the caller's to close; -1 with E_NOT_FOUND. */
int artifact_store_fd(const struct artifact_store *s, const struct digest *d, struct err *e);
/* Where whole archives lie, by their digest in hex, and where what is not whole does: for the download of one
 * into here, which verifies it before it gives it its name (sys/fetch.h). */
void artifact_store_folders(const struct artifact_store *s, char whole[FSIO_PATH_CAP],
			    char partial[FSIO_PATH_CAP]);
must_check int artifact_store_delete(struct artifact_store *s, const struct digest *d, struct err *e);

/*
 * Begin or go on: *offset is how many bytes are there (size_bytes: nothing to send). E_NO_SPACE, with the
 * arithmetic, unless what is missing twice and the reserve fit. E_BUSY: the same archive is being uploaded;
 * E_INVALID: it is there, and not of this size. Ended by artifact_upload_end.
 */
must_check int artifact_upload_begin(struct artifact_store *s, const struct digest *d, uint64_t size_bytes,
				     struct artifact_upload **out, uint64_t *offset, struct err *e);
must_check int artifact_upload_data(struct artifact_upload *u, const void *p, size_t n, struct err *e);
/* Verifies size and digest over the whole file, fsyncs, names it; no more data comes after it. E_CORRUPT:
 * other bytes came; they are gone. Any thread, while nobody else uses `u`. */
must_check int artifact_upload_finish(struct artifact_upload *u, struct err *e);
/* Others may upload this archive from now on; bytes without a name stay for them. Frees `u`. */
void artifact_upload_end(struct artifact_upload *u);

#endif
