#include "agent/host/records.h"

#include <stdio.h>
#include <string.h>

enum { STOP_MS = 10000, UNDRAIN_MS = 30000, STABLE_MS = 60000 };

static void begin(const struct records_for *f, enum exec_op op, struct exec_record *out)
{
	record_init(out, op, f->app.s);
	out->fence = f->fence;
	if (f->target != NULL)
		memcpy(out->digest, f->target->artifact.b, DIGEST_LEN);
}

static int copy(char *to, size_t cap, const char *from, const char *what, struct err *e)
{
	if ((size_t)snprintf(to, cap, "%s", from) < cap)
		return E_OK;
	return err_set(e, E_TOO_LARGE, "%s is longer than %zu bytes: %.60s", what, cap - 1, from);
}

static uint32_t millis(int64_t ms)
{
	return ms > EXEC_MOST_TIMEOUT_MS ? EXEC_MOST_TIMEOUT_MS : (uint32_t)ms;
}

/* ---- arguments and environment
 * ---------------------------------------------------------------------------------------- */

static int add_args(struct exec_record *out, const struct runspec_strings *argv, struct err *e)
{
	for (size_t i = 0; i < argv->nr; i++)
		if (record_add_arg(out, argv->v[i]) != E_OK)
			return err_set(e, E_TOO_LARGE,
				       "the command of %s has more than %d bytes of arguments", out->app,
				       EXEC_ARGV_BYTES);
	return E_OK;
}

static int add_env(struct exec_record *out, const char *name, const char *value, struct err *e)
{
	char pair[EXEC_ENV_BYTES];
	int n = snprintf(pair, sizeof(pair), "%s%s%s", name, value == NULL ? "" : "=",
			 value == NULL ? "" : value);
	if (n > 0 && (size_t)n < sizeof(pair) && record_add_env(out, pair) == E_OK)
		return E_OK;
	return err_set(e, E_TOO_LARGE, "the environment of %s has more than %d bytes", out->app,
		       EXEC_ENV_BYTES);
}

static bool has_path(const struct runspec *s)
{
	for (size_t i = 0; i < s->env.nr; i++)
		if (strncmp(s->env.v[i], "PATH=", 5) == 0)
			return true;
	return false;
}

/* What the file says, what a program may want to know of itself, and a PATH when the file has none. */
static int add_all_env(const struct records_for *f, struct exec_record *out, struct err *e)
{
	const char *const own[][2] = {{"WAVETRAIN_APP", f->app.s},
				      {"WAVETRAIN_VERSION", f->target->version.s},
				      {"WAVETRAIN_HOST", f->host.s},
				      {"WAVETRAIN_REGION", f->region.s}};
	int rc = E_OK;
	for (size_t i = 0; rc == E_OK && i < f->spec->env.nr; i++)
		rc = add_env(out, f->spec->env.v[i], NULL, e);
	for (size_t i = 0; rc == E_OK && i < ARRAY_LEN(own); i++)
		rc = add_env(out, own[i][0], own[i][1], e);
	if (rc == E_OK && !has_path(f->spec))
		rc = add_env(out, "PATH", "/usr/local/bin:/usr/bin:/bin", e);
	return rc;
}

/* ---- the records
 * ------------------------------------------------------------------------------------------------------ */

void records_swap(const struct records_for *f, struct exec_record *out)
{
	begin(f, EXEC_SWAP, out);
}

static void set_limits(const struct runspec *s, struct exec_limits *l)
{
	l->set = EXEC_LIMIT_CORE | (s->nofile ? EXEC_LIMIT_NOFILE : 0) | (s->nproc ? EXEC_LIMIT_NPROC : 0) |
		 (s->memory_bytes ? EXEC_LIMIT_MEMORY : 0) | (s->cpu_ms ? EXEC_LIMIT_CPU : 0);
	l->nofile = s->nofile;
	l->nproc = s->nproc;
	l->memory_bytes = s->memory_bytes;
	l->core_bytes = s->core_bytes;
	l->cpu_s = (uint64_t)(s->cpu_ms + 999) / 1000;
}

