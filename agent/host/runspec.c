#include "agent/host/runspec.h"

#include <jansson.h>
#include <string.h>

#include "base/notation.h"
#include "base/template.h"

/* One reading. The first thing that is wrong stays; after it every read gives something harmless. */
struct reading {
	struct arena *a;
	const struct runspec_facts *facts;
	struct err *e;
	int rc;
};

static void wrong(struct reading *r, const char *key, const char *why)
{
	if (r->rc == E_OK)
		r->rc = err_set(r->e, E_SPEC, "rendered file: %s %s", key, why);
}

/* ---- scalars
 * ------------------------------------------------------------------------------------------------------- */

static const char *fact(const void *arg, const char *name)
{
	const struct runspec_facts *f = arg;
	if (strcmp(name, "host") == 0)
		return f->host;
	if (strcmp(name, "region") == 0)
		return f->region;
	if (strcmp(name, "version") == 0)
		return f->version;
	for (size_t i = 0; strncmp(name, "labels.", 7) == 0 && i < f->labels_nr; i++)
		if (strcmp(f->labels[i].key, name + 7) == 0)
			return f->labels[i].value;
	return NULL;
}

static const char *text(struct reading *r, const json_t *v, const char *key)
{
	const char *s = json_string_value(v), *why = "";
	if (s == NULL || strlen(s) != json_string_length(v)) {
		wrong(r, key, "is not a text");
		return "";
	}
	const char *out = template_fill(r->a, s, fact, r->facts, &why);
	if (out == NULL)
		wrong(r, key, why);
	return out == NULL ? "" : out;
}

static const char *text_of(struct reading *r, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	return v == NULL ? "" : text(r, v, key);
}

static int64_t duration_of(struct reading *r, const json_t *o, const char *key)
{
	int64_t ms = 0;
	const json_t *v = json_object_get(o, key);
	if (v != NULL && (!json_is_string(v) || !notation_duration(json_string_value(v), &ms)))
		wrong(r, key, "is not a duration");
	return ms;
}

static uint64_t size_of(struct reading *r, const json_t *o, const char *key)
{
	uint64_t bytes = 0;
	const json_t *v = json_object_get(o, key);
	if (v != NULL && (!json_is_string(v) || !notation_size(json_string_value(v), &bytes)))
		wrong(r, key, "is not a size");
	return bytes;
}

static uint32_t count_of(struct reading *r, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	json_int_t n = v == NULL ? 0 : json_integer_value(v);
	if (v != NULL && (!json_is_integer(v) || n < 0 || n > UINT32_MAX))
		wrong(r, key, "is not a number");
	return (uint32_t)n;
}

static struct runspec_strings strings_of(struct reading *r, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	struct runspec_strings out = {.nr = json_array_size(v)};
	if (v != NULL && !json_is_array(v))
		wrong(r, key, "is not a list");
	out.v = arena_array(r->a, const char *, out.nr + 1);
	for (size_t i = 0; i < out.nr; i++)
		out.v[i] = text(r, json_array_get(v, i), key);
	return out;
}

static const json_t *group_of(struct reading *r, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	if (v != NULL && !json_is_object(v))
		wrong(r, key, "is not a mapping");
	return json_is_object(v) ? v : NULL;
}

/* ---- groups
 * -------------------------------------------------------------------------------------------------------- */

static void read_env(struct reading *r, const json_t *run, struct runspec *out)
{
	const json_t *env = group_of(r, run, "env");
	const char *key;
	json_t *v;
	out->env.v = arena_array(r->a, const char *, json_object_size(env) + 1);
	json_object_foreach((json_t *)(uintptr_t)env, key, v) out->env.v[out->env.nr++] =
		arena_printf(r->a, "%s=%s", key, text(r, v, "env"));
}

static void read_listen(struct reading *r, const json_t *run, struct runspec *out)
{
	const json_t *list = json_object_get(run, "listen");
	out->listen_nr = json_array_size(list);
	out->listen = arena_array(r->a, struct runspec_listen, out->listen_nr + 1);
	for (size_t i = 0; i < out->listen_nr; i++) {
		const json_t *o = json_array_get(list, i);
		out->listen[i] = (struct runspec_listen){text_of(r, o, "name"), text_of(r, o, "address")};
	}
}

static void read_run(struct reading *r, const json_t *top, struct runspec *out)
{
	const json_t *run = group_of(r, top, "run"), *limits = group_of(r, run, "limits");
	const json_t *restart = group_of(r, run, "restart"), *backoff = group_of(r, restart, "backoff");
	out->command = strings_of(r, run, "command");
	if (out->command.nr == 0)
		wrong(r, "run.command", "is empty");
	out->user = text_of(r, run, "user");
	out->workdir = text_of(r, run, "workdir");
	read_env(r, run, out);
	read_listen(r, run, out);
	out->nofile = count_of(r, limits, "nofile");
	out->nproc = count_of(r, limits, "nproc");
	out->memory_bytes = size_of(r, limits, "memory");
	out->core_bytes = size_of(r, limits, "core");
	out->cpu_ms = duration_of(r, limits, "cpu");
	out->stop_ms = duration_of(r, group_of(r, run, "stop"), "timeout");
	out->restart_tries = count_of(r, restart, "maxTries");
	out->restart_first_ms = duration_of(r, backoff, "initial");
	out->restart_most_ms = duration_of(r, backoff, "max");
	out->output_bytes = size_of(r, group_of(r, run, "output"), "maxBytes");
}

