#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

void base_broken(const char *cond, const char *file, int line)
{
	fprintf(stderr, "BUG: invariant broken at %s:%d: %s\n", file, line, cond);
	abort();
}
