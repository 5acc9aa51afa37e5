/*
 * prove.c: PROBE, the evidence of D1. The hooks after the start, then the start probe, then the program is
 * healthy by its thresholds for minHealthyTime, measured at least once since this effect began.
 */
#include "agent/host/inner.h"

enum { LOOK_MS = 50, DEADLINE_MS = 90000 };

static int64_t now_of(const struct work *w)
{
	uv_update_time(w->host->loop);
	return (int64_t)uv_now(w->host->loop);
}

static void on_timer(uv_timer_t *t)
{
	prove_look(t->data);
}

static void look_in(struct work *w, int64_t ms)
{
	uv_timer_start(w->timer, on_timer, ms > LOOK_MS ? (uint64_t)ms : LOOK_MS, 0);
}

static int64_t deadline_of(const struct runspec_probe *p)
{
	return p->set && p->deadline_ms > 0 ? p->deadline_ms : DEADLINE_MS;
}

static const struct runspec_probe *deciding(const struct runspec *s)
{
	return s->ready.set || !s->live.set ? &s->ready : &s->live;
}

/* ---- the start probe
 * --------------------------------------------------------------------------------------------------- */

static void begin_health(struct work *w)
{
	w->started = true;
	w->began_ms = now_of(w);
	w->deadline_ms = w->began_ms + deadline_of(deciding(w->spec));
	prove_look(w);
}

static void on_start_verdict(void *arg, const struct probe_score *score, const char *why)
{
	struct work *w = arg;
	if (score->verdict != PROBE_PASSED)
		return; /* it is starting; its deadline ends that */
	probe_close(w->start_probe);
	w->start_probe = NULL;
	begin_health(w);
}

static void on_start_command(void *ctx, const struct exec_reply *reply)
{
	struct work *w = ctx;
	w->ask = NULL;
	probe_answer(w->start_probe, reply->code == E_OK && reply->hook_exit == 0, "the command failed");
}

static void run_start_command(void *arg)
{
	struct work *w = arg;
	struct exec_record r;
	struct err e;
	const struct records_for f = host_for(w->host, &w->effect.app, &w->effect.target, w->spec);
	const struct runspec_hook h = {.run = w->spec->start.exec,
				       .timeout_ms = w->spec->start.config.timeout_ms,
				       .user = w->spec->user};
	if (records_hook(&f, &h, &r, &e) == E_OK)
		w->ask = ask_begin(w->host->asks, &r, on_start_command, w);
	else
		work_end(w, e.code, STEP_CAUSE_VERSION, "%s", e.text);
}

static void after_hooks(struct work *w)
{
	const struct runspec_probe *p = &w->spec->start;
	const struct probe_callbacks cb = {
		.arg = w, .on_verdict = on_start_verdict, .run_command = run_start_command};
	struct err e;
	if (!p->set) {
		begin_health(w);
		return;
	}
	w->deadline_ms = now_of(w) + deadline_of(p);
	if (probe_open(&w->start_probe, w->host->loop, w->host->http, &p->config, &cb, &e) != E_OK)
		work_end(w, e.code, STEP_CAUSE_INFRA, "start: %s", e.text);
	else
		look_in(w, deadline_of(p));
}

void prove_begin(struct work *w)
{
	work_timer(w);
	struct program *p = program_get(w->host, &w->effect.app);
	if (p->health == NULL || p->activation != w->effect.activation)
		program_began(p, &w->effect.target, w->effect.activation, 0);
	acts_run_hooks(w, &w->spec->after_start, "hook afterStart", after_hooks);
}

/* ---- health
 * ------------------------------------------------------------------------------------------------------------
 */

static void proven(struct work *w, const struct health_view *v)
{
	w->evidence = (struct agent_evidence){.target = w->effect.target.id,
					      .boot = driver_agent(w->host->driver)->boot,
					      .activation = w->effect.activation,
					      .measured_ms = v->measured_ms,
					      .passes = v->passes,
					      .failures = v->failures};
	work_ok(w);
}

static void judge(struct work *w, const struct health_view *v, int64_t now)
{
	int64_t good_at = v->since_ms + w->spec->min_healthy_ms;
	if (v->state == HEALTH_UNHEALTHY)
		work_end(w, E_UNAVAILABLE, STEP_CAUSE_VERSION, "became unhealthy: %s", v->why);
	else if (v->state == HEALTH_HEALTHY && now >= good_at && v->measured_ms > w->began_ms)
		proven(w, v);
	else if (v->state == HEALTH_HEALTHY)
		look_in(w, good_at - now);
	else if (now >= w->deadline_ms && v->untried[0] != '\0')
		work_end(w, E_TIMEOUT, STEP_CAUSE_INFRA, "its health cannot be measured: %s", v->untried);
	else if (now >= w->deadline_ms)
		work_end(w, E_TIMEOUT, STEP_CAUSE_VERSION, "not healthy within %lld s: %s",
			 (long long)(w->deadline_ms - w->began_ms) / 1000, v->why);
	else
		look_in(w, w->deadline_ms - now);
}

static void not_started(struct work *w)
{
	const char *untried = probe_untried(w->start_probe);
	if (untried[0] != '\0')
		work_end(w, E_TIMEOUT, STEP_CAUSE_INFRA, "its start cannot be measured: %s", untried);
	else
		work_end(w, E_TIMEOUT, STEP_CAUSE_VERSION, "the start probe did not pass within %lld s",
			 (long long)deadline_of(&w->spec->start) / 1000);
}

void prove_look(struct work *w)
{
	struct program *p = program_get(w->host, &w->effect.app);
	int64_t now = now_of(w);
	if (w->effect.kind != AGENT_PROBE || !w->begun || w->timer == NULL)
		return;
	if (!w->started) {
		if (w->start_probe != NULL && now >= w->deadline_ms)
			not_started(w);
		return;
	}
	if (p->health == NULL && p->unmeasured[0] != '\0') {
		work_end(w, E_INVALID, STEP_CAUSE_INFRA, "%s", p->unmeasured);
		return;
	}
	if (p->health == NULL) { /* it died: exec or the deadline says more */
		if (now >= w->deadline_ms)
			work_end(w, E_UNAVAILABLE, STEP_CAUSE_VERSION, "the program does not run");
		else
			look_in(w, w->deadline_ms - now);
		return;
	}
	struct health_view v = health_look(p->health);
	judge(w, &v, now);
}
