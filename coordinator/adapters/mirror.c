#include "coordinator/adapters/mirror.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "coordinator/adapters/mirror_inner.h"
#include "sys/log.h"

enum {
	LOOK_APART_MS = 500,
	FULL_MS = 60 * 1000, /* what is here is looked for again on the disk */
	PAUSE_MOST_MS = 120 * 1000,
	PAUSE_LEAST_MS = 100
};

uint64_t mirror_pause_ms(struct mirror *m, unsigned attempts)
{
	return PAUSE_LEAST_MS +
	       (uint64_t)rng_full_jitter_ms(&m->rng, attempts, (int64_t)m->retry_ms, PAUSE_MOST_MS);
}

/* ---- what is wanted
 * ----------------------------------------------------------------------------------------------------- */

void mirror_set_here(struct mirror_want *w, bool here)
{
	struct mirror *m = w->m;
	if (here == w->here)
		return;
	w->here = here;
	if (!here) {
		DL_APPEND(m->missing, w);
		return;
	}
	mirror_get_stop(w);
	DL_DELETE(m->missing, w);
}

void mirror_wanted(struct mirror *m, const struct digest *d, uint64_t size_bytes)
{
	struct mirror_want *w;
	HASH_FIND(hh, m->wants, d, sizeof *d, w);
	if (w == NULL) {
		w = calloc(1, sizeof *w);
		PRE(w != NULL);
		*w = (struct mirror_want){.m = m, .digest = *d, .size = size_bytes, .here = true};
		HASH_ADD(hh, m->wants, digest, sizeof w->digest, w);
		mirror_set_here(w, artifact_store_has(m->store, d));
	}
	w->seen = true;
}

static void drop_want(struct mirror_want *w)
{
	struct mirror *m = w->m;
	mirror_set_here(w, true);
	mirror_ask_forget(m, w);
	HASH_DEL(m->wants, w);
	free(w);
}

static void look_for_wants(struct mirror *m, bool full)
{
	struct mirror_want *w, *next;
	for (w = m->wants; w != NULL; w = w->hh.next)
		w->seen = false;
	if (m->peers != 0)
		m->source.wanted(m->source.arg, m);
	HASH_ITER(hh, m->wants, w, next)
	{
		if (!w->seen)
			drop_want(w);
		else if (full || !w->here)
			mirror_set_here(w, artifact_store_has(m->store, &w->digest));
	}
	for (size_t i = 0; i < MIRROR_PEERS_MAX; i++) /* what is new is asked for at once */
		m->others[i].cursor = m->wants;
}

/* ---- the others
 * ---------------------------------------------------------------------------------------------------------
 */

static struct mirror_other *free_place(struct mirror *m)
{
	for (size_t i = 0; i < MIRROR_PEERS_MAX; i++)
		if (!m->others[i].used) {
			m->others[i] = (struct mirror_other){.m = m, .used = true, .bit = UINT32_C(1) << i};
			return &m->others[i];
		}
	return NULL;
}

void mirror_peer(struct mirror *m, const char *url)
{
	struct mirror_other *o = NULL;
	for (size_t i = 0; i < MIRROR_PEERS_MAX; i++)
		if (m->others[i].used && strcmp(m->others[i].url, url) == 0)
			o = &m->others[i];
	if (o == NULL && strlen(url) < sizeof o->url && (o = free_place(m)) != NULL) {
		snprintf(o->url, sizeof o->url, "%s", url);
		if (m->curl == NULL)
			m->curl = curlloop_open(m->loop);
		mirror_ask_open(o);
		m->peers |= o->bit;
	}
	if (o != NULL)
		o->seen = true;
}

static void drop_peer(struct mirror_other *o)
{
	struct mirror *m = o->m;
	fetch_head_close(o->head);
	o->used = false;
	m->peers &= ~o->bit;
	for (struct mirror_want *w = m->wants; w != NULL; w = w->hh.next) {
		if (w->fetch != NULL && w->from == o->bit)
			mirror_get_stop(w);
		w->holders &= ~o->bit;
		w->lacking &= ~o->bit;
		w->answered &= ~o->bit;
		w->wrong &= ~o->bit;
		w->tried &= ~o->bit;
	}
}

static void look_for_peers(struct mirror *m)
{
	for (size_t i = 0; i < MIRROR_PEERS_MAX; i++)
		m->others[i].seen = false;
	m->source.peers(m->source.arg, m);
	for (size_t i = 0; i < MIRROR_PEERS_MAX; i++)
		if (m->others[i].used && !m->others[i].seen)
			drop_peer(&m->others[i]);
}

/* ---- turns
 * --------------------------------------------------------------------------------------------------------------
 */

