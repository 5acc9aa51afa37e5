#include "agent/host/limit.h"

enum { SLACK_MS = 2 * 60 * 1000, BYTES_MS = 10 * 60 * 1000, START_MS = 90 * 1000 };

static int64_t hooks_ms(const struct runspec_hooks *hooks)
{
	int64_t sum = 0;
	for (size_t i = 0; i < hooks->nr; i++)
		sum += hooks->v[i].timeout_ms;
	return sum;
}

static int64_t probe_ms(const struct runspec_probe *p)
{
	return p->set ? p->deadline_ms + p->config.interval_ms + p->config.timeout_ms : 0;
}

/* The hooks after the start, the start probe, then the probe that decides, healthy for long enough. */
static int64_t proof_ms(const struct runspec *s)
{
	return hooks_ms(&s->after_start) + probe_ms(&s->start) +
	       probe_ms(s->ready.set ? &s->ready : &s->live) + s->min_healthy_ms;
}

int64_t limit_of(const struct runspec *s, const struct agent_effect *e)
{
	switch (e->kind) {
	case AGENT_FETCH:
	case AGENT_UNPACK:
		return s != NULL && s->fetch_ms > 0 ? s->fetch_ms : BYTES_MS;
	case AGENT_HOOK:
		return s == NULL ? 0 : hooks_ms(&s->hooks[e->hook]) + SLACK_MS;
	case AGENT_DRAIN:
	case AGENT_UNDRAIN:
		return s == NULL ? 0 : s->drain_ms + SLACK_MS;
	case AGENT_STOP:
		return (s == NULL ? 0 : s->stop_ms) + SLACK_MS;
	case AGENT_START:
		return s != NULL && s->start_ms > 0 ? s->start_ms : START_MS;
	case AGENT_PROBE:
		return s == NULL ? 0 : proof_ms(s) + SLACK_MS;
	case AGENT_SWAP: /* looks at each byte of a slot, and nobody says how large one may be */
	case AGENT_FREE_SLOTS:
	case AGENT_EFFECT_NR:
		return 0;
	}
	return 0;
}
