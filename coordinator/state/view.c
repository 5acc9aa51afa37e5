#include "coordinator/state/view.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/state/internal.h"

/* What cannot be read is not absent: from here on the fold stops (state_apply). */
static int damaged(struct state *st)
{
	st->damaged = true;
	return E_CORRUPT;
}

/* A row that an index names must be there. */
static int indexed(struct state *st, int rc)
{
	return rc == E_NOT_FOUND ? damaged(st) : rc;
}

#define DEFINE_VIEW(fn, type, decode)                                                                        \
	static int fn(struct state *st, struct arena *a, const struct key *k, struct type *out)              \
	{                                                                                                    \
		struct store_slice v;                                                                        \
		if (!get_raw(st, k, &v))                                                                     \
			return E_NOT_FOUND;                                                                  \
		return decode(a, v.p, v.n, out) == E_OK ? E_OK : damaged(st);                                \
	}
DEFINE_VIEW(get_app, app, app_decode)
DEFINE_VIEW(get_env, environment, environment_decode)
DEFINE_VIEW(get_host, host, host_decode)
DEFINE_VIEW(get_release, release, release_decode)
DEFINE_VIEW(get_bad, bad_mark, bad_mark_decode)
DEFINE_VIEW(get_deployment, deployment, deployment_decode)
DEFINE_VIEW(get_wave, wave, wave_decode)
DEFINE_VIEW(get_task, task, task_decode)
DEFINE_VIEW(get_placement, placement, placement_decode)
DEFINE_VIEW(get_node, node, node_decode)
DEFINE_VIEW(get_token, join_token, join_token_decode)

int view_app(struct state *st, struct arena *a, const struct name *name, struct app *out)
{
	struct key k = key_named(TABLE_APP, name);
	return get_app(st, a, &k, out);
}

int view_env(struct state *st, struct arena *a, const struct name *name, struct environment *out)
{
	struct key k = key_named(TABLE_ENV, name);
	return get_env(st, a, &k, out);
}

int view_host(struct state *st, struct arena *a, const struct name *name, struct host *out)
{
	struct key k = key_named(TABLE_HOST, name);
	return get_host(st, a, &k, out);
}

int view_release(struct state *st, struct arena *a, const struct name *app, const struct name *version,
		 struct release *out)
{
	struct key k = key_names(TABLE_RELEASE, app, version);
	return get_release(st, a, &k, out);
}

int view_release_by_digest(struct state *st, struct arena *a, const struct name *app,
			   const struct digest *artifact, struct release *out)
{
	struct key k = key_digest(TABLE_RELEASE_OF, app, artifact);
	struct store_slice v;
	struct name version;
	if (!get_raw(st, &k, &v))
		return E_NOT_FOUND;
	if (v.n != NAME_CAP || v.p[NAME_CAP - 1] != '\0')
		return damaged(st);
	memcpy(version.s, v.p, NAME_CAP);
	return indexed(st, view_release(st, a, app, &version, out));
}

int view_bad(struct state *st, struct arena *a, const struct name *app, const struct digest *target,
	     struct bad_mark *out)
{
	struct key k = key_digest(TABLE_BAD, app, target);
	return get_bad(st, a, &k, out);
}

int view_deployment(struct state *st, struct arena *a, struct deployment_id id, struct deployment *out)
{
	struct key k = key_id(TABLE_DEPLOYMENT, id);
	return get_deployment(st, a, &k, out);
}

int view_wave(struct state *st, struct arena *a, struct deployment_id id, uint32_t index, struct wave *out)
{
	struct key k = key_id(TABLE_WAVE, id);
	key_u32(&k, index);
	return get_wave(st, a, &k, out);
}

int view_task(struct state *st, struct arena *a, struct deployment_id id, const struct name *host,
	      struct task *out)
{
	struct key of = key_id(TABLE_TASK_OF, id), k = key_id(TABLE_TASK, id);
	struct store_slice v;
	key_name(&of, host);
	if (!get_raw(st, &of, &v))
		return E_NOT_FOUND;
	if (v.n != 8)
		return damaged(st);
	key_bytes(&k, v.p, 8);
	return indexed(st, get_task(st, a, &k, out));
}

