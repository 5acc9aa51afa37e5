/*
 * probe.h: one probe of a program, repeated until closed: HTTP or TCP on loopback through wavetrain-http, or
 * a command that the owner runs (exec). Judges by thresholds in a row. All on the loop's thread; callbacks
 * come from the loop only.
 */
#ifndef STEPS_PROBE_H
#define STEPS_PROBE_H

#include <uv.h>

#include "agent/http/client.h"

struct probe;

enum probe_kind { PROBE_HTTP = 1, PROBE_TCP, PROBE_COMMAND };
enum probe_verdict { PROBE_UNDECIDED = 0, PROBE_PASSED, PROBE_FAILED };

/* Zero chooses the default in brackets. */
struct probe_config {
	enum probe_kind kind;
	const char
		*url; /* HTTP: "http://127.0.0.1:8080/ready"; TCP: "127.0.0.1:8080". Loopback only; copied */
	uint32_t status_min, status_max; /* [200, 399] HTTP; redirects are not followed */
	int64_t timeout_ms;		 /* [1 000] */
	int64_t interval_ms;		 /* [1 000] between the end of one try and the start of the next */
	int64_t healthy_ms;		 /* the passes in a row must also span this long */
	uint32_t pass, fail;		 /* [1, 3] in a row */
};

/* What was measured so far. Times are uv_now of the loop. */
struct probe_score {
	uint32_t passes, failures;	   /* all */
	uint32_t passes_row, failures_row; /* since the last of the other kind */
	int64_t row_since;		   /* when the first pass of the row ended */
	int64_t measured_ms;		   /* when the last try ended */
	enum probe_verdict verdict;
};

/* Pure: one try ended at `now`. */
void probe_score_add(struct probe_score *s, const struct probe_config *c, bool passed, int64_t now);

struct probe_callbacks {
	void *arg;
	/* The verdict changed; `why` is the last try's text for people, "" when it passed. May call
	 * probe_close. */
	void (*on_verdict)(void *arg, const struct probe_score *score, const char *why);
	/* COMMAND: run it once and call probe_answer, now or later, unless the probe is closed before. */
	void (*run_command)(void *arg);
};

/* The first try starts at once. `http` outlives the probe; a COMMAND does without. E_INVALID: not loopback,
 * or a field out of range. */
must_check int probe_open(struct probe **out, uv_loop_t *loop, struct http_client *http,
			  const struct probe_config *config, const struct probe_callbacks *callbacks,
			  struct err *e);
void probe_answer(struct probe *p, bool passed, const char *why);
void probe_forget(
	struct probe *p); /* its verdict and the row it stands in: as if it were asked for the first time */
const struct probe_score *probe_score_of(const struct probe *p);
/* Why the last try could not be made, which says nothing of the program; "" when it was made. Valid until the
 * loop turns. */
const char *probe_untried(const struct probe *p);
/* No callback comes after this; the memory is freed by the loop's next turns. NULL-safe. */
void probe_close(struct probe *p);

#endif
