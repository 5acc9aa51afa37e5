#include "coordinator/edge/session.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/edge/internal.h"

enum { LINGER_MS = 1000, KEEPALIVE_S = 30 };

static const struct sm_state states[SESSION_NR] = {
	[SESSION_HANDSHAKE] = {"handshake", SM_INITIAL,
			       SM_TO(SESSION_HELLO) | SM_TO(SESSION_LINGERING) | SM_TO(SESSION_CLOSING),
			       "the TLS handshake"},
	[SESSION_HELLO] = {"hello", 0,
			   SM_TO(SESSION_REPLYING) | SM_TO(SESSION_PUBLISHING) | SM_TO(SESSION_LINGERING) |
				   SM_TO(SESSION_CLOSING),
			   "the peer's SP hello"},
	[SESSION_REPLYING] = {"replying", 0, SM_TO(SESSION_LINGERING) | SM_TO(SESSION_CLOSING), "requests"},
	[SESSION_PUBLISHING] = {"publishing", 0, SM_TO(SESSION_LINGERING) | SM_TO(SESSION_CLOSING),
				"hints to send"},
	[SESSION_LINGERING] = {"lingering", 0, SM_TO(SESSION_CLOSING), "the peer to hang up"},
	[SESSION_CLOSING] = {"closing", SM_TERMINAL, 0, NULL},
};
const struct sm session_sm = {"edge session", states, SESSION_NR};

static void move(struct edge_session *s, enum session_state to)
{
	PRE(sm_edge_allowed(&session_sm, (int)s->state, (int)to));
	s->state = to;
}

bool session_ending(const struct edge_session *s)
{
	return s->state == SESSION_LINGERING || s->state == SESSION_CLOSING;
}

/* ending ---------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	struct edge_session *s = handle->data;
	const struct edge_callbacks *cb = &s->edge->callbacks;

	s->edge->counters.closed[s->reason]++;
	if (s->announced && cb->on_close)
		cb->on_close(cb->arg, s, s->reason);
	edge_forget(s);
	sp_decoder_done(&s->decoder);
	stream_done(&s->stream);
	free(s);
}

/* Best effort. A peer on libnng may overlook a connection that just ends, but not TLS's close notice.
 */
static void say_goodbye(struct edge_session *s)
{
	stream_goodbye(&s->stream);
	bool sent = stream_flush(&s->stream);
	(void)sent; /* broken or not, it is being closed */
}

void session_end(struct edge_session *s, enum edge_reason reason)
{
	if (s->state == SESSION_CLOSING)
		return;
	identity_unbind(s);
	if (s->state != SESSION_LINGERING) {
		s->reason = reason;
		say_goodbye(s);
	}
	move(s, SESSION_CLOSING);
	edge_move(s, LIST_ENDING);
	uv_close((uv_handle_t *)&s->stream.tcp, on_closed);
}

static void on_shut_down(uv_shutdown_t *req, int status)
{
	struct edge_session *s = req->data;

	if (status < 0)
		session_end(s, s->reason);
}

void session_end_softly(struct edge_session *s, enum edge_reason reason)
{
	if (session_ending(s))
		return;
	identity_unbind(s);
	s->reason = reason;
	stream_goodbye(&s->stream);
	bool sent = stream_flush(&s->stream);
	move(s, SESSION_LINGERING);
	/* An unfinished connection keeps its place among the pending ones: lingering must not be a way around
	 * the cap. */
	if (s->list != LIST_PENDING)
		edge_move(s, LIST_ENDING);
	s->deadline = uv_now(s->edge->loop) + LINGER_MS;
	s->shutdown.data = s;
	if (!sent || uv_shutdown(&s->shutdown, (uv_stream_t *)&s->stream.tcp, on_shut_down) != 0)
		session_end(s, reason);
}

static void refuse(struct edge_session *s, enum edge_reason reason, enum tls_fault fault, const char *why)
{
	const struct edge_callbacks *cb = &s->edge->callbacks;

	if (cb->on_refused)
		cb->on_refused(cb->arg, s->address, reason, fault, why);
	session_end_softly(s, reason);
}

static void on_broken(struct stream *stream)
{
	session_end(container_of(stream, struct edge_session, stream), EDGE_PEER_BROKE);
}

/* sending ---------------------------------------- */

int session_send(struct edge_session *s, const void *head, size_t head_len, const void *body, size_t body_len)
{
	struct buf *frame = &s->edge->frame;

	if (session_ending(s))
		return E_CLOSED;
	size_t unsent = stream_unsent(&s->stream), limit = s->edge->config.output_max;
	if (body_len > limit || unsent > limit - body_len) {
		session_end(s, EDGE_OUTPUT_FULL);
		return E_TOO_LARGE;
	}
	buf_reset(frame);
	sp_frame_encode(frame, head, head_len, body, body_len);
	if (stream_write(&s->stream, frame->data, frame->len) && stream_flush(&s->stream))
		return E_OK;
	session_end(s, EDGE_PEER_BROKE);
	return E_CLOSED;
}

