/* inner.h: what the files of agent/host share. Not for others. */
#ifndef AGENT_HOST_INNER_H
#define AGENT_HOST_INNER_H

#include "agent/host/ask.h"
#include "agent/host/health.h"
#include "agent/host/host.h"
#include "agent/host/records.h"
#include "agent/http/client.h"
#include "agent/steps/slots.h"
#include "agent/steps/tail.h"
#include "sys/rest.h"

enum { DETAIL_CAP = 200 };

/* One effect under way. It begins, and its end is told, on a turn of the loop of its own: no port calls back.
 */
struct work {
	struct host *host;
	struct agent_effect effect;
	struct arena arena;   /* what the effect needs, and dies with it */
	struct runspec *spec; /* of effect.target; NULL when that is none */
	bool begun, ended;
	struct ask *ask;
	struct http_call *fetch;
	bool in_slots; /* the effect's id is a ticket of slots */
	/* a row of hooks */
	const struct runspec_hooks *hooks;
	const char *hooks_name;
	size_t hook;
	void (*after_hooks)(struct work *w);
	uv_timer_t *timer; /* NULL until work_timer */
	uv_timer_t *limit; /* NULL: none but the step machine's */
	/* PROBE */
	struct probe *start_probe;
	int64_t began_ms, deadline_ms;
	bool started; /* START: an older activation was stopped for it. PROBE: the start probe passed */
	/* how it ended */
	int code;
	enum step_cause cause;
	char detail[DETAIL_CAP];
	struct agent_evidence evidence;
	struct work *prev, *next;
};

/* The program of one app as this host finds it. */
struct program {
	struct host *host;
	struct name app;
	bool known;		     /* exec said something since this agent began */
	struct exec_status status;   /* what it said last */
	struct health *health;	     /* NULL: nothing runs that could be measured */
	char unmeasured[DETAIL_CAP]; /* why what runs is not; "" when it is */
	struct arena arena;	     /* of its spec */
	struct runspec spec;
	uint64_t activation;	 /* that `health` measures; 0 = none */
	int32_t measured_pid;	 /* its process; 0 = the first that exec will name, -1 = it is gone */
	struct ask *commands[2]; /* of the probes */
	struct ask *restarting;	 /* a stop, because the live probe failed */
	struct ask *asking;	 /* the first status */
	char failed[DETAIL_CAP]; /* the last effect of the app, and why; "" when it went well */
	struct tail *tail;	 /* of its output; NULL until its folder is there */
	enum step step;		 /* last seen, and since when */
	int64_t step_since_ms;
	struct program *prev, *next;
};

struct host {
	uv_loop_t *loop;
	struct host_config cfg;
	struct arena strings, source_strings;
	char archives[1024];
	struct driver *driver;
	struct asks *asks;
	struct slots *slots;
	struct http_client *http;
	struct rest *rest;
	const char **urls; /* NULL: no coordinator said so far */
	struct work *works;
	struct program *programs;
	uv_timer_t *later;
	void (*reports)(void *arg);
	bool closing;
};

/* host.c */
void work_end(struct work *w, int code, enum step_cause cause, const char *fmt, ...) printf_like(4, 5);
void work_ok(struct work *w);
void work_later(struct host *h);
uv_timer_t *work_timer(struct work *w); /* the one timer of a work, closed with it */
struct work *work_of_app(struct host *h, const struct name *app); /* NULL: no effect is under way */
const struct agent_record *host_record(const struct host *h, const struct name *app);
/* The run spec of a target in `a`: its text as the driver keeps it, with this host's facts. */
must_check int host_spec(struct host *h, const struct name *app, const struct agent_target *t,
			 struct arena *a, struct runspec **out, struct err *e);
struct records_for host_for(const struct host *h, const struct name *app, const struct agent_target *t,
			    const struct runspec *spec);
void host_changed(struct host *h);

/* bytes.c: FETCH, UNPACK, FREE_SLOTS */
void bytes_fetch(struct work *w);
void bytes_unpack(struct work *w);
void bytes_free_slots(struct work *w);

/* acts.c: what exec does: SWAP, STOP, START, DRAIN, UNDRAIN, HOOK */
void acts_swap(struct work *w);
void acts_stop(struct work *w);
void acts_start(struct work *w);
void acts_drain(struct work *w);
void acts_undrain(struct work *w);
void acts_hook(struct work *w);
/* The hooks of a list one after the other, then `after`; the first that fails ends the work. */
void acts_run_hooks(struct work *w, const struct runspec_hooks *hooks, const char *name,
		    void (*after)(struct work *w));

/* prove.c: PROBE */
void prove_begin(struct work *w);
void prove_look(struct work *w); /* the health of its program changed */

/* program.c */
struct program *program_get(struct host *h, const struct name *app);
/* `activation` of `t` was started just now, or found running and healthy since (0: not known). */
void program_began(struct program *p, const struct agent_target *t, uint64_t activation,
		   int64_t healthy_since_ms);
void program_ended(struct program *p);
void program_measure(struct program *p); /* when it runs and is not measured */
void program_look(struct program *p);	 /* ask exec for the first time */
void program_status(struct program *p, const struct exec_status *s);
void program_free(struct program *p);
void program_rests(struct program *p); /* an effect of its app ended: what could not be done before may be */
bool program_up(const struct program *p);
void program_describe(struct program *p, struct arena *a, struct host_app *out);

#endif
