/*
 * cluster.c: the cluster of coordinators as one of them sees it. The leader makes the members of consensus
 * follow the state, one change at a time; what consensus refuses waits, and its reason is told.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "coordinator/cluster/reconcile.h"
#include "coordinator/cluster/invite.h"
#include "coordinator/daemon.h"
#include "sys/ca.h"
#include "sys/digest.h"
#include "sys/log.h"
#include "sys/tls_pin.h"

enum { RETRY_MS = 1000, NODES_MAX = 2 * CONSENSUS_MEMBERS_MAX, TRANSFER_TRIES = 8 };

/* ---- this one, for the others
 * ------------------------------------------------------------------------------------- */

static int own_row(struct daemon *d, struct arena *a, struct node *out)
{
	char path[CONFIG_PATH_CAP], peer[CONSENSUS_ADDRESS_CAP];
	const struct config *c = &d->cfg;
	struct err e;
	*out = (struct node){.id = c->node_id,
			     .address = c->address,
			     .peer_address =
				     arena_strdup(a, config_join_host_port(c->address, c->peer_port, peer)),
			     .agent_port = c->agent_port,
			     .artifact_port = c->artifact_port,
			     .join_port = c->join_port,
			     .version = WAVETRAIN_VERSION,
			     .created_by = ""};
	return ca_file_ends(config_path(c, "cert.pem", path), &out->cert_ends, &e);
}

static bool says_the_same(const struct node *a, const struct node *b)
{
	return strcmp(a->address, b->address) == 0 && strcmp(a->peer_address, b->peer_address) == 0 &&
	       a->agent_port == b->agent_port && a->artifact_port == b->artifact_port &&
	       a->join_port == b->join_port && strcmp(a->version, b->version) == 0 &&
	       a->cert_ends.v / 1000 == b->cert_ends.v / 1000;
}

void cluster_led(struct daemon *d)
{
	struct command c = {.kind = COMMAND_NODE_PUT, .actor = "wavetraind", .reason = ""};
	struct arena a;
	struct node old;
	d->change.under_way = false;
	d->change.waits[0] = '\0';
	if (d->cfg.peer_port == 0)
		return;
	arena_init(&a);
	if (own_row(d, &a, &c.node_put) == E_OK &&
	    (view_node(d->state, &a, d->cfg.node_id, &old) != E_OK || !says_the_same(&old, &c.node_put)))
		propose(d, &c, NULL, NULL);
	arena_done(&a);
}

/* ---- following the state
 * ------------------------------------------------------------------------------------------ */

struct rows {
	struct reconcile_node v[NODES_MAX];
	size_t nr;
	const struct consensus_member_info *members;
	size_t members_nr;
};

static bool is_member(const struct rows *r, uint64_t id)
{
	for (size_t i = 0; i < r->members_nr; i++)
		if (r->members[i].id == id)
			return true;
	return false;
}

/* Of those that are gone and forgotten there may be any number. */
static bool collect(void *arg, const struct node *n)
{
	struct rows *r = arg;
	if (n->removed && !is_member(r, n->id))
		return true;
	r->v[r->nr++] = (struct reconcile_node){
		.id = n->id, .address = n->peer_address, .standby = n->standby, .removed = n->removed};
	return r->nr < ARRAY_LEN(r->v);
}

static const char *const ops[] = {[CONSENSUS_MEMBER_ADD] = "added",
				  [CONSENSUS_MEMBER_PROMOTE] = "promoted to voter",
				  [CONSENSUS_MEMBER_DEMOTE] = "demoted",
				  [CONSENSUS_MEMBER_REMOVE] = "removed",
				  [CONSENSUS_LEADER_TRANSFER] = "given the lead"};

static void wait_out(struct daemon *d, uint64_t id, const char *why)
{
	if (d->change.id != id || strcmp(d->change.waits, why) != 0)
		log_info("cluster", "coordinator %llu waits: %s", (unsigned long long)id, why);
	d->change.id = d->change.after = id;
	d->change.retry_ms = uv_now(&d->loop) + RETRY_MS;
	snprintf(d->change.waits, sizeof d->change.waits, "%s", why);
}

