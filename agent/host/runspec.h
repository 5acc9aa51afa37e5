/*
 * runspec.h: what the canonical form of a deployment file means on this host: the agent's reader of the JSON
 * that coordinator/spec renders (`spec` of a Target; its digest was checked when it came). Templates are
 * filled in with the facts of the host. Everything lives in the arena; any thread.
 */
#ifndef AGENT_HOST_RUNSPEC_H
#define AGENT_HOST_RUNSPEC_H

#include "agent/core/agent.h"
#include "agent/steps/probe.h"
#include "base/arena.h"

struct runspec_pair {
	const char *key, *value;
};
struct runspec_facts {
	const char *host, *region, *version;
	const struct runspec_pair *labels;
	size_t labels_nr;
};

struct runspec_strings {
	const char **v;
	size_t nr;
};

struct runspec_probe {
	bool set;
	struct probe_config config;  /* `url` is empty for a command */
	struct runspec_strings exec; /* PROBE_COMMAND */
	int64_t deadline_ms;	     /* healthy for the first time within this */
};

struct runspec_hook {
	struct runspec_strings run;
	int64_t timeout_ms;
	const char *user; /* "": the user of wavetrain-exec */
};
struct runspec_hooks {
	struct runspec_hook *v;
	size_t nr;
};

enum runspec_traffic { RUNSPEC_IN_PLACE = 1, RUNSPEC_HAPROXY, RUNSPEC_COMMANDS };

struct runspec_listen {
	const char *name, *address;
};

struct runspec {
	struct runspec_strings command;
	const char *user, *workdir; /* "": of exec; "": the slot */
	struct runspec_strings env; /* NAME=value */
	struct runspec_listen *listen;
	size_t listen_nr;
	uint64_t nofile, nproc, memory_bytes, core_bytes; /* 0: not limited; core 0: none */
	int64_t cpu_ms;
	int64_t stop_ms;
	int64_t restart_first_ms, restart_most_ms;
	uint32_t restart_tries;
	uint64_t output_bytes;
	struct runspec_probe start, ready, live;
	struct runspec_hooks hooks[AGENT_HOOK_AFTER_HEALTHY + 1]; /* by enum agent_hook */
	struct runspec_hooks after_start;
	enum runspec_traffic traffic;
	const char *lb_socket, *lb_backend, *lb_server, *lb_state_file; /* HAProxy; the last may be "" */
	uint32_t lb_min_up;						/* 0: as exec has it */
	struct runspec_strings drain, undrain;				/* commands */
	int64_t drain_ms;
	bool drain_kills; /* after drain_ms the connections are cut; else the host is given up and put back */
	int64_t fetch_ms, start_ms; /* most for fetching, and as much for unpacking; for starting */
	int64_t min_healthy_ms;
	uint32_t keep;
};

/* E_SPEC with the key that is not as it must be: a file that the coordinator's library did not write. */
must_check int runspec_parse(struct arena *a, const char *json, size_t len, const struct runspec_facts *facts,
			     struct runspec *out, struct err *e);

#endif
