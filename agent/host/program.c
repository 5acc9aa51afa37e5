/* program.c: one app's program as it is found: what exec says of the process, what the probes say of the
 * service. */
#include "agent/host/inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "proto/agent.pb-c.h"
#include "sys/log.h"

static int64_t now_of(const struct program *p)
{
	uv_update_time(p->host->loop);
	return (int64_t)uv_now(p->host->loop);
}

struct program *program_get(struct host *h, const struct name *app)
{
	struct program *p;
	DL_FOREACH(h->programs, p)
	if (name_eq(&p->app, app))
		return p;
	p = calloc(1, sizeof(*p));
	PRE(p != NULL);
	p->host = h;
	p->app = *app;
	arena_init(&p->arena);
	DL_APPEND(h->programs, p);
	return p;
}

static void drop_health(struct program *p)
{
	for (size_t i = 0; i < ARRAY_LEN(p->commands); i++) {
		ask_drop(p->commands[i]);
		p->commands[i] = NULL;
	}
	health_close(p->health);
	p->health = NULL;
}

void program_free(struct program *p)
{
	drop_health(p);
	ask_drop(p->restarting);
	ask_drop(p->asking);
	tail_close(p->tail);
	DL_DELETE(p->host->programs, p);
	arena_done(&p->arena);
	free(p);
}

bool program_up(const struct program *p)
{
	return p->known && p->status.run == EXEC_RUN_UP;
}

/* ---- measuring
 * ---------------------------------------------------------------------------------------------------------
 */

static void on_health_changed(void *arg)
{
	struct program *p = arg;
	struct work *w = work_of_app(p->host, &p->app);
	if (w != NULL)
		prove_look(w);
	host_changed(p->host);
}

/* The live probe failed. It is stopped; that it does not run any more makes the step machine start it anew.
 */
static void on_restart_stopped(void *ctx, const struct exec_reply *reply)
{
	struct program *p = ctx;
	p->restarting = NULL;
	if (reply->code != E_OK)
		log_warn(p->app.s, "not restarted: %s", reply->text);
}

static bool on_dead(void *arg)
{
	struct program *p = arg;
	struct exec_record r;
	const struct agent_record *rec = host_record(p->host, &p->app);
	if (rec == NULL || !agent_at_rest(rec) || p->restarting != NULL)
		return false; /* whoever is at work on it decides */
	log_warn(p->app.s, "the live probe failed: %s; it is restarted", health_look(p->health).why);
	const struct records_for f = host_for(p->host, &p->app, &rec->runs, &p->spec);
	records_stop(&f, &r);
	p->restarting = ask_begin(p->host->asks, &r, on_restart_stopped, p);
	return true;
}

void program_rests(struct program *p)
{
	if (p->health != NULL)
		health_remind(p->health);
}

static void command_answered(struct program *p, int probe, const struct exec_reply *reply)
{
	p->commands[probe] = NULL;
	health_command_answer(p->health, probe, reply->code == E_OK && reply->hook_exit == 0,
			      reply->code == E_OK ? "the command failed" : reply->text);
}

static void on_first_command(void *ctx, const struct exec_reply *reply)
{
	command_answered(ctx, 0, reply);
}

static void on_second_command(void *ctx, const struct exec_reply *reply)
{
	command_answered(ctx, 1, reply);
}

static void run_command(void *arg, int probe, const struct runspec_probe *rp)
{
	struct program *p = arg;
	struct exec_record r;
	struct err e;
	const struct agent_record *rec = host_record(p->host, &p->app);
	const struct runspec_hook h = {
		.run = rp->exec, .timeout_ms = rp->config.timeout_ms, .user = p->spec.user};
	PRE(rec != NULL);
	const struct records_for f = host_for(p->host, &p->app, &rec->runs, &p->spec);
	if (records_hook(&f, &h, &r, &e) != E_OK) {
		log_error(p->app.s, "probe: %s", e.text);
		return;
	}
	p->commands[probe] =
		ask_begin(p->host->asks, &r, probe == 0 ? on_first_command : on_second_command, p);
}

static void not_measured(struct program *p, const struct err *e)
{
	snprintf(p->unmeasured, sizeof(p->unmeasured), "its health cannot be measured: %.150s", e->text);
	log_error(p->app.s, "%s", p->unmeasured);
}

static void begin_health(struct program *p, int64_t healthy_since_ms)
{
	struct err e;
	const struct health_callbacks cb = {
		.arg = p, .changed = on_health_changed, .dead = on_dead, .run = run_command};
	p->unmeasured[0] = '\0';
	if (health_open(&p->health, p->host->loop, p->host->http, &p->spec, healthy_since_ms, &cb, &e) !=
	    E_OK) {
		p->health = NULL;
		not_measured(p, &e);
	}
}

