#include "base/ids.h"

#include <stdio.h>
#include <string.h>

static bool lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool text_ok(const char *s, bool version)
{
	size_t n = strnlen(s, NAME_MAX_LEN + 1);
	if (n == 0 || n > NAME_MAX_LEN)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		bool upper = version && c >= 'A' && c <= 'Z';
		bool punct = c == '.' || c == '_' || c == '-' || (version && c == '+');
		if (!lower_or_digit(c) && !upper && !(punct && i > 0))
			return false;
	}
	return true;
}

bool name_ok(const char *s)
{
	return text_ok(s, false);
}

bool version_ok(const char *s)
{
	return text_ok(s, true);
}

static bool set_if(struct name *out, const char *s, bool ok)
{
	*out = (struct name){0};
	if (ok)
		memcpy(out->s, s, strlen(s) + 1);
	return ok;
}

bool name_set(struct name *out, const char *s)
{
	return set_if(out, s, name_ok(s));
}

bool name_set_version(struct name *out, const char *s)
{
	return set_if(out, s, version_ok(s));
}

int name_cmp(const struct name *a, const struct name *b)
{
	return strcmp(a->s, b->s);
}

bool name_eq(const struct name *a, const struct name *b)
{
	return name_cmp(a, b) == 0;
}

bool name_empty(const struct name *n)
{
	return n->s[0] == '\0';
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, DIGEST_LEN) == 0;
}

bool digest_none(const struct digest *d)
{
	return digest_eq(d, &(struct digest){0});
}

static const char hex_digits[] = "0123456789abcdef";

static int hex_value(char c)
{
	const char *p = c == '\0' ? NULL : strchr(hex_digits, c);
	return p == NULL ? -1 : (int)(p - hex_digits);
}

const char *digest_hex(const struct digest *d, char out[DIGEST_HEX_CAP])
{
	for (int i = 0; i < DIGEST_LEN; i++) {
		out[2 * i] = hex_digits[d->b[i] >> 4];
		out[2 * i + 1] = hex_digits[d->b[i] & 15];
	}
	out[2 * DIGEST_LEN] = '\0';
	return out;
}

bool digest_parse(struct digest *out, const char *hex)
{
	struct digest d;
	if (strnlen(hex, DIGEST_HEX_CAP) != 2 * DIGEST_LEN)
		return false;
	for (int i = 0; i < DIGEST_LEN; i++) {
		int hi = hex_value(hex[2 * i]), lo = hex_value(hex[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		d.b[i] = (uint8_t)(hi << 4 | lo);
	}
	*out = d;
	return true;
}

const char *deployment_id_text(struct deployment_id id, char out[DEPLOYMENT_ID_CAP])
{
	snprintf(out, DEPLOYMENT_ID_CAP, "r-%016llx", (unsigned long long)id.v);
	return out;
}

bool deployment_id_parse(struct deployment_id *out, const char *s)
{
	uint64_t v = 0;
	if (strnlen(s, DEPLOYMENT_ID_CAP) != DEPLOYMENT_ID_CAP - 1 || s[0] != 'r' || s[1] != '-')
		return false;
	for (int i = 2; i < DEPLOYMENT_ID_CAP - 1; i++) {
		int d = hex_value(s[i]);
		if (d < 0)
			return false;
		v = v << 4 | (uint64_t)d;
	}
	out->v = v;
	return true;
}

static int cmp_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

int fence_cmp(const struct fence *a, const struct fence *b)
{
	int c = cmp_u64(a->generation, b->generation);
	if (c == 0)
		c = cmp_u64(a->term, b->term);
	return c != 0 ? c : cmp_u64(a->epoch, b->epoch);
}

const char *trace_id_text(struct trace_id t, char out[TRACE_ID_CAP])
{
	snprintf(out, TRACE_ID_CAP, "%016llx%016llx", (unsigned long long)t.hi, (unsigned long long)t.lo);
	return out;
}
