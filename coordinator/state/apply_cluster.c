/*
 * apply_cluster.c: coordinators and the tokens that let them in. Who is a member of consensus follows from
 * these rows, a little later and one at a time (coordinator/cluster/reconcile.h); what is decided here is who
 * may be.
 */
#include <string.h>

#include "coordinator/state/internal.h"

/* Tokens that still let somebody in, and members that are not removed. More than that is a mistake. */
enum { TOKENS_MAX = 64, NODES_MAX = 30 };

/* ---- tokens
 * ------------------------------------------------------------------------------------------------------- */

/* The first digits of the hash name a token for people; the secret cannot be told from them. */
static void about_token(struct apply *ap, const struct digest *secret)
{
	char hex[DIGEST_HEX_CAP];
	apply_object(ap, "token %.12s", digest_hex(secret, hex));
}

struct tokens {
	struct apply *ap;
	struct digest expired[TOKENS_MAX];
	size_t expired_nr, live_nr;
};

static bool sort_token(void *arg, const struct join_token *t)
{
	struct tokens *ts = arg;
	if (t->expires_at.v > ts->ap->c->at.v)
		ts->live_nr++;
	else if (ts->expired_nr < TOKENS_MAX)
		ts->expired[ts->expired_nr++] = t->secret;
	return true;
}

static void drop_tokens(struct apply *ap, const struct tokens *ts)
{
	for (size_t i = 0; i < ts->expired_nr; i++) {
		struct key k = key_digest(TABLE_TOKEN, NULL, &ts->expired[i]);
		ap->st->store->ops->del(ap->st->store, key_slice(&k));
	}
}

int apply_token_create(struct apply *ap)
{
	struct join_token row = ap->c->token_create, old;
	struct tokens *ts = arena_new(ap->a, struct tokens);
	about_token(ap, &row.secret);
	if (digest_none(&row.secret) || row.expires_at.v <= ap->c->at.v)
		return apply_refuse(ap, E_INVALID, "a token needs a secret, and an end that is not over");
	if (view_token(ap->st, ap->a, &row.secret, &old) == E_OK)
		return apply_refuse(ap, E_EXISTS, "there is such a token already");
	*ts = (struct tokens){.ap = ap};
	view_each_token(ap->st, ap->a, sort_token, ts);
	if (ts->live_nr >= TOKENS_MAX)
		return apply_refuse(ap, E_TOO_LARGE,
				    "%d tokens are valid already: revoke some (wavetrain cluster token list)",
				    TOKENS_MAX);
	drop_tokens(ap, ts);
	row.revoked = false;
	row.node = 0;
	row.created_at = ap->c->at;
	row.created_by = ap->c->actor;
	put_token(ap, &row);
	return E_OK;
}

int apply_token_revoke(struct apply *ap)
{
	struct join_token row;
	about_token(ap, &ap->c->token_revoke);
	if (view_token(ap->st, ap->a, &ap->c->token_revoke, &row) != E_OK)
		return apply_refuse(ap, E_NOT_FOUND, "there is no such token");
	row.revoked = true;
	put_token(ap, &row);
	return E_OK;
}

/* ---- nodes
 * -------------------------------------------------------------------------------------------------------- */

struct census {
	const char *peer_address; /* who has it? */
	uint64_t highest, holder;
	unsigned members, voters;
};

static bool count_node(void *arg, const struct node *n)
{
	struct census *c = arg;
	c->highest = n->id;
	if (n->removed)
		return true;
	c->members++;
	c->voters += !n->standby;
	if (c->peer_address != NULL && strcmp(c->peer_address, n->peer_address) == 0)
		c->holder = n->id;
	return true;
}

/* Node 1 is the one that made the cluster, also before it has a row. */
static struct census count_nodes(struct apply *ap, const char *peer_address)
{
	struct census c = {.peer_address = peer_address, .highest = 1};
	view_each_node(ap->st, ap->a, count_node, &c);
	return c;
}

int apply_node_put(struct apply *ap)
{
	struct node row = ap->c->node_put, old;
	apply_object(ap, "coordinator %llu", (unsigned long long)row.id);
	if (row.id == 0)
		return apply_refuse(ap, E_INVALID, "a coordinator needs an id");
	if (view_node(ap->st, ap->a, row.id, &old) == E_OK) {
		row.standby = old.standby;
		row.removed = old.removed;
		row.key = old.key;
		row.created_at = old.created_at;
		row.created_by = old.created_by;
	} else {
		row.removed = false;
		row.created_at = ap->c->at;
		row.created_by = ap->c->actor;
	}
	put_node(ap, &row);
	return E_OK;
}

