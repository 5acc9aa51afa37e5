/* acts.c: what wavetrain-exec does for an effect. All of it may be done twice. */
#include "agent/host/blame.h"
#include "agent/host/inner.h"

#include <string.h>

static struct records_for work_for(const struct work *w)
{
	return host_for(w->host, &w->effect.app, &w->effect.target, w->spec);
}

static void put(struct work *w, const struct exec_record *r, exec_client_cb cb)
{
	w->ask = ask_begin(w->host->asks, r, cb, w);
}

/* The answer is the end of the work. */
static void on_answer(void *ctx, const struct exec_reply *reply)
{
	struct work *w = ctx;
	w->ask = NULL;
	if (reply->code == E_OK)
		work_ok(w);
	else
		work_end(w, reply->code, STEP_CAUSE_INFRA, "%s", reply->text);
}

/* ---- swap
 * --------------------------------------------------------------------------------------------------------------
 */

static void swap(struct work *w)
{
	struct exec_record r;
	const struct records_for f = work_for(w);
	records_swap(&f, &r);
	put(w, &r, on_answer);
}

static void on_slot_verified(void *ctx, int code, const char *detail)
{
	struct work *w = ctx;
	w->in_slots = false;
	if (code == E_OK)
		swap(w);
	else
		work_end(w, code, STEP_CAUSE_INFRA, "%s", detail);
}

/* What was assigned was looked at byte by byte before the old program was stopped, and nothing runs now, so
 * sizes must do; what is gone back to was not looked at since it was started. */
void acts_swap(struct work *w)
{
	struct err e;
	struct slots *s = w->host->slots;
	const struct agent_target *t = &w->effect.target;
	const struct agent_record *rec = host_record(w->host, &w->effect.app);
	bool looked_at = rec != NULL && digest_eq(&rec->work.target.id, &t->id);
	int rc = E_OK;
	if (digest_none(&t->id)) {
		swap(w);
	} else if (looked_at) {
		if ((rc = slots_check(s, &t->artifact, &e)) == E_OK)
			swap(w);
	} else if ((rc = slots_verify(s, &t->artifact, SLOT_DIGESTS, w->effect.id, on_slot_verified, w,
				      &e)) == E_OK) {
		w->in_slots = true;
	}
	if (rc != E_OK)
		work_end(w, e.code, STEP_CAUSE_INFRA, "%s", e.text);
}

/* ---- stop
 * --------------------------------------------------------------------------------------------------------------
 */

/* Another stop under way, or exec away: that passes. What does not end although it was killed is a code that
 * no retry mends. */
static void on_stopped(void *ctx, const struct exec_reply *reply)
{
	struct work *w = ctx;
	w->ask = NULL;
	if (reply->code != E_OK) {
		work_end(w, reply->code == E_TIMEOUT ? E_CONFLICT : reply->code, STEP_CAUSE_INFRA, "%s",
			 reply->text);
		return;
	}
	program_ended(program_get(w->host, &w->effect.app));
	work_ok(w);
}

void acts_stop(struct work *w)
{
	struct exec_record r;
	const struct records_for f = work_for(w);
	records_stop(&f, &r);
	put(w, &r, on_stopped);
}

/* ---- start
 * -------------------------------------------------------------------------------------------------------------
 */

static void start(struct work *w);

static void on_stopped_for_start(void *ctx, const struct exec_reply *reply)
{
	struct work *w = ctx;
	w->ask = NULL;
	if (reply->code == E_OK)
		start(w);
	else
		work_end(w, reply->code, STEP_CAUSE_INFRA, "%s", reply->text);
}

/* Another activation runs: an agent before this one began it, and its record was lost. */
static void replace(struct work *w)
{
	struct exec_record r;
	const struct records_for f = work_for(w);
	w->started = true;
	records_stop(&f, &r);
	put(w, &r, on_stopped_for_start);
}

static void on_started(void *ctx, const struct exec_reply *reply)
{
	struct work *w = ctx;
	w->ask = NULL;
	if (reply->code == E_CONFLICT && !w->started) {
		replace(w);
		return;
	}
	if (reply->code != E_OK) {
		work_end(w, reply->code, blame_of_start(reply->code), "%s", reply->text);
		return;
	}
	struct program *p = program_get(w->host, &w->effect.app);
	program_began(p, &w->effect.target, w->effect.activation, 0);
	work_ok(w);
}

static void start(struct work *w)
{
	struct exec_record r;
	struct err e;
	const struct records_for f = work_for(w);
	if (records_start(&f, w->effect.activation, &r, &e) == E_OK)
		put(w, &r, on_started);
	else
		work_end(w, e.code, STEP_CAUSE_VERSION, "%s", e.text);
}

void acts_start(struct work *w)
{
	start(w);
}

/* ---- hooks
 * -------------------------------------------------------------------------------------------------------------
 */

static void next_hook(struct work *w);