int view_placement(struct state *st, struct arena *a, const struct name *host, const struct name *app,
		   struct placement *out)
{
	struct key k = key_names(TABLE_PLACEMENT, host, app);
	return get_placement(st, a, &k, out);
}

int view_node(struct state *st, struct arena *a, uint64_t id, struct node *out)
{
	struct key k = key_number(TABLE_NODE, id);
	return get_node(st, a, &k, out);
}

int view_token(struct state *st, struct arena *a, const struct digest *secret, struct join_token *out)
{
	struct key k = key_digest(TABLE_TOKEN, NULL, secret);
	return get_token(st, a, &k, out);
}

int view_spec(struct state *st, struct arena *a, const struct digest *spec, const char **text, size_t *n)
{
	struct key k = key_digest(TABLE_SPEC, NULL, spec);
	struct store_slice v;
	if (!get_raw(st, &k, &v))
		return E_NOT_FOUND;
	*text = arena_memdup(a, v.p, v.n);
	*n = v.n;
	return E_OK;
}

void view_cluster(struct state *st, uint64_t *hi, uint64_t *lo, struct name *name)
{
	*hi = st->cluster_hi;
	*lo = st->cluster_lo;
	*name = st->cluster;
}

/* ---- iterations
 * ---------------------------------------------------------------------------------------------------- */

/* Each row under `prefix` from `from` on, in key order. The row's bytes are gone at the next write, so
 * callers decode first. */
struct walk {
	struct state *st;
	struct key prefix, at;
	struct store_slice key, value;
};

static struct walk walk_from(struct state *st, struct key prefix)
{
	return (struct walk){.st = st, .prefix = prefix, .at = prefix};
}

static bool walk_next(struct walk *w)
{
	if (!w->st->store->ops->seek(w->st->store, key_slice(&w->at), &w->key, &w->value) ||
	    !key_has_prefix(w->key, &w->prefix))
		return false;
	w->at = key_after(w->key);
	return true;
}