void program_began(struct program *p, const struct agent_target *t, uint64_t activation,
		   int64_t healthy_since_ms)
{
	struct runspec *spec;
	struct err e;
	drop_health(p);
	arena_reset(&p->arena);
	p->activation = activation;
	p->measured_pid = program_up(p) && p->status.activation == activation ? p->status.pid : 0;
	if (host_spec(p->host, &p->app, t, &p->arena, &spec, &e) != E_OK) {
		p->activation = 0;
		not_measured(p, &e);
		return;
	}
	p->spec = *spec;
	begin_health(p, healthy_since_ms);
	host_changed(p->host);
}

void program_ended(struct program *p)
{
	drop_health(p);
	p->activation = 0;
	host_changed(p->host);
}

/* ---- what exec says
 * ---------------------------------------------------------------------------------------------------- */

static struct agent_target target_of(const struct program *p)
{
	const struct agent_record *r = host_record(p->host, &p->app);
	struct agent_target t = {0};
	if (p->status.run == EXEC_RUN_NONE || p->status.run == EXEC_RUN_STOPPED)
		return t;
	t.id = p->status.target;
	memcpy(t.artifact.b, p->status.digest, DIGEST_LEN);
	if (r == NULL)
		return t;
	const struct agent_target *const known[] = {&r->runs, &r->to, &r->work.target, &r->work.fallback,
						    &r->good};
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (digest_eq(&known[i]->id, &t.id))
			return *known[i];
	return t;
}

static void say(struct program *p, enum agent_status status)
{
	struct agent_event ev = {.kind = AGENT_STATUS};
	ev.status.app = p->app;
	ev.status.status = status;
	ev.status.target = target_of(p);
	ev.status.activation = p->status.activation;
	driver_status(p->host->driver, ev);
}

/* The same process as was proven, as far as exec knows: it is healthy since then, until the probes say
 * otherwise. */
static int64_t known_healthy_since(const struct program *p, const struct agent_record *r)
{
	const struct agent_evidence *ev = &r->evidence;
	bool same = digest_eq(&ev->target, &r->runs.id) && ev->boot.hi == r->boot.hi &&
		    ev->boot.lo == r->boot.lo && ev->activation == p->status.activation &&
		    p->status.restarts == 0;
	return same && agent_at_rest(r) ? ev->measured_ms : 0;
}

static bool is_what_runs(const struct program *p, const struct agent_record *r)
{
	return p->status.run == EXEC_RUN_UP && p->health == NULL && r != NULL && !digest_none(&r->runs.id) &&
	       digest_eq(&p->status.target, &r->runs.id);
}

void program_measure(struct program *p)
{
	const struct agent_record *r = host_record(p->host, &p->app);
	if (is_what_runs(p, r))
		program_began(p, &r->runs, p->status.activation, known_healthy_since(p, r));
}

static void found(struct program *p)
{
	say(p, p->status.run == EXEC_RUN_UP || p->status.run == EXEC_RUN_WAITING ? AGENT_RUNNING
	       : p->status.run == EXEC_RUN_CRASH_LOOP				 ? AGENT_CRASH_LOOP
										 : AGENT_NOT_RUNNING);
	program_measure(p); /* the record may have been made just now */
}

/*
 * A process that is gone has no health, and the next one begins its own. What exec says may come before or
 * after the answer to the start it is about, so it counts by its activation, and the first process of that is
 * the one measured.
 */
static void follow_process(struct program *p)
{
	const struct exec_status *s = &p->status;
	const struct agent_record *r = host_record(p->host, &p->app);
	/* It waited to be started again when this agent began, as all do after a reboot. */
	if (p->activation == 0 && is_what_runs(p, r) && agent_at_rest(r))
		program_began(p, &r->runs, s->activation, 0);
	if (p->activation == 0 || p->activation != s->activation)
		return;
	if (s->run != EXEC_RUN_UP) {
		drop_health(p);
		p->measured_pid = -1;
		return;
	}
	bool first = p->measured_pid == 0;
	if (!first && p->measured_pid != s->pid)
		drop_health(p);
	p->measured_pid = s->pid;
	if (p->health == NULL)
		begin_health(p, 0);
}

static void on_lines(void *ctx, const struct name *app, const struct tail_batch *b)
{
	struct program *p = ctx;
	driver_log(p->host->driver, app, b);
}

/* exec makes the app's folder with its first act, so what it says of the app is the sign. */
static void follow_output(struct program *p)
{
	struct err e;
	char path[1024];
	const struct tail_config c = {.path = path, .cursor_dir = p->host->cfg.dir, .app = p->app};
	if (p->tail != NULL)
		return;
	snprintf(path, sizeof(path), "%s/apps/%s/output.log", p->host->cfg.root, p->app.s);
	if (tail_open(&p->tail, p->host->loop, &c, on_lines, p, &e) != E_OK) {
		log_warn(p->app.s, "its output is not sent: %s", e.text);
		p->tail = NULL;
	}
}

