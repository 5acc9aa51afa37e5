/*
 * state.c: one command at a time. Decode, answer repeats from the client's row, apply, audit, and write down
 * how far we are: all in the store's one transaction.
 */
#include "coordinator/state/state.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/state/internal.h"

enum { FORMAT = 2 }; /* 2: clients are counted, and found by their last use */

static struct key meta_key(const char *word)
{
	struct key k = key_of(TABLE_META);
	key_bytes(&k, (const uint8_t *)word, strlen(word));
	return k;
}

/* ---- meta: one fixed row
 * ------------------------------------------------------------------------------------------- */

enum { META_LEN = 4 + 8 + 4 + 8 + DIGEST_LEN + 16 + NAME_CAP };

static void meta_put(struct state *st)
{
	struct key k = meta_key("meta");
	struct buf b;
	buf_init(&b);
	buf_put_u32(&b, FORMAT);
	buf_put_u64(&b, st->applied);
	buf_put_u32(&b, st->applied_sub);
	buf_put_u64(&b, (uint64_t)st->clock.v);
	buf_put(&b, st->chain.b, DIGEST_LEN);
	buf_put_u64(&b, st->cluster_hi);
	buf_put_u64(&b, st->cluster_lo);
	buf_put(&b, st->cluster.s, NAME_CAP);
	PRE(b.len == META_LEN);
	put_raw(st, &k, b.data, b.len);
	buf_done(&b);
}

static int meta_check(struct store_slice v)
{
	if (v.n != META_LEN)
		return E_CORRUPT;
	return get_u32(v.p) == FORMAT ? E_OK : E_VERSION;
}

static int meta_get(struct state *st)
{
	struct key k = meta_key("meta");
	struct store_slice v;
	if (!get_raw(st, &k, &v))
		return E_OK; /* an empty state */
	int rc = meta_check(v);
	if (rc != E_OK)
		return rc;
	st->applied = get_u64(v.p + 4);
	st->applied_sub = get_u32(v.p + 12);
	st->clock.v = (int64_t)get_u64(v.p + 16);
	memcpy(st->chain.b, v.p + 24, DIGEST_LEN);
	st->cluster_hi = get_u64(v.p + 56);
	st->cluster_lo = get_u64(v.p + 64);
	memcpy(st->cluster.s, v.p + 72, NAME_CAP);
	st->cluster.s[NAME_CAP - 1] = '\0';
	return E_OK;
}

int state_open(struct store *s, struct state **out)
{
	struct state *st = calloc(1, sizeof *st);
	PRE(st != NULL);
	st->store = s;
	int rc = meta_get(st);
	if (rc != E_OK) {
		free(st);
		return rc;
	}
	*out = st;
	return E_OK;
}

void state_free(struct state *st)
{
	free(st);
}

uint64_t state_applied(const struct state *st)
{
	return st->applied;
}

struct wall_ms state_clock(const struct state *st)
{
	return st->clock;
}

bool state_damaged(const struct state *st)
{
	return st->damaged;
}

struct digest state_chain(const struct state *st)
{
	return st->chain;
}

/* ---- audit
 * ---------------------------------------------------------------------------------------------------------
 */

static const char *verb_word(const struct command *c)
{
	static const char *const names[COMMAND_KIND_NR] = {
		[COMMAND_CLUSTER_INIT] = "cluster init",
		[COMMAND_APP_PUT] = "app add",
		[COMMAND_ENV_PUT] = "env add",
		[COMMAND_HOST_ADD] = "agents add",
		[COMMAND_HOST_REMOVE] = "agents remove",
		[COMMAND_RELEASE_ADD] = "release push",
		[COMMAND_TARGET_RELEASE] = "release release-bad",
		[COMMAND_DEPLOY] = "deploy",
		[COMMAND_ROLLOUT_MOVE] = "rollout",
		[COMMAND_WAVE_MOVE] = "wave",
		[COMMAND_ASSIGN] = "assign",
		[COMMAND_TASK_RESULTS] = "results",
		[COMMAND_TASK_JOIN] = "join",
		[COMMAND_NODE_PUT] = "cluster node",
		[COMMAND_NODE_JOIN] = "cluster join",
		[COMMAND_NODE_REMOVE] = "cluster remove",
		[COMMAND_TOKEN_CREATE] = "cluster token create",
		[COMMAND_TOKEN_REVOKE] = "cluster token revoke",
	};
	return c->kind == COMMAND_VERB ? verb_name(c->verb.verb) : names[c->kind];
}