#define DEFINE_EACH(fn, type, decode, each_fn, prefix_expr, keep_expr, ...)                                  \
	void fn(struct state *st, struct arena *a, ##__VA_ARGS__, each_fn *each, void *arg)                  \
	{                                                                                                    \
		struct walk w = walk_from(st, prefix_expr);                                                  \
		while (walk_next(&w)) {                                                                      \
			struct type row;                                                                     \
			if (decode(a, w.value.p, w.value.n, &row) != E_OK) {                                 \
				st->damaged = true;                                                          \
				return;                                                                      \
			}                                                                                    \
			if ((keep_expr) && !each(arg, &row))                                                 \
				return;                                                                      \
		}                                                                                            \
	}

static struct key release_prefix(const struct name *app)
{
	return app == NULL ? key_of(TABLE_RELEASE) : key_named(TABLE_RELEASE, app);
}

DEFINE_EACH(view_each_app, app, app_decode, view_app_fn, key_of(TABLE_APP), true)
DEFINE_EACH(view_each_env, environment, environment_decode, view_env_fn, key_of(TABLE_ENV), true)
DEFINE_EACH(view_each_host, host, host_decode, view_host_fn, key_of(TABLE_HOST), !row.removed)
DEFINE_EACH(view_each_release, release, release_decode, view_release_fn, release_prefix(app), true,
	    const struct name *app)
DEFINE_EACH(view_each_node, node, node_decode, view_node_fn, key_of(TABLE_NODE), true)
DEFINE_EACH(view_each_token, join_token, join_token_decode, view_token_fn, key_of(TABLE_TOKEN), true)
DEFINE_EACH(view_each_bad, bad_mark, bad_mark_decode, view_bad_fn, key_of(TABLE_BAD), true)
DEFINE_EACH(view_each_placement, placement, placement_decode, view_placement_fn,
	    key_named(TABLE_PLACEMENT, host), after == 0 || row.seq > after, const struct name *host,
	    uint64_t after)

void view_each_audit(struct state *st, struct arena *a, uint64_t from_index, view_audit_fn *each, void *arg)
{
	struct walk w = walk_from(st, key_of(TABLE_AUDIT));
	key_u64(&w.at, from_index);
	while (walk_next(&w)) {
		struct audit_entry row;
		if (audit_entry_decode(a, w.value.p, w.value.n, &row) != E_OK) {
			st->damaged = true;
			return;
		}
		if (!each(arg, &row))
			return;
	}
}

static void each_deployment_of(struct state *st, struct arena *a, struct key index, view_deployment_fn *each,
			       void *arg)
{
	struct walk w = walk_from(st, index);
	while (walk_next(&w)) {
		struct deployment row;
		if (w.value.n != 8 ||
		    view_deployment(st, a, (struct deployment_id){get_u64(w.value.p)}, &row) != E_OK) {
			st->damaged = true;
			return;
		}
		if (!each(arg, &row))
			return;
	}
}

void view_each_deployment(struct state *st, struct arena *a, view_deployment_fn *each, void *arg)
{
	each_deployment_of(st, a, key_of(TABLE_SERIAL), each, arg);
}

void view_each_active(struct state *st, struct arena *a, view_deployment_fn *each, void *arg)
{
	each_deployment_of(st, a, key_of(TABLE_ACTIVE), each, arg);
}

int view_active_deployment(struct state *st, struct arena *a, const struct name *app, const struct name *env,
			   struct deployment *out)
{
	struct key k = key_names(TABLE_ACTIVE, app, env);
	uint64_t id = get_number(st, &k);
	if (id == 0) /* absent, or a number that is none */
		return st->damaged ? E_CORRUPT : E_NOT_FOUND;
	return indexed(st, view_deployment(st, a, (struct deployment_id){id}, out));
}

struct prefix_search {
	const char *prefix;
	size_t n;
	struct deployment *out;
	unsigned found;
};

static bool match_prefix(void *arg, const struct deployment *d)
{
	struct prefix_search *s = arg;
	char id[DEPLOYMENT_ID_CAP];
	if (strncmp(deployment_id_text(d->id, id) + 2, s->prefix, s->n) != 0)
		return true;
	*s->out = *d;
	return ++s->found < 2;
}

int view_deployment_by_prefix(struct state *st, struct arena *a, const char *prefix, struct deployment *out)
{
	const char *digits = strncmp(prefix, "r-", 2) == 0 ? prefix + 2 : prefix;
	struct prefix_search s = {.prefix = digits, .n = strlen(digits), .out = out};
	if (s.n == 0)
		return E_NOT_FOUND;
	view_each_deployment(st, a, match_prefix, &s);
	return s.found == 0 ? E_NOT_FOUND : s.found > 1 ? E_AMBIGUOUS : E_OK;
}

int view_rollout(struct state *st, struct arena *a, struct deployment_id id, struct deployment *d,
		 struct wave **waves, struct task **tasks, size_t *tasks_nr)
{
	int rc = view_deployment(st, a, id, d);
	if (rc != E_OK)
		return rc;
	struct wave *w = arena_array(a, struct wave, d->waves_nr);
	struct task *t = arena_array(a, struct task, d->hosts_nr);
	size_t nr = 0;
	for (uint32_t i = 0; i < d->waves_nr; i++)
		if (view_wave(st, a, id, i, &w[i]) != E_OK)
			return damaged(st);
	struct walk walk = walk_from(st, key_id(TABLE_TASK, id));
	while (nr < d->hosts_nr && walk_next(&walk))
		if (task_decode(a, walk.value.p, walk.value.n, &t[nr++]) != E_OK)
			return damaged(st);
	*waves = w;
	*tasks = t;
	*tasks_nr = nr;
	return E_OK;
}
