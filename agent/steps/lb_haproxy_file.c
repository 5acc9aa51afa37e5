#include "agent/steps/lb_haproxy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sys/fsio.h"

enum { PATH_MOST = 256 };

/* The folder of `path`, and in `leaf` the name in it. -1 with errno. */
static int open_folder(const char *path, const char **leaf)
{
	char dir[PATH_MOST];
	const char *slash = strrchr(path, '/');
	if (!slash || !slash[1] || slash - path >= PATH_MOST) {
		errno = EINVAL;
		return -1;
	}
	*leaf = slash + 1;
	snprintf(dir, sizeof dir, "%.*s", (int)(slash == path ? 1 : slash - path), path);
	return open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Made anew: what was left there by a life that was killed, or put there by somebody, is not written into. */
static int write_new(int folder, const char *name, const char *text)
{
	if (unlinkat(folder, name, 0) != 0 && errno != ENOENT)
		return -1;
	struct err e;
	int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -1;
	int bad = fsio_write_all(fd, text, strlen(text), &e) != E_OK || fsync(fd) != 0;
	return close(fd) || bad ? -1 : 0;
}

static int replace(int folder, const char *leaf, const char *text)
{
	char fresh[PATH_MOST + 24];
	snprintf(fresh, sizeof fresh, "%s.%d.new", leaf, (int)getpid());
	if (write_new(folder, fresh, text) == 0 && renameat(folder, fresh, folder, leaf) == 0)
		return 0;
	int why = errno;
	unlinkat(folder, fresh, 0);
	errno = why;
	return -1;
}

int lb_haproxy_write_state(const char *path, const char *text, struct err *e)
{
	const char *leaf;
	text += strspn(text, "\n");
	if (strncmp(text, "1\n", 2) != 0)
		return err_set(e, E_PROTOCOL, "HAProxy's server state is not of format 1");
	int folder = open_folder(path, &leaf);
	int rc = folder < 0 || replace(folder, leaf, text) != 0 ? err_sys(e, E_IO, errno, "write %s", path)
								: E_OK;
	if (folder >= 0)
		close(folder);
	return rc;
}
