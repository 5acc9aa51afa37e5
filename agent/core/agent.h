/*
 * agent.h: the agent's step machine: what happened in, what to do out. Pure: no clock, file or socket; the
 * same events give the same updates. One agent holds one machine per app; at most one effect is outstanding
 * per app.
 *
 * The rule of the driver, in this order, for each update:
 *  0. remove the records of `forgets`, durably: they made room for others, whose records are not written
 * before;
 *  1. write and fsync every record of `journals`; then send AGENT_JOURNALED with its app and number. The
 * record's own effect is not in this update: it comes out of that event, so nothing can be done before it is
 * durable;
 *  2. cancel `cancels`: the driver stops that work; nothing is expected of it and its late AGENT_EFFECT_DONE
 * is ignored;
 *  3. start `effects`; each ends with exactly one AGENT_EFFECT_DONE unless cancelled. All effects may be
 * repeated after a crash, so each must be safe to do twice;
 *  4. put `reports` in the spool, in order;
 *  5. send AGENT_TIMER at `next_at`.
 *
 * Texts of targets (rendered files) do not pass through here: the driver keeps them by target id, durable
 * before it sends AGENT_DESIRED. Acknowledged chunks are a matter between link and spool.
 */
#ifndef CORE_AGENT_H
#define CORE_AGENT_H

#include "base/err.h"
#include "base/ids.h"
#include "base/sm.h"
#include "proto/steps.h"

enum {
	AGENT_APPS_MAX = 16,
	AGENT_STARTS_MAX = 3, /* starts of one target per assignment; going back has its own three */
	AGENT_REASON_CAP = 201,
	AGENT_REPORTS_MAX = 8 * AGENT_APPS_MAX,
	AGENT_KEEP_MAX = 5
};

struct agent_boot_id {
	uint64_t hi, lo;
};

/* What to run. All zero id: nothing. */
struct agent_target {
	struct digest id, artifact, spec;
	struct name version;
	uint64_t size_bytes, unpacked_bytes, entries;
	char type[16];
};

struct agent_assignment {
	struct name app;
	uint64_t seq;
	struct fence fence;
	uint64_t deployment;
	uint32_t wave;
	bool back, skip_stop_hooks;
	struct agent_target target, fallback;
	struct digest keep;   /* artifact that stays on disk as well: of what a rollback would bring back */
	int64_t deadline_ms;  /* from receipt; 0 = the default of one hour */
	int64_t fault_cap_ms; /* D3: faults around the host prolong that by this much at most */
	struct trace_id trace;
};

/* D1. Times are the host's monotonic clock of boot `boot`. */
struct agent_evidence {
	struct digest target;
	struct agent_boot_id boot;
	uint64_t activation;
	int64_t activated_ms, measured_ms;
	uint32_t passes, failures;
};

/*
 * Where an app is. Each state has exactly one next action (agent_action):
 *
 *   IDLE -> ACKED -fetch-> FETCHED -unpack-> STAGED -beforeStop-> LEAVING -drain-> DRAINED -stop-> STOPPED
 * -afterStop-> CLEARED -swap-> SWAPPED -beforeStart-> STARTING -start-> PROBING -probe-> PROVEN -undrain->
 * SERVING -afterHealthy-> HEALTHY (frees slots, as FAILED does)
 *
 *   ACKED -> PROBING when the target runs already; CLEARED -> HEALTHY when the target is "nothing".
 *   A failure before anything was touched -> FAILED. After that the same walk is done from LEAVING or DRAINED
 * with `reverting` set and the fallback as target, and ends in FAILED; without one, HALTING -stop-> FAILED.
 * What the balancer did not take back by then is owed: FAILED -undrain-> FAILED, once it is known to run.
 */
enum agent_state {
	AGENT_IDLE = 1,
	AGENT_ACKED,
	AGENT_FETCHED,
	AGENT_STAGED,
	AGENT_LEAVING,
	AGENT_DRAINED,
	AGENT_STOPPED,
	AGENT_CLEARED,
	AGENT_SWAPPED,
	AGENT_STARTING,
	AGENT_PROBING,
	AGENT_PROVEN,
	AGENT_SERVING,
	AGENT_HEALTHY,
	AGENT_HALTING,
	AGENT_FAILED,
	AGENT_STATE_NR
};

