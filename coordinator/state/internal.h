/* internal.h: what the files of the fold share. */
#ifndef STATE_INTERNAL_H
#define STATE_INTERNAL_H

#include "base/err.h"
#include "coordinator/state/codec.h"
#include "coordinator/state/keys.h"
#include "coordinator/state/machines.h"
#include "coordinator/state/view.h"

struct state {
	struct store *store;
	uint64_t applied;
	uint32_t applied_sub;
	struct wall_ms clock;
	struct digest chain;
	uint64_t cluster_hi, cluster_lo;
	struct name cluster;
	bool damaged; /* a row did not decode, or an index names one that is not there */
};

/* One command being applied. A refusal must come before the first write: there is nothing to undo. */
struct apply {
	struct state *st;
	struct arena *a;
	uint64_t index;
	uint32_t sub;
	const struct command *c;
	struct command_reply *reply;
	struct change *changes;
	size_t changes_nr, changes_cap;
	bool unaudited;	 /* it changed nothing that anyone would look for */
	char object[96]; /* for the audit entry: what it was about */
};

/* Refuse with a code and a sentence; returns the code. */
int apply_refuse(struct apply *ap, int code, const char *fmt, ...) printf_like(3, 4);
void apply_object(struct apply *ap, const char *fmt, ...) printf_like(2, 3);
struct change *apply_change(struct apply *ap, enum change_kind kind);
void apply_moved(struct apply *ap,
		 const struct name *app); /* plans of this app (NULL: of every app) are stale from here */

/* Rows. Each put encodes and stores under the noun's own key. */
void put_app(struct apply *ap, const struct app *v);
void put_env(struct apply *ap, const struct environment *v);
void put_host(struct apply *ap, const struct host *v);
void put_deployment(struct apply *ap, const struct deployment *v);
void put_wave(struct apply *ap, const struct wave *v);
void put_task(struct apply *ap, const struct task *v);
void put_task_of(struct apply *ap, const struct task *v); /* where the task of a host is found */
void put_placement(struct apply *ap, const struct placement *v);
void put_node(struct apply *ap, const struct node *v);
void put_token(struct apply *ap, const struct join_token *v);
void put_raw(struct state *st, const struct key *k, const void *p, size_t n);
bool get_raw(struct state *st, const struct key *k, struct store_slice *out);
uint64_t get_number(struct state *st, const struct key *k); /* 0 when absent */
void put_number(struct state *st, const struct key *k, uint64_t v);
uint64_t moved_index(struct state *st, const struct name *app); /* NULL: the fleet's */

/* Moves through the machines, stored and told. E_CONFLICT changes nothing. */
int apply_task_move(struct apply *ap, struct task *t, const struct name *app, enum task_state to,
		    const char *reason);
int apply_wave_move(struct apply *ap, struct wave *w, const struct name *app, enum wave_state to,
		    const char *reason);
int apply_rollout_move(struct apply *ap, struct deployment *d, enum rollout_state to, const char *reason);

/* clients.c: was this command applied before (then the reply is what it was)? And: it is now. */
bool clients_answered(struct apply *ap);
void clients_remember(struct apply *ap);

/* apply_cluster.c, apply_fleet.c, apply_release.c, apply_deploy.c, apply_rollout.c, apply_task.c */
int apply_init(struct apply *ap);
int apply_node_put(struct apply *ap);
int apply_node_join(struct apply *ap);
int apply_node_remove(struct apply *ap);
int apply_token_create(struct apply *ap);
int apply_token_revoke(struct apply *ap);
int apply_app_put(struct apply *ap);
int apply_env_put(struct apply *ap);
int apply_host_add(struct apply *ap);
int apply_host_remove(struct apply *ap);
int apply_release_add(struct apply *ap);
int apply_target_release(struct apply *ap);
int apply_deploy(struct apply *ap);
int apply_verb(struct apply *ap);
int apply_rollout(struct apply *ap);
int apply_wave(struct apply *ap);
int apply_assign(struct apply *ap);
int apply_results(struct apply *ap);
int apply_join(struct apply *ap);

#endif
