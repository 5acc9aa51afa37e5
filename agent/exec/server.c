#include "agent/exec/exec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/log.h"
#include "sys/unixsock.h"

/* Lives until it is closed and its last call is answered. */
struct conn {
	struct exec *x;
	int fd; /* -1 when the agent went away */
	int calls;
	uv_poll_t *watch;
};

static struct {
	int fd;
} server;

uv_poll_t *watch_begin(uv_loop_t *loop, int fd, uv_poll_cb cb, void *data)
{
	uv_poll_t *w = calloc(1, sizeof *w);
	PRE(w);
	w->data = data;
	PRE(uv_poll_init(loop, w, fd) == 0);
	PRE(uv_poll_start(w, UV_READABLE, cb) == 0);
	return w;
}

static void on_watch_closed(uv_handle_t *h)
{
	free(h);
}

void watch_end(uv_poll_t *w)
{
	uv_poll_stop(w);
	uv_close((uv_handle_t *)w, on_watch_closed);
}

static void conn_release(struct conn *c)
{
	if (c->fd < 0 && c->calls == 0)
		free(c);
}

static void conn_close(struct conn *c)
{
	watch_end(c->watch);
	close(c->fd);
	c->fd = -1;
	conn_release(c);
}

void call_answer(struct exec_call *c, int code, const struct err *e)
{
	struct conn *conn = c->conn;
	c->reply.code = code;
	if (code != E_OK)
		strncpy(c->reply.text, e->text, sizeof c->reply.text - 1);
	if (conn->fd >= 0 && send(conn->fd, &c->reply, sizeof c->reply, MSG_NOSIGNAL) < 0)
		log_warn("agent", "an answer could not be sent; it asks again");
	conn->calls--;
	conn_release(conn);
	free(c);
}

/* Ops that end at once. */
static int act(struct app *a, struct exec_call *c, struct err *e)
{
	if (c->r.op == EXEC_SWAP)
		return store_swap(a->x, &c->r, e);
	if (c->r.op == EXEC_START) {
		int rc = app_start(a, &c->r, e);
		app_status(a, &c->reply.status);
		return rc;
	}
	if (c->r.op == EXEC_STATUS) {
		app_status(a, &c->reply.status);
		return E_OK;
	}
	return err_set(e, E_UNSUPPORTED, "operation %u is not built into this wavetrain-exec", c->r.op);
}

static void perform(struct exec *x, struct exec_call *c)
{
	struct err e;
	struct app *a;
	int rc = app_get(x, c->r.app, &a, &e);
	if (rc == E_OK && c->r.op != EXEC_STATUS)
		rc = app_fence(a, &c->r.fence, &e);
	if (rc == E_OK && c->r.op == EXEC_STOP) {
		app_stop(a, c);
	} else if (rc == E_OK && c->r.op == EXEC_HOOK) {
		hook_run(x, c);
	} else {
		rc = rc == E_OK ? act(a, c, &e) : rc;
		call_answer(c, rc, &e);
	}
}

static void on_record(uv_poll_t *w, int status, int events)
{
	struct conn *conn = w->data;
	static union {
		struct exec_record r;
		char more[sizeof(struct exec_record) + 1];
	} in;
	struct err e;
	ssize_t n = recv(conn->fd, &in, sizeof in, MSG_DONTWAIT);
	if (n <= 0 || record_check(&in.r, (size_t)n, &e) != E_OK) {
		struct exec_reply no = {
			.magic = EXEC_REPLY_MAGIC, .version = EXEC_VERSION, .size = sizeof no};
		if (n > 0) {
			no.code = e.code;
			memcpy(no.text, e.text, sizeof e.text);
			no.request = (size_t)n == sizeof in.r ? in.r.request : 0;
			send(conn->fd, &no, sizeof no, MSG_NOSIGNAL);
			log_warn("agent", "%s", e.text);
		}
		conn_close(conn);
		return;
	}
	struct exec_call *c = calloc(1, sizeof *c);
	PRE(c);
	c->r = in.r;
	c->conn = conn;
	conn->calls++;
	record_reply_init(&c->reply, &c->r);
	perform(conn->x, c);
}

static void on_connect(uv_poll_t *w, int status, int events)
{
	struct exec *x = w->data;
	uid_t uid;
	struct err e;
	int fd = accept4(server.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (unixsock_peer(fd, &uid, &e) != E_OK || (uid != geteuid() && uid != x->agent)) {
		log_warn("agent", "a connection of another user was refused");
		close(fd);
		return;
	}
	struct conn *c = calloc(1, sizeof *c);
	PRE(c);
	c->x = x;
	c->fd = fd;
	c->watch = watch_begin(x->loop, fd, on_record, c);
}

int server_open(struct exec *x, const char *path, struct err *e)
{
	int rc = unixsock_listen(path, 0600, &server.fd, e);
	if (rc != E_OK)
		return rc;
	if (x->agent != geteuid() && chown(path, x->agent, (gid_t)-1) != 0)
		return err_sys(e, E_DENIED, errno, "give %s to the agent", path);
	watch_begin(x->loop, server.fd, on_connect, x);
	return E_OK;
}
