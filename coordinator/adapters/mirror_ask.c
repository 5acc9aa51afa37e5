/*
 * mirror_ask.c: who has what. A round goes through everything that is wanted and that this coordinator has
 * not answered yet, one question at a time; the next round forgets its refusals, and now and then its
 * promises, too.
 */
#include "coordinator/adapters/mirror_inner.h"

#include "sys/log.h"

enum { ANEW_MS = 10 * 60 * 1000 };

static void begin_round(struct mirror_other *o, uint64_t now)
{
	struct mirror *m = o->m;
	bool anew = now >= o->anew_at;
	for (struct mirror_want *w = m->wants; w != NULL; w = w->hh.next) {
		if (anew)
			w->wrong &= ~o->bit;
		if (anew || ((w->holders | w->wrong) & o->bit) == 0)
			w->answered &= ~o->bit;
	}
	if (anew)
		o->anew_at = now + ANEW_MS;
	o->cursor = m->wants;
	o->round_at = now + m->round_ms / 2 + rng_below(&m->rng, m->round_ms);
}

static uint64_t ask_next(struct mirror_other *o, uint64_t now)
{
	if (o->asks)
		return UINT64_MAX; /* the answer brings a turn */
	if (now < o->not_before)
		return o->not_before;
	if (o->cursor == NULL && now >= o->round_at)
		begin_round(o, now);
	while (o->cursor != NULL && (o->cursor->answered & o->bit) != 0)
		o->cursor = o->cursor->hh.next;
	if (o->cursor == NULL)
		return o->round_at;
	o->asks = true;
	o->asking = o->cursor;
	o->cursor = o->cursor->hh.next;
	fetch_head_ask(o->head, &o->asking->digest);
	return UINT64_MAX;
}

uint64_t mirror_ask_turn(struct mirror *m, uint64_t now)
{
	uint64_t next = UINT64_MAX;
	for (size_t i = 0; i < MIRROR_PEERS_MAX; i++) {
		uint64_t at = m->others[i].used ? ask_next(&m->others[i], now) : UINT64_MAX;
		next = at < next ? at : next;
	}
	return next;
}

/* ---- the answer
 * ------------------------------------------------------------------------------------------------------- */

static void note_answer(struct mirror_other *o, struct mirror_want *w, int code, uint64_t size)
{
	char hex[DIGEST_HEX_CAP];
	bool has = code == E_OK && size == w->size;
	w->answered |= o->bit;
	w->lacking |= o->bit;
	if (has) {
		w->lacking &= ~o->bit;
		w->holders |= o->bit;
		w->tried &= ~o->bit;
		return;
	}
	w->holders &= ~o->bit;
	if (code != E_OK)
		return;
	w->wrong |= o->bit;
	log_warn("mirror", "archive %s at %s has %llu bytes, not %llu; it is not taken from there",
		 digest_hex(&w->digest, hex), o->url, (unsigned long long)size, (unsigned long long)w->size);
}

static void note_failure(struct mirror_other *o, int code, const char *why)
{
	struct mirror *m = o->m;
	o->not_before = uv_now(m->loop) + mirror_pause_ms(m, o->attempts++);
	o->cursor = m->wants; /* what was answered is passed over */
	if (o->told == code)
		return;
	o->told = code;
	log_warn("mirror",
		 "%s cannot be asked for archives: %s; it is asked again, at longer and longer intervals",
		 o->url, why);
}

static void answered(void *arg, int code, uint64_t size, const char *why)
{
	struct mirror_other *o = arg;
	struct mirror_want *w = o->asking;
	o->asks = false;
	o->asking = NULL;
	if (code != E_OK && code != E_NOT_FOUND) {
		note_failure(o, code, why);
	} else {
		if (o->told != E_OK)
			log_info("mirror", "%s answers again", o->url);
		o->told = E_OK;
		o->attempts = 0;
		if (w != NULL)
			note_answer(o, w, code, size);
	}
	mirror_soon(o->m);
}

void mirror_ask_open(struct mirror_other *o)
{
	struct mirror *m = o->m;
	struct err e;
	o->round_at = 0;
	o->anew_at = uv_now(m->loop) + ANEW_MS;
	if (fetch_head_open(&o->head, m->curl, o->url, &m->tls, m->plain, answered, o, &e) == E_OK)
		return;
	log_warn("mirror", "a coordinator cannot be asked for archives: %s", e.text);
	o->not_before = UINT64_MAX;
}

void mirror_ask_forget(struct mirror *m, struct mirror_want *w)
{
	for (size_t i = 0; i < MIRROR_PEERS_MAX; i++) {
		struct mirror_other *o = &m->others[i];
		if (o->asking == w)
			o->asking = NULL;
		if (o->cursor == w)
			o->cursor = w->hh.next;
	}
}