/* receiving ---------------------------------------- */

static bool say_hello(struct edge_session *s, enum sp_protocol self)
{
	uint8_t hello[SP_HELLO_LEN];

	sp_hello_encode(hello, self);
	return stream_write(&s->stream, hello, sizeof(hello)) && stream_flush(&s->stream);
}

static void on_hello(struct edge_session *s)
{
	const struct edge_callbacks *cb = &s->edge->callbacks;
	bool is_req = s->decoder.peer == SP_REQ0;

	if (!is_req && s->decoder.peer != SP_SUB0) {
		refuse(s, EDGE_BAD_HELLO, TLS_FAULT_NONE, "the peer is neither REQ nor SUB");
		return;
	}
	if (!say_hello(s, is_req ? SP_REP0 : SP_PUB0)) {
		session_end(s, EDGE_PEER_BROKE);
		return;
	}
	move(s, is_req ? SESSION_REPLYING : SESSION_PUBLISHING);
	s->edge->counters.opened++;
	s->deadline = uv_now(s->edge->loop) + (uint64_t)s->edge->config.trust_timeout_ms;
	edge_move(s, is_req ? LIST_UNTRUSTED : LIST_SUBSCRIBED);
	if (is_req) {
		s->announced = true;
		if (cb->on_open)
			cb->on_open(cb->arg, s);
	}
}

/* A place to remember request `id`: NULL when all are taken. `*again` when it is outstanding already. */
static uint32_t *free_place(struct edge_session *s, uint32_t id, bool *again)
{
	uint32_t *place = NULL;

	*again = false;
	for (int i = 0; i < OUTSTANDING_MAX; i++) {
		*again = *again || s->outstanding[i] == id;
		if (s->outstanding[i] == 0)
			place = &s->outstanding[i];
	}
	return place;
}

static void on_request(struct edge_session *s)
{
	const struct edge_callbacks *cb = &s->edge->callbacks;
	const uint8_t *body;
	size_t len;
	uint32_t id;
	bool again;

	if (sp_request_decode(s->decoder.body.data, s->decoder.body.len, &id, &body, &len)) {
		session_end(s, EDGE_BAD_FRAME);
		return;
	}
	uint32_t *place = free_place(s, id, &again);
	if (again)
		return; /* NNG sends again what it believes lost; the answer to the first one answers both */
	if (!place) {
		session_end(s, EDGE_EXCESS);
		return;
	}
	*place = id;
	s->edge->counters.requests++;
	cb->on_request(cb->arg, s, (struct edge_token){id}, body, len);
}

static void on_item(struct edge_session *s, enum sp_item item)
{
	if (item == SP_HELLO)
		on_hello(s);
	else if (s->state == SESSION_REPLYING)
		on_request(s);
	else
		session_end(s, EDGE_BAD_FRAME); /* a SUB peer has nothing to say */
}

/* Plain bytes of the peer. Every callback may end the session, so look before each step. */
static void take_bytes(struct edge_session *s, const uint8_t *p, size_t n)
{
	for (;;) {
		enum sp_item item;
		int rc = sp_decode(&s->decoder, &p, &n, &item);

		if (rc == E_TOO_LARGE)
			session_end(s, EDGE_LARGE_FRAME);
		else if (rc)
			refuse(s, EDGE_BAD_HELLO, TLS_FAULT_NONE, "the peer's first bytes are no SP hello");
		else if (item != SP_MORE)
			on_item(s, item);
		if (rc || item == SP_MORE || session_ending(s))
			return;
	}
}

static int bind_identity(struct edge_session *s, struct err *e)
{
	const struct edge_callbacks *cb = &s->edge->callbacks;

	if (!s->stream.ssl) {
		s->identity = (struct tls_identity){.role = TLS_ROLE_AGENT, .name = {"insecure"}};
		return E_OK;
	}
	int rc = tls_peer_identity(s->stream.ssl, &s->identity, e);
	if (!rc && cb->is_allowed && !cb->is_allowed(cb->arg, &s->identity))
		rc = err_set(e, E_FENCED, "%s %s generation %llu is not allowed to connect",
			     tls_role_name(s->identity.role), s->identity.name.s,
			     (unsigned long long)s->identity.generation);
	if (!rc)
		identity_bind(s);
	return rc;
}

static void tls_failed(struct edge_session *s, enum tls_fault fault, const struct err *e)
{
	if (s->state == SESSION_HANDSHAKE)
		s->edge->counters.handshake_failed[fault]++;
	enum edge_reason reason = e->code == E_CLOSED ? EDGE_PEER_CLOSED : EDGE_TLS;
	if (!s->announced)
		refuse(s, reason, fault, e->text);
	else
		session_end(s, reason);
}

