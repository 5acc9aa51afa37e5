#include "tests/sim/fleet/coordinator.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "coordinator/state/store_mem.h"

struct entry {
	uint8_t *p;
	size_t n;
};

/* A proposal between propose and acknowledgement. */
struct proposal {
	struct proposal *next;
	struct coordinator *c;
	uint64_t life; /* of the coordinator that took it; another one never answers */
	struct buf cmd;
	drive_proposed_fn *done;
	void *arg;
};

struct coordinator {
	struct world *w;
	struct coordinator_hooks hooks;
	struct store *store;
	struct state *st;
	struct events *events;
	struct drive *drive;
	struct entry *log; /* durable */
	size_t log_nr, log_cap;
	struct proposal *first, **last; /* in order, waiting for the disk */
	struct world_event *disk, *timer;
	int64_t fsync_ms;
	uint64_t life, term;
	int64_t since;
	bool up;
	struct arena arena;
};

enum { FSYNC_MS = 2, POLL_WAIT_MS = 25000, SUSPECT_MS = 75000, LOST_MS = 120000, GRACE_MS = 90000 };
enum { CLUSTER_HI = 0x5eed, CLUSTER_LO = 1, LOG_ID = 1 };

struct state *coordinator_state(struct coordinator *c)
{
	return c->st;
}

struct drive *coordinator_drive(struct coordinator *c)
{
	return c->drive;
}

uint64_t coordinator_index(const struct coordinator *c)
{
	return c->log_nr;
}

uint64_t coordinator_term(const struct coordinator *c)
{
	return c->term;
}

int64_t coordinator_since(const struct coordinator *c)
{
	return c->since;
}

bool coordinator_up(const struct coordinator *c)
{
	return c->up;
}

void coordinator_slow_disk(struct coordinator *c, int64_t fsync_ms)
{
	c->fsync_ms = fsync_ms == 0 ? FSYNC_MS : fsync_ms;
}

int64_t coordinator_backlog_ms(const struct coordinator *c)
{
	int64_t ms = 0;
	for (const struct proposal *p = c->first; p != NULL; p = p->next)
		ms += c->fsync_ms;
	return ms;
}

static void tick_later(struct coordinator *c, int64_t delay_ms);

static void tick_cb(void *arg)
{
	struct coordinator *c = arg;
	c->timer = NULL;
	struct wall_ms now = {c->w->now_ms};
	tick_later(c, drive_tick(c->drive, now).v - now.v);
}

static void tick_later(struct coordinator *c, int64_t delay_ms)
{
	world_cancel(c->w, c->timer);
	c->timer = world_at(c->w, delay_ms, tick_cb, c);
}

/* ---- the log
 * ------------------------------------------------------------------------------------------------------- */

static void append(struct coordinator *c, const uint8_t *p, size_t n)
{
	if (c->log_nr == c->log_cap) {
		c->log_cap = c->log_cap == 0 ? 64 : 2 * c->log_cap;
		c->log = realloc(c->log, c->log_cap * sizeof *c->log);
		PRE(c->log != NULL);
	}
	struct entry *e = &c->log[c->log_nr++];
	e->p = malloc(n);
	PRE(e->p != NULL);
	memcpy(e->p, p, n);
	e->n = n;
}

/* Applies the last entry; the changes are told to drive unless it is a replay. */
static struct command_reply apply(struct coordinator *c, uint64_t index, bool replay)
{
	const struct entry *e = &c->log[index - 1];
	struct command_reply reply = {0};
	struct changes ch = {0};
	struct command cmd;
	int rc = state_apply(c->st, &c->arena, index, 0, e->p, e->n, &reply, &ch);
	if (rc != E_OK)
		world_violation(c->w, "the fold cannot apply entry %llu: %s", (unsigned long long)index,
				err_name(rc));
	c->store->ops->commit(c->store);
	if (replay || rc != E_OK)
		return reply;
	PRE(command_decode(&c->arena, e->p, e->n, &cmd) == E_OK);
	if (c->hooks.applied != NULL)
		c->hooks.applied(c->hooks.arg, &cmd, &reply, &ch);
	drive_changed(c->drive, &ch, (struct wall_ms){c->w->now_ms});
	return reply;
}

static void proposal_free(struct proposal *p)
{
	buf_done(&p->cmd);
	free(p);
}

static void disk_cb(void *arg);

static void disk_go(struct coordinator *c)
{
	if (c->disk == NULL && c->first != NULL)
		c->disk = world_at(c->w, c->fsync_ms + (int64_t)rng_below(&c->w->rng, 3), disk_cb, c);
}

static void disk_cb(void *arg)
{
	struct coordinator *c = arg;
	struct proposal *p = c->first;
	c->disk = NULL;
	c->first = p->next;
	if (c->first == NULL)
		c->last = &c->first;
	append(c, p->cmd.data, p->cmd.len);
	struct command_reply r = apply(c, c->log_nr, false);
	if (p->done != NULL)
		p->done(p->arg, r.code, &r);
	proposal_free(p);
	arena_reset(&c->arena);
	disk_go(c);
	tick_later(c, 0);
}

void coordinator_propose(struct coordinator *c, const struct command *cmd, drive_proposed_fn *done, void *arg)
{
	struct command stamped = *cmd;
	if (!c->up)
		return;
	stamped.at = (struct wall_ms){c->w->now_ms};
	struct proposal *p = calloc(1, sizeof *p);
	PRE(p != NULL);
	*p = (struct proposal){.c = c, .life = c->life, .done = done, .arg = arg};
	command_encode(&p->cmd, &stamped);
	*c->last = p;
	c->last = &p->next;
	disk_go(c);
}