/* The answer was lost, and the same one asks again: it is told the same. */
static int join_again(struct apply *ap, const struct join_token *t)
{
	struct node row;
	if (view_node(ap->st, ap->a, t->node, &row) != E_OK ||
	    !digest_eq(&row.key, &ap->c->node_join.node.key))
		return apply_refuse(
			ap, E_DENIED,
			"this token was used by coordinator %llu: make another one (wavetrain cluster "
			"token create)",
			(unsigned long long)t->node);
	if (row.removed)
		return apply_refuse(
			ap, E_DENIED,
			"coordinator %llu, which joined with this token, was removed: make another token",
			(unsigned long long)row.id);
	apply_object(ap, "coordinator %llu", (unsigned long long)row.id);
	ap->reply->node = row.id;
	return E_OK;
}

static int check_token(struct apply *ap, struct join_token *t)
{
	if (view_token(ap->st, ap->a, &ap->c->node_join.secret, t) != E_OK)
		return apply_refuse(
			ap, E_DENIED,
			"there is no such token here: copy it whole, or make one (wavetrain cluster token "
			"create)");
	if (t->revoked)
		return apply_refuse(ap, E_DENIED, "this token was revoked: ask for another one");
	if (t->expires_at.v <= ap->c->at.v)
		return apply_refuse(
			ap, E_DENIED,
			"this token has expired: make another one (wavetrain cluster token create)");
	return E_OK;
}

static int check_newcomer(struct apply *ap, const struct census *c)
{
	const struct node *n = &ap->c->node_join.node;
	if (n->address[0] == '\0' || n->peer_address[0] == '\0' || digest_none(&n->key))
		return apply_refuse(ap, E_INVALID, "a coordinator needs an address and a key");
	if (c->holder != 0)
		return apply_refuse(
			ap, E_EXISTS,
			"coordinator %llu has the address %s: if this is to replace it, first: wavetrain "
			"cluster remove %llu",
			(unsigned long long)c->holder, n->peer_address, (unsigned long long)c->holder);
	if (c->members >= NODES_MAX)
		return apply_refuse(ap, E_TOO_LARGE, "a cluster has at most %d coordinators", NODES_MAX);
	return E_OK;
}

int apply_node_join(struct apply *ap)
{
	struct join_token token;
	struct node row = ap->c->node_join.node;
	about_token(ap, &ap->c->node_join.secret);
	int rc = check_token(ap, &token);
	if (rc != E_OK)
		return rc;
	if (token.node != 0)
		return join_again(ap, &token);
	struct census census = count_nodes(ap, row.peer_address);
	rc = check_newcomer(ap, &census);
	if (rc != E_OK)
		return rc;
	row.id = token.node = census.highest + 1;
	row.standby = token.standby;
	row.removed = false;
	row.created_at = ap->c->at;
	row.created_by = token.created_by;
	put_node(ap, &row);
	put_token(ap, &token);
	apply_object(ap, "coordinator %llu", (unsigned long long)row.id);
	ap->reply->node = row.id;
	return E_OK;
}

static int check_leaves(struct apply *ap, const struct node *n)
{
	struct census c = count_nodes(ap, NULL);
	if (n->standby || c.voters > 1)
		return E_OK;
	return apply_refuse(
		ap, E_INFEASIBLE,
		"coordinator %llu is the last that votes: add another one first (wavetrain cluster token "
		"create)",
		(unsigned long long)n->id);
}

int apply_node_remove(struct apply *ap)
{
	struct node row;
	apply_object(ap, "coordinator %llu", (unsigned long long)ap->c->node_remove);
	if (view_node(ap->st, ap->a, ap->c->node_remove, &row) != E_OK)
		return apply_refuse(ap, E_NOT_FOUND, "there is no coordinator %llu",
				    (unsigned long long)ap->c->node_remove);
	if (row.removed)
		return E_OK;
	int rc = check_leaves(ap, &row);
	if (rc != E_OK)
		return rc;
	row.removed = true;
	put_node(ap, &row);
	return E_OK;
}
