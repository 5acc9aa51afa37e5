#include "coordinator/spec/scalar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS	 INT64_C(86400000)
#define TIME_MAX (3660 * DAY_MS)

struct unit {
	const char *name;
	int64_t factor;
};
/* Largest first: a duration names each at most once, in this order. */
static const struct unit times[] = {{"d", DAY_MS}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit sizes[] = {{"TiB", INT64_C(1) << 40},
				    {"GiB", INT64_C(1) << 30},
				    {"MiB", INT64_C(1) << 20},
				    {"KiB", INT64_C(1) << 10},
				    {"B", 1}};

/* At most 15 digits, so nothing here can overflow before its range is checked. */
static size_t digits(const char *s, int64_t *v)
{
	size_t n = strspn(s, "0123456789");
	if (!n || n > 15)
		return 0;
	*v = 0;
	for (size_t i = 0; i < n; i++)
		*v = *v * 10 + (s[i] - '0');
	return n;
}

bool scalar_duration(const char *s, int64_t *ms)
{
	int64_t sum = 0, v;
	size_t unit = 0, n;
	if (!strcmp(s, "0")) {
		*ms = 0;
		return true;
	}
	do {
		if (!(n = digits(s, &v)))
			return false;
		s += n;
		n = strspn(s, "dhms");
		while (unit < ARRAY_LEN(times) && (strncmp(times[unit].name, s, n) || times[unit].name[n]))
			unit++;
		if (!n || unit == ARRAY_LEN(times) || v > TIME_MAX / times[unit].factor)
			return false;
		sum += v * times[unit++].factor;
		s += n;
	} while (*s);
	if (sum > TIME_MAX)
		return false;
	*ms = sum;
	return true;
}

bool scalar_size(const char *s, uint64_t *bytes)
{
	int64_t v;
	size_t n = digits(s, &v);
	if (!n)
		return false;
	if (!strcmp(s, "0")) {
		*bytes = 0;
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		if (!strcmp(s + n, sizes[i].name) && v <= (INT64_C(1) << 50) / sizes[i].factor) {
			*bytes = (uint64_t)(v * sizes[i].factor);
			return true;
		}
	return false;
}

bool scalar_percent(const char *s, permille *p)
{
	int64_t v, tenth = 0;
	size_t n = digits(s, &v);
	if (!n)
		return false;
	s += n;
	if (*s == '.') {
		if (s[1] < '0' || s[1] > '9')
			return false;
		tenth = s[1] - '0';
		s += 2;
	}
	if (strcmp(s, "%") || v > 100 || v * 10 + tenth > 1000)
		return false;
	*p = (permille)(v * 10 + tenth);
	return true;
}

bool scalar_int(const char *s, int64_t *v)
{
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'o')) {
		const char *set = s[1] == 'x' ? "0123456789abcdefABCDEF" : "01234567";
		size_t n = strspn(s + 2, set);
		if (!n || n > 12 || s[2 + n])
			return false;
		*v = strtoll(s + 2, NULL, s[1] == 'x' ? 16 : 8);
		return true;
	}
	bool minus = *s == '-';
	s += minus || *s == '+';
	size_t n = digits(s, v);
	if (!n || s[n])
		return false;
	*v = minus ? -*v : *v;
	return true;
}

bool scalar_uint(const char *s, uint32_t *v)
{
	int64_t wide;
	if (!scalar_int(s, &wide) || wide < 0 || wide > UINT32_MAX)
		return false;
	*v = (uint32_t)wide;
	return true;
}

bool scalar_bool(const char *s, bool *v)
{
	*v = !strcmp(s, "true") || !strcmp(s, "True") || !strcmp(s, "TRUE");
	return *v || !strcmp(s, "false") || !strcmp(s, "False") || !strcmp(s, "FALSE");
}

bool scalar_range(const char *s, struct spec_range *r)
{
	int64_t lo, hi;
	size_t n = digits(s, &lo);
	if (!n)
		return false;
	hi = lo;
	if (s[n] == '-') {
		s += n + 1;
		n = digits(s, &hi);
	}
	if (!n || s[n] || lo < 100 || hi > 599 || lo > hi)
		return false;
	*r = (struct spec_range){(uint32_t)lo, (uint32_t)hi};
	return true;
}

bool scalar_address(const char *s)
{
	if (strstr(s, "{{"))
		return true;
	if (*s == '/')
		return s[1] && strlen(s) < 108 && !strpbrk(s, " \t\n"); /* sun_path */
	const char *colon = strrchr(s, ':');
	int64_t port;
	if (!colon || colon == s || strpbrk(s, " \t\n/"))
		return false;
	bool v6 = *s == '[' && colon[-1] == ']' && colon - s > 2;
	if (!v6 && (strpbrk(s, "[]") || memchr(s, ':', (size_t)(colon - s))))
		return false;
	size_t n = digits(colon + 1, &port);
	return n && !colon[1 + n] && port >= 1 && port <= 65535;
}

bool scalar_env_name(const char *s)
{
	static const char rest[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
	return *s && strlen(s) < 256 && !(*s >= '0' && *s <= '9') && !s[strspn(s, rest)];
}

const char *scalar_duration_text(int64_t ms, char out[SCALAR_CAP])
{
	size_t at = 0;
	out[0] = 0;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		int64_t v = ms / times[i].factor;
		if (v)
			at += (size_t)snprintf(out + at, SCALAR_CAP - at, "%lld%s", (long long)v,
					       times[i].name);
		ms %= times[i].factor;
	}
	return at ? out : strcpy(out, "0s");
}

const char *scalar_size_text(uint64_t bytes, char out[SCALAR_CAP])
{
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		if (bytes % (uint64_t)sizes[i].factor == 0 && bytes) {
			snprintf(out, SCALAR_CAP, "%llu%s",
				 (unsigned long long)(bytes / (uint64_t)sizes[i].factor), sizes[i].name);
			return out;
		}
	return strcpy(out, "0B");
}

const char *scalar_percent_text(permille p, char out[SCALAR_CAP])
{
	if (p % 10)
		snprintf(out, SCALAR_CAP, "%u.%u%%", p / 10, p % 10);
	else
		snprintf(out, SCALAR_CAP, "%u%%", p / 10);
	return out;
}

const char *scalar_range_text(struct spec_range r, char out[SCALAR_CAP])
{
	snprintf(out, SCALAR_CAP, r.lo == r.hi ? "%u" : "%u-%u", r.lo, r.hi);
	return out;
}
