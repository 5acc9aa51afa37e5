#include "agent/host/talk.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/known.h"
#include "agent/link/link.h"
#include "base/err.h"
#include "base/rng.h"
#include "proto/envelope.h"
#include "sys/log.h"

enum { REPORT_BYTES = 200 * 1024, AGAIN_MS = 1000, LOOK_WAIT_MS = 10000, LOOK_AGAIN_MS = 100 };

/* What the one request besides the poll is about. */
enum asked { ASKED_NOTHING = 0, ASKED_HELLO, ASKED_REPORT, ASKED_STATUS };

struct talk {
	uv_loop_t *loop;
	const struct bundle *bundle;
	const char *dir;
	struct known known;
	struct arena known_strings;
	struct host *host;
	struct driver *driver;
	struct agent_boot_id boot;
	struct link *link;
	struct rng rng;
	uv_timer_t *again;
	enum asked asked;
	bool greeted, polling, news, changed, waiting;
	bool first_said; /* a status went out in this run, or what runs took too long to be found out */
	uint64_t request_id, log_id, sent_chunk, epoch;
	uint32_t poll_wait_ms;
	int64_t opened_ms;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- saying
 * ------------------------------------------------------------------------------------------------------------
 */

static int say(struct talk *t, struct arena *a, envelope *e,
	       int (*send)(struct link *l, const void *p, size_t n))
{
	struct buf b;
	e->version = ENVELOPE_VERSION;
	e->request_id = ++t->request_id;
	e->epoch = t->epoch;
	e->boot_id = id128_bytes(a, t->boot.hi, t->boot.lo);
	e->cluster_id = id128_bytes(a, t->bundle->cluster_hi, t->bundle->cluster_lo);
	buf_init(&b);
	envelope_encode(&b, e);
	int rc = send(t->link, b.data, b.len);
	buf_done(&b);
	return rc;
}

static void say_hello(struct talk *t)
{
	struct arena a;
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Hello m = WAVETRAIN__AGENT__HELLO__INIT;
	arena_init(&a);
	m.agent_version = arena_strdup(&a, WAVETRAIN_VERSION);
	m.protocol_min = m.protocol_max = 1;
	m.generation = t->bundle->generation;
	m.free_bytes = host_free_bytes(t->host);
	uint64_t hi, lo;
	driver_spool_id(t->driver, &hi, &lo);
	m.spool_id = id128_bytes(&a, hi, lo);
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_HELLO;
	e.hello = &m;
	if (say(t, &a, &e, link_request) == E_OK)
		t->asked = ASKED_HELLO;
	arena_done(&a);
}

static Wavetrain__Agent__AppStatus *status_of(struct arena *a, const struct host_app *app)
{
	Wavetrain__Agent__AppStatus *s = arena_new(a, Wavetrain__Agent__AppStatus);
	wavetrain__agent__app_status__init(s);
	s->app = arena_strdup(a, app->app.s);
	s->target = digest_bytes(a, &app->target);
	s->health = (Wavetrain__Agent__Health)app->health;
	s->healthy_for_ms = app->healthy_for_ms > 0 ? (uint64_t)app->healthy_for_ms : 0;
	s->seq = app->seq;
	s->step = app->step;
	s->step_for_ms = (uint64_t)app->step_for_ms;
	s->note = arena_printf(a, "%.199s", app->note);
	s->restarts = app->restarts;
	s->in_rotation = app->in_rotation;
	s->fetched_bytes = app->fetched_bytes;
	s->fetch_total_bytes = app->fetch_total_bytes;
	s->fault_ms = app->fault_ms > 0 ? (uint64_t)app->fault_ms : 0;
	s->fault_lasts = app->fault_lasts;
	return s;
}

static int say_status(struct talk *t, uint32_t wait_ms, int (*send)(struct link *l, const void *p, size_t n))
{
	struct arena a;
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Poll m = WAVETRAIN__AGENT__POLL__INIT;
	arena_init(&a);
	const struct host_app *apps = host_look(t->host, &a, &m.n_apps);
	m.apps = arena_array(&a, Wavetrain__Agent__AppStatus *, m.n_apps + 1);
	for (size_t i = 0; i < m.n_apps; i++)
		m.apps[i] = status_of(&a, &apps[i]);
	m.log_id = t->log_id;
	m.after_seq = driver_after_seq(t->driver);
	m.wait_ms = wait_ms;
	m.free_bytes = host_free_bytes(t->host);
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_POLL;
	e.poll = &m;
	int rc = say(t, &a, &e, send);
	arena_done(&a);
	return rc;
}

/* 80 to 100 % of what the coordinator asked for: a fleet that was started together does not poll together. */
static void poll_now(struct talk *t)
{
	uint32_t fifth = t->poll_wait_ms / 5;
	uint32_t wait = t->poll_wait_ms - (uint32_t)rng_below(&t->rng, fifth + 1);
	t->polling = say_status(t, wait, link_poll) == E_OK;
	t->changed = t->changed && !t->polling;
}

static bool say_report(struct talk *t)
{
	struct buf body;
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	struct arena a;
	arena_init(&a);
	buf_init(&body);
	uint64_t last = driver_report(t->driver, t->sent_chunk, REPORT_BYTES, &body);
	Wavetrain__Agent__Report *m =
		last == 0 ? NULL : wavetrain__agent__report__unpack(NULL, body.len, body.data);
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT;
	e.report = m;
	bool said = m != NULL && say(t, &a, &e, link_request) == E_OK;
	if (m != NULL)
		wavetrain__agent__report__free_unpacked(m, NULL);
	buf_done(&body);
	arena_done(&a);
	return said;
}

static void go_on(struct talk *t);

static void on_again(uv_timer_t *timer)
{
	struct talk *t = timer->data;
	t->waiting = false;
	go_on(t);
}

/* Before the next word, so that what cannot be done or understood is not asked for in a tight loop. */
static void wait_a_moment(struct talk *t, uint64_t ms)
{
	t->waiting = true;
	uv_timer_start(t->again, on_again, ms, 0);
}

/*
 * The next thing to say, when the line is free for it. Reports go first: what is said of an app after its
 * result is known counts for the planner, what was said before does not (docs/decisions/0006).
 */
static void go_on(struct talk *t)
{
	if (!t->greeted || t->asked != ASKED_NOTHING || t->waiting)
		return;
	if (t->news) {
		t->news = false;
		if (say_report(t)) {
			t->asked = ASKED_REPORT;
			return;
		}
	}
	if (!t->first_said && !host_looked(t->host) &&
	    (int64_t)uv_now(t->loop) - t->opened_ms < LOOK_WAIT_MS) {
		wait_a_moment(t, LOOK_AGAIN_MS);
		return;
	}
	t->first_said = true;
	if (!t->polling)
		poll_now(t);
	else if (t->changed && say_status(t, 0, link_request) == E_OK) {
		t->asked = ASKED_STATUS;
		t->changed = false;
	}
}

/* ---- hearing
 * -----------------------------------------------------------------------------------------------------------
 */

/* Beside those that have been named there are those of the bundle: it may be newer than what was said last.
 */
static int dial_known(struct talk *t, struct err *e)
{
	struct arena a;
	arena_init(&a);
	int rc = link_coordinators(t->link, known_dial(&a, &t->known, t->bundle), e);
	arena_done(&a);
	return rc;
}

/* Each Welcome says it; what is new is kept for the next start. A coordinator of before names nobody. */
static void learn(struct talk *t, const Wavetrain__Agent__Welcome *m)
{
	struct arena a;
	struct known k;
	struct err e;
	arena_init(&a);
	int rc = known_take(&a, m->coordinators, m->n_coordinators, m->artifact_urls, m->n_artifact_urls, &k,
			    &e);
	bool is_new = rc == E_OK && k.nr > 0 && !known_same(&k, &t->known);
	if (is_new) {
		arena_reset(&t->known_strings);
		rc = known_take(&t->known_strings, m->coordinators, m->n_coordinators, m->artifact_urls,
				m->n_artifact_urls, &t->known, &e);
	}
	if (rc == E_OK && is_new)
		rc = dial_known(t, &e);
	if (rc == E_OK && is_new)
		rc = known_save(t->dir, t->bundle, &t->known, &e);
	if (rc != E_OK)
		log_warn("coordinators",
			 "the list that was said is not kept, a restart begins with the one before: %s",
			 e.text);
	else if (is_new)
		log_info("coordinators", "%zu of the cluster are known and kept", k.nr);
	arena_done(&a);
}

static void on_welcome(struct talk *t, const Wavetrain__Agent__Welcome *m)
{
	struct err e;
	t->greeted = true;
	t->poll_wait_ms = m->poll_wait_ms != 0 ? m->poll_wait_ms : t->bundle->poll_wait_ms;
	host_sources(t->host, m->artifact_urls, m->n_artifact_urls);
	learn(t, m);
	if (driver_acked(t->driver, m->acked_chunk, &e) != E_OK)
		log_warn("spool", "%s", e.text);
	t->sent_chunk = driver_acked_chunk(t->driver);
	t->news = true;
	driver_link(t->driver, true);
}

static void on_desired(struct talk *t, const Wavetrain__Agent__Desired *m)
{
	struct arena a;
	struct wire_desired w;
	struct err e;
	arena_init(&a);
	int rc = wire_desired_decode(&a, m, &w, &e);
	if (rc == E_OK && (w.nr > 0 || w.snapshot))
		rc = driver_desired(t->driver, &w, &e);
	if (rc == E_OK) {
		t->log_id = w.log_id;
		host_texts(t->host);
	} else
		log_error("coordinator", "what it assigned is not obeyed: %s", e.text);
	if (rc != E_OK || m->retry_after_ms > 0)
		wait_a_moment(t, m->retry_after_ms > 0 ? m->retry_after_ms : AGAIN_MS);
	arena_done(&a);
}

static void on_ack(struct talk *t, const Wavetrain__Agent__ReportAck *m)
{
	struct err e;
	if (driver_acked(t->driver, m->acked_chunk, &e) != E_OK) {
		log_error("spool", "%s", e.text);
		wait_a_moment(t, AGAIN_MS);
	}
	t->sent_chunk = driver_acked_chunk(t->driver);
	t->news = t->changed = true; /* more may wait, and what is said now counts */
}

/*
 * Nothing of what we said was looked at, and nothing is lost: orders are in the journal, reports in the spool
 * until they are acknowledged, and the next coordinator is asked for what comes after the last order. on_down
 * tells people where it goes and when.
 */
static void go_to_leader(struct talk *t, const Wavetrain__Agent__Problem *m)
{
	enum { RETRY_MOST_MS = 60 * 1000 };
	int64_t after = (int64_t)(m->retry_after_ms < RETRY_MOST_MS ? m->retry_after_ms : RETRY_MOST_MS);
	bool known = bundle_is_address(m->leader);
	if (!known && m->leader[0] != '\0')
		log_warn("coordinator",
			 "the leader it names is no \"host:port\"; the next of the list is dialed");
	link_leave_for(t->link, known ? m->leader : NULL, after);
}

static void on_problem(struct talk *t, const Wavetrain__Agent__Problem *m)
{
	if (strcmp(m->code, err_name(E_NOT_LEADER)) == 0) {
		go_to_leader(t, m);
		return;
	}
	log_warn("coordinator", "%.40s: %.200s", m->code, m->text);
	t->news = true;
	if (t->greeted)
		wait_a_moment(t, m->retry_after_ms > 0 ? m->retry_after_ms : AGAIN_MS);
	else
		link_leave(t->link, (int64_t)m->retry_after_ms);
}

static bool same_cluster(const struct talk *t, const envelope *e)
{
	uint64_t hi, lo;
	return bytes_id128(e->cluster_id, &hi, &lo) && hi == t->bundle->cluster_hi &&
	       lo == t->bundle->cluster_lo;
}

static void hear_body(struct talk *t, const envelope *e)
{
	t->epoch = e->epoch > t->epoch ? e->epoch : t->epoch;
	if (e->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_WELCOME)
		on_welcome(t, e->welcome);
	else if (e->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_DESIRED)
		on_desired(t, e->desired);
	else if (e->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT_ACK)
		on_ack(t, e->report_ack);
	else if (e->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_PROBLEM)
		on_problem(t, e->problem);
}

static void hear(struct talk *t, const uint8_t *bytes, size_t len)
{
	struct arena a;
	arena_init(&a);
	host_worked(t->host);
	const envelope *e = envelope_decode(&a, bytes, len);
	if (e == NULL || !same_cluster(t, e)) {
		log_error("coordinator", "an answer that is none of this cluster's is not heard");
		wait_a_moment(t, AGAIN_MS);
	} else
		hear_body(t, e);
	arena_done(&a);
}

/* ---- the link
 * ----------------------------------------------------------------------------------------------------------
 */

static void on_up(void *arg, const char *coordinator)
{
	struct talk *t = arg;
	log_info("link", "up to %s", coordinator);
	say_hello(t);
}

static void on_down(void *arg, const char *coordinator, const struct err *why, int64_t next_ms)
{
	struct talk *t = arg;
	bool named = strncmp(why->text, coordinator, strlen(coordinator)) == 0;
	log_warn("link", "%s%s%s; the next try is in %lld ms", named ? "" : coordinator, named ? "" : ": ",
		 why->text, (long long)next_ms);
	bool was = t->greeted;
	t->greeted = t->polling = t->waiting = false;
	t->asked = ASKED_NOTHING;
	uv_timer_stop(t->again);
	if (was)
		driver_link(t->driver, false);
}

static void on_poll_reply(void *arg, const uint8_t *bytes, size_t len)
{
	struct talk *t = arg;
	t->polling = false;
	hear(t, bytes, len);
	go_on(t);
}

static void on_reply(void *arg, const uint8_t *bytes, size_t len)
{
	struct talk *t = arg;
	t->asked = ASKED_NOTHING;
	hear(t, bytes, len);
	go_on(t);
}

static void on_wedged(void *arg)
{
	log_error("link", "libnng does not come back from a close; this process ends, the next one goes on");
	_exit(LINK_EXIT_RESTART); /* its threads are alive, and what exit() runs would wait for them */
}

void talk_reports(struct talk *t)
{
	t->news = true;
	go_on(t);
}

void talk_changed(struct talk *t)
{
	t->changed = true;
	go_on(t);
}

/* ---- opening and closing
 * ----------------------------------------------------------------------------------------------- */

/* What was said before this start, or nothing: then the bundle has to do. */
static void recall(struct talk *t)
{
	struct err e;
	int rc = known_load(&t->known_strings, t->dir, t->bundle, &t->known, &e);
	if (rc == E_OK && t->known.urls_nr > 0)
		host_sources(t->host, (char *const *)(uintptr_t)t->known.urls, t->known.urls_nr);
	if (rc != E_OK && rc != E_NOT_FOUND)
		log_warn("coordinators",
			 "%s; the file is not used, the coordinators of the bundle are dialed, and the first "
			 "that "
			 "answers has it written anew",
			 e.text);
}

int talk_open(struct talk **out, uv_loop_t *loop, const struct talk_config *cfg, struct err *e)
{
	const struct bundle *bundle = cfg->bundle;
	struct talk *t = calloc(1, sizeof(*t));
	PRE(t != NULL);
	*t = (struct talk){.loop = loop,
			   .bundle = bundle,
			   .dir = cfg->dir,
			   .host = cfg->host,
			   .driver = cfg->driver,
			   .boot = cfg->boot};
	arena_init(&t->known_strings);
	recall(t);
	rng_seed(&t->rng, cfg->seed);
	t->request_id = uv_hrtime(); /* rises over restarts within one boot */
	t->opened_ms = (int64_t)uv_now(loop);
	t->again = calloc(1, sizeof(*t->again));
	PRE(t->again != NULL);
	uv_timer_init(loop, t->again);
	t->again->data = t;
	struct arena a;
	arena_init(&a);
	const struct link_config c = {.coordinators = known_dial(&a, &t->known, bundle),
				      .tls = {bundle->ca, bundle->cert, bundle->key},
				      .server_name = bundle->server_name,
				      .backoff_cap_ms = cfg->reconnect_max_ms,
				      .seed = cfg->seed};
	const struct link_callbacks cb = {.arg = t,
					  .on_up = on_up,
					  .on_down = on_down,
					  .on_poll_reply = on_poll_reply,
					  .on_reply = on_reply,
					  .on_wedged = on_wedged};
	int rc = link_open(&t->link, loop, &c, &cb, e);
	arena_done(&a);
	if (rc != E_OK)
		talk_close(t, NULL, NULL);
	else
		*out = t;
	return rc;
}

static void on_timer_closed(uv_handle_t *h)
{
	free(h);
}

static void on_link_closed(void *arg)
{
	struct talk *t = arg;
	if (t->closed != NULL)
		t->closed(t->closed_arg);
	uv_close((uv_handle_t *)t->again, on_timer_closed);
	arena_done(&t->known_strings);
	free(t);
}

void talk_close(struct talk *t, void (*closed)(void *arg), void *arg)
{
	t->greeted = false;
	t->closed = closed;
	t->closed_arg = arg;
	if (t->link != NULL)
		link_close(t->link, on_link_closed, t);
	else
		on_link_closed(t);
}
