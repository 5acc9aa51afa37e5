#include "coordinator/cluster/gate.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/buf.h"
#include "sys/log.h"
#include "sys/stream.h"
#include "sys/tls_pin.h"

enum { SWEEP_MS = 250, BACKLOG = 64, LOG_GAP_MS = 5000 };

enum visit_state { VISIT_HANDSHAKE = 1, VISIT_READING, VISIT_ASKED, VISIT_ANSWERED, VISIT_ENDED };

struct visit {
	struct stream stream; /* first: the handle's owner */
	struct gate *gate;
	uint64_t number;
	enum visit_state state;
	uint64_t deadline;
	struct buf in;
	char from[64];
	struct visit *prev, *next;
};

struct gate {
	uv_loop_t *loop;
	struct gate_config config;
	SSL_CTX *ctx;
	uv_tcp_t listener;
	uv_timer_t sweeper;
	struct visit *visits;
	unsigned visits_nr, handles;
	bool closing, accept_waits;
	void (*closed)(void *arg);
	void *closed_arg;
	uint64_t bytes_out, log_next_ms;
	unsigned log_held;
	uint8_t input[16 * 1024];
};

/* Never given twice in one process: an answer that comes after its gate has closed finds nobody. */
static uint64_t visits_made;

static void accept_next(struct gate *g);

static void release(struct gate *g)
{
	if (--g->handles > 0 || !g->closing)
		return;
	void (*closed)(void *) = g->closed;
	void *arg = g->closed_arg;
	SSL_CTX_free(g->ctx);
	free(g);
	if (closed)
		closed(arg);
}

/* ---- one visitor ---- */

static void on_visit_closed(uv_handle_t *h)
{
	struct visit *v = h->data;
	struct gate *g = v->gate;
	DL_DELETE(g->visits, v);
	g->visits_nr--;
	stream_done(&v->stream);
	buf_done(&v->in);
	free(v);
	if (g->accept_waits)
		accept_next(g);
	release(g);
}

/* Strangers must not fill the log: one line in LOG_GAP_MS, which counts the others. */
static void complain(const struct visit *v, const char *why)
{
	struct gate *g = v->gate;
	if (uv_now(g->loop) < g->log_next_ms) {
		g->log_held++;
		return;
	}
	log_warn("join", "%s: %s [%u more since the last line like this]", v->from, why, g->log_held);
	g->log_held = 0;
	g->log_next_ms = uv_now(g->loop) + LOG_GAP_MS;
}

static void visit_end(struct visit *v, const char *why)
{
	if (v->state == VISIT_ENDED)
		return;
	if (why)
		complain(v, why);
	v->state = VISIT_ENDED;
	uv_close(&v->stream.handle, on_visit_closed);
}

static void on_broken(struct stream *s)
{
	visit_end(container_of(s, struct visit, stream), "the connection broke");
}

static void on_sent(struct stream *s)
{
	struct visit *v = container_of(s, struct visit, stream);
	if (v->state == VISIT_ANSWERED)
		visit_end(v, NULL);
}

/* A whole request is handed over, once; whoever says more than one is not listened to. */
static void look_at_request(struct visit *v)
{
	struct gate *g = v->gate;
	uint32_t length = v->in.len >= GATE_HEAD ? get_u32(v->in.data) : 1;
	if (length == 0 || length > GATE_REQUEST_MAX) {
		visit_end(v, "it sent a request of a size that none has");
		return;
	}
	if (v->in.len < GATE_HEAD + (size_t)length)
		return;
	v->state = VISIT_ASKED;
	v->deadline = uv_now(g->loop) + GATE_ANSWER_MS;
	g->config.asked(g->config.arg, v->number, v->from, v->in.data + GATE_HEAD, length);
}

static enum stream_result read_some(struct visit *v, enum tls_fault *fault, struct err *e)
{
	uint8_t bytes[4096];
	size_t n = 0;
	enum stream_result r = stream_read(&v->stream, bytes, sizeof bytes, &n, fault, e);
	if (r == STREAM_OK && v->state == VISIT_READING) {
		buf_put(&v->in, bytes, n);
		look_at_request(v);
	}
	return r;
}

static void take_slice(struct visit *v, const uint8_t *p, size_t n)
{
	enum tls_fault fault = TLS_FAULT_NONE;
	struct err e = {0};
	enum stream_result r = STREAM_OK;
	stream_feed(&v->stream, p, n);
	if (v->state == VISIT_HANDSHAKE && (r = stream_handshake(&v->stream, &fault, &e)) == STREAM_OK)
		v->state = VISIT_READING;
	while (r == STREAM_OK && v->state != VISIT_ENDED)
		r = read_some(v, &fault, &e);
	if (v->state == VISIT_ENDED)
		return;
	if (!stream_flush(&v->stream) || r == STREAM_FAILED)
		visit_end(v, v->state == VISIT_ANSWERED ? NULL : e.text);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	struct visit *v = h->data;
	*b = uv_buf_init((char *)v->gate->input, sizeof v->gate->input);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct visit *v = s->data;
	if (n < 0)
		visit_end(v, v->state == VISIT_ANSWERED ? NULL : "it left without an answer");
	else if (n > 0 && v->state != VISIT_ENDED)
		take_slice(v, (const uint8_t *)b->base, (size_t)n);
}

static void learn_address(struct visit *v)
{
	struct sockaddr_storage a;
	int len = sizeof a;
	if (uv_tcp_getpeername(&v->stream.tcp, (struct sockaddr *)&a, &len) != 0 ||
	    uv_ip_name((const struct sockaddr *)&a, v->from, sizeof v->from) != 0)
		strcpy(v->from, "?");
}

