#include "sys/fsio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int code_of(int errnum)
{
	return errnum == ENOSPC || errnum == EDQUOT ? E_NO_SPACE
	       : errnum == ENOENT		    ? E_NOT_FOUND
	       : errnum == EACCES		    ? E_DENIED
						    : E_IO;
}

int fsio_write_all(int fd, const void *p, size_t n, struct err *e)
{
	for (const char *at = p; n > 0;) {
		ssize_t w = write(fd, at, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return err_sys(e, code_of(errno), errno, "write");
		at += w;
		n -= (size_t)w;
	}
	return E_OK;
}

static int sync_dir(const char *dir, struct err *e)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, code_of(errno), errno, "open directory %s", dir);
	int rc = fsync(fd) == 0 ? E_OK : err_sys(e, E_IO, errno, "fsync directory %s", dir);
	close(fd);
	return rc;
}

int fsio_sync_dir_of(const char *path, struct err *e)
{
	char dir[FSIO_PATH_CAP];
	const char *slash = strrchr(path, '/');
	if (slash == NULL)
		return sync_dir(".", e);
	snprintf(dir, sizeof dir, "%.*s", (int)(slash == path ? 1 : slash - path), path);
	return sync_dir(dir, e);
}

static int write_new(const char *path, const void *p, size_t n, mode_t mode, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return err_sys(e, code_of(errno), errno, "create %s", path);
	int rc = fchmod(fd, mode) == 0 ? E_OK : err_sys(e, code_of(errno), errno, "chmod %s", path);
	if (rc == E_OK)
		rc = fsio_write_all(fd, p, n, e);
	if (rc == E_OK && fsync(fd) != 0)
		rc = err_sys(e, E_IO, errno, "fsync %s", path);
	if (close(fd) != 0 && rc == E_OK)
		rc = err_sys(e, E_IO, errno, "close %s", path);
	return rc;
}

int fsio_rename(const char *from, const char *to, struct err *e)
{
	if (rename(from, to) != 0)
		return err_sys(e, code_of(errno), errno, "rename %s to %s", from, to);
	return fsio_sync_dir_of(to, e);
}

int fsio_write_atomic(const char *path, const void *p, size_t n, mode_t mode, struct err *e)
{
	char tmp[FSIO_PATH_CAP];
	if ((size_t)snprintf(tmp, sizeof tmp, "%s.new", path) >= sizeof tmp)
		return err_set(e, E_TOO_LARGE, "write %.64s...: the path is too long", path);
	int rc = write_new(tmp, p, n, mode, e);
	if (rc == E_OK)
		return fsio_rename(tmp, path, e);
	unlink(tmp);
	return rc;
}

static int read_fd(int fd, const char *path, size_t max, struct buf *out, struct err *e)
{
	enum { STEP = 64 * 1024 };
	size_t before = out->len;
	for (;;) {
		ssize_t r = read(fd, buf_reserve(out, STEP), STEP);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(e, E_IO, errno, "read %s", path);
		out->len += (size_t)r;
		if (out->len - before > max)
			return err_set(e, E_TOO_LARGE, "%s is larger than %zu bytes", path, max);
		if (r == 0)
			return E_OK;
	}
}

int fsio_read(const char *path, size_t max, struct buf *out, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, code_of(errno), errno, "open %s", path);
	int rc = read_fd(fd, path, max, out, e);
	close(fd);
	return rc;
}

int fsio_mkdir(const char *path, mode_t mode, struct err *e)
{
	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return E_OK;
	return err_sys(e, code_of(errno), errno, "make directory %s", path);
}

int fsio_free_bytes(const char *path, uint64_t *out, struct err *e)
{
	struct statvfs v;
	if (statvfs(path, &v) != 0)
		return err_sys(e, code_of(errno), errno, "look at the file system of %s", path);
	*out = (uint64_t)v.f_bavail * v.f_frsize;
	return E_OK;
}
