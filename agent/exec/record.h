/*
 * record.h: the one fixed-size record that wavetrain-exec accepts, and its answer. The program that may touch
 * the host parses nothing else. Both ends run on one host from one package, so numbers are in host order; the
 * version says so when they are not. A record is one SOCK_SEQPACKET message. Unused bytes are zero. Pure; any
 * thread.
 */
#ifndef AGENT_EXEC_RECORD_H
#define AGENT_EXEC_RECORD_H

#include "base/err.h"
#include "base/ids.h"

/* Exec keeps records on disk (store.c): fields are added at the end of struct exec_record, whatever the
 * version. */
enum { EXEC_MAGIC = 0x57545845, EXEC_REPLY_MAGIC = 0x57545852, EXEC_VERSION = 2 };

enum exec_op {
	EXEC_SWAP = 1, /* app, digest: flip apps/<app>/current to slots/<digest>; all zero: remove it */
	/* app, digest, target, activation, argv, env, user, workdir, limits, listens, restart: start from the
	 * slot. E_OK at once when the same activation of the same digest and target runs or is about to be
	 * restarted; E_CONFLICT when anything else of the app runs. Activation 0 is never the same. */
	EXEC_START,
	/* app, timeout_ms: TERM to the program's group, wait, KILL; reply.killed. Answered when nothing that
	 * the app forked is left; E_TIMEOUT when the kernel does not let go of it. A STOP that comes
	 * meanwhile waits for the same end; the sooner of the two times holds. */
	EXEC_STOP,
	EXEC_STATUS, /* app: reply.status; needs no fence */
	/* app, argv, env, user, workdir, timeout_ms: reply.hook_exit, reply.output. The same one, while it
	 * runs, is not run a second time: it gets the same end. */
	EXEC_HOOK,
	EXEC_DRAIN,   /* app, balancer, timeout_ms */
	EXEC_UNDRAIN, /* app, balancer, timeout_ms */
	/* seen_change; needs no fence. Answered with reply.app, .status and .change once an app changed after
	 * `seen_change`, oldest change first; 0: each app that exec knows counts as changed. Numbers rise
	 * over the lives of exec within one boot. One may wait per connection, another is refused with
	 * E_BUSY. */
	EXEC_WATCH,
	EXEC_OP_END
};

#define EXEC_MOST_TIMEOUT_MS 2592000000U /* 30 days: the longest that a deployment file may ask for */

enum {
	EXEC_ARGV_BYTES = 4096,
	EXEC_ENV_BYTES = 6144,
	EXEC_PATH_CAP = 256,
	EXEC_ADDR_CAP = 64,
	EXEC_SOCKET_CAP = 108,
	EXEC_LISTENS = 8,
	EXEC_OUTPUT_CAP = 4096,
	EXEC_TEXT_CAP = 256,
};

/* `count` strings, each terminated, back to back in the first `len` bytes. */
struct exec_argv {
	uint32_t count, len;
	char bytes[EXEC_ARGV_BYTES];
};
struct exec_env { /* NAME=value each */
	uint32_t count, len;
	char bytes[EXEC_ENV_BYTES];
};

/* A socket that exec opens once and passes to each program of the app (LISTEN_FDS). "127.0.0.1:80" or
 * "[::1]:80". */
struct exec_listen {
	char name[NAME_CAP];
	char addr[EXEC_ADDR_CAP];
};

enum {
	EXEC_LIMIT_NOFILE = 1,
	EXEC_LIMIT_NPROC = 2,
	EXEC_LIMIT_CORE = 4,
	EXEC_LIMIT_MEMORY = 8,
	EXEC_LIMIT_CPU = 16,
	EXEC_LIMIT_ALL = 31
};
struct exec_limits {
	uint32_t set; /* EXEC_LIMIT_*: which of the numbers below apply */
	uint32_t zero;
	uint64_t nofile, core_bytes;
	uint64_t cpu_s; /* of each process (RLIMIT_CPU) */
	/* Of all processes together where there is a cgroup; else RLIMIT_NPROC and RLIMIT_AS of each. */
	uint64_t nproc, memory_bytes;
};

/* What happens when the program dies by itself. */
struct exec_restart {
	uint32_t tries;	    /* 0: never restarted */
	uint32_t first_ms;  /* wait before the first; doubles */
	uint32_t most_ms;   /* the wait never exceeds this */
	uint32_t stable_ms; /* a life longer than this gives all tries back; 0: never */
};

