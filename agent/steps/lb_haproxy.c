#include "agent/steps/lb_haproxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* In the order they are taken; each is one command on one connection. A drain takes LOOK..SAVE without the
 * two UPs. */
enum step { LOOK, SET_DRAIN, WAIT, SET_MAINT, HEALTH_UP, SET_READY, VERIFY, SAVE, DONE };
enum { POLL_MS = 20, ANSWER_MOST = 4 << 20 };

struct link {
	uv_pipe_t pipe;
	uv_connect_t connect;
	uv_write_t write;
	char bytes[16384];
	struct run *run; /* NULL once given up */
};

struct run {
	uv_loop_t *loop;
	char socket[108], backend[65], server[65], state_file[256];
	uint32_t keep_up, timeout_ms, sessions;
	bool drain;
	enum step step;
	struct link *link;
	struct buf answer;
	struct buf saved; /* what the state file says since our last write, as lb_haproxy_states puts it */
	bool settled;	  /* and it is still so */
	char command[256];
	uv_timer_t deadline, pause;
	int open_timers;
	balancer_cb cb;
	void *ctx;
	struct err e;
};

static void ask(struct run *r);

static void on_link_closed(uv_handle_t *h)
{
	free(h->data);
}

static void link_drop(struct run *r)
{
	if (!r->link)
		return;
	r->link->run = NULL;
	uv_close((uv_handle_t *)&r->link->pipe, on_link_closed);
	r->link = NULL;
}

static void on_timer_closed(uv_handle_t *h)
{
	struct run *r = h->data;
	if (--r->open_timers > 0)
		return;
	buf_done(&r->answer);
	buf_done(&r->saved);
	free(r);
}

static void finish(struct run *r, int code)
{
	link_drop(r);
	uv_close((uv_handle_t *)&r->deadline, on_timer_closed);
	uv_close((uv_handle_t *)&r->pause, on_timer_closed);
	r->cb(r->ctx, code, &r->e);
}

/*
 * Others write the same file. Whoever wrote asks again, and writes again when the state is not what it wrote,
 * so the last word is never an old one.
 */
static int save_state(struct run *r, const char *text)
{
	struct buf now;
	buf_init(&now);
	int rc = lb_haproxy_states(text, &now, &r->e);
	r->settled = rc == E_OK && r->saved.len == now.len && now.len > 0 &&
		     memcmp(r->saved.data, now.data, now.len) == 0;
	if (rc == E_OK && !r->settled)
		rc = lb_haproxy_write_state(r->state_file, text, &r->e);
	buf_done(&r->saved);
	r->saved = now;
	return rc;
}

static int look(struct run *r, const char *text)
{
	struct lb_view v;
	int rc = lb_haproxy_view(text, r->backend, r->server, &v, &r->e);
	if (rc != E_OK)
		return rc;
	if (!v.found)
		return err_set(&r->e, E_NOT_FOUND, "HAProxy has no server %s/%s", r->backend, r->server);
	r->sessions = v.sessions;
	if (r->step == LOOK && v.up && v.others_up < r->keep_up)
		return err_set(&r->e, E_CONFLICT, "%s/%s stays: only %u other servers are UP, %u must be",
			       r->backend, r->server, v.others_up, r->keep_up);
	return E_OK;
}

static int verify(struct run *r, const char *text)
{
	struct lb_admin a;
	int rc = lb_haproxy_admin(text, r->backend, r->server, &a, &r->e);
	if (rc != E_OK)
		return rc;
	if (r->drain ? (a.admin & 1) != 0 : a.op == 2 && a.admin == 0)
		return E_OK;
	return err_set(&r->e, E_CONFLICT, "%s/%s did not obey HAProxy's command: op %d, admin %d", r->backend,
		       r->server, a.op, a.admin);
}

static int take_answer(struct run *r, const char *text)
{
	int rc = lb_haproxy_refusal(text, &r->e);
	/* A server without checks refuses "health up"; what counts is what VERIFY reads back. */
	if (rc != E_OK)
		return r->step == HEALTH_UP ? E_OK : rc;
	if (r->step == LOOK || r->step == WAIT)
		return look(r, text);
	if (r->step == VERIFY)
		return verify(r, text);
	if (r->step == SAVE)
		return save_state(r, text);
	return text[strspn(text, "\n")] ? err_set(&r->e, E_PROTOCOL,
						  "HAProxy answered \"%.60s\" to a command that has no "
						  "answer",
						  text + strspn(text, "\n"))
					: E_OK;
}

static enum step after(const struct run *r)
{
	static const enum step drain[] = {[LOOK] = SET_DRAIN,	[SET_DRAIN] = WAIT, [WAIT] = SET_MAINT,
					  [SET_MAINT] = VERIFY, [VERIFY] = SAVE,    [SAVE] = DONE};
	static const enum step undrain[] = {
		[HEALTH_UP] = SET_READY, [SET_READY] = VERIFY, [VERIFY] = SAVE, [SAVE] = DONE};
	enum step next = r->drain ? drain[r->step] : undrain[r->step];
	if (r->step == SAVE && !r->settled)
		return SAVE;
	return next == SAVE && !r->state_file[0] ? DONE : next;
}

static void on_pause(uv_timer_t *t)
{
	ask(t->data);
}

static void answered(struct run *r)
{
	link_drop(r);
	int rc = take_answer(r, buf_cstr(&r->answer));
	if (rc != E_OK) {
		finish(r, rc);
		return;
	}
	if (r->step == WAIT && r->sessions > 0) {
		uv_timer_start(&r->pause, on_pause, POLL_MS, 0);
		return;
	}
	r->step = after(r);
	if (r->step == DONE)
		finish(r, E_OK);
	else
		ask(r);
}

