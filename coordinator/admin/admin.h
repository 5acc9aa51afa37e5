/*
 * admin.h: the operator's socket. A Unix socket of mode 0660; the peer's uid and gid (SO_PEERCRED) give its
 * role; one request per connection, dispatched by commands.def; answers are framed protobuf
 * (proto/admin.proto, commands_frame.h).
 *
 * Everything runs on the loop's thread. What the server needs from the rest of the coordinator comes through
 * `struct admin_backend_ops`, filled by wavetraind; tests give a fake. Pointers the ops return live until the
 * loop's next turn unless an arena is given.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "coordinator/admin/commands.h"
#include "coordinator/drive/events.h"
#include "coordinator/state/command.h"
#include "coordinator/state/state.h"

/* What is known of one app on one host from its last poll. Not in the log: it may be seconds old. */
struct admin_soft {
	bool seen; /* false: no poll since this coordinator leads; the rest is empty */
	int64_t last_poll_age_ms;
	uint64_t free_bytes;
	const char *agent_version; /* may be "" */
	bool has_app;		   /* the last poll named this app; the rest is about it */
	struct digest running;	   /* target id found running; none = nothing */
	const char *health;	   /* "healthy", "unhealthy", "starting", "stopped", "unknown" */
	const char *step;	   /* "fetched", "probing"; "" when idle */
	const char *note;	   /* one phrase, may be "" */
	uint64_t restarts, fetched_bytes, fetch_total_bytes;
	bool in_rotation;
};

struct admin_plan_request {
	struct name app, version, env;
	const char *spec; /* deployment file as sent, JSON or YAML; checked by the backend */
	size_t spec_len;
	bool force_bad, skip_stop_hooks;
	const char *initiator;
	struct trace_id trace;
	struct deployment_id id; /* use this id when not zero: the one the person saw in the plan */
};

/* What a plan says to people beside the command itself. Strings live in the arena of the call. */
struct admin_plan_text {
	const char **changes; /* "~ run.health.timeout 60s -> 90s" */
	size_t changes_nr;
	const char **notes;
	size_t notes_nr;
	const char *severe; /* NULL, or why it needs the name typed */
	bool no_change;	    /* every host already runs the target */
	const char *error;  /* when the call fails: what, where, why */
	const char *hint;   /* when the call fails: what to do next; may be NULL */
};

/* One file of a host's certificate bundle. */
struct admin_file {
	const char *name;
	unsigned mode; /* 0600 for keys */
	const uint8_t *p;
	size_t n;
};

struct admin_release_meta {
	struct name app, version;
	struct digest digest; /* of the archive; the store verifies it */
	uint64_t size_bytes;
	const char *type; /* "tar.zst" or "tar.gz" */
};

struct admin_check {
	const char *name, *result, *text, *fix; /* result: "ok", "warn", "fail" */
};

/* One coordinator, as the one that is asked knows it. UINT64_MAX: not known here. */
struct admin_node {
	uint64_t id;
	const char
		*role; /* "voter", "standby", "spare"; "joining": not a member yet, "leaving": not gone yet */
	const char *address, *version; /* of its peer port; of its program, "" = not known */
	const char *waits;	       /* why the change that is due for it cannot be made now, or "" */
	bool self, leader;
	uint64_t lag, silent_ms;
	struct wall_ms cert_ends; /* 0: not known */
};

struct admin_cluster {
	const struct admin_node *v;
	size_t nr;
	const char *name;
	uint64_t self, leader, term, applied; /* leader 0: nobody is known to lead */
};

typedef void admin_done_fn(void *arg, const struct command_reply *reply);
typedef void admin_check_fn(void *arg, const struct admin_check *check);
typedef void admin_line_fn(void *arg, const char *line);

typedef void admin_uploaded_fn(void *arg, int code, const struct release *release, const struct err *e);

