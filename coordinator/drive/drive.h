/*
 * drive.h: between the pure halves and the world. It keeps the sessions of agents, answers their polls from
 * committed placements, turns their reports into commands, and, while this coordinator leads, lets the
 * planner look at each rollout whenever something it depends on has changed. No I/O of its own (ports.h),
 * time comes with each call. One thread.
 */
#ifndef DRIVE_DRIVE_H
#define DRIVE_DRIVE_H

#include "coordinator/drive/events.h"
#include "coordinator/drive/fleet.h"
#include "coordinator/drive/ports.h"
#include "coordinator/state/view.h"

struct drive_config {
	uint64_t node_id; /* of this coordinator in its cluster */
	uint64_t log_id;  /* of this cluster's incarnation: another one makes agents ask for a snapshot */
	uint64_t cluster_hi, cluster_lo;
	uint32_t poll_wait_ms;	  /* how long a poll is parked */
	int64_t suspect_ms;	  /* silence after which a host is not counted available */
	int64_t lost_ms;	  /* silence after which it is lost; longer */
	int64_t grace_ms;	  /* after taking the lead, nobody counts as lost */
	const char *artifact_url; /* this coordinator's, told to agents first; outlives drive */
};

/* One coordinator of the cluster, as agents reach it. */
struct drive_coordinator {
	uint64_t id;	       /* of its consensus node */
	const char *address;   /* where agents dial it: "host:port" */
	const char *artifacts; /* base URL of its archives */
};

enum { DRIVE_COORDINATORS_MAX = 16 }; /* an agent remembers no more */

struct drive;

struct drive *drive_new(const struct drive_config *cfg, const struct drive_ports *ports, struct state *st,
			struct events *ev);
void drive_free(struct drive *d);

/*
 * This coordinator leads from now on (or no longer). One that does not lead acts on nothing an agent says:
 * each Hello, Poll and Report is answered with the Problem E_NOT_LEADER, which says where to go and when, and
 * so is each poll that is parked when it stops leading. What it knows of the hosts then counts no more: when
 * it leads again, grace_ms begin anew.
 */
void drive_lead(struct drive *d, struct wall_ms now);
void drive_unlead(struct drive *d);
bool drive_leads(const struct drive *d);

/* The coordinators of the cluster, this one among them, in place of those named before: told to agents with
 * each Welcome. Copied; of more than DRIVE_COORDINATORS_MAX the rest is left out. */
void drive_coordinators(struct drive *d, const struct drive_coordinator *list, size_t nr);
/* Those; valid until the next drive_coordinators. */
const struct drive_coordinator *drive_known_coordinators(const struct drive *d, size_t *nr);
/* Which node leads the cluster as far as this one knows; 0: it knows none, as in an election. One that is not
 * among the coordinators is told to nobody. */
void drive_leader(struct drive *d, uint64_t id);

/* The edge: identity comes from the certificate. A host that is not in the state, or of an older generation,
 * is dropped. */
void drive_session_opened(struct drive *d, uint64_t session, const struct name *host, uint64_t generation,
			  struct wall_ms now);
void drive_session_closed(struct drive *d, uint64_t session, struct wall_ms now);
void drive_request(struct drive *d, struct token t, const uint8_t *p, size_t n, struct wall_ms now);

/* After the store has committed: what the applied commands touched. */
void drive_changed(struct drive *d, const struct changes *ch, struct wall_ms now);

/* Runs what is due; returns when it wants to be called again at the latest (never 0). Call it too after any
 * of the above. */
struct wall_ms drive_tick(struct drive *d, struct wall_ms now);

/* Reading, for admin. */
const struct fleet_host *drive_host(struct drive *d, const struct name *host);
/* What the rollout waits for, by the same code that decides. E_NOT_FOUND when there is no such deployment. */
must_check int drive_explain(struct drive *d, struct deployment_id id, struct arena *a, struct wall_ms now,
			     struct plan_update *out);

#endif
