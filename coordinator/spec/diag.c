#include "coordinator/spec/diag.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = 60, EXCERPT_MAX = 200, WORD_MAX = 40 };

static const struct code {
	int code;
	enum spec_severity severity;
	const char *title, *text;
} codes[] = {
#define X(c, s, t, e) {c, s, t, e},
#include "coordinator/spec/codes.def"
#undef X
};

static const struct code *code_find(int code)
{
	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (codes[i].code == code)
			return &codes[i];
	return NULL;
}

const char *spec_explain(const char *code)
{
	if (*code == 'E' || *code == 'W')
		code++;
	char *end;
	long nr = strtol(code, &end, 10);
	const struct code *c = *code >= '0' && *code <= '9' && !*end ? code_find((int)nr) : NULL;
	return c ? c->text : NULL;
}

/* Bytes that would act on a terminal become '?': C0, DEL, and the C1 range that UTF-8 writes as C2 80..9F. */
static void tame(char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c == '\t')
			s[i] = ' ';
		else if (c < 0x20 || c == 0x7f)
			s[i] = '?';
		else if (c == 0xc2 && i + 1 < n && (unsigned char)s[i + 1] < 0xa0)
			s[i] = s[i + 1] = '?';
	}
}

const char *diag_show(struct arena *a, const char *text)
{
	size_t n = strlen(text);
	bool cut = n > SHOWN_MAX;
	if (cut)
		for (n = SHOWN_MAX; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
			n--;
	char *out = arena_printf(a, "%.*s%s", (int)n, text, cut ? "..." : "");
	tame(out, n);
	return out;
}

static const char *excerpt_of(struct arena *a, const struct diag_text *t, int line)
{
	const char *s = t->text, *end = t->text + t->len;
	for (int i = 1; s && s < end && i < line; i++) {
		s = memchr(s, '\n', (size_t)(end - s));
		s = s ? s + 1 : NULL;
	}
	if (line < 1 || !s || s >= end)
		return NULL;
	const char *stop = memchr(s, '\n', (size_t)(end - s));
	size_t n = (size_t)((stop ? stop : end) - s);
	if (n && s[n - 1] == '\r')
		n--;
	if (n > EXCERPT_MAX || memchr(s, 0, n))
		return NULL;
	char *out = arena_printf(a, "%.*s", (int)n, s);
	tame(out, n);
	return out;
}

void diag_add(struct diag_log *log, struct diag_place at, int code, const char *suggestion, const char *fmt,
	      ...)
{
	struct spec_diags *d = log->diags;
	const struct code *c = code_find(code);
	PRE(c);
	*(c->severity == SPEC_ERROR ? &d->errors : &d->warnings) += 1;
	if (d->nr == SPEC_DIAGS_MAX)
		return;
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	const struct diag_text *t = &log->texts[at.source];
	d->v[d->nr++] = (struct spec_diag){
		.file = arena_strdup(log->a, t->file ? t->file : "?"),
		.line = at.line,
		.col = at.col,
		.len = at.len,
		.severity = c->severity,
		.code = code,
		.text = arena_strdup(log->a, text),
		.suggestion = suggestion,
		/* Bytes that are not UTF-8 are not repeated to a terminal or into JSON. */
		.excerpt = code == 1113 ? NULL : excerpt_of(log->a, t, at.line),
		.order = at.source,
	};
}

static int by_position(const void *pa, const void *pb)
{
	const struct spec_diag *a = pa, *b = pb;
	if (a->order != b->order)
		return a->order - b->order;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	if (a->col != b->col)
		return a->col < b->col ? -1 : 1;
	if (a->code != b->code)
		return a->code - b->code;
	return strcmp(a->text, b->text);
}

void diag_sort(struct spec_diags *d)
{
	qsort(d->v, d->nr, sizeof(d->v[0]), by_position);
}

static size_t min_of(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Damerau's edits (insert, drop, change, swap of neighbours); words longer than WORD_MAX are far from
 * everything. */
static size_t edits(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), d[WORD_MAX + 1][WORD_MAX + 1];
	if (n > WORD_MAX || m > WORD_MAX)
		return WORD_MAX;
	for (size_t i = 0; i <= n; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= m; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= n; i++)
		for (size_t j = 1; j <= m; j++) {
			size_t change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			d[i][j] = min_of(change, 1 + min_of(d[i - 1][j], d[i][j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = min_of(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[n][m];
}

const char *diag_suggest(struct arena *a, const char *word, const char *const *words, size_t nr)
{
	const char *best = NULL;
	size_t least = strlen(word) < 4 ? 2 : strlen(word) / 3 + 2; /* not included */
	for (size_t i = 0; i < nr; i++) {
		size_t e = edits(word, words[i]);
		if (e < least && e < strlen(words[i])) {
			least = e;
			best = words[i];
		}
	}
	return best ? arena_printf(a, "did you mean '%s'?", best) : NULL;
}

static void print_one(struct buf *out, const struct spec_diag *d)
{
	bool error = d->severity == SPEC_ERROR;
	buf_puts(out, d->file);
	if (d->line)
		buf_printf(out, ":%d:%d", d->line, d->col);
	buf_printf(out, ": %s: %s", error ? "error" : "warning", d->text);
	if (d->suggestion && !d->excerpt)
		buf_printf(out, "; %s", d->suggestion);
	buf_printf(out, "  [%c%d]\n", error ? 'E' : 'W', d->code);
	if (!d->excerpt)
		return;
	buf_printf(out, "%5d | %s\n      | %*s^", d->line, d->excerpt, d->col - 1, "");
	for (int i = 1; i < d->len && i < EXCERPT_MAX; i++)
		buf_puts(out, "~");
	if (d->suggestion)
		buf_printf(out, " %s", d->suggestion);
	buf_puts(out, "\n");
}

void spec_diag_print(struct buf *out, const struct spec_diags *d)
{
	const struct spec_diag *first = &d->v[0];
	for (size_t i = 0; i < d->nr; i++)
		print_one(out, &d->v[i]);
	if (!d->nr)
		return;
	for (size_t i = d->nr; i-- > 0;)
		if (d->v[i].severity == SPEC_ERROR)
			first = &d->v[i];
	if (d->errors + d->warnings > d->nr)
		buf_printf(out, "%zu more are not shown.\n", d->errors + d->warnings - d->nr);
	buf_printf(out, "%zu error%s, %zu warning%s. Details: wavetrain explain %c%d\n", d->errors,
		   d->errors == 1 ? "" : "s", d->warnings, d->warnings == 1 ? "" : "s",
		   first->severity == SPEC_ERROR ? 'E' : 'W', first->code);
}

void spec_diag_json(struct buf *out, const struct spec_diags *diags)
{
	json_t *list = json_array();
	for (size_t i = 0; i < diags->nr; i++) {
		const struct spec_diag *d = &diags->v[i];
		char code[16];
		snprintf(code, sizeof(code), "%c%d", d->severity == SPEC_ERROR ? 'E' : 'W', d->code);
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:i, s:i, s:s, s:s, s:s, s:s?}", "file", d->file,
						"line", d->line, "column", d->col, "length", d->len,
						"severity", d->severity == SPEC_ERROR ? "error" : "warning",
						"code", code, "text", d->text, "suggestion", d->suggestion));
	}
	json_t *all = json_pack("{s:I, s:I, s:o}", "errors", (json_int_t)diags->errors, "warnings",
				(json_int_t)diags->warnings, "diagnostics", list);
	char *text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
	PRE(text);
	buf_puts(out, text);
	free(text);
	json_decref(all);
}