/* False when the rest of the slice must not be looked at. */
static bool shake_hands(struct edge_session *s)
{
	enum tls_fault fault = TLS_FAULT_NONE;
	struct err e;
	enum stream_result r = stream_handshake(&s->stream, &fault, &e);

	if (r == STREAM_FAILED) {
		tls_failed(s, fault, &e);
		return false;
	}
	if (!stream_flush(&s->stream)) {
		session_end(s, EDGE_PEER_BROKE);
		return false;
	}
	if (r == STREAM_MORE)
		return false;
	int rc = bind_identity(s, &e);
	if (rc == E_FENCED)
		refuse(s, EDGE_REFUSED, TLS_FAULT_NONE, e.text);
	else if (rc)
		tls_failed(s, TLS_FAULT_IDENTITY, &e);
	else
		move(s, SESSION_HELLO);
	return !rc;
}

static void take_slice(struct edge_session *s, const uint8_t *p, size_t n)
{
	enum stream_result r = STREAM_OK;

	stream_feed(&s->stream, p, n);
	if (s->state == SESSION_HANDSHAKE && !shake_hands(s))
		return;
	while (r == STREAM_OK && !session_ending(s)) {
		enum tls_fault fault = TLS_FAULT_NONE;
		size_t len = 0;
		struct err e;

		r = stream_read(&s->stream, s->edge->plain, sizeof(s->edge->plain), &len, &fault, &e);
		if (r == STREAM_OK)
			take_bytes(s, s->edge->plain, len);
		else if (r == STREAM_FAILED)
			tls_failed(s, fault, &e);
	}
}

static void peer_left(struct edge_session *s, ssize_t why)
{
	if (s->state == SESSION_HANDSHAKE)
		s->edge->counters.handshake_failed[TLS_FAULT_HUNG_UP]++;
	session_end(s, why == UV_EOF ? EDGE_PEER_CLOSED : EDGE_PEER_BROKE);
}

static void on_read(uv_stream_t *tcp, ssize_t nread, const uv_buf_t *b)
{
	struct edge_session *s = tcp->data;

	if (nread < 0) {
		peer_left(s, nread);
	} else if (nread > 0) {
		s->edge->counters.bytes_in += (uint64_t)nread;
		if (!session_ending(s))
			take_slice(s, (const uint8_t *)b->base, (size_t)nread);
	}
}

/* All sessions read into one buffer: what came is consumed before the callback returns. */
static void on_alloc(uv_handle_t *tcp, size_t suggested, uv_buf_t *b)
{
	struct edge_session *s = tcp->data;

	*b = uv_buf_init((char *)s->edge->input, sizeof(s->edge->input));
}

/* accepting ---------------------------------------- */

static void learn_address(struct edge_session *s)
{
	struct sockaddr_storage a;
	int len = sizeof(a);

	if (uv_tcp_getpeername(&s->stream.tcp, (struct sockaddr *)&a, &len) != 0 ||
	    uv_ip_name((const struct sockaddr *)&a, s->address, sizeof(s->address)) != 0)
		strcpy(s->address, "?");
}

static struct edge_session *session_new(struct edge *edge)
{
	struct edge_session *s = calloc(1, sizeof(*s));

	PRE(s);
	s->edge = edge;
	s->state = SESSION_HANDSHAKE;
	s->list = LIST_PENDING;
	s->deadline = uv_now(edge->loop) + (uint64_t)edge->config.hello_timeout_ms;
	sp_decoder_init(&s->decoder, edge->config.untrusted_frame_max);
	uv_tcp_init(edge->loop, &s->stream.tcp);
	s->stream.tcp.data = s;
	edge->handles++;
	return s;
}

void session_accept(struct edge *edge)
{
	struct edge_session *s = session_new(edge);
	struct err e;
	SSL *ssl = NULL;
	int rc = edge->ctx ? tls_server_new(&ssl, edge->ctx, &e) : E_OK;
	if (stream_init(&s->stream, ssl, &edge->counters.bytes_out, on_broken, &e))
		rc = E_NOMEM;

	edge_move(s, LIST_PENDING);
	if (uv_accept((uv_stream_t *)&edge->listener, (uv_stream_t *)&s->stream.tcp) != 0 || rc) {
		session_end(s, EDGE_PEER_BROKE);
		return;
	}
	edge->counters.accepted++;
	learn_address(s);
	uv_tcp_nodelay(&s->stream.tcp, 1);
	uv_tcp_keepalive(&s->stream.tcp, 1, KEEPALIVE_S);
	if (edge_pending_from(edge, s->address) > edge->config.per_address_max) {
		session_end(s, EDGE_ADDRESS_CAP);
		return;
	}
	if (!s->stream.ssl) {
		PRE(bind_identity(s, &e) == E_OK);
		move(s, SESSION_HELLO);
	}
	if (uv_read_start((uv_stream_t *)&s->stream.tcp, on_alloc, on_read) != 0)
		session_end(s, EDGE_PEER_BROKE);
}