static const char *detail_of(struct apply *ap)
{
	const struct command *c = ap->c;
	if (ap->reply->code != E_OK)
		return arena_printf(ap->a, "refused: %s", ap->reply->text);
	if (c->kind == COMMAND_ROLLOUT_MOVE)
		return arena_printf(ap->a, "%s -> %s: %s",
				    sm_name(&rollout_machine, (int)c->rollout_move.from),
				    sm_name(&rollout_machine, (int)c->rollout_move.to), c->reason);
	if (c->kind == COMMAND_WAVE_MOVE)
		return arena_printf(ap->a, "wave %u %s -> %s %s", c->wave_move.wave + 1,
				    sm_name(&wave_machine, (int)c->wave_move.from),
				    sm_name(&wave_machine, (int)c->wave_move.to), c->reason);
	return c->reason;
}

/* chain' = SHA-256(chain || index || sub || command): equal at equal index on every node, and a proof of
 * order for auditors. */
static void chain_on(struct state *st, uint64_t index, uint32_t sub, const uint8_t *cmd, size_t n)
{
	struct buf b;
	buf_init(&b);
	buf_put(&b, st->chain.b, DIGEST_LEN);
	buf_put_u64(&b, index);
	buf_put_u32(&b, sub);
	buf_put(&b, cmd, n);
	SHA256(b.data, b.len, st->chain.b);
	buf_done(&b);
}

static void audit(struct apply *ap, uint32_t sub)
{
	struct audit_entry row = {.index = ap->index,
				  .at = ap->c->at,
				  .actor = ap->c->actor,
				  .verb = verb_word(ap->c),
				  .object = ap->object,
				  .detail = detail_of(ap),
				  .trace = ap->c->trace,
				  .chain = ap->st->chain};
	struct key k = key_of(TABLE_AUDIT);
	struct buf b;
	key_u64(&k, ap->index);
	key_u32(&k, sub);
	buf_init(&b);
	audit_entry_encode(&b, &row);
	put_raw(ap->st, &k, b.data, b.len);
	buf_done(&b);
}

/* ---- apply
 * ---------------------------------------------------------------------------------------------------------
 */

static int apply_one(struct apply *ap)
{
	switch (ap->c->kind) {
	case COMMAND_CLUSTER_INIT:
		return apply_init(ap);
	case COMMAND_APP_PUT:
		return apply_app_put(ap);
	case COMMAND_ENV_PUT:
		return apply_env_put(ap);
	case COMMAND_HOST_ADD:
		return apply_host_add(ap);
	case COMMAND_HOST_REMOVE:
		return apply_host_remove(ap);
	case COMMAND_RELEASE_ADD:
		return apply_release_add(ap);
	case COMMAND_TARGET_RELEASE:
		return apply_target_release(ap);
	case COMMAND_DEPLOY:
		return apply_deploy(ap);
	case COMMAND_VERB:
		return apply_verb(ap);
	case COMMAND_ROLLOUT_MOVE:
		return apply_rollout(ap);
	case COMMAND_WAVE_MOVE:
		return apply_wave(ap);
	case COMMAND_ASSIGN:
		return apply_assign(ap);
	case COMMAND_TASK_RESULTS:
		return apply_results(ap);
	case COMMAND_TASK_JOIN:
		return apply_join(ap);
	case COMMAND_NODE_PUT:
		return apply_node_put(ap);
	case COMMAND_NODE_JOIN:
		return apply_node_join(ap);
	case COMMAND_NODE_REMOVE:
		return apply_node_remove(ap);
	case COMMAND_TOKEN_CREATE:
		return apply_token_create(ap);
	case COMMAND_TOKEN_REVOKE:
		return apply_token_revoke(ap);
	case COMMAND_KIND_NR:
		break;
	}
	return E_VERSION;
}

