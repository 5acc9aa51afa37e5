/*
 * ports.h: what drive needs from the world, as one small table. The daemon binds it to consensus, edge and
 * the clock; the simulator binds it to its own. drive itself has no clock, socket or file. One thread.
 */
#ifndef DRIVE_PORTS_H
#define DRIVE_PORTS_H

#include "coordinator/state/command.h"

/* `code` 0: committed and applied, `reply` says what the fold made of it. E_UNKNOWN_OUTCOME: ask the state,
 * not the log. */
typedef void drive_proposed_fn(void *arg, int code, const struct command_reply *reply);

/* A question of an agent that is answered once. Both numbers come from the edge. */
struct token {
	uint64_t session, request;
};

struct drive_ports {
	void *arg;
	/* Stamps time and actor "planner" or "agent:HOST" as given, and proposes. `c` is copied before it
	 * returns. */
	void (*propose)(void *arg, const struct command *c, drive_proposed_fn *done, void *done_arg);
	void (*answer)(void *arg, struct token t, const uint8_t *p, size_t n);
	void (*trust)(void *arg, uint64_t session); /* it said hello: larger frames are allowed from now on */
	void (*drop)(void *arg, uint64_t session, const char *why);
	uint64_t (*term)(void *arg);
	/* To all that subscribe: `topic` is "REGION/APP/". May be NULL. */
	void (*hint)(void *arg, const char *topic, const uint8_t *p, size_t n);
	/* Whoever is connected under this name is no host of the fleet any more, or not this one. May be
	 * NULL. */
	void (*revoke)(void *arg, const struct name *host);
};

#endif
