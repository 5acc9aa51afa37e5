/*
 * model.h: the nouns of wavetrain as plain values. The fold (state/) writes them, the planner (plan/) reads
 * them, codec.h turns them into protobuf rows and back. Strings are owned by the arena the value was loaded
 * into; `struct name` and `struct digest` are values. Pure; the words are those of docs/semantics.md.
 */
#ifndef STATE_MODEL_H
#define STATE_MODEL_H

#include "base/arena.h"
#include "base/ids.h"

struct label {
	const char *key, *value;
};

struct labels {
	struct label *v; /* sorted by key, keys unique */
	size_t nr;
};

struct app {
	struct name name;
	struct wall_ms created_at;
	const char *created_by;
};

struct environment {
	struct name name;
	const char *configuration; /* free text shown to people, may be "" */
	struct labels selector;	   /* hosts that belong to it: all labels equal; empty = every host */
	struct wall_ms created_at;
	const char *created_by;
};

struct host {
	struct name name, region, zone; /* zone may be empty: then the region is its zone */
	struct labels labels;
	uint64_t generation; /* of the host record; 1 for the first, +1 each time the name is added again */
	uint64_t seq;	     /* last assignment sequence given to this host, over all apps */
	bool removed;	     /* a tombstone: kept so that its generation is never reused */
	struct wall_ms created_at;
	const char *created_by;
};

/* Where the bytes come from. Filled by `release push` flags or a CI. */
struct build {
	const char *commit, *branch, *url;   /* may be "" */
	uint32_t tests_passed, tests_failed; /* both 0: not reported */
};

struct release {
	struct name app, version;
	struct digest artifact; /* SHA-256 of the archive as stored and served */
	uint64_t size_bytes, unpacked_bytes, entries;
	const char *type; /* "tar.zst" or "tar.gz" */
	struct build build;
	struct wall_ms created_at;
	const char *created_by;
};

/*
 * A target is what a host is asked to run: an artifact with a rendered deployment file. Its id is
 * SHA-256("wavetrain target 1\n" || artifact || spec). Slots on hosts are named by the artifact, evidence and
 * bad marks by the id.
 */
struct target {
	struct digest id; /* all zero: no target ("nothing runs") */
	struct digest artifact, spec;
	struct name version;
};

/* Why a target may not be deployed. Present until released by a named person with a reason. */
struct bad_mark {
	struct name app;
	struct target target;
	struct deployment_id deployment; /* that failed */
	const char *reason;
	struct wall_ms marked_at;
};

/* ---- rollout
 * ------------------------------------------------------------------------------------------------ */

enum rollout_state {
	ROLLOUT_DRAFT = 1,
	ROLLOUT_AWAITING_APPROVAL,
	ROLLOUT_AWAITING_WINDOW,
	ROLLOUT_RUNNING,
	ROLLOUT_PAUSED,
	ROLLOUT_HELD,
	ROLLOUT_ROLLING_BACK,
	ROLLOUT_SUCCEEDED,
	ROLLOUT_FAILED,
	ROLLOUT_ROLLED_BACK,
	ROLLOUT_CANCELLED,
	ROLLOUT_SUPERSEDED,
	ROLLOUT_STATE_NR
};

enum wave_state {
	WAVE_PENDING = 1,
	WAVE_GATED,
	WAVE_ROLLING,
	WAVE_BAKING,
	WAVE_PASSED,
	WAVE_FAILED,
	WAVE_SKIPPED,
	WAVE_STATE_NR
};

/* QUEUED: a host that has not been assigned yet. SKIPPED: one that left the fleet. */
enum task_state {
	TASK_QUEUED = 1,
	TASK_ASSIGNED,
	TASK_ACKED,
	TASK_FETCHED,
	TASK_STAGED,
	TASK_DRAINED,
	TASK_SWAPPED,
	TASK_PROBING,
	TASK_HEALTHY,
	TASK_FAILED,
	TASK_LOST,
	TASK_REVERTING, /* assigned to go back to `from` */
	TASK_REVERTED,
	TASK_SKIPPED,
	TASK_STOPPED, /* recreate: runs nothing, and waits for the rest of its wave */
	TASK_STATE_NR
};

enum direction { DIRECTION_FORWARD = 1, DIRECTION_BACK };

/* Why a task ended. CAUSE_INFRA stops the clock and never blames the version (D3). */
enum cause { CAUSE_NONE = 0, CAUSE_VERSION = 1, CAUSE_INFRA, CAUSE_OPERATOR };

/* A count, or a share of a whole in permille. The rounding is stated where it is used. */
struct amount {
	bool is_share;
	uint32_t v;
};

/* The numbers of the strategy, taken from the rendered file when the deployment is made and fixed from then
 * on. */
struct limits {
	bool recreate; /* stop all of a wave before the first start (docs/decisions/0007); else rolling */
	struct amount batch;	   /* hosts of a wave in progress at once; a share rounds up, at least 1 */
	struct amount unavailable; /* maxUnavailable; a share rounds down, at least 1 */
	permille floor;		   /* D2 p: f(d) = ceil(p * N(d)), in group, zone and region */
	struct amount budget; /* D2 failure budget per wave: more than this many failed stops; a share rounds
				 down */
	permille back_batch;  /* D9: share of a wave taken back at once, rounds up, at least 1 */
	permille back_floor;  /* D9: the floor while going back */
	bool auto_rollback;
	int64_t min_healthy_ms;
	int64_t progress_ms;  /* D3: resets only when a host becomes terminal-good */
	int64_t total_ms;     /* D3: never resets; 0 = none */
	int64_t task_ms;      /* one host, from assignment to verdict */
	int64_t infra_cap_ms; /* D3: infrastructure faults stop the clock at most this long */
	int64_t pause_ms;     /* a pause expires into HELD after this */
	bool skip_stop_hooks; /* of what runs now; not of the file, said with the deployment */
};