static bool applied_before(const struct state *st, uint64_t index, uint32_t sub)
{
	return index < st->applied || (index == st->applied && sub <= st->applied_sub);
}

int state_apply(struct state *st, struct arena *a, uint64_t index, uint32_t sub, const uint8_t *cmd, size_t n,
		struct command_reply *reply, struct changes *changes)
{
	struct command c;
	*changes = (struct changes){0};
	*reply = (struct command_reply){.index = index, .text = ""};
	if (st->damaged)
		return E_CORRUPT;
	if (st->applied != 0 && applied_before(st, index, sub))
		return E_OK;
	int rc = command_decode(a, cmd, n, &c);
	if (rc != E_OK)
		return rc;
	if (c.at.v < st->clock.v)
		c.at = st->clock; /* time never goes back in the state, whatever a proposer's clock does */
	struct apply ap = {.st = st, .a = a, .index = index, .sub = sub, .c = &c, .reply = reply};
	chain_on(st, index, sub, cmd, n);
	if (!clients_answered(&ap)) {
		reply->code = apply_one(&ap);
		clients_remember(&ap);
		if (!ap.unaudited)
			audit(&ap, sub);
	}
	if (st->damaged)
		return E_CORRUPT;
	st->applied = index;
	st->applied_sub = sub;
	st->clock = c.at;
	meta_put(st);
	for (size_t i = 0; i < ap.changes_nr; i++)
		ap.changes[i].trace = c.trace;
	*changes = (struct changes){ap.changes, ap.changes_nr};
	return E_OK;
}

/* ---- snapshots
 * ----------------------------------------------------------------------------------------------------- */

void state_dump(struct store *s, struct buf *out)
{
	struct key at = {.n = 0};
	struct store_slice key, value;
	while (s->ops->seek(s, key_slice(&at), &key, &value)) {
		buf_put_u32(out, (uint32_t)key.n);
		buf_put_u32(out, (uint32_t)value.n);
		buf_put(out, key.p, key.n);
		buf_put(out, value.p, value.n);
		at = key_after(key);
	}
}

/*
 * All lengths and the meta row are checked before the first row is replaced: a snapshot that is damaged or of
 * another format leaves the state as it was. Keys leave room for the byte that key_after adds.
 */
static int dump_check(const uint8_t *p, size_t n)
{
	struct key meta = meta_key("meta");
	bool found = n == 0; /* nothing at all is an empty state */
	while (n > 0) {
		if (n < 8)
			return E_CORRUPT;
		uint32_t klen = get_u32(p), vlen = get_u32(p + 4);
		uint64_t need = 8 + (uint64_t)klen + vlen;
		if (need > n || klen == 0 || klen >= KEY_CAP)
			return E_CORRUPT;
		if (klen == meta.n && memcmp(p + 8, meta.p, klen) == 0) {
			int rc = meta_check((struct store_slice){p + 8 + klen, vlen});
			if (rc != E_OK)
				return rc;
			found = true;
		}
		p += need;
		n -= need;
	}
	return found ? E_OK : E_CORRUPT;
}

int state_restore(struct state *st, const uint8_t *p, size_t n)
{
	const struct store_ops *ops = st->store->ops;
	int rc = dump_check(p, n);
	if (rc != E_OK)
		return rc;
	ops->wipe(st->store);
	while (n > 0) {
		uint32_t klen = get_u32(p), vlen = get_u32(p + 4);
		ops->put(st->store, (struct store_slice){p + 8, klen},
			 (struct store_slice){p + 8 + klen, vlen});
		p += 8 + klen + vlen;
		n -= 8 + klen + vlen;
	}
	struct store *store = st->store;
	*st = (struct state){.store = store};
	return meta_get(st);
}

struct digest state_digest(struct state *st)
{
	struct digest d;
	struct buf b;
	buf_init(&b);
	state_dump(st->store, &b);
	SHA256(b.data, b.len, d.b);
	buf_done(&b);
	return d;
}
