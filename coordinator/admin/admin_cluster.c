#include <string.h>

#include "coordinator/admin/admin_conn.h"

/* The cluster of coordinators: who is in it, who may come, who goes, who leads. */

enum { TTL_DEFAULT_MS = 3600000, TTL_MAX_DAYS = 7 };
static const int64_t ttl_max_ms = (int64_t)TTL_MAX_DAYS * 86400000;

static bool has_cluster(struct admin_conn *c)
{
	if (ADMIN_OPS(c)->cluster)
		return true;
	admin_fail(c, E_UNSUPPORTED, NULL, "this coordinator has no cluster");
	return false;
}

/* ---- status ---- */

static Admin__Node *node_row(struct admin_conn *c, const struct admin_node *n)
{
	Admin__Node *row = arena_new(&c->arena, Admin__Node);
	admin__node__init(row);
	row->id = n->id;
	row->role = admin_str(n->role);
	row->address = admin_str(n->address);
	row->version = admin_str(n->version);
	row->waits = admin_str(n->waits);
	row->self = n->self;
	row->leader = n->leader;
	row->lag_known = n->lag != UINT64_MAX;
	row->lag = row->lag_known ? n->lag : 0;
	row->silent_known = n->silent_ms != UINT64_MAX;
	row->silent_ms = row->silent_known ? n->silent_ms : 0;
	row->cert_ends_at_ms = n->cert_ends.v;
	return row;
}

static unsigned voters(const struct admin_cluster *cl)
{
	unsigned n = 0;
	for (size_t i = 0; i < cl->nr; i++)
		n += strcmp(cl->v[i].role, "voter") == 0;
	return n;
}

static const char *warning(struct admin_conn *c, const struct admin_cluster *cl)
{
	unsigned n = voters(cl);
	if (cl->leader == 0)
		return "nobody is known to lead: nothing can be changed until more than half of the voters "
		       "see each "
		       "other";
	if (n % 2 != 0)
		return "";
	return arena_printf(&c->arena,
			    "%u voters bear the loss of no more than %u do: add one, or let one be a standby "
			    "(wavetrain cluster token create)",
			    n, n - 1);
}

void admin_cluster_status(struct admin_conn *c)
{
	struct admin_cluster cl;
	Admin__Cluster m = ADMIN__CLUSTER__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	if (!has_cluster(c))
		return;
	ADMIN_OPS(c)->cluster(ADMIN_B(c), &c->arena, &cl);
	m.name = admin_str(cl.name);
	m.self = cl.self;
	m.leader = cl.leader;
	m.term = cl.term;
	m.applied = cl.applied;
	m.voters = voters(&cl);
	m.warning = admin_str(warning(c, &cl));
	m.n_nodes = cl.nr;
	m.nodes = arena_array(&c->arena, Admin__Node *, cl.nr ? cl.nr : 1);
	for (size_t i = 0; i < cl.nr; i++)
		m.nodes[i] = node_row(c, &cl.v[i]);
	reply.body_case = ADMIN__REPLY__BODY_CLUSTER;
	reply.cluster = &m;
	admin_reply(c, &reply);
	admin_done(c, 0, "%s", "");
}

/* ---- remove and transfer ---- */

static void then_removed(struct admin_conn *c, const struct command_reply *reply)
{
	admin_done(c, 0,
		   "coordinator %llu leaves the cluster and never comes back under this id; when it is gone "
		   "from "
		   "`wavetrain cluster status`, stop it and clear its directory",
		   (unsigned long long)c->request->cluster->node);
}

void admin_cluster_remove(struct admin_conn *c)
{
	struct command cmd = {.kind = COMMAND_NODE_REMOVE, .node_remove = c->request->cluster->node};
	struct admin_cluster cl;
	if (!has_cluster(c))
		return;
	ADMIN_OPS(c)->cluster(ADMIN_B(c), &c->arena, &cl);
	if (cmd.node_remove == cl.self && cl.nr > 1) {
		admin_fail(c, E_CONFLICT, "wavetrain cluster transfer, then ask the new leader to remove it",
			   "coordinator %llu leads: it hands over the lead before it goes",
			   (unsigned long long)cl.self);
		return;
	}
	admin_propose(c, &cmd, then_removed);
}

static void then_transferred(struct admin_conn *c, const struct command_reply *reply)
{
	struct admin_cluster cl;
	ADMIN_OPS(c)->cluster(ADMIN_B(c), &c->arena, &cl);
	admin_done(c, 0, "coordinator %llu leads now", (unsigned long long)cl.leader);
}

void admin_cluster_transfer(struct admin_conn *c)
{
	struct err e = {0};
	if (!has_cluster(c))
		return;
	if (c->request->dry_run) {
		admin_done(c, 0, "dry run: nothing was changed");
		return;
	}
	c->then = then_transferred;
	int rc = ADMIN_OPS(c)->transfer(ADMIN_B(c), c->request->cluster->node, admin_conn_done, c, &e);
	if (rc == E_OK)
		c->pending++;
	else
		admin_fail(c, rc, "wavetrain cluster status", "%s", e.text);
}

