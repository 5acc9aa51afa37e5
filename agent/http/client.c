#include "agent/http/client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

enum { LINGER_MS = 15 * 1000, SILENT_MS = 30 * 1000 };

struct http_call {
	struct http_client *client;
	enum http_op op;
	uint64_t request, have;
	http_client_cb cb;
	void *ctx;
	struct http_call *prev, *next;
};

/* An order that the socket had no room for; they go out in turn. */
struct unsent {
	uint64_t request;
	struct unsent *prev, *next;
	struct http_order order; /* as much of it as its size says */
};

/* The process; lives until its end was seen, which may be after it was let go. */
struct child {
	struct http_client *client; /* NULL: let go */
	uv_process_t process;
	uv_poll_t answers;
	int fd;	       /* -1: hung up */
	char why[200]; /* it is ended for; "": it ended by itself */
	bool gone;     /* its end was seen */
	int open_handles;
};

struct http_client {
	uv_loop_t *loop;
	struct http_client_config config;
	char program[HTTP_PATH_CAP];
	struct child *child; /* NULL: there is none */
	struct unsent *unsent;
	struct http_call *calls;
	uint64_t last;
	uv_timer_t timer; /* with calls: for its silence; without: until it is let go */
	/* The calls up to `lost_to` fail for this reason, told on a turn of its own. */
	char lost[200];
	uint64_t lost_to;
	uv_timer_t lost_timer;
	int open_handles;
};

/* ---- the process -------------------------------------------------------------------------------------- */

static void child_handle_closed(uv_handle_t *h)
{
	struct child *k = h->data;
	if (--k->open_handles == 0)
		free(k);
}

static void hang_up(struct child *k)
{
	if (k->fd < 0)
		return;
	uv_close((uv_handle_t *)&k->answers, child_handle_closed);
	close(k->fd);
	k->fd = -1;
}

static void kill_it(struct child *k)
{
	if (!k->gone)
		uv_process_kill(&k->process, SIGKILL);
}

static void forget_unsent(struct http_client *c, struct unsent *u)
{
	DL_DELETE(c->unsent, u);
	free(u);
}

/* It has nothing to lose. Its end, when it is seen, closes the rest. */
static void let_go(struct http_client *c)
{
	if (c->child == NULL)
		return;
	hang_up(c->child);
	kill_it(c->child);
	while (c->unsent != NULL)
		forget_unsent(c, c->unsent);
	c->child->client = NULL;
	c->child = NULL;
}

/* In the order they began. A callback may begin others, which are not lost, and drop any. */
static void on_lost(uv_timer_t *t)
{
	struct http_client *c = t->data;
	while (c->calls != NULL && c->calls->request <= c->lost_to) {
		struct http_call *call = c->calls;
		DL_DELETE(c->calls, call);
		call->client = NULL;
		call->cb(call->ctx, E_CLOSED, c->lost);
		free(call);
	}
}

/* All that wait fail, for this reason, on a turn of the loop of its own. */
static void lose(struct http_client *c, const char *why)
{
	let_go(c);
	uv_timer_stop(&c->timer);
	if (c->calls == NULL)
		return;
	snprintf(c->lost, sizeof(c->lost), "%s", why);
	c->lost_to = c->last;
	uv_timer_start(&c->lost_timer, on_lost, 0, 0);
}

static bool read_answer(struct child *k);

static void say_how_it_ended(struct child *k, int64_t status, int signo)
{
	if (signo != 0)
		snprintf(k->why, sizeof(k->why),
			 "wavetrain-http was ended by signal %d (%s) before it answered", signo,
			 strsignal(signo));
	else
		snprintf(k->why, sizeof(k->why), "wavetrain-http ended with %lld before it answered",
			 (long long)status);
}

/* What it said before is taken first: it may say why it ended. */
static void on_ended(uv_process_t *p, int64_t status, int signo)
{
	struct child *k = p->data;
	k->gone = true;
	while (k->fd >= 0 && read_answer(k))
		;
	if (k->why[0] == '\0')
		say_how_it_ended(k, status, signo);
	if (k->client != NULL)
		lose(k->client, k->why);
	uv_close((uv_handle_t *)p, child_handle_closed);
}

/* What is said in on_ended, which follows. */
static void end_child(struct child *k, const char *why)
{
	snprintf(k->why, sizeof(k->why), "%s", why);
	hang_up(k);
	kill_it(k);
}

static void on_silent(uv_timer_t *t);
static void on_linger(uv_timer_t *t)
{
	let_go(t->data);
}

static void set_timer(struct http_client *c)
{
	if (c->calls != NULL)
		uv_timer_start(&c->timer, on_silent, (uint64_t)c->config.silent_ms, 0);
	else
		uv_timer_start(&c->timer, on_linger, (uint64_t)c->config.linger_ms, 0);
}