/* The journal record of one app: all that survives the agent. Fixed size, no pointers. */
struct agent_record {
	struct name app;
	uint64_t number; /* increasing per app */
	bool unknown;	 /* BOOT only: the file was damaged; ask exec what runs, probe again, guess nothing */
	enum agent_state state;
	struct agent_assignment work; /* newest obeyed; its fence is the highest; work.seq 0 = none ever */
	struct agent_target to;	      /* where the walk goes: work.target, or work.fallback while reverting */
	struct agent_target runs;     /* what was started last and not stopped; id zero = nothing */
	struct agent_target good;     /* last proven healthy here before `to` */
	bool reverting;		      /* going to the fallback after a failure */
	bool touched;		      /* drain began: the old program may not serve any more */
	bool drained;		      /* out of rotation */
	bool reviving;		      /* `runs` is started again, state unchanged (A10) */
	uint32_t starts;	      /* used, counted before each */
	uint64_t activation;	      /* counts the starts of this app on this host, for ever */
	struct agent_boot_id boot;    /* that activated_ms and accepted_ms belong to */
	int64_t activated_ms, accepted_ms;
	int64_t fault_since_ms; /* D3: store, network or balancer fail since then; 0 = they do not */
	int64_t fault_ms;	/* how long they failed before that, for this work */
	enum step_cause cause;
	int code; /* enum err_code */
	char reason[AGENT_REASON_CAP];
	struct agent_evidence evidence;
};

enum agent_effect_kind {
	AGENT_FETCH = 1, /* archive of `target` verified on disk; at once when its slot is there */
	AGENT_UNPACK,	 /* slot of `target` complete and verified; at once when it is */
	AGENT_HOOK,	 /* `hook` of `target`; at once when it has none */
	AGENT_DRAIN,	 /* out of rotation; `target` is what runs. At once when there is no balancer */
	AGENT_STOP,	 /* nothing of the app runs any more; fine when nothing did */
	AGENT_SWAP,  /* `current` names the slot of `target`, durable; E_NOT_FOUND, E_CORRUPT when the slot is
			not good.  Target id zero: `current` is removed */
	AGENT_START, /* `target` runs as `activation`; another activation of the app is replaced */
	AGENT_PROBE, /* start, ready thresholds and minHealthyTime hold in a row, from now; ends with evidence
		      */
	AGENT_UNDRAIN,	  /* in rotation */
	AGENT_FREE_SLOTS, /* remove slots of the app but `keep` */
	AGENT_EFFECT_NR
};

enum agent_hook {
	AGENT_HOOK_BEFORE_STOP = 1,
	AGENT_HOOK_AFTER_STOP,
	AGENT_HOOK_BEFORE_START,
	AGENT_HOOK_AFTER_HEALTHY
};

struct agent_effect {
	uint64_t id; /* unique in this run of the agent, never 0 */
	enum agent_effect_kind kind;
	struct name app;
	struct agent_target target;
	enum agent_hook hook;
	uint64_t activation;
	struct mono_ms deadline;	    /* the machine cancels by itself then */
	struct digest keep[AGENT_KEEP_MAX]; /* artifacts */
	uint32_t keep_nr;
	struct trace_id trace;
};

enum agent_report_kind { AGENT_REPORT_ACCEPTED = 1, AGENT_REPORT_STEP, AGENT_REPORT_RESULT };

struct agent_report {
	enum agent_report_kind kind;
	struct name app;
	uint64_t seq, deployment;
	struct trace_id trace;
	enum step from, to;		/* STEP */
	enum step state;		/* RESULT: HEALTHY, REVERTED, FAILED */
	enum step_cause cause;		/* RESULT */
	int code;			/* RESULT: enum err_code */
	char reason[AGENT_REASON_CAP];	/* RESULT */
	struct agent_evidence evidence; /* RESULT: all zero when none */
	struct digest running;		/* RESULT: target that runs now */
};

