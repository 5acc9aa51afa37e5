#include "agent/steps/tail_text.h"

#include <string.h>

#include "base/base.h"

/* Length of the character at s if it is one (RFC 3629: shortest form, no surrogates), else 0. */
static size_t character(const unsigned char *s, size_t left)
{
	static const struct {
		unsigned char low, high, second_low, second_high;
		size_t n;
	} forms[] = {{0x00, 0x7f, 0, 0, 1},	  {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
		     {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		     {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
	size_t i = 0;
	while (i < ARRAY_LEN(forms) && (s[0] < forms[i].low || s[0] > forms[i].high))
		i++;
	if (i == ARRAY_LEN(forms) || left < forms[i].n)
		return 0;
	if (forms[i].n > 1 && (s[1] < forms[i].second_low || s[1] > forms[i].second_high))
		return 0;
	for (size_t k = 2; k < forms[i].n; k++)
		if ((s[k] & 0xc0) != 0x80)
			return 0;
	return forms[i].n;
}

/* C0, delete, and C1 in two bytes. */
static bool is_control(const unsigned char *s, size_t n)
{
	return n == 1 ? s[0] < 0x20 || s[0] == 0x7f : s[0] == 0xc2 && s[1] < 0xa0;
}

size_t tail_text_clean(char *out, size_t cap, const char *line, size_t len)
{
	const unsigned char *s = (const unsigned char *)line, *end = s + len;
	size_t at = 0;
	if (len > 0 && end[-1] == '\r')
		end--;
	while (s < end) {
		size_t n = character(s, (size_t)(end - s));
		bool keep = n > 0 && !is_control(s, n);
		size_t put = keep ? n : 1;
		if (at + put >= cap)
			break;
		if (keep)
			memcpy(out + at, s, n);
		else
			out[at] = n == 1 && s[0] == '\t' ? ' ' : '?';
		at += put;
		s += n > 0 ? n : 1;
	}
	out[at] = '\0';
	return at;
}
