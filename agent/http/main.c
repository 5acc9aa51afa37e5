/*
 * wavetrain-http: everything that wavetrain-agent does over HTTP, in a process that is there only while
 * something is to be done: libcurl and its libraries hold several times the memory of the agent, and what a
 * server sends is read by a program that can be lost. Orders come on descriptor 0 (record.h); when that
 * closes, it ends at once, as if it were killed: what was fetched so far stays for the next try.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utlist.h>

#include "agent/http/attempt.h"
#include "sys/fetch.h"
#include "agent/http/record.h"
#include "sys/log.h"
#include "sys/rest.h"

enum { EXIT_USAGE = 64, ORDERS_FD = STDIN_FILENO, ALIVE_MS = 1000, REST_AFTER_MS = 3000 };

/* One order under way: the one or the other. */
struct served {
	uint64_t request;
	struct fetch *fetch;
	struct attempt *attempt;
	uint64_t told; /* of the bytes that the fetch has */
	struct served *prev, *next;
};

static struct {
	uv_loop_t loop;
	uv_poll_t orders;
	uv_timer_t alive;
	struct curlloop *curl;
	struct served *all;
	struct rest *rest; /* after starting and fetching; an attempt needs little of all that */
} http;

/* Waits while the agent does not read: it is told little, and there is nothing better to do. */
static void answer(const struct http_answer *a)
{
	struct pollfd room = {.fd = ORDERS_FD, .events = POLLOUT};
	while (send(ORDERS_FD, a, sizeof(*a), MSG_NOSIGNAL) != (ssize_t)sizeof(*a)) {
		if (errno != EAGAIN && errno != EINTR)
			_exit(0); /* nobody wants to know */
		poll(&room, 1, -1);
	}
}

static void answer_end(enum http_op op, uint64_t request, uint64_t have, int code, const char *text)
{
	struct http_answer a;
	http_answer_init(&a, op, request);
	a.ended = 1;
	a.code = code;
	a.have = have;
	snprintf(a.text, sizeof(a.text), "%s", text);
	answer(&a);
}

static void served_free(struct served *s)
{
	DL_DELETE(http.all, s);
	fetch_close(s->fetch);
	attempt_close(s->attempt);
	free(s);
	if (http.all == NULL)
		uv_timer_stop(&http.alive);
}

/* Says what is new of each fetch, and that we live when nothing is. */
static void on_alive(uv_timer_t *t)
{
	struct http_answer a;
	struct served *s;
	bool said = false;
	DL_FOREACH(http.all, s)
	{
		if (s->fetch == NULL || fetch_have(s->fetch) == s->told)
			continue;
		http_answer_init(&a, HTTP_FETCH, s->request);
		a.have = s->told = fetch_have(s->fetch);
		answer(&a);
		said = true;
	}
	http_answer_init(&a, HTTP_ALIVE, 0);
	if (!said)
		answer(&a);
}

static struct served *served_new(uint64_t request)
{
	struct served *s = calloc(1, sizeof(*s));
	PRE(s != NULL);
	s->request = request;
	if (http.all == NULL)
		uv_timer_start(&http.alive, on_alive, ALIVE_MS, ALIVE_MS);
	DL_APPEND(http.all, s);
	return s;
}

static void on_fetched(void *ctx, int code, const char *detail)
{
	struct served *s = ctx;
	answer_end(HTTP_FETCH, s->request, fetch_have(s->fetch), code, detail);
	served_free(s);
	rest_worked(http.rest);
}

static void begin_fetch(const struct http_order *o)
{
	const struct http_fetch *f = &o->fetch;
	const char *urls[HTTP_URLS + 1] = {0};
	for (uint32_t i = 0; i < f->urls_nr; i++)
		urls[i] = f->urls[i];
	const struct fetch_config c = {.urls = urls,
				       .artifact = f->artifact,
				       .size_bytes = f->size_bytes,
				       .dir = f->dir,
				       .tls = {f->ca, f->cert, f->key},
				       .reserve_bytes = f->reserve_bytes,
				       .seed = f->seed};
	struct served *s = served_new(o->request);
	struct err e;
	if (fetch_open(&s->fetch, &http.loop, &c, on_fetched, s, &e) == E_OK)
		return;
	answer_end(HTTP_FETCH, o->request, 0, e.code, e.text);
	served_free(s);
}

static void on_attempted(void *ctx, int code, const char *why)
{
	struct served *s = ctx;
	answer_end(HTTP_ATTEMPT, s->request, 0, code, why);
	served_free(s);
}

static void begin_attempt(const struct http_order *o)
{
	struct served *s = served_new(o->request);
	struct err e;
	if (attempt_open(&s->attempt, http.curl, &o->attempt, on_attempted, s, &e) == E_OK)
		return;
	answer_end(HTTP_ATTEMPT, o->request, 0, e.code, e.text);
	served_free(s);
}

static void drop(uint64_t request)
{
	struct served *s, *next;
	DL_FOREACH_SAFE(http.all, s, next)
	if (s->request == request)
		served_free(s);
}

static void take(const struct http_order *o)
{
	if (o->op == HTTP_FETCH)
		begin_fetch(o);
	else if (o->op == HTTP_ATTEMPT)
		begin_attempt(o);
	else
		drop(o->request);
}

static void on_order(uv_poll_t *p, int status, int events)
{
	static struct http_order o; /* large; loop thread only */
	struct err e;
	ssize_t n = recv(ORDERS_FD, &o, sizeof(o), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		_exit(0);
	if (http_order_check(&o, (size_t)n, &e) == E_OK) {
		take(&o);
		return;
	}
	answer_end(HTTP_ALIVE, 0, 0, e.code, e.text); /* an agent of another version understands as much */
	log_error("http", "%s", e.text);
	exit(1);
}

int main(int argc, char **argv)
{
	int type = 0;
	socklen_t len = sizeof(type);
	log_init("wavetrain-http", LOG_INFO);
	if (argc != 1 || getsockopt(ORDERS_FD, SOL_SOCKET, SO_TYPE, &type, &len) != 0 ||
	    type != SOCK_SEQPACKET) {
		fprintf(stderr, "usage: wavetrain-http  (orders on 0; started by wavetrain-agent)\n");
		return EXIT_USAGE;
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0); /* whatever the agent forgot to mark */
	uv_loop_init(&http.loop);
	http.curl = curlloop_open(&http.loop);
	http.rest = rest_open(&http.loop, REST_AFTER_MS);
	uv_timer_init(&http.loop, &http.alive);
	PRE(uv_poll_init(&http.loop, &http.orders, ORDERS_FD) == 0);
	PRE(uv_poll_start(&http.orders, UV_READABLE | UV_DISCONNECT, on_order) == 0);
	return uv_run(&http.loop, UV_RUN_DEFAULT);
}
