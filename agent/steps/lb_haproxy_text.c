#include "agent/steps/lb_haproxy.h"

#include <stdlib.h>
#include <string.h>

bool lb_haproxy_name_ok(const char *s)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	return *s && strlen(s) < 65 && s[strspn(s, allowed)] == '\0';
}

int lb_haproxy_refusal(const char *text, struct err *e)
{
	for (const char *p = text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (p[0] == '[' && p[1] >= '0' && p[1] <= '3' && p[2] == ']')
			return err_set(e, E_CONFLICT, "HAProxy refused: %.*s", (int)strcspn(p, "\n"), p);
		if (!*p)
			break;
	}
	return E_OK;
}

/* A table: fields apart by `sep`, a header line that begins with "# ". Fields are compared in place. */
struct field {
	const char *s;
	size_t n;
};

static struct field field_at(const char *line, char sep, int index)
{
	const char stop[] = {sep, '\n', '\0'};
	for (; index > 0; index--) {
		line += strcspn(line, stop);
		if (*line != sep)
			return (struct field){"", 0};
		line++;
	}
	return (struct field){line, strcspn(line, stop)};
}

static bool field_is(struct field f, const char *s)
{
	return f.n == strlen(s) && memcmp(f.s, s, f.n) == 0;
}

static bool field_number(struct field f, uint32_t *out)
{
	char digits[12] = "";
	if (f.n == 0 || f.n > 9)
		return false;
	memcpy(digits, f.s, f.n);
	char *end;
	*out = (uint32_t)strtoul(digits, &end, 10);
	return *end == '\0' && digits[0] >= '0' && digits[0] <= '9';
}

static const char *next_line(const char *p)
{
	p = strchr(p, '\n');
	return p ? p + 1 : NULL;
}

static const char *header_of(const char *text)
{
	while (text && strncmp(text, "# ", 2) != 0)
		text = next_line(text);
	return text ? text + 2 : NULL;
}

static int column(const char *header, char sep, const char *name)
{
	for (int i = 0; i < 200; i++) {
		struct field f = field_at(header, sep, i);
		if (field_is(f, name))
			return i;
		if (f.s[f.n] != sep)
			break;
	}
	return -1;
}

static int nonsense(struct err *e, const char *what)
{
	return err_set(e, E_PROTOCOL, "HAProxy's answer to %s cannot be read; is this its admin socket?",
		       what);
}

struct stat_columns {
	int backend, server, sessions, status;
};

static bool takes_traffic(struct field status)
{
	return (status.n >= 2 && memcmp(status.s, "UP", 2) == 0) || field_is(status, "no check");
}

static bool view_row(const char *row, const struct stat_columns *c, const char *backend, const char *server,
		     struct lb_view *out)
{
	if (!field_is(field_at(row, ',', c->backend), backend))
		return true;
	bool up = takes_traffic(field_at(row, ',', c->status));
	if (!field_is(field_at(row, ',', c->server), server)) {
		out->others_up += up;
		return true;
	}
	out->found = true;
	out->up = up;
	return field_number(field_at(row, ',', c->sessions), &out->sessions);
}

int lb_haproxy_view(const char *text, const char *backend, const char *server, struct lb_view *out,
		    struct err *e)
{
	*out = (struct lb_view){0};
	const char *h = header_of(text);
	if (!h)
		return nonsense(e, "show stat");
	struct stat_columns c = {column(h, ',', "pxname"), column(h, ',', "svname"), column(h, ',', "scur"),
				 column(h, ',', "status")};
	if (c.backend < 0 || c.server < 0 || c.sessions < 0 || c.status < 0)
		return nonsense(e, "show stat");
	for (const char *row = next_line(h); row && *row; row = next_line(row))
		if (!view_row(row, &c, backend, server, out))
			return nonsense(e, "show stat");
	return E_OK;
}

int lb_haproxy_admin(const char *text, const char *backend, const char *server, struct lb_admin *out,
		     struct err *e)
{
	const char *h = header_of(text);
	if (!h)
		return nonsense(e, "show servers state");
	int be = column(h, ' ', "be_name"), sv = column(h, ' ', "srv_name"),
	    op = column(h, ' ', "srv_op_state"), admin = column(h, ' ', "srv_admin_state");
	if (be < 0 || sv < 0 || op < 0 || admin < 0)
		return nonsense(e, "show servers state");
	for (const char *row = next_line(h); row && *row; row = next_line(row)) {
		uint32_t o, a;
		if (!field_is(field_at(row, ' ', be), backend) || !field_is(field_at(row, ' ', sv), server))
			continue;
		if (!field_number(field_at(row, ' ', op), &o) || !field_number(field_at(row, ' ', admin), &a))
			return nonsense(e, "show servers state");
		*out = (struct lb_admin){(int)o, (int)a};
		return E_OK;
	}
	return err_set(e, E_NOT_FOUND, "HAProxy has no server %s/%s", backend, server);
}

/* Only what a reload must not lose: the rest of a row counts seconds and checks. */
int lb_haproxy_states(const char *text, struct buf *out, struct err *e)
{
	static const char *const names[] = {"be_name", "srv_name", "srv_op_state", "srv_admin_state"};
	int columns[ARRAY_LEN(names)];
	const char *h = header_of(text);
	buf_reset(out);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		columns[i] = h ? column(h, ' ', names[i]) : -1;
		if (columns[i] < 0)
			return nonsense(e, "show servers state");
	}
	for (const char *row = next_line(h); row && *row && *row != '\n'; row = next_line(row))
		for (size_t i = 0; i < ARRAY_LEN(names); i++) {
			struct field f = field_at(row, ' ', columns[i]);
			buf_put(out, f.s, f.n);
			buf_puts(out, i + 1 < ARRAY_LEN(names) ? " " : "\n");
		}
	return E_OK;
}
