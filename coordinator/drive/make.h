/*
 * make.h: a deployment out of a deployment file: which hosts, in which waves, with which numbers. Reads the
 * state, changes nothing; the same state, file and request give the same bytes (but for the id). Everything
 * lives in the arena.
 */
#ifndef DRIVE_MAKE_H
#define DRIVE_MAKE_H

#include "coordinator/spec/spec.h"
#include "coordinator/state/view.h"

/* A file as hosts get it. Agents take twice that, two of them and the rest of an assignment fit a frame. */
enum { MAKE_FILE_MAX = 64 * 1024 };

struct make_request {
	struct name app, version, env;
	const char *spec; /* the deployment file, YAML or JSON */
	size_t spec_len;
	bool force_bad;
	bool skip_stop_hooks; /* of what runs now: a broken beforeStop would stop each new version */
	struct deployment_id id;
	const char *initiator;
	struct trace_id trace;
};

/* What to tell people beside the command itself. */
struct make_text {
	const char **changes; /* "~ strategy.floor 900 -> 800", sorted by key */
	size_t changes_nr;
	const char **notes;
	size_t notes_nr;
	const char *severe; /* NULL, or why it needs the name typed */
	bool no_change;	    /* every host runs the target already */
	const char *error;  /* of a failure: what, where, why */
	const char *hint;   /* of a failure: what to do next; may be NULL */
};

/* E_OK, E_SPEC, E_NOT_FOUND, E_INFEASIBLE, E_CONFLICT, E_BAD_DIGEST, E_INVALID, E_TOO_LARGE; on failure error
 * and hint are set. */
must_check int make_deploy(struct state *st, struct arena *a, const struct make_request *rq,
			   struct command_deploy *out, struct make_text *text);

/* SHA-256("wavetrain target 1\n" || artifact || spec): docs/decisions/0002. */
struct digest make_target_id(const struct digest *artifact, const struct digest *spec);

#endif