static int set_listens(const struct runspec *s, struct exec_record *out, struct err *e)
{
	int rc = E_OK;
	if (s->listen_nr > EXEC_LISTENS)
		return err_set(e, E_TOO_LARGE, "run.listen names %zu sockets, at most %d are handed over",
			       s->listen_nr, EXEC_LISTENS);
	out->listen_count = (uint32_t)s->listen_nr;
	for (size_t i = 0; rc == E_OK && i < s->listen_nr; i++) {
		rc = copy(out->listens[i].name, sizeof(out->listens[i].name), s->listen[i].name,
			  "run.listen.name", e);
		if (rc == E_OK)
			rc = copy(out->listens[i].addr, sizeof(out->listens[i].addr), s->listen[i].address,
				  "run.listen.address", e);
	}
	return rc;
}

static void set_restart(const struct runspec *s, struct exec_restart *r)
{
	r->tries = s->restart_tries;
	r->first_ms = millis(s->restart_first_ms);
	r->most_ms = millis(s->restart_most_ms);
	r->stable_ms = STABLE_MS;
}

int records_start(const struct records_for *f, uint64_t activation, struct exec_record *out, struct err *e)
{
	const struct runspec *s = f->spec;
	begin(f, EXEC_START, out);
	out->activation = activation;
	out->target = f->target->id;
	set_limits(s, &out->limits);
	set_restart(s, &out->restart);
	out->output_bytes = s->output_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)s->output_bytes;
	int rc = copy(out->user, sizeof(out->user), s->user, "run.user", e);
	if (rc == E_OK)
		rc = copy(out->workdir, sizeof(out->workdir), s->workdir, "run.workdir", e);
	if (rc == E_OK)
		rc = set_listens(s, out, e);
	if (rc == E_OK)
		rc = add_args(out, &s->command, e);
	return rc == E_OK ? add_all_env(f, out, e) : rc;
}

void records_stop(const struct records_for *f, struct exec_record *out)
{
	begin(f, EXEC_STOP, out);
	out->timeout_ms = f->spec == NULL ? STOP_MS : millis(f->spec->stop_ms);
}

/* A hook stands in the slot it belongs to. */
static int set_slot_dir(const struct records_for *f, struct exec_record *out, struct err *e)
{
	char hex[DIGEST_HEX_CAP], dir[EXEC_PATH_CAP + DIGEST_HEX_CAP];
	snprintf(dir, sizeof(dir), "%s/slots/%s", f->root, digest_hex(&f->target->artifact, hex));
	return copy(out->workdir, sizeof(out->workdir), dir, "the path of the slot", e);
}

int records_hook(const struct records_for *f, const struct runspec_hook *h, struct exec_record *out,
		 struct err *e)
{
	begin(f, EXEC_HOOK, out);
	out->timeout_ms = millis(h->timeout_ms);
	int rc = copy(out->user, sizeof(out->user), h->user, "the user of a hook", e);
	if (rc == E_OK)
		rc = set_slot_dir(f, out, e);
	if (rc == E_OK)
		rc = add_args(out, &h->run, e);
	return rc == E_OK ? add_all_env(f, out, e) : rc;
}

int records_balance(const struct records_for *f, enum exec_op op, struct exec_record *out, struct err *e)
{
	const struct runspec *s = f->spec;
	struct exec_balancer *b = &out->balancer;
	begin(f, op, out);
	b->keep_up = s->lb_min_up;
	out->timeout_ms = op == EXEC_DRAIN ? millis(s->drain_ms) : UNDRAIN_MS;
	int rc = copy(b->socket, sizeof(b->socket), s->lb_socket, "traffic.haproxy.socket", e);
	if (rc == E_OK)
		rc = copy(b->backend, sizeof(b->backend), s->lb_backend, "traffic.haproxy.backend", e);
	if (rc == E_OK)
		rc = copy(b->server, sizeof(b->server), s->lb_server, "traffic.haproxy.server", e);
	return rc == E_OK ? copy(b->state_file, sizeof(b->state_file), s->lb_state_file,
				 "traffic.haproxy.stateFile", e)
			  : rc;
}
