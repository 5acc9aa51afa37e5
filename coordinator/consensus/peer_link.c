#include "coordinator/consensus/peer_link.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const struct sm_state states[LINK_STATE_NR] = {
	[LINK_RESOLVING] = {"resolving", SM_INITIAL, SM_TO(LINK_CONNECTING) | SM_TO(LINK_CLOSING),
			    "the address of a name"},
	[LINK_CONNECTING] = {"connecting", SM_INITIAL, SM_TO(LINK_HANDSHAKE) | SM_TO(LINK_CLOSING), "TCP"},
	[LINK_HANDSHAKE] = {"handshake", SM_INITIAL,
			    SM_TO(LINK_HELLO) | SM_TO(LINK_LINGERING) | SM_TO(LINK_CLOSING),
			    "the TLS handshake"},
	[LINK_HELLO] = {"hello", 0, SM_TO(LINK_OPEN) | SM_TO(LINK_LINGERING) | SM_TO(LINK_CLOSING),
			"the hello, or its answer"},
	[LINK_OPEN] = {"open", 0, SM_TO(LINK_CLOSING), "messages"},
	[LINK_LINGERING] = {"lingering", 0, SM_TO(LINK_CLOSING), "the peer to hang up"},
	[LINK_CLOSING] = {"closing", SM_TERMINAL, 0, NULL},
};
const struct sm link_sm = {"peer link", states, LINK_STATE_NR};

static void move(struct link *l, enum link_state to)
{
	PRE(sm_edge_allowed(&link_sm, (int)l->state, (int)to));
	l->state = to;
}

bool link_ending(const struct link *l)
{
	return l->state == LINK_LINGERING || l->state == LINK_CLOSING;
}

/* ---- ending ---- */

static void release(struct link *l)
{
	if (--l->handles > 0)
		return;
	peers_link_gone(l);
	stream_done(&l->outer);
	stream_done(&l->inner);
	peer_inspector_done(&l->inspector);
	buf_done(&l->hello);
	free(l);
}

static void on_outer_closed(uv_handle_t *handle)
{
	release(handle->data);
}

/* The engine waits for its stream, or for the news that there will be none. */
static void tell_engine(struct link *l, uv_stream_t *stream, int status)
{
	struct raft_uv_connect *req = l->req;
	if (!req)
		return;
	l->req = NULL;
	l->told(req, stream, status);
}

static void decide_end(struct link *l, enum consensus_link_end end, const char *why)
{
	if (l->end)
		return;
	l->end = end;
	peers_link_ended(l, why);
}

void link_end(struct link *l, enum consensus_link_end end, const char *why)
{
	if (l->state == LINK_CLOSING)
		return;
	decide_end(l, end, why);
	if (l->state != LINK_LINGERING)
		stream_goodbye(&l->outer);
	bool sent = l->state < LINK_HANDSHAKE || stream_flush(&l->outer);
	(void)sent; /* broken or not, it is being closed */
	if (l->state == LINK_RESOLVING)
		uv_cancel((uv_req_t *)&l->resolve); /* its callback comes in any case */
	move(l, LINK_CLOSING);
	uv_close(&l->outer.handle, on_outer_closed);
	if (l->inner_made)
		uv_close(&l->inner.handle, on_outer_closed);
	tell_engine(l, NULL, l->peers->closing ? RAFT_CANCELED : RAFT_NOCONNECTION);
}

static void on_shut_down(uv_shutdown_t *req, int status)
{
	struct link *l = req->data;
	if (status < 0)
		link_end(l, l->end, "");
}

/* Before it was open: let the last words arrive. */
static void end_softly(struct link *l, enum consensus_link_end end, const char *why)
{
	if (link_ending(l))
		return;
	if (!l->accepted) {
		link_end(l, end, why);
		return;
	}
	decide_end(l, end, why);
	stream_goodbye(&l->outer);
	bool sent = stream_flush(&l->outer);
	move(l, LINK_LINGERING);
	l->deadline = uv_now(l->peers->loop) + LINK_LINGER_MS;
	l->shutdown.data = l;
	if (!sent || uv_shutdown(&l->shutdown, &l->outer.io, on_shut_down) != 0)
		link_end(l, end, why);
}

