#include "coordinator/admin/commands_words.h"

#include <string.h>

enum { WORD_CAP = 80 };

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: Levenshtein's rows, and one row more for swapped neighbours. */
unsigned commands_words_distance(const char *a, const char *b, unsigned limit)
{
	unsigned rows[3][WORD_CAP + 1] = {{0}};
	size_t n = strlen(a), m = strlen(b);
	if (n > WORD_CAP || m > WORD_CAP || (n > m ? n - m : m - n) > limit)
		return limit + 1;

	for (unsigned j = 0; j <= m; j++)
		rows[0][j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
		row[0] = i;
		for (unsigned j = 1; j <= m; j++) {
			row[j] =
				least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], two_above[j - 2] + 1);
		}
	}
	return least(rows[n % 3][m], limit + 1);
}

bool commands_words_close(const char *typed, const char *known)
{
	unsigned limit = strlen(typed) > 4 ? 2 : 1;
	return commands_words_distance(typed, known, limit) <= limit;
}
