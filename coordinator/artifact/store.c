#include "coordinator/artifact/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utlist.h>

#include "sys/digest.h"

struct artifact_store {
	char root[FSIO_PATH_CAP - 96];
	struct artifact_upload *uploads; /* under way; utlist */
};

struct artifact_upload {
	struct artifact_store *s;
	struct digest digest;
	uint64_t size, have;
	int fd; /* of the partial file; -1: the archive is complete */
	struct artifact_upload *prev, *next;
};

static const char *path_of(const struct artifact_store *s, const char *folder, const struct digest *d,
			   char out[FSIO_PATH_CAP])
{
	char hex[DIGEST_HEX_CAP];
	snprintf(out, FSIO_PATH_CAP, "%s/%s/%s", s->root, folder, digest_hex(d, hex));
	return out;
}

int artifact_store_open(struct artifact_store **out, const char *root, struct err *e)
{
	char path[FSIO_PATH_CAP];
	struct artifact_store *s = calloc(1, sizeof *s);
	PRE(s != NULL);
	int rc = strlen(root) < sizeof s->root
			 ? E_OK
			 : err_set(e, E_TOO_LARGE, "artifacts: the path is too long: %.64s...", root);
	if (rc == E_OK) {
		snprintf(s->root, sizeof s->root, "%s", root);
		snprintf(path, sizeof path, "%s/sha256", root);
		rc = fsio_mkdir(path, 0700, e);
	}
	if (rc == E_OK) {
		snprintf(path, sizeof path, "%s/partial", root);
		rc = fsio_mkdir(path, 0700, e);
	}
	if (rc == E_OK)
		*out = s;
	else
		free(s);
	return rc;
}

void artifact_store_close(struct artifact_store *s)
{
	PRE(s == NULL || s->uploads == NULL);
	free(s);
}

bool artifact_store_has(const struct artifact_store *s, const struct digest *d)
{
	char path[FSIO_PATH_CAP];
	return access(path_of(s, "sha256", d, path), F_OK) == 0;
}

