#include "agent/host/health.h"

#include <stdio.h>
#include <stdlib.h>

enum { READY, LIVE, PROBES };

struct watched {
	struct health *health;
	int nr;
	struct probe *probe; /* NULL: there is none */
};

struct health {
	struct health_callbacks cb;
	const struct runspec *spec;
	struct watched probes[PROBES];
	int deciding;	/* READY, LIVE, or PROBES: the life of the process */
	bool asks_live; /* it is ready, and the live probe counts anew */
	bool dead_told;
	enum health_state state;
	int64_t since_ms; /* of HEALTHY */
	uv_loop_t *loop;
	struct http_client *http;
	char why[160];
};

static void decide(struct health *h, enum health_state to, int64_t since_ms)
{
	if (h->state == to)
		return;
	h->state = to;
	h->since_ms = since_ms;
	h->cb.changed(h->cb.arg);
}

static bool says(const struct health *h, int nr, enum probe_verdict v)
{
	return h->probes[nr].probe != NULL && probe_score_of(h->probes[nr].probe)->verdict == v;
}

void health_remind(struct health *h)
{
	if (h->dead_told || h->state != HEALTH_UNHEALTHY || !says(h, LIVE, PROBE_FAILED))
		return;
	h->dead_told = true;
	if (!h->cb.dead(h->cb.arg)) /* else it may be closed */
		h->dead_told = false;
}

/*
 * A program that never was healthy is starting, however often its probes fail: its deadline ends that. When
 * it is ready and the live probe had failed, that was of a program that could not answer yet, so it has the
 * next word.
 */
static void on_starting(struct health *h, const struct watched *w, const struct probe_score *score)
{
	bool passed = score->verdict == PROBE_PASSED;
	if (w->nr == LIVE && h->asks_live) {
		decide(h, passed ? HEALTH_HEALTHY : HEALTH_UNHEALTHY, score->row_since);
	} else if (w->nr == h->deciding) {
		h->asks_live = passed && w->nr == READY && says(h, LIVE, PROBE_FAILED);
		if (h->asks_live)
			probe_forget(h->probes[LIVE].probe);
		else if (passed)
			decide(h, HEALTH_HEALTHY, score->row_since);
	}
}

/* What was healthy once is unhealthy as soon as one probe fails, and healthy again when none does. */
static void on_verdict(void *arg, const struct probe_score *score, const char *why)
{
	struct watched *w = arg;
	struct health *h = w->health;
	bool passed = score->verdict == PROBE_PASSED;
	if (!passed)
		snprintf(h->why, sizeof(h->why), "%s", why);
	if (h->state == HEALTH_STARTING)
		on_starting(h, w, score);
	else if (!passed)
		decide(h, HEALTH_UNHEALTHY, 0);
	else if (says(h, h->deciding, PROBE_PASSED) && !says(h, LIVE, PROBE_FAILED))
		decide(h, HEALTH_HEALTHY, score->row_since);
	health_remind(h); /* may close it */
}

static void run_command(void *arg)
{
	struct watched *w = arg;
	w->health->cb.run(w->health->cb.arg, w->nr,
			  w->nr == READY ? &w->health->spec->ready : &w->health->spec->live);
}

static int watch(struct health *h, int nr, const struct runspec_probe *p, struct err *e)
{
	struct watched *w = &h->probes[nr];
	const struct probe_callbacks cb = {.arg = w, .on_verdict = on_verdict, .run_command = run_command};
	w->health = h;
	w->nr = nr;
	return p->set ? probe_open(&w->probe, h->loop, h->http, &p->config, &cb, e) : E_OK;
}

int health_open(struct health **out, uv_loop_t *loop, struct http_client *http, const struct runspec *spec,
		int64_t healthy_since_ms, const struct health_callbacks *cb, struct err *e)
{
	struct health *h = calloc(1, sizeof(*h));
	PRE(h != NULL);
	h->cb = *cb;
	h->loop = loop;
	h->http = http;
	h->spec = spec;
	h->deciding = spec->ready.set ? READY : spec->live.set ? LIVE : PROBES;
	uv_update_time(loop);
	h->since_ms = healthy_since_ms != 0 ? healthy_since_ms : (int64_t)uv_now(loop);
	h->state = healthy_since_ms != 0 || h->deciding == PROBES ? HEALTH_HEALTHY : HEALTH_STARTING;
	int rc = watch(h, READY, &spec->ready, e);
	if (rc == E_OK)
		rc = watch(h, LIVE, &spec->live, e);
	if (rc != E_OK)
		health_close(h);
	else
		*out = h;
	return rc;
}

void health_close(struct health *h)
{
	if (h == NULL)
		return;
	probe_close(h->probes[READY].probe);
	probe_close(h->probes[LIVE].probe);
	free(h);
}

void health_command_answer(struct health *h, int probe, bool passed, const char *why)
{
	probe_answer(h->probes[probe].probe, passed, why);
}

struct health_view health_look(const struct health *h)
{
	struct health_view v = {.state = h->state, .since_ms = h->since_ms, .why = h->why, .untried = ""};
	if (h->deciding == PROBES) {
		v.measured_ms = (int64_t)uv_now(h->loop);
		v.passes = 1; /* it was looked at, and it lives */
		return v;
	}
	const struct probe_score *s = probe_score_of(h->probes[h->deciding].probe);
	v.untried = probe_untried(h->probes[h->deciding].probe);
	v.measured_ms = s->measured_ms;
	v.passes = s->passes;
	v.failures = s->failures;
	return v;
}