struct exec_balancer { /* HAProxy runtime socket */
	char socket[EXEC_SOCKET_CAP];
	char backend[NAME_CAP];
	char server[NAME_CAP];
	char state_file[EXEC_PATH_CAP]; /* empty: none is written */
	uint32_t keep_up; /* servers that must stay UP beside this one; at least 1 is always kept */
};

struct exec_record {
	uint32_t magic, version, size, op;
	uint64_t request; /* comes back in the reply */
	struct fence fence;
	uint64_t seen_change;	     /* WATCH */
	uint64_t activation;	     /* START: comes back in the status */
	struct digest target;	     /* START: id of the target, comes back in the status */
	char app[NAME_CAP];	     /* empty for WATCH */
	char user[NAME_CAP];	     /* empty: the user of exec */
	char workdir[EXEC_PATH_CAP]; /* absolute; empty: the slot, for hooks apps/<app> */
	uint8_t digest[DIGEST_LEN];
	uint32_t timeout_ms;
	uint32_t output_bytes; /* START: output.log is rotated beyond this, one older is kept; 0: 1 MiB */
	struct exec_limits limits;
	struct exec_restart restart;
	uint32_t listen_count;
	struct exec_listen listens[EXEC_LISTENS];
	struct exec_balancer balancer;
	struct exec_argv argv; /* argv[0]: absolute, or relative to the slot (hooks: to apps/<app>/current) */
	struct exec_env env;
};

enum exec_run { EXEC_RUN_NONE, EXEC_RUN_UP, EXEC_RUN_STOPPED, EXEC_RUN_WAITING, EXEC_RUN_CRASH_LOOP };

struct exec_status {
	uint32_t run;		    /* enum exec_run; WAITING: dead, to be restarted after its backoff */
	int32_t pid;		    /* 0 unless UP */
	uint8_t digest[DIGEST_LEN]; /* of what was started, not of what `current` says */
	int64_t uptime_ms;
	uint32_t restarts;   /* by exec, since the last START */
	uint32_t tries_left; /* restarts still allowed */
	uint32_t last_known; /* 1 when the last death was seen: the next two hold */
	int32_t last_exit;   /* exit code, -1 when a signal ended it */
	int32_t last_signal; /* 0 when it exited */
	uint64_t activation; /* of what was started last, whether it runs or not */
	struct digest target;
	/* Of the app's cgroup, while there is one; the last two since the last START. */
	uint32_t metered; /* 1 when the next three hold */
	uint32_t zero;
	uint64_t memory_bytes, memory_peak_bytes, oom_kills;
};

struct exec_reply {
	uint32_t magic, version, size, op;
	uint64_t request;
	int32_t code; /* enum err_code */
	char text[EXEC_TEXT_CAP];
	char app[NAME_CAP]; /* that the status is of */
	uint64_t change;    /* WATCH: pass it as the next seen_change */
	uint32_t killed; /* STOP: the deadline passed and KILL was needed. HOOK: it was ended at its deadline
			  */
	int32_t hook_exit; /* exit code, 128 + signal */
	struct exec_status status;
	uint32_t output_len;   /* HOOK: the last bytes of what it wrote */
	uint32_t output_total; /* how much there was */
	char output[EXEC_OUTPUT_CAP];
};

/* Zero the record and fill its head. */
void record_init(struct exec_record *r, enum exec_op op, const char *app);
void record_reply_init(struct exec_reply *p, const struct exec_record *r);

/* Append one string. E_TOO_LARGE when it does not fit. */
must_check int record_add_arg(struct exec_record *r, const char *s);
must_check int record_add_env(struct exec_record *r, const char *name_value);

/* Is this a record exec may act on? `len` bytes came. E_PROTOCOL, E_VERSION or E_INVALID, with the field in
 * `e`. */
must_check int record_check(const void *bytes, size_t len, struct err *e);
must_check int record_reply_check(const void *bytes, size_t len, struct err *e);

/* Pointers into the record, NULL at the end. `out` holds at least count + 1; checked records only. */
void record_pointers(const char *bytes, uint32_t count, char **out);
enum { EXEC_STRINGS_MAX = 256 };

/* HAProxy names: [A-Za-z0-9._-]+, so that no ';', space or newline reaches its command line. */
bool record_lb_name_ok(const char *s);

#endif