void program_status(struct program *p, const struct exec_status *s)
{
	struct exec_status before = p->status;
	bool first = !p->known;
	p->status = *s;
	p->known = true;
	follow_output(p);
	if (first) {
		found(p);
		host_changed(p->host);
		return;
	}
	follow_process(p);
	if (s->run == EXEC_RUN_UP && before.activation == s->activation && s->restarts != before.restarts)
		say(p, AGENT_RESTARTED);
	else if (s->run == EXEC_RUN_CRASH_LOOP && before.run != EXEC_RUN_CRASH_LOOP)
		say(p, AGENT_CRASH_LOOP);
	else if (s->run == EXEC_RUN_STOPPED || s->run == EXEC_RUN_NONE)
		say(p, AGENT_NOT_RUNNING);
	else if (s->run == EXEC_RUN_UP)
		say(p, AGENT_RUNNING);
	host_changed(p->host);
}

static void on_first_status(void *ctx, const struct exec_reply *reply)
{
	struct program *p = ctx;
	p->asking = NULL;
	if (reply->code != E_OK)
		log_error(p->app.s, "exec does not say what runs: %s", reply->text);
	else if (!p->known)
		program_status(p, &reply->status);
	if (host_record(p->host, &p->app) == NULL) /* a folder of the past */
		program_free(p);
}

void program_look(struct program *p)
{
	struct exec_record r;
	record_init(&r, EXEC_STATUS, p->app.s);
	if (p->asking == NULL)
		p->asking = ask_begin(p->host->asks, &r, on_first_status, p);
}

/* ---- for the heartbeat
 * ------------------------------------------------------------------------------------------------- */

/* Why nothing runs although it should, for people. */
static const char *note_of_death(const struct program *p, struct arena *a)
{
	const struct exec_status *s = &p->status;
	const char *how = !s->last_known	? "it died"
			  : s->last_signal != 0 ? arena_printf(a, "signal %d ended it", s->last_signal)
						: arena_printf(a, "it ended with exit code %d", s->last_exit);
	if (s->run == EXEC_RUN_CRASH_LOOP)
		return arena_printf(
			a, "crash loop: %s, %u restarts did not help; it is not started again by itself", how,
			s->restarts);
	return arena_printf(a, "%s; it is started again after a while, %u tries are left", how,
			    s->tries_left);
}

static bool is_dead(const struct program *p)
{
	return p->status.run == EXEC_RUN_WAITING || p->status.run == EXEC_RUN_CRASH_LOOP;
}

static int health_of(const struct program *p, const struct agent_record *r, struct health_view *v)
{
	if (!program_up(p))
		return is_dead(p) ? WAVETRAIN__AGENT__HEALTH__HEALTH_UNHEALTHY
				  : WAVETRAIN__AGENT__HEALTH__HEALTH_STOPPED;
	if (p->health == NULL)
		return WAVETRAIN__AGENT__HEALTH__HEALTH_UNKNOWN;
	*v = health_look(p->health);
	if (v->state == HEALTH_UNHEALTHY)
		return WAVETRAIN__AGENT__HEALTH__HEALTH_UNHEALTHY;
	bool at_rest = agent_at_rest(r) || r->state < AGENT_LEAVING;
	return v->state == HEALTH_HEALTHY && at_rest ? WAVETRAIN__AGENT__HEALTH__HEALTH_HEALTHY
						     : WAVETRAIN__AGENT__HEALTH__HEALTH_STARTING;
}

static void note_step(struct program *p, const struct agent_record *r)
{
	enum step step = agent_step_of(r);
	if (step == p->step)
		return;
	p->step = step;
	p->step_since_ms = now_of(p);
}

void program_describe(struct program *p, struct arena *a, struct host_app *out)
{
	const struct agent_record *r = host_record(p->host, &p->app);
	struct health_view v = {0};
	PRE(r != NULL);
	note_step(p, r);
	if (program_up(p))
		out->target = p->status.target;
	out->health = health_of(p, r, &v);
	if (out->health == WAVETRAIN__AGENT__HEALTH__HEALTH_HEALTHY)
		out->healthy_for_ms = now_of(p) - v.since_ms;
	out->seq = r->work.seq;
	out->restarts = p->status.restarts;
	out->step = p->step;
	out->step_for_ms = now_of(p) - p->step_since_ms;
	out->fault_ms = agent_fault_ms(r, (struct mono_ms){now_of(p)});
	out->fault_lasts = r->fault_since_ms != 0;
	out->in_rotation = out->health == WAVETRAIN__AGENT__HEALTH__HEALTH_HEALTHY && !r->drained;
	if (program_up(p) && p->health == NULL)
		out->note = arena_strdup(a, p->unmeasured);
	else if (is_dead(p))
		out->note = note_of_death(p, a);
	else if (out->health == WAVETRAIN__AGENT__HEALTH__HEALTH_UNHEALTHY && v.why != NULL)
		out->note = arena_strdup(a, v.why);
	else if (r->state == AGENT_FAILED)
		out->note = arena_strdup(a, r->reason);
}
