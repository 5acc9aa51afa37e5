/*
 * mirror_get.c: downloads of what is not here, each from one coordinator that said it has it. When it fails
 * the next holder is tried at once, and goes on where that one stopped; after all of them there is a pause.
 */
#include "coordinator/adapters/mirror_inner.h"

#include <utlist.h>

#include "sys/log.h"

static struct mirror_other *other_of(struct mirror *m, uint32_t bit)
{
	return &m->others[__builtin_ctz(bit)];
}

/* One of them, by chance: not everybody should run to the same. */
static uint32_t pick(struct mirror *m, uint32_t set)
{
	for (uint64_t n = rng_below(&m->rng, (uint64_t)__builtin_popcount(set)); n > 0; n--)
		set &= set - 1;
	return set & -set;
}

static void pause_want(struct mirror_want *w)
{
	w->tried = 0;
	w->not_before = uv_now(w->m->loop) + mirror_pause_ms(w->m, w->attempts++);
}

/* ---- how a download ended
 * --------------------------------------------------------------------------------------------- */

static void arrived(struct mirror_want *w)
{
	char hex[DIGEST_HEX_CAP];
	log_info("mirror", "archive %s (%llu bytes) is here now, from %s", digest_hex(&w->digest, hex),
		 (unsigned long long)w->size, other_of(w->m, w->from)->url);
	w->m->told_disk = E_OK;
	w->told = E_OK;
	w->attempts = 0;
	mirror_set_here(w, true);
}

static void disk_failed(struct mirror_want *w, int code, const char *why)
{
	pause_want(w);
	if (w->m->told_disk == code)
		return;
	w->m->told_disk = code;
	log_error("mirror",
		  "archives of other coordinators cannot be kept here: %s; free space on this disk or "
		  "repair it, the mirror goes on by itself",
		  why);
}

static void holder_failed(struct mirror_want *w, int code, const char *why)
{
	w->tried |= w->from;
	if (w->told == code)
		return;
	w->told = code;
	log_warn("mirror", "%s; another coordinator, or it again later", why);
}

static void gave_other_bytes(struct mirror_want *w, const char *why)
{
	w->wrong |= w->from;
	w->holders &= ~w->from;
	log_warn("mirror", "from %s: %s; do not trust the disk of that machine", other_of(w->m, w->from)->url,
		 why);
}

static void ended(void *arg, int code, const char *why)
{
	struct mirror_want *w = arg;
	struct mirror *m = w->m;
	mirror_get_stop(w);
	if (code == E_OK)
		arrived(w);
	else if (code == E_NO_SPACE || code == E_IO)
		disk_failed(w, code, why);
	else if (code == E_CORRUPT)
		gave_other_bytes(w, why);
	else if (code == E_NOT_FOUND)
		w->holders &= ~w->from; /* it had it; the next round asks it again */
	else
		holder_failed(w, code, why);
	mirror_soon(m);
}

/* ---- how one begins
 * ----------------------------------------------------------------------------------------------------- */

/* What others still bring counts as gone: two downloads at once must not eat the reserve together. */
static uint64_t reserve_of(const struct mirror *m)
{
	uint64_t reserve = m->reserve;
	const struct mirror_want *w;
	DL_FOREACH(m->missing, w)
	if (w->fetch != NULL)
		reserve += w->size - fetch_have(w->fetch);
	return reserve;
}

static void start(struct mirror_want *w, uint32_t from)
{
	struct mirror *m = w->m;
	char whole[FSIO_PATH_CAP], partial[FSIO_PATH_CAP];
	const char *urls[] = {other_of(m, from)->url, NULL};
	struct err e;
	artifact_store_folders(m->store, whole, partial);
	const struct fetch_config c = {.urls = urls,
				       .artifact = w->digest,
				       .size_bytes = w->size,
				       .dir = whole,
				       .partial_dir = partial,
				       .tls = m->tls,
				       .reserve_bytes = reserve_of(m),
				       .stall_s = m->stall_s,
				       .plain_for_tests = m->plain};
	w->from = from;
	if (fetch_open(&w->fetch, m->loop, &c, ended, w, &e) == E_OK) {
		m->running++;
		return;
	}
	holder_failed(w, e.code, e.text);
	pause_want(w);
}

void mirror_get_stop(struct mirror_want *w)
{
	if (w->fetch == NULL)
		return;
	fetch_close(w->fetch);
	w->fetch = NULL;
	w->m->running--;
}

/* Everybody was asked, and nobody has it as it should be. */
static void say_nobody_has_it(struct mirror_want *w)
{
	char hex[DIGEST_HEX_CAP];
	if (w->told == E_NOT_FOUND || ((w->lacking | w->wrong) & w->m->peers) != w->m->peers)
		return;
	w->told = E_NOT_FOUND;
	log_warn("mirror",
		 "archive %s (%llu bytes) is neither here nor on any other coordinator (%d asked): bring "
		 "back one "
		 "that had it, or push the release again",
		 digest_hex(&w->digest, hex), (unsigned long long)w->size, __builtin_popcount(w->m->peers));
}

static uint64_t consider(struct mirror_want *w, uint64_t now)
{
	uint32_t usable = w->holders & ~w->wrong;
	if (w->fetch != NULL)
		return UINT64_MAX;
	if (usable == 0) {
		say_nobody_has_it(w);
		return UINT64_MAX; /* an answer brings a turn */
	}
	if (now >= w->not_before && (usable & ~w->tried) == 0)
		pause_want(w);
	if (now < w->not_before)
		return w->not_before;
	if (artifact_store_has(w->m->store, &w->digest)) /* somebody pushed it */
		mirror_set_here(w, true);
	else
		start(w, pick(w->m, usable & ~w->tried));
	return w->not_before > now ? w->not_before : UINT64_MAX;
}

uint64_t mirror_get_turn(struct mirror *m, uint64_t now)
{
	uint64_t next = UINT64_MAX;
	struct mirror_want *w, *after;
	DL_FOREACH_SAFE(m->missing, w, after)
	{
		if (m->running >= m->at_once)
			return UINT64_MAX; /* the end of one brings a turn */
		uint64_t at = consider(w, now);
		next = at < next ? at : next;
	}
	return next;
}