static void read_status_range(struct reading *r, const json_t *o, struct probe_config *c)
{
	const char *s = text_of(r, o, "status");
	int64_t lo = 0, hi;
	size_t n = notation_digits(s, &lo);
	hi = lo;
	if (n > 0 && s[n] == '-')
		n = notation_digits(s + n + 1, &hi);
	if (*s != '\0' && (n == 0 || lo < 100 || hi > 599))
		wrong(r, "status", "is not a range of HTTP status codes");
	c->status_min = (uint32_t)lo;
	c->status_max = (uint32_t)hi;
}

static void read_probe(struct reading *r, const json_t *health, const char *key, struct runspec_probe *out)
{
	const json_t *o = group_of(r, health, key);
	struct probe_config *c = &out->config;
	out->set = o != NULL;
	if (o == NULL)
		return;
	const char *http = text_of(r, o, "http"), *tcp = text_of(r, o, "tcp");
	out->exec = strings_of(r, o, "exec");
	c->kind = *http ? PROBE_HTTP : *tcp ? PROBE_TCP : PROBE_COMMAND;
	c->url = *http ? http : tcp;
	if (c->kind == PROBE_COMMAND && out->exec.nr == 0)
		wrong(r, key, "names neither http, tcp nor exec");
	read_status_range(r, o, c);
	c->interval_ms = duration_of(r, o, "interval");
	c->timeout_ms = duration_of(r, o, "timeout");
	c->pass = count_of(r, o, "pass");
	c->fail = count_of(r, o, "fail");
	out->deadline_ms = duration_of(r, o, "deadline");
}

static void read_hooks(struct reading *r, const json_t *hooks, const char *key, int64_t otherwise_ms,
		       const char *user, struct runspec_hooks *out)
{
	const json_t *list = json_object_get(hooks, key);
	out->nr = json_array_size(list);
	out->v = arena_array(r->a, struct runspec_hook, out->nr + 1);
	for (size_t i = 0; i < out->nr; i++) {
		const json_t *o = json_array_get(list, i);
		struct runspec_hook *h = &out->v[i];
		h->run = strings_of(r, o, "run");
		if (h->run.nr == 0)
			wrong(r, key, "has an empty command");
		h->timeout_ms = duration_of(r, o, "timeout");
		h->timeout_ms = h->timeout_ms > 0 ? h->timeout_ms : otherwise_ms;
		h->user = text_of(r, o, "user");
		h->user = *h->user ? h->user : user;
	}
}

static void read_all_hooks(struct reading *r, const json_t *top, int64_t hook_ms, struct runspec *out)
{
	static const char *const keys[] = {[AGENT_HOOK_BEFORE_STOP] = "beforeStop",
					   [AGENT_HOOK_AFTER_STOP] = "afterStop",
					   [AGENT_HOOK_BEFORE_START] = "beforeStart",
					   [AGENT_HOOK_AFTER_HEALTHY] = "afterHealthy"};
	const json_t *hooks = group_of(r, top, "hooks");
	for (size_t i = AGENT_HOOK_BEFORE_STOP; i <= AGENT_HOOK_AFTER_HEALTHY; i++)
		read_hooks(r, hooks, keys[i], hook_ms, out->user, &out->hooks[i]);
	read_hooks(r, hooks, "afterStart", hook_ms, out->user, &out->after_start);
}

static void read_traffic(struct reading *r, const json_t *top, int64_t drain_ms, struct runspec *out)
{
	const json_t *t = group_of(r, top, "traffic"), *lb = group_of(r, t, "haproxy");
	const json_t *commands = group_of(r, t, "hook"), *drain = group_of(r, t, "drain");
	out->traffic = lb != NULL ? RUNSPEC_HAPROXY : commands != NULL ? RUNSPEC_COMMANDS : RUNSPEC_IN_PLACE;
	out->lb_socket = text_of(r, lb, "socket");
	out->lb_backend = text_of(r, lb, "backend");
	out->lb_server = text_of(r, lb, "server");
	out->lb_state_file = text_of(r, lb, "stateFile");
	out->lb_min_up = count_of(r, lb, "minUp");
	out->drain = strings_of(r, commands, "drain");
	out->undrain = strings_of(r, commands, "undrain");
	if (commands != NULL && (out->drain.nr == 0 || out->undrain.nr == 0))
		wrong(r, "traffic.hook", "has an empty command");
	out->drain_ms = duration_of(r, drain, "timeout");
	out->drain_ms = out->drain_ms > 0 ? out->drain_ms : drain_ms;
	out->drain_kills = strcmp(text_of(r, drain, "then"), "kill") == 0;
}

static void read_top(struct reading *r, const json_t *top, struct runspec *out)
{
	const json_t *strategy = group_of(r, top, "strategy"), *d = group_of(r, strategy, "deadlines");
	const json_t *health = group_of(r, top, "health");
	read_run(r, top, out);
	read_probe(r, health, "start", &out->start);
	read_probe(r, health, "ready", &out->ready);
	read_probe(r, health, "live", &out->live);
	read_all_hooks(r, top, duration_of(r, d, "hook"), out);
	read_traffic(r, top, duration_of(r, d, "drain"), out);
	out->fetch_ms = duration_of(r, d, "fetch");
	out->start_ms = duration_of(r, d, "start");
	out->min_healthy_ms = duration_of(r, strategy, "minHealthyTime");
	out->keep = count_of(r, top, "keep");
}

int runspec_parse(struct arena *a, const char *json, size_t len, const struct runspec_facts *facts,
		  struct runspec *out, struct err *e)
{
	struct reading r = {.a = a, .facts = facts, .e = e, .rc = E_OK};
	json_error_t why;
	memset(out, 0, sizeof(*out));
	json_t *top = json_loadb(json, len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(top))
		wrong(&r, "the text", "is not a JSON object");
	else
		read_top(&r, top, out);
	json_decref(top);
	return r.rc;
}
