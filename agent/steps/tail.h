/*
 * tail.h: follows the output of one program, as exec writes it into output.log, across the rotation to
 * output.log.1 and across restarts of the agent. Loop thread only.
 *
 * Sleeps until the folder changes (inotify), then reads at most twice a second; with nothing to read it never
 * wakes. Where the folder cannot be watched it looks once a second instead.
 *
 * What was given to the callback is remembered on disk some seconds later, and at tail_close: an orderly
 * restart neither loses nor repeats a line, a killed agent repeats those of the last five seconds. Lines that
 * were rotated away twice before they were read are lost and count as one dropped.
 */
#ifndef STEPS_TAIL_H
#define STEPS_TAIL_H

#include <uv.h>

#include "agent/steps/tail_batch.h"
#include "base/err.h"
#include "base/ids.h"

struct tail;

struct tail_config {
	const char *path;	/* of output.log; the file may not be there yet, its folder must be */
	const char *cursor_dir; /* must exist; holds a file "tail-APP" */
	struct name app;
	uint32_t lines_per_second; /* 0 = 100; as many may come at once after a second of silence */
};

/* The batch lives until it returns. It may not call tail_close. */
typedef void (*tail_cb)(void *ctx, const struct name *app, const struct tail_batch *b);

/* What stands in the file from before is given too, once. Texts of the config are copied. */
must_check int tail_open(struct tail **out, uv_loop_t *loop, const struct tail_config *c, tail_cb cb,
			 void *ctx, struct err *e);
/* Reads what is there, calling back for the last time, and remembers it. Memory is freed by the loop's next
 * turn. NULL-safe. */
void tail_close(struct tail *t);

#endif