struct deployment {
	struct deployment_id id;
	struct name app, env;
	struct target target;
	struct labels
		selector; /* which hosts it is for: all labels equal; late hosts are matched against it */
	struct name from_version; /* what the first host that ran the app ran when it was made; for people */
	struct limits limits;
	enum rollout_state state;
	enum rollout_state resume_to; /* where PAUSED and HELD go back to */
	bool back;	    /* going back: true from ROLLING_BACK on, also while paused or held there */
	bool promoted;	    /* operator said promote --full: bakes are skipped */
	const char *reason; /* why it is in this state */
	const char *initiator;
	struct trace_id trace;
	uint64_t serial; /* log index that created it: later is newer */
	uint32_t waves_nr, hosts_nr;
	struct wall_ms created_at, state_since, ended_at;
	struct wall_ms total_deadline;	    /* 0 = none */
	struct deployment_id superseded_by; /* 0 = none */
};

struct wave {
	struct deployment_id deployment;
	uint32_t index; /* 0 is first */
	struct name region;
	uint64_t after;	 /* bit i: wave i must have PASSED (or been SKIPPED) and baked; at most 64 waves */
	int64_t bake_ms; /* D6 minimum after the wave's own last host became healthy */
	enum wave_state state;
	const char *reason;
	struct wall_ms state_since;
	uint32_t promoted; /* operator promoted past this wave's bake */
	uint64_t revision; /* counts the moves of its tasks: a decision about the wave names the one it was
			      made on */
	enum direction opened; /* recreate: the direction in which its hosts may start; 0 = none yet, they are
				  being stopped. Set by the first start (docs/decisions/0007) */
};

/* D1: what was measured, where, and after which activation. Times are the agent's monotonic clock. */
struct evidence {
	struct digest target;
	uint64_t boot_hi, boot_lo; /* the agent host's boot id */
	uint64_t activation;	   /* counts the starts of this app on this host */
	int64_t activated_ms, measured_ms;
	uint32_t passes, failures;
};

struct task {
	struct deployment_id deployment;
	struct name host;
	uint32_t wave, position; /* order inside the wave */
	enum task_state state;
	enum direction direction;
	struct target from; /* what the host ran and would go back to; id zero = nothing */
	bool touched;	    /* the target reached this host or may have; in recreate: it was told to stop */
	bool stop;	    /* recreate: its newest assignment is to run nothing */
	uint64_t seq;	    /* of the assignment; 0 while queued */
	struct fence fence; /* likewise */
	uint32_t attempts;  /* assignments so far, forward */
	enum cause cause;
	const char *reason; /* of FAILED, LOST, SKIPPED; what the agent said, bounded to 200 bytes */
	struct evidence evidence;
	struct wall_ms assigned_at, state_since, deadline; /* deadline 0 = none */
};

/* What one host should run and does run of one app: the row behind polls, drift and rollback targets. */
struct placement {
	struct name host, app, env;
	struct target current; /* last proven healthy by evidence; id zero = nothing */
	struct target stable;  /* last that passed a whole rollout here */
	/* The newest assignment; seq 0 = none ever. */
	uint64_t seq;
	struct fence fence;
	struct deployment_id deployment;
	uint32_t wave;
	enum direction direction;
	struct target desired;
	struct target fallback; /* where the agent goes by itself when desired does not become healthy */
	struct wall_ms assigned_at;
	struct trace_id trace;
};

/* ---- the cluster of coordinators
 * -------------------------------------------------------------------------------- */

/* One coordinator that is or was a member. Ids only grow; a removed one keeps its row and never comes back.
 */
struct node {
	uint64_t id;
	const char *address;	  /* host: others dial it, and its certificate names it */
	const char *peer_address; /* "host:port" of its peer port, as the log of consensus has it */
	uint32_t agent_port, artifact_port, join_port;
	bool standby;		  /* holds the log but does not vote */
	bool removed;		  /* a tombstone */
	struct digest key;	  /* SHA-256 of the public key it joined with; none: it made the cluster */
	const char *version;	  /* of the program, when it joined or last began to lead */
	struct wall_ms cert_ends; /* likewise, of its certificate */
	struct wall_ms created_at;
	const char *created_by;
};

/* What lets one coordinator in. The secret itself is nowhere but with who was given it. */
struct join_token {
	struct digest secret; /* SHA-256 of it: the name of the token */
	bool standby;	      /* who joins with it does not vote */
	bool revoked;
	struct wall_ms expires_at;
	uint64_t node; /* who joined with it; 0 = nobody */
	struct wall_ms created_at;
	const char *created_by;
};

struct audit_entry {
	uint64_t index; /* log index */
	struct wall_ms at;
	const char *actor; /* "uid:1000 (ann)", "planner", "agent:eu-1" */
	const char *verb, *object, *detail;
	struct trace_id trace;
	struct digest chain; /* SHA-256(previous chain || index || command) */
};

#endif
