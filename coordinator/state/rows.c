/*
 * rows.c: writing rows, and the three functions through which a stored machine moves: each checks the edge,
 * stores the row and records the change.
 */
#include "coordinator/state/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void put_raw(struct state *st, const struct key *k, const void *p, size_t n)
{
	st->store->ops->put(st->store, key_slice(k), (struct store_slice){p, n});
}

bool get_raw(struct state *st, const struct key *k, struct store_slice *out)
{
	return st->store->ops->get(st->store, key_slice(k), out);
}

uint64_t get_number(struct state *st, const struct key *k)
{
	struct store_slice v;
	if (!get_raw(st, k, &v))
		return 0;
	st->damaged |= v.n != 8;
	return v.n == 8 ? get_u64(v.p) : 0;
}

void put_number(struct state *st, const struct key *k, uint64_t v)
{
	uint8_t b[8];
	put_u64(b, v);
	put_raw(st, k, b, sizeof b);
}

#define DEFINE_PUT(fn, type, encode, key_expr)                                                               \
	void fn(struct apply *ap, const struct type *v)                                                      \
	{                                                                                                    \
		struct buf b;                                                                                \
		struct key k = key_expr;                                                                     \
		buf_init(&b);                                                                                \
		encode(&b, v);                                                                               \
		put_raw(ap->st, &k, b.data, b.len);                                                          \
		buf_done(&b);                                                                                \
	}

static struct key wave_key(const struct wave *w)
{
	struct key k = key_id(TABLE_WAVE, w->deployment);
	key_u32(&k, w->index);
	return k;
}

static struct key task_key(const struct task *t)
{
	struct key k = key_id(TABLE_TASK, t->deployment);
	key_u32(&k, t->wave);
	key_u32(&k, t->position);
	return k;
}

DEFINE_PUT(put_app, app, app_encode, key_named(TABLE_APP, &v->name))
DEFINE_PUT(put_env, environment, environment_encode, key_named(TABLE_ENV, &v->name))
DEFINE_PUT(put_host, host, host_encode, key_named(TABLE_HOST, &v->name))
DEFINE_PUT(put_deployment, deployment, deployment_encode, key_id(TABLE_DEPLOYMENT, v->id))
DEFINE_PUT(put_wave, wave, wave_encode, wave_key(v))
DEFINE_PUT(put_task, task, task_encode, task_key(v))
DEFINE_PUT(put_placement, placement, placement_encode, key_names(TABLE_PLACEMENT, &v->host, &v->app))

DEFINE_PUT(put_node, node, node_encode, key_number(TABLE_NODE, v->id))
DEFINE_PUT(put_token, join_token, join_token_encode, key_digest(TABLE_TOKEN, NULL, &v->secret))

void put_task_of(struct apply *ap, const struct task *t)
{
	uint8_t place[8];
	struct key k = key_id(TABLE_TASK_OF, t->deployment);
	key_name(&k, &t->host);
	put_u32(place, t->wave);
	put_u32(place + 4, t->position);
	put_raw(ap->st, &k, place, sizeof place);
}

int apply_refuse(struct apply *ap, int code, const char *fmt, ...)
{
	char text[512];
	va_list ap2;
	va_start(ap2, fmt);
	vsnprintf(text, sizeof text, fmt, ap2);
	va_end(ap2);
	ap->reply->text = arena_strdup(ap->a, text);
	return code;
}

void apply_object(struct apply *ap, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(ap->object, sizeof ap->object, fmt, args);
	va_end(args);
}

struct change *apply_change(struct apply *ap, enum change_kind kind)
{
	if (ap->changes_nr == ap->changes_cap) {
		size_t cap = ap->changes_cap == 0 ? 16 : 2 * ap->changes_cap;
		struct change *v = arena_array(ap->a, struct change, cap);
		if (ap->changes_nr > 0)
			memcpy(v, ap->changes, ap->changes_nr * sizeof *v);
		ap->changes = v;
		ap->changes_cap = cap;
	}
	struct change *ch = &ap->changes[ap->changes_nr++];
	ch->kind = kind;
	return ch;
}

static struct key moved_key(const struct name *app)
{
	return app == NULL ? key_of(TABLE_MOVED) : key_named(TABLE_MOVED, app);
}

void apply_moved(struct apply *ap, const struct name *app)
{
	struct key k = moved_key(app);
	put_number(ap->st, &k, ap->index);
}

uint64_t moved_index(struct state *st, const struct name *app)
{
	struct key k = moved_key(app);
	return get_number(st, &k);
}

static void revise_wave(struct apply *ap, const struct task *t)
{
	struct wave w;
	if (view_wave(ap->st, ap->a, t->deployment, t->wave, &w) != E_OK)
		return;
	w.revision++;
	put_wave(ap, &w);
}

int apply_task_move(struct apply *ap, struct task *t, const struct name *app, enum task_state to,
		    const char *reason)
{
	enum task_state from = t->state;
	int rc = task_move(t, to, reason, ap->c->at);
	if (rc != E_OK)
		return rc;
	put_task(ap, t);
	revise_wave(ap, t);
	*apply_change(ap, CHANGE_TASK) = (struct change){.kind = CHANGE_TASK,
							 .app = *app,
							 .host = t->host,
							 .deployment = t->deployment,
							 .wave = t->wave,
							 .from = (int)from,
							 .to = (int)to,
							 .reason = t->reason};
	return E_OK;
}

int apply_wave_move(struct apply *ap, struct wave *w, const struct name *app, enum wave_state to,
		    const char *reason)
{
	enum wave_state from = w->state;
	int rc = wave_move(w, to, reason, ap->c->at);
	if (rc != E_OK)
		return rc;
	put_wave(ap, w);
	*apply_change(ap, CHANGE_WAVE) = (struct change){.kind = CHANGE_WAVE,
							 .app = *app,
							 .deployment = w->deployment,
							 .wave = w->index,
							 .from = (int)from,
							 .to = (int)to,
							 .reason = w->reason};
	return E_OK;
}

/* Entry actions of the states stand here, after the state is set: leaving the list of active rollouts, going
 * back, becoming stable. */
static void entered(struct apply *ap, struct deployment *d, enum rollout_state from)
{
	if (d->state == ROLLOUT_PAUSED || d->state == ROLLOUT_HELD)
		d->resume_to = d->back ? ROLLOUT_ROLLING_BACK : ROLLOUT_RUNNING;
	if (d->state == ROLLOUT_ROLLING_BACK)
		d->back = true;
	if (sm_terminal(&rollout_machine, (int)d->state)) {
		struct key k = key_names(TABLE_ACTIVE, &d->app, &d->env);
		ap->st->store->ops->del(ap->st->store, key_slice(&k));
		apply_moved(ap, &d->app);
	}
}

int apply_rollout_move(struct apply *ap, struct deployment *d, enum rollout_state to, const char *reason)
{
	enum rollout_state from = d->state;
	int rc = rollout_move(d, to, reason, ap->c->at);
	if (rc != E_OK)
		return rc;
	entered(ap, d, from);
	put_deployment(ap, d);
	*apply_change(ap, CHANGE_DEPLOYMENT) = (struct change){.kind = CHANGE_DEPLOYMENT,
							       .app = d->app,
							       .deployment = d->id,
							       .from = (int)from,
							       .to = (int)to,
							       .reason = d->reason};
	return E_OK;
}
