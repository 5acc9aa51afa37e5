#include "coordinator/admin/admin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "coordinator/admin/admin_conn.h"
#include "sys/log.h"

int64_t admin_loop_ms(const struct admin *a)
{
	return (int64_t)uv_now(a->loop);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct admin *a = server->data;
	if (status == 0 && !a->closing)
		admin_conn_accept(a);
}

static bool watches(const struct admin_conn *c)
{
	return c->watching && !c->ended;
}

static void on_tick(uv_timer_t *timer)
{
	struct admin *a = timer->data;
	a->looks = ADMIN_LOOKS;
	for (const struct admin_conn *c = a->conns; c; c = c->next)
		a->watchers += watches(c);
	for (struct admin_conn *c = a->conns, *next; c; c = next) {
		next = c->next;
		if (c->deadline_ms && admin_loop_ms(a) >= c->deadline_ms)
			admin_conn_close(c);
		else if (watches(c)) {
			admin_watch_tick(c);
			a->watchers--;
		}
	}
	a->watchers = 0;
}

/* Whether a process answers on the socket that is already there. A file that is no socket is never removed.
 */
static int check_stale(const char *path, struct err *e)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		return E_OK;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, E_EXISTS, "%s is not a socket; choose another path for the admin socket",
			       path);

	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	strncpy(sun.sun_path, path, sizeof sun.sun_path - 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, E_IO, errno, "socket");
	int rc = connect(fd, (struct sockaddr *)&sun, sizeof sun);
	int why = errno;
	close(fd);
	if (rc == 0 || why == EAGAIN)
		return err_set(e, E_EXISTS, "another coordinator answers on %s; stop it first", path);
	if (unlink(path) != 0)
		return err_sys(e, E_IO, errno, "remove the stale socket %s", path);
	return E_OK;
}

static int listen_at(struct admin *a, struct err *e)
{
	/* Born closed to others: between bind and chmod nobody but us may connect. */
	mode_t old = umask(0177);
	int rc = uv_pipe_bind(&a->pipe, a->path);
	umask(old);
	if (rc != 0)
		return err_sys(e, E_IO, -rc, "bind the admin socket %s", a->path);
	if (a->config.gid != (gid_t)-1 && chown(a->path, (uid_t)-1, a->config.gid) != 0)
		return err_sys(e, E_IO, errno, "give %s to group %u", a->path, (unsigned)a->config.gid);
	if (chmod(a->path, 0660) != 0)
		return err_sys(e, E_IO, errno, "chmod %s", a->path);
	rc = uv_listen((uv_stream_t *)&a->pipe, 64, on_connection);
	return rc == 0 ? E_OK : err_sys(e, E_IO, -rc, "listen on %s", a->path);
}

static void free_if_unused(struct admin *a)
{
	if (!a->closing || a->handles > 0 || a->conns)
		return;
	void (*closed)(void *) = a->closed;
	void *arg = a->closed_arg;
	free(a->path);
	free(a);
	if (closed)
		closed(arg);
}

void admin_forget(struct admin *a, struct admin_conn *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		a->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	a->conns_nr--;
	free_if_unused(a);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct admin *a = h->data;
	a->handles--;
	free_if_unused(a);
}

int admin_open(uv_loop_t *loop, const struct admin_config *config, struct admin **out, struct err *e)
{
	if (strlen(config->path) >= sizeof((struct sockaddr_un *)0)->sun_path)
		return err_set(e, E_INVALID,
			       "the socket path %s is longer than the system allows (107 bytes)",
			       config->path);
	int rc = check_stale(config->path, e);
	if (rc != E_OK)
		return rc;

	struct admin *a = calloc(1, sizeof *a);
	PRE(a);
	a->loop = loop;
	a->config = *config;
	a->path = strdup(config->path);
	PRE(a->path);
	PRE(uv_pipe_init(loop, &a->pipe, 0) == 0);
	PRE(uv_timer_init(loop, &a->tick) == 0);
	a->pipe.data = a->tick.data = a;
	a->handles = 2;
	a->looks = ADMIN_LOOKS;
	rc = listen_at(a, e);
	if (rc != E_OK) {
		admin_close(a, NULL, NULL);
		return rc;
	}
	PRE(uv_timer_start(&a->tick, on_tick, ADMIN_TICK_MS, ADMIN_TICK_MS) == 0);
	log_info("admin", "listening on %s", a->path);
	*out = a;
	return E_OK;
}

void admin_close(struct admin *a, void (*closed)(void *arg), void *arg)
{
	a->closing = true;
	a->closed = closed;
	a->closed_arg = arg;
	uv_close((uv_handle_t *)&a->pipe, on_handle_closed); /* libuv removes the socket file it bound */
	uv_close((uv_handle_t *)&a->tick, on_handle_closed);
	for (struct admin_conn *c = a->conns; c; c = c->next)
		admin_conn_close(c);
}

size_t admin_connections(const struct admin *a)
{
	return a->conns_nr;
}