static void refuse(struct link *l, enum peer_answer answer, enum consensus_link_end end, const char *why)
{
	struct buf b;
	buf_init(&b);
	peer_answer_encode(&b, answer);
	bool queued = stream_write(&l->outer, b.data, b.len);
	(void)queued; /* it is refused, heard or not */
	buf_done(&b);
	end_softly(l, end, why);
}

static void on_outer_broken(struct stream *s)
{
	link_end(container_of(s, struct link, outer), CONSENSUS_LINK_BROKE, "");
}

static void on_inner_broken(struct stream *s)
{
	link_end(container_of(s, struct link, inner), CONSENSUS_LINK_CLOSED, "our engine gave it up");
}

/* ---- between the two sides ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *b)
{
	const struct link *l = handle->data;
	/* All links read into one buffer: what came is consumed before the callback returns. */
	*b = uv_buf_init((char *)l->peers->input, sizeof l->peers->input);
}

static void on_outer_read(uv_stream_t *tcp, ssize_t nread, const uv_buf_t *b);
static void on_inner_read(uv_stream_t *pipe, ssize_t nread, const uv_buf_t *b);

/* What one side cannot send stops the other from being read. */
static void hold_or_go_on(struct link *l, const struct stream *to, struct stream *from, uv_read_cb read)
{
	if (l->state != LINK_OPEN)
		return;
	if (!l->held && stream_unsent(to) > LINK_HIGH_WATER) {
		l->held = true;
		uv_read_stop(&from->io);
	} else if (l->held && stream_unsent(to) < LINK_LOW_WATER) {
		l->held = false;
		uv_read_start(&from->io, on_alloc, read);
	}
}

static void on_outer_sent(struct stream *s)
{
	struct link *l = container_of(s, struct link, outer);
	if (!l->accepted)
		hold_or_go_on(l, &l->outer, &l->inner, on_inner_read);
}

static void on_inner_sent(struct stream *s)
{
	struct link *l = container_of(s, struct link, inner);
	if (l->accepted)
		hold_or_go_on(l, &l->inner, &l->outer, on_outer_read);
}

/* From the engine to the peer. */
static void on_inner_read(uv_stream_t *pipe, ssize_t nread, const uv_buf_t *b)
{
	struct link *l = pipe->data;
	if (nread < 0) {
		link_end(l, CONSENSUS_LINK_CLOSED, "our engine gave it up");
		return;
	}
	if (nread == 0)
		return;
	if (l->accepted || !stream_write(&l->outer, b->base, (size_t)nread) || !stream_flush(&l->outer))
		link_end(l, CONSENSUS_LINK_BROKE, "");
	else
		hold_or_go_on(l, &l->outer, &l->inner, on_inner_read);
}

/* From the peer to the engine. */
static void take_messages(struct link *l, const uint8_t *p, size_t n)
{
	uint64_t before = l->inspector.messages;
	struct err e;
	int rc = peer_inspect(&l->inspector, p, n, &l->inner.out, &e);
	l->peer->heard_ms = uv_now(l->peers->loop);
	l->peers->counters.messages_in += l->inspector.messages - before;
	if (rc)
		link_end(l,
			 rc == E_DENIED	     ? CONSENSUS_LINK_FALSE_NAME
			 : rc == E_TOO_LARGE ? CONSENSUS_LINK_LARGE_MESSAGE
					     : CONSENSUS_LINK_BAD_MESSAGE,
			 e.text);
	else if (!stream_flush(&l->inner))
		on_inner_broken(&l->inner);
	else
		hold_or_go_on(l, &l->inner, &l->outer, on_outer_read);
}

/* ---- opening ---- */

static uv_pipe_t *engine_end(struct link *l, uv_os_sock_t fd)
{
	uv_pipe_t *pipe = raft_malloc(sizeof *pipe);
	PRE(pipe && uv_pipe_init(l->peers->loop, pipe, 0) == 0 && uv_pipe_open(pipe, fd) == 0);
	return pipe;
}

/* The engine's end, which is its own to close and free; NULL: too many open files. */
static uv_stream_t *make_inner(struct link *l)
{
	uv_os_sock_t ends[2];
	if (uv_socketpair(SOCK_STREAM, 0, ends, UV_NONBLOCK_PIPE, UV_NONBLOCK_PIPE) != 0)
		return NULL;
	PRE(uv_pipe_init(l->peers->loop, &l->inner.pipe, 0) == 0 &&
	    uv_pipe_open(&l->inner.pipe, ends[0]) == 0);
	l->inner_made = true;
	l->inner.handle.data = l;
	l->handles++;
	uv_read_start(&l->inner.io, on_alloc, on_inner_read);
	return (uv_stream_t *)engine_end(l, ends[1]);
}