int artifact_store_fd(const struct artifact_store *s, const struct digest *d, struct err *e)
{
	char path[FSIO_PATH_CAP];
	int fd = open(path_of(s, "sha256", d, path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		err_sys(e, errno == ENOENT ? E_NOT_FOUND : E_IO, errno, "artifact %s", path);
	return fd;
}

void artifact_store_folders(const struct artifact_store *s, char whole[FSIO_PATH_CAP],
			    char partial[FSIO_PATH_CAP])
{
	snprintf(whole, FSIO_PATH_CAP, "%s/sha256", s->root);
	snprintf(partial, FSIO_PATH_CAP, "%s/partial", s->root);
}

int artifact_store_delete(struct artifact_store *s, const struct digest *d, struct err *e)
{
	char path[FSIO_PATH_CAP];
	if (unlink(path_of(s, "sha256", d, path)) != 0 && errno != ENOENT)
		return err_sys(e, E_IO, errno, "delete artifact %s", path);
	return E_OK;
}

/* ---- uploads
 * ---------------------------------------------------------------------------------------------------------------
 */

static int check_space(const struct artifact_store *s, uint64_t missing, struct err *e)
{
	uint64_t free_bytes;
	int rc = fsio_free_bytes(s->root, &free_bytes, e);
	if (rc != E_OK)
		return rc;
	if (missing <= (UINT64_MAX - ARTIFACT_RESERVE_BYTES) / 2 &&
	    free_bytes >= 2 * missing + ARTIFACT_RESERVE_BYTES)
		return E_OK;
	return err_set(e, E_NO_SPACE,
		       "upload needs 2 x %llu bytes and a reserve of %d MiB, %llu bytes are free; grow the "
		       "disk",
		       (unsigned long long)missing, ARTIFACT_RESERVE_BYTES >> 20,
		       (unsigned long long)free_bytes);
}

static int open_partial(struct artifact_upload *u, struct err *e)
{
	char path[FSIO_PATH_CAP];
	struct stat st;
	u->fd = open(path_of(u->s, "partial", &u->digest, path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
		     0600);
	if (u->fd < 0 || fstat(u->fd, &st) != 0)
		return err_sys(e, E_IO, errno, "upload %s", path);
	u->have = (uint64_t)st.st_size;
	if (u->have > u->size) { /* of a client that lied about its size: begin anew */
		u->have = 0;
		if (ftruncate(u->fd, 0) != 0)
			return err_sys(e, E_IO, errno, "upload %s", path);
	}
	if (lseek(u->fd, (off_t)u->have, SEEK_SET) < 0)
		return err_sys(e, E_IO, errno, "upload %s", path);
	return check_space(u->s, u->size - u->have, e);
}

static int check_alone(const struct artifact_store *s, const struct digest *d, struct err *e)
{
	const struct artifact_upload *other;
	DL_FOREACH(s->uploads, other)
	if (digest_eq(&other->digest, d))
		return err_set(e, E_BUSY, "another push is sending this archive");
	return E_OK;
}

static int check_size(const struct artifact_store *s, const struct digest *d, uint64_t size, struct err *e)
{
	char path[FSIO_PATH_CAP];
	struct stat st;
	if (stat(path_of(s, "sha256", d, path), &st) != 0)
		return err_sys(e, E_IO, errno, "artifact %s", path);
	return (uint64_t)st.st_size == size
		       ? E_OK
		       : err_set(e, E_INVALID, "the archive of this digest has %lld bytes, not %llu",
				 (long long)st.st_size, (unsigned long long)size);
}

/* Nothing is written to a file that has its name. */
static void close_partial(struct artifact_upload *u)
{
	if (u->fd >= 0)
		close(u->fd);
	u->fd = -1;
}

int artifact_upload_begin(struct artifact_store *s, const struct digest *d, uint64_t size_bytes,
			  struct artifact_upload **out, uint64_t *offset, struct err *e)
{
	struct artifact_upload *u = calloc(1, sizeof *u);
	PRE(u != NULL);
	*u = (struct artifact_upload){.s = s, .digest = *d, .size = size_bytes, .have = size_bytes, .fd = -1};
	int rc = check_alone(s, d, e);
	if (rc == E_OK)
		rc = artifact_store_has(s, d) ? check_size(s, d, size_bytes, e) : open_partial(u, e);
	if (rc != E_OK) {
		close_partial(u);
		free(u);
		return rc;
	}
	DL_APPEND(s->uploads, u);
	*out = u;
	*offset = u->have;
	return E_OK;
}

int artifact_upload_data(struct artifact_upload *u, const void *p, size_t n, struct err *e)
{
	if (u->fd < 0 || n > u->size - u->have)
		return err_set(e, E_TOO_LARGE, "upload: more bytes than the %llu that were announced",
			       (unsigned long long)u->size);
	int rc = fsio_write_all(u->fd, p, n, e);
	if (rc == E_OK)
		u->have += n;
	return rc;
}

static int verify(struct artifact_upload *u, const char *path, struct err *e)
{
	struct digest is;
	uint64_t size;
	char a[DIGEST_HEX_CAP], b[DIGEST_HEX_CAP];
	if (u->have != u->size)
		return err_set(e, E_CLOSED, "upload: %llu of %llu bytes came; push again to go on",
			       (unsigned long long)u->have, (unsigned long long)u->size);
	if (lseek(u->fd, 0, SEEK_SET) < 0)
		return err_sys(e, E_IO, errno, "upload %s", path);
	int rc = digest_of_fd(u->fd, &is, &size, e);
	if (rc != E_OK || digest_eq(&is, &u->digest))
		return rc;
	unlink(path);
	return err_set(
		e, E_CORRUPT,
		"upload: the bytes are sha256:%.16s, announced was %.16s; they were thrown away, push again",
		digest_hex(&is, a), digest_hex(&u->digest, b));
}

static int name_it(struct artifact_upload *u, const char *partial, struct err *e)
{
	char path[FSIO_PATH_CAP];
	if (fsync(u->fd) != 0)
		return err_sys(e, E_IO, errno, "fsync %s", partial);
	return fsio_rename(partial, path_of(u->s, "sha256", &u->digest, path), e);
}

int artifact_upload_finish(struct artifact_upload *u, struct err *e)
{
	char partial[FSIO_PATH_CAP];
	int rc = E_OK;
	path_of(u->s, "partial", &u->digest, partial);
	if (u->fd >= 0)
		rc = verify(u, partial, e);
	if (rc == E_OK && u->fd >= 0)
		rc = name_it(u, partial, e);
	close_partial(u);
	return rc;
}

void artifact_upload_end(struct artifact_upload *u)
{
	DL_DELETE(u->s->uploads, u);
	close_partial(u);
	free(u);
}
