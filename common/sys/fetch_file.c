#include "sys/fetch_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/digest.h"

static bool is_full(int errnum)
{
	return errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG;
}

static int fail_disk(struct err *e, int errnum, const char *what, const char *path)
{
	return err_sys(e, is_full(errnum) ? E_NO_SPACE : E_IO, errnum, "%s %s", what, path);
}

static bool matches(const struct fetch_file *f, int fd, struct err *e)
{
	struct digest d;
	uint64_t size;
	return lseek(fd, 0, SEEK_SET) == 0 && digest_of_fd(fd, &d, &size, e) == E_OK && size == f->size &&
	       digest_eq(&d, &f->artifact);
}

/* Verified again: it may be as old as the host, and is parsed next. */
static bool there_already(const struct fetch_file *f)
{
	struct stat st;
	struct err e;
	int fd = open(f->final, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->size &&
		    matches(f, fd, &e);
	close(fd);
	if (!good)
		unlink(f->final);
	return good;
}

/* The lock is on the file that has the name now, not on one that was renamed or removed meanwhile. */
static int lock_partial(const struct fetch_file *f, struct stat *st, struct err *e)
{
	struct stat named;
	if (flock(f->fd, LOCK_EX | LOCK_NB) != 0 || fstat(f->fd, st) != 0 || stat(f->partial, &named) != 0 ||
	    named.st_ino != st->st_ino || named.st_dev != st->st_dev)
		return err_set(e, E_BUSY, "archive %.*s: another download of it is under way",
			       FETCH_SHORT_HEX, f->hex);
	if (!S_ISREG(st->st_mode))
		return err_set(e, E_IO, "%s is no regular file", f->partial);
	return E_OK;
}

int fetch_file_empty(struct fetch_file *f, struct err *e)
{
	if (ftruncate(f->fd, 0) != 0)
		return fail_disk(e, errno, "cannot empty", f->partial);
	f->have = 0;
	return E_OK;
}

static int open_partial(struct fetch_file *f, struct err *e)
{
	struct stat st;
	f->fd = open(f->partial, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (f->fd < 0)
		return fail_disk(e, errno, "cannot open", f->partial);
	int rc = lock_partial(f, &st, e);
	if (rc != E_OK)
		return rc;
	f->have = (uint64_t)st.st_size;
	return f->have <= f->size ? E_OK : fetch_file_empty(f, e);
}

static int check_space(const struct fetch_file *f, struct err *e)
{
	uint64_t free_bytes, missing = f->size - f->have;
	int rc = fsio_free_bytes(f->dir, &free_bytes, e);
	if (rc != E_OK || (free_bytes >= missing && free_bytes - missing >= f->reserve))
		return rc;
	return err_set(e, E_NO_SPACE,
		       "archive %.*s: %" PRIu64 " bytes to come + %" PRIu64 " reserve > %" PRIu64
		       " bytes free in %s",
		       FETCH_SHORT_HEX, f->hex, missing, f->reserve, free_bytes, f->dir);
}

int fetch_file_init(struct fetch_file *f, const char *dir, const char *partial_dir,
		    const struct digest *artifact, uint64_t size, uint64_t reserve, struct err *e)
{
	*f = (struct fetch_file){.artifact = *artifact, .size = size, .reserve = reserve, .fd = -1};
	digest_hex(artifact, f->hex);
	if (size == 0 || size > INT64_MAX)
		return err_set(e, E_INVALID, "archive %.*s: a size of %" PRIu64 " bytes cannot be",
			       FETCH_SHORT_HEX, f->hex, size);
	snprintf(f->dir, sizeof f->dir, "%s", dir);
	snprintf(f->final, sizeof f->final, "%s/%s", dir, f->hex);
	if ((size_t)snprintf(f->partial, sizeof f->partial, "%s/%s.partial",
			     partial_dir != NULL ? partial_dir : dir, f->hex) >= sizeof f->partial)
		return err_set(e, E_INVALID, "fetch: the path %.100s... is too long", dir);
	return E_OK;
}

/* The lock comes first: nobody else names or removes either file now. */
int fetch_file_open(struct fetch_file *f, bool *there, struct err *e)
{
	int rc = open_partial(f, e);
	if (rc != E_OK)
		return rc;
	*there = there_already(f);
	if (!*there)
		return check_space(f, e);
	unlink(f->partial);
	f->have = f->size;
	return E_OK;
}

/* What fits stays, and nothing stays that was not counted. */
int fetch_file_write(struct fetch_file *f, const uint8_t *p, size_t n, struct err *e)
{
	for (size_t done = 0; done < n;) {
		ssize_t wrote = pwrite(f->fd, p + done, n - done, (off_t)f->have);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0) {
			int errnum = errno;
			if (ftruncate(f->fd, (off_t)f->have) != 0)
				unlink(f->partial);
			return fail_disk(e, errnum, "cannot write", f->partial);
		}
		done += (size_t)wrote;
		f->have += (uint64_t)wrote;
	}
	return E_OK;
}

static int drop_wrong(struct fetch_file *f, bool may_retry, bool *emptied, struct err *e)
{
	*emptied = may_retry && fetch_file_empty(f, NULL) == E_OK;
	if (*emptied)
		return E_OK;
	unlink(f->partial);
	return err_set(e, E_CORRUPT,
		       "archive %s: the bytes given for it have another digest; they were removed", f->hex);
}

int fetch_file_finish(struct fetch_file *f, bool may_retry, bool *emptied, struct err *e)
{
	*emptied = false;
	/* What is on disk after a failed fsync is not known, though reading might look fine: it goes. */
	if (fsync(f->fd) != 0) {
		int errnum = errno;
		unlink(f->partial);
		return fail_disk(e, errnum, "cannot fsync", f->partial);
	}
	struct err unread = {0};
	if (!matches(f, f->fd, &unread)) {
		if (unread.code == E_OK)
			return drop_wrong(f, may_retry, emptied, e);
		*e = unread;
		return err_wrap(e, "%s", f->partial);
	}
	return fsio_rename(f->partial, f->final, e);
}

void fetch_file_close(struct fetch_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}
