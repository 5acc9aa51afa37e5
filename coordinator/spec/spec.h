/*
 * spec.h: the deployment file. Text in, a typed spec and diagnostics out: no file, clock, socket or thread is
 * touched, so the CLI lints with it offline and the coordinator's admin side accepts with it. Any thread; one
 * arena per caller.
 *
 * Everything a spec points to lives in the arena given to spec_load. Durations are milliseconds, sizes bytes,
 * shares permille. What the file left out holds its default. Every key, type, default and sentence of
 * documentation stands once, in fields.c; parser, canonical form, JSON Schema, reference page and completion
 * are all walks over that table.
 */
#ifndef COORDINATOR_SPEC_SPEC_H
#define COORDINATOR_SPEC_SPEC_H

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/ids.h"

enum {
	SPEC_BYTES_MAX = 1 << 20, /* of one document */
	SPEC_NODES_MAX = 10000,	  /* after alias expansion, counted before any alias is followed */
	SPEC_DEPTH_MAX = 64,
	SPEC_DIAGS_MAX = 50,
};

/* A count of hosts, or a share of them in permille. */
struct spec_amount {
	bool is_share;
	uint32_t v;
};

struct spec_strings {
	const char **v;
	size_t nr;
};
struct spec_pair {
	const char *key, *value;
};
struct spec_pairs {
	struct spec_pair *v; /* by key */
	size_t nr;
};

/* Optional parts begin with `set`: false = not in the file (their defaults are filled in all the same). */
struct spec_region {
	const char *name;
	const char *after; /* as written; spec_after says what it comes to */
	int64_t bake_ms;   /* how long the region that it waits for must have been well */
};

enum spec_artifact_type { SPEC_TAR_ZST = 1, SPEC_TAR_GZ };
struct spec_artifact {
	const char *name;	      /* for people */
	enum spec_artifact_type type; /* 0: any */
};

struct spec_targets {
	struct spec_pairs labels; /* a host must have all of them */
};

struct spec_rolling {
	bool set;
	struct spec_amount batch; /* rounds up */
};
struct spec_recreate {
	bool set;
};
struct spec_deadlines {
	int64_t progress_ms; /* D3: starts anew when a host becomes healthy */
	int64_t total_ms;    /* 0 = none */
	int64_t host_ms;     /* one host, from assignment to verdict */
	int64_t fetch_ms, drain_ms, start_ms, hook_ms;
	int64_t infrastructure_ms; /* most time that infrastructure faults stop the clock */
	int64_t pause_ms;	   /* a pause becomes a hold after this */
};
struct spec_strategy {
	struct spec_rolling rolling; /* exactly one of the two is set */
	struct spec_recreate recreate;
	struct spec_amount max_unavailable; /* rounds down, at least 1 */
	permille floor;			    /* rounds up; in group, zone and region */
	struct spec_amount failure_budget;  /* per wave; rounds down, may be 0 */
	int64_t min_healthy_ms;
	struct spec_deadlines deadlines;
};

struct spec_haproxy {
	bool set;
	const char *socket, *backend;
	const char *server;	/* holds placeholders */
	const char *state_file; /* NULL: none */
	uint32_t min_up;	/* other servers; 0: not given, which is 1 */
};
struct spec_traffic_hook {
	bool set;
	struct spec_strings drain, undrain;
};
enum spec_drain_then { SPEC_DRAIN_ABORT = 1, SPEC_DRAIN_KILL };
struct spec_drain {
	int64_t timeout_ms;
	enum spec_drain_then then;
};
struct spec_traffic {
	bool set;
	struct spec_haproxy haproxy; /* at most one of the two is set */
	struct spec_traffic_hook hook;
	struct spec_drain drain;
};

struct spec_listen {
	const char *name, *address; /* the address may hold placeholders */
};
struct spec_limits {
	uint32_t nofile, nproc; /* nofile 0 = as wavetrain-exec has it; nproc 0 = none of its own */
	uint64_t memory, core;	/* bytes; memory 0 = none of its own; core 0 = no core files */
	int64_t cpu_ms;		/* CPU time (RLIMIT_CPU, whole seconds); 0 = unlimited */
};
enum spec_signal { SPEC_SIGTERM = 1 };
struct spec_stop {
	enum spec_signal signal;
	int64_t timeout_ms; /* then SIGKILL */
};
struct spec_backoff {
	int64_t initial_ms, max_ms;
};
struct spec_restart {
	struct spec_backoff backoff;
	uint32_t max_tries; /* 0 = never restart */
};
struct spec_output {
	uint64_t max_bytes; /* of the newest output of the app on a host; as much again of what was before */
};
struct spec_run {
	struct spec_strings command; /* arguments may hold placeholders */
	const char *user, *workdir;  /* NULL: the user of wavetrain-exec; the slot */
	struct spec_pairs env;	     /* values may hold placeholders */
	struct spec_listen *listen;  /* descriptors 3, 4, ... in this order (LISTEN_FDS) */
	size_t listen_nr;
	struct spec_limits limits;
	struct spec_stop stop;
	struct spec_restart restart;
	struct spec_output output;
};

