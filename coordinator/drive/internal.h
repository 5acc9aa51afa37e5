/* internal.h: what drive's files share. */
#ifndef DRIVE_INTERNAL_H
#define DRIVE_INTERNAL_H

#include "coordinator/drive/drive.h"
#include "proto/envelope.h"

struct watched; /* rollouts.c: one active deployment */

struct drive {
	struct drive_config cfg;
	struct drive_ports ports;
	struct state *st;
	struct events *events;
	struct fleet fleet;
	bool leads;
	struct drive_coordinator coordinators[DRIVE_COORDINATORS_MAX];
	size_t coordinators_nr;
	struct arena coordinator_strings;
	uint64_t leader; /* its node; 0 = not known */
	struct wall_ms leading_since;
	struct wall_ms join_at; /* hosts without their task are looked for then; 0 = not */
	struct watched *rollouts;
	struct arena arena; /* of the call under way; reset at the end of each public call */
};

/* dispatch.c */
void dispatch_poll(struct drive *d, struct fleet_host *h, struct token t, const envelope *e,
		   struct wall_ms now);
void dispatch_host(struct drive *d, const struct name *host); /* a parked poll may have an answer now */
int64_t dispatch_expire(struct drive *d,
			struct wall_ms now); /* answers polls whose time is up; when the next one is */
void dispatch_answer(struct drive *d, struct token t, uint64_t request_id, envelope *e);
void dispatch_problem(struct drive *d, struct token t, uint64_t request_id, const char *code,
		      const char *text);

/* refer.c: what a coordinator that does not lead says */
void refer(struct drive *d, struct token t, uint64_t request_id); /* to the coordinator that leads */
void refer_request(struct drive *d, struct fleet_host *h, struct token t, const envelope *e);
void refer_parked(struct drive *d);
void refer_welcome(struct drive *d, Wavetrain__Agent__Welcome *w); /* where all coordinators are */

/* hints.c */
void hints_send(struct drive *d, const struct changes *ch);

/* ingest.c */
void ingest_report(struct drive *d, struct fleet_host *h, struct token t, const envelope *e,
		   struct wall_ms now);

/* rollouts.c */
void rollouts_touch(struct drive *d, struct deployment_id id); /* look at it at the next tick */
void rollouts_touch_host(struct drive *d, const struct name *host);
void rollouts_load(struct drive *d); /* all that are active in the state */
int64_t rollouts_run(struct drive *d, struct wall_ms now);
void rollouts_free(struct drive *d);

/* join.c: a host that came into the fleet while rollouts are under way */
void join_host(struct drive *d, const struct name *host);
void join_look(struct drive *d, struct wall_ms now); /* any host may lack its task: look at the next tick */
int64_t join_run(struct drive *d, struct wall_ms now);

#endif
