#include "agent/exec/record.h"

#include <string.h>

void record_init(struct exec_record *r, enum exec_op op, const char *app)
{
	memset(r, 0, sizeof *r);
	r->magic = EXEC_MAGIC;
	r->version = EXEC_VERSION;
	r->size = sizeof *r;
	r->op = op;
	strncpy(r->app, app, sizeof r->app - 1);
}

void record_reply_init(struct exec_reply *p, const struct exec_record *r)
{
	memset(p, 0, sizeof *p);
	p->magic = EXEC_REPLY_MAGIC;
	p->version = EXEC_VERSION;
	p->size = sizeof *p;
	p->op = r->op;
	p->request = r->request;
	memcpy(p->app, r->app, sizeof p->app);
}

static int add_string(char *bytes, size_t cap, uint32_t *len, uint32_t *count, const char *s)
{
	size_t n = strlen(s) + 1;
	if (n > cap - *len || *count >= EXEC_STRINGS_MAX)
		return E_TOO_LARGE;
	memcpy(bytes + *len, s, n);
	*len += (uint32_t)n;
	++*count;
	return E_OK;
}

int record_add_arg(struct exec_record *r, const char *s)
{
	return add_string(r->argv.bytes, sizeof r->argv.bytes, &r->argv.len, &r->argv.count, s);
}

int record_add_env(struct exec_record *r, const char *name_value)
{
	return add_string(r->env.bytes, sizeof r->env.bytes, &r->env.len, &r->env.count, name_value);
}

void record_pointers(const char *bytes, uint32_t count, char **out)
{
	for (uint32_t i = 0; i < count; i++) {
		out[i] = (char *)(uintptr_t)bytes;
		bytes += strlen(bytes) + 1;
	}
	out[count] = NULL;
}

bool record_lb_name_ok(const char *s)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	return *s && s[strspn(s, allowed)] == '\0';
}

static bool ended(const char *s, size_t cap)
{
	return memchr(s, '\0', cap) != NULL;
}

/* Absolute, and never climbing: "/a/../b" names a place that a reader of the log would not expect. */
static bool path_ok(const char *s)
{
	size_t n = strlen(s);
	return s[0] == '/' && !strstr(s, "/../") && (n < 3 || strcmp(s + n - 3, "/..") != 0) &&
	       !strchr(s, '\n');
}

static bool strings_ok(const char *bytes, size_t cap, uint32_t len, uint32_t count)
{
	if (len > cap || count > EXEC_STRINGS_MAX || (len > 0 && bytes[len - 1] != '\0'))
		return false;
	uint32_t seen = 0;
	for (uint32_t i = 0; i < len; i++)
		seen += bytes[i] == '\0';
	return seen == count;
}

static bool env_ok(const struct exec_env *v)
{
	if (!strings_ok(v->bytes, sizeof v->bytes, v->len, v->count))
		return false;
	const char *s = v->bytes;
	for (uint32_t i = 0; i < v->count; i++, s += strlen(s) + 1)
		if (!strchr(s, '=') || s[0] == '=' || strncmp(s, "LISTEN_", 7) == 0)
			return false;
	return true;
}

/* A relative argv[0] stays inside the slot. */
static bool argv0_ok(const struct exec_argv *a)
{
	const char *s = a->bytes;
	if (a->count == 0 || !*s)
		return false;
	if (s[0] == '/')
		return path_ok(s);
	return strncmp(s, "../", 3) != 0 && !strstr(s, "/../");
}

static bool listens_ok(const struct exec_record *r)
{
	if (r->listen_count > EXEC_LISTENS)
		return false;
	for (uint32_t i = 0; i < r->listen_count; i++) {
		const struct exec_listen *l = &r->listens[i];
		if (!ended(l->name, sizeof l->name) || !ended(l->addr, sizeof l->addr) || !name_ok(l->name) ||
		    !strchr(l->addr, ':'))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(l->name, r->listens[j].name) == 0)
				return false;
	}
	return true;
}

static const char *bad_balancer(const struct exec_balancer *b)
{
	if (!ended(b->socket, sizeof b->socket) || !path_ok(b->socket))
		return "balancer socket";
	if (!ended(b->backend, sizeof b->backend) || !record_lb_name_ok(b->backend))
		return "balancer backend";
	if (!ended(b->server, sizeof b->server) || !record_lb_name_ok(b->server))
		return "balancer server";
	if (!ended(b->state_file, sizeof b->state_file) || (b->state_file[0] && !path_ok(b->state_file)))
		return "balancer state file";
	return NULL;
}

static bool digest_zero(const uint8_t *d)
{
	static const uint8_t none[DIGEST_LEN];
	return memcmp(d, none, DIGEST_LEN) == 0;
}

static const char *bad_command(const struct exec_record *r)
{
	if (!strings_ok(r->argv.bytes, sizeof r->argv.bytes, r->argv.len, r->argv.count) ||
	    !argv0_ok(&r->argv))
		return "argv";
	if (!env_ok(&r->env))
		return "env";
	if (r->workdir[0] && !path_ok(r->workdir))
		return "workdir";
	return NULL;
}

static bool app_ok(const struct exec_record *r)
{
	if (!ended(r->app, sizeof r->app))
		return false;
	return r->op == EXEC_WATCH ? r->app[0] == '\0' : name_ok(r->app);
}

static const char *bad_field(const struct exec_record *r)
{
	if (!app_ok(r))
		return "app";
	if (!ended(r->user, sizeof r->user) || (r->user[0] && !record_lb_name_ok(r->user)))
		return "user";
	if (!ended(r->workdir, sizeof r->workdir))
		return "workdir";
	if (r->timeout_ms > EXEC_MOST_TIMEOUT_MS || r->restart.first_ms > EXEC_MOST_TIMEOUT_MS ||
	    r->restart.most_ms > EXEC_MOST_TIMEOUT_MS)
		return "a time";
	if (r->limits.set & ~(uint32_t)EXEC_LIMIT_ALL)
		return "limits";
	if (!listens_ok(r))
		return "listen addresses";
	if (r->op == EXEC_START && digest_zero(r->digest))
		return "digest";
	if (r->op == EXEC_START || r->op == EXEC_HOOK)
		return bad_command(r);
	if (r->op == EXEC_DRAIN || r->op == EXEC_UNDRAIN)
		return bad_balancer(&r->balancer);
	return NULL;
}

int record_check(const void *bytes, size_t len, struct err *e)
{
	const struct exec_record *r = bytes;
	if (len != sizeof *r || r->magic != EXEC_MAGIC)
		return err_set(e, E_PROTOCOL,
			       "a record of %zu bytes is none of ours; is the agent of this package?", len);
	if (r->version != EXEC_VERSION || r->size != sizeof *r)
		return err_set(e, E_VERSION, "record version %u, exec has %d; restart the older of the two",
			       r->version, EXEC_VERSION);
	if (r->op == 0 || r->op >= EXEC_OP_END)
		return err_set(e, E_INVALID, "operation %u is not known", r->op);
	const char *field = bad_field(r);
	return field ? err_set(e, E_INVALID, "record refused: %s is not valid", field) : E_OK;
}

int record_reply_check(const void *bytes, size_t len, struct err *e)
{
	const struct exec_reply *p = bytes;
	if (len != sizeof *p || p->magic != EXEC_REPLY_MAGIC || p->version != EXEC_VERSION ||
	    !ended(p->text, sizeof p->text) || !ended(p->app, sizeof p->app) ||
	    p->output_len > sizeof p->output)
		return err_set(e, E_PROTOCOL, "an answer of %zu bytes is none of wavetrain-exec", len);
	return E_OK;
}
