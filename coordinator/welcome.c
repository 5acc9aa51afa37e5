/*
 * welcome.c: whoever wants to become a coordinator. The leader looks at the token, has the log use it up and
 * allot an id, and only then signs; any other says who leads. A token that is not good never reaches the log:
 * who has none cannot fill it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cluster/gate.h"
#include "coordinator/cluster/invite.h"
#include "coordinator/consensus/peer_wire.h"
#include "coordinator/daemon.h"
#include "proto/envelope.h"
#include "proto/join.pb-c.h"
#include "proto/scan.h"
#include "sys/ca.h"
#include "sys/csr.h"
#include "sys/digest.h"
#include "sys/fsio.h"
#include "sys/log.h"

enum { JOIN_VERSION = 1, PROGRAM_MAX = 64, RETRY_MS = 10000, KEY_FILE_MAX = 16 * 1024 };

/* One who asked, until the log has answered. Owns its strings. */
struct guest {
	struct daemon *d;
	uint64_t visitor;
	struct node node; /* as it goes into the log */
	struct digest secret;
	struct arena arena;
	struct buf public_key; /* PEM */
	const char *from;
};

static void guest_free(struct guest *g)
{
	buf_done(&g->public_key);
	arena_done(&g->arena);
	free(g);
}

/* ---- answers
 * ------------------------------------------------------------------------------------------------------ */

static void send_answer(struct daemon *d, uint64_t visitor, const Join__Answer *a)
{
	struct buf b;
	if (d->gate == NULL)
		return;
	buf_init(&b);
	b.len = join__answer__pack(a, buf_reserve(&b, join__answer__get_packed_size(a)));
	gate_answer(d->gate, visitor, b.data, b.len);
	explicit_bzero(b.data, b.len); /* there was a key in it */
	buf_done(&b);
}

static void answer_problem(struct guest *g, int code, const char *text)
{
	Join__Answer a = JOIN__ANSWER__INIT;
	Join__Problem p = JOIN__PROBLEM__INIT;
	log_warn("join", "%s: %s [%s]", g->from, text, err_name(code));
	p.code = (char *)(uintptr_t)err_name(code);
	p.text = (char *)(uintptr_t)text;
	a.body_case = JOIN__ANSWER__BODY_PROBLEM;
	a.problem = &p;
	send_answer(g->d, g->visitor, &a);
}

static void answer_leader(struct guest *g)
{
	struct daemon *d = g->d;
	struct node n;
	char address[CONSENSUS_ADDRESS_CAP];
	uint64_t id = consensus_leader(d->consensus, NULL, 0);
	Join__Answer a = JOIN__ANSWER__INIT;
	if (id == 0 || id == d->cfg.node_id || view_node(d->state, &g->arena, id, &n) != E_OK) {
		answer_problem(g, E_UNAVAILABLE, "nobody leads this cluster at the moment: try again");
		return;
	}
	a.body_case = JOIN__ANSWER__BODY_LEADER;
	a.leader = (char *)(uintptr_t)config_join_host_port(n.address, (uint16_t)n.join_port, address);
	send_answer(d, g->visitor, &a);
}

static void put_members(struct guest *g, Join__Joined *m)
{
	struct consensus_member_info v[CONSENSUS_MEMBERS_MAX];
	size_t nr = consensus_members(g->d->consensus, v);
	m->members = arena_array(&g->arena, Join__Member *, nr);
	m->n_members = nr;
	for (size_t i = 0; i < nr; i++) {
		m->members[i] = arena_new(&g->arena, Join__Member);
		join__member__init(m->members[i]);
		m->members[i]->id = v[i].id;
		m->members[i]->address = arena_strdup(&g->arena, v[i].address);
	}
}

static void put_cluster(struct guest *g, Join__Joined *m)
{
	const struct config *c = &g->d->cfg;
	m->cluster = (char *)(uintptr_t)c->cluster.s;
	m->cluster_hi = c->cluster_hi;
	m->cluster_lo = c->cluster_lo;
	m->poll_wait_ms = c->poll_wait_ms;
	m->suspect_ms = c->suspect_ms;
	m->lost_ms = c->lost_ms;
	m->grace_ms = c->grace_ms;
}

