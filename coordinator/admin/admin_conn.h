/*
 * admin_conn.h: inside of coordinator/admin only. One connection: read frames, find the row, check the role,
 * call the verb's handler, write answers. A handler ends with exactly one admin_done or admin_fail, now or
 * later.
 */
#ifndef ADMIN_CONN_H
#define ADMIN_CONN_H

#include "base/buf.h"
#include "coordinator/admin/admin.h"
#include "coordinator/state/view.h"
#include "proto/admin.pb-c.h"

enum {
	ADMIN_CONN_MAX = 512,	      /* each carries one request: also how many writes may be in flight */
	ADMIN_REQUEST_MS = 10000,     /* from connect to a whole request */
	ADMIN_UPLOAD_IDLE_MS = 60000, /* between two data frames */
	ADMIN_BACKLOG_MAX = 64 << 20, /* bytes not read by a watcher before it is dropped */
	ADMIN_BACKLOG_WAIT = 1 << 20, /* old events are sent no faster than they are read */
	ADMIN_TICK_MS = 100,
	ADMIN_LOOKS = 20000, /* at events per tick, for all watchers together */
};

struct admin {
	uv_loop_t *loop;
	struct admin_config config;
	char *path;
	uv_pipe_t pipe;
	uv_timer_t tick;
	int handles; /* not closed yet: pipe and tick */
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
	struct admin_conn *conns;
	size_t conns_nr;
	unsigned looks;	   /* left in this tick */
	unsigned watchers; /* whose turn is still to come in it */
};

struct admin_conn {
	struct admin *admin;
	struct admin_conn *next, *prev;
	uv_pipe_t pipe;
	uv_shutdown_t shutdown;
	struct buf in;
	struct arena arena; /* lives as long as the request; a watch resets it at each view */
	uid_t uid;
	gid_t gid;
	enum role role;
	char actor[96]; /* "uid:1000 (ann)" */
	Admin__Request *request;
	const struct command_row *row;
	int64_t deadline_ms; /* loop time; 0 = none */
	bool ended;	     /* Done or Error was written */
	bool closing;
	bool closed;	    /* handle gone; freed when pending is 0 too */
	int pending;	    /* proposals whose answer is awaited */
	uint64_t proposals; /* made for this request: the dedupe sequence */
	void (*then)(struct admin_conn *c, const struct command_reply *reply);
	/* watching */
	bool watching, dirty, whole_stream;
	bool told_gap;	     /* since it had all there was */
	bool ends;	     /* when seen_event reaches `until`, which was the newest when it began */
	uint64_t seen_event; /* number of the newest event looked at */
	uint64_t until;
	unsigned looks;		 /* it has left in this tick */
	struct admin_logs *logs; /* in the arena; NULL: another verb */
	struct deployment_id watched;
	int64_t last_view_ms;
	/* upload */
	void *upload;
	struct release release;
	uint64_t upload_offset, upload_size;
	void *extra; /* what the verb keeps from its first half to `then`, in the arena */
};

#define ADMIN_OPS(c)   ((c)->admin->config.ops)
#define ADMIN_B(c)     ((c)->admin->config.backend)
#define ADMIN_STATE(c) (ADMIN_OPS(c)->state(ADMIN_B(c)))

/* admin.c: take c out of the list; it is about to be freed */
void admin_forget(struct admin *a, struct admin_conn *c);

/* admin_conn.c */
void admin_conn_accept(struct admin *a);
void admin_conn_close(struct admin_conn *c);
void admin_reply(struct admin_conn *c, const Admin__Reply *reply);
void admin_done(struct admin_conn *c, int exit_code, const char *fmt, ...) printf_like(3, 4);
void admin_done_rollout(struct admin_conn *c, int exit_code, struct deployment_id id, uint64_t index,
			const char *text);
/* `hint` NULL: none. The exit code follows from the code. */
void admin_fail(struct admin_conn *c, int code, const char *hint, const char *fmt, ...) printf_like(4, 5);
void admin_fail_with(struct admin_conn *c, int code, const char *hint, char **candidates, size_t nr,
		     const char *text);
int admin_exit_code(int code);
int64_t admin_loop_ms(const struct admin *a);

/*
 * Commit `cmd` for this connection (actor, reason, trace, time and client fields are set here), then call
 * `then` unless the peer is gone. A dry run answers Done here instead. A refusal of the log is answered here;
 * `then` sees only success.
 */
void admin_propose(struct admin_conn *c, struct command *cmd,
		   void (*then)(struct admin_conn *, const struct command_reply *));
/* What was awaited (c->pending) came. False: nobody waits for an answer any more, and c may be freed. */
bool admin_conn_back(struct admin_conn *c);
/* For what the backend does without the log: an admin_done_fn, with `c` as its argument and c->then and
 * c->pending set as admin_propose does. */