struct change_asked {
	struct daemon *d;
	struct reconcile_step step;
};

static void changed_cb(void *arg, int code, uint64_t index, const void *text, size_t n)
{
	struct change_asked *q = arg;
	char why[232];
	snprintf(why, sizeof why, "%.*s", (int)n, (const char *)text);
	q->d->change.under_way = false;
	if (code == E_OK)
		log_info("cluster", "coordinator %llu: %s", (unsigned long long)q->step.id, ops[q->step.op]);
	else
		wait_out(q->d, q->step.id, why);
	daemon_soon(q->d);
	free(q);
}

static void make_change(struct daemon *d, const struct reconcile_step *s)
{
	struct err e = {0};
	struct change_asked *q = malloc(sizeof *q);
	PRE(q != NULL);
	*q = (struct change_asked){d, *s};
	int rc = consensus_member(d->consensus, s->op, s->id, s->address, changed_cb, q, &e);
	d->change.under_way = rc == E_OK;
	if (rc == E_OK) {
		d->change.waits[0] = '\0';
		return;
	}
	free(q);
	wait_out(d, s->id, e.text);
}

void cluster_tick(struct daemon *d)
{
	struct consensus_member_info members[CONSENSUS_MEMBERS_MAX];
	struct rows r = {.members = members};
	if (!drive_leads(d->drive) || d->cfg.peer_port == 0 || d->change.under_way ||
	    uv_now(&d->loop) < d->change.retry_ms)
		return;
	r.members_nr = consensus_members(d->consensus, members);
	view_each_node(d->state, &d->arena, collect, &r);
	struct reconcile_step s = reconcile_next(r.v, r.nr, members, r.members_nr, d->change.after);
	if (s.op)
		make_change(d, &s);
	else
		d->change.waits[0] = '\0';
	arena_reset(&d->arena);
}

/* ---- what operators ask
 * ------------------------------------------------------------------------------------------- */

const char *cluster_follows(void *backend, struct arena *a)
{
	struct daemon *d = backend;
	struct node n;
	uint64_t id = consensus_leader(d->consensus, NULL, 0);
	if (consensus_is_leader(d->consensus))
		return NULL;
	if (id == 0)
		return "nobody is known to lead";
	if (view_node(d->state, a, id, &n) != E_OK)
		return arena_printf(a, "coordinator %llu leads", (unsigned long long)id);
	return arena_printf(a, "coordinator %llu on %s leads", (unsigned long long)id, n.address);
}

struct listing {
	struct daemon *d;
	struct arena *a;
	struct admin_node v[NODES_MAX];
	size_t nr;
	const struct consensus_member_info *members;
	size_t members_nr;
};

static void fill_member(struct listing *l, const struct consensus_member_info *m, struct admin_node *out)
{
	*out = (struct admin_node){.id = m->id,
				   .role = consensus_role_name(m->role),
				   .address = arena_strdup(l->a, m->address),
				   .version = "",
				   .waits = "",
				   .self = m->self,
				   .leader = m->leader,
				   .lag = m->lag,
				   .silent_ms = m->silent_ms};
}

static bool list_node(void *arg, const struct node *n)
{
	struct listing *l = arg;
	struct admin_node *out = &l->v[l->nr],
			  row = {.id = n->id, .role = "", .lag = UINT64_MAX, .silent_ms = UINT64_MAX};
	bool member = false;
	for (size_t i = 0; i < l->members_nr; i++)
		if (l->members[i].id == n->id) {
			fill_member(l, &l->members[i], &row);
			member = true;
		}
	if (n->removed && !member)
		return true;
	row.address = arena_strdup(l->a, n->peer_address);
	row.role = n->removed ? "leaving" : member ? row.role : "joining";
	row.version = arena_strdup(l->a, n->version);
	row.cert_ends = n->cert_ends;
	row.waits = l->d->change.id == n->id ? arena_strdup(l->a, l->d->change.waits) : "";
	*out = row;
	return ++l->nr < ARRAY_LEN(l->v);
}