static void answer_joined(struct guest *g, const struct node *n, const struct ca_pair *pair,
			  const struct buf *ca_cert, const struct buf *ca_key)
{
	Join__Answer a = JOIN__ANSWER__INIT;
	Join__Joined m = JOIN__JOINED__INIT;
	m.node_id = n->id;
	m.standby = n->standby;
	m.cert = (ProtobufCBinaryData){.data = pair->cert.data, .len = pair->cert.len};
	m.ca_cert = (ProtobufCBinaryData){.data = ca_cert->data, .len = ca_cert->len};
	m.ca_key = (ProtobufCBinaryData){.data = ca_key->data, .len = ca_key->len};
	put_cluster(g, &m);
	put_members(g, &m);
	a.body_case = JOIN__ANSWER__BODY_JOINED;
	a.joined = &m;
	send_answer(g->d, g->visitor, &a);
}

/* ---- signing
 * ------------------------------------------------------------------------------------------------------ */

static int sign(struct guest *g, const struct node *n, struct ca_pair *pair, struct buf *ca_cert,
		struct err *e)
{
	char cert[CONFIG_PATH_CAP], key[CONFIG_PATH_CAP];
	struct ca *ca;
	int rc = ca_load(&ca, config_path(&g->d->cfg, "ca.pem", cert),
			 config_path(&g->d->cfg, "ca-key.pem", key), e);
	if (rc != E_OK)
		return rc;
	rc = ca_cert_pem(ca, ca_cert, e);
	if (rc == E_OK)
		rc = node_certificate(ca, n->id, n->address, buf_cstr(&g->public_key), n->cert_ends, pair, e);
	ca_free(ca);
	return rc;
}

/* The key goes along: each coordinator may come to lead, and the leader makes the certificates of agents. */
static void let_in(struct guest *g, uint64_t id)
{
	struct daemon *d = g->d;
	struct buf ca_cert, ca_key;
	struct ca_pair pair = {0};
	struct node n;
	struct err e = {0};
	char path[CONFIG_PATH_CAP];
	buf_init(&ca_cert);
	buf_init(&ca_key);
	int rc = view_node(d->state, &g->arena, id, &n);
	if (rc == E_OK)
		rc = sign(g, &n, &pair, &ca_cert, &e);
	if (rc == E_OK)
		rc = fsio_read(config_path(&d->cfg, "ca-key.pem", path), KEY_FILE_MAX, &ca_key, &e);
	if (rc == E_OK) {
		log_info("join", "%s is coordinator %llu at %s", g->from, (unsigned long long)id,
			 n.peer_address);
		answer_joined(g, &n, &pair, &ca_cert, &ca_key);
	} else {
		answer_problem(g, rc, e.text);
	}
	if (ca_key.len > 0)
		explicit_bzero(ca_key.data, ca_key.len);
	buf_done(&ca_key);
	buf_done(&ca_cert);
	ca_pair_done(&pair);
}

static void allotted_cb(void *arg, int code, const struct command_reply *reply)
{
	struct guest *g = arg;
	if (code == E_OK)
		let_in(g, reply->node);
	else
		answer_problem(g, code, reply->text);
	daemon_soon(g->d);
	guest_free(g);
}

/* ---- asking
 * ------------------------------------------------------------------------------------------------------- */

static bool is_port(uint32_t v)
{
	return v > 0 && v < 65536;
}

static int read_node(struct guest *g, const Join__Request *m, struct err *e)
{
	char address[CONSENSUS_ADDRESS_CAP], host[PEER_ADDRESS_CAP];
	uint16_t port;
	if (!is_port(m->peer_port) || !is_port(m->agent_port) || !is_port(m->artifact_port) ||
	    !is_port(m->join_port))
		return err_set(e, E_INVALID, "a port is 1 to 65535");
	if (strlen(m->address) > 253 || strlen(m->program) > PROGRAM_MAX ||
	    !peer_address_parse(config_join_host_port(m->address, (uint16_t)m->peer_port, address), host,
				&port))
		return err_set(e, E_INVALID, "'%.100s' is no host that others can dial", m->address);
	g->node = (struct node){.address = arena_strdup(&g->arena, m->address),
				.peer_address = arena_strdup(&g->arena, address),
				.agent_port = m->agent_port,
				.artifact_port = m->artifact_port,
				.join_port = m->join_port,
				.version = arena_strdup(&g->arena, m->program),
				.cert_ends = node_certificate_ends(),
				.created_by = ""};
	return csr_public_key(m->csr.data, m->csr.len, &g->public_key, &g->node.key, e);
}

