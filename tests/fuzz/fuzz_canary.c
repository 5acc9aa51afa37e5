/* A planted overflow behind a magic word: proves that the fuzzing set-up finds what it should
 * (tests/lib/fuzz.sh). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (n < 8 || memcmp(p, "WAVE", 4) != 0 || p[4] != p[5])
		return 0;
	volatile uint8_t *m = malloc(n - 6);
	for (size_t i = 0; i < n - 5; i++)
		m[i] = p[i];
	free((void *)m);
	return 0;
}
