#include "agent/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "sys/fsio.h"

static int path_of(char out[PATH_MAX], const char *dir, const char *leaf, struct err *e)
{
	int n = snprintf(out, PATH_MAX, "%s/%s", dir, leaf);
	return n > 0 && n < PATH_MAX ? E_OK
				     : err_set(e, E_TOO_LARGE, "the path %s/%s is too long", dir, leaf);
}

static int fail_io(struct err *e, int errnum, const char *what, const char *path)
{
	return err_sys(e, errnum == ENOSPC || errnum == EDQUOT ? E_NO_SPACE : E_IO, errnum, "%s %s", what,
		       path);
}

int durable_write(const char *dir, const char *leaf, const void *bytes, size_t len, struct err *e)
{
	char path[PATH_MAX];
	int rc = path_of(path, dir, leaf, e);
	if (rc == E_OK)
		rc = fsio_write_atomic(path, bytes, len, 0600, e);
	if (rc == E_OK || rc == E_NO_SPACE || rc == E_TOO_LARGE)
		return rc;
	if (e != NULL)
		e->code = E_IO; /* our own folder: whatever is wrong with it may be mended */
	return E_IO;
}

int durable_remove(const char *dir, const char *leaf, struct err *e)
{
	char path[PATH_MAX];
	int rc = path_of(path, dir, leaf, e);
	if (rc != E_OK)
		return rc;
	if (unlink(path) != 0 && errno != ENOENT)
		return fail_io(e, errno, "cannot remove", path);
	return fsio_sync_dir_of(path, e);
}

int durable_read(const char *dir, const char *leaf, size_t most, struct buf *b, struct err *e)
{
	char path[PATH_MAX];
	int rc = path_of(path, dir, leaf, e);
	if (rc != E_OK)
		return rc;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
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
