#include "sys/dirlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int held_by_other(int fd, const char *path, struct err *e)
{
	char pid[32] = "";
	ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
	pid[n > 0 ? n : 0] = 0;
	pid[strcspn(pid, "\n")] = 0;
	return err_set(
		e, E_BUSY,
		"%s is held by process %s: a data directory belongs to one coordinator; stop that one first",
		path, pid[0] ? pid : "(unknown)");
}

static int write_pid(int fd, const char *path, struct err *e)
{
	char pid[32];
	int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n)
		return err_sys(e, E_IO, errno, "cannot write %s", path);
	return E_OK;
}

int dirlock_take(const char *dir, int *fd, struct err *e)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/lock", dir);
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*fd < 0)
		return err_sys(e, E_IO, errno, "cannot open %s", path);
	int rv;
	if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
		rv = errno == EWOULDBLOCK ? held_by_other(*fd, path, e)
					  : err_sys(e, E_IO, errno, "cannot lock %s", path);
	else
		rv = write_pid(*fd, path, e);
	if (rv != E_OK) {
		close(*fd);
		*fd = -1;
	}
	return rv;
}