struct spec_range {
	uint32_t lo, hi;
};
struct spec_probe {
	bool set;
	const char *http, *tcp; /* exactly one of http, tcp, exec is given; placeholders allowed */
	struct spec_strings exec;
	struct spec_range status; /* of http */
	int64_t interval_ms, timeout_ms;
	uint32_t pass, fail; /* in a row */
	int64_t deadline_ms; /* of the first verdict */
};
struct spec_health {
	struct spec_probe start, ready, live;
};

struct spec_hook {
	struct spec_strings run; /* a string in the file became /bin/sh -c */
	int64_t timeout_ms;	 /* 0 = strategy.deadlines.hook */
	const char *user;	 /* NULL: run.user */
};
struct spec_hook_list {
	struct spec_hook *v;
	size_t nr;
};
struct spec_hooks {
	struct spec_hook_list before_stop, after_stop, before_start, after_start, after_healthy;
};

enum spec_order { SPEC_REVERSE = 1 };
struct spec_rollback {
	bool is_auto;
	enum spec_order order;
	permille batch, floor;
};

struct spec {
	const char *schema, *app;
	struct spec_artifact artifact;
	struct spec_targets targets;
	struct spec_region *regions; /* in the file's order */
	size_t regions_nr;
	struct spec_strategy strategy;
	struct spec_traffic traffic;
	struct spec_run run;
	struct spec_health health;
	struct spec_hooks hooks;
	struct spec_rollback rollback;
	uint32_t keep;
};

/* What is wrong, and where. Codes and their long explanations: codes.def. */
enum spec_severity { SPEC_ERROR = 1, SPEC_WARNING };
struct spec_diag {
	const char *file;
	int line, col, len; /* from 1; col and len in characters; line 0: the whole file */
	enum spec_severity severity;
	int code;		/* 1101 is shown as E1101, or W... for a warning */
	const char *text;	/* one sentence, no full stop */
	const char *suggestion; /* "did you mean 'weight'?" or NULL */
	const char *excerpt;	/* the line itself, or NULL */
	int order;		/* base file, overlay, --set; then position */
};
struct spec_diags {
	struct spec_diag v[SPEC_DIAGS_MAX]; /* sorted when spec_load returns */
	size_t nr, errors, warnings;	    /* errors and warnings count the dropped ones too */
};

struct spec_source {
	const char *file, *text; /* file is only a name for messages */
	size_t len;
	const char *overlay_file,
		*overlay_text; /* NULL: none. Maps are merged over the base, lists replace */
	size_t overlay_len;
	const char *const *sets; /* "name=value" of declared values */
	size_t sets_nr;
};

/* 0, or E_SPEC with at least one error in `diags`; `out` is usable only after 0. Warnings alone give 0. */
must_check int spec_load(struct arena *a, const struct spec_source *src, struct spec *out,
			 struct spec_diags *diags);

/* The name of the region that regions[i] waits for: `after`, else the one above it; NULL: none. */
const char *spec_after(const struct spec *s, size_t i);

/* The effective file as JSON: sorted keys, no blanks, every default written out, values resolved, host
 * placeholders kept. Equal specs give equal bytes, whatever the order of keys or the writing of durations.
 * Appends to `out`. */
void spec_render_canonical(const struct spec *s, struct buf *out);
/* SHA-256 of those bytes: the rendered digest. */
struct digest spec_digest(const struct spec *s);
/* Back from the canonical bytes; E_SPEC when they are not a valid file. */
must_check int spec_from_canonical(struct arena *a, const char *json, size_t len, struct spec *out,
				   struct spec_diags *diags);

/* The compilers' form with caret and tilde; a closing line counts. JSON:
 * {"errors":n,"warnings":n,"diagnostics":[...]}. */
void spec_diag_print(struct buf *out, const struct spec_diags *diags);
void spec_diag_json(struct buf *out, const struct spec_diags *diags);
/* The text of `wavetrain explain E1101` (title, blank line, explanation); takes E1101, W1201, 1101. NULL when
 * there is no such code. */
const char *spec_explain(const char *code);

/* From the field table. */
void spec_schema_json(struct buf *out);	 /* JSON Schema draft 2020-12 */
void spec_reference_md(struct buf *out); /* docs/reference/deployment-file.md */
/* Names that may follow a dotted path ("strategy.deadlines", "" = top level; lists are passed through); 0
 * when unknown. */
size_t spec_complete(struct arena *a, const char *path, const char ***names);

#endif
