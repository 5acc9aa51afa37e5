#include "agent/exec/exec.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#include "agent/steps/lb_haproxy.h"
#include "sys/log.h"
#include "sys/rest.h"
#include "sys/unixsock.h"

enum { REST_AFTER_MS = 5000 };

/* Lives until it is closed and its last call is answered. */
struct conn {
	struct exec *x;
	int fd; /* -1 when the agent went away */
	int calls;
	uv_poll_t *watch;
	struct exec_call *waits; /* for a change; one of `calls` */
	struct conn *prev, *next;
};

static struct {
	int fd;
	struct conn *conns;
	struct rest *rest;
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
	DL_DELETE(server.conns, c);
	if (c->waits) {
		free(c->waits);
		c->calls--;
	}
	conn_release(c);
}

/* An answer that does not fit is not lost: without its connection the agent asks again. */
void call_answer(struct exec_call *c, int code, const struct err *e)
{
	struct conn *conn = c->conn;
	c->reply.code = code;
	if (code != E_OK)
		strncpy(c->reply.text, e->text, sizeof c->reply.text - 1);
	bool lost = conn->fd >= 0 && send(conn->fd, &c->reply, sizeof c->reply, MSG_NOSIGNAL) < 0;
	conn->calls--;
	free(c);
	if (lost) {
		log_warn("agent", "an answer could not be sent (%s): its connection is dropped",
			 strerror(errno));
		conn_close(conn);
	} else {
		conn_release(conn);
	}
}

/* Ops that end at once. */
static int act(struct app *a, struct exec_call *c, struct err *e)
{
	if (c->r.op == EXEC_SWAP)
		return store_swap(a->x, &c->r, e);
	if (c->r.op == EXEC_STATUS) {
		app_status(a, &c->reply.status);
		return E_OK;
	}
	return err_set(e, E_UNSUPPORTED, "operation %u is not built into this wavetrain-exec", c->r.op);
}

static void on_balanced(void *ctx, int code, const struct err *e)
{
	call_answer(ctx, code, e);
}

static void balance(struct exec *x, struct exec_call *c)
{
	struct err e;
	const struct exec_balancer *b = &c->r.balancer;
	int rc = allow_balancer(x, b, &e);
	if (rc != E_OK) {
		call_answer(c, rc, &e);
		return;
	}
	struct lb_target t = {b->socket, b->backend, b->server, b->state_file, b->keep_up, c->r.timeout_ms};
	(c->r.op == EXEC_DRAIN ? lb_haproxy.drain : lb_haproxy.undrain)(x->loop, &t, on_balanced, c);
}

static struct app *oldest_change(struct exec *x, uint64_t seen)
{
	struct app *a, *next, *oldest = NULL;
	HASH_ITER(hh, x->apps, a, next)
	{
		if (a->change > seen && (!oldest || a->change < oldest->change))
			oldest = a;
	}
	return oldest;
}

static void tell_change(struct conn *conn)
{
	struct exec_call *c = conn->waits;
	struct app *a = c ? oldest_change(conn->x, c->r.seen_change) : NULL;
	if (!a)
		return;
	conn->waits = NULL;
	strcpy(c->reply.app, a->name);
	c->reply.change = a->change;
	app_status(a, &c->reply.status);
	call_answer(c, E_OK, NULL);
}

static void wait_for_change(struct exec_call *c)
{
	struct err e;
	if (c->conn->waits) {
		call_answer(c, err_set(&e, E_BUSY, "this connection waits for a change already"), &e);
		return;
	}
	c->conn->waits = c;
	tell_change(c->conn);
}

void server_changed(struct app *a)
{
	struct conn *conn, *next;
	a->change = ++a->x->change;
	DL_FOREACH_SAFE(server.conns, conn, next)
	{
		tell_change(conn);
	}
}

static void perform(struct exec *x, struct exec_call *c)
{
	struct err e;
	struct app *a;
	if (c->r.op == EXEC_WATCH) {
		wait_for_change(c);
		return;
	}
	int rc = app_get(x, c->r.app, &a, &e);
	if (rc == E_OK && c->r.op != EXEC_STATUS)
		rc = app_fence(a, &c->r.fence, &e);
	if (rc == E_OK && c->r.op == EXEC_STOP) {
		app_stop(a, c);
	} else if (rc == E_OK && c->r.op == EXEC_START) {
		app_start(a, c);
	} else if (rc == E_OK && c->r.op == EXEC_HOOK) {
		hook_run(a, c);
	} else if (rc == E_OK && (c->r.op == EXEC_DRAIN || c->r.op == EXEC_UNDRAIN)) {
		balance(x, c);
	} else {
		rc = rc == E_OK ? act(a, c, &e) : rc;
		call_answer(c, rc, &e);
	}
}

/* Messages keep their borders, so a record of ours that is merely not valid leaves the connection usable. */
static void refuse(struct conn *conn, const struct exec_record *r, const struct err *e)
{
	struct exec_reply no = {.magic = EXEC_REPLY_MAGIC, .version = EXEC_VERSION, .size = sizeof no};
	no.code = e->code;
	memcpy(no.text, e->text, sizeof e->text);
	no.request = e->code == E_INVALID ? r->request : 0;
	log_warn("agent", "%s", e->text);
	if (send(conn->fd, &no, sizeof no, MSG_NOSIGNAL) < 0 || e->code != E_INVALID)
		conn_close(conn);
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
	if (n <= 0) {
		conn_close(conn);
		return;
	}
	if (record_check(&in, (size_t)n, &e) != E_OK) {
		refuse(conn, &in.r, &e);
		return;
	}
	struct exec_call *c = calloc(1, sizeof *c);
	PRE(c);
	c->r = in.r;
	c->conn = conn;
	conn->calls++;
	rest_worked(server.rest);
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
	DL_APPEND(server.conns, c);
}

/*
 * An exec that was killed between fork and exec of a program leaves a child that holds its socket for a
 * moment. Whoever still listens after two seconds is another exec.
 */
static int listen_patiently(const char *path, struct err *e)
{
	enum { TRIES = 40, PAUSE_MS = 50 };
	int rc = unixsock_listen(path, 0600, &server.fd, e);
	for (int i = 0; rc == E_EXISTS && i < TRIES; i++) {
		poll(NULL, 0, PAUSE_MS);
		rc = unixsock_listen(path, 0600, &server.fd, e);
	}
	return rc;
}

int server_open(struct exec *x, const char *path, struct err *e)
{
	int rc = listen_patiently(path, e);
	if (rc != E_OK)
		return rc;
	if (x->agent != geteuid() && chown(path, x->agent, (gid_t)-1) != 0)
		return err_sys(e, E_DENIED, errno, "give %s to the agent", path);
	watch_begin(x->loop, server.fd, on_connect, x);
	server.rest = rest_open(x->loop, REST_AFTER_MS);
	return E_OK;
}
