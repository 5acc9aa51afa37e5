/*
 * fleet.h: what the hosts say of themselves now. Soft state: nothing here is committed, everything is rebuilt
 * by one poll of each agent. Owned by drive; one thread.
 */
#ifndef DRIVE_FLEET_H
#define DRIVE_FLEET_H

#include <uthash.h>

#include "base/ids.h"
#include "coordinator/drive/ports.h"
#include "coordinator/plan/plan.h"
#include "proto/agent.pb-c.h"

enum { FLEET_APPS_MAX = 64 }; /* of one host; an agent has room for 16 */

struct fleet_app {
	struct name name;
	struct digest running; /* target id; none = nothing runs */
	uint32_t health;       /* Wavetrain__Agent__Health */
	bool in_rotation;
	struct wall_ms healthy_since; /* 0 = not healthy */
	uint64_t well_hi, well_lo;    /* the boot of its host in which it was last healthy; 0 = not heard */
	struct wall_ms missing_since; /* not healthy in rotation since; 0 = it is */
	struct wall_ms step_since;
	enum task_state step; /* 0 = none */
	uint64_t seq, restarts;
	int64_t fault_ms; /* how long the work of `seq` stood still for a fault around the host, when told */
	bool fault_lasts;
	struct wall_ms fault_told; /* when it was told last that there was one, or more of it; 0 = never */
	uint64_t fetched_bytes, fetch_total_bytes;
	char note[200];
	UT_hash_handle hh;
};

struct fleet_host {
	struct name name;
	uint64_t session; /* 0 = not connected */
	bool greeted;
	unsigned referred;	  /* how often it was told, in this session, that another coordinator leads */
	struct wall_ms bound_at;  /* its session began */
	struct wall_ms polled_at; /* its last status */
	struct wall_ms last_seen; /* 0 = never by this coordinator */
	bool parked;
	struct token poll;
	uint64_t poll_request_id;
	uint64_t poll_after;
	struct wall_ms poll_until;
	uint64_t acked_chunk; /* highest chunk whose effects are committed, of the spool below */
	uint64_t spool_hi, spool_lo;
	uint64_t boot_hi, boot_lo;	/* of its last status */
	struct fleet_host *prev, *next; /* among the parked, by poll_until */
	uint64_t free_bytes;
	char agent_version[32];
	struct deployment_id ignored; /* the result that was last said to count for nothing */
	uint64_t ignored_seq;
	struct fleet_app *apps;
	UT_hash_handle hh, by_session;
};

struct fleet {
	struct fleet_host *hosts;    /* by name */
	struct fleet_host *sessions; /* by session number */
	struct fleet_host *parked;   /* the poll whose time is up first; utlist */
};

void fleet_init(struct fleet *f);
void fleet_done(struct fleet *f);
struct fleet_host *fleet_find(struct fleet *f, const struct name *host);
struct fleet_host *fleet_get(struct fleet *f, const struct name *host); /* made if new */
struct fleet_host *fleet_by_session(struct fleet *f, uint64_t session);
void fleet_bind(struct fleet *f, struct fleet_host *h, uint64_t session,
		struct wall_ms now); /* the newest session of a host wins */
void fleet_unbind(struct fleet *f, struct fleet_host *h);
/* Its poll waits until then; one that waited before is replaced. Unpark: it waits no longer. */
void fleet_park(struct fleet *f, struct fleet_host *h, struct wall_ms until);
void fleet_unpark(struct fleet *f, struct fleet_host *h);
void fleet_forget(struct fleet *f, const struct name *host);

const struct fleet_app *fleet_app(const struct fleet_host *h, const struct name *app);
/* Take over what a poll says of one app. True when something the planner looks at has changed. */
bool fleet_status(struct fleet_host *h, const Wavetrain__Agent__AppStatus *s, struct wall_ms now);
/* Apps that a full heartbeat no longer names run nothing. */
bool fleet_prune(struct fleet_host *h, size_t n, Wavetrain__Agent__AppStatus *const *named);

/* Has it said that the assignment of this sequence, or a later one, has ended there? */
bool fleet_ended(struct fleet *f, const struct name *host, const struct name *app, uint64_t seq);

/* The planner's look at one host. `silent_ms` counts from `leading_since` (or from when the host was added)
 * when it was never heard. */
void fleet_view(struct fleet *f, const struct name *host, const struct name *app, int64_t min_healthy_ms,
		struct wall_ms now, struct wall_ms leading_since, int64_t suspect_ms, struct host_view *out);

#endif
