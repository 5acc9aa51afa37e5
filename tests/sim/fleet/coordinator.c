#include "tests/sim/fleet/coordinator.h"

#include <stdio.h>
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

/* One coordinator: its own sessions and what hosts said to it. Log and state are those of all. */
struct replica {
	struct coordinator *c;
	size_t index;
	struct drive *drive; /* NULL: it is down */
	struct events *events;
	struct world_event *timer;
	struct world_event *notice; /* it has lost the lead and does not know yet */
	uint64_t term;		    /* in which it led last */
};

enum { NOBODY = -1 };

struct coordinator {
	struct world *w;
	struct replica nodes[COORDINATORS_MAX];
	size_t nodes_nr;
	int leader; /* index, or NOBODY */
	struct coordinator_hooks hooks;
	struct store *store;
	struct state *st;
	struct entry *log; /* durable */
	size_t log_nr, log_cap;
	struct proposal *first, **last; /* in order, waiting for the disk */
	struct world_event *disk;
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
	return c->nodes[c->leader == NOBODY ? 0 : c->leader].drive;
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
	return c->leader == NOBODY ? c->w->now_ms : c->since;
}

bool coordinator_up(const struct coordinator *c)
{
	return c->up;
}

bool coordinator_led(const struct coordinator *c)
{
	return c->up && c->leader != NOBODY;
}

size_t coordinator_nodes(const struct coordinator *c)
{
	return c->nodes_nr;
}

