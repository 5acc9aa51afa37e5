/*
 * engine_io.c: what libraft's I/O does not say, or says too soon.
 *
 * Does it know of a disk error? It keeps that to itself: when it cannot close a file
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

/* ---- closing ---- */

static void late_closed(uv_handle_t *h)
{
	struct consensus *c = h->data;
	c->io_closed(&c->io);
}

static void late_cb(uv_timer_t *t)
{
	uv_close((uv_handle_t *)t, late_closed);
}

/*
 * It counts the file that it still writes as gone once that is on disk. On a quick disk this comes before the
 * handles of its writer have closed, which then say "closed" a second time, from memory that was freed at the
 * first. They close in this turn of the loop: what follows waits for the next.
 */
static void said_closed(struct raft_io *io)
{
	struct consensus *c = container_of(io, struct consensus, io);
	if (!uv_is_active((uv_handle_t *)&c->late) && !uv_is_closing((uv_handle_t *)&c->late))
		uv_timer_start(&c->late, late_cb, 0, 0);
}

static void close_late(struct raft_io *io, raft_io_close_cb closed)
{
	struct consensus *c = container_of(io, struct consensus, io);
	c->io_closed = closed;
	uv_timer_init(c->loop, &c->late);
	c->late.data = c;
	c->io_close(io, said_closed);
}

void engine_io_closes_late(struct consensus *c)
{
	c->io_close = c->io.close;
	c->io.close = close_late;
}
