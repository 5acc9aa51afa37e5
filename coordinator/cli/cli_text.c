#include <stdio.h>
#include <string.h>
#include <time.h>

#include "coordinator/cli/cli.h"

/* ---- values ---- */

const char *cli_age(char *out, size_t cap, int64_t ms)
{
	long long s = ms < 0 ? 0 : ms / 1000;
	if (s < 60)
		snprintf(out, cap, "%llds", s);
	else if (s < 3600)
		snprintf(out, cap, "%lldm%02llds", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, cap, "%lldh%02lldm", s / 3600, s / 60 % 60);
	else
		snprintf(out, cap, "%lldd%02lldh", s / 86400, s / 3600 % 24);
	return out;
}

const char *cli_bytes(char *out, size_t cap, uint64_t n)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	size_t u = 0;
	uint64_t tenths = n * 10;
	if (n >= UINT64_MAX / 10) {
		snprintf(out, cap, "%llu B", (unsigned long long)n);
		return out;
	}
	while (tenths >= 10240 && u + 1 < ARRAY_LEN(units)) {
		tenths /= 1024;
		u++;
	}
	if (u == 0)
		snprintf(out, cap, "%llu B", (unsigned long long)n);
	else
		snprintf(out, cap, "%llu.%llu %s", (unsigned long long)(tenths / 10),
			 (unsigned long long)(tenths % 10), units[u]);
	return out;
}

const char *cli_rfc3339(char *out, size_t cap, int64_t ms)
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;
	out[0] = '\0';
	if (ms > 0 && gmtime_r(&t, &tm))
		strftime(out, cap, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return out;
}

/* ---- columns ---- */

/* Length of the UTF-8 sequence at s, 1 for a stray byte. Every code point we print takes one column. */
static size_t sequence(const char *s)
{
	unsigned char c = (unsigned char)*s;
	size_t n = c < 0x80		? 1
		   : (c & 0xe0) == 0xc0 ? 2
		   : (c & 0xf0) == 0xe0 ? 3
		   : (c & 0xf8) == 0xf0 ? 4
					: 1;
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 1;
	return n;
}

size_t cli_columns(const char *utf8)
{
	size_t n = 0;
	for (const char *s = utf8; *s; s += sequence(s))
		n++;
	return n;
}

/* Text from agents and other people may hold terminal commands: control characters (C1 too) are shown as '?'.
 */
static bool is_control(const char *s, size_t n)
{
	unsigned char c = (unsigned char)s[0];
	if (n == 1)
		return c < 0x20 || c >= 0x7f;
	return n == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0;
}

void cli_put_cut(struct buf *out, const char *text, size_t columns)
{
	for (const char *s = text; *s && columns > 0; columns--) {
		size_t n = sequence(s);
		if (is_control(s, n))
			buf_put(out, "?", 1);
		else
			buf_put(out, s, n);
		s += n;
	}
}

void cli_put_fit(struct buf *out, const char *text, size_t columns, bool utf8)
{
	size_t end = utf8 ? 1 : 3;
	if (cli_columns(text) <= columns || columns <= end) {
		cli_put_cut(out, text, columns);
		return;
	}
	cli_put_cut(out, text, columns - end);
	buf_puts(out, utf8 ? "…" : "...");
}

void cli_put_pad(struct buf *out, const char *text, size_t columns)
{
	size_t n = cli_columns(text);
	cli_put_cut(out, text, columns);
	for (; n < columns; n++)
		buf_put(out, " ", 1);
}

/* ---- tables ---- */

void cli_table_row(struct cli_table *t, const char *const *cells)
{
	if ((t->rows + 1) * t->columns > t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 32 * t->columns;
		const char **more = arena_array(t->arena, const char *, cap);
		if (t->rows)
			memcpy(more, t->cells, t->rows * t->columns * sizeof *more);
		t->cells = more;
		t->cap = cap;
	}
	for (size_t i = 0; i < t->columns; i++)
		t->cells[t->rows * t->columns + i] = arena_strdup(t->arena, cells[i] ? cells[i] : "");
	t->rows++;
}

static size_t column_width(const struct cli_table *t, size_t col)
{
	size_t w = cli_columns(t->head[col]);
	for (size_t r = 0; r < t->rows; r++) {
		size_t n = cli_columns(t->cells[r * t->columns + col]);
		w = n > w ? n : w;
	}
	return w;
}

static void put_line(const struct cli_table *t, struct buf *out, const char *const *cells,
		     const size_t *widths, unsigned width)
{
	size_t left = width;
	for (size_t i = 0; i < t->columns && left > 0; i++) {
		size_t w = widths[i] < left ? widths[i] : left;
		if (i + 1 == t->columns)
			cli_put_cut(out, cells[i], left);
		else
			cli_put_pad(out, cells[i], w);
		left -= w;
		for (int gap = 0; gap < 2 && left > 0 && i + 1 < t->columns; gap++, left--)
			buf_put(out, " ", 1);
	}
	while (out->len && out->data[out->len - 1] == ' ')
		out->len--;
	buf_put(out, "\n", 1);
}

void cli_table_print(const struct cli_table *t, struct buf *out, unsigned width)
{
	size_t widths[16];
	PRE(t->columns <= ARRAY_LEN(widths));
	for (size_t i = 0; i < t->columns; i++)
		widths[i] = column_width(t, i);
	put_line(t, out, t->head, widths, width);
	for (size_t r = 0; r < t->rows; r++)
		put_line(t, out, t->cells + r * t->columns, widths, width);
}
