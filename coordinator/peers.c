/*
 * peers.c: drive's ports on the edge. A session has a number of ours, so that drive can name one that has
 * gone meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/daemon.h"
#include "sys/log.h"

struct peer {
	uint64_t number;
	struct edge_session *session;
	UT_hash_handle hh;
};

static struct peer *peer_find(struct daemon *d, uint64_t number)
{
	struct peer *p;
	HASH_FIND(hh, d->peers, &number, sizeof number, p);
	return p;
}

/* ---- from the edge
 * ---------------------------------------------------------------------------------------------------- */

static void opened_cb(void *arg, struct edge_session *s)
{
	struct daemon *d = arg;
	const struct tls_identity *id = edge_session_identity(s);
	struct peer *p = calloc(1, sizeof *p);
	PRE(p != NULL);
	p->number = ++d->peers_made;
	p->session = s;
	HASH_ADD(hh, d->peers, number, sizeof p->number, p);
	edge_session_set_data(s, p);
	drive_session_opened(d->drive, p->number, &id->name, id->generation, daemon_now(d));
	daemon_soon(d);
}

static void request_cb(void *arg, struct edge_session *s, struct edge_token token, const uint8_t *bytes,
		       size_t len)
{
	struct daemon *d = arg;
	const struct peer *p = edge_session_data(s);
	uint64_t since = uv_hrtime();
	drive_request(d->drive, (struct token){p->number, token.v}, bytes, len, daemon_now(d));
	looptime_ran(&d->looptime, "agents", since);
	daemon_soon(d);
}

static void closed_cb(void *arg, struct edge_session *s, enum edge_reason reason)
{
	struct daemon *d = arg;
	struct peer *p = edge_session_data(s);
	log_info(edge_session_identity(s)->name.s, "disconnected: %s", edge_reason_text(reason));
	drive_session_closed(d->drive, p->number, daemon_now(d));
	HASH_DEL(d->peers, p);
	free(p);
	daemon_soon(d);
}

bool peers_allowed(void *arg, const struct tls_identity *id)
{
	struct daemon *d = arg;
	struct host h;
	bool ok = id->role == TLS_ROLE_AGENT && view_host(d->state, &d->arena, &id->name, &h) == E_OK &&
		  !h.removed && h.generation == id->generation;
	arena_reset(&d->arena);
	return ok;
}

static void refused_cb(void *arg, const char *address, enum edge_reason reason, enum tls_fault fault,
		       const char *why)
{
	log_warn("edge", "connection from %s refused: %s (%s)", address, edge_reason_text(reason), why);
}

/* ---- from drive
 * -------------------------------------------------------------------------------------------------------- */

static void port_propose(void *arg, const struct command *c, drive_proposed_fn *done, void *done_arg)
{
	propose(arg, c, done, done_arg);
}

static void port_answer(void *arg, struct token t, const uint8_t *p, size_t n)
{
	const struct peer *peer = peer_find(arg, t.session);
	/* A session that has gone, or that does not read, learns the same at its next poll. */
	if (peer != NULL && edge_reply(peer->session, (struct edge_token){(uint32_t)t.request}, p, n) != E_OK)
		log_debug("edge", "an answer found no request any more");
}

static void port_trust(void *arg, uint64_t session)
{
	const struct peer *peer = peer_find(arg, session);
	if (peer != NULL)
		edge_session_trust(peer->session);
}

static void port_drop(void *arg, uint64_t session, const char *why)
{
	const struct peer *peer = peer_find(arg, session);
	if (peer == NULL)
		return;
	log_warn(edge_session_identity(peer->session)->name.s, "session closed: %s", why);
	edge_session_close(peer->session);
}

static void port_revoke(void *arg, const struct name *host)
{
	struct daemon *d = arg;
	unsigned closed = edge_drop_identity(d->edge, host->s);
	if (closed > 0)
		log_info(host->s, "not part of the fleet as it was: %u connections closed", closed);
}

static uint64_t port_term(void *arg)
{
	const struct daemon *d = arg;
	return consensus_term(d->consensus);
}

static void port_hint(void *arg, const char *topic, const uint8_t *p, size_t n)
{
	struct daemon *d = arg;
	edge_publish(d->edge, topic, strlen(topic), p, n);
}

struct coordinators {
	struct arena *a;
	uint64_t self;
	bool has_self;
	struct drive_coordinator v[DRIVE_COORDINATORS_MAX];
	size_t nr;
};

static struct drive_coordinator named(struct arena *a, uint64_t id, const char *host, uint32_t agent_port,
				      uint32_t artifact_port)
{
	char at[CONSENSUS_ADDRESS_CAP];
	struct drive_coordinator c = {.id = id};
	c.address = arena_strdup(a, config_join_host_port(host, (uint16_t)agent_port, at));
	c.artifacts = arena_printf(a, "https://%s", config_join_host_port(host, (uint16_t)artifact_port, at));
	return c;
}

static bool collect(void *arg, const struct node *n)
{
	struct coordinators *c = arg;
	if (n->removed)
		return true;
	c->has_self = c->has_self || n->id == c->self;
	c->v[c->nr++] = named(c->a, n->id, n->address, n->agent_port, n->artifact_port);
	return c->nr < ARRAY_LEN(c->v);
}

static bool are_known(const struct daemon *d, const struct coordinators *c)
{
	size_t nr;
	const struct drive_coordinator *known = drive_known_coordinators(d->drive, &nr);
	bool same = nr == c->nr;
	for (size_t i = 0; same && i < nr; i++)
		same = known[i].id == c->v[i].id && strcmp(known[i].address, c->v[i].address) == 0 &&
		       strcmp(known[i].artifacts, c->v[i].artifacts) == 0;
	return same;
}

/* A cluster of one may have no row: it was made before there were any, or has no port for others. */
void peers_coordinators(struct daemon *d)
{
	struct arena a;
	arena_init(&a);
	struct coordinators c = {.a = &a, .self = d->cfg.node_id};
	view_each_node(d->state, &a, collect, &c);
	if (!c.has_self && c.nr < ARRAY_LEN(c.v))
		c.v[c.nr++] =
			named(&a, d->cfg.node_id, d->cfg.address, d->cfg.agent_port, d->cfg.artifact_port);
	if (!are_known(d, &c)) {
		drive_coordinators(d->drive, c.v, c.nr);
		copies_look(d);
	}
	arena_done(&a);
}

const struct drive_ports *peers_ports(struct daemon *d, struct drive_ports *out)
{
	*out = (struct drive_ports){.arg = d,
				    .propose = port_propose,
				    .answer = port_answer,
				    .trust = port_trust,
				    .drop = port_drop,
				    .revoke = port_revoke,
				    .term = port_term,
				    .hint = port_hint};
	return out;
}

int peers_open(struct daemon *d, struct err *e)
{
	char ca[CONFIG_PATH_CAP], cert[CONFIG_PATH_CAP], key[CONFIG_PATH_CAP];
	const struct edge_config cfg = {.address = d->cfg.listen,
					.port = d->cfg.agent_port,
					.tls = {config_path(&d->cfg, "ca.pem", ca),
						config_path(&d->cfg, "cert.pem", cert),
						config_path(&d->cfg, "key.pem", key)}};
	const struct edge_callbacks cb = {.arg = d,
					  .is_allowed = peers_allowed,
					  .on_refused = refused_cb,
					  .on_open = opened_cb,
					  .on_request = request_cb,
					  .on_close = closed_cb};
	return edge_open(&d->edge, &d->loop, &cfg, &cb, e);
}
