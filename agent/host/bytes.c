/* bytes.c: the archive to the slot, and old slots away. */
#include "agent/host/inner.h"

#include <stdio.h>

#include "sys/log.h"

enum { PROGRESS_MS = 1000 };

static void on_fetched(void *ctx, int code, const char *detail)
{
	struct work *w = ctx;
	w->fetch = NULL;
	work_end(w, code, code == E_OK ? STEP_CAUSE_NONE : STEP_CAUSE_INFRA, "%s", detail);
}

static void on_progress(uv_timer_t *t)
{
	struct work *w = t->data;
	host_changed(w->host);
}

static void fetch_archive(struct work *w)
{
	struct host *h = w->host;
	struct err e;
	const struct agent_target *t = &w->effect.target;
	if (h->urls == NULL) {
		work_end(w, E_UNAVAILABLE, STEP_CAUSE_INFRA,
			 "no coordinator has said where archives are to be had");
		return;
	}
	struct http_fetch f = {.artifact = t->artifact,
			       .size_bytes = t->size_bytes,
			       .reserve_bytes = h->cfg.reserve_bytes,
			       .seed = h->cfg.seed};
	snprintf(f.dir, sizeof(f.dir), "%s", h->archives);
	snprintf(f.ca, sizeof(f.ca), "%s", h->cfg.tls.ca);
	snprintf(f.cert, sizeof(f.cert), "%s", h->cfg.tls.cert);
	snprintf(f.key, sizeof(f.key), "%s", h->cfg.tls.key);
	if (http_client_fetch(&w->fetch, h->http, &f, h->urls, on_fetched, w, &e) != E_OK)
		work_end(w, e.code, STEP_CAUSE_INFRA, "%s", e.text);
	else
		uv_timer_start(work_timer(w), on_progress, PROGRESS_MS, PROGRESS_MS);
}

/* A slot from this app's past or another's may have been there for months: each byte of it is looked at. */
static void verify(struct work *w, slots_cb cb)
{
	struct err e;
	if (slots_verify(w->host->slots, &w->effect.target.artifact, SLOT_DIGESTS, w->effect.id, cb, w, &e) !=
	    E_OK)
		work_end(w, e.code, STEP_CAUSE_INFRA, "%s", e.text);
	else
		w->in_slots = true;
}

static void on_looked_at(void *ctx, int code, const char *detail)
{
	struct work *w = ctx;
	w->in_slots = false;
	if (code == E_OK) {
		work_ok(w);
		return;
	}
	if (code != E_NOT_FOUND)
		log_warn(w->effect.app.s, "fetched anew: %s", detail);
	fetch_archive(w);
}

/* Claimed first, also when it is there: it stays while this app needs it. */
void bytes_fetch(struct work *w)
{
	struct err e;
	if (slots_claim(w->host->slots, &w->effect.app, &w->effect.target.artifact, &e) != E_OK)
		work_end(w, e.code, STEP_CAUSE_INFRA, "%s", e.text);
	else
		verify(w, on_looked_at);
}

static void on_unpacked(void *ctx, int code, const char *detail)
{
	struct work *w = ctx;
	w->in_slots = false;
	work_end(w, code, code == E_OK ? STEP_CAUSE_NONE : STEP_CAUSE_INFRA, "%s",
		 detail == NULL ? "" : detail);
}

static void unpack(struct work *w)
{
	struct err e;
	const struct agent_target *t = &w->effect.target;
	if (slots_unpack(w->host->slots, &t->artifact, t->size_bytes, t->unpacked_bytes, t->entries,
			 w->effect.id, on_unpacked, w, &e) != E_OK)
		work_end(w, e.code, STEP_CAUSE_INFRA, "%s", e.text);
	else
		w->in_slots = true;
}

static void on_verified(void *ctx, int code, const char *detail)
{
	struct work *w = ctx;
	w->in_slots = false;
	if (code == E_OK)
		work_ok(w);
	else
		unpack(w);
}

void bytes_unpack(struct work *w)
{
	verify(w, on_verified);
}

/* What could not be removed is tried again with the next release: the app runs all the same. */
static void on_freed(void *ctx, int code, const char *detail)
{
	struct work *w = ctx;
	w->in_slots = false;
	if (code != E_OK)
		log_warn(w->effect.app.s, "old slots stay: %s", detail == NULL ? "" : detail);
	driver_forget(w->host->driver);
	work_ok(w);
}

/* What was proven counts among those the file says to keep; what merely failed here does not. */
static int note_proven(struct work *w, struct err *e)
{
	const struct agent_record *r = host_record(w->host, &w->effect.app);
	if (r == NULL || !digest_eq(&r->evidence.target, &r->runs.id))
		return E_OK;
	return slots_good(w->host->slots, &w->effect.app, &r->runs.artifact, e);
}

void bytes_free_slots(struct work *w)
{
	const struct agent_effect *f = &w->effect;
	struct err e;
	if (note_proven(w, &e) != E_OK) {
		work_end(w, e.code, STEP_CAUSE_INFRA, "%s", e.text);
		return;
	}
	w->in_slots = true;
	slots_free_old(w->host->slots, &f->app, w->spec == NULL ? 0 : w->spec->keep, f->keep, f->keep_nr,
		       f->id, on_freed, w);
}
