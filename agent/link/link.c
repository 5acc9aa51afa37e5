#include "agent/link/link.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/link/attempt.h"
#include "agent/link/machine.h"
#include "base/rng.h"

enum { COORDINATORS_MAX = 16, ADDRESS_CAP = 272 };

/*
 * A peer that refuses us does so right after the hellos (TLS 1.3 tells a client late). A message being sent
 * at that moment can wedge libnng for ever, so nothing is sent before the session lasted this long.
 */
enum { SETTLE_MS = 20 };

static const struct sm_state states[LINK_STATE_NR] = {
	[LINK_WAITING] = {"waiting", SM_INITIAL, SM_TO(LINK_DIALING) | SM_TO(LINK_STOPPED), "the back-off"},
	[LINK_DIALING] = {"dialing", 0, SM_TO(LINK_SETTLING) | SM_TO(LINK_CLOSING) | SM_TO(LINK_WAITING),
			  "a session"},
	[LINK_SETTLING] = {"settling", 0, SM_TO(LINK_UP) | SM_TO(LINK_CLOSING), "a peer that leaves at once"},
	[LINK_UP] = {"up", 0, SM_TO(LINK_CLOSING), "calls and replies"},
	[LINK_CLOSING] = {"closing", 0, SM_TO(LINK_WAITING) | SM_TO(LINK_STOPPED), "libnng to let go"},
	[LINK_STOPPED] = {"stopped", SM_TERMINAL, 0, NULL},
};
const struct sm link_sm = {"link", states, LINK_STATE_NR};

