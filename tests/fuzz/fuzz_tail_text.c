/* What a program prints: cleaned text fits, is fit for a terminal, and cleaning it again changes nothing. */
#include <stdint.h>
#include <string.h>

#include "agent/steps/tail_text.h"
#include "base/base.h"

enum { CAP = 64 };

static bool has_control(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f ||
		    ((unsigned char)s[0] == 0xc2 && (unsigned char)s[1] < 0xa0))
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char once[CAP], twice[CAP];
	size_t n = tail_text_clean(once, sizeof once, (const char *)bytes, len);
	PRE(n < CAP && strlen(once) == n && !has_control(once));
	PRE(tail_text_clean(twice, sizeof twice, once, n) == n && memcmp(once, twice, n) == 0);
	return 0;
}
