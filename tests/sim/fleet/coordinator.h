/*
 * coordinator.h: the simulated coordinator: the real fold, planner and drive over an in-memory store, behind
 * a log with a slow disk. What was acknowledged survives a crash; what was under way may or may not. One per
 * world.
 */
#ifndef SIM_COORDINATOR_H
#define SIM_COORDINATOR_H

#include "coordinator/drive/drive.h"
#include "tests/sim/fleet/world.h"

struct coordinator;

struct coordinator_hooks {
	void *arg;
	void (*answer)(void *arg, struct token t, const uint8_t *p,
		       size_t n); /* towards the agent of t.session */
	void (*drop)(void *arg, uint64_t session, const char *why);
	/* After each applied command, with the state already committed. */
	void (*applied)(void *arg, const struct command *c, const struct command_reply *r,
			const struct changes *ch);
};

struct coordinator *coordinator_new(struct world *w, const struct coordinator_hooks *hooks);
void coordinator_free(struct coordinator *c);

void coordinator_crash(
	struct coordinator *c); /* soft state and unacknowledged proposals are gone; sessions too */
void coordinator_restart(struct coordinator *c); /* after a crash: rebuilds from the log, leads again */
bool coordinator_up(const struct coordinator *c);
/* How long its disk needs for what it has been asked to write by now. */
int64_t coordinator_backlog_ms(const struct coordinator *c);
void coordinator_slow_disk(struct coordinator *c, int64_t fsync_ms);

/* An operator's command: proposed like any other. `done` may be NULL; it is not called if the coordinator
 * crashes first. */
void coordinator_propose(struct coordinator *c, const struct command *cmd, drive_proposed_fn *done,
			 void *arg);
/* Applied at once, for setting a world up. The reply's text lives until the next call. */
struct command_reply coordinator_now(struct coordinator *c, const struct command *cmd);

void coordinator_session_opened(struct coordinator *c, uint64_t session, const struct name *host,
				uint64_t generation);
void coordinator_session_closed(struct coordinator *c, uint64_t session);
void coordinator_request(struct coordinator *c, struct token t, const uint8_t *p, size_t n);

struct state *coordinator_state(struct coordinator *c);
struct drive *coordinator_drive(struct coordinator *c);
uint64_t coordinator_index(const struct coordinator *c);
int64_t coordinator_since(const struct coordinator *c); /* virtual time it began to lead */
uint64_t coordinator_term(const struct coordinator *c);

#endif
