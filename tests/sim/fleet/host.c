/*
 * host.c: the machine and the agent's driver in simulation: journal, effects, program. The link is in link.c.
 */
#include "tests/sim/fleet/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/wire.h"
#include "tests/sim/fleet/host_internal.h"

enum { KEEP_SLOTS = 2, PROBE_MS = 3000, PROBE_TRIES_MS = 20000, FETCH_TRIES_MS = 60000 };

/* ---- versions
 * -------------------------------------------------------------------------------------------------------- */

struct version *versions_get(struct versions *vs, const char *name)
{
	for (size_t i = 0; i < vs->nr; i++)
		if (strcmp(vs->v[i].name.s, name) == 0)
			return &vs->v[i];
	PRE(vs->nr < ARRAY_LEN(vs->v));
	struct version *v = &vs->v[vs->nr++];
	*v = (struct version){{{0}}};
	PRE(name_set_version(&v->name, name));
	snprintf((char *)v->id.b, DIGEST_LEN, "target %.20s", name);
	snprintf((char *)v->artifact.b, DIGEST_LEN, "artifact %.20s", name);
	snprintf((char *)v->spec.b, DIGEST_LEN, "spec %.20s", name);
	return v;
}

const struct version *versions_by_id(const struct versions *vs, const struct digest *id)
{
	for (size_t i = 0; i < vs->nr; i++)
		if (digest_eq(&vs->v[i].id, id))
			return &vs->v[i];
	return NULL;
}

/* ---- the machine
 * ------------------------------------------------------------------------------------------------------ */

int64_t host_mono(const struct sim_host *h)
{
	return h->w->now_ms - h->booted_at + 1;
}

bool sim_host_healthy(const struct sim_host *h)
{
	const struct version *v = versions_by_id(h->versions, &h->running);
	if (!h->powered || v == NULL || v->never_ready || h->probe_fault)
		return false;
	return v->unhealthy_after_ms == 0 || h->w->now_ms - h->started_at < v->unhealthy_after_ms;
}

bool sim_host_serving(const struct sim_host *h)
{
	return sim_host_healthy(h) && h->in_rotation;
}

bool sim_host_has_slot(const struct sim_host *h, const struct digest *artifact)
{
	for (size_t i = 0; i < h->slots_nr; i++)
		if (digest_eq(&h->slots[i], artifact))
			return true;
	return false;
}

static void slot_add(struct sim_host *h, const struct digest *artifact)
{
	if (sim_host_has_slot(h, artifact))
		return;
	PRE(h->slots_nr < HOST_SLOTS);
	h->slots[h->slots_nr++] = *artifact;
}

static void slot_free(struct sim_host *h, size_t i)
{
	memmove(&h->slots[i], &h->slots[i + 1], (h->slots_nr - i - 1) * sizeof h->slots[0]);
	h->slots_nr--;
}

/* ---- effects
 * ----------------------------------------------------------------------------------------------------------
 */

/* An effect under way. `life` ties it to the agent that asked: a killed agent gets no answer. */
struct work {
	struct sim_host *h;
	uint64_t life, id;
	enum agent_effect_kind kind;
	struct agent_target aim;
	uint64_t activation;
	int64_t began;
};

static void done(struct work *k, bool ok, enum step_cause cause, const char *reason)
{
	struct sim_host *h = k->h;
	struct agent_event ev = {.kind = AGENT_EFFECT_DONE, .now_ms = host_mono(h)};
	ev.done.app = h->app;
	ev.done.id = k->id;
	ev.done.ok = ok;
	ev.done.cause = cause;
	ev.done.reason = reason;
	if (k->kind == EFFECT_PROBE) {
		ev.done.evidence.activated_ms = h->started_at - h->booted_at + 1;
		ev.done.evidence.measured_ms = host_mono(h);
		ev.done.evidence.passes = ok ? 3 : 0;
	}
	if (h->agent_up && k->life == h->life)
		host_step(h, &ev);
	free(k);
}

static void work_again(struct work *k, int64_t delay_ms, world_fn *fn)
{
	world_at(k->h->w, delay_ms, fn, k);
}

static void fetch_cb(void *arg)
{
	struct work *k = arg;
	struct sim_host *h = k->h;
	if (sim_host_has_slot(h, &k->aim.artifact) || (!h->cut && coordinator_up(h->c)))
		done(k, true, 0, NULL);
	else if (h->w->now_ms - k->began > FETCH_TRIES_MS || k->life != h->life)
		done(k, false, STEP_CAUSE_INFRA, "the artifact store cannot be reached");
	else
		work_again(k, 2000, fetch_cb);
}

static void stage_cb(void *arg)
{
	struct work *k = arg;
	slot_add(k->h, &k->aim.artifact);
	done(k, true, 0, NULL);
}

static void simple_cb(void *arg)
{
	done(arg, true, 0, NULL);
}

static void stop_cb(void *arg)
{
	struct work *k = arg;
	if (!digest_none(&k->h->running))
		world_say(k->h->w, "%s: program stopped", k->h->name.s);
	k->h->running = (struct digest){0};
	done(k, true, 0, NULL);
}

