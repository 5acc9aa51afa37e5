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

struct gate;
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
	struct gate *gate;	/* the join port; NULL while it is closed */
	uint64_t look_ms;	/* loop time */
	uint64_t gate_retry_ms; /* loop time */
	struct {
		bool under_way;
		uint64_t id, after, retry_ms; /* loop time */
		char waits[232]; /* why the change for `id` cannot be made now; "" = nothing waits */
	} change;		 /* of the membership */
	uv_timer_t late;	 /* a lead that nobody takes */
	bool asked_to_lead, stopping, handing_over;
	uint64_t led_term;	  /* in which drive leads */
	uint64_t coordinators_at; /* entry that the list of coordinators was last compared at */
	int lock_fd;		  /* of the data directory */
	struct wall_ms wall_at_start;
	uint64_t mono_at_start; /* ns */
	char artifact_url[CONSENSUS_ADDRESS_CAP + 8];
};

/* daemon.c */
must_check int daemon_open(struct daemon *d, const char *data, struct err *e);
void daemon_run(struct daemon *d); /* until SIGTERM or SIGINT, then stops in order */
struct wall_ms
daemon_now(const struct daemon *d); /* wall clock that never jumps and never falls behind the state */
void daemon_soon(struct daemon *d);

/* node.c: this coordinator as a node of its cluster. node_open opens the log; E_CONFLICT, with what to do,
 * when this directory must not be started: its log was lost, it is another cluster's, or it was removed. */
must_check int node_open(struct daemon *d, struct err *e);
void node_tick(struct daemon *d);
bool node_has_log(const struct config *c); /* of a coordinator that runs, or once did, in this directory */

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
void copies_look(struct daemon *d); /* the other coordinators may be others */
void copies_changed(struct daemon *d, const struct changes *ch);
/* `closed` gets the daemon, once the loop has let go. */
void copies_close(struct daemon *d, void (*closed)(void *arg));

/* backend.c: what admin needs */
extern const struct admin_backend_ops backend_ops;

/* bundle.c: certificates and join bundles */
must_check int bundle_issue(void *backend, struct arena *a, const struct name *host, uint64_t generation,
			    struct admin_file **files, size_t *nr, struct err *e);

/* welcome.c: whoever wants to become a coordinator */
void welcome_tick(struct daemon *d); /* the join port is open exactly as long as a token is valid */
void welcome_close(struct daemon *d);

/* cluster.c: the members of consensus follow the state, one change at a time; what `wavetrain cluster` needs
 */
void cluster_tick(struct daemon *d);
void cluster_led(struct daemon *d); /* it leads now, and the state is up to date */
/* NULL: this one leads. Else who does, as a phrase, in `a`. */
const char *cluster_follows(void *backend, struct arena *a);
void cluster_status(void *backend, struct arena *a, struct admin_cluster *out);
must_check int cluster_token(void *backend, struct arena *a, struct digest *secret, const char **text,
			     struct err *e);
must_check int cluster_transfer(void *backend, uint64_t id, admin_done_fn *done, void *arg, struct err *e);

/* init.c: a new coordinator in an empty directory */
struct init_options {
	const char *data, *name, *address, *listen, *socket;
	uint16_t agent_port, artifact_port, peer_port, join_port;
	uint32_t poll_wait_ms; /* 0 = default; the rest follows from it */
};
void init_take_places(const struct init_options *o, struct config *c); /* directory, addresses, ports */
/* E_EXISTS: there is a coordinator in it already. */
must_check int init_make_directory(const struct config *c, struct err *e);
struct ca;
struct ca_pair;
struct wall_ms node_certificate_ends(void); /* of one that is issued now */
/* For the coordinator of this id, which others dial as `host`. `public_key` (PEM) NULL: with a new key. */
must_check int node_certificate(const struct ca *ca, uint64_t id, const char *host, const char *public_key,
				struct wall_ms ends, struct ca_pair *out, struct err *e);
must_check int init_run(const struct init_options *o, struct err *e);

/* enter.c: a coordinator of a cluster that is there. Blocking. *node_id is what it is now. */
must_check int enter_run(const struct init_options *o, const char *token, uint64_t *node_id, struct err *e);

#endif