enum agent_event_kind {
	AGENT_BOOT = 1, /* first, once: records of the journal, boot id */
	AGENT_DESIRED,
	AGENT_JOURNALED,
	AGENT_EFFECT_DONE,
	AGENT_TIMER,
	AGENT_STATUS, /* what exec says of an app: after BOOT for each app, then on each change */
	AGENT_LINK_UP,
	AGENT_LINK_DOWN
};

enum agent_status {
	AGENT_RUNNING = 1,
	AGENT_NOT_RUNNING, /* and exec will not start it by itself */
	AGENT_RESTARTED,   /* died, exec started it again */
	AGENT_CRASH_LOOP   /* dies again and again; exec waits longer and longer */
};

struct agent_event {
	enum agent_event_kind kind;
	struct mono_ms now; /* all kinds */
	union {
		struct {
			const struct agent_record *records;
			size_t nr;
			struct agent_boot_id boot;
		} boot;
		struct {
			const struct agent_assignment *v;
			size_t nr;
			uint64_t up_to_seq;
			bool snapshot; /* all there is; apps not named keep what they run */
		} desired;
		struct {
			struct name app;
			uint64_t number;
		} journaled;
		struct {
			struct name app;
			uint64_t id;
			int code; /* E_OK or why not */
			enum step_cause cause;
			const char *detail;		/* may be NULL; valid during the call */
			struct agent_evidence evidence; /* PROBE: what was measured, of what */
		} done;
		struct {
			struct name app;
			enum agent_status status;
			struct agent_target target; /* what exec says it started; id zero = nothing */
			uint64_t activation;
		} status;
	};
};

struct agent_update {
	struct name forgets[AGENT_APPS_MAX];
	size_t forgets_nr;
	const struct agent_record *journals[AGENT_APPS_MAX]; /* valid until the next agent_step */
	size_t journals_nr;
	uint64_t cancels[2 * AGENT_APPS_MAX];
	size_t cancels_nr;
	struct agent_effect effects[AGENT_APPS_MAX];
	size_t effects_nr;
	struct agent_report reports[AGENT_REPORTS_MAX];
	size_t reports_nr;
	struct mono_ms next_at; /* 0 = no timer needed */
};

/* One app in memory: the record and what a restart may forget. */
struct agent_app {
	struct agent_record rec;
	bool in_use;
	bool durable;	    /* rec is on disk: effects may start */
	bool accepted_told; /* Accepted of work.seq was reported */
	bool result_told;
	bool tidied;		      /* FREE_SLOTS was done in this run */
	enum step told;		      /* step last reported */
	struct agent_effect effect;   /* id 0 = none outstanding */
	struct agent_assignment next; /* overtakes when it can; seq 0 = none */
	bool want_revive;
	bool seen_up;	       /* it was started or proven in this run, or exec said that it runs */
	bool revive_failed;    /* the last try to: no release waits for the next one */
	uint32_t failed_tries; /* transient failures in a row of FETCH or of reviving */
	char last_fault[AGENT_REASON_CAP]; /* of the last of them: the reason when the time runs out */
	struct mono_ms retry_at;	   /* 0 = now */
};

struct agent {
	struct agent_app apps[AGENT_APPS_MAX];
	struct agent_boot_id boot;
	uint64_t next_effect;
	uint64_t after_seq; /* for the next poll */
	bool booted;
};

void agent_init(struct agent *a);
/*
 * `out` is overwritten. E_INVALID when the event makes no sense (no BOOT yet, unknown app, a record that is
 * none) and nothing changed; E_TOO_LARGE when an assignment found no room (it is reported as failed, the rest
 * was done).
 */
int agent_step(struct agent *a, const struct agent_event *ev, struct agent_update *out);

const struct agent_app *agent_find(const struct agent *a, const struct name *app); /* NULL: not known */
enum step agent_step_of(const struct agent_record *r);
/* The one thing to do in this state; 0 = nothing (a state passed through, or at rest). */
enum agent_effect_kind agent_action(const struct agent_record *r);
bool agent_at_rest(const struct agent_record *r); /* IDLE, HEALTHY, FAILED */
/* How long this work stood still for faults around the host, one under way included (D3). */
int64_t agent_fault_ms(const struct agent_record *r, struct mono_ms now);
extern const struct sm agent_sm;

#endif
