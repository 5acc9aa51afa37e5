#include "agent/exec/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/log.h"

static void log_open(struct app *a)
{
	char path[EXEC_FULL_PATH];
	struct stat st;
	store_path(path, a->x, a->name, "output.log");
	a->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (a->log_fd >= 0 && fchown(a->log_fd, (uid_t)-1, a->x->agent_group) != 0)
		log_warn(a->name,
			 "output.log cannot be given to the agent's group; the agent may not show it");
	a->log_len = a->log_fd >= 0 && fstat(a->log_fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void rotate(struct app *a)
{
	char path[EXEC_FULL_PATH], old[EXEC_FULL_PATH];
	store_path(path, a->x, a->name, "output.log");
	store_path(old, a->x, a->name, "output.log.1");
	close(a->log_fd);
	if (rename(path, old) != 0)
		log_warn(a->name, "output.log cannot be rotated; it is cut instead");
	log_open(a);
	if (a->log_fd >= 0 && ftruncate(a->log_fd, 0) == 0)
		a->log_len = 0;
}

static void on_output(uv_poll_t *w, int status, int events)
{
	struct app *a = w->data;
	char bytes[16384];
	ssize_t n = read(a->out_fd, bytes, sizeof bytes);
	if (n <= 0 || a->log_fd < 0)
		return; /* drained anyway: a full disk must not block the program */
	uint64_t most = a->st.start.output_bytes ? a->st.start.output_bytes : 1 << 20;
	if (a->log_len > 0 && a->log_len + (uint64_t)n > most)
		rotate(a);
	if (a->log_fd >= 0 && write(a->log_fd, bytes, (size_t)n) == n)
		a->log_len += (uint64_t)n;
}

static int begin(struct app *a, const char *path, struct err *e)
{
	if (mkfifo(path, 0600) != 0 && errno != EEXIST)
		return err_sys(e, E_IO, errno, "make %s", path);
	/* Both ends: there is never an end of file, whoever comes and goes. */
	a->out_fd = open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (a->out_fd < 0)
		return err_sys(e, E_IO, errno, "open %s", path);
	log_open(a);
	a->out = watch_begin(a->x->loop, a->out_fd, on_output, a);
	return E_OK;
}

int output_open(struct app *a, int *child_fd, struct err *e)
{
	char path[EXEC_FULL_PATH];
	store_path(path, a->x, a->name, "output");
	int rc = a->out ? E_OK : begin(a, path, e);
	if (rc != E_OK || !child_fd)
		return rc;
	*child_fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return *child_fd < 0 ? err_sys(e, E_IO, errno, "open %s", path) : E_OK;
}
