#include "coordinator/spec/scalar.h"

#include "base/notation.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool scalar_percent(const char *s, permille *p)
{
	int64_t v, tenth = 0;
	size_t n = notation_digits(s, &v);
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
	size_t n = notation_digits(s, v);
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
	size_t n = notation_digits(s, &lo);
	if (!n)
		return false;
	hi = lo;
	if (s[n] == '-') {
		s += n + 1;
		n = notation_digits(s, &hi);
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
	const char *colon = strrchr(s, ':');
	int64_t port;
	if (!colon || colon == s || strpbrk(s, " \t\n/"))
		return false;
	bool v6 = *s == '[' && colon[-1] == ']' && colon - s > 2;
	if (!v6 && (strpbrk(s, "[]") || memchr(s, ':', (size_t)(colon - s))))
		return false;
	size_t n = notation_digits(colon + 1, &port);
	return n && !colon[1 + n] && port >= 1 && port <= 65535;
}

enum { HOST_CAP = 64 };

/* HOST of HOST:PORT, [IPV6]:PORT or HOST alone, into `host`; gives its length, 0 when there is none that
 * fits. */
static size_t host_of(const char *s, char host[HOST_CAP])
{
	size_t n = strcspn(s, *s == '[' ? "]" : ":");
	n += *s == '[' && s[n];
	if (n >= HOST_CAP)
		return 0;
	snprintf(host, HOST_CAP, "%.*s", (int)n, s);
	return n;
}

static bool in_numbers(char *host)
{
	struct in6_addr any;
	size_t n = strlen(host);
	if (host[0] != '[')
		return inet_pton(AF_INET, host, &any) == 1;
	host[n - 1] = '\0';
	return inet_pton(AF_INET6, host + 1, &any) == 1;
}

bool scalar_listen(const char *s)
{
	char host[HOST_CAP];
	if (strstr(s, "{{"))
		return true;
	return strlen(s) < SCALAR_LISTEN_CAP && scalar_address(s) && host_of(s, host) && in_numbers(host);
}

bool scalar_loopback(const char *s)
{
	char host[HOST_CAP];
	struct in_addr v4;
	size_t n = host_of(s, host);
	if (n && strstr(host, "{{"))
		return true;
	if (!n || (s[n] && !scalar_address(s)))
		return false;
	return !strcmp(host, "localhost") || !strcmp(host, "[::1]") ||
	       (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

bool scalar_env_name(const char *s)
{
	static const char rest[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
	return *s && strlen(s) < 256 && !(*s >= '0' && *s <= '9') && !s[strspn(s, rest)];
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
