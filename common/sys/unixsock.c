#include "sys/unixsock.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int address(const char *path, struct sockaddr_un *a, struct err *e)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof a->sun_path)
		return err_set(e, E_TOO_LARGE, "socket path %s is longer than %zu bytes", path,
			       sizeof a->sun_path - 1);
	strcpy(a->sun_path, path);
	return E_OK;
}

int unixsock_connect(const char *path, int *out, struct err *e)
{
	struct sockaddr_un a;
	int rc = address(path, &a, e);
	if (rc != E_OK)
		return rc;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, E_IO, errno, "socket");
	if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
		rc = err_sys(e, E_UNAVAILABLE, errno, "connect to %s; is its program running?", path);
		close(fd);
		return rc;
	}
	*out = fd;
	return E_OK;
}

/* The mode must hold from the first moment: umask, not a later chmod. */
static int bind_mode(int fd, const struct sockaddr_un *a, mode_t mode)
{
	mode_t before = umask(0777 & ~mode);
	int rc = bind(fd, (const struct sockaddr *)a, sizeof *a);
	umask(before);
	return rc;
}

int unixsock_listen(const char *path, mode_t mode, int *out, struct err *e)
{
	struct sockaddr_un a;
	int rc = address(path, &a, e), live;
	if (rc != E_OK)
		return rc;
	if (unixsock_connect(path, &live, NULL) == E_OK) {
		close(live);
		return err_set(e, E_EXISTS, "another program listens on %s; stop it first", path);
	}
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, E_IO, errno, "socket");
	struct stat st;
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	if (bind_mode(fd, &a, mode) != 0 || listen(fd, 16) != 0) {
		rc = err_sys(e, E_IO, errno, "listen on %s", path);
		close(fd);
		return rc;
	}
	*out = fd;
	return E_OK;
}

int unixsock_peer(int fd, uid_t *uid, struct err *e)
{
	struct ucred c;
	socklen_t n = sizeof c;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) != 0)
		return err_sys(e, E_IO, errno, "credentials of the peer");
	*uid = c.uid;
	return E_OK;
}
