/*
 * looptime.h: how long the turns of a loop take, apart from waiting. A turn that is too long is logged with
 * what ran in it. The owner says what ran (looptime_ran); the rest of the turn is "other". Loop thread only.
 */
#ifndef SYS_LOOPTIME_H
#define SYS_LOOPTIME_H

#include <uv.h>

#include "base/base.h"

enum { LOOPTIME_PARTS_MAX = 8 };

struct looptime {
	uv_prepare_t prepare;
	uint64_t limit_ms;
	uint64_t since_ns, idle_ns; /* of the turn under way: when it began, what was waited before it */
	struct {
		const char *name;
		uint64_t ns;
	} parts[LOOPTIME_PARTS_MAX];
	uint64_t turns_over, longest_ms; /* since the start */
};

/* Before the loop runs for the first time. The handle does not keep the loop alive. */
void looptime_start(struct looptime *t, uv_loop_t *loop, uint64_t limit_ms);
/* `name` (a literal) ran from `since_ns` (uv_hrtime) until now. At most LOOPTIME_PARTS_MAX names. */
void looptime_ran(struct looptime *t, const char *name, uint64_t since_ns);
void looptime_stop(struct looptime *t); /* closes the handle; `t` lives until the loop has let go of it */

#endif