static void open_link(struct link *l)
{
	uv_stream_t *engines = make_inner(l);
	struct peers *p = l->peers;
	if (!engines) {
		link_end(l, CONSENSUS_LINK_BROKE, "no socket pair: too many open files");
		return;
	}
	move(l, LINK_OPEN);
	l->unsent_since = uv_now(p->loop);
	peers_link_opened(l);
	if (l->accepted)
		p->accepted(p->transport, l->peer->id, peers_member_address(p, l->peer->id), engines);
	else
		tell_engine(l, engines, 0);
}

static void take_hello(struct link *l, const char *configured)
{
	char claimed[PEER_ADDRESS_CAP];
	struct buf b;
	struct err e;
	if (peer_hello_decode(l->hello.data, l->hello.len, claimed, &e) != E_OK) {
		end_softly(l, CONSENSUS_LINK_BAD_HELLO, e.text);
		return;
	}
	if (!configured || strcmp(claimed, configured) != 0) {
		err_set(&e, E_DENIED, "it says %s, the cluster has %s", claimed,
			configured ? configured : "none");
		refuse(l, PEER_OTHER_ADDRESS, CONSENSUS_LINK_OTHER_ADDRESS, e.text);
		return;
	}
	buf_init(&b);
	peer_answer_encode(&b, PEER_WELCOME);
	bool said = stream_write(&l->outer, b.data, b.len) && stream_flush(&l->outer);
	buf_done(&b);
	if (said)
		open_link(l);
	else
		link_end(l, CONSENSUS_LINK_BROKE, "");
}

/* Who dialed waits for the answer: there is nothing behind a hello. */
static void hello_bytes(struct link *l, const uint8_t *p, size_t n)
{
	struct err e;
	size_t whole = 0;
	size_t room = PEER_HELLO_MAX - l->hello.len;
	buf_put(&l->hello, p, n < room ? n : room);
	int rc = peer_hello_length(l->hello.data, l->hello.len, &whole, &e);
	if (rc == E_VERSION)
		refuse(l, PEER_OTHER_VERSION, CONSENSUS_LINK_BAD_HELLO, e.text);
	else if (rc)
		end_softly(l, CONSENSUS_LINK_BAD_HELLO, e.text);
	else if (n > room || (whole && l->hello.len > whole))
		end_softly(l, CONSENSUS_LINK_BAD_HELLO, "it did not wait for the answer to its hello");
	else if (whole && l->hello.len == whole)
		take_hello(l, peers_member_address(l->peers, l->peer->id));
}

static void answer_bytes(struct link *l, const uint8_t *p, size_t n)
{
	uint32_t answer;
	struct err e;
	if (n > PEER_ANSWER_LEN - l->hello.len) {
		link_end(l, CONSENSUS_LINK_BAD_HELLO, "more than an answer to our hello");
		return;
	}
	buf_put(&l->hello, p, n);
	if (l->hello.len < PEER_ANSWER_LEN)
		return;
	if (peer_answer_decode(l->hello.data, &answer, &e) != E_OK)
		link_end(l, CONSENSUS_LINK_BAD_HELLO, e.text);
	else if (answer != PEER_WELCOME)
		link_end(l, CONSENSUS_LINK_REFUSED, peer_answer_text(answer));
	else
		open_link(l);
}

static void take_plain(struct link *l, const uint8_t *p, size_t n)
{
	if (l->state == LINK_OPEN && l->accepted)
		take_messages(l, p, n);
	else if (l->state == LINK_OPEN)
		link_end(l, CONSENSUS_LINK_BAD_MESSAGE, "it speaks on a link that is ours to speak on");
	else if (l->accepted)
		hello_bytes(l, p, n);
	else
		answer_bytes(l, p, n);
}

/* ---- TLS ---- */

/* A stranger that gives up, or a peer that was stopped meanwhile. */
static void hung_up(struct link *l)
{
	if (l->state == LINK_HANDSHAKE) {
		l->peers->counters.tls_faults[TLS_FAULT_HUNG_UP]++;
		link_end(l, l->accepted ? CONSENSUS_LINK_TLS : CONSENSUS_LINK_UNREACHABLE,
			 "it hung up in the handshake");
	} else {
		link_end(l, CONSENSUS_LINK_CLOSED, "");
	}
}

