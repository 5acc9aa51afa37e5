#include "base/pathrule.h"

#include <string.h>

/* Length of the UTF-8 sequence at s, 0 when it is none (Unicode 15, table 3-7). */
static size_t utf8_len(const unsigned char *s)
{
	static const struct {
		unsigned char lo, hi, second_lo, second_hi, more;
	} rows[] = {{0x00, 0x7f, 0, 0, 0},	 {0xc2, 0xdf, 0x80, 0xbf, 1}, {0xe0, 0xe0, 0xa0, 0xbf, 2},
		    {0xe1, 0xec, 0x80, 0xbf, 2}, {0xed, 0xed, 0x80, 0x9f, 2}, {0xee, 0xef, 0x80, 0xbf, 2},
		    {0xf0, 0xf0, 0x90, 0xbf, 3}, {0xf1, 0xf3, 0x80, 0xbf, 3}, {0xf4, 0xf4, 0x80, 0x8f, 3}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (s[0] < rows[i].lo || s[0] > rows[i].hi)
			continue;
		if (rows[i].more > 0 && (s[1] < rows[i].second_lo || s[1] > rows[i].second_hi))
			return 0;
		for (unsigned k = 2; k <= rows[i].more; k++)
			if (s[k] < 0x80 || s[k] > 0xbf)
				return 0;
		return rows[i].more + 1u;
	}
	return 0;
}

static const char *refuses_bytes(const char *path)
{
	for (const unsigned char *s = (const unsigned char *)path; *s != '\0';) {
		size_t n = utf8_len(s);
		if (n == 0)
			return "is not UTF-8";
		if (*s < 0x20 || *s == 0x7f || *s == '\\')
			return "holds a control character or a backslash";
		s += n;
	}
	return NULL;
}

static bool part_is(const char *s, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(s, word, n) == 0;
}

const char *pathrule_refuses(const char *path)
{
	size_t len = strnlen(path, PATHRULE_BYTES_MAX + 1), parts = 0;
	if (len == 0 || len > PATHRULE_BYTES_MAX)
		return len == 0 ? "is empty" : "is longer than 1024 bytes";
	if (path[0] == '/')
		return "is absolute";
	for (const char *s = path; *s != '\0'; parts++) {
		size_t n = strcspn(s, "/");
		if (n == 0)
			return "has an empty part";
		if (part_is(s, n, "..") || part_is(s, n, "."))
			return "has a part that is `.` or `..`";
		s += n + (s[n] == '/');
	}
	return parts > PATHRULE_PARTS_MAX ? "is deeper than 64 parts" : refuses_bytes(path);
}

/* Where the link's own directory lies: how many levels may be climbed. */
static int depth_of(const char *path)
{
	int depth = 0;
	for (const char *s = path; *s != '\0'; s++)
		depth += *s == '/' && s[1] != '\0';
	return depth;
}

const char *pathrule_refuses_link(const char *path, const char *target)
{
	size_t len = strnlen(target, PATHRULE_BYTES_MAX + 1);
	int depth = depth_of(path);
	if (len == 0 || len > PATHRULE_BYTES_MAX)
		return "links to an empty or over-long name";
	if (target[0] == '/')
		return "links to an absolute name";
	for (const char *s = target; *s != '\0';) {
		size_t n = strcspn(s, "/");
		if (part_is(s, n, ".."))
			depth--;
		else if (n > 0 && !part_is(s, n, "."))
			depth++;
		if (depth < 0)
			return "links to outside of the archive";
		s += n + (s[n] == '/');
	}
	return refuses_bytes(target);
}

const char *pathrule_fold(const char *path, char out[PATHRULE_BYTES_MAX + 1])
{
	size_t n = strnlen(path, PATHRULE_BYTES_MAX);
	while (n > 0 && path[n - 1] == '/') /* `a` and `a/` are one */
		n--;
	for (size_t i = 0; i < n; i++)
		out[i] = path[i] >= 'A' && path[i] <= 'Z' ? (char)(path[i] + 32) : path[i];
	out[n] = '\0';
	return out;
}