static struct visit *visit_new(struct gate *g)
{
	struct visit *v = calloc(1, sizeof *v);
	PRE(v);
	PRE(uv_tcp_init(g->loop, &v->stream.tcp) == 0);
	v->stream.tcp.data = v;
	v->gate = g;
	v->number = ++visits_made;
	v->state = VISIT_HANDSHAKE;
	v->deadline = uv_now(g->loop) + GATE_REQUEST_MS;
	buf_init(&v->in);
	DL_APPEND(g->visits, v);
	g->visits_nr++;
	g->handles++;
	return v;
}

static unsigned visitors_from(const struct gate *g, const char *from)
{
	const struct visit *v;
	unsigned n = 0;
	DL_FOREACH(g->visits, v)
	{
		n += v->state != VISIT_ENDED && strcmp(v->from, from) == 0;
	}
	return n;
}

static void accept_next(struct gate *g)
{
	SSL *ssl = NULL;
	struct err e = {0};
	g->accept_waits = !g->closing && g->visits_nr >= GATE_VISITORS_MAX;
	if (g->closing || g->accept_waits)
		return;
	struct visit *v = visit_new(g);
	int rc = tls_server_new(&ssl, g->ctx, &e);
	/* The stream takes `ssl` also when it fails. */
	if (stream_init(&v->stream, ssl, &g->bytes_out, on_broken, &e) != E_OK || rc != E_OK ||
	    uv_accept((uv_stream_t *)&g->listener, &v->stream.io) != 0) {
		visit_end(v, e.text);
		return;
	}
	v->stream.on_sent = on_sent;
	learn_address(v);
	if (visitors_from(g, v->from) > GATE_PER_ADDRESS_MAX) {
		visit_end(v, "too many connections from there");
		return;
	}
	if (uv_read_start(&v->stream.io, on_alloc, on_read) != 0)
		visit_end(v, "the connection broke");
}

static struct visit *find(struct gate *g, uint64_t number)
{
	struct visit *v;
	DL_SEARCH_SCALAR(g->visits, v, number, number);
	return v;
}

void gate_answer(struct gate *g, uint64_t visitor, const void *p, size_t n)
{
	uint8_t head[GATE_HEAD];
	struct visit *v = find(g, visitor);
	PRE(n <= GATE_ANSWER_MAX);
	if (!v || v->state != VISIT_ASKED)
		return;
	put_u32(head, (uint32_t)n);
	v->state = VISIT_ANSWERED;
	if (!stream_write(&v->stream, head, sizeof head) || !stream_write(&v->stream, p, n)) {
		visit_end(v, "the connection broke");
		return;
	}
	stream_goodbye(&v->stream);
	if (!stream_flush(&v->stream))
		visit_end(v, "the connection broke");
	else if (stream_unsent(&v->stream) == 0)
		visit_end(v, NULL);
}

/* ---- opening and closing ---- */

static void on_connection(uv_stream_t *listener, int status)
{
	if (status == 0)
		accept_next(listener->data);
}

static void on_sweep(uv_timer_t *t)
{
	struct gate *g = t->data;
	struct visit *v, *next;
	DL_FOREACH_SAFE(g->visits, v, next)
	{
		if (uv_now(g->loop) > v->deadline)
			visit_end(v, "it took too long");
	}
}

static int start(struct gate *g)
{
	struct sockaddr_storage a = {0};
	if (uv_ip4_addr(g->config.address, g->config.port, (struct sockaddr_in *)&a) != 0 &&
	    uv_ip6_addr(g->config.address, g->config.port, (struct sockaddr_in6 *)&a) != 0)
		return UV_EINVAL;
	int rv = uv_tcp_bind(&g->listener, (const struct sockaddr *)&a, 0);
	if (rv == 0)
		rv = uv_listen((uv_stream_t *)&g->listener, BACKLOG, on_connection);
	if (rv == 0)
		rv = uv_timer_start(&g->sweeper, on_sweep, SWEEP_MS, SWEEP_MS);
	g->config.address = NULL; /* not ours to keep */
	g->config.tls = (struct tls_files){0};
	return rv;
}

int gate_open(struct gate **out, uv_loop_t *loop, const struct gate_config *config, struct err *e)
{
	SSL_CTX *ctx = NULL;
	int rc = tls_pin_server_new(&ctx, &config->tls, e);
	if (rc)
		return rc;
	struct gate *g = calloc(1, sizeof *g);
	PRE(g);
	*g = (struct gate){.loop = loop, .config = *config, .ctx = ctx, .handles = 2};
	PRE(uv_tcp_init(loop, &g->listener) == 0 && uv_timer_init(loop, &g->sweeper) == 0);
	g->listener.data = g->sweeper.data = g;
	int rv = start(g);
	if (rv != 0) {
		gate_close(g, NULL, NULL);
		return err_sys(e, E_UNAVAILABLE, -rv, "join port: listen on %s port %u", config->address,
			       (unsigned)config->port);
	}
	*out = g;
	return E_OK;
}

static void on_handle_closed(uv_handle_t *h)
{
	release(h->data);
}

void gate_close(struct gate *g, void (*closed)(void *arg), void *arg)
{
	struct visit *v, *next;
	g->closing = true;
	g->closed = closed;
	g->closed_arg = arg;
	DL_FOREACH_SAFE(g->visits, v, next)
	{
		visit_end(v, NULL);
	}
	uv_close((uv_handle_t *)&g->listener, on_handle_closed);
	uv_close((uv_handle_t *)&g->sweeper, on_handle_closed);
}