struct link {
	uv_loop_t *loop;
	struct link_config config;
	struct link_callbacks callbacks;
	char *coordinators[COORDINATORS_MAX + 1];
	size_t coordinators_nr, current;
	char visited[ADDRESS_CAP]; /* is dialed instead of the current one: who leads, though not of the list
				    */
	char leader[ADDRESS_CAP];  /* is dialed next; empty: the one after the current one */
	char *server_name, *ca, *cert, *key;
	enum link_state state;
	struct attempt *attempt;
	struct inbox inbox;
	uv_timer_t timer; /* back-off, dial limit or close limit, by state */
	struct rng rng;
	unsigned failures; /* in a row, without a healthy session between */
	unsigned referred; /* to a leader, likewise */
	uint64_t up_since;
	uint64_t last_call; /* when the last message was given to libnng */
	bool close_waits;   /* CLOSING, but the socket is left a moment more */
	int64_t next_ms;    /* until the next dial, once closed */
	bool stopping;
	unsigned handles;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void on_timer(uv_timer_t *timer);

static void move(struct link *l, enum link_state to)
{
	PRE(sm_edge_allowed(&link_sm, (int)l->state, (int)to));
	l->state = to;
}

/* From now, also when the loop was kept busy since it looked at the clock. */
static void set_timer(struct link *l, int64_t ms)
{
	uv_update_time(l->loop);
	PRE(uv_timer_start(&l->timer, on_timer, ms > 0 ? (uint64_t)ms : 0, 0) == 0);
}

static const char *coordinator(const struct link *l)
{
	return l->visited[0] != '\0' ? l->visited : l->coordinators[l->current];
}

/* stopping ---------------------------------------- */

static void free_coordinators(struct link *l)
{
	for (size_t i = 0; i < l->coordinators_nr; i++)
		free(l->coordinators[i]);
	l->coordinators_nr = 0;
}

static void link_free(struct link *l)
{
	free_coordinators(l);
	free(l->server_name);
	free(l->ca);
	free(l->cert);
	free(l->key);
	free(l);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct link *l = handle->data;

	if (--l->handles > 0)
		return;
	void (*closed)(void *) = l->closed;
	void *arg = l->closed_arg;
	inbox_done(&l->inbox);
	link_free(l);
	if (closed)
		closed(arg);
}

static void stop(struct link *l)
{
	move(l, LINK_STOPPED);
	uv_close((uv_handle_t *)&l->timer, on_handle_closed);
	uv_close((uv_handle_t *)&l->inbox.async, on_handle_closed);
}

/* sessions end ---------------------------------------- */

/*
 * How long to wait before the next dial; a session that was healthy forgives the failures before it. Who is
 * sent to a leader has found a cluster that works: it waits little, whatever came before, and never so long
 * that the leader would think it lost.
 */
static int64_t next_wait(struct link *l)
{
	const struct link_config *c = &l->config;
	bool was_up = l->state == LINK_UP, to_leader = l->leader[0] != '\0';
	unsigned *n = to_leader ? &l->referred : &l->failures;

	if (was_up && uv_now(l->loop) - l->up_since >= (uint64_t)c->healthy_ms)
		l->failures = l->referred = 0;
	int64_t wait = rng_full_jitter_ms(&l->rng, *n, c->backoff_base_ms,
					  to_leader ? c->referred_cap_ms : c->backoff_cap_ms);
	if (*n < 32)
		(*n)++;
	return wait;
}

static void tell_down(struct link *l, const struct err *why)
{
	if (!l->stopping && l->callbacks.on_down)
		l->callbacks.on_down(l->callbacks.arg, coordinator(l), why, l->next_ms);
}

/* Closing while libnng sends can wedge it, so a message just given to it is left a moment to
 * leave. */
static void start_closing(struct link *l)
{
	uint64_t quiet = uv_now(l->loop) - l->last_call;

	l->close_waits = l->last_call > 0 && quiet < SETTLE_MS;
	if (l->close_waits) {
		set_timer(l, (int64_t)(SETTLE_MS - quiet));
		return;
	}
	attempt_close(l->attempt);
	set_timer(l, l->config.close_timeout_ms);
}

/* The session or attempt is over: close it on the side, tell why, go to the next coordinator after a while.
 */
static void end(struct link *l, int64_t at_least_ms, const struct err *why)
{
	struct err best = *why;

	l->next_ms = at_least_ms + next_wait(l);
	/* What TLS said is the cause of whatever libnng made of it. */
	if (at_least_ms == 0 && engine_note_get(l->attempt->note, &best))
		err_wrap(&best, "%s", coordinator(l));
	move(l, LINK_CLOSING);
	start_closing(l);
	tell_down(l, &best);
}

static void end_with(struct link *l, int code, const char *what)
{
	struct err e;

	err_set(&e, code, "%s: %s", coordinator(l), what);
	end(l, 0, &e);
}

static bool find(const struct link *l, const char *address, size_t *at)
{
	for (size_t i = 0; i < l->coordinators_nr; i++)
		if (strcmp(l->coordinators[i], address) == 0) {
			*at = i;
			return true;
		}
	return false;
}

/* The leader that we were sent to, or the next of the list. */
static void choose_next(struct link *l)
{
	char to[ADDRESS_CAP];

	memcpy(to, l->leader, sizeof(to));
	l->leader[0] = l->visited[0] = '\0';
	if (to[0] == '\0')
		l->current = (l->current + 1) % l->coordinators_nr;
	else if (!find(l, to, &l->current))
		memcpy(l->visited, to, sizeof(to));
}

static void on_closed(struct link *l)
{
	uv_thread_join(&l->attempt->close_thread);
	attempt_free(l->attempt);
	l->attempt = NULL;
	if (l->stopping) {
		stop(l);
		return;
	}
	choose_next(l);
	move(l, LINK_WAITING);
	set_timer(l, l->next_ms);
}

/* sessions begin ---------------------------------------- */

/* "host:port" and "[v6]:port" without port and brackets. */
static void host_of(const char *address, char out[ADDRESS_CAP])
{
	const char *colon = strrchr(address, ':');
	size_t n = colon ? (size_t)(colon - address) : strlen(address);

	if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
		address++;
		n -= 2;
	}
	memcpy(out, address, n);
	out[n] = 0;
}

static void dial(struct link *l)
{
	const struct link_config *c = &l->config;
	char host[ADDRESS_CAP];
	struct err e;

	host_of(coordinator(l), host);
	struct attempt_options o = {
		.address = coordinator(l),
		.server_name = l->server_name ? l->server_name : host,
		.tls = &c->tls,
		.send_ms = (nng_duration)c->send_timeout_ms,
		.reply_ms = {[CALL_POLL] = (nng_duration)c->poll_timeout_ms,
			     [CALL_REQUEST] = (nng_duration)c->reply_timeout_ms},
		.reply_max = c->reply_max,
	};
	move(l, LINK_DIALING);
	if (attempt_open(&l->attempt, &l->inbox, &o, &e) == E_OK) {
		set_timer(l, c->dial_timeout_ms);
		return;
	}
	/* Files that cannot be read now may be in the middle of a renewal. */
	l->next_ms = next_wait(l);
	move(l, LINK_WAITING);
	set_timer(l, l->next_ms);
	tell_down(l, &e);
}

static void on_dialed(struct link *l, int rv)
{
	if (l->state != LINK_DIALING)
		return; /* too late, it is being closed */
	if (rv != 0) {
		end_with(l, E_UNAVAILABLE, nng_strerror(rv));
		return;
	}
	move(l, LINK_SETTLING);
	set_timer(l, SETTLE_MS);
}

