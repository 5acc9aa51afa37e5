#include "coordinator/consensus/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "coordinator/consensus/peer_link.h"
#include "sys/log.h"

enum { PENDING_MAX = 64, BACKLOG = 128, SWEEP_MS = 250, LOG_GAP_MS = 5000 };
/* How often the engine may dial a peer: it tries every 200 ms, and at once when a link has ended. Whoever
 * refused us will most likely do so again. */
enum { DIAL_GAP_MS = 200, DIAL_REFUSED_GAP_MS = 2000 };

_Static_assert((int)PEER_ADDRESS_CAP == (int)CONSENSUS_ADDRESS_CAP, "one bound for addresses");
_Static_assert((int)PEER_MEMBERS_MAX == (int)CONSENSUS_MEMBERS_MAX, "one bound for members");

static const struct {
	const char *text, *advice;
} ends[CONSENSUS_LINK_END_NR] = {
#define X(end, text, advice) [end] = {text, advice},
	CONSENSUS_LINK_ENDS(X)
#undef X
};

const char *consensus_link_end_text(enum consensus_link_end end)
{
	return end > 0 && end < CONSENSUS_LINK_END_NR ? ends[end].text : "none";
}

/* ---- who is who ---- */

static struct peer *find(const struct peers *p, uint64_t id)
{
	struct peer *peer = p->known;
	while (peer && peer->id != id)
		peer = peer->next;
	return peer;
}

struct peer *peers_know(struct peers *p, uint64_t id)
{
	struct peer *peer = find(p, id);
	if (peer)
		return peer;
	peer = calloc(1, sizeof *peer);
	PRE(peer);
	peer->id = id;
	LL_PREPEND(p->known, peer);
	return peer;
}

const char *peers_member_address(const struct peers *p, uint64_t id)
{
	return p->config.address_of(p->config.arg, id);
}

uint64_t peers_silent_ms(const struct peers *p, uint64_t id)
{
	const struct peer *peer = find(p, id);
	return peer && peer->heard_ms ? uv_now(p->loop) - peer->heard_ms : consensus_unknown;
}

const struct consensus_links *peers_links(const struct peers *p)
{
	return &p->counters;
}

/* ---- saying so ---- */

/* Strangers must not fill the log: of each kind one line in LOG_GAP_MS, which counts the others. */
static bool may_log(struct peers *p, enum consensus_link_end end, unsigned *held)
{
	uint64_t now = uv_now(p->loop);
	if (now < p->log_next_ms[end]) {
		p->log_held[end]++;
		return false;
	}
	*held = p->log_held[end];
	p->log_held[end] = 0;
	p->log_next_ms[end] = now + LOG_GAP_MS;
	return true;
}

static void log_end(struct link *l, const char *what, const char *why)
{
	char detail[512] = "", others[64] = "";
	unsigned held;
	if (!may_log(l->peers, l->end, &held))
		return;
	if (why[0])
		snprintf(detail, sizeof detail, " (%s)", why);
	if (held > 0)
		snprintf(others, sizeof others, " [and %u more since the last line like this]", held);
	log_warn("peers", "%s%s: %s%s; %s%s", what, l->name, ends[l->end].text, detail, ends[l->end].advice,
		 others);
}

/* Every 200 ms another try: a line only when the reason is another. */
static void log_dial(struct link *l, const char *why)
{
	if (l->peer->trouble == l->end)
		return;
	l->peer->trouble = l->end;
	log_warn("peers", "no link to %s: %s%s%s%s; %s; trying on", l->name, ends[l->end].text,
		 why[0] ? " (" : "", why, why[0] ? ")" : "", ends[l->end].advice);
}

/* ---- links ---- */

static bool is_pending(const struct link *l)
{
	return l->accepted && !l->opened;
}

void peers_link_begins(struct link *l)
{
	struct peers *p = l->peers;
	DL_APPEND(p->links, l);
	p->handles++;
	p->counters.pending += is_pending(l);
}

/* The engine at the other end uses one link; an older one of it is what a broken connection left behind. */
static void replace_older(struct link *l)
{
	struct link *other, *next;
	DL_FOREACH_SAFE(l->peers->links, other, next)
	{
		if (other != l && other->accepted && other->state == LINK_OPEN && other->peer == l->peer)
			link_end(other, CONSENSUS_LINK_REPLACED, "");
	}
}