struct command_reply coordinator_now(struct coordinator *c, const struct command *cmd)
{
	struct command stamped = *cmd;
	struct buf b;
	stamped.at = (struct wall_ms){c->w->now_ms};
	if (stamped.actor == NULL)
		stamped.actor = "operator";
	if (stamped.reason == NULL)
		stamped.reason = "";
	buf_init(&b);
	command_encode(&b, &stamped);
	append(c, b.data, b.len);
	buf_done(&b);
	tick_later(c, 0);
	return apply(c, c->log_nr, false);
}

/* ---- drive's ports
 * ----------------------------------------------------------------------------------------------- */

static void port_propose(void *arg, const struct command *cmd, drive_proposed_fn *done, void *done_arg)
{
	coordinator_propose(arg, cmd, done, done_arg);
}

static void port_answer(void *arg, struct token t, const uint8_t *p, size_t n)
{
	struct coordinator *c = arg;
	if (c->up)
		c->hooks.answer(c->hooks.arg, t, p, n);
}

static void port_trust(void *arg, uint64_t session)
{
}

static void port_drop(void *arg, uint64_t session, const char *why)
{
	struct coordinator *c = arg;
	c->hooks.drop(c->hooks.arg, session, why);
}

static uint64_t port_term(void *arg)
{
	return coordinator_term(arg);
}

static void start(struct coordinator *c)
{
	const struct drive_ports ports = {.arg = c,
					  .propose = port_propose,
					  .answer = port_answer,
					  .trust = port_trust,
					  .drop = port_drop,
					  .term = port_term};
	const struct drive_config cfg = {.log_id = LOG_ID,
					 .cluster_hi = CLUSTER_HI,
					 .cluster_lo = CLUSTER_LO,
					 .poll_wait_ms = POLL_WAIT_MS,
					 .suspect_ms = SUSPECT_MS,
					 .lost_ms = LOST_MS,
					 .grace_ms = GRACE_MS,
					 .artifact_url = "https://coordinator/v1/artifacts"};
	c->store = store_mem_new();
	PRE(state_open(c->store, &c->st) == E_OK);
	for (uint64_t i = 1; i <= c->log_nr; i++)
		apply(c, i, true);
	arena_reset(&c->arena);
	c->term++;
	c->since = c->w->now_ms;
	c->up = true;
	c->drive = drive_new(&cfg, &ports, c->st, c->events);
	drive_lead(c->drive, (struct wall_ms){c->w->now_ms});
	tick_later(c, 0);
}

static void stop(struct coordinator *c)
{
	const struct command_reply lost = {.code = E_UNKNOWN_OUTCOME, .text = "killed"};
	world_cancel(c->w, c->timer);
	world_cancel(c->w, c->disk);
	c->timer = c->disk = NULL;
	c->up = false; /* from here on nothing it says reaches anyone; who waits only frees what it holds */
	for (struct proposal *p = c->first, *next; p != NULL; p = next) {
		next = p->next;
		if (p->done != NULL)
			p->done(p->arg, lost.code, &lost);
		proposal_free(p);
	}
	c->first = NULL;
	c->last = &c->first;
	drive_free(c->drive);
	state_free(c->st);
	store_mem_free(c->store);
	c->drive = NULL;
}

struct coordinator *coordinator_new(struct world *w, const struct coordinator_hooks *hooks)
{
	struct coordinator *c = calloc(1, sizeof *c);
	PRE(c != NULL);
	c->w = w;
	c->hooks = *hooks;
	c->last = &c->first;
	c->fsync_ms = FSYNC_MS;
	c->events = events_new(4096, 1);
	arena_init(&c->arena);
	start(c);
	return c;
}

void coordinator_free(struct coordinator *c)
{
	if (c->up)
		stop(c);
	for (size_t i = 0; i < c->log_nr; i++)
		free(c->log[i].p);
	free(c->log);
	events_free(c->events);
	arena_done(&c->arena);
	free(c);
}

void coordinator_crash(struct coordinator *c)
{
	if (!c->up)
		return;
	/* The entry the disk was writing may have become durable without anyone being told. */
	if (c->first != NULL && rng_chance(&c->w->rng, 500))
		append(c, c->first->cmd.data, c->first->cmd.len);
	world_say(c->w, "coordinator: killed at index %zu", c->log_nr);
	stop(c);
}

void coordinator_restart(struct coordinator *c)
{
	if (c->up)
		return;
	c->life++;
	start(c);
	world_say(c->w, "coordinator: back, term %llu, %zu entries", (unsigned long long)c->term, c->log_nr);
}

void coordinator_session_opened(struct coordinator *c, uint64_t session, const struct name *host,
				uint64_t generation)
{
	drive_session_opened(c->drive, session, host, generation, (struct wall_ms){c->w->now_ms});
	tick_later(c, 0);
}

void coordinator_session_closed(struct coordinator *c, uint64_t session)
{
	if (c->up)
		drive_session_closed(c->drive, session, (struct wall_ms){c->w->now_ms});
}

void coordinator_request(struct coordinator *c, struct token t, const uint8_t *p, size_t n)
{
	drive_request(c->drive, t, p, n, (struct wall_ms){c->w->now_ms});
	tick_later(c, 0);
}