/* Is this the partial file of an archive that is still to come? */
static bool is_of_use(const struct mirror *m, const char *name)
{
	char hex[DIGEST_HEX_CAP];
	struct digest d;
	const struct mirror_want *w = NULL;
	const char *dot = strchr(name, '.');
	if (dot == NULL || strcmp(dot, ".partial") != 0 || (size_t)(dot - name) >= sizeof hex)
		return true; /* not ours: that of an upload has the digest alone for its name */
	snprintf(hex, sizeof hex, "%.*s", (int)(dot - name), name);
	if (digest_parse(&d, hex))
		HASH_FIND(hh, m->wants, &d, sizeof d, w);
	return w != NULL && !w->here;
}

/* Of downloads that an upload has overtaken. */
static void sweep(const struct mirror *m)
{
	char whole[FSIO_PATH_CAP], partial[FSIO_PATH_CAP];
	const struct dirent *entry;
	artifact_store_folders(m->store, whole, partial);
	DIR *dir = m->peers != 0 ? opendir(partial) : NULL;
	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (!is_of_use(m, entry->d_name))
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

static void look(struct mirror *m, uint64_t now)
{
	bool full = now >= m->full_at;
	m->changed = false;
	m->looked_at = now;
	look_for_peers(m);
	look_for_wants(m, full);
	if (!full)
		return;
	m->full_at = now + FULL_MS;
	sweep(m);
}

static uint64_t look_turn(struct mirror *m, uint64_t now)
{
	uint64_t at = m->changed ? m->looked_at + LOOK_APART_MS : m->full_at;
	if (now < at)
		return at;
	look(m, now);
	return m->full_at;
}

static void turn_cb(uv_timer_t *t)
{
	struct mirror *m = t->data;
	uint64_t now = uv_now(m->loop), next = look_turn(m, now);
	uint64_t ask = mirror_ask_turn(m, now), get = mirror_get_turn(m, now);
	next = ask < next ? ask : next;
	next = get < next ? get : next;
	uv_timer_start(&m->timer, turn_cb, next > now ? next - now : 1, 0);
}

/* Never a timer of 0: libuv before 1.45 would run it again before it looks at any socket. */
void mirror_soon(struct mirror *m)
{
	uv_timer_start(&m->timer, turn_cb, 1, 0);
}

void mirror_look(struct mirror *m)
{
	if (m->changed)
		return;
	m->changed = true;
	mirror_soon(m);
}

/* ---- opening, asking, closing
 * ------------------------------------------------------------------------------------------- */

static char *copy(const char *s)
{
	char *out = s == NULL ? NULL : strdup(s);
	PRE(out != NULL || s == NULL);
	return out;
}

static void take_config(struct mirror *m, const struct mirror_config *c)
{
	m->store = c->store;
	m->source = c->source;
	m->ca = copy(c->tls.ca);
	m->cert = copy(c->tls.cert);
	m->key = copy(c->tls.key);
	m->tls = (struct tls_files){m->ca, m->cert, m->key};
	rng_seed(&m->rng, c->seed);
	m->at_once = c->at_once != 0 ? c->at_once : 2;
	m->round_ms = c->round_ms != 0 ? c->round_ms : 10 * 1000;
	m->retry_ms = c->retry_ms != 0 ? c->retry_ms : 1000;
	m->stall_s = c->stall_s;
	m->reserve = c->free_bytes != 0 ? c->free_bytes : ARTIFACT_RESERVE_BYTES;
	m->plain = c->plain_for_tests;
}

struct mirror *mirror_open(uv_loop_t *loop, const struct mirror_config *c)
{
	struct mirror *m = calloc(1, sizeof *m);
	PRE(m != NULL && c->store != NULL && c->source.peers != NULL && c->source.wanted != NULL);
	m->loop = loop;
	take_config(m, c);
	uv_timer_init(loop, &m->timer);
	m->timer.data = m;
	mirror_soon(m);
	return m;
}

struct mirror_copies mirror_copies(const struct mirror *m, const struct digest *d)
{
	const struct mirror_want *w;
	HASH_FIND(hh, m->wants, d, sizeof *d, w);
	unsigned others = w == NULL ? 0 : (unsigned)__builtin_popcount(w->holders);
	return (struct mirror_copies){.known = others + artifact_store_has(m->store, d),
				      .of = 1 + (unsigned)__builtin_popcount(m->peers)};
}

static void closed_cb(uv_handle_t *h)
{
	struct mirror *m = h->data;
	free(m->ca);
	free(m->cert);
	free(m->key);
	if (m->closed != NULL)
		m->closed(m->closed_arg);
	free(m);
}

void mirror_close(struct mirror *m, void (*closed)(void *arg), void *arg)
{
	struct mirror_want *w, *next;
	HASH_ITER(hh, m->wants, w, next)
	drop_want(w);
	for (size_t i = 0; i < MIRROR_PEERS_MAX; i++)
		if (m->others[i].used)
			drop_peer(&m->others[i]);
	curlloop_close(m->curl);
	m->closed = closed;
	m->closed_arg = arg;
	uv_close((uv_handle_t *)&m->timer, closed_cb);
}