void peers_link_opened(struct link *l)
{
	struct peers *p = l->peers;
	p->counters.pending -= is_pending(l);
	l->opened = true;
	p->counters.opened++;
	p->counters.open++;
	if (l->accepted)
		replace_older(l);
	if (!l->accepted && (l->peer->trouble || l->peer->dials == 1))
		log_info("peers", "linked to %s", l->name);
	if (!l->accepted)
		l->peer->trouble = CONSENSUS_LINK_END_NONE;
}

static void accept_next(struct peers *p)
{
	p->accept_waits = !p->closing && p->counters.pending >= PENDING_MAX;
	if (!p->closing && !p->accept_waits)
		link_accept(p);
}

void peers_link_ended(struct link *l, const char *why)
{
	struct peers *p = l->peers;
	p->counters.ended[l->end]++;
	p->counters.open -= l->opened;
	if (l->end == CONSENSUS_LINK_SHUTDOWN)
		return;
	if (l->opened && !l->accepted)
		p->config.lost(p->config.arg, l->peer->id);
	if (l->opened)
		log_end(l, l->accepted ? "link from " : "link to ", why);
	else if (l->accepted)
		log_end(l, "refused a connection from ", why);
	else
		log_dial(l, why);
}

static void release(struct peers *p)
{
	if (--p->handles > 0 || !p->closing)
		return;
	raft_uv_transport_close_cb closed = p->closed;
	closed(p->transport);
}

/* A pending one keeps its place until it is gone: lingering must not be a way around the bound. */
void peers_link_gone(struct link *l)
{
	struct peers *p = l->peers;
	p->counters.pending -= is_pending(l);
	DL_DELETE(p->links, l);
	if (p->accept_waits)
		accept_next(p);
	release(p);
}

void peers_membership_changed(struct peers *p)
{
	struct link *l, *next;
	DL_FOREACH_SAFE(p->links, l, next)
	{
		if (l->peer && !link_ending(l) && !peers_member_address(p, l->peer->id))
			link_end(l, CONSENSUS_LINK_REMOVED, "");
	}
}

/* ---- the engine's side ---- */

static struct peers *of(struct raft_uv_transport *t)
{
	return t->impl;
}

static int transport_init(struct raft_uv_transport *t, raft_id id, const char *address)
{
	return 0;
}

static void on_connection(uv_stream_t *listener, int status)
{
	/* libuv does not go on until uv_accept is called: the rest waits in the kernel's backlog. */
	if (status == 0)
		accept_next(listener->data);
}

static void on_sweep(uv_timer_t *timer)
{
	struct peers *p = timer->data;
	struct link *l, *next;
	DL_FOREACH_SAFE(p->links, l, next)
	{
		link_sweep(l, uv_now(p->loop));
	}
}

static int bind_and_listen(struct peers *p)
{
	struct sockaddr_storage a = {0};
	char host[PEER_ADDRESS_CAP];
	uint16_t port;
	PRE(peer_address_parse(p->listen, host, &port));
	if (uv_ip4_addr(host, port, (struct sockaddr_in *)&a) != 0 &&
	    uv_ip6_addr(host, port, (struct sockaddr_in6 *)&a) != 0)
		return UV_EINVAL;
	int rv = uv_tcp_bind(&p->listener, (const struct sockaddr *)&a, 0);
	return rv ? rv : uv_listen((uv_stream_t *)&p->listener, BACKLOG, on_connection);
}

static int transport_listen(struct raft_uv_transport *t, raft_uv_accept_cb accepted)
{
	struct peers *p = of(t);
	p->accepted = accepted;
	PRE(uv_tcp_init(p->loop, &p->listener) == 0 && uv_timer_init(p->loop, &p->sweeper) == 0);
	p->listener.data = p->sweeper.data = p;
	p->handles += 2;
	p->listening = true;
	int rv = bind_and_listen(p);
	if (rv == 0)
		rv = uv_timer_start(&p->sweeper, on_sweep, SWEEP_MS, SWEEP_MS);
	if (rv == 0)
		return 0;
	err_sys(&p->listen_error, E_UNAVAILABLE, -rv, "cannot listen for peers on %s", p->listen);
	return RAFT_IOERR;
}

static bool too_soon(const struct peers *p, const struct peer *peer)
{
	bool refused = peer->trouble >= CONSENSUS_LINK_REFUSED;
	uint64_t gap = refused ? DIAL_REFUSED_GAP_MS : DIAL_GAP_MS;
	return peer->dialed_ms && uv_now(p->loop) - peer->dialed_ms < gap;
}