static void swap_cb(void *arg)
{
	struct work *k = arg;
	if (!digest_none(&k->aim.id) && !sim_host_has_slot(k->h, &k->aim.artifact)) {
		world_violation(k->h->w, "%s: `current` would point at a slot that is not there (%s)",
				k->h->name.s, k->aim.version.s);
		done(k, false, STEP_CAUSE_INFRA, "the slot is gone");
		return;
	}
	done(k, true, 0, NULL);
}

static void start_cb(void *arg)
{
	struct work *k = arg;
	struct sim_host *h = k->h;
	const struct version *v = versions_by_id(h->versions, &k->aim.id);
	host_check_start(h, &k->aim);
	if (v == NULL || v->crashes_at_start) {
		world_say(h->w, "%s: %s died at its start", h->name.s, k->aim.version.s);
		done(k, false, STEP_CAUSE_VERSION, "the program ended at once");
		return;
	}
	h->running = k->aim.id;
	h->started_at = h->w->now_ms;
	h->starts++;
	world_say(h->w, "%s: started %s", h->name.s, k->aim.version.s);
	done(k, true, 0, NULL);
}

static void probe_cb(void *arg)
{
	struct work *k = arg;
	struct sim_host *h = k->h;
	bool runs = digest_eq(&h->running, &k->aim.id);
	if (runs && sim_host_healthy(h))
		done(k, true, 0, NULL);
	else if (h->w->now_ms - k->began > PROBE_TRIES_MS || k->life != h->life)
		done(k, false, STEP_CAUSE_VERSION,
		     runs ? "probe ready: http 503" : "the program does not run");
	else
		work_again(k, 1000, probe_cb);
}

static void admit_cb(void *arg)
{
	struct work *k = arg;
	struct sim_host *h = k->h;
	h->in_rotation = true;
	done(k, true, 0, NULL);
	sim_host_poke(h);
}

static void ensure_cb(void *arg)
{
	struct work *k = arg;
	struct sim_host *h = k->h;
	if (digest_none(&h->running) && !digest_none(&k->aim.id)) {
		h->running = k->aim.id;
		h->started_at = h->w->now_ms;
		world_say(h->w, "%s: started %s again", h->name.s, k->aim.version.s);
	}
	done(k, true, 0, NULL);
	sim_host_poke(h);
}

static void retain(struct sim_host *h, const struct agent_record *r)
{
	for (size_t i = 0; h->slots_nr > KEEP_SLOTS && i < h->slots_nr;) {
		const struct digest *s = &h->slots[i];
		bool kept = digest_eq(s, &r->running.artifact) || digest_eq(s, &r->good.artifact) ||
			    digest_eq(s, &r->assignment.fallback.artifact);
		if (host_planted_retain() && !digest_eq(s, &r->running.artifact))
			kept = false;
		if (kept)
			i++;
		else
			slot_free(h, i);
	}
}

static void begin(struct sim_host *h, const struct agent_effect *e)
{
	static world_fn *const fns[EFFECT_NR] = {
		[EFFECT_FETCH] = fetch_cb, [EFFECT_STAGE] = stage_cb, [EFFECT_DRAIN] = simple_cb,
		[EFFECT_STOP] = stop_cb,   [EFFECT_SWAP] = swap_cb,   [EFFECT_START] = start_cb,
		[EFFECT_PROBE] = probe_cb, [EFFECT_ADMIT] = admit_cb, [EFFECT_ENSURE] = ensure_cb};
	static const int64_t most_ms[EFFECT_NR] = {
		[EFFECT_FETCH] = 3000, [EFFECT_STAGE] = 500, [EFFECT_DRAIN] = 2000,
		[EFFECT_STOP] = 300,   [EFFECT_SWAP] = 5,    [EFFECT_START] = 300,
		[EFFECT_PROBE] = 0,    [EFFECT_ADMIT] = 20,  [EFFECT_ENSURE] = 100};
	if (e->kind == EFFECT_RETAIN) {
		retain(h, e->record);
		return;
	}
	if (e->kind == EFFECT_CANCEL)
		return; /* it ends by itself and its answer is ignored or late */
	host_check_effect(h, e);
	struct work *k = calloc(1, sizeof *k);
	PRE(k != NULL);
	*k = (struct work){.h = h,
			   .life = h->life,
			   .id = e->id,
			   .kind = e->kind,
			   .aim = e->aim,
			   .activation = e->activation,
			   .began = h->w->now_ms};
	if (e->kind == EFFECT_ENSURE)
		k->aim = e->old;
	if (e->kind == EFFECT_DRAIN) {
		h->in_rotation = false;
		sim_host_poke(h);
	}
	int64_t delay = e->kind == EFFECT_PROBE ? PROBE_MS : rng_range(&h->w->rng, 1, most_ms[e->kind]);
	world_at(h->w, delay, fns[e->kind], k);
}