static void tls_failed(struct link *l, enum tls_fault fault, const struct err *e)
{
	/* A client in TLS 1.3 is done before the server has looked at its certificate: it is told in HELLO.
	 */
	bool early = l->state == LINK_HANDSHAKE || l->state == LINK_HELLO;
	if (fault == TLS_FAULT_HUNG_UP) {
		hung_up(l);
	} else if (early) {
		l->peers->counters.tls_faults[fault]++;
		end_softly(l, CONSENSUS_LINK_TLS, e->text);
	} else {
		link_end(l, CONSENSUS_LINK_BROKE, e->text);
	}
}

static void name_peer(struct link *l, uint64_t id, const char *where)
{
	snprintf(l->name, sizeof l->name, "coordinator %llu at %s", (unsigned long long)id, where);
}

/* False when the link is refused. */
static bool bind_accepted(struct link *l, const struct tls_identity *who, uint64_t id)
{
	char where[INET6_ADDRSTRLEN + 1];
	snprintf(where, sizeof where, "%.46s", l->name);
	name_peer(l, id, where);
	if (id == l->peers->config.id || !peers_member_address(l->peers, id)) {
		refuse(l, PEER_NO_MEMBER, CONSENSUS_LINK_NO_MEMBER,
		       id == l->peers->config.id ? "it has our own certificate" : who->name.s);
		return false;
	}
	l->peer = peers_know(l->peers, id);
	peer_inspector_init(&l->inspector, id);
	return true;
}

static bool bind_dialed(struct link *l, uint64_t id)
{
	struct err e;
	if (id == l->peer->id)
		return true;
	err_set(&e, E_DENIED, "there is coordinator %llu", (unsigned long long)id);
	link_end(l, CONSENSUS_LINK_OTHER_NODE, e.text);
	return false;
}

static bool bind_identity(struct link *l)
{
	struct tls_identity who;
	uint64_t id;
	struct err e;
	if (tls_peer_identity(l->outer.ssl, &who, &e) != E_OK) {
		tls_failed(l, TLS_FAULT_IDENTITY, &e);
		return false;
	}
	if (!tls_coordinator_id(&who, &id)) {
		err_set(&e, E_DENIED, "it is %s %s", tls_role_name(who.role), who.name.s);
		end_softly(l, CONSENSUS_LINK_NO_COORDINATOR, e.text);
		return false;
	}
	return l->accepted ? bind_accepted(l, &who, id) : bind_dialed(l, id);
}

static bool say_hello(struct link *l)
{
	struct buf b;
	buf_init(&b);
	peer_hello_encode(&b, l->peers->address);
	bool said = stream_write(&l->outer, b.data, b.len) && stream_flush(&l->outer);
	buf_done(&b);
	return said;
}

/* False when the rest of the slice must not be looked at. */
static bool shake_hands(struct link *l)
{
	enum tls_fault fault = TLS_FAULT_NONE;
	struct err e;
	enum stream_result r = stream_handshake(&l->outer, &fault, &e);
	if (r == STREAM_FAILED) {
		tls_failed(l, fault, &e);
		return false;
	}
	if (!stream_flush(&l->outer)) {
		link_end(l, CONSENSUS_LINK_BROKE, "");
		return false;
	}
	if (r == STREAM_MORE || !bind_identity(l))
		return false;
	move(l, LINK_HELLO);
	if (l->accepted || say_hello(l))
		return true;
	link_end(l, CONSENSUS_LINK_BROKE, "");
	return false;
}

static void take_slice(struct link *l, const uint8_t *p, size_t n)
{
	enum stream_result r = STREAM_OK;
	stream_feed(&l->outer, p, n);
	if (l->state == LINK_HANDSHAKE && !shake_hands(l))
		return;
	while (r == STREAM_OK && !link_ending(l)) {
		enum tls_fault fault = TLS_FAULT_NONE;
		size_t len = 0;
		struct err e;
		r = stream_read(&l->outer, l->peers->plain, sizeof l->peers->plain, &len, &fault, &e);
		if (r == STREAM_OK)
			take_plain(l, l->peers->plain, len);
		else if (r == STREAM_FAILED)
			tls_failed(l, fault, &e);
	}
}

