#include "coordinator/edge/edge.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "coordinator/edge/internal.h"

enum {
	DEFAULT_HANDSHAKES = 64,
	DEFAULT_PER_ADDRESS = 32,
	DEFAULT_PER_IDENTITY = 4,
	DEFAULT_BACKLOG = 4096,
	DEFAULT_HELLO_MS = 10 * 1000,
	DEFAULT_TRUST_MS = 30 * 1000,
	DEFAULT_OUTPUT = 1024 * 1024,
	DEFAULT_PUBLISH_QUEUE = 64 * 1024,
	SWEEP_MS_MAX = 250,
};

static const char *const reasons[EDGE_REASON_NR] = {
#define X(reason, text) [reason] = text,
	EDGE_REASONS(X)
#undef X
};

const char *edge_reason_text(enum edge_reason reason)
{
	return reason > 0 && reason < EDGE_REASON_NR ? reasons[reason] : "none";
}

/* lists of sessions ---------------------------------------- */

static void accept_next(struct edge *edge)
{
	if (edge->closing || edge->counters.pending >= edge->config.handshakes_max) {
		edge->accept_waits = !edge->closing;
		return;
	}
	edge->accept_waits = false;
	session_accept(edge);
}

static void count(struct edge *edge, enum session_list list, bool enters)
{
	uint64_t *gauge = list == LIST_PENDING ? &edge->counters.pending : &edge->counters.sessions;

	if (list != LIST_ENDING)
		*gauge += enters ? 1 : (uint64_t)-1;
}

void edge_move(struct edge_session *s, enum session_list to)
{
	struct edge *edge = s->edge;

	if (s->prev) { /* utlist: a listed element always has a predecessor, the first one the last */
		DL_DELETE(edge->lists[s->list], s);
		count(edge, s->list, false);
	}
	s->list = to;
	DL_APPEND(edge->lists[to], s);
	count(edge, to, true);
	if (edge->accept_waits)
		accept_next(edge);
}

static void release(struct edge *edge)
{
	if (--edge->handles > 0 || !edge->closing)
		return;
	SSL_CTX_free(edge->ctx);
	buf_done(&edge->frame);
	void (*closed)(void *) = edge->closed;
	void *arg = edge->closed_arg;
	free(edge);
	if (closed)
		closed(arg);
}

void edge_forget(struct edge_session *s)
{
	struct edge *edge = s->edge;

	DL_DELETE(edge->lists[s->list], s);
	count(edge, s->list, false);
	release(edge);
}

unsigned edge_pending_from(const struct edge *edge, const char *address)
{
	const struct edge_session *s;
	unsigned n = 0;

	DL_FOREACH(edge->lists[LIST_PENDING], s)
	n += strcmp(s->address, address) == 0;
	return n;
}

/* deadlines ---------------------------------------- */

static void refuse_slow(struct edge_session *s)
{
	const struct edge_callbacks *cb = &s->edge->callbacks;

	if (s->state != SESSION_LINGERING && cb->on_refused)
		cb->on_refused(cb->arg, s->address, EDGE_SLOW_HELLO, TLS_FAULT_NONE,
			       edge_reason_text(EDGE_SLOW_HELLO));
	session_end(s, EDGE_SLOW_HELLO);
}

static void sweep(struct edge *edge, enum session_list list, uint64_t now)
{
	struct edge_session *s, *next;

	DL_FOREACH_SAFE(edge->lists[list], s, next)
	{
		if (s->deadline > now)
			continue;
		if (list == LIST_PENDING)
			refuse_slow(s);
		else
			session_end(s, list == LIST_UNTRUSTED ? EDGE_SLOW_TRUST : s->reason);
	}
}

static void on_sweep(uv_timer_t *timer)
{
	struct edge *edge = timer->data;
	uint64_t now = uv_now(edge->loop);

	sweep(edge, LIST_PENDING, now);
	sweep(edge, LIST_UNTRUSTED, now);
	sweep(edge, LIST_ENDING, now);
	if (edge->accept_waits)
		accept_next(edge);
}

/* open and close ---------------------------------------- */