static void fail_link(struct run *r, int why)
{
	finish(r, err_set(&r->e, E_UNAVAILABLE, "HAProxy socket %s: %s; is HAProxy running?", r->socket,
			  uv_strerror(why)));
}

static void on_room(uv_handle_t *h, size_t hint, uv_buf_t *b)
{
	struct link *l = h->data;
	*b = uv_buf_init(l->bytes, sizeof l->bytes);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct link *l = s->data;
	struct run *r = l->run;
	if (!r || n == 0)
		return;
	if (n == UV_EOF)
		answered(r);
	else if (n < 0)
		fail_link(r, (int)n);
	else if (memchr(b->base, 0, (size_t)n) || r->answer.len + (size_t)n > ANSWER_MOST)
		finish(r, err_set(&r->e, E_PROTOCOL, "what %s answers is not HAProxy's", r->socket));
	else
		buf_put(&r->answer, b->base, (size_t)n);
}

static void on_written(uv_write_t *w, int status)
{
	struct link *l = w->data;
	if (l->run && status < 0)
		fail_link(l->run, status);
}

static void on_connect(uv_connect_t *c, int status)
{
	struct link *l = c->data;
	struct run *r = l->run;
	if (!r)
		return;
	if (status < 0) {
		fail_link(r, status);
		return;
	}
	uv_buf_t out = uv_buf_init(r->command, (unsigned)strlen(r->command));
	l->write.data = l;
	uv_write(&l->write, (uv_stream_t *)&l->pipe, &out, 1, on_written);
	uv_read_start((uv_stream_t *)&l->pipe, on_room, on_read);
}

static void set_command(struct run *r)
{
	static const char *const verb[] = {[SET_DRAIN] = "state drain",
					   [SET_MAINT] = "state maint",
					   [HEALTH_UP] = "health up",
					   [SET_READY] = "state ready",
					   [DONE] = NULL};
	char *at = r->command + snprintf(r->command, sizeof r->command, "set severity-output number; ");
	size_t room = sizeof r->command - (size_t)(at - r->command);
	if (r->step == LOOK || r->step == WAIT)
		snprintf(at, room, "show stat %s 4 -1\n", r->backend);
	else if (r->step == VERIFY)
		snprintf(at, room, "show servers state %s\n", r->backend);
	else if (r->step == SAVE)
		snprintf(at, room, "show servers state\n");
	else
		snprintf(at, room, "set server %s/%s %s\n", r->backend, r->server, verb[r->step]);
}

static void ask(struct run *r)
{
	struct link *l = calloc(1, sizeof *l);
	PRE(l);
	set_command(r);
	buf_reset(&r->answer);
	uv_pipe_init(r->loop, &l->pipe, 0);
	l->pipe.data = l->connect.data = l;
	l->run = r;
	r->link = l;
	uv_pipe_connect(&l->connect, &l->pipe, r->socket, on_connect);
}

static void on_deadline(uv_timer_t *t)
{
	struct run *r = t->data;
	int rc = r->step == WAIT && r->sessions > 0
			 ? err_set(&r->e, E_TIMEOUT, "%s/%s still has %u sessions after %u ms of draining",
				   r->backend, r->server, r->sessions, r->timeout_ms)
			 : err_set(&r->e, E_UNAVAILABLE, "HAProxy socket %s gave no answer within %u ms",
				   r->socket, r->timeout_ms);
	finish(r, rc);
}

static bool copy(char *to, size_t cap, const char *from)
{
	return (size_t)snprintf(to, cap, "%s", from) < cap;
}

static void begin(uv_loop_t *loop, const struct lb_target *t, bool drain, balancer_cb cb, void *ctx)
{
	struct err e;
	struct run *r = calloc(1, sizeof *r);
	PRE(r);
	bool fits = copy(r->socket, sizeof r->socket, t->socket) &&
		    copy(r->state_file, sizeof r->state_file, t->state_file);
	if (!fits || !lb_haproxy_name_ok(t->backend) || !lb_haproxy_name_ok(t->server)) {
		free(r);
		cb(ctx, err_set(&e, E_INVALID, "a HAProxy name has only letters, digits and ._-"), &e);
		return;
	}
	copy(r->backend, sizeof r->backend, t->backend);
	copy(r->server, sizeof r->server, t->server);
	r->loop = loop;
	r->keep_up = t->keep_up > 1 ? t->keep_up : 1;
	r->timeout_ms = t->timeout_ms;
	r->drain = drain;
	r->step = drain ? LOOK : HEALTH_UP;
	r->cb = cb;
	r->ctx = ctx;
	r->open_timers = 2;
	buf_init(&r->answer);
	buf_init(&r->saved);
	uv_timer_init(loop, &r->deadline);
	uv_timer_init(loop, &r->pause);
	r->deadline.data = r->pause.data = r;
	uv_timer_start(&r->deadline, on_deadline, t->timeout_ms, 0);
	ask(r);
}

static void drain_server(uv_loop_t *loop, const struct lb_target *t, balancer_cb cb, void *ctx)
{
	begin(loop, t, true, cb, ctx);
}

static void undrain_server(uv_loop_t *loop, const struct lb_target *t, balancer_cb cb, void *ctx)
{
	begin(loop, t, false, cb, ctx);
}

const struct balancer lb_haproxy = {drain_server, undrain_server};