static void peer_left(struct link *l, ssize_t why)
{
	if (why == UV_EOF || l->state == LINK_HANDSHAKE)
		hung_up(l);
	else /* UV_ETIMEDOUT is the kernel's word for TCP_USER_TIMEOUT */
		link_end(l, why == UV_ETIMEDOUT ? CONSENSUS_LINK_STALLED : CONSENSUS_LINK_BROKE,
			 uv_strerror((int)why));
}

static void on_outer_read(uv_stream_t *tcp, ssize_t nread, const uv_buf_t *b)
{
	struct link *l = tcp->data;
	if (nread < 0) {
		peer_left(l, nread);
	} else if (nread > 0) {
		l->peers->counters.bytes_in += (uint64_t)nread;
		if (!link_ending(l))
			take_slice(l, (const uint8_t *)b->base, (size_t)nread);
	}
}

/* ---- beginning ---- */

static struct link *link_new(struct peers *p, bool accepted, enum link_state state)
{
	struct link *l = calloc(1, sizeof *l);
	struct err e;
	PRE(l);
	l->peers = p;
	l->accepted = accepted;
	l->state = state;
	l->deadline = uv_now(p->loop) + LINK_HANDSHAKE_MS;
	buf_init(&l->hello);
	peer_inspector_init(&l->inspector, 0);
	PRE(stream_init(&l->inner, NULL, &p->counters.bytes_out, on_inner_broken, &e) == E_OK);
	l->inner.on_sent = on_inner_sent;
	PRE(uv_tcp_init(p->loop, &l->outer.tcp) == 0);
	l->outer.handle.data = l;
	l->handles = 1;
	return l;
}

/* A host that vanished without a word must not hold a link for two hours, as the kernel would. */
static void set_socket_options(struct link *l)
{
	int fd, idle = 15, every = 5, times = 3, unanswered_ms = LINK_STALL_MS;
	uv_tcp_nodelay(&l->outer.tcp, 1);
	if (uv_fileno(&l->outer.handle, &fd) != 0 || uv_tcp_keepalive(&l->outer.tcp, 1, (unsigned)idle) != 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof unanswered_ms);
}

static int attach_tls(struct link *l, SSL *ssl, struct err *e)
{
	int rc = stream_init(&l->outer, ssl, &l->peers->counters.bytes_out, on_outer_broken, e);
	l->outer.on_sent = on_outer_sent;
	return rc;
}

static bool learn_address(struct link *l)
{
	struct sockaddr_storage a;
	int len = sizeof a;
	return uv_tcp_getpeername(&l->outer.tcp, (struct sockaddr *)&a, &len) == 0 &&
	       uv_ip_name((const struct sockaddr *)&a, l->name, sizeof l->name) == 0;
}

static bool too_many_from(const struct link *l)
{
	enum { PENDING_FROM_ONE = 16 };
	unsigned n = 0;
	for (const struct link *other = l->peers->links; other; other = other->next)
		n += other->accepted && !other->peer && strcmp(other->name, l->name) == 0;
	return n > PENDING_FROM_ONE;
}

void link_accept(struct peers *p)
{
	struct link *l = link_new(p, true, LINK_HANDSHAKE);
	SSL *ssl = NULL;
	struct err e;
	int rc = tls_server_new(&ssl, p->server, &e);
	if (attach_tls(l, ssl, &e) != E_OK)
		rc = E_NOMEM;
	strcpy(l->name, "?");
	peers_link_begins(l);
	p->counters.accepted++;
	if (uv_accept((uv_stream_t *)&p->listener, &l->outer.io) != 0 || rc || !learn_address(l)) {
		link_end(l, CONSENSUS_LINK_BROKE, "it was gone before it was accepted");
		return;
	}
	set_socket_options(l);
	if (too_many_from(l))
		link_end(l, CONSENSUS_LINK_CAP, "");
	else if (uv_read_start(&l->outer.io, on_alloc, on_outer_read) != 0)
		link_end(l, CONSENSUS_LINK_BROKE, "");
}

static void on_connected(uv_connect_t *req, int status)
{
	struct link *l = req->data;
	if (l->state != LINK_CONNECTING)
		return;
	if (status != 0) {
		link_end(l, CONSENSUS_LINK_UNREACHABLE, uv_strerror(status));
		return;
	}
	set_socket_options(l);
	move(l, LINK_HANDSHAKE);
	if (uv_read_start(&l->outer.io, on_alloc, on_outer_read) != 0)
		link_end(l, CONSENSUS_LINK_BROKE, "");
	else
		shake_hands(l);
}

