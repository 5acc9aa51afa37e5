/*
 * driver.h: the step machine with its journal, its spool and its clock. What touches program and network is
 * behind two ports, so it runs in tests as it runs on a host. Loop thread only; journal and spool are written
 * on it, a few KiB each.
 */
#ifndef AGENT_DRIVER_H
#define AGENT_DRIVER_H

#include <uv.h>

#include "agent/wire.h"

struct driver;

/*
 * How the process ends when what it reports cannot be made durable any more. The next run says again what the
 * journal knows; the service manager starts it for that.
 */
enum { DRIVER_EXIT_RESTART = 75 };

/* Neither port may call the driver back before it returned. */
struct driver_ports {
	void *arg;
	void (*start)(void *arg,
		      const struct agent_effect *effect); /* ends with one driver_done, unless cancelled */
	void (*cancel)(void *arg, uint64_t effect);
	void (*changed)(
		void *arg); /* there are new reports to send, or a state to tell: poll again. May be NULL */
};

/*
 * `dir` must exist; journal/, spool/ and targets/ are made in it. Feeds AGENT_BOOT: effects may start from
 * within, so the ports must be ready. Damaged records are logged and wait for driver_status.
 */
must_check int driver_open(struct driver **out, uv_loop_t *loop, const char *dir, struct agent_boot_id boot,
			   const struct driver_ports *ports, struct err *e);
/* No port is called after this. Memory is freed by the loop's next turn. NULL-safe. Programs are left alone.
 */
void driver_close(struct driver *d);

/* E_PROTOCOL: a rendered file has not the digest its target names; nothing was obeyed. E_IO, E_NO_SPACE: not
 * kept, ask again. */
must_check int driver_desired(struct driver *d, const struct wire_desired *w, struct err *e);
/* An effect ended. `ev.done` is taken; kind and time are set here. */
void driver_done(struct driver *d, struct agent_event ev);
void driver_status(struct driver *d, struct agent_event ev); /* likewise with `ev.status` */
void driver_link(struct driver *d, bool up);

/* Lines of an app's output, told of the work the app has now. They wait in the spool like reports, and are
 * dropped and counted there when it is full. */
void driver_log(struct driver *d, const struct name *app, const struct tail_batch *b);

/* A packed Report with what waits above `after` and fits in `most` bytes, at least one chunk. Returns the
 * last number in it, 0 when nothing waits. */
uint64_t driver_report(struct driver *d, uint64_t after, size_t most, struct buf *out);
must_check int driver_acked(struct driver *d, uint64_t chunk, struct err *e);
void driver_spool_id(const struct driver *d, uint64_t *hi, uint64_t *lo); /* for Hello */
uint64_t driver_acked_chunk(const struct driver *d); /* where `after` of driver_report begins in a new run */

uint64_t driver_after_seq(const struct driver *d);
const struct agent *driver_agent(const struct driver *d);
/* The rendered file of a target that was assigned once, at the end of `out`. E_NOT_FOUND; E_CORRUPT when it
 * is not the one that was assigned: it comes with the next assignment again. */
must_check int driver_text(const struct driver *d, const struct agent_target *t, struct buf *out,
			   struct err *e);
/* Removes the rendered files that no record names any more. What cannot be removed is logged and stays. */
void driver_forget(struct driver *d);
/* The labels of this host as they came with the app's newest assignment: "key\0value\0..." at the end of
 * `out`. E_NOT_FOUND, E_CORRUPT. */
must_check int driver_labels(const struct driver *d, const struct name *app, struct buf *out, struct err *e);

#endif
