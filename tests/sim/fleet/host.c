/*
 * host.c: the machine and the agent's driver in simulation: journal, effects, program. The link is in link.c.
 */
#include "tests/sim/fleet/host.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/wire.h"
#include "base/err.h"
#include "tests/sim/fleet/host_internal.h"

enum {
	SAVE_AGAIN_MS = 1000,
	KEEP_SLOTS = 2,
	PROBE_MS = 3000,
	PROBE_TRIES_MS = 20000,
	FETCH_TRIES_MS = 30000
};

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
	SHA256((const uint8_t *)"{}", 2, v->spec.b); /* what sim_deploy sends as the file */
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

struct agent_boot_id host_boot_id(const struct sim_host *h)
{
	return (struct agent_boot_id){1, h->boots};
}

int64_t host_mono(const struct sim_host *h)
{
	return h->w->now_ms - h->booted_at + 1;
}

bool sim_host_healthy(const struct sim_host *h)
{
	const struct version *v = versions_by_id(h->versions, &h->running);
	if (!h->powered || v == NULL || v->never_ready || h->probe_fault)
		return false;
	if (h->w->now_ms - h->started_at < v->ready_after_ms)
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

/* ---- effects ---- */

/* An effect under way. `life` ties it to the agent that asked: a killed agent gets no answer, a cancelled
 * effect gives none. */
struct work {
	struct sim_host *h;
	uint64_t life, id;
	enum agent_effect_kind kind;
	struct agent_target target;
	uint64_t activation;
	int64_t began;
};

static bool cancelled(const struct sim_host *h, uint64_t id)
{
	for (size_t i = 0; i < HOST_CANCELS; i++)
		if (h->cancels[i] == id)
			return true;
	return false;
}

static struct agent_evidence measured(const struct work *k, bool ok)
{
	const struct sim_host *h = k->h;
	struct agent_evidence e = {.target = h->running,
				   .boot = host_boot_id(h),
				   .activation = h->activation,
				   .activated_ms = h->started_at - h->booted_at + 1,
				   .measured_ms = host_mono(h),
				   .passes = ok ? 3 : 0};
	if (h->stale_probe) /* an answer that was on its way since before the start */
		e.measured_ms = e.activated_ms - 1;
	return e;
}

static void done(struct work *k, int code, enum step_cause cause, const char *reason)
{
	struct sim_host *h = k->h;
	struct agent_event ev = {.kind = AGENT_EFFECT_DONE, .now = {host_mono(h)}};
	ev.done.app = h->app;
	ev.done.id = k->id;
	ev.done.code = code;
	ev.done.cause = cause;
	ev.done.detail = reason;
	if (k->kind == AGENT_PROBE)
		ev.done.evidence = measured(k, code == E_OK);
	if (h->agent_up && k->life == h->life && !cancelled(h, k->id))
		host_step(h, &ev);
	free(k);
}

static void work_again(struct work *k, int64_t delay_ms, world_fn *fn)
{
	world_at_owning(k->h->w, delay_ms, fn, k, free);
}

static bool given_up(const struct work *k)
{
	return k->life != k->h->life || cancelled(k->h, k->id);
}

static void disk_is_full(struct work *k)
{
	world_say(k->h->w, "%s: the disk is full", k->h->name.s);
	done(k, E_NO_SPACE, STEP_CAUSE_INFRA, "the disk is full");
}

static void fetch_cb(void *arg)
{
	struct work *k = arg;
	struct sim_host *h = k->h;
	if (h->disk_fault && !sim_host_has_slot(h, &k->target.artifact))
		disk_is_full(k);
	else if (sim_host_has_slot(h, &k->target.artifact) ||
		 (!h->cut && !h->store_fault && coordinator_up(h->c)))
		done(k, E_OK, STEP_CAUSE_NONE, NULL);
	else if (h->w->now_ms - k->began > FETCH_TRIES_MS || given_up(k))
		done(k, E_UNAVAILABLE, STEP_CAUSE_INFRA, "the artifact store cannot be reached");
	else
		work_again(k, 2000, fetch_cb);
}

static void unpack_cb(void *arg)
{
	struct work *k = arg;
	if (k->h->disk_fault && !sim_host_has_slot(k->h, &k->target.artifact)) {
		disk_is_full(k);
		return;
	}
	slot_add(k->h, &k->target.artifact);
	done(k, E_OK, STEP_CAUSE_NONE, NULL);
}

static void drain_cb(void *arg)
{
	struct work *k = arg;
	struct sim_host *h = k->h;
	if (h->drain_fault) {
		world_say(h->w, "%s: the balancer refuses to drain", h->name.s);
		done(k, E_BUSY, STEP_CAUSE_INFRA, "too few others are up");
		return;
	}
	h->in_rotation = false;
	done(k, E_OK, STEP_CAUSE_NONE, NULL);
	sim_host_poke(h);
}

static void simple_cb(void *arg)
{
	done(arg, E_OK, STEP_CAUSE_NONE, NULL);
}

static void stop_cb(void *arg)
{
	struct work *k = arg;
	if (k->h->stop_fault && !digest_none(&k->h->running)) {
		done(k, E_CONFLICT, STEP_CAUSE_INFRA, "the program does not end"); /* as agent/host says it */
		return;
	}
	if (!digest_none(&k->h->running))
		world_say(k->h->w, "%s: program stopped", k->h->name.s);
	k->h->running = (struct digest){0};
	k->h->died = k->h->gave_up = false;
	done(k, E_OK, STEP_CAUSE_NONE, NULL);
}

static void swap_cb(void *arg)
{
	struct work *k = arg;
	if (!digest_none(&k->target.id) && !sim_host_has_slot(k->h, &k->target.artifact)) {
		world_violation(k->h->w, "%s: `current` would point at a slot that is not there (%s)",
				k->h->name.s, k->target.version.s);
		done(k, E_NOT_FOUND, STEP_CAUSE_INFRA, "the slot is gone");
		return;
	}
	done(k, E_OK, STEP_CAUSE_NONE, NULL);
}

struct death {
	struct sim_host *h;
	int64_t started_at;
};

static void tell_status(struct sim_host *h);

static void death_cb(void *arg)
{
	struct death *d = arg;
	struct sim_host *h = d->h;
	if (h->started_at == d->started_at && !digest_none(&h->running)) {
		world_say(h->w, "%s: the program dies again and again", h->name.s);
		h->running = (struct digest){0};
		h->died = h->gave_up = true;
		if (h->agent_up)
			tell_status(h);
		sim_host_poke(h);
	}
	free(d);
}

static void die_later(struct sim_host *h, const struct version *v)
{
	if (v->dies_after_ms == 0)
		return;
	struct death *d = malloc(sizeof *d);
	PRE(d != NULL);
	*d = (struct death){h, h->started_at};
	world_at_owning(h->w, v->dies_after_ms, death_cb, d, free);
}

static void start_cb(void *arg)
{
	struct work *k = arg;
	struct sim_host *h = k->h;
	const struct version *v = versions_by_id(h->versions, &k->target.id);
	bool again = digest_eq(&h->last_run, &k->target.id);
	host_check_start(h, &k->target);
	if (!digest_none(&h->damaged) && digest_eq(&h->damaged, &k->target.id)) {
		done(k, E_CORRUPT, STEP_CAUSE_INFRA, "the slot is damaged");
		return;
	}
	if (v == NULL || v->crashes_at_start) {
		world_say(h->w, "%s: %s died at its start", h->name.s, k->target.version.s);
		done(k, E_UNAVAILABLE, STEP_CAUSE_VERSION, "the program ended at once");
		return;
	}
	h->running = h->last_run = k->target.id;
	h->running_target = k->target;
	h->started_at = h->w->now_ms;
	h->activation = k->activation;
	h->starts++;
	h->was_healthy = h->died = h->gave_up = false;
	die_later(h, v);
	world_say(h->w, "%s: started %s%s", h->name.s, k->target.version.s, again ? " again" : "");
	done(k, E_OK, STEP_CAUSE_NONE, NULL);
}

static void probe_cb(void *arg)
{
	struct work *k = arg;
	struct sim_host *h = k->h;
	bool runs = digest_eq(&h->running, &k->target.id);
	if (runs && (sim_host_healthy(h) || h->stale_probe))
		done(k, E_OK, STEP_CAUSE_NONE, NULL);
	else if (h->w->now_ms - k->began > PROBE_TRIES_MS || given_up(k))
		done(k, E_UNAVAILABLE, STEP_CAUSE_VERSION,
		     runs ? "probe ready: http 503" : "the program does not run");
	else
		work_again(k, 1000, probe_cb);
}

static void undrain_cb(void *arg)
{
	struct work *k = arg;
	struct sim_host *h = k->h;
	h->in_rotation = true;
	done(k, E_OK, STEP_CAUSE_NONE, NULL);
	sim_host_poke(h);
}

static bool keeps(const struct agent_effect *e, const struct digest *slot)
{
	for (uint32_t i = 0; i < e->keep_nr; i++)
		if (digest_eq(&e->keep[i], slot))
			return true;
	return false;
}

static void free_slots(struct sim_host *h, const struct agent_effect *e)
{
	for (size_t i = 0; h->slots_nr > KEEP_SLOTS && i < h->slots_nr;) {
		if (keeps(e, &h->slots[i])) {
			i++;
			continue;
		}
		if (digest_eq(&h->slots[i], &h->running_target.artifact) && !digest_none(&h->running))
			world_violation(h->w, "%s: the slot that runs is freed", h->name.s);
		slot_free(h, i);
	}
}

static void begin(struct sim_host *h, const struct agent_effect *e)
{
	static world_fn *const fns[AGENT_EFFECT_NR] = {
		[AGENT_FETCH] = fetch_cb,      [AGENT_UNPACK] = unpack_cb, [AGENT_HOOK] = simple_cb,
		[AGENT_DRAIN] = drain_cb,      [AGENT_STOP] = stop_cb,	   [AGENT_SWAP] = swap_cb,
		[AGENT_START] = start_cb,      [AGENT_PROBE] = probe_cb,   [AGENT_UNDRAIN] = undrain_cb,
		[AGENT_FREE_SLOTS] = simple_cb};
	static const int64_t most_ms[AGENT_EFFECT_NR] = {
		[AGENT_FETCH] = 3000, [AGENT_UNPACK] = 500,   [AGENT_HOOK] = 20,   [AGENT_DRAIN] = 2000,
		[AGENT_STOP] = 300,   [AGENT_SWAP] = 5,	      [AGENT_START] = 300, [AGENT_PROBE] = 1,
		[AGENT_UNDRAIN] = 20, [AGENT_FREE_SLOTS] = 20};
	host_check_effect(h, e);
	struct work *k = calloc(1, sizeof *k);
	PRE(k != NULL);
	*k = (struct work){.h = h,
			   .life = h->life,
			   .id = e->id,
			   .kind = e->kind,
			   .target = e->target,
			   .activation = e->activation,
			   .began = h->w->now_ms};
	if (e->kind == AGENT_DRAIN && !h->drain_fault) {
		h->in_rotation = false;
		sim_host_poke(h);
	}
	if (e->kind == AGENT_FREE_SLOTS)
		free_slots(h, e);
	int64_t delay = e->kind == AGENT_PROBE ? PROBE_MS : rng_range(&h->w->rng, 1, most_ms[e->kind]);
	world_at_owning(h->w, delay, fns[e->kind], k, free);
}

/* ---- the agent's driver ---- */

struct sync {
	struct sim_host *h;
	uint64_t life;
	bool again; /* it could not be written before */
	struct agent_record record;
};

static void write_journal(struct sim_host *h, const struct agent_record *r, bool again);

/* As the driver does: what the agent holds by then and has not got on its disk. */
static void save_again_cb(void *arg)
{
	struct sync *s = arg;
	struct sim_host *h = s->h;
	for (size_t i = 0; i < AGENT_APPS_MAX && h->agent_up && s->life == h->life; i++)
		if (h->agent.apps[i].in_use && !h->agent.apps[i].durable)
			write_journal(h, &h->agent.apps[i].rec, true);
	free(s);
}

static void synced_cb(void *arg)
{
	struct sync *s = arg;
	struct sim_host *h = s->h;
	if (h->journal_fault) {
		if (!s->again)
			world_say(h->w, "%s: the journal cannot be written", h->name.s);
		world_at_owning(h->w, SAVE_AGAIN_MS, save_again_cb, s, free);
		return;
	}
	if (h->agent_up && s->life == h->life) {
		struct agent_event ev = {.kind = AGENT_JOURNALED, .now = {host_mono(h)}};
		ev.journaled.app = h->app;
		ev.journaled.number = s->record.number;
		if (!sim_skips_fsync()) {
			h->record = s->record;
			h->has_record = true;
		}
		host_step(h, &ev);
	}
	free(s);
}

static void write_journal(struct sim_host *h, const struct agent_record *r, bool again)
{
	struct sync *s = malloc(sizeof *s);
	PRE(s != NULL);
	*s = (struct sync){.h = h, .life = h->life, .again = again, .record = *r};
	/* Writes of one file end in order. */
	int64_t at = h->w->now_ms + h->fsync_ms + (int64_t)rng_below(&h->w->rng, 3);
	if (at < h->synced_at)
		at = h->synced_at;
	h->synced_at = at;
	world_at_owning(h->w, at - h->w->now_ms, synced_cb, s, free);
}

static const char *version_of(const struct sim_host *h, const struct digest *id)
{
	const struct version *v = versions_by_id(h->versions, id);
	return v == NULL ? "nothing" : v->name.s;
}

static void spool(struct sim_host *h, const struct agent_report *r)
{
	struct buf b;
	buf_init(&b);
	wire_chunk_encode(r, ++h->spooled, (struct wall_ms){h->w->now_ms}, &b);
	struct host_chunk *slot = &h->chunks[h->spooled % HOST_CHUNKS];
	free(slot->p);
	slot->p = b.data; /* the buffer's memory becomes the slot's */
	slot->n = b.len;
	if (r->kind == AGENT_REPORT_RESULT)
		world_say(h->w, "%s: reports %s, runs %s%s%s", h->name.s,
			  sm_name(&task_machine, (int)r->state), version_of(h, &r->running),
			  r->reason[0] == '\0' ? "" : ": ", r->reason);
}

static void timer_cb(void *arg)
{
	struct sim_host *h = arg;
	h->timer = NULL;
	if (h->agent_up)
		host_step(h, &(struct agent_event){.kind = AGENT_TIMER, .now = {host_mono(h)}});
}

static void set_timer(struct sim_host *h, int64_t at)
{
	world_cancel(h->w, h->timer);
	h->timer = at == 0 ? NULL : world_at(h->w, at > host_mono(h) ? at - host_mono(h) : 1, timer_cb, h);
}

void host_step(struct sim_host *h, const struct agent_event *ev)
{
	/* Large, so on the heap; a step may lead to another before this one's update has been worked off. */
	struct agent_update *out = calloc(1, sizeof *out);
	PRE(out != NULL);
	int rc = agent_step(&h->agent, ev, out);
	if (rc != E_OK)
		world_violation(h->w, "%s: the agent refuses event %d: %s", h->name.s, (int)ev->kind,
				err_name(rc));
	for (size_t i = 0; i < out->journals_nr; i++)
		write_journal(h, out->journals[i], false);
	for (size_t i = 0; i < out->cancels_nr; i++)
		h->cancels[h->cancels_nr++ % HOST_CANCELS] = out->cancels[i];
	for (size_t i = 0; i < out->effects_nr; i++)
		begin(h, &out->effects[i]);
	for (size_t i = 0; i < out->reports_nr; i++)
		spool(h, &out->reports[i]);
	set_timer(h, out->next_at.v);
	if (out->reports_nr > 0)
		host_report(h);
	free(out);
}

/* What the supervisor says of the program, as wavetrain-exec does after the agent's start. */
static void tell_status(struct sim_host *h)
{
	struct agent_event ev = {.kind = AGENT_STATUS, .now = {host_mono(h)}};
	bool runs = !digest_none(&h->running);
	ev.status.app = h->app;
	ev.status.status = runs ? AGENT_RUNNING : h->gave_up ? AGENT_CRASH_LOOP : AGENT_NOT_RUNNING;
	if (runs)
		ev.status.target = h->running_target;
	ev.status.activation = h->activation;
	if (h->has_record)
		host_step(h, &ev);
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
	struct agent_event ev = {.kind = AGENT_BOOT, .now = {host_mono(h)}};
	ev.boot.records = &h->record;
	ev.boot.nr = h->has_record ? 1 : 0;
	ev.boot.boot = host_boot_id(h);
	memset(h->cancels, 0, sizeof h->cancels); /* effects are numbered anew */
	host_step(h, &ev);
	tell_status(h);
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
	h->died |= !digest_none(&h->running);
	h->gave_up = false;
	h->running = (struct digest){0};
}