static void on_connection(uv_stream_t *listener, int status)
{
	struct edge *edge = listener->data;

	/* libuv stops listening until uv_accept is called: that is how the rest waits in the kernel's
	 * backlog. */
	if (status == 0)
		accept_next(edge);
}

#define DEFAULT(field, value) ((field) = (field) ? (field) : (value))

static void set_config(struct edge *edge, const struct edge_config *config)
{
	struct edge_config *c = &edge->config;

	*c = *config;
	c->address = NULL; /* not ours to keep */
	c->tls = (struct tls_files){0};
	DEFAULT(c->handshakes_max, DEFAULT_HANDSHAKES);
	DEFAULT(c->per_address_max, DEFAULT_PER_ADDRESS);
	DEFAULT(c->per_identity_max, DEFAULT_PER_IDENTITY);
	DEFAULT(c->backlog, DEFAULT_BACKLOG);
	DEFAULT(c->hello_timeout_ms, DEFAULT_HELLO_MS);
	DEFAULT(c->trust_timeout_ms, DEFAULT_TRUST_MS);
	DEFAULT(c->untrusted_frame_max, SP_FRAME_MAX_UNTRUSTED);
	DEFAULT(c->trusted_frame_max, SP_FRAME_MAX_TRUSTED);
	DEFAULT(c->output_max, DEFAULT_OUTPUT);
	DEFAULT(c->publish_queue_max, DEFAULT_PUBLISH_QUEUE);
}

static int parse_address(const struct edge_config *c, struct sockaddr_storage *out, struct err *e)
{
	if (uv_ip4_addr(c->address, c->port, (struct sockaddr_in *)out) == 0 ||
	    uv_ip6_addr(c->address, c->port, (struct sockaddr_in6 *)out) == 0)
		return E_OK;
	return err_set(e, E_INVALID, "edge: '%s' is not a numeric IPv4 or IPv6 address", c->address);
}

static bool is_loopback(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static int make_context(SSL_CTX **out, const struct edge_config *c, const struct sockaddr_storage *a,
			struct err *e)
{
	*out = NULL;
	if (!c->insecure_for_tests)
		return tls_ctx_load(out, TLS_SERVER, &c->tls, e);
	if (is_loopback(a))
		return E_OK;
	return err_set(e, E_DENIED, "edge: plain TCP is for tests on loopback only, not on %s", c->address);
}

static struct edge *edge_new(uv_loop_t *loop, const struct edge_config *config,
			     const struct edge_callbacks *callbacks)
{
	struct edge *edge = calloc(1, sizeof(*edge));

	PRE(edge && callbacks->on_request);
	edge->loop = loop;
	edge->callbacks = *callbacks;
	set_config(edge, config);
	buf_init(&edge->frame);
	PRE(uv_tcp_init(loop, &edge->listener) == 0 && uv_timer_init(loop, &edge->sweeper) == 0);
	edge->listener.data = edge;
	edge->sweeper.data = edge;
	edge->handles = 2;
	return edge;
}

static uint64_t sweep_period(const struct edge_config *c)
{
	int64_t least = c->hello_timeout_ms < c->trust_timeout_ms ? c->hello_timeout_ms : c->trust_timeout_ms;
	int64_t period = least / 4 + 1;

	return (uint64_t)(period < SWEEP_MS_MAX ? period : SWEEP_MS_MAX);
}

static int start(struct edge *edge, const struct sockaddr_storage *a)
{
	uint64_t period = sweep_period(&edge->config);
	int rc = uv_tcp_bind(&edge->listener, (const struct sockaddr *)a, 0);

	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&edge->listener, edge->config.backlog, on_connection);
	if (rc == 0)
		rc = uv_timer_start(&edge->sweeper, on_sweep, period, period);
	return rc;
}

int edge_open(struct edge **out, uv_loop_t *loop, const struct edge_config *config,
	      const struct edge_callbacks *callbacks, struct err *e)
{
	struct sockaddr_storage a = {0};
	SSL_CTX *ctx = NULL;
	int rc = parse_address(config, &a, e);

	if (!rc)
		rc = make_context(&ctx, config, &a, e);
	if (rc)
		return rc;
	signal(SIGPIPE,
	       SIG_IGN); /* libuv writes without MSG_NOSIGNAL: a peer that left must not end the process */
	struct edge *edge = edge_new(loop, config, callbacks);
	edge->ctx = ctx;
	rc = start(edge, &a);
	if (rc < 0) {
		edge_close(edge, NULL, NULL);
		return err_sys(e, E_UNAVAILABLE, -rc, "edge: listen on %s port %u", config->address,
			       config->port);
	}
	*out = edge;
	return E_OK;
}

