/*
 * hints.c: one hint for each region and app that got new assignments by one command, to whoever subscribes.
 * It says that there is something, never what: losing every one of them costs latency and nothing else.
 */
#include "coordinator/drive/internal.h"

enum { HINTS_MAX = 32 }; /* regions and apps of one command; what is more is found by the next poll */

struct hint {
	struct name region, app;
	uint64_t seq;
};

static void note(struct hint *v, size_t *nr, const struct hint *h)
{
	for (size_t i = 0; i < *nr; i++) {
		if (!name_eq(&v[i].region, &h->region) || !name_eq(&v[i].app, &h->app))
			continue;
		v[i].seq = h->seq > v[i].seq ? h->seq : v[i].seq;
		return;
	}
	if (*nr < HINTS_MAX)
		v[(*nr)++] = *h;
}

static void send(struct drive *d, const struct hint *h)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Hint m = WAVETRAIN__AGENT__HINT__INIT;
	struct buf b;
	m.region = arena_strdup(&d->arena, h->region.s);
	m.app = arena_strdup(&d->arena, h->app.s);
	m.newest_seq = h->seq;
	m.epoch = state_applied(d->st);
	e.version = ENVELOPE_VERSION;
	e.epoch = m.epoch;
	e.cluster_id = id128_bytes(&d->arena, d->cfg.cluster_hi, d->cfg.cluster_lo);
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_HINT;
	e.hint = &m;
	buf_init(&b);
	envelope_encode(&b, &e);
	d->ports.hint(d->ports.arg, arena_printf(&d->arena, "%s/%s/", h->region.s, h->app.s), b.data, b.len);
	buf_done(&b);
}

void hints_send(struct drive *d, const struct changes *ch)
{
	struct hint v[HINTS_MAX];
	size_t nr = 0;
	for (size_t i = 0; i < ch->nr && d->ports.hint != NULL; i++) {
		const struct change *c = &ch->v[i];
		struct host host;
		struct placement p;
		if (c->kind != CHANGE_PLACEMENT || view_host(d->st, &d->arena, &c->host, &host) != E_OK ||
		    view_placement(d->st, &d->arena, &c->host, &c->app, &p) != E_OK)
			continue;
		note(v, &nr, &(struct hint){host.region, c->app, p.seq});
	}
	for (size_t i = 0; i < nr; i++)
		send(d, &v[i]);
}