/* The loop may have been late itself, and the answer is there unread. */
static void on_silent(uv_timer_t *t)
{
	struct http_client *c = t->data;
	char one, why[100];
	if (c->child == NULL || c->child->fd < 0)
		return;
	if (recv(c->child->fd, &one, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
		set_timer(c);
		return;
	}
	snprintf(why, sizeof(why), "wavetrain-http said nothing for %lld s, and was ended",
		 (long long)c->config.silent_ms / 1000);
	end_child(c->child, why);
}

/* ---- answers ------------------------------------------------------------------------------------------ */

static struct http_call *find(struct http_client *c, uint64_t request)
{
	struct http_call *call;
	DL_FOREACH(c->calls, call)
	if (call->request == request)
		return call;
	return NULL;
}

static void take(struct http_client *c, const struct http_answer *a)
{
	struct http_call *call = find(c, a->request);
	if (call == NULL) { /* dropped meanwhile, or the answer to none */
		set_timer(c);
		return;
	}
	call->have = a->have;
	if (a->ended)
		DL_DELETE(c->calls, call);
	set_timer(c);
	if (!a->ended)
		return;
	call->client = NULL;
	call->cb(call->ctx, a->code, a->text); /* may close the client: it is not touched after this */
	free(call);
}

/* False: there was none. */
static bool read_answer(struct child *k)
{
	struct http_answer a;
	char why[sizeof(k->why)];
	struct err e;
	ssize_t n = recv(k->fd, &a, sizeof(a), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		end_child(k, ""); /* it ends, or has; how is known then */
	} else if (http_answer_check(&a, (size_t)n, &e) != E_OK) {
		snprintf(why, sizeof(why), "wavetrain-http: %.180s", e.text);
		end_child(k, why);
	} else if (a.op == HTTP_ALIVE && a.ended) {
		snprintf(why, sizeof(why), "wavetrain-http: %.180s", a.text);
		end_child(k, why);
	} else {
		take(k->client, &a);
	}
	return true;
}

static void send_unsent(struct http_client *c);

static void on_event(uv_poll_t *p, int status, int events)
{
	struct child *k = p->data;
	if ((events & UV_WRITABLE) != 0)
		send_unsent(k->client);
	if (k->fd >= 0 && (status < 0 || (events & ~UV_WRITABLE) != 0))
		read_answer(k);
}

/* ---- starting it -------------------------------------------------------------------------------------- */

static int spawn(struct http_client *c, struct child *k, int theirs)
{
	char *args[] = {c->program, NULL};
	uv_stdio_container_t stdio[3] = {{.flags = UV_INHERIT_FD, .data.fd = theirs},
					 {.flags = UV_IGNORE},
					 {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO}};
	const uv_process_options_t o = {
		.exit_cb = on_ended, .file = c->program, .args = args, .stdio_count = 3, .stdio = stdio};
	k->process.data = k->answers.data = k;
	k->open_handles = 1;
	return uv_spawn(c->loop, &k->process, &o);
}

static void watch_for(struct http_client *c)
{
	int events = UV_READABLE | UV_DISCONNECT | (c->unsent != NULL ? UV_WRITABLE : 0);
	PRE(uv_poll_start(&c->child->answers, events, on_event) == 0);
}

static void watch(struct http_client *c, struct child *k, int fd)
{
	k->client = c;
	k->fd = fd;
	k->open_handles++;
	PRE(uv_poll_init(c->loop, &k->answers, fd) == 0);
	c->child = k;
	watch_for(c);
}

static int start(struct http_client *c, struct err *e)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return err_sys(e, E_IO, errno, "no socket for wavetrain-http");
	struct child *k = calloc(1, sizeof(*k));
	PRE(k != NULL);
	int rc = spawn(c, k, ends[1]);
	close(ends[1]);
	if (rc == 0) {
		watch(c, k, ends[0]);
		return E_OK;
	}
	close(ends[0]);
	uv_close((uv_handle_t *)&k->process, child_handle_closed);
	return err_sys(e, E_IO, -rc, "cannot start %s", c->program);
}

/* ---- orders ------------------------------------------------------------------------------------------- */

/* 0, or an errno. */
static int put(struct http_client *c, const struct http_order *o)
{
	return send(c->child->fd, o, o->size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)o->size ? 0 : errno;
}

static void keep_unsent(struct http_client *c, const struct http_order *o)
{
	struct unsent *u = malloc(offsetof(struct unsent, order) + o->size);
	PRE(u != NULL);
	u->request = o->request;
	memcpy(&u->order, o, o->size);
	DL_APPEND(c->unsent, u);
	watch_for(c);
}

static int transmit(struct http_client *c, const struct http_order *o, struct err *e)
{
	int rc = c->child != NULL ? E_OK : start(c, e);
	if (rc != E_OK)
		return rc;
	int why = c->unsent != NULL ? EAGAIN : put(c, o);
	if (why == 0)
		return E_OK;
	if (why != EAGAIN)
		return err_sys(e, E_IO, why, "wavetrain-http does not take orders");
	keep_unsent(c, o);
	return E_OK;
}