static int read_request(struct guest *g, const uint8_t *p, size_t n, struct err *e)
{
	ProtobufCAllocator alloc = arena_allocator(&g->arena);
	const Join__Request *m =
		scan_fits(&join__request__descriptor, p, n) ? join__request__unpack(&alloc, n, p) : NULL;
	if (m == NULL)
		return err_set(e, E_PROTOCOL, "the request to join cannot be read");
	if (m->version != JOIN_VERSION)
		return err_set(e, E_VERSION,
			       "join version %u is not spoken here, only %d: install the same release",
			       m->version, JOIN_VERSION);
	if (m->secret.len != INVITE_SECRET_LEN)
		return err_set(e, E_DENIED, "the request holds no secret of a token");
	g->secret = digest_of(m->secret.data, m->secret.len);
	return read_node(g, m, e);
}

/* Here only what needs no log is refused; the rest of the rules stands in the fold. */
static int check_token(struct guest *g, struct err *e)
{
	struct join_token t;
	if (view_token(g->d->state, &g->arena, &g->secret, &t) != E_OK)
		return err_set(
			e, E_DENIED,
			"there is no such token here: copy it whole, or make one (wavetrain cluster token "
			"create)");
	if (t.revoked || t.expires_at.v <= daemon_now(g->d).v)
		return err_set(e, E_DENIED,
			       "this token %s: make another one (wavetrain cluster token create)",
			       t.revoked ? "was revoked" : "has expired");
	return E_OK;
}

static void ask_log(struct guest *g)
{
	struct command c = {.kind = COMMAND_NODE_JOIN,
			    .actor = arena_printf(&g->arena, "join from %s", g->from),
			    .reason = ""};
	c.node_join.secret = g->secret;
	c.node_join.node = g->node;
	propose(g->d, &c, allotted_cb, g);
}

static void asked_cb(void *arg, uint64_t visitor, const char *from, const uint8_t *p, size_t n)
{
	struct daemon *d = arg;
	struct err e = {0};
	struct guest *g = calloc(1, sizeof *g);
	PRE(g != NULL);
	g->d = d;
	g->visitor = visitor;
	arena_init(&g->arena);
	buf_init(&g->public_key);
	g->from = arena_strdup(&g->arena, from);
	int rc = read_request(g, p, n, &e);
	bool leads = drive_leads(d->drive);
	if (rc == E_OK && leads)
		rc = check_token(g, &e);
	if (rc == E_OK && leads) {
		ask_log(g);
		return;
	}
	if (rc != E_OK)
		answer_problem(g, rc, e.text);
	else
		answer_leader(g);
	guest_free(g);
}

/* ---- the port
 * ----------------------------------------------------------------------------------------------------- */

struct search {
	struct wall_ms now;
	bool found;
};

static bool is_valid(void *arg, const struct join_token *t)
{
	struct search *s = arg;
	s->found = !t->revoked && t->expires_at.v > s->now.v;
	return !s->found;
}

static bool any_token(struct daemon *d)
{
	struct search s = {.now = daemon_now(d)};
	view_each_token(d->state, &d->arena, is_valid, &s);
	arena_reset(&d->arena);
	return s.found;
}

static void open_gate(struct daemon *d)
{
	char ca[CONFIG_PATH_CAP], cert[CONFIG_PATH_CAP], key[CONFIG_PATH_CAP];
	struct err e;
	const struct gate_config cfg = {.address = d->cfg.listen,
					.port = d->cfg.join_port,
					.tls = {config_path(&d->cfg, "ca.pem", ca),
						config_path(&d->cfg, "cert.pem", cert),
						config_path(&d->cfg, "key.pem", key)},
					.asked = asked_cb,
					.arg = d};
	if (gate_open(&d->gate, &d->loop, &cfg, &e) == E_OK) {
		log_info("join", "a token is valid: new coordinators may join on %s:%u", d->cfg.listen,
			 (unsigned)d->cfg.join_port);
		return;
	}
	d->gate = NULL;
	d->gate_retry_ms = uv_now(&d->loop) + RETRY_MS;
	log_error("join", "nobody can join: %s", e.text);
}

void welcome_tick(struct daemon *d)
{
	bool wanted = d->cfg.peer_port != 0 && d->cfg.join_port != 0 && any_token(d);
	if (wanted && d->gate == NULL && uv_now(&d->loop) >= d->gate_retry_ms)
		open_gate(d);
	else if (!wanted && d->gate != NULL)
		welcome_close(d);
}

void welcome_close(struct daemon *d)
{
	if (d->gate == NULL)
		return;
	gate_close(d->gate, NULL, NULL);
	d->gate = NULL;
	log_info("join", "the join port is closed");
}
