#include "base/notation.h"

#include <stdio.h>
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
size_t notation_digits(const char *s, int64_t *v)
{
	size_t n = strspn(s, "0123456789");
	if (!n || n > 15)
		return 0;
	*v = 0;
	for (size_t i = 0; i < n; i++)
		*v = *v * 10 + (s[i] - '0');
	return n;
}

bool notation_duration(const char *s, int64_t *ms)
{
	int64_t sum = 0, v;
	size_t unit = 0, n;
	if (!strcmp(s, "0")) {
		*ms = 0;
		return true;
	}
	do {
		if (!(n = notation_digits(s, &v)))
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

bool notation_size(const char *s, uint64_t *bytes)
{
	int64_t v;
	size_t n = notation_digits(s, &v);
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

const char *notation_duration_text(int64_t ms, char out[NOTATION_CAP])
{
	size_t at = 0;
	out[0] = 0;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		int64_t v = ms / times[i].factor;
		if (v)
			at += (size_t)snprintf(out + at, NOTATION_CAP - at, "%lld%s", (long long)v,
					       times[i].name);
		ms %= times[i].factor;
	}
	return at ? out : strcpy(out, "0s");
}

const char *notation_size_text(uint64_t bytes, char out[NOTATION_CAP])
{
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		if (bytes % (uint64_t)sizes[i].factor == 0 && bytes) {
			snprintf(out, NOTATION_CAP, "%llu%s",
				 (unsigned long long)(bytes / (uint64_t)sizes[i].factor), sizes[i].name);
			return out;
		}
	return strcpy(out, "0B");
}