static void on_settled(struct link *l)
{
	move(l, LINK_UP);
	l->up_since = uv_now(l->loop);
	if (l->callbacks.on_up)
		l->callbacks.on_up(l->callbacks.arg, coordinator(l));
}

static void on_wedged(struct link *l)
{
	if (!l->callbacks.on_wedged)
		_exit(LINK_EXIT_RESTART);
	l->callbacks.on_wedged(l->callbacks.arg);
}

/* news ---------------------------------------- */

static void on_reply(struct link *l, struct call *c, nng_msg *msg)
{
	const struct link_callbacks *cb = &l->callbacks;

	c->busy = false;
	if (l->state != LINK_UP)
		return;
	if (c->kind == CALL_POLL)
		cb->on_poll_reply(cb->arg, nng_msg_body(msg), nng_msg_len(msg));
	else
		cb->on_reply(cb->arg, nng_msg_body(msg), nng_msg_len(msg));
}

static void on_call_failed(struct link *l, struct call *c, int rv)
{
	c->busy = false;
	if (l->state != LINK_UP)
		return;
	if (rv == NNG_ETIMEDOUT)
		end_with(l, E_TIMEOUT,
			 c->kind == CALL_POLL ? "a poll got no answer in time"
					      : "a request got no answer in time");
	else
		end_with(l, E_CLOSED, nng_strerror(rv));
}

static void on_one(struct link *l, struct news *n)
{
	switch (n->kind) {
	case NEWS_DIALED:
		on_dialed(l, n->rv);
		break;
	case NEWS_PIPE_GONE:
		if (n->about == l->attempt && (l->state == LINK_UP || l->state == LINK_SETTLING))
			end_with(l, E_CLOSED, "the connection ended");
		break;
	case NEWS_REPLY:
		on_reply(l, n->about, n->msg);
		break;
	case NEWS_CALL_FAILED:
		on_call_failed(l, n->about, n->rv);
		break;
	case NEWS_CLOSED:
		on_closed(l);
		break;
	case NEWS_NR:
		break;
	}
}

static void on_news(uv_async_t *async)
{
	struct link *l = async->data;
	struct news *n = inbox_take(&l->inbox), *next;

	for (; n; n = next) {
		next = n->next;
		on_one(l, n);
		inbox_free(n);
	}
}

/* time ---------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
	struct link *l = timer->data;
	enum link_state due = l->state;

	/* libnng may have been in time, and only this loop late. */
	on_news(&l->inbox.async);
	if (l->state != due)
		return;
	if (l->state == LINK_WAITING)
		dial(l);
	else if (l->state == LINK_DIALING)
		end_with(l, E_TIMEOUT, "no session in time");
	else if (l->state == LINK_SETTLING)
		on_settled(l);
	else if (l->state == LINK_CLOSING && l->close_waits)
		start_closing(l);
	else if (l->state == LINK_CLOSING)
		on_wedged(l);
}

/* open, call, close ---------------------------------------- */

static char *copy(const char *s)
{
	char *c = s ? strdup(s) : NULL;

	PRE(!s || c);
	return c;
}

#define DEFAULT(field, value) ((field) = (field) ? (field) : (value))

static void set_config(struct link *l, const struct link_config *config)
{
	struct link_config *c = &l->config;

	*c = *config;
	c->tls.ca = l->ca = copy(config->tls.ca);
	c->tls.cert = l->cert = copy(config->tls.cert);
	c->tls.key = l->key = copy(config->tls.key);
	l->server_name = copy(config->server_name);
	DEFAULT(c->backoff_base_ms, 500);
	DEFAULT(c->backoff_cap_ms, 60 * 1000);
	DEFAULT(c->referred_cap_ms, 10 * 1000);
	DEFAULT(c->healthy_ms, 60 * 1000);
	DEFAULT(c->dial_timeout_ms, 15 * 1000);
	DEFAULT(c->send_timeout_ms, 5 * 1000);
	DEFAULT(c->poll_timeout_ms, 50 * 1000);
	DEFAULT(c->reply_timeout_ms, 10 * 1000);
	DEFAULT(c->close_timeout_ms, 5 * 1000);
	DEFAULT(c->reply_max, 1024 * 1024);
}

static bool is_address(const char *s)
{
	return strchr(s, ':') != NULL && strlen(s) < ADDRESS_CAP;
}

static int check_coordinators(const char *const *list, struct err *e)
{
	size_t nr = 0;

	for (; list[nr]; nr++) {
		if (nr == COORDINATORS_MAX)
			return err_set(e, E_TOO_LARGE, "link: more than %d coordinators", COORDINATORS_MAX);
		if (!is_address(list[nr]))
			return err_set(e, E_INVALID, "link: '%.64s' is not host:port", list[nr]);
	}
	if (nr == 0)
		return err_set(e, E_INVALID, "link: no coordinator to dial; give at least one host:port");
	return E_OK;
}

