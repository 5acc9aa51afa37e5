#include "agent/exec/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/unixsock.h"

struct waiting {
	uint64_t request;
	uint32_t op;
	exec_client_cb cb;
	void *ctx;
	struct waiting *next;
};

struct exec_client {
	uv_loop_t *loop;
	char path[EXEC_SOCKET_CAP];
	int fd;
	uv_poll_t *watch;
	uint64_t last;
	struct waiting *waiting;
	exec_client_watch_cb changed;
	void *changed_ctx;
	uint64_t seen_change;
	uv_timer_t *again; /* exec is away: the next try */
};

enum { WATCH_AGAIN_MS = 200 };

struct exec_client *exec_client_open(uv_loop_t *loop, const char *socket_path)
{
	struct exec_client *c = calloc(1, sizeof *c);
	PRE(c && strlen(socket_path) < sizeof c->path);
	c->loop = loop;
	c->fd = -1;
	strcpy(c->path, socket_path);
	return c;
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

static void hang_up(struct exec_client *c)
{
	if (c->fd < 0)
		return;
	uv_poll_stop(c->watch);
	uv_close((uv_handle_t *)c->watch, on_closed);
	close(c->fd);
	c->fd = -1;
}

static void lost(struct exec_client *c)
{
	static const char why[] =
		"wavetrain-exec went away before it answered; ask for the status before repeating";
	struct waiting *all = c->waiting;
	hang_up(c);
	c->waiting = NULL;
	while (all) {
		struct waiting *w = all;
		struct exec_reply p = {.magic = EXEC_REPLY_MAGIC, .version = EXEC_VERSION, .size = sizeof p};
		p.op = w->op;
		p.request = w->request;
		p.code = E_UNKNOWN_OUTCOME;
		memcpy(p.text, why, sizeof why);
		all = w->next;
		w->cb(w->ctx, &p);
		free(w);
	}
}

static struct waiting *take(struct exec_client *c, uint64_t request)
{
	for (struct waiting **at = &c->waiting; *at; at = &(*at)->next) {
		struct waiting *w = *at;
		if (w->request != request)
			continue;
		*at = w->next;
		return w;
	}
	return NULL;
}

static void on_reply(uv_poll_t *watch, int status, int events)
{
	struct exec_client *c = watch->data;
	struct exec_reply p;
	ssize_t n = recv(c->fd, &p, sizeof p, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || record_reply_check(&p, (size_t)n, NULL) != E_OK) {
		lost(c);
		return;
	}
	struct waiting *w = take(c, p.request);
	if (!w)
		return;
	w->cb(w->ctx, &p); /* may close the client: it is not touched after this */
	free(w);
}

static int dial(struct exec_client *c, struct err *e)
{
	if (c->fd >= 0)
		return E_OK;
	int rc = unixsock_connect(c->path, &c->fd, e);
	if (rc != E_OK)
		return rc;
	c->watch = calloc(1, sizeof *c->watch);
	PRE(c->watch && uv_poll_init(c->loop, c->watch, c->fd) == 0);
	c->watch->data = c;
	PRE(uv_poll_start(c->watch, UV_READABLE | UV_DISCONNECT, on_reply) == 0);
	return E_OK;
}

static int transmit(struct exec_client *c, const struct exec_record *r)
{
	return send(c->fd, r, sizeof *r, MSG_NOSIGNAL) == (ssize_t)sizeof *r ? 0 : errno;
}

static void on_change(void *ctx, const struct exec_reply *p);

static bool only_watches(const struct exec_client *c)
{
	for (const struct waiting *w = c->waiting; w; w = w->next)
		if (w->cb != on_change)
			return false;
	return true;
}

int exec_client_call(struct exec_client *c, const struct exec_record *r, exec_client_cb cb, void *ctx,
		     struct err *e)
{
	struct exec_record out = *r;
	out.request = ++c->last;
	int rc = dial(c, e);
	if (rc != E_OK)
		return rc;
	int why = transmit(c, &out);
	/* exec was replaced and nothing waits for the old one: the new one is as good. */
	if (why == EPIPE && only_watches(c)) {
		lost(c);
		if ((rc = dial(c, e)) != E_OK)
			return rc;
		why = transmit(c, &out);
	}
	if (why)
		return err_sys(e, E_UNAVAILABLE, why, "send to wavetrain-exec at %s", c->path);
	struct waiting *w = calloc(1, sizeof *w);
	PRE(w);
	*w = (struct waiting){out.request, r->op, cb, ctx, c->waiting};
	c->waiting = w;
	return E_OK;
}

static void ask_changes(struct exec_client *c);

static void on_again(uv_timer_t *t)
{
	ask_changes(t->data);
}

static void on_change(void *ctx, const struct exec_reply *p)
{
	struct exec_client *c = ctx;
	if (p->code != E_OK) {
		uv_timer_start(c->again, on_again, WATCH_AGAIN_MS, 0);
		return;
	}
	/* The question goes out before the answer is told, which may close the client. */
	c->seen_change = p->change;
	ask_changes(c);
	c->changed(c->changed_ctx, p->app, &p->status);
}

static void ask_changes(struct exec_client *c)
{
	static struct exec_record r; /* large; loop thread only */
	record_init(&r, EXEC_WATCH, "");
	r.seen_change = c->seen_change;
	if (exec_client_call(c, &r, on_change, c, NULL) != E_OK)
		uv_timer_start(c->again, on_again, WATCH_AGAIN_MS, 0);
}

void exec_client_watch(struct exec_client *c, exec_client_watch_cb cb, void *ctx)
{
	PRE(!c->changed);
	c->changed = cb;
	c->changed_ctx = ctx;
	c->again = calloc(1, sizeof *c->again);
	PRE(c->again && uv_timer_init(c->loop, c->again) == 0);
	c->again->data = c;
	ask_changes(c);
}

bool exec_client_is_up(const struct exec_client *c)
{
	return c->fd >= 0;
}

void exec_client_close(struct exec_client *c)
{
	if (!c)
		return;
	hang_up(c);
	if (c->again)
		uv_close((uv_handle_t *)c->again, on_closed);
	while (c->waiting) {
		struct waiting *w = c->waiting;
		c->waiting = w->next;
		free(w);
	}
	free(c);
}