/* ---- the agent's driver
 * -------------------------------------------------------------------------------------------------- */

struct sync {
	struct sim_host *h;
	uint64_t life;
	struct agent_record record;
};

static void synced_cb(void *arg)
{
	struct sync *s = arg;
	struct sim_host *h = s->h;
	if (h->agent_up && s->life == h->life) {
		struct agent_event ev = {
			.kind = AGENT_JOURNALED, .now_ms = host_mono(h), .journaled = h->app};
		if (!host_planted_skip_fsync(h)) {
			h->record = s->record;
			h->has_record = true;
		}
		host_step(h, &ev);
	}
	free(s);
}

static void write_journal(struct sim_host *h, const struct agent_record *r)
{
	struct sync *s = malloc(sizeof *s);
	PRE(s != NULL);
	*s = (struct sync){.h = h, .life = h->life, .record = *r};
	world_at(h->w, h->fsync_ms + (int64_t)rng_below(&h->w->rng, 3), synced_cb, s);
}

static void spool(struct sim_host *h, const struct agent_report *r)
{
	struct arena a;
	arena_init(&a);
	Wavetrain__Agent__Chunk *c = wire_chunk(&a, r, 1, h->boots);
	c->number = ++h->spooled;
	c->at_wall_ms = h->w->now_ms;
	struct host_chunk *slot = &h->chunks[c->number % HOST_CHUNKS];
	free(slot->p);
	slot->n = wavetrain__agent__chunk__get_packed_size(c);
	slot->p = malloc(slot->n + 1);
	PRE(slot->p != NULL);
	wavetrain__agent__chunk__pack(c, slot->p);
	arena_done(&a);
	if (r->kind == REPORT_RESULT)
		world_say(h->w, "%s: reports %s %s%s%s", h->name.s, r->record->assignment.target.version.s,
			  sm_name(&task_machine, (int)r->record->result),
			  r->record->reason[0] == '\0' ? "" : ": ", r->record->reason);
}

static void timer_cb(void *arg)
{
	struct sim_host *h = arg;
	h->timer = NULL;
	if (h->agent_up)
		host_step(h, &(struct agent_event){.kind = AGENT_TIMER, .now_ms = host_mono(h)});
}

void host_step(struct sim_host *h, const struct agent_event *ev)
{
	static struct agent_update out; /* large; one thread, and done with before the next step */
	agent_step(&h->agent, ev, &out);
	for (size_t i = 0; i < out.journal_nr; i++)
		write_journal(h, out.journal[i]);
	for (size_t i = 0; i < out.reports_nr; i++)
		spool(h, &out.reports[i]);
	for (size_t i = 0; i < out.effects_nr; i++)
		begin(h, &out.effects[i]);
	world_cancel(h->w, h->timer);
	h->timer = out.next_at == 0
			   ? NULL
			   : world_at(h->w, out.next_at > host_mono(h) ? out.next_at - host_mono(h) : 0,
				      timer_cb, h);
	if (out.reports_nr > 0)
		host_report(h);
}

/* ---- life and death
 * -------------------------------------------------------------------------------------------------------- */

void sim_host_init(struct sim_host *h, struct world *w, struct coordinator *c, struct versions *vs,
		   const char *name, const char *region, const char *app, uint64_t generation)
{
	*h = (struct sim_host){
		.w = w, .c = c, .versions = vs, .generation = generation, .fsync_ms = 1, .in_rotation = true};
	PRE(name_set(&h->name, name) && name_set(&h->region, region) && name_set(&h->app, app));
}

void sim_host_done(struct sim_host *h)
{
	for (size_t i = 0; i < HOST_CHUNKS; i++)
		free(h->chunks[i].p);
}

void sim_host_start_agent(struct sim_host *h)
{
	if (!h->powered || h->agent_up)
		return;
	h->life++;
	h->agent_up = true;
	agent_init(&h->agent);
	world_say(h->w, "%s: agent starts%s", h->name.s, h->has_record ? "" : ", nothing in its journal");
	struct agent_event ev = {
		.kind = AGENT_BOOT, .now_ms = host_mono(h), .boot = {&h->record, h->has_record ? 1 : 0}};
	host_step(h, &ev);
	host_connect_later(h);
}

void sim_host_kill_agent(struct sim_host *h)
{
	if (!h->agent_up)
		return;
	world_say(h->w, "%s: agent killed", h->name.s);
	h->agent_up = false;
	h->life++;
	world_cancel(h->w, h->timer);
	h->timer = NULL;
	host_disconnect(h);
}

void sim_host_boot(struct sim_host *h)
{
	if (h->powered)
		return;
	h->powered = true;
	h->boots++;
	h->booted_at = h->w->now_ms;
	sim_host_start_agent(h);
}

void sim_host_power_off(struct sim_host *h)
{
	if (!h->powered)
		return;
	sim_host_kill_agent(h);
	world_say(h->w, "%s: power off", h->name.s);
	h->powered = false;
	h->running = (struct digest){0};
}