static int set_coordinators(struct link *l, const char *const *list, struct err *e)
{
	int rc = check_coordinators(list, e);

	if (rc)
		return rc;
	free_coordinators(l);
	for (; *list; list++)
		l->coordinators[l->coordinators_nr++] = copy(*list);
	return E_OK;
}

/* What cannot be used now would never be: say so at once, not in the log of the hundredth attempt. */
static int check_files(const struct link *l, struct err *e)
{
	SSL_CTX *ctx = NULL;
	int rc = tls_ctx_load(&ctx, TLS_CLIENT, &l->config.tls, e);

	SSL_CTX_free(ctx);
	return rc;
}

int link_open(struct link **out, uv_loop_t *loop, const struct link_config *config,
	      const struct link_callbacks *callbacks, struct err *e)
{
	struct link *l = calloc(1, sizeof(*l));

	PRE(l && callbacks->on_poll_reply && callbacks->on_reply);
	l->loop = loop;
	l->callbacks = *callbacks;
	set_config(l, config);
	int rc = set_coordinators(l, config->coordinators, e);
	if (!rc)
		rc = check_files(l, e);
	if (!rc)
		rc = engine_register(e);
	if (rc) {
		link_free(l);
		return rc;
	}
	rng_seed(&l->rng, config->seed);
	l->current = rng_below(&l->rng, l->coordinators_nr);
	PRE(uv_timer_init(loop, &l->timer) == 0);
	l->timer.data = l;
	inbox_open(&l->inbox, loop, l, on_news);
	l->handles = 2;
	l->state = LINK_WAITING;
	set_timer(l, 0);
	*out = l;
	return E_OK;
}

bool link_is_up(const struct link *l)
{
	return l->state == LINK_UP;
}

static int call(struct link *l, enum call_kind kind, const void *bytes, size_t len)
{
	if (l->state != LINK_UP)
		return E_UNAVAILABLE;
	int rc = attempt_call(l->attempt, kind, bytes, len);
	if (rc == E_OK)
		l->last_call = uv_now(l->loop);
	return rc;
}

int link_poll(struct link *l, const void *bytes, size_t len)
{
	return call(l, CALL_POLL, bytes, len);
}

int link_request(struct link *l, const void *bytes, size_t len)
{
	return call(l, CALL_REQUEST, bytes, len);
}

void link_leave(struct link *l, int64_t retry_after_ms)
{
	struct err e;

	if (l->state != LINK_UP)
		return;
	err_set(&e, E_UNAVAILABLE, "%s asked us to leave", coordinator(l));
	end(l, retry_after_ms > 0 ? retry_after_ms : 1, &e);
}

void link_leave_for(struct link *l, const char *leader, int64_t retry_after_ms)
{
	bool known = leader != NULL && is_address(leader);
	struct err e;

	if (l->state != LINK_UP)
		return;
	if (known && strcmp(leader, coordinator(l)) == 0) {
		memcpy(l->leader, leader, strlen(leader) + 1);
		err_set(&e, E_NOT_LEADER, "%s was elected and is not ready to lead its cluster yet", leader);
	} else if (known) {
		memcpy(l->leader, leader, strlen(leader) + 1);
		err_set(&e, E_NOT_LEADER, "%s does not lead its cluster and sends us to %s, which does",
			coordinator(l), leader);
	} else
		err_set(&e, E_NOT_LEADER,
			"%s does not lead its cluster and knows nobody who does (an election?)",
			coordinator(l));
	end(l, retry_after_ms > 0 ? retry_after_ms : 1, &e);
}

/* Where we are, or go now, stays the one that is spoken of, in the new list or beside it. */
int link_coordinators(struct link *l, const char *const *list, struct err *e)
{
	char here[ADDRESS_CAP];

	memcpy(here, coordinator(l), strlen(coordinator(l)) + 1);
	int rc = set_coordinators(l, list, e);
	if (rc)
		return rc;
	l->visited[0] = '\0';
	if (!find(l, here, &l->current)) {
		l->current = rng_below(&l->rng, l->coordinators_nr);
		memcpy(l->visited, here, sizeof(here));
	}
	return E_OK;
}

void link_close(struct link *l, void (*closed)(void *arg), void *arg)
{
	PRE(!l->stopping);
	l->stopping = true;
	l->closed = closed;
	l->closed_arg = arg;
	if (l->state == LINK_WAITING)
		stop(l);
	else if (l->state != LINK_CLOSING)
		end_with(l, E_CLOSED, "the link is being closed");
}