/* ---- tokens ---- */

static Admin__Token *token_row(struct admin_conn *c, const struct join_token *t)
{
	char hex[DIGEST_HEX_CAP];
	Admin__Token *row = arena_new(&c->arena, Admin__Token);
	admin__token__init(row);
	row->id = arena_printf(&c->arena, "%.12s", digest_hex(&t->secret, hex));
	row->standby = t->standby;
	row->node = t->node;
	row->expires_at_ms = t->expires_at.v;
	row->created_at_ms = t->created_at.v;
	row->created_by = arena_strdup(&c->arena, t->created_by ? t->created_by : "");
	row->state = admin_str(t->revoked					    ? "revoked"
			       : t->expires_at.v <= ADMIN_OPS(c)->now(ADMIN_B(c)).v ? "expired"
			       : t->node					    ? "used"
										    : "valid");
	return row;
}

static void send_tokens(struct admin_conn *c, struct admin_list *l)
{
	Admin__Tokens m = ADMIN__TOKENS__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	m.v = (Admin__Token **)l->v;
	m.n_v = l->nr;
	reply.body_case = ADMIN__REPLY__BODY_TOKENS;
	reply.tokens = &m;
	admin_reply(c, &reply);
	admin_done(c, 0, "%s", "");
}

/* The one moment in which the secret can be seen. */
struct new_token {
	struct join_token row;
	const char *text;
};

static void then_token(struct admin_conn *c, const struct command_reply *reply)
{
	const struct new_token *t = c->extra;
	struct admin_list l = {0};
	Admin__Token *row = token_row(c, &t->row);
	row->token = admin_str(t->text);
	admin_list_add(c, &l, row);
	send_tokens(c, &l);
}

void admin_token_create(struct admin_conn *c)
{
	const Admin__ClusterArgs *args = c->request->cluster;
	struct new_token *t = arena_new(&c->arena, struct new_token);
	struct command cmd = {.kind = COMMAND_TOKEN_CREATE};
	struct wall_ms now = ADMIN_OPS(c)->now(ADMIN_B(c));
	struct err e = {0};
	if (!has_cluster(c))
		return;
	if (args->ttl_ms < 0 || args->ttl_ms > ttl_max_ms) {
		admin_fail(c, E_INVALID, "make a new one when it is needed",
			   "a token is valid for at most %d days", TTL_MAX_DAYS);
		return;
	}
	int rc = ADMIN_OPS(c)->token(ADMIN_B(c), &c->arena, &t->row.secret, &t->text, &e);
	if (rc != E_OK) {
		admin_fail(c, rc, NULL, "%s", e.text);
		return;
	}
	t->row.standby = args->standby;
	t->row.expires_at.v = now.v + (args->ttl_ms ? args->ttl_ms : TTL_DEFAULT_MS);
	t->row.created_at = now;
	t->row.created_by = c->actor;
	cmd.token_create = t->row;
	c->extra = t;
	admin_propose(c, &cmd, then_token);
}

struct listed {
	struct admin_conn *c;
	struct admin_list l;
};

static bool add_token(void *arg, const struct join_token *t)
{
	struct listed *x = arg;
	admin_list_add(x->c, &x->l, token_row(x->c, t));
	return true;
}

void admin_token_list(struct admin_conn *c)
{
	struct listed x = {.c = c};
	view_each_token(ADMIN_STATE(c), &c->arena, add_token, &x);
	send_tokens(c, &x.l);
}

struct wanted {
	const char *prefix;
	struct digest found;
	unsigned nr;
};

static bool match(void *arg, const struct join_token *t)
{
	struct wanted *w = arg;
	char hex[DIGEST_HEX_CAP];
	if (strncmp(digest_hex(&t->secret, hex), w->prefix, strlen(w->prefix)) != 0)
		return true;
	w->found = t->secret;
	return ++w->nr < 2;
}

void admin_token_revoke(struct admin_conn *c)
{
	struct wanted w = {.prefix = c->request->cluster->token};
	struct command cmd = {.kind = COMMAND_TOKEN_REVOKE};
	if (strlen(w.prefix) >= 4)
		view_each_token(ADMIN_STATE(c), &c->arena, match, &w);
	if (w.nr != 1) {
		admin_fail(c, w.nr ? E_AMBIGUOUS : E_NOT_FOUND, "wavetrain cluster token list",
			   w.nr ? "more than one token begins with '%.20s'" : "no token begins with '%.20s'",
			   w.prefix);
		return;
	}
	cmd.token_revoke = w.found;
	admin_propose(c, &cmd, admin_then_done);
}
