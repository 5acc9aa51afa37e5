#include "agent/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static int path_of(char out[PATH_MAX], const char *dir, const char *leaf, const char *end, struct err *e)
{
	int n = snprintf(out, PATH_MAX, "%s/%s%s", dir, leaf, end);
	return n > 0 && n < PATH_MAX ? E_OK
				     : err_set(e, E_TOO_LARGE, "the path %s/%s is too long", dir, leaf);
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, p, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return errno;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

static int fail_io(struct err *e, int errnum, const char *what, const char *path)
{
	return err_sys(e, errnum == ENOSPC || errnum == EDQUOT ? E_NO_SPACE : E_IO, errnum, "%s %s", what,
		       path);
}

static int write_new(const char *path, const void *bytes, size_t len, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_io(e, errno, "cannot create", path);
	int errnum = write_all(fd, bytes, len);
	if (errnum == 0 && fsync(fd) != 0)
		errnum = errno;
	if (close(fd) != 0 && errnum == 0)
		errnum = errno;
	return errnum == 0 ? E_OK : fail_io(e, errnum, "cannot write", path);
}

static int sync_dir(const char *dir, struct err *e)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail_io(e, errno, "cannot open", dir);
	int errnum = fsync(fd) == 0 ? 0 : errno;
	close(fd);
	return errnum == 0 ? E_OK : fail_io(e, errnum, "cannot sync", dir);
}

int durable_write(const char *dir, const char *leaf, const void *bytes, size_t len, struct err *e)
{
	char fresh[PATH_MAX], path[PATH_MAX];
	int rc = path_of(fresh, dir, leaf, "-new", e);
	if (rc == E_OK)
		rc = path_of(path, dir, leaf, "", e);
	if (rc == E_OK)
		rc = write_new(fresh, bytes, len, e);
	if (rc != E_OK)
		return rc;
	if (rename(fresh, path) != 0)
		return fail_io(e, errno, "cannot rename to", path);
	return sync_dir(dir, e);
}

int durable_remove(const char *dir, const char *leaf, struct err *e)
{
	char path[PATH_MAX];
	int rc = path_of(path, dir, leaf, "", e);
	if (rc != E_OK)
		return rc;
	if (unlink(path) != 0 && errno != ENOENT)
		return fail_io(e, errno, "cannot remove", path);
	return sync_dir(dir, e);
}

int durable_read(const char *dir, const char *leaf, size_t most, struct buf *b, struct err *e)
{
	char path[PATH_MAX];
	int rc = path_of(path, dir, leaf, "", e);
	if (rc != E_OK)
		return rc;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? err_sys(e, E_NOT_FOUND, errno, "cannot open %s", path)
				       : fail_io(e, errno, "cannot open", path);
	ssize_t n = 1;
	while (n > 0 && b->len <= most) {
		n = read(fd, buf_reserve(b, 4096), 4096);
		if (n > 0)
			b->len += (size_t)n;
	}
	int errnum = n < 0 ? errno : 0;
	close(fd);
	if (errnum != 0)
		return fail_io(e, errnum, "cannot read", path);
	return b->len <= most ? E_OK : err_set(e, E_TOO_LARGE, "%s is larger than %zu bytes", path, most);
}
