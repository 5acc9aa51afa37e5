/* tail_batch.h: lines of a program's output on their way, as tail.h cuts them and wire.h packs them. */
#ifndef STEPS_TAIL_BATCH_H
#define STEPS_TAIL_BATCH_H

#include <stddef.h>
#include <stdint.h>

enum { TAIL_LINE_MAX = 1024, TAIL_BATCH_MAX = 32 * 1024 };

struct tail_batch {
	const char *stream;
	const char *const *lines; /* UTF-8 without control characters, at most TAIL_LINE_MAX bytes each */
	size_t nr;		  /* may be 0 when lines were dropped */
	uint64_t dropped;	  /* lines before these that were more than the rate allows */
};

#endif
