#include "base/template.h"

#include <string.h>

#include "base/buf.h"

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
	       c == '.' || c == '-';
}

struct template_piece template_next(struct arena *a, const char *text)
{
	const char *open = strstr(text, "{{");
	if (!open)
		return (struct template_piece){.before = strlen(text)};
	const char *name = open + 2 + strspn(open + 2, " "), *end = name;
	while (name_char(*end))
		end++;
	const char *close = end + strspn(end, " ");
	bool ok = end > name && close[0] == '}' && close[1] == '}';
	return (struct template_piece){.name = arena_printf(a, "%.*s", (int)(end - name), name),
				       .before = (size_t)(open - text),
				       .rest = ok ? close + 2 : NULL};
}

/* Only what cannot harm a terminal or a log is repeated. */
static const char *shown(struct arena *a, const char *name)
{
	return arena_printf(a, "%.64s", name);
}

const char *template_fill(struct arena *a, const char *text, template_fact_fn *fact, const void *facts,
			  const char **why)
{
	struct buf out;
	const char *result = NULL;
	buf_init(&out);
	for (;;) {
		struct template_piece p = template_next(a, text);
		buf_put(&out, text, p.before);
		if (!p.name) {
			result = arena_strdup(a, buf_cstr(&out));
			break;
		}
		const char *with = p.rest ? fact(facts, p.name) : NULL;
		if (!with) {
			*why = !p.rest ? "malformed template; write {{ name }}"
				       : arena_printf(a, "this host has no '%s'", shown(a, p.name));
			break;
		}
		buf_puts(&out, with);
		text = p.rest;
	}
	buf_done(&out);
	return result;
}
