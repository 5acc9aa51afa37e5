/*
 * talk.h: the conversation with the coordinators (docs/protocol.md): Hello, polls, reports. Loop thread only.
 */
#ifndef AGENT_HOST_TALK_H
#define AGENT_HOST_TALK_H

#include "agent/bundle.h"
#include "agent/host/host.h"

struct talk;

struct talk_config {
	const struct bundle *bundle; /* these four must outlive it */
	const char *dir;	     /* the agent's own: what coordinators there are is kept in it */
	struct host *host;
	struct driver *driver;
	struct agent_boot_id boot;
	uint64_t seed;
	int64_t reconnect_max_ms; /* 0 = a minute; never more, because coordinators count on it after an
				     election */
};

must_check int talk_open(struct talk **out, uv_loop_t *loop, const struct talk_config *c,
			 struct err *e); /* dials at once */
void talk_reports(struct talk *t);	 /* there is something new in the spool */
void talk_changed(struct talk *t);	 /* host_look would say something else */
/* No callback of it comes after `closed`; memory is freed then. */
void talk_close(struct talk *t, void (*closed)(void *arg), void *arg);

#endif
