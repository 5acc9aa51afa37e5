/*
 * view.h: typed reading of the state. Rows are decoded into the arena given. All return E_OK, E_NOT_FOUND or
 * (for prefixes) E_AMBIGUOUS; or E_CORRUPT for a row that does not decode or that an index names and is not
 * there: then the fold stops too (state_apply), and an iteration ends where it met it. Iterations call `each`
 * in key order until it returns false. Read-only; same thread as the fold.
 */
#ifndef STATE_VIEW_H
#define STATE_VIEW_H

#include "coordinator/state/state.h"

must_check int view_app(struct state *st, struct arena *a, const struct name *name, struct app *out);
must_check int view_env(struct state *st, struct arena *a, const struct name *name, struct environment *out);
must_check int view_host(struct state *st, struct arena *a, const struct name *name,
			 struct host *out); /* tombstones too */
must_check int view_release(struct state *st, struct arena *a, const struct name *app,
			    const struct name *version, struct release *out);
must_check int view_release_by_digest(struct state *st, struct arena *a, const struct name *app,
				      const struct digest *artifact, struct release *out);
must_check int view_bad(struct state *st, struct arena *a, const struct name *app,
			const struct digest *target, struct bad_mark *out);
must_check int view_deployment(struct state *st, struct arena *a, struct deployment_id id,
			       struct deployment *out);
must_check int view_wave(struct state *st, struct arena *a, struct deployment_id id, uint32_t index,
			 struct wave *out);
must_check int view_task(struct state *st, struct arena *a, struct deployment_id id, const struct name *host,
			 struct task *out);
must_check int view_placement(struct state *st, struct arena *a, const struct name *host,
			      const struct name *app, struct placement *out);
must_check int view_node(struct state *st, struct arena *a, uint64_t id,
			 struct node *out); /* tombstones too */
must_check int view_token(struct state *st, struct arena *a, const struct digest *secret,
			  struct join_token *out);
/* The canonical rendered deployment file behind a target's spec digest. */
must_check int view_spec(struct state *st, struct arena *a, const struct digest *spec, const char **text,
			 size_t *n);

/* "r-7f3a" or "7f3a": the deployment whose id starts so. */
must_check int view_deployment_by_prefix(struct state *st, struct arena *a, const char *prefix,
					 struct deployment *out);
/* The deployment of (app, env) that is not terminal; at most one exists. */
must_check int view_active_deployment(struct state *st, struct arena *a, const struct name *app,
				      const struct name *env, struct deployment *out);

/* The whole of one deployment, as the planner wants it: waves by index, tasks by (wave, position). */
must_check int view_rollout(struct state *st, struct arena *a, struct deployment_id id, struct deployment *d,
			    struct wave **waves, struct task **tasks, size_t *tasks_nr);

typedef bool view_app_fn(void *arg, const struct app *);
typedef bool view_env_fn(void *arg, const struct environment *);
typedef bool view_host_fn(void *arg, const struct host *);
typedef bool view_release_fn(void *arg, const struct release *);
typedef bool view_bad_fn(void *arg, const struct bad_mark *);
typedef bool view_deployment_fn(void *arg, const struct deployment *);
typedef bool view_placement_fn(void *arg, const struct placement *);
typedef bool view_node_fn(void *arg, const struct node *);
typedef bool view_token_fn(void *arg, const struct join_token *);
typedef bool view_audit_fn(void *arg, const struct audit_entry *);

void view_each_app(struct state *st, struct arena *a, view_app_fn *each, void *arg);
void view_each_env(struct state *st, struct arena *a, view_env_fn *each, void *arg);
void view_each_host(struct state *st, struct arena *a, view_host_fn *each,
		    void *arg); /* without tombstones */
void view_each_release(struct state *st, struct arena *a, const struct name *app /* NULL = all */,
		       view_release_fn *each, void *arg);
void view_each_bad(struct state *st, struct arena *a, view_bad_fn *each, void *arg);
void view_each_node(struct state *st, struct arena *a, view_node_fn *each, void *arg); /* tombstones too */
void view_each_token(struct state *st, struct arena *a, view_token_fn *each, void *arg);
/* Newest first by serial. */
void view_each_deployment(struct state *st, struct arena *a, view_deployment_fn *each, void *arg);
void view_each_active(struct state *st, struct arena *a, view_deployment_fn *each,
		      void *arg); /* not terminal */
/* Assignments of one host with seq > after (0 = all), for polls. */
void view_each_placement(struct state *st, struct arena *a, const struct name *host, uint64_t after,
			 view_placement_fn *each, void *arg);
void view_each_audit(struct state *st, struct arena *a, uint64_t from_index, view_audit_fn *each, void *arg);

/* meta */
void view_cluster(struct state *st, uint64_t *hi, uint64_t *lo,
		  struct name *name); /* zeros before CLUSTER_INIT */

#endif