/* A cluster of one that has no peer port has no rows; it still has a member. */
static void list_unnamed(struct listing *l)
{
	for (size_t i = 0; i < l->members_nr && l->nr < ARRAY_LEN(l->v); i++) {
		bool found = false;
		for (size_t j = 0; j < l->nr; j++)
			found = found || l->v[j].id == l->members[i].id;
		if (!found)
			fill_member(l, &l->members[i], &l->v[l->nr++]);
	}
}

void cluster_status(void *backend, struct arena *a, struct admin_cluster *out)
{
	struct daemon *d = backend;
	struct consensus_member_info members[CONSENSUS_MEMBERS_MAX];
	struct listing *l = arena_new(a, struct listing);
	*l = (struct listing){
		.d = d, .a = a, .members = members, .members_nr = consensus_members(d->consensus, members)};
	view_each_node(d->state, a, list_node, l);
	list_unnamed(l);
	*out = (struct admin_cluster){.v = l->v,
				      .nr = l->nr,
				      .name = d->cfg.cluster.s,
				      .self = d->cfg.node_id,
				      .leader = consensus_leader(d->consensus, NULL, 0),
				      .term = consensus_term(d->consensus),
				      .applied = consensus_applied(d->consensus)};
}

int cluster_token(void *backend, struct arena *a, struct digest *secret, const char **text, struct err *e)
{
	struct daemon *d = backend;
	struct invite t;
	char path[CONFIG_PATH_CAP], out[INVITE_CAP];
	if (d->cfg.peer_port == 0 || d->cfg.join_port == 0)
		return err_set(e, E_UNSUPPORTED,
			       "this coordinator has no peer_port or no join_port in %s/config.json, so "
			       "nobody can join: "
			       "set both and restart it",
			       d->cfg.data);
	int rc = tls_pin_digest(config_path(&d->cfg, "ca.pem", path), &t.ca, e);
	if (rc != E_OK)
		return rc;
	PRE(getrandom(t.secret, sizeof t.secret, 0) == sizeof t.secret);
	*secret = digest_of(t.secret, sizeof t.secret);
	config_join_host_port(d->cfg.address, d->cfg.join_port, t.address);
	*text = arena_strdup(a, invite_encode(&t, out));
	return E_OK;
}

struct transfer_asked {
	struct daemon *d;
	uint64_t id;
	unsigned tries;
	admin_done_fn *done;
	void *arg;
};

static void transferred_cb(void *arg, int code, uint64_t index, const void *text, size_t n)
{
	struct transfer_asked *q = arg;
	struct err e;
	char why[232];
	/* The engine waits for one election timeout, and its message may be lost with a link that is not
	 * there yet. */
	if (code == E_TIMEOUT && ++q->tries < TRANSFER_TRIES &&
	    consensus_member(q->d->consensus, CONSENSUS_LEADER_TRANSFER, q->id, NULL, transferred_cb, q,
			     &e) == E_OK) {
		log_info("cluster", "the lead was not taken in time: once more");
		return;
	}
	snprintf(why, sizeof why, "%.*s", (int)n, (const char *)text);
	const struct command_reply r = {.code = code, .index = index, .text = why};
	q->done(q->arg, &r);
	free(q);
}

int cluster_transfer(void *backend, uint64_t id, admin_done_fn *done, void *arg, struct err *e)
{
	struct daemon *d = backend;
	struct transfer_asked *q = malloc(sizeof *q);
	PRE(q != NULL);
	*q = (struct transfer_asked){.d = d, .id = id, .done = done, .arg = arg};
	int rc = consensus_member(d->consensus, CONSENSUS_LEADER_TRANSFER, id, NULL, transferred_cb, q, e);
	if (rc != E_OK)
		free(q);
	return rc;
}