static int connect_to(struct link *l, const struct sockaddr *a)
{
	l->connect.data = l;
	return uv_tcp_connect(&l->connect, &l->outer.tcp, a, on_connected);
}

/* A name may have several addresses: each dial takes the next. */
static const struct addrinfo *choose(const struct addrinfo *found, unsigned turn)
{
	unsigned n = 0;
	for (const struct addrinfo *a = found; a; a = a->ai_next)
		n++;
	for (unsigned skip = turn % n; skip > 0; skip--)
		found = found->ai_next;
	return found;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
	struct link *l = req->data;
	if (l->state == LINK_RESOLVING && (status != 0 || !found)) {
		link_end(l, CONSENSUS_LINK_UNREACHABLE,
			 status ? uv_strerror(status) : "the name has no address");
	} else if (l->state == LINK_RESOLVING) {
		move(l, LINK_CONNECTING);
		int rv = connect_to(l, choose(found, l->peer->dials)->ai_addr);
		if (rv != 0)
			link_end(l, CONSENSUS_LINK_UNREACHABLE, uv_strerror(rv));
	}
	uv_freeaddrinfo(found);
	release(l);
}

static int resolve(struct link *l, const char *host, uint16_t port)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char service[8];
	snprintf(service, sizeof service, "%u", port);
	l->resolve.data = l;
	int rv = uv_getaddrinfo(l->peers->loop, &l->resolve, on_resolved, host, service, &hints);
	if (rv == 0)
		l->handles++;
	return rv;
}

static int begin_dial(struct link *l, const char *host, uint16_t port)
{
	struct sockaddr_storage a;
	if (uv_ip4_addr(host, port, (struct sockaddr_in *)&a) != 0 &&
	    uv_ip6_addr(host, port, (struct sockaddr_in6 *)&a) != 0)
		return resolve(l, host, port);
	move(l, LINK_CONNECTING);
	return connect_to(l, (const struct sockaddr *)&a);
}

int link_dial(struct peers *p, struct peer *peer, const char *address, struct raft_uv_connect *req,
	      raft_uv_connect_cb told)
{
	char host[PEER_ADDRESS_CAP];
	uint16_t port;
	SSL *ssl = NULL;
	struct err e;
	if (!peer_address_parse(address, host, &port))
		return RAFT_NOCONNECTION;
	struct link *l = link_new(p, false, LINK_RESOLVING);
	int rc = tls_client_new(&ssl, p->client, host, &e);
	if (attach_tls(l, ssl, &e) != E_OK)
		rc = E_NOMEM;
	l->peer = peer;
	peer->dials++;
	name_peer(l, peer->id, address);
	peers_link_begins(l);
	p->counters.dialed++;
	int rv = rc ? UV_ENOMEM : begin_dial(l, host, port);
	if (rv != 0) {
		link_end(l, CONSENSUS_LINK_UNREACHABLE, rc ? e.text : uv_strerror(rv));
		return RAFT_NOCONNECTION;
	}
	l->req = req;
	l->told = told;
	return 0;
}

/* ---- time ---- */

static void sweep_open(struct link *l, uint64_t now)
{
	size_t unsent = stream_unsent(&l->outer);
	if (unsent > 0)
		unsent = l->outer.out.len + uv_stream_get_write_queue_size(&l->outer.io);
	if (unsent == 0 || unsent != l->unsent)
		l->unsent_since = now;
	l->unsent = unsent;
	if (now - l->unsent_since > LINK_STALL_MS)
		link_end(l, CONSENSUS_LINK_STALLED, "");
}

void link_sweep(struct link *l, uint64_t now)
{
	if (l->state == LINK_OPEN)
		sweep_open(l, now);
	else if (l->state == LINK_LINGERING && now >= l->deadline)
		link_end(l, l->end, "");
	else if (!link_ending(l) && now >= l->deadline)
		link_end(l, l->state < LINK_HANDSHAKE ? CONSENSUS_LINK_UNREACHABLE : CONSENSUS_LINK_SLOW,
			 l->state < LINK_HANDSHAKE ? "no answer within 5 s" : "");
}
