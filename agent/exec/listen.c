#include "agent/exec/exec.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/log.h"

/* "127.0.0.1:80" or "[::1]:80"; numbers only, so nothing is looked up. */
static int resolve(const char *addr, struct sockaddr_storage *sa, socklen_t *len, struct err *e)
{
	char host[EXEC_ADDR_CAP], *h = host;
	strcpy(host, addr);
	char *port = strrchr(host, ':');
	*port++ = '\0';
	size_t n = strlen(h);
	if (h[0] == '[' && n > 1 && h[n - 1] == ']') {
		h[n - 1] = '\0';
		h++;
	}
	struct addrinfo want = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM},
			*got;
	int why = getaddrinfo(h, port, &want, &got);
	if (why != 0)
		return err_set(e, E_INVALID, "listen address %s: %s; write it as 127.0.0.1:80", addr,
			       gai_strerror(why));
	memcpy(sa, got->ai_addr, got->ai_addrlen);
	*len = got->ai_addrlen;
	freeaddrinfo(got);
	return E_OK;
}

static int open_one(const struct exec_listen *l, int *out, struct err *e)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int one = 1, rc = resolve(l->addr, &sa, &len, e);
	if (rc != E_OK)
		return rc;
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, E_IO, errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, SOMAXCONN) != 0) {
		rc = err_sys(e, E_IO, errno, "listen on %s (%s)", l->addr, l->name);
		close(fd);
		return rc;
	}
	*out = fd;
	return E_OK;
}

static int find(const struct app *a, const char *name)
{
	for (int i = 0; i < a->listener_count; i++)
		if (strcmp(a->listeners[i].name, name) == 0)
			return i;
	return -1;
}

static void forget(struct app *a, int i)
{
	close(a->listeners[i].fd);
	a->listeners[i] = a->listeners[--a->listener_count];
}

static bool named(const struct exec_record *r, const struct listener *l)
{
	for (uint32_t i = 0; i < r->listen_count; i++)
		if (strcmp(r->listens[i].name, l->name) == 0 && strcmp(r->listens[i].addr, l->addr) == 0)
			return true;
	return false;
}

static void keep(struct app *a, const struct exec_listen *l, int fd)
{
	struct listener *slot = &a->listeners[a->listener_count++];
	strcpy(slot->name, l->name);
	strcpy(slot->addr, l->addr);
	slot->fd = fd;
}

int listen_open(struct app *a, const struct exec_record *r, int fds[EXEC_LISTENS], struct err *e)
{
	for (int i = a->listener_count - 1; i >= 0; i--)
		if (!named(r, &a->listeners[i]))
			forget(a, i);
	for (uint32_t i = 0; i < r->listen_count; i++) {
		int at = find(a, r->listens[i].name), fd = -1;
		if (at < 0) {
			int rc = open_one(&r->listens[i], &fd, e);
			if (rc != E_OK)
				return rc;
			keep(a, &r->listens[i], fd);
			at = a->listener_count - 1;
		}
		fds[i] = a->listeners[at].fd;
	}
	return E_OK;
}

/* The program may have closed or reused the number: only a listening socket of the right address is ours. */
static bool is_ours(int fd, const struct exec_listen *l)
{
	struct sockaddr_storage want, have;
	socklen_t want_len, have_len = sizeof have, n = sizeof(int);
	int listening = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) != 0 || !listening)
		return false;
	return resolve(l->addr, &want, &want_len, NULL) == E_OK &&
	       getsockname(fd, (struct sockaddr *)&have, &have_len) == 0 && have_len == want_len &&
	       memcmp(&want, &have, want_len) == 0;
}

void listen_readopt(struct app *a)
{
	const struct exec_record *r = &a->st.start;
	int program = a->st.kept ? child_pidfd(child_first(a->st.pid)) : a->pidfd;
	for (uint32_t i = 0; i < r->listen_count; i++) {
		int fd = child_fd_of(program, 3 + (int)i);
		if (fd >= 0 && is_ours(fd, &r->listens[i])) {
			keep(a, &r->listens[i], fd);
			continue;
		}
		log_warn(a->name,
			 "listener %s could not be fetched back from pid %d; it is opened anew at the next "
			 "start",
			 r->listens[i].name, a->st.pid);
		if (fd >= 0)
			close(fd);
	}
	if (a->st.kept && program >= 0)
		close(program);
}