struct admin_backend_ops {
	struct state *(*state)(void *b);
	/*
	 * Commit `c` (the client fields are set: a repeat is answered, not applied again). `done` is called
	 * once, from the loop, never from inside propose, with the reply (code E_NOT_LEADER, E_UNAVAILABLE,
	 * E_TIMEOUT, E_UNKNOWN_OUTCOME included). `c` is copied before it returns. `arg` stays valid until
	 * `done`.
	 */
	void (*propose)(void *b, const struct command *c, admin_done_fn *done, void *arg);
	/* Wall clock for commands: max(now, state_clock). */
	struct wall_ms (*now)(void *b);
	/* The deployment as it would be committed. Code and why->error/hint on failure (E_SPEC, E_INFEASIBLE,
	 * E_BAD_DIGEST, ...). */
	int (*plan)(void *b, struct arena *a, const struct admin_plan_request *rq, struct command_deploy *out,
		    struct admin_plan_text *why);
	/* What the last poll of `host` said, about `app` (NULL: about the host only). */
	void (*soft)(void *b, struct arena *a, const struct name *host, const struct name *app,
		     struct admin_soft *out);
	/* One line per thing the deployment waits for, most important first. May be NULL. */
	void (*explain)(void *b, struct arena *a, struct deployment_id id, admin_line_fn *each, void *arg);
	/* Key, certificate and CA for one host record. May be NULL: then agents add refuses with
	 * E_UNSUPPORTED. */
	int (*issue_bundle)(void *b, struct arena *a, const struct name *host, uint64_t generation,
			    struct admin_file **files, size_t *nr, struct err *e);
	/*
	 * Uploads. begin: opens or resumes; `offset` = bytes already there (== size_bytes: nothing to send).
	 * The handle is closed by exactly one of finish and cancel; cancel keeps the bytes for a resume.
	 * finish verifies digest and archive and fills release->artifact, size_bytes, unpacked_bytes, entries
	 * and type. That reads the whole file, so it happens on another thread: `done` comes later, on the
	 * loop, exactly once; `release` and `e` are valid during that call.
	 */
	int (*upload_begin)(void *b, const struct admin_release_meta *m, void **upload, uint64_t *offset,
			    struct err *e);
	int (*upload_data)(void *b, void *upload, const uint8_t *p, size_t n, struct err *e);
	void (*upload_finish)(void *b, void *upload, const struct release *release, admin_uploaded_fn *done,
			      void *arg);
	void (*upload_cancel)(void *b, void *upload);
	/* Is the archive on this coordinator? May be NULL: then what was pushed once is taken to be. */
	bool (*is_here)(void *b, const struct digest *d);
	/* On how many coordinators an archive is known to lie, and how many there are. May be NULL. */
	void (*copies)(void *b, const struct digest *d, unsigned *known, unsigned *of);
	/*
	 * The cluster of coordinators. All or none of these; NULL: E_UNSUPPORTED. follows: NULL when this one
	 * leads, else who does, as a phrase in `a`. token: a new secret's hash, and the token as text.
	 * transfer: on E_OK `done` comes later, once, from the loop; on any other code never.
	 */
	const char *(*follows)(void *b, struct arena *a);
	void (*cluster)(void *b, struct arena *a, struct admin_cluster *out);
	int (*token)(void *b, struct arena *a, struct digest *secret, const char **text, struct err *e);
	int (*transfer)(void *b, uint64_t id, admin_done_fn *done, void *arg, struct err *e);
	/* The coordinator's own checks: disk, quorum, peers, certificates. May be NULL. */
	void (*doctor)(void *b, struct arena *a, admin_check_fn *each, void *arg);
};

struct admin_config {
	const char *path; /* of the socket; a stale one is replaced, a live one is E_EXISTS */
	gid_t gid;	  /* given to the socket; its members are operators. (gid_t)-1: keep the process's */
	const struct admin_backend_ops *ops;
	void *backend;
	/* The story that watchers read; polled ten times a second, so nobody has to tell the server of news.
	 */
	struct events *events;
	/* Who may do what. NULL: root and the owner of this process are ADMIN, members of the group OPERATOR,
	 * others VIEWER. */
	enum role (*role)(void *backend, uid_t uid, gid_t gid);
};

struct admin;

/* Listen. The process must ignore SIGPIPE: peers may vanish at any time. E_EXISTS when another process
 * answers there, E_IO with the reason otherwise. */
must_check int admin_open(uv_loop_t *loop, const struct admin_config *config, struct admin **out,
			  struct err *e);
/* Stop, drop all connections, remove the socket; `a` is freed once the loop closed its handles, then `closed`
 * (may be NULL). */
void admin_close(struct admin *a, void (*closed)(void *arg), void *arg);

/* Connections now open; for metrics. */
size_t admin_connections(const struct admin *a);

#endif
