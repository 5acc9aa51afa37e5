/*
 * agent.h: the agent's step machine. Pure: events in, updates out; time is in the event. One struct agent per
 * host, one small machine per app. The order that makes it safe is in the shape of the interface: an update
 * first names journal records; only when the driver says they are durable (AGENT_JOURNALED) does the machine
 * name the effect of the state just entered. So whatever is being done to the host stands in the journal
 * before it begins, and a restart does exactly that again.
 *
 *   SETTLED --assignment--> FETCHING -> STAGING -> DRAINING -> STOPPING -> SWAPPING -> STARTING -> PROBING ->
 * ADMITTING -> SETTLED |            |          |           |          |           |           | (result)
 *                              +-- failed before anything was touched: SETTLED            |           |
 *                                           +-- failed: back into rotation (ADMITTING) ---+           |
 *                                                      +-- failed: STOPPING again, now for the fallback +
 *
 * Each state is the name of its one effect, and each effect may be done twice.
 */
#ifndef AGENT_CORE_AGENT_H
#define AGENT_CORE_AGENT_H

#include "base/ids.h"
#include "base/sm.h"
#include "proto/steps.h"

enum agent_state {
	AGENT_SETTLED = 1,
	AGENT_FETCHING,
	AGENT_STAGING,
	AGENT_DRAINING,
	AGENT_STOPPING,
	AGENT_SWAPPING,
	AGENT_STARTING,
	AGENT_PROBING,
	AGENT_ADMITTING,
	AGENT_STATE_NR
};
extern const struct sm agent_machine;

struct agent_target {
	struct digest id; /* none: nothing is to run */
	struct digest artifact;
	struct name version;
};

struct agent_assignment {
	struct name app;
	uint64_t seq;
	struct fence fence;
	uint64_t deployment;
	uint32_t wave;
	bool back;
	struct agent_target target, fallback;
	int64_t deadline_ms; /* from receipt; 0 = none */
	struct trace_id trace;
};

struct agent_evidence {
	struct digest target;
	uint64_t activation;
	int64_t activated_ms, measured_ms; /* agent's monotonic clock */
	uint32_t passes, failures;
};

enum { AGENT_REASON_CAP = 200, AGENT_APPS_MAX = 32, AGENT_TRIES = 3 };

/* What is journalled per app: everything a restart needs. */
struct agent_record {
	struct agent_assignment assignment; /* the newest obeyed; seq 0 = none */
	enum agent_state state;
	struct agent_target aim; /* what the effects work towards: the target, or the fallback when failing */
	struct agent_target running; /* what `current` points at and was started last; none = nothing */
	struct agent_target good;    /* last one proven by evidence */
	bool failing;		     /* on the way to `aim` because the target failed */
	uint32_t tries;		     /* starts left; goes down, durably, before each */
	uint64_t activation;	     /* starts of this app on this host, ever */
	/* The result of the assignment once SETTLED. */
	enum step_state result; /* 0 = none yet */
	enum step_cause cause;
	char reason[AGENT_REASON_CAP];
	struct agent_evidence evidence;
};

enum agent_effect_kind {
	EFFECT_FETCH = 1, /* aim's archive into the store; done at once when its slot is there */
	EFFECT_STAGE,	  /* verified and unpacked into its slot */
	EFFECT_DRAIN,	  /* hook beforeStop, out of rotation, connections ended or the deadline */
	EFFECT_STOP,	  /* the program, hook afterStop; done at once when nothing runs */
	EFFECT_SWAP,	  /* `current` -> aim's slot; for no target: removed */
	EFFECT_START,	  /* hook beforeStart, the program from `current` */
	EFFECT_PROBE,	  /* ready and healthy for as long as asked; gives evidence */
	EFFECT_ADMIT,	  /* into rotation, hook afterHealthy */
	EFFECT_ENSURE,	  /* after a restart, settled: start `running` if it does not run */
	EFFECT_RETAIN, /* free slots beyond the number kept; never running, good or fallback. Not answered */
	EFFECT_CANCEL, /* stop the effect `id` early; it still answers, and is ignored. Not answered */
	EFFECT_NR
};

struct agent_effect {
	enum agent_effect_kind kind;
	uint64_t id;
	struct name app;
	struct agent_target aim, old; /* old: what runs before */
	uint64_t activation;
	const struct agent_record *record; /* of the app; valid until the next step */
};

enum agent_report_kind { REPORT_ACCEPTED = 1, REPORT_STEP, REPORT_RESULT };
struct agent_report {
	enum agent_report_kind kind;
	struct name app;
	enum step_state from, to;	   /* STEP */
	const struct agent_record *record; /* valid until the next step */
};

enum agent_event_kind { AGENT_BOOT = 1, AGENT_DESIRED, AGENT_JOURNALED, AGENT_EFFECT_DONE, AGENT_TIMER };

struct agent_event {
	enum agent_event_kind kind;
	int64_t now_ms; /* monotonic */
	union {
		struct {
			const struct agent_record *records;
			size_t nr;
		} boot;
		struct {
			const struct agent_assignment *assignments;
			size_t nr;
		} desired;
		struct name journaled;
		struct {
			struct name app;
			uint64_t id;
			bool ok;
			enum step_cause cause; /* when not ok */
			const char *reason;    /* when not ok; cut to AGENT_REASON_CAP */
			struct agent_evidence
				evidence; /* PROBE: activated_ms, measured_ms, passes, failures */
		} done;
	};
};

enum { AGENT_OUT_MAX = 4 * AGENT_APPS_MAX };
struct agent_update {
	const struct agent_record
		*journal[AGENT_APPS_MAX]; /* write and fsync these, then say AGENT_JOURNALED for each */
	size_t journal_nr;
	struct agent_effect effects[AGENT_OUT_MAX];
	size_t effects_nr;
	struct agent_report reports[AGENT_OUT_MAX];
	size_t reports_nr;
	int64_t next_at; /* AGENT_TIMER is wanted then; 0 = none */
};

struct agent_app {
	struct agent_record r;
	bool used;
	bool writing;	    /* a journal record is on its way */
	uint64_t effect_id; /* of the effect under way; 0 = none */
	enum agent_effect_kind effect;
	bool has_next; /* a newer assignment that waits for the effect under way */
	struct agent_assignment next;
	int64_t received_ms;  /* of the assignment, or of the boot after it */
	enum step_state told; /* last step reported */
	bool accepted;	      /* told so since the assignment came */
};

struct agent {
	struct agent_app apps[AGENT_APPS_MAX];
	uint64_t effects; /* ids given out */
};

void agent_init(struct agent *a);
void agent_step(struct agent *a, const struct agent_event *ev, struct agent_update *out);

/* For heartbeats: the record of the i-th app, or NULL. */
const struct agent_record *agent_app_record(const struct agent *a, size_t i);
enum step_state agent_app_step(const struct agent *a, size_t i); /* as enum task_state of the coordinator */
/* Highest sequence number that is durable here: what a poll asks after. */
uint64_t agent_after_seq(const struct agent *a);

#endif
