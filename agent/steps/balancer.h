/*
 * balancer.h: the port through which a server is taken out of its load balancer and put back. Loop thread
 * only.
 */
#ifndef AGENT_STEPS_BALANCER_H
#define AGENT_STEPS_BALANCER_H

#include "base/err.h"

#include <uv.h>

struct lb_target {
	const char *socket, *backend, *server;
	const char *state_file; /* "": none is written */
	uint32_t keep_up;	/* other servers that must be UP; at least 1 is always asked for */
	uint32_t timeout_ms;	/* for the whole of it */
};

/* Called once. On an error the server is left as the last accepted command left it; nothing is undone. */
typedef void (*balancer_cb)(void *ctx, int code, const struct err *e);

struct balancer {
	/*
	 * Done: nothing in flight, state maint. E_CONFLICT: too few others are UP, nothing was changed.
	 * E_TIMEOUT: it takes no new requests, but some are in flight still; E_UNAVAILABLE: the balancer does
	 * not answer, so nobody knows what goes on there.
	 */
	void (*drain)(uv_loop_t *loop, const struct lb_target *t, balancer_cb cb, void *ctx);
	void (*undrain)(uv_loop_t *loop, const struct lb_target *t, balancer_cb cb, void *ctx);
};

#endif
