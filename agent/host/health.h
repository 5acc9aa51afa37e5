/*
 * health.h: how the program of one app does, measured from its start on: the ready probe (the live probe
 * where there is no ready one, the mere life of the process where there is neither) says whether it is
 * healthy, the live probe whether it must be restarted. What the live probe says before the program is ready
 * counts for nothing: it is asked anew then, and the program is healthy when neither fails. Loop thread only.
 */
#ifndef AGENT_HOST_HEALTH_H
#define AGENT_HOST_HEALTH_H

#include <uv.h>

#include "agent/host/runspec.h"

struct health;

enum health_state {
	HEALTH_STARTING = 1, /* never healthy so far */
	HEALTH_HEALTHY,
	HEALTH_UNHEALTHY, /* was healthy, then failed as often in a row as the probe says */
};

struct health_view {
	enum health_state state;
	int64_t since_ms;	   /* HEALTHY: since when, by its thresholds; uv_now */
	int64_t measured_ms;	   /* when it was last looked at; 0 = never */
	uint32_t passes, failures; /* of the probe that decides */
	const char *why;	   /* the last failure, for people; "" */
	const char *untried;	   /* why the probe cannot be asked at all now, for people; "" when it can */
};

struct health_callbacks {
	void *arg;
	void (*changed)(void *arg); /* another state */
	/* The live probe failed: restart it. True: that is under way, and it is not told again; may close. */
	bool (*dead)(void *arg);
	/* Runs a probe's command; answers later with health_command_answer(h, probe, ...), never from within.
	 */
	void (*run)(void *arg, int probe, const struct runspec_probe *p);
};

/*
 * The program was started. `spec` and `http` must live as long. `healthy_since_ms` not 0: it was healthy
 * since then as far as is known (a new agent takes over a program that an earlier one had proven); the first
 * failure in a row ends that.
 */
must_check int health_open(struct health **out, uv_loop_t *loop, struct http_client *http,
			   const struct runspec *spec, int64_t healthy_since_ms,
			   const struct health_callbacks *cb, struct err *e);
void health_close(struct health *h); /* NULL-safe; no callback after it */
void health_command_answer(struct health *h, int probe, bool passed, const char *why);
void health_remind(struct health *h); /* it may be restarted now; `dead` comes when it should be */
struct health_view health_look(const struct health *h);

#endif