bool coordinator_node_up(const struct coordinator *c, size_t node)
{
	return c->up && c->nodes[node].drive != NULL;
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

static void node_tick_later(struct replica *n, int64_t delay_ms);

static void tick_cb(void *arg)
{
	struct replica *n = arg;
	n->timer = NULL;
	struct wall_ms now = {n->c->w->now_ms};
	node_tick_later(n, drive_tick(n->drive, now).v - now.v);
}

static void node_tick_later(struct replica *n, int64_t delay_ms)
{
	world_cancel(n->c->w, n->timer);
	n->timer = world_at(n->c->w, delay_ms, tick_cb, n);
}

static void tick_all(struct coordinator *c)
{
	for (size_t i = 0; i < c->nodes_nr; i++)
		if (c->nodes[i].drive != NULL)
			node_tick_later(&c->nodes[i], 0);
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
	for (size_t i = 0; i < c->nodes_nr; i++)
		if (c->nodes[i].drive != NULL)
			drive_changed(c->nodes[i].drive, &ch, (struct wall_ms){c->w->now_ms});
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
	tick_all(c);
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
	tick_all(c);
	return apply(c, c->log_nr, false);
}

/* ---- drive's ports
 * ----------------------------------------------------------------------------------------------- */

static void port_propose(void *arg, const struct command *cmd, drive_proposed_fn *done, void *done_arg)
{
	const struct replica *n = arg;
	const struct command_reply refused = {.code = E_NOT_LEADER, .text = "not the leader"};
	if (n->c->leader == (int)n->index)
		coordinator_propose(n->c, cmd, done, done_arg);
	else if (n->c->up && done != NULL) /* it has not noticed yet */
		done(done_arg, refused.code, &refused);
}

static void port_answer(void *arg, struct token t, const uint8_t *p, size_t n)
{
	const struct replica *me = arg;
	if (me->c->up && me->drive != NULL)
		me->c->hooks.answer(me->c->hooks.arg, t, p, n);
}

static void port_trust(void *arg, uint64_t session)
{
}

static void port_drop(void *arg, uint64_t session, const char *why)
{
	const struct replica *n = arg;
	n->c->hooks.drop(n->c->hooks.arg, session, why);
}

static uint64_t port_term(void *arg)
{
	return ((const struct replica *)arg)->term;
}

/* ---- nodes
 * ----------------------------------------------------------------------------------------------- */

static void tell_coordinators(struct coordinator *c, struct replica *n)
{
	struct drive_coordinator all[COORDINATORS_MAX];
	char text[COORDINATORS_MAX][16];
	for (size_t i = 0; i < c->nodes_nr; i++) {
		snprintf(text[i], sizeof text[i], "c%zu:1", i + 1);
		all[i] = (struct drive_coordinator){
			.id = i + 1, .address = text[i], .artifacts = "https://coordinator/v1/artifacts"};
	}
	drive_coordinators(n->drive, all, c->nodes_nr);
	drive_leader(n->drive, (uint64_t)(c->leader + 1));
}

static void node_open(struct replica *n)
{
	const struct drive_ports ports = {.arg = n,
					  .propose = port_propose,
					  .answer = port_answer,
					  .trust = port_trust,
					  .drop = port_drop,
					  .term = port_term};
	const struct drive_config cfg = {.node_id = n->index + 1,
					 .log_id = LOG_ID,
					 .cluster_hi = CLUSTER_HI,
					 .cluster_lo = CLUSTER_LO,
					 .poll_wait_ms = POLL_WAIT_MS,
					 .suspect_ms = SUSPECT_MS,
					 .lost_ms = LOST_MS,
					 .grace_ms = GRACE_MS,
					 .artifact_url = "https://coordinator/v1/artifacts"};
	n->drive = drive_new(&cfg, &ports, n->c->st, n->events);
	tell_coordinators(n->c, n);
}

static void node_close(struct replica *n)
{
	world_cancel(n->c->w, n->timer);
	world_cancel(n->c->w, n->notice);
	n->timer = n->notice = NULL;
	drive_free(n->drive);
	n->drive = NULL;
}

static void node_add(struct coordinator *c)
{
	struct replica *n = &c->nodes[c->nodes_nr];
	PRE(c->nodes_nr < COORDINATORS_MAX);
	*n = (struct replica){.c = c, .index = c->nodes_nr++, .events = events_new(4096, 1)};
}

static void unlead(struct replica *n)
{
	world_cancel(n->c->w, n->notice);
	n->notice = NULL;
	if (n->drive != NULL && drive_leads(n->drive))
		drive_unlead(n->drive);
}

static void notice_cb(void *arg)
{
	struct replica *n = arg;
	n->notice = NULL;
	unlead(n);
}

static void lead(struct coordinator *c, size_t node)
{
	struct replica *n = &c->nodes[node];
	unlead(n); /* it has lost the lead and won it again before it noticed */
	c->leader = (int)node;
	c->term++;
	c->since = c->w->now_ms;
	n->term = c->term;
	for (size_t i = 0; i < c->nodes_nr; i++)
		if (c->nodes[i].drive != NULL)
			drive_leader(c->nodes[i].drive, node + 1);
	drive_lead(n->drive, (struct wall_ms){c->w->now_ms});
	node_tick_later(n, 0);
}

static void start(struct coordinator *c)
{
	c->store = store_mem_new();
	PRE(state_open(c->store, &c->st) == E_OK);
	for (uint64_t i = 1; i <= c->log_nr; i++)
		apply(c, i, true);
	arena_reset(&c->arena);
	c->up = true;
	for (size_t i = 0; i < c->nodes_nr; i++)
		node_open(&c->nodes[i]);
	lead(c, c->term % c->nodes_nr);
}

/* Whoever proposed learns nothing. */
static void lose_proposals(struct coordinator *c, const char *why)
{
	const struct command_reply lost = {.code = E_UNKNOWN_OUTCOME, .text = why};
	world_cancel(c->w, c->disk);
	c->disk = NULL;
	struct proposal *p = c->first;
	c->first = NULL;
	c->last = &c->first;
	for (struct proposal *next; p != NULL; p = next) {
		next = p->next;
		if (p->done != NULL)
			p->done(p->arg, lost.code, &lost);
		proposal_free(p);
	}
}

static void stop(struct coordinator *c)
{
	c->up = false; /* from here on nothing it says reaches anyone; who waits only frees what it holds */
	lose_proposals(c, "killed");
	for (size_t i = 0; i < c->nodes_nr; i++)
		node_close(&c->nodes[i]);
	state_free(c->st);
	store_mem_free(c->store);
	c->leader = NOBODY;
}

struct coordinator *coordinator_new(struct world *w, const struct coordinator_hooks *hooks)
{
	struct coordinator *c = calloc(1, sizeof *c);
	PRE(c != NULL);
	c->w = w;
	c->hooks = *hooks;
	c->last = &c->first;
	c->fsync_ms = FSYNC_MS;
	c->leader = NOBODY;
	node_add(c);
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
	for (size_t i = 0; i < c->nodes_nr; i++)
		events_free(c->nodes[i].events);
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

void coordinator_grow(struct coordinator *c, size_t nodes)
{
	while (c->nodes_nr < nodes) {
		node_add(c);
		node_open(&c->nodes[c->nodes_nr - 1]);
	}
	for (size_t i = 0; i < c->nodes_nr; i++)
		tell_coordinators(c, &c->nodes[i]);
}

/*
 * What was on its way may be committed although nobody is told. It notices at its next turn, and until then
 * it answers as if it led: from what is committed, and without being able to commit anything.
 */
void coordinator_step_down(struct coordinator *c)
{
	enum { TURN_MS = 1000 };
	struct buf b;
	if (!coordinator_led(c))
		return;
	struct replica *n = &c->nodes[c->leader];
	bool kept = c->first != NULL && rng_chance(&c->w->rng, 500);
	buf_init(&b);
	if (kept)
		buf_put(&b, c->first->cmd.data, c->first->cmd.len);
	world_say(c->w, "coordinator %zu: leads no more", n->index + 1);
	c->leader = NOBODY;
	for (size_t i = 0; i < c->nodes_nr; i++)
		if (c->nodes[i].drive != NULL)
			drive_leader(c->nodes[i].drive, 0);
	lose_proposals(c, "the lead was lost");
	n->notice = world_at(c->w, (int64_t)rng_below(&c->w->rng, TURN_MS), notice_cb, n);
	if (kept) {
		append(c, b.data, b.len);
		apply(c, c->log_nr, false);
		arena_reset(&c->arena);
	}
	buf_done(&b);
}

void coordinator_lead(struct coordinator *c, size_t node)
{
	if (!coordinator_node_up(c, node) || c->leader == (int)node)
		return;
	coordinator_step_down(c);
	lead(c, node);
	world_say(c->w, "coordinator %zu: leads, term %llu", node + 1, (unsigned long long)c->term);
}

void coordinator_node_crash(struct coordinator *c, size_t node)
{
	if (!coordinator_node_up(c, node))
		return;
	if (c->leader == (int)node)
		coordinator_step_down(c);
	world_say(c->w, "coordinator %zu: killed", node + 1);
	node_close(&c->nodes[node]);
}

void coordinator_node_restart(struct coordinator *c, size_t node)
{
	if (!c->up || coordinator_node_up(c, node))
		return;
	node_open(&c->nodes[node]);
	world_say(c->w, "coordinator %zu: back", node + 1);
}

void coordinator_session_opened(struct coordinator *c, size_t node, uint64_t session, const struct name *host,
				uint64_t generation)
{
	struct replica *n = &c->nodes[node];
	drive_session_opened(n->drive, session, host, generation, (struct wall_ms){c->w->now_ms});
	node_tick_later(n, 0);
}

void coordinator_session_closed(struct coordinator *c, size_t node, uint64_t session)
{
	if (coordinator_node_up(c, node))
		drive_session_closed(c->nodes[node].drive, session, (struct wall_ms){c->w->now_ms});
}

void coordinator_request(struct coordinator *c, size_t node, struct token t, const uint8_t *p, size_t n)
{
	drive_request(c->nodes[node].drive, t, p, n, (struct wall_ms){c->w->now_ms});
	node_tick_later(&c->nodes[node], 0);
}
