#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct err_row {
	const char *name;
	const char *text;
	enum err_class class;
};

static const struct err_row rows[E_NR] = {
#define X(code, class, text) [code] = {#code, text, ERR_##class},
#include "base/errors.def"
#undef X
};

static const struct err_row *row(int code)
{
	return code > 0 && code < E_NR ? &rows[code] : NULL;
}

const char *err_name(int code)
{
	return code == E_OK ? "E_OK" : row(code) ? row(code)->name : "E_?";
}

const char *err_text(int code)
{
	return code == E_OK ? "ok" : row(code) ? row(code)->text : "unknown error";
}

enum err_class err_class(int code)
{
	return row(code) ? row(code)->class : ERR_BUG;
}

int err_set_at(struct err *e, int code, int errnum, const char *file, int line, const char *fmt, ...)
{
	if (e == NULL)
		return code;

	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	e->code = code;
	e->sys_errno = errnum;
	e->file = file;
	e->line = line;
	if (errnum != 0 && n >= 0 && (size_t)n < sizeof e->text) {
		char msg[96];
		/* GNU strerror_r: no static buffer is shared between threads. */
		const char *s = strerror_r(errnum, msg, sizeof msg);
		snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", s);
	}
	return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	if (e == NULL)
		return E_INTERNAL;

	char inner[sizeof e->text];
	memcpy(inner, e->text, sizeof inner);
	inner[sizeof inner - 1] = '\0';

	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof e->text)
		snprintf(e->text + n, sizeof e->text - (size_t)n, ": %.*s",
			 (int)(sizeof e->text - (size_t)n - 3), inner);
	return e->code;
}