void admin_conn_done(void *arg, const struct command_reply *reply);
/* The usual `then`: Done with the reply's text. */
void admin_then_done(struct admin_conn *c, const struct command_reply *reply);

/* admin_peer.c */
int admin_peer(int fd, const struct admin_config *config, uid_t *uid, gid_t *gid, enum role *role);
void admin_peer_actor(uid_t uid, char *out, size_t cap);

/* admin_lookup.c: each answers the error itself, with candidates, and returns false when there is no such
 * thing. */
bool admin_need_name(struct admin_conn *c, const char *what, const char *text, struct name *out);
bool admin_need_version(struct admin_conn *c, const char *text, struct name *out);
bool admin_need_app(struct admin_conn *c, const char *text, struct app *out);
bool admin_need_env(struct admin_conn *c, const char *text, struct environment *out);
bool admin_need_host(struct admin_conn *c, const char *text, struct host *out);
bool admin_need_release(struct admin_conn *c, const struct name *app, const char *version,
			struct release *out);
/* By id prefix, else by app (and env), else the one under way, else the newest. */
bool admin_need_rollout(struct admin_conn *c, const Admin__RolloutArgs *args, struct deployment *out);
bool admin_labels_match(const struct labels *selector, const struct labels *labels);

/* A growing list of pointers in the connection's arena: what repeated message fields want. */
struct admin_list {
	void **v;
	size_t nr, cap;
};
void admin_list_add(struct admin_conn *c, struct admin_list *l, void *item);
char *admin_str(const char *s); /* protobuf-c wants char *; it never writes there */

/* admin_rows.c: model to wire, in the connection's arena */
void admin_bytes(struct admin_conn *c, ProtobufCBinaryData *out, const struct digest *d);
Admin__Label **admin_labels(struct admin_conn *c, const struct labels *l, size_t *nr);
bool admin_labels_from(struct admin_conn *c, Admin__Label **v, size_t nr, struct labels *out);
Admin__Rollout *admin_rollout_row(struct admin_conn *c,
				  const struct deployment *d); /* without waves and tasks */
int admin_rollout_exit(const struct deployment *d, bool wanted_back);

/* admin_status.c: the whole of one rollout with its live notes */
Admin__Rollout *admin_rollout_view(struct admin_conn *c, const struct deployment *d);
void admin_send_rollout(struct admin_conn *c, Admin__Rollout *row);

/* admin_agents.c: what differs between what a host should run and what it was last seen running; "" =
 * nothing. */
enum { ADMIN_SILENT_MS = 60000 };
const char *admin_drift(const struct placement *p, const struct admin_soft *s);

/* admin_back.c: BY_VERB: `out` is under way and is taken back by its verb; BY_DEPLOY: `out` is the rollout
 * whose target is deployed again; REFUSED: the error was answered. */
enum admin_back { ADMIN_BACK_REFUSED = 1, ADMIN_BACK_BY_VERB, ADMIN_BACK_BY_DEPLOY };
enum admin_back admin_back(struct admin_conn *c, const Admin__DeployArgs *args, struct deployment *out);

/* admin_seen.c: fills `seen` of one that ended, or is held, badly */
void admin_seen(struct admin_conn *c, const struct deployment *d, Admin__Rollout *r);

/* admin_watch.c */
void admin_watch_start(struct admin_conn *c, const struct deployment *d, uint64_t cursor);
void admin_watch_tick(struct admin_conn *c);
void admin_send_event(struct admin_conn *c, const struct event *e);
void admin_send_gap(struct admin_conn *c); /* once, until it has all there is */
bool admin_backlogged(const struct admin_conn *c);
bool admin_may_look(struct admin_conn *c); /* at one more event in this tick */

/* admin_logs.c */
void admin_logs_tick(struct admin_conn *c);

/* admin_release.c */
void admin_upload_data(struct admin_conn *c, const uint8_t *p, size_t n);

/* admin_dispatch.c */
void admin_dispatch(struct admin_conn *c);

typedef void admin_handler(struct admin_conn *c);
admin_handler admin_app_add, admin_app_list, admin_app_show;
admin_handler admin_env_add, admin_env_list, admin_env_show;
admin_handler admin_agents_list, admin_agents_show, admin_agents_add, admin_agents_remove;
admin_handler admin_release_push, admin_release_list, admin_release_show, admin_release_bad;
admin_handler admin_plan, admin_deploy, admin_verb, admin_rollback;
admin_handler admin_status, admin_watch, admin_events, admin_list, admin_history, admin_logs, admin_explain;
admin_handler admin_cluster_status, admin_cluster_remove, admin_cluster_transfer;
admin_handler admin_token_create, admin_token_list, admin_token_revoke;
admin_handler admin_audit_list, admin_doctor;

#endif
