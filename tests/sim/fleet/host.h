/*
 * host.h: one simulated host: the real agent core with a disk, a supervisor, a program, a balancer's view of
 * it and a link to the coordinator. What a crash of the agent loses, what a reboot loses and what a broken
 * disk loses is told apart:
 *
 *   durable            journal records that were fsynced, slots, spooled chunks
 *   lost by a reboot   the program (the supervisor starts nothing by itself; the agent does)
 *   lost by a crash    everything else of the agent
 */
#ifndef SIM_HOST_H
#define SIM_HOST_H

#include "agent/core/agent.h"
#include "coordinator/drive/ports.h"
#include "tests/sim/fleet/coordinator.h"
#include "tests/sim/fleet/world.h"

/* How a version behaves. Times are milliseconds after its start; 0 = never. */
struct version {
	struct name name;
	struct digest id, artifact, spec;
	bool crashes_at_start;
	int64_t unhealthy_after_ms;
	int64_t ready_after_ms;
	int64_t dies_after_ms; /* again and again: its supervisor gives up */
	bool never_ready;
};

struct versions {
	struct version v[64];
	size_t nr;
};
struct version *versions_get(struct versions *vs, const char *name); /* made if new: a good one */
const struct version *versions_by_id(const struct versions *vs, const struct digest *id);

enum { HOST_SLOTS = 16, HOST_CHUNKS = 4096, HOST_CANCELS = 64 };

struct host_chunk {
	uint8_t *p;
	size_t n;
};

struct sim_host {
	struct world *w;
	struct coordinator *c;
	struct versions *versions;
	struct name name, region, zone, app; /* zone may be empty */
	uint64_t generation;

	/* durable */
	struct agent_record record;
	bool has_record;
	struct digest slots[HOST_SLOTS]; /* newest last */
	size_t slots_nr;
	struct host_chunk chunks[HOST_CHUNKS]; /* chunk n at n % HOST_CHUNKS */
	uint64_t spooled, acked;

	/* the machine */
	bool powered;
	uint64_t boots;
	int64_t booted_at;
	struct digest running;	/* target of the program that runs; none = no program */
	struct digest last_run; /* of the one that ran last */
	struct agent_target running_target;
	uint64_t activation; /* of what runs */
	int64_t started_at;
	bool stale_probe;      /* its probes measure what ran before */
	bool was_healthy;      /* what runs, since its start */
	bool died;	       /* nothing runs, and nobody stopped it */
	bool gave_up;	       /* so often that its supervisor starts it no more */
	bool probe_fault;      /* set by a scenario: its probes fail from now on */
	bool stop_fault;       /* its program ends for nobody */
	struct digest damaged; /* target whose slot cannot be started any more */
	bool drain_fault;      /* its balancer takes it out of rotation for nobody */
	bool store_fault;      /* its line to the artifact store is down, and that alone */
	bool disk_fault;       /* there is no room for another archive */
	bool journal_fault;    /* its journal cannot be written */
	bool in_rotation;

	/* the agent */
	bool agent_up;
	struct agent agent;
	uint64_t life;	  /* counts crashes: events of an earlier life are void */
	int64_t fsync_ms; /* what a write of the journal takes */
	struct world_event *timer;
	int64_t synced_at;		/* when the newest journal write ends */
	uint64_t cancels[HOST_CANCELS]; /* effects given up, newest over oldest */
	size_t cancels_nr;

	/* the link */
	bool replays;		     /* somebody sends it old frames again */
	bool cut;		     /* nothing passes */
	size_t node;		     /* the coordinator it talks to, or dials next */
	uint64_t session;	     /* 0 = none */
	uint64_t requests, poll_id;  /* given out; of the newest poll */
	unsigned attempts, referred; /* in a row: without a session; to a leader */
	bool polling, reporting;
	struct world_event *poll_timeout, *report_timeout, *beat;
	uint64_t log_id;

	uint64_t starts; /* of new versions, for the checker */
};

void sim_host_init(struct sim_host *h, struct world *w, struct coordinator *c, struct versions *vs,
		   const char *name, const char *region, const char *app, uint64_t generation);
void sim_host_done(struct sim_host *h);
void sim_host_boot(struct sim_host *h);
void sim_host_power_off(struct sim_host *h);
void sim_host_kill_agent(struct sim_host *h);
void sim_host_start_agent(struct sim_host *h);
void sim_host_cut(struct sim_host *h, bool cut);
void sim_host_poke(struct sim_host *h); /* something about it changed: heartbeat soon */

/* From the coordinator. */
void sim_host_answer(struct sim_host *h, uint64_t session, const uint8_t *p, size_t n);
void sim_host_dropped(struct sim_host *h, uint64_t session); /* the session ended at the other side */

bool sim_host_serving(const struct sim_host *h); /* healthy and in rotation: users are served */
bool sim_host_healthy(const struct sim_host *h);
bool sim_host_has_slot(const struct sim_host *h, const struct digest *artifact);

#endif
