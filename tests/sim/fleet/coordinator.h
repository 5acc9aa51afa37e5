/*
 * coordinator.h: the simulated cluster: the real fold over an in-memory store, behind a log with a slow disk.
 * What was acknowledged survives a crash; what was under way may or may not. One per world. It has one
 * coordinator or several ("nodes", from 0; people read them from 1), each with the real drive and planner, of
 * which at most one leads. Log and state are those of all: how they come to every node is the matter of the
 * raft simulator.
 */
#ifndef SIM_COORDINATOR_H
#define SIM_COORDINATOR_H

#include "coordinator/drive/drive.h"
#include "tests/sim/fleet/world.h"

enum { COORDINATORS_MAX = 5 };

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

void coordinator_grow(struct coordinator *c, size_t nodes); /* to so many, before there are hosts */
size_t coordinator_nodes(const struct coordinator *c);
/* Nobody leads from now on; nothing happens when nobody does. */
void coordinator_step_down(struct coordinator *c);
/* This node leads from now on, if it is up; whoever leads steps down. */
void coordinator_lead(struct coordinator *c, size_t node);
/* One node alone: its soft state and sessions are gone. */
void coordinator_node_crash(struct coordinator *c, size_t node);
void coordinator_node_restart(struct coordinator *c, size_t node);
bool coordinator_node_up(const struct coordinator *c, size_t node);
bool coordinator_led(const struct coordinator *c); /* up, and one leads: operators can do something */
/* How long its disk needs for what it has been asked to write by now. */
int64_t coordinator_backlog_ms(const struct coordinator *c);
void coordinator_slow_disk(struct coordinator *c, int64_t fsync_ms);

/* An operator's command: proposed like any other. `done` may be NULL; it is not called if the coordinator
 * crashes first. */
void coordinator_propose(struct coordinator *c, const struct command *cmd, drive_proposed_fn *done,
			 void *arg);
/* Applied at once, for setting a world up. The reply's text lives until the next call. */
struct command_reply coordinator_now(struct coordinator *c, const struct command *cmd);

void coordinator_session_opened(struct coordinator *c, size_t node, uint64_t session, const struct name *host,
				uint64_t generation);
void coordinator_session_closed(struct coordinator *c, size_t node, uint64_t session);
void coordinator_request(struct coordinator *c, size_t node, struct token t, const uint8_t *p, size_t n);

struct state *coordinator_state(struct coordinator *c);
struct drive *coordinator_drive(struct coordinator *c); /* of who leads, else of the first */
uint64_t coordinator_index(const struct coordinator *c);
int64_t coordinator_since(
	const struct coordinator *c); /* virtual time at which who leads began to; now when nobody does */
uint64_t coordinator_term(const struct coordinator *c);

#endif