uint16_t edge_port(const struct edge *edge)
{
	struct sockaddr_storage a;
	int len = sizeof(a);

	if (uv_tcp_getsockname(&edge->listener, (struct sockaddr *)&a, &len) != 0)
		return 0;
	return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
					    : ((struct sockaddr_in6 *)&a)->sin6_port);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct edge *edge = handle->data;

	release(edge);
}

void edge_close(struct edge *edge, void (*closed)(void *arg), void *arg)
{
	PRE(!edge->closing);
	edge->closing = true;
	edge->closed = closed;
	edge->closed_arg = arg;
	for (int list = 0; list < LIST_NR; list++) {
		struct edge_session *s, *next;

		DL_FOREACH_SAFE(edge->lists[list], s, next)
		session_end(s, EDGE_SHUTDOWN);
	}
	uv_close((uv_handle_t *)&edge->listener, on_handle_closed);
	uv_close((uv_handle_t *)&edge->sweeper, on_handle_closed);
}

int edge_reload(struct edge *edge, const struct tls_files *tls, struct err *e)
{
	SSL_CTX *ctx = NULL;

	if (edge->config.insecure_for_tests)
		return err_set(e, E_UNSUPPORTED, "edge: a plain port has no certificates to reload");
	int rc = tls_ctx_load(&ctx, TLS_SERVER, tls, e);
	if (rc)
		return rc;
	SSL_CTX_free(edge->ctx);
	edge->ctx = ctx;
	return E_OK;
}

/* traffic ---------------------------------------- */

unsigned edge_publish(struct edge *edge, const void *topic, size_t topic_len, const void *msg, size_t len)
{
	struct edge_session *s, *next;
	unsigned reached = 0;

	if (len > SP_FRAME_MAX_TRUSTED || topic_len > SP_FRAME_MAX_TRUSTED - len)
		return 0;
	edge->counters.published++;
	DL_FOREACH_SAFE(edge->lists[LIST_SUBSCRIBED], s, next)
	{
		if (stream_unsent(&s->stream) > edge->config.publish_queue_max)
			edge->counters.hints_missed++;
		else if (session_send(s, topic, topic_len, msg, len) == E_OK)
			reached++;
	}
	return reached;
}

const struct edge_counters *edge_counters(const struct edge *edge)
{
	return &edge->counters;
}

static bool take_token(struct edge_session *s, struct edge_token token)
{
	for (int i = 0; token.v != 0 && i < OUTSTANDING_MAX; i++)
		if (s->outstanding[i] == token.v) {
			s->outstanding[i] = 0;
			return true;
		}
	return false;
}

int edge_reply(struct edge_session *s, struct edge_token token, const void *bytes, size_t len)
{
	uint8_t head[SP_REQUEST_HEAD_LEN];

	if (!take_token(s, token))
		return E_NOT_FOUND;
	sp_request_head_encode(head, token.v);
	int rc = session_send(s, head, sizeof(head), bytes, len);
	if (!rc)
		s->edge->counters.replies++;
	return rc;
}

void edge_session_trust(struct edge_session *s)
{
	s->decoder.frame_max = s->edge->config.trusted_frame_max;
	if (s->list == LIST_UNTRUSTED)
		edge_move(s, LIST_OPEN);
}

void edge_session_close(struct edge_session *s)
{
	session_end_softly(s, EDGE_DROPPED);
}

const struct tls_identity *edge_session_identity(const struct edge_session *s)
{
	return &s->identity;
}

const char *edge_session_address(const struct edge_session *s)
{
	return s->address;
}

void edge_session_set_data(struct edge_session *s, void *data)
{
	s->data = data;
}

void *edge_session_data(const struct edge_session *s)
{
	return s->data;
}
