#include "coordinator/spec/fields.h"

#include <string.h>

#define AT(type, member) offsetof(struct type, member)
#define GROUP(var, type)                                                                                     \
	static const struct group var = {var##_fields, ARRAY_LEN(var##_fields), sizeof(struct type)}
#define REQ	     FIELD_REQUIRED
#define TPL	     FIELD_TEMPLATE
#define DAY_MS	     86400000
#define DEADLINE_MAX (30LL * DAY_MS)

static const char *const artifact_types[] = {"tar.zst", "tar.gz", NULL};
static const struct field artifact_fields[] = {
	{"name", FIELD_NAME, REQ, AT(spec_artifact, name),
	 .doc = "Name of what is built, for people: releases are found by app and version."},
	{"type", FIELD_WORD, 0, AT(spec_artifact, type), .words = artifact_types,
	 .doc = "Form that the release must have. Default: any; a folder is pushed as `tar.zst`."},
};
GROUP(artifact, spec_artifact);

static const struct field targets_fields[] = {
	{"labels", FIELD_LABELS, REQ, AT(spec_targets, labels),
	 .doc = "A host takes part when it has all these labels."},
};
GROUP(targets, spec_targets);

static const struct field region_fields[] = {
	{"name", FIELD_NAME, REQ, AT(spec_region, name), .doc = "Region as the hosts were enrolled with it."},
	{"after", FIELD_NAME, 0, AT(spec_region, after),
	 .doc = "Start only when this region is done. Default: the region above it; the first one starts at "
		"once, as does one with `none`."},
	{"bake", FIELD_DURATION, 0, AT(spec_region, bake_ms), .dflt = "0s", .max = DEADLINE_MAX,
	 .doc = "Wait this long, healthy, after the region that this one waits for."},
};
GROUP(region, spec_region);

static const struct field rolling_fields[] = {
	{"batch", FIELD_AMOUNT, 0, AT(spec_rolling, batch), .dflt = "10%",
	 .doc = "Hosts of a wave in progress at once; a share rounds up, at least 1."},
};
GROUP(rolling, spec_rolling);
static const struct group recreate = {NULL, 0, sizeof(struct spec_recreate)};

static const struct field deadlines_fields[] = {
	{"progress", FIELD_DURATION, 0, AT(spec_deadlines, progress_ms), .dflt = "10m", .min = 1000,
	 .max = DEADLINE_MAX, .doc = "Stop when no host became healthy for this long."},
	{"total", FIELD_DURATION, 0, AT(spec_deadlines, total_ms), .dflt = "0s", .max = DEADLINE_MAX,
	 .doc = "Stop when the whole deployment takes longer; never starts anew. 0 means no such limit; a "
		"hold then ends after 7 days."},
	{"host", FIELD_DURATION, 0, AT(spec_deadlines, host_ms), .dflt = "30m", .min = 1000,
	 .max = DEADLINE_MAX, .doc = "One host, from its assignment to its verdict."},
	{"fetch", FIELD_DURATION, 0, AT(spec_deadlines, fetch_ms), .dflt = "10m", .min = 1000,
	 .max = DEADLINE_MAX,
	 .doc = "Fetching the artifact on one host, and as long again for unpacking it. What took longer is "
		"tried again while `host` allows."},
	{"drain", FIELD_DURATION, 0, AT(spec_deadlines, drain_ms), .dflt = "30s", .min = 100,
	 .max = DEADLINE_MAX,
	 .doc = "Taking one host out of traffic. A longer `traffic.drain.timeout` raises it unless both are "
		"given."},
	{"start", FIELD_DURATION, 0, AT(spec_deadlines, start_ms), .dflt = "90s", .min = 100,
	 .max = DEADLINE_MAX,
	 .doc = "Starting the process on one host, until it runs. How long it may take to become healthy is "
		"the `deadline` of its probes."},
	{"hook", FIELD_DURATION, 0, AT(spec_deadlines, hook_ms), .dflt = "5m", .min = 100, .max = 3600000,
	 .doc = "One hook, unless the hook says otherwise."},
	{"infrastructure", FIELD_DURATION, 0, AT(spec_deadlines, infrastructure_ms), .dflt = "30m",
	 .max = DEADLINE_MAX,
	 .doc = "Faults of store, network and balancer and the time without a coordinator stop the clocks of "
		"hosts and progress, for at most this long. 0 stops none."},
	{"pause", FIELD_DURATION, 0, AT(spec_deadlines, pause_ms), .dflt = "1d", .min = 1000,
	 .max = DEADLINE_MAX, .doc = "A pause becomes a hold after this."},
};
GROUP(deadlines, spec_deadlines);

static const struct field strategy_fields[] = {
	{"rolling", FIELD_GROUP, FIELD_PRESENCE, AT(spec_strategy, rolling), .group = &rolling,
	 .doc = "Host after host, in batches. This is what happens when no strategy is given."},
	{"recreate", FIELD_GROUP, FIELD_PRESENCE, AT(spec_strategy, recreate), .group = &recreate,
	 .doc = "Stop all hosts of a wave before the first one starts."},
	{"maxUnavailable", FIELD_AMOUNT, 0, AT(spec_strategy, max_unavailable), .dflt = "10%",
	 .doc = "Most hosts away at once; a share rounds down, at least 1."},
	{"floor", FIELD_PERCENT, 0, AT(spec_strategy, floor), .dflt = "90%",
	 .doc = "Share of hosts that stays available in every group, zone and region; rounds up."},
	{"failureBudget", FIELD_AMOUNT, 0, AT(spec_strategy, failure_budget), .dflt = "2%",
	 .doc = "Failed hosts allowed per wave; one more stops the deployment. A share rounds down and may "
		"be none: 2% of 40 hosts is 0."},
	{"minHealthyTime", FIELD_DURATION, 0, AT(spec_strategy, min_healthy_ms), .dflt = "10s", .max = DAY_MS,
	 .doc = "A host counts as available after being healthy this long without a break."},
	{"deadlines", FIELD_GROUP, 0, AT(spec_strategy, deadlines), .group = &deadlines,
	 .doc = "Time limits. Each has an exit: the deployment fails, holds or rolls back."},
};
GROUP(strategy, spec_strategy);

static const struct field haproxy_fields[] = {
	{"socket", FIELD_TEXT, REQ | TPL, AT(spec_haproxy, socket),
	 .doc = "Path of HAProxy's admin socket on the host of the agent, one that its wavetrain-exec "
		"allows (`--balancer-socket-allowed`)."},
	{"backend", FIELD_TEXT, REQ | TPL, AT(spec_haproxy, backend),
	 .doc = "Backend that holds the servers."},
	{"server", FIELD_TEXT, TPL, AT(spec_haproxy, server), .dflt = "{{ host }}",
	 .doc = "Name of this host's server in the backend."},
	{"stateFile", FIELD_TEXT, TPL, AT(spec_haproxy, state_file),
	 .doc = "Server state file to write, so that a reload of HAProxy keeps a drained server drained; one "
		"that wavetrain-exec allows (`--state-file-allowed`)."},
	{"minUp", FIELD_COUNT, 0, AT(spec_haproxy, min_up), .min = 1, .max = 100000,
	 .doc = "Other servers of the backend that must be UP for this one to be drained; the host waits for "
		"them. Default: 1."},
};
GROUP(haproxy, spec_haproxy);

static const struct field traffic_hook_fields[] = {
	{"drain", FIELD_ARGV, REQ | TPL, AT(spec_traffic_hook, drain),
	 .doc = "Command that takes the host out of traffic; exit code 0 when it is out."},
	{"undrain", FIELD_ARGV, REQ | TPL, AT(spec_traffic_hook, undrain),
	 .doc = "Command that brings it back."},
};
GROUP(traffic_hook, spec_traffic_hook);

static const char *const drain_thens[] = {"abort", "kill", NULL};
static const struct field drain_fields[] = {
	{"timeout", FIELD_DURATION, 0, AT(spec_drain, timeout_ms), .min = 100, .max = DEADLINE_MAX,
	 .doc = "How long open connections may take to end. Default: `strategy.deadlines.drain`."},
	{"then", FIELD_WORD, 0, AT(spec_drain, then), .words = drain_thens, .dflt = "abort",
	 .doc = "After the timeout: `abort` gives the host up and puts it back, `kill` cuts the "
		"connections."},
};
GROUP(drain, spec_drain);

static const struct field traffic_fields[] = {
	{"haproxy", FIELD_GROUP, FIELD_PRESENCE, AT(spec_traffic, haproxy), .group = &haproxy,
	 .doc = "Drain through HAProxy's admin socket."},
	{"hook", FIELD_GROUP, FIELD_PRESENCE, AT(spec_traffic, hook), .group = &traffic_hook,
	 .doc = "Drain through two commands of your own."},
	{"drain", FIELD_GROUP, 0, AT(spec_traffic, drain), .group = &drain,
	 .doc = "How long to wait for open connections, and what then."},
};
GROUP(traffic, spec_traffic);

static const struct field listener_fields[] = {
	{"name", FIELD_NAME, REQ, AT(spec_listen, name), .doc = "Name in LISTEN_FDNAMES."},
	{"address", FIELD_ADDRESS, REQ | TPL, AT(spec_listen, address),
	 .doc = "IPV4:PORT or [IPV6]:PORT, in numbers: nothing is looked up."},
};
GROUP(listener, spec_listen);

static const struct field limits_fields[] = {
	{"nofile", FIELD_COUNT, 0, AT(spec_limits, nofile), .dflt = "0", .max = 1 << 30,
	 .doc = "Open files. 0 leaves wavetrain-exec's limit."},
	{"nproc", FIELD_COUNT, 0, AT(spec_limits, nproc), .dflt = "0", .max = 1 << 22,
	 .doc = "Processes and threads of the app together; without a cgroup, of the user. 0: no limit of "
		"its own."},
	{"memory", FIELD_SIZE, 0, AT(spec_limits, memory), .dflt = "0B",
	 .doc = "Memory of the app together; without a cgroup, the address space of each process. 0: no "
		"limit of its own."},
	{"core", FIELD_SIZE, 0, AT(spec_limits, core), .dflt = "0B",
	 .doc = "Size of core files. 0 means none."},
	{"cpu", FIELD_DURATION, 0, AT(spec_limits, cpu_ms), .dflt = "0s",
	 .doc = "CPU time of one process, in whole seconds. 0 means no limit."},
};
GROUP(limits, spec_limits);

static const char *const signals[] = {"TERM", NULL};
static const struct field stop_fields[] = {
	{"signal", FIELD_WORD, 0, AT(spec_stop, signal), .words = signals, .dflt = "TERM",
	 .doc = "Signal that asks the process to end."},
	{"timeout", FIELD_DURATION, 0, AT(spec_stop, timeout_ms), .dflt = "10s", .max = 3600000,
	 .doc = "Then it is killed."},
};
GROUP(stop, spec_stop);

static const struct field backoff_fields[] = {
	{"initial", FIELD_DURATION, 0, AT(spec_backoff, initial_ms), .dflt = "1s", .min = 10, .max = 3600000,
	 .doc = "Wait before the first restart; doubles each time."},
	{"max", FIELD_DURATION, 0, AT(spec_backoff, max_ms), .dflt = "1m", .min = 10, .max = DAY_MS,
	 .doc = "Longest wait."},
};
GROUP(backoff, spec_backoff);

static const struct field restart_fields[] = {
	{"backoff", FIELD_GROUP, 0, AT(spec_restart, backoff), .group = &backoff,
	 .doc = "Waits between restarts."},
	{"maxTries", FIELD_COUNT, 0, AT(spec_restart, max_tries), .dflt = "5", .max = 1000000,
	 .doc = "Restarts in a row before the host is failed. 0 means never restart."},
};
GROUP(restart, spec_restart);

static const struct field output_fields[] = {
	{"maxBytes", FIELD_SIZE, 0, AT(spec_output, max_bytes), .dflt = "16MiB",
	 .doc = "Output kept per host and app: this much, and as much again of what came before."},
};
GROUP(output, spec_output);

static const struct field run_fields[] = {
	{"command", FIELD_ARGV, REQ | TPL, AT(spec_run, command),
	 .doc = "Program and arguments, run without a shell, in the slot of the version."},
	{"user", FIELD_TEXT, TPL, AT(spec_run, user),
	 .doc = "User to run as, one that wavetrain-exec allows (`--user-allowed`). Default: the user of "
		"wavetrain-exec; where that is root it is refused unless root is allowed, so name one."},
	{"workdir", FIELD_TEXT, TPL, AT(spec_run, workdir),
	 .doc = "Working directory. Default: the slot of the version."},
	{"env", FIELD_ENV, TPL, AT(spec_run, env),
	 .doc = "Environment variables; nothing is inherited. Beside them stand WAVETRAIN_APP, "
		"WAVETRAIN_VERSION, WAVETRAIN_HOST and WAVETRAIN_REGION, and PATH when it is not given."},
	{"listen", FIELD_LIST, 0, AT(spec_run, listen), .group = &listener,
	 .doc = "Sockets opened by wavetrain-exec and handed over (LISTEN_FDS), so no connection is refused "
		"during a swap."},
	{"limits", FIELD_GROUP, 0, AT(spec_run, limits), .group = &limits,
	 .doc = "Resource limits of the process."},
	{"stop", FIELD_GROUP, 0, AT(spec_run, stop), .group = &stop, .doc = "How the process is stopped."},
	{"restart", FIELD_GROUP, 0, AT(spec_run, restart), .group = &restart,
	 .doc = "What happens when it ends by itself."},
	{"output", FIELD_GROUP, 0, AT(spec_run, output), .group = &output,
	 .doc = "What is kept of its output."},
};
GROUP(run, spec_run);

static const struct field probe_fields[] = {
	{"http", FIELD_TEXT, TPL, AT(spec_probe, http),
	 .doc = "URL to get; its status decides. http:// and this host alone: 127.0.0.1, [::1] or "
		"localhost."},
	{"tcp", FIELD_ADDRESS, TPL, AT(spec_probe, tcp),
	 .doc = "Address to connect to, of this host: 127.0.0.1:PORT, [::1]:PORT or localhost:PORT."},
	{"exec", FIELD_ARGV, TPL, AT(spec_probe, exec), .doc = "Command to run; exit code 0 passes."},
	{"status", FIELD_RANGE, 0, AT(spec_probe, status), .dflt = "200-399",
	 .doc = "HTTP status codes that pass."},
	{"interval", FIELD_DURATION, 0, AT(spec_probe, interval_ms), .dflt = "2s", .min = 10, .max = 3600000,
	 .doc = "From one probe to the next."},
	{"timeout", FIELD_DURATION, 0, AT(spec_probe, timeout_ms), .dflt = "5s", .min = 10, .max = 3600000,
	 .doc = "Of one probe."},
	{"pass", FIELD_COUNT, 0, AT(spec_probe, pass), .dflt = "3", .min = 1, .max = 1000,
	 .doc = "Passes in a row that make it healthy."},
	{"fail", FIELD_COUNT, 0, AT(spec_probe, fail), .dflt = "3", .min = 1, .max = 1000,
	 .doc = "Failures in a row that make it unhealthy."},
	{"deadline", FIELD_DURATION, 0, AT(spec_probe, deadline_ms), .dflt = "90s", .min = 100,
	 .max = DEADLINE_MAX, .doc = "Healthy for the first time within this, or the host failed."},
};
GROUP(probe, spec_probe);

static const struct field health_fields[] = {
	{"start", FIELD_GROUP, FIELD_PRESENCE, AT(spec_health, start), .group = &probe,
	 .doc = "The process is up."},
	{"ready", FIELD_GROUP, FIELD_PRESENCE, AT(spec_health, ready), .group = &probe,
	 .doc = "It can serve: traffic may come."},
	{"live", FIELD_GROUP, FIELD_PRESENCE, AT(spec_health, live), .group = &probe,
	 .doc = "It still works: else it is restarted."},
};
GROUP(health, spec_health);

static const struct field hook_fields[] = {
	{"run", FIELD_COMMAND, REQ | TPL, AT(spec_hook, run),
	 .doc = "Command: a list runs as it is, a text runs through /bin/sh -c."},
	{"timeout", FIELD_DURATION, 0, AT(spec_hook, timeout_ms), .min = 100, .max = 3600000,
	 .doc = "Default: `strategy.deadlines.hook`."},
	{"user", FIELD_TEXT, TPL, AT(spec_hook, user), .doc = "User to run as. Default: `run.user`."},
};
GROUP(hook, spec_hook);

static const struct field hooks_fields[] = {
	{"beforeStop", FIELD_LIST, 0, AT(spec_hooks, before_stop), .group = &hook,
	 .doc = "While the old version still serves, before it is taken out of traffic. A failure gives the "
		"host "
		"up; `wavetrain deploy --skip-stop-hooks` leaves out what a running version has broken."},
	{"afterStop", FIELD_LIST, 0, AT(spec_hooks, after_stop), .group = &hook,
	 .doc = "After the old version ended."},
	{"beforeStart", FIELD_LIST, 0, AT(spec_hooks, before_start), .group = &hook,
	 .doc = "In the new version's slot, before it starts."},
	{"afterStart", FIELD_LIST, 0, AT(spec_hooks, after_start), .group = &hook,
	 .doc = "After the new process started, before probes decide."},
	{"afterHealthy", FIELD_LIST, 0, AT(spec_hooks, after_healthy), .group = &hook,
	 .doc = "After the probes passed, back in traffic."},
};
GROUP(hooks, spec_hooks);

static const char *const orders[] = {"reverse", NULL};
static const struct field rollback_fields[] = {
	{"auto", FIELD_BOOL, 0, AT(spec_rollback, is_auto), .dflt = "true",
	 .doc = "Go back by itself when the deployment fails because of the version."},
	{"order", FIELD_WORD, 0, AT(spec_rollback, order), .words = orders, .dflt = "reverse",
	 .doc = "The last wave goes back first."},
	{"batch", FIELD_PERCENT, 0, AT(spec_rollback, batch), .dflt = "33%",
	 .doc = "Share of a wave taken back at once; rounds up, at least 1."},
	{"floor", FIELD_PERCENT, 0, AT(spec_rollback, floor), .dflt = "67%",
	 .doc = "The floor while going back. When it is not given and `strategy.floor` is lower, it is "
		"that."},
};
GROUP(rollback, spec_rollback);

static const char *const value_types[] = {"string", "int", "duration", "size", "bool", "percent", NULL};
static const struct field value_fields[] = {
	{"type", FIELD_WORD, REQ, 0, .words = value_types,
	 .doc = "Type, checked for the default and for --set."},
	{"default", FIELD_ANY, 0, 0, .doc = "Used when --set gives none. Without it every deployment must."},
};
static const struct group value = {value_fields, ARRAY_LEN(value_fields), 0};

static const struct field top_fields[] = {
	{"schema", FIELD_SCHEMA, REQ, AT(spec, schema), .doc = "Format of the file: `wavetrain/v1`."},
	{"app", FIELD_NAME, REQ, AT(spec, app), .doc = "Name of the application."},
	{"values", FIELD_VALUES, 0, 0, .group = &value,
	 .doc = "Declared values, used as `\"{{ values.NAME }}\"` and given by `--set NAME=VALUE`."},
	{"artifact", FIELD_GROUP, REQ, AT(spec, artifact), .group = &artifact,
	 .doc = "What is deployed; the version is given at deploy time."},
	{"targets", FIELD_GROUP, REQ, AT(spec, targets), .group = &targets, .doc = "Which hosts take part."},
	{"regions", FIELD_LIST, REQ, AT(spec, regions), .group = &region,
	 .doc = "Regions and the order between them."},
	{"strategy", FIELD_GROUP, 0, AT(spec, strategy), .group = &strategy,
	 .doc = "How a region is rolled through, and when to stop."},
	{"traffic", FIELD_GROUP, FIELD_PRESENCE, AT(spec, traffic), .group = &traffic,
	 .doc = "How a host is taken out of traffic. Without it hosts are swapped in place."},
	{"run", FIELD_GROUP, REQ, AT(spec, run), .group = &run, .doc = "The process that the agent runs."},
	{"health", FIELD_GROUP, 0, AT(spec, health), .group = &health,
	 .doc = "Probes. Each has exactly one of `http`, `tcp` and `exec`."},
	{"hooks", FIELD_GROUP, 0, AT(spec, hooks), .group = &hooks,
	 .doc = "Commands around the swap on each host, in order; a failing one fails the host."},
	{"rollback", FIELD_GROUP, 0, AT(spec, rollback), .group = &rollback, .doc = "Going back."},
	{"keep", FIELD_COUNT, 0, AT(spec, keep), .dflt = "5", .min = 2, .max = 100,
	 .doc = "Versions kept on each host, the running one included."},
};
const struct group fields_top = {top_fields, ARRAY_LEN(top_fields), sizeof(struct spec)};

const struct field *fields_find(const struct group *g, const char *name)
{
	for (size_t i = 0; i < g->nr; i++)
		if (!strcmp(g->fields[i].name, name))
			return &g->fields[i];
	return NULL;
}

const char *fields_type_name(enum field_type t)
{
	static const char *const names[] = {
		[FIELD_SCHEMA] = "the text wavetrain/v1",
		[FIELD_NAME] = "a name",
		[FIELD_TEXT] = "a text",
		[FIELD_ADDRESS] = "an address (examples: 0.0.0.0:8080, [::1]:8080)",
		[FIELD_BOOL] = "true or false",
		[FIELD_COUNT] = "a whole number",
		[FIELD_DURATION] = "a duration (examples: 90s, 5m, 1h30m)",
		[FIELD_SIZE] = "a size (examples: 512KiB, 64MiB)",
		[FIELD_PERCENT] = "a share from 0% to 100% (examples: 10%, 2.5%)",
		[FIELD_AMOUNT] = "a count or a share (examples: 3, 10%)",
		[FIELD_WORD] = "one of the listed words",
		[FIELD_RANGE] = "a range of HTTP status codes (examples: 200, 200-399)",
		[FIELD_ARGV] = "a list of texts",
		[FIELD_COMMAND] = "a list of texts, or one text for the shell",
		[FIELD_LABELS] = "a mapping of names to texts",
		[FIELD_ENV] = "a mapping of variables to texts",
		[FIELD_GROUP] = "a mapping",
		[FIELD_LIST] = "a list of mappings",
		[FIELD_VALUES] = "a mapping of names to declarations",
		[FIELD_ANY] = "a text, number or boolean",
	};
	return names[t];
}