/* A child that hung up tells by its end why. */
static void not_transmitted(struct http_client *c, const struct err *e)
{
	if (c->child == NULL)
		lose(c, e->text);
	else
		end_child(c->child, e->sys_errno == EPIPE ? "" : e->text);
}

static void send_unsent(struct http_client *c)
{
	struct err e;
	int why = 0;
	while (c->unsent != NULL && (why = put(c, &c->unsent->order)) == 0)
		forget_unsent(c, c->unsent);
	if (why == 0 || why == EAGAIN) {
		watch_for(c);
		return;
	}
	err_sys(&e, E_IO, why, "wavetrain-http does not take orders");
	not_transmitted(c, &e);
}

/* Was it still here? */
static bool take_back(struct http_client *c, uint64_t request)
{
	struct unsent *u;
	DL_FOREACH(c->unsent, u)
	if (u->request == request) {
		forget_unsent(c, u);
		return true;
	}
	return false;
}

static struct http_call *begin(struct http_client *c, struct http_order *o, http_client_cb cb, void *ctx)
{
	struct http_call *call = calloc(1, sizeof(*call));
	struct err e;
	PRE(call != NULL);
	*call = (struct http_call){.client = c, .op = o->op, .request = ++c->last, .cb = cb, .ctx = ctx};
	o->request = call->request;
	DL_APPEND(c->calls, call);
	if (c->child != NULL && c->child->fd < 0)
		return call; /* it is being ended, and this call fails with the others */
	if (transmit(c, o, &e) == E_OK)
		set_timer(c);
	else
		not_transmitted(c, &e);
	return call;
}

int http_client_fetch(struct http_call **out, struct http_client *c, const struct http_fetch *f,
		      const char *const *urls, http_client_cb cb, void *ctx, struct err *e)
{
	static struct http_order o; /* large; loop thread only */
	http_order_init(&o, HTTP_FETCH, 0);
	o.fetch = *f;
	for (o.fetch.urls_nr = 0; urls[o.fetch.urls_nr] != NULL; o.fetch.urls_nr++) {
		const char *url = urls[o.fetch.urls_nr];
		if (o.fetch.urls_nr == HTTP_URLS || strlen(url) >= HTTP_URL_CAP)
			return err_set(e, E_TOO_LARGE,
				       "fetch: more than %d servers, or one of over %d letters", HTTP_URLS,
				       HTTP_URL_CAP - 1);
		snprintf(o.fetch.urls[o.fetch.urls_nr], HTTP_URL_CAP, "%s", url);
	}
	*out = begin(c, &o, cb, ctx);
	return E_OK;
}

struct http_call *http_client_attempt(struct http_client *c, const struct http_attempt *a, http_client_cb cb,
				      void *ctx)
{
	static struct http_order o; /* large; loop thread only */
	http_order_init(&o, HTTP_ATTEMPT, 0);
	o.attempt = *a;
	return begin(c, &o, cb, ctx);
}

uint64_t http_call_have(const struct http_call *call)
{
	return call->have;
}

void http_call_drop(struct http_call *call)
{
	static struct http_order o; /* large; loop thread only */
	struct err e;
	if (call == NULL || call->client == NULL)
		return;
	struct http_client *c = call->client;
	http_order_init(&o, HTTP_DROP, call->request);
	DL_DELETE(c->calls, call);
	free(call);
	if (c->child == NULL || c->child->fd < 0)
		return;
	if (!take_back(c, o.request) && transmit(c, &o, &e) != E_OK)
		not_transmitted(c, &e);
	else
		set_timer(c);
}

/* ---- opening and closing ------------------------------------------------------------------------------ */

static void start_timers(struct http_client *c)
{
	uv_timer_init(c->loop, &c->timer);
	uv_timer_init(c->loop, &c->lost_timer);
	c->timer.data = c->lost_timer.data = c;
	c->open_handles = 2;
}

struct http_client *http_client_open(uv_loop_t *loop, const struct http_client_config *config)
{
	struct http_client *c = calloc(1, sizeof(*c));
	PRE(c != NULL && strlen(config->program) < sizeof(c->program));
	c->loop = loop;
	c->config = *config;
	c->config.linger_ms = config->linger_ms != 0 ? config->linger_ms : LINGER_MS;
	c->config.silent_ms = config->silent_ms != 0 ? config->silent_ms : SILENT_MS;
	snprintf(c->program, sizeof(c->program), "%s", config->program);
	c->config.program = c->program;
	start_timers(c);
	return c;
}

static void on_timer_closed(uv_handle_t *h)
{
	struct http_client *c = h->data;
	if (--c->open_handles == 0)
		free(c);
}

void http_client_close(struct http_client *c)
{
	if (c == NULL)
		return;
	let_go(c);
	while (c->calls != NULL) {
		struct http_call *call = c->calls;
		DL_DELETE(c->calls, call);
		free(call);
	}
	uv_close((uv_handle_t *)&c->timer, on_timer_closed);
	uv_close((uv_handle_t *)&c->lost_timer, on_timer_closed);
}