static int transport_connect(struct raft_uv_transport *t, struct raft_uv_connect *req, raft_id id,
			     const char *address, raft_uv_connect_cb told)
{
	struct peers *p = of(t);
	const char *configured = peers_member_address(p, id);
	/* The engine never forgets whom it once spoke to. */
	if (!configured || strcmp(configured, address) != 0)
		return RAFT_NOCONNECTION;
	struct peer *peer = peers_know(p, id);
	if (too_soon(p, peer))
		return RAFT_NOCONNECTION;
	peer->dialed_ms = uv_now(p->loop) ? uv_now(p->loop) : 1;
	return link_dial(p, peer, address, req, told);
}

static void on_handle_closed(uv_handle_t *handle)
{
	release(handle->data);
}

static void transport_close(struct raft_uv_transport *t, raft_uv_transport_close_cb closed)
{
	struct peers *p = of(t);
	struct link *l, *next;
	p->closing = true;
	p->closed = closed;
	p->handles++; /* until all of them are being closed */
	DL_FOREACH_SAFE(p->links, l, next)
	{
		link_end(l, CONSENSUS_LINK_SHUTDOWN, "");
	}
	if (p->listening) {
		uv_close((uv_handle_t *)&p->listener, on_handle_closed);
		uv_close((uv_handle_t *)&p->sweeper, on_handle_closed);
	}
	release(p);
}

/* ---- made and freed ---- */

static int check_addresses(const struct peers_config *c, struct err *e)
{
	char host[PEER_ADDRESS_CAP];
	unsigned char number[16];
	uint16_t port;
	if (!peer_address_parse(c->address, host, &port))
		return err_set(
			e, E_INVALID,
			"'%.300s' is no address that peers can dial: write name:port, 192.0.2.1:port or "
			"[2001:db8::1]:port",
			c->address);
	if (!peer_address_parse(c->listen, host, &port) ||
	    (uv_inet_pton(AF_INET, host, number) != 0 && uv_inet_pton(AF_INET6, host, number) != 0))
		return err_set(e, E_INVALID,
			       "'%.300s' is no address to listen on for peers: write a numeric one, as "
			       "0.0.0.0:7102 or [::]:7102",
			       c->listen);
	return E_OK;
}

/* A certificate of another node would be refused by every peer: say it here, where it can be set right. */
static int check_own_certificate(const struct peers *p, struct err *e)
{
	struct tls_identity who;
	uint64_t id = 0;
	unsigned char *der = NULL;
	X509 *cert = SSL_CTX_get0_certificate(p->server);
	int n = i2d_X509(cert, &der);
	bool ours = n > 0 && tls_certificate_identity(der, (size_t)n, &who) && tls_coordinator_id(&who, &id);
	OPENSSL_free(der);
	if (ours && id == p->config.id)
		return E_OK;
	return err_set(e, E_INVALID, "%s is not the certificate of coordinator-%llu, which this node is",
		       p->config.tls.cert, (unsigned long long)p->config.id);
}

int peers_new(struct peers **out, struct raft_uv_transport *t, uv_loop_t *loop,
	      const struct peers_config *config, struct err *e)
{
	int rc = check_addresses(config, e);
	if (rc)
		return rc;
	struct peers *p = calloc(1, sizeof *p);
	PRE(p);
	*p = (struct peers){.loop = loop, .transport = t, .config = *config};
	p->address = strdup(config->address);
	p->listen = strdup(config->listen);
	PRE(p->address && p->listen);
	rc = tls_ctx_load(&p->server, TLS_SERVER, &config->tls, e);
	if (!rc)
		rc = tls_ctx_load(&p->client, TLS_CLIENT, &config->tls, e);
	if (!rc)
		rc = check_own_certificate(p, e);
	if (rc) {
		peers_free(p);
		return rc;
	}
	*t = (struct raft_uv_transport){.impl = p,
					.init = transport_init,
					.listen = transport_listen,
					.connect = transport_connect,
					.close = transport_close};
	*out = p;
	return E_OK;
}

void peers_free(struct peers *p)
{
	struct peer *peer, *next;
	if (!p)
		return;
	PRE(p->handles == 0 && !p->links);
	LL_FOREACH_SAFE(p->known, peer, next)
	{
		free(peer);
	}
	SSL_CTX_free(p->server);
	SSL_CTX_free(p->client);
	free(p->address);
	free(p->listen);
	free(p);
}

const struct err *peers_listen_error(const struct peers *p)
{
	return p->listen_error.code ? &p->listen_error : NULL;
}
