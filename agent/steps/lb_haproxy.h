/*
 * lb_haproxy.h: the balancer port for HAProxy's runtime socket, and the pure readers of its answers. The
 * strings of the target are copied. A socket that is dead, hangs or talks nonsense is an error within
 * timeout_ms.
 */
#ifndef AGENT_STEPS_LB_HAPROXY_H
#define AGENT_STEPS_LB_HAPROXY_H

#include "agent/steps/balancer.h"
#include "base/buf.h"

extern const struct balancer lb_haproxy;

bool lb_haproxy_name_ok(const char *s);

/* Pure readers. `text` is one whole answer. E_PROTOCOL when it is not what HAProxy writes. */

struct lb_view {
	bool found;	   /* the server is in the backend */
	bool up;	   /* it takes traffic now */
	uint32_t sessions; /* it has in flight */
	uint32_t others_up;
};
must_check int lb_haproxy_view(const char *text, const char *backend, const char *server, struct lb_view *out,
			       struct err *e);

struct lb_admin {
	int op, admin; /* srv_op_state (2: up), srv_admin_state (bit 1: maint) */
};
must_check int lb_haproxy_admin(const char *text, const char *backend, const char *server,
				struct lb_admin *out, struct err *e);

/* "backend server op admin" of each row of `show servers state`, one a line, in `out`. */
must_check int lb_haproxy_states(const char *text, struct buf *out, struct err *e);

/*
 * What a reload reads back (server-state-file): `text` from its version line on, whole or not at all;
 * blocking. Exec does this as root: the folder is not reached through a link, and neither a link nor anything
 * else that stands in the place of the file, or of the new one beside it, is followed.
 */
must_check int lb_haproxy_write_state(const char *path, const char *text, struct err *e);

/* E_CONFLICT with HAProxy's own words when a line is "[0]:" .. "[3]:" (an error). */
must_check int lb_haproxy_refusal(const char *text, struct err *e);

#endif
