/*
 * daemon.h: one running coordinator: everything wired together on one loop. Only main.c and the files beside
 * it see this; no folder includes it. Loop thread throughout.
 *
 *   edge, admin --> drive, backend --> consensus --> replica (state) --> drive --> edge
 */
#ifndef COORDINATOR_DAEMON_H
#define COORDINATOR_DAEMON_H

#include <uthash.h>
#include <uv.h>

#include "coordinator/adapters/event_store.h"
#include "coordinator/admin/admin.h"
#include "coordinator/config.h"
#include "coordinator/consensus/consensus.h"
#include "coordinator/drive/drive.h"
#include "coordinator/edge/edge.h"
#include "sys/looptime.h"

enum { NODE_ID = 1 }; /* of this coordinator in its cluster */

struct proposal;
struct peer;

struct daemon {
	uv_loop_t loop;
	struct config cfg;
	struct store *store;
	struct state *state;
	struct consensus *consensus;
	struct events *events;
	struct event_store *event_store;
	struct drive *drive;
	struct edge *edge;
	struct admin *admin;
	struct artifact_http *artifact_http;
	struct artifact_store *artifacts;
	struct mirror *mirror;
	uv_timer_t tick; /* drive's own time */
	uv_timer_t soon; /* work that must not run inside somebody's callback */
	uv_signal_t term, intr;
	struct looptime looptime;
	struct arena arena;   /* of the apply under way */
	struct changes *news; /* applied and committed, not yet told to drive */
	size_t news_nr, news_cap;
	struct arena news_arena;
	struct proposal *refused; /* proposals that consensus did not take */
	struct peer *peers;	  /* sessions of agents by number */
	uint64_t peers_made;
	bool asked_to_lead, stopping;
	uint64_t led_term; /* in which drive leads */
	int lock_fd;	   /* of the data directory */
	struct wall_ms wall_at_start;
	uint64_t mono_at_start; /* ns */
	char artifact_url[256];
};

/* daemon.c */
must_check int daemon_open(struct daemon *d, const char *data, struct err *e);
void daemon_run(struct daemon *d); /* until SIGTERM or SIGINT, then stops in order */
struct wall_ms
daemon_now(const struct daemon *d); /* wall clock that never jumps and never falls behind the state */
void daemon_soon(struct daemon *d);

/* replica.c: the state as consensus sees it */
const struct consensus_fsm *replica_table(void);
void replica_tell(struct daemon *d); /* what was committed, to drive */
void replica_done(struct daemon *d);

/* propose.c: commands on their way */
void propose(struct daemon *d, const struct command *c, drive_proposed_fn *done, void *arg);
void propose_refused(struct daemon *d); /* answers those that were not taken */

/* peers.c: agents */
must_check int peers_open(struct daemon *d, struct err *e);
/* Is this the certificate of a host of the fleet, and of its present generation? `arg` is the daemon. */
bool peers_allowed(void *arg, const struct tls_identity *id);
/* Tells drive the coordinators of the cluster, as agents reach them. */
void peers_coordinators(struct daemon *d);
const struct drive_ports *peers_ports(struct daemon *d, struct drive_ports *out);

/* copies.c: archives on every coordinator */
must_check int copies_open(struct daemon *d, struct err *e); /* after artifacts, state and consensus */
/* May this identity read archives here? Hosts of the fleet, and members of the cluster. `arg` is the daemon.
 */
bool copies_allowed(void *arg, const struct tls_identity *id);
/* This was applied. */
void copies_changed(struct daemon *d, const struct changes *ch);
/* `closed` gets the daemon, once the loop has let go. */
void copies_close(struct daemon *d, void (*closed)(void *arg));

/* backend.c: what admin needs */
extern const struct admin_backend_ops backend_ops;

/* bundle.c: certificates and join bundles */
must_check int bundle_issue(void *backend, struct arena *a, const struct name *host, uint64_t generation,
			    struct admin_file **files, size_t *nr, struct err *e);

/* init.c: a new coordinator in an empty directory */
struct init_options {
	const char *data, *name, *address, *listen, *socket;
	uint16_t agent_port, artifact_port;
	uint32_t poll_wait_ms; /* 0 = default; the rest follows from it */
};
must_check int init_run(const struct init_options *o, struct err *e);

#endif