/* The last line that is not empty: where programs say why they give up. */
static const char *last_line(struct arena *a, const struct exec_reply *p)
{
	char *s = arena_alloc(a, (size_t)p->output_len + 1);
	memcpy(s, p->output, p->output_len);
	for (size_t n = p->output_len; n > 0 && strchr("\r\n\t ", s[n - 1]) != NULL;)
		s[--n] = '\0';
	char *nl = strrchr(s, '\n');
	s = nl == NULL ? s : nl + 1;
	for (char *c = s; *c != '\0'; c++)
		*c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
	return s;
}

static void on_hook(void *ctx, const struct exec_reply *reply)
{
	struct work *w = ctx;
	const struct runspec_hook *h = &w->hooks->v[w->hook];
	enum step_cause cause = blame_of_command(w->effect.kind, w->effect.hook, reply->code);
	w->ask = NULL;
	if (reply->code != E_OK)
		work_end(w, reply->code, cause, "%s %zu (%.40s): %s", w->hooks_name, w->hook + 1, h->run.v[0],
			 reply->text);
	else if (reply->hook_exit != 0)
		work_end(w, blame_code_of_exit(w->effect.kind), cause, "%s %zu (%.40s) ended with %d: %.100s",
			 w->hooks_name, w->hook + 1, h->run.v[0], reply->hook_exit,
			 last_line(&w->arena, reply));
	else {
		w->hook++;
		next_hook(w);
	}
}

static void next_hook(struct work *w)
{
	struct exec_record r;
	struct err e;
	if (w->hook == w->hooks->nr) {
		w->after_hooks(w);
		return;
	}
	const struct records_for f = work_for(w);
	if (records_hook(&f, &w->hooks->v[w->hook], &r, &e) == E_OK)
		put(w, &r, on_hook);
	else
		work_end(w, e.code, blame_of_command(w->effect.kind, w->effect.hook, e.code), "%s", e.text);
}

void acts_run_hooks(struct work *w, const struct runspec_hooks *hooks, const char *name,
		    void (*after)(struct work *w))
{
	w->hooks = hooks;
	w->hooks_name = name;
	w->hook = 0;
	w->after_hooks = after;
	next_hook(w);
}

void acts_hook(struct work *w)
{
	static const char *const names[] = {[AGENT_HOOK_BEFORE_STOP] = "hook beforeStop",
					    [AGENT_HOOK_AFTER_STOP] = "hook afterStop",
					    [AGENT_HOOK_BEFORE_START] = "hook beforeStart",
					    [AGENT_HOOK_AFTER_HEALTHY] = "hook afterHealthy"};
	enum agent_hook h = w->effect.hook;
	acts_run_hooks(w, &w->spec->hooks[h], names[h], work_ok);
}

/* ---- the balancer
 * ------------------------------------------------------------------------------------------------------ */

/* One command of the file as a row of hooks of its own. */
static void run_command(struct work *w, const struct runspec_strings *argv, const char *name)
{
	struct runspec_hooks *one = arena_new(&w->arena, struct runspec_hooks);
	one->nr = 1;
	one->v = arena_new(&w->arena, struct runspec_hook);
	one->v[0] =
		(struct runspec_hook){.run = *argv, .timeout_ms = w->spec->drain_ms, .user = w->spec->user};
	acts_run_hooks(w, one, name, work_ok);
}

/*
 * Out of time with connections left: the file says whether they are cut (the stop that follows does it) or
 * the host is given up. That is a code no retry mends, so the step machine puts the host back into rotation.
 * Too few others being up passes by itself, so that is worth a retry.
 */
static void on_drained(void *ctx, const struct exec_reply *reply)
{
	struct work *w = ctx;
	w->ask = NULL;
	if (reply->code == E_OK || (reply->code == E_TIMEOUT && w->spec->drain_kills))
		work_ok(w);
	else if (reply->code == E_TIMEOUT)
		work_end(w, E_CONFLICT, STEP_CAUSE_INFRA, "%s", reply->text);
	else
		work_end(w, reply->code == E_CONFLICT ? E_BUSY : reply->code, STEP_CAUSE_INFRA, "%s",
			 reply->text);
}

static void balance(struct work *w, enum exec_op op, exec_client_cb cb)
{
	struct exec_record r;
	struct err e;
	const struct records_for f = work_for(w);
	if (records_balance(&f, op, &r, &e) == E_OK)
		put(w, &r, cb);
	else
		work_end(w, e.code, STEP_CAUSE_VERSION, "%s", e.text);
}

void acts_drain(struct work *w)
{
	if (w->spec == NULL || w->spec->traffic == RUNSPEC_IN_PLACE)
		work_ok(w);
	else if (w->spec->traffic == RUNSPEC_COMMANDS)
		run_command(w, &w->spec->drain, "drain");
	else
		balance(w, EXEC_DRAIN, on_drained);
}

void acts_undrain(struct work *w)
{
	if (w->spec == NULL || w->spec->traffic == RUNSPEC_IN_PLACE)
		work_ok(w);
	else if (w->spec->traffic == RUNSPEC_COMMANDS)
		run_command(w, &w->spec->undrain, "undrain");
	else
		balance(w, EXEC_UNDRAIN, on_answer);
}
