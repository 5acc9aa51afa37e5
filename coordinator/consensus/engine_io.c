/*
 * engine_io.c: does libraft's I/O know of a disk error? It keeps that to itself: when it cannot close a file
 * of the log (ftruncate, fsync, rename) it goes on acknowledging, and the next start finds a gap and refuses
 * the log. Its flag for that is private, so its place is proven at each start by the pointers that lie before
 * it; another build of the library is refused rather than trusted.
 */
#include <string.h>

#include "coordinator/consensus/internal.h"

enum { DIR_LEN = 894 }; /* 1024 - strlen("/") - 128 for a file's name - 1 */

/* The head of `struct uv` in src/uv.h of libraft 0.15.0. */
struct engine_io {
	struct raft_io *io;
	struct uv_loop_s *loop;
	char dir[DIR_LEN];
	struct raft_uv_transport *transport;
	struct raft_tracer *tracer;
	raft_id id;
	int state;
	bool snapshot_compression, errored;
};

int engine_io_check(const struct consensus *c, const char *log_dir, struct err *e)
{
	const struct engine_io *head = c->io.impl;
	if (head->io == &c->io && head->loop == c->loop && head->transport == &c->transport &&
	    strncmp(head->dir, log_dir, DIR_LEN) == 0 && !head->snapshot_compression && !head->errored)
		return E_OK;
	return err_set(
		e, E_UNSUPPORTED,
		"this libraft is not the one whose disk errors are seen here; install libraft2 0.15.0");
}

bool engine_io_failed(const struct consensus *c)
{
	const struct engine_io *head = c->io.impl;
	return head->errored;
}
