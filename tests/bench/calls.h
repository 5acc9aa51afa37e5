/*
 * calls.h: many requests to a coordinator's admin socket, a number of them in flight at any time. A
 * connection carries one request (coordinator/admin/admin.h), so "in flight" is connections.
 */
#ifndef BENCH_CALLS_H
#define BENCH_CALLS_H

#include "base/arena.h"
#include "proto/admin.pb-c.h"
#include "tests/bench/stat.h"

struct calls {
	const char *path; /* of the socket */
	size_t in_flight;
	uint64_t most;	  /* requests to make; 0: no such limit */
	int64_t until_ns; /* begin none after this; 0: no such limit */
	/* Fill verb and arguments of request number `nr`; what they point to may live in `a` until the call
	 * returns. */
	void (*ask)(void *arg, uint64_t nr, struct arena *a, Admin__Request *rq);
	/* Each frame of the answer but the last. May be NULL. */
	void (*reply)(void *arg, uint64_t nr, const Admin__Reply *r);
	void *arg;
	/* results */
	uint64_t done;
	uint64_t connects_retried; /* the socket's backlog was full */
	struct stat_list latency;  /* from the first try to connect to the answer's last frame */
};

/* Returns when all are answered. Anything but success of a request ends the program. */
void calls_run(struct calls *c);

#endif
