/*
 * curlloop.h: libcurl's transfers on a libuv loop. Loop thread only; `done` comes from the loop, never from
 * within curl, so it may do anything to curl and to the loop's transfers.
 */
#ifndef SYS_CURLLOOP_H
#define SYS_CURLLOOP_H

#include <curl/curl.h>
#include <uv.h>

#include "base/base.h"

struct curlloop;

/* One transfer under way; the caller's memory, valid until it is done or stopped. */
struct curlloop_transfer {
	void (*done)(void *ctx, CURLcode code); /* once; the easy handle may be started again from here */
	void *ctx;
	CURL *easy;
	bool under_way;
};

struct curlloop *curlloop_open(uv_loop_t *loop);
/* A handle as all our transfers want it: no signals, no proxy whatever the environment says, sockets that
 * children do not inherit, no wait for a name look-up that nobody needs any more. The caller's to clean up.
 */
CURL *curlloop_easy_new(void);
/* `easy` is started on the loop's next turn. */
void curlloop_start(struct curlloop *c, struct curlloop_transfer *t, CURL *easy);
void curlloop_stop(struct curlloop *c,
		   struct curlloop_transfer *t); /* no `done` after it; fine when not under way */
/* All transfers have been stopped or are done. The memory is freed by the loop's next turns. NULL-safe. */
void curlloop_close(struct curlloop *c);

#endif
