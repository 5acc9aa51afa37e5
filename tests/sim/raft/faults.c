/* What goes wrong, and what operators do: crashes, partitions, disks, clocks, membership, transfers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/raft/world.h"

static void note(const struct node *n, const char *what)
{
	if (n->w->verbose)
		printf("  t=%llu node %u %s\n", (unsigned long long)n->w->now, n->nr, what);
}

static struct node *any_node(struct world *w)
{
	return &w->nodes[rng_below(&w->rng, w->n_nodes)];
}

struct node *leader(struct world *w)
{
	struct node *best = NULL;
	for (unsigned i = 0; i < w->n_nodes; i++) {
		struct node *n = &w->nodes[i];
		if (n->alive && n->raft->state == RAFT_LEADER && n->paused_until <= w->now &&
		    (!best || n->raft->current_term > best->raft->current_term))
			best = n;
	}
	return best;
}

/* ---- nodes ---- */

static void fault_crash(struct world *w)
{
	struct node *n = any_node(w);
	if (!n->alive)
		return;
	note(n, "crashes");
	node_crash(n);
}

static void fault_crash_leader(struct world *w)
{
	struct node *n = leader(w);
	if (!n)
		return;
	note(n, "crashes, the leader");
	node_crash(n);
}

static void boot_again(struct node *n)
{
	if (n->alive || n->life != MEMBER)
		return;
	n->disk.full = false; /* as the message of the guard tells the operator to see to */
	node_boot(n);
	note(n, "is back");
}

static void fault_restart(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++)
		if (rng_chance(&w->rng, 600))
			boot_again(&w->nodes[i]);
}

/* SIGSTOP, or a host that swaps: nothing happens there for a while, then all of it. */
static void fault_pause(struct world *w)
{
	struct node *n = any_node(w);
	if (n->alive)
		n->paused_until = w->now + rng_below(&w->rng, 3000);
}

/* The engine's clock is monotonic: it may leap, as after a suspend, but not go back. */
static void fault_clock(struct world *w)
{
	any_node(w)->clock_ahead += rng_below(&w->rng, 5000);
}

/* ---- links ---- */

/* Both ways, one way, or only towards some. */
static void fault_partition(struct world *w)
{
	struct node *n = any_node(w);
	unsigned kind = (unsigned)rng_below(&w->rng, 4);
	for (unsigned i = 0; i < w->n_nodes; i++) {
		if (i == n->nr || (kind == 3 && rng_chance(&w->rng, 500)))
			continue;
		w->cut[n->nr][i] |= kind != 1;
		w->cut[i][n->nr] |= kind != 2;
	}
}

/* The leader takes a command and is cut off with it: what makes tails that differ, as in the Raft
 * paper's 5.4.2. */
static void fault_lone_tail(struct world *w)
{
	struct node *n = leader(w);
	if (!n || !propose_one(n))
		return;
	note(n, "is cut off with a new entry");
	for (unsigned i = 0; i < w->n_nodes; i++)
		w->cut[n->nr][i] = w->cut[i][n->nr] = i != n->nr;
}

static void fault_heal(struct world *w)
{
	memset(w->cut, 0, sizeof w->cut);
}

/* ---- disks ---- */

static void fault_slow_disk(struct world *w)
{
	struct node *n = any_node(w);
	n->disk.slow_ms = rng_chance(&w->rng, 500) ? (unsigned)rng_below(&w->rng, 800) : 0;
}

static void fault_hung_disk(struct world *w)
{
	any_node(w)->disk.hangs_until = w->now + rng_below(&w->rng, 15000);
}

static void fault_full_disk(struct world *w)
{
	struct node *n = any_node(w);
	if (n->alive && rng_chance(&w->rng, 300)) {
		note(n, "has a full disk");
		n->disk.full = true;
	}
}

/* ---- clients ---- */

/* From silent, when a new leader has nothing of its own to commit, to as fast as it goes. */
static void fault_clients(struct world *w)
{
	static const unsigned shares[] = {0, 5, 50, 1000, 1000};
	if (!w->quiet)
		w->talkative = shares[rng_below(&w->rng, ARRAY_LEN(shares))];
}

/* ---- operators ---- */

static bool all_well(const struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		if (w->nodes[i].life == MEMBER && !w->nodes[i].alive)
			return false;
		for (unsigned j = 0; j < w->n_nodes; j++)
			if (w->cut[i][j])
				return false;
	}
	return true;
}

static const struct raft_server *server_of(const struct node *n, const struct node *other)
{
	for (unsigned i = 0; i < n->raft->configuration.n; i++)
		if (n->raft->configuration.servers[i].id == other->nr + 1)
			return &n->raft->configuration.servers[i];
	return NULL;
}

static unsigned voters(const struct node *n)
{
	unsigned nr = 0;
	for (unsigned i = 0; i < n->raft->configuration.n; i++)
		nr += n->raft->configuration.servers[i].role == RAFT_VOTER;
	return nr;
}

struct change {
	struct raft_change req;
	struct node *subject;
	bool removes;
};

/*
 * Who is removed is stopped for good, but not always at once: it may go on and ask for votes. Who only may
 * have been removed is still a member.
 */
static void changed(struct raft_change *req, int status)
{
	struct change *c = container_of(req, struct change, req);
	if (status != 0 || !c->removes)
		return;
	note(c->subject, "is removed");
	c->subject->life = REMOVED;
	if (c->subject->alive && rng_chance(&c->subject->w->rng, 500))
		node_crash(c->subject);
}

static struct change *change_of(struct node *subject, bool removes)
{
	struct change *c = calloc(1, sizeof *c);
	PRE(c);
	c->subject = subject;
	c->removes = removes;
	return c;
}

/* A new one begins with an empty directory and an id that nobody had. */
static void add(struct node *n, struct node *other)
{
	if (other->life == UNBORN) {
		disk_empty(other);
		other->life = MEMBER;
		node_boot(other);
	}
	note(other, "is added");
	(void)raft_add(n->raft, &change_of(other, false)->req, other->nr + 1, other->address, changed);
}

static void give_role(struct node *n, struct node *other, int role)
{
	note(other, role == RAFT_VOTER ? "is to be a voter" : "is to be a standby");
	(void)raft_assign(n->raft, &change_of(other, false)->req, other->nr + 1, role, changed);
}

static void take_away(struct node *n, struct node *other, int role)
{
	if (role == RAFT_VOTER && voters(n) <= n->w->least_voters)
		return;
	if (n->w->n_nodes > n->w->n_first && rng_chance(&n->w->rng, 200)) {
		note(other, "is to be removed");
		(void)raft_remove(n->raft, &change_of(other, true)->req, other->nr + 1, changed);
	} else if (role == RAFT_VOTER) {
		give_role(n, other, RAFT_STANDBY);
	}
}

/* One that is silent may go while others are away, too; every other change wants all of them there. */
static bool is_silent(const struct node *n, const struct node *other)
{
	return !other->alive || n->w->cut[other->nr][n->nr];
}

static bool may_change(const struct node *n, const struct node *other)
{
	const struct world *w = n->w;
	if (other == n || other->life == REMOVED || !guard_may_change_members(n->guard))
		return false;
	return all_well(w) || (other->life == MEMBER && is_silent(n, other));
}

static void change_role_of(struct node *n, struct node *other)
{
	const struct raft_server *s = server_of(n, other);
	if (!s)
		add(n, other);
	else if (s->role == RAFT_VOTER || is_silent(n, other) || rng_chance(&n->w->rng, 100))
		take_away(n, other, s->role);
	else
		give_role(n, other, s->role == RAFT_SPARE ? RAFT_STANDBY : RAFT_VOTER);
}

static void see_to_the_others(struct world *w)
{
	fault_heal(w);
	for (unsigned i = 0; i < w->n_nodes; i++)
		boot_again(&w->nodes[i]);
}

/*
 * Operator rules: one change at a time, with all members reachable but the one that is to go, never the
 * leader itself, never below --least-voters (1), and, as the engine does not see to it, only once the leader
 * has committed an entry of its own term: two leaders' changes could else have majorities that do not meet.
 */
static void change_membership(struct world *w)
{
	struct node *other = any_node(w);
	if (rng_chance(&w->rng, 500))
		see_to_the_others(w);
	struct node *n = leader(w);
	if (!n || !may_change(n, other))
		return;
	w->hurry = rng_chance(&w->rng, 500);
	change_role_of(n, other);
}

/*
 * S12: the engine's I/O uses the request after this. With --free-transfers it is freed here all the same, to
 * show what comes of it.
 */
static void transferred(struct raft_transfer *req)
{
	const struct world *w = req->data;
	if (w->free_transfers)
		raft_free(req);
}

static void transfer_leadership(struct world *w)
{
	struct node *n = leader(w), *other = any_node(w);
	if (!n || !all_well(w))
		return;
	const struct raft_server *s = server_of(n, other);
	raft_id to = s && s->role == RAFT_VOTER && other != n ? other->nr + 1 : 0;
	struct raft_transfer *req = raft_calloc(1, sizeof *req);
	req->data = w;
	note(n, "hands over");
	(void)raft_transfer(n->raft, req, to, transferred);
}

void one_fault(struct world *w)
{
	static void (*const many[])(struct world *) = {
		fault_crash,	    fault_crash_leader, fault_clients,	   fault_restart,
		fault_restart,	    fault_restart,	fault_partition,   fault_partition,
		fault_partition,    fault_lone_tail,	fault_lone_tail,   fault_heal,
		fault_heal,	    fault_heal,		fault_slow_disk,   fault_slow_disk,
		fault_hung_disk,    fault_full_disk,	fault_pause,	   fault_clock,
		change_membership,  change_membership,	change_membership, change_membership,
		transfer_leadership};
	bool hurry = w->hurry;
	w->hurry = false;
	if (hurry && rng_chance(&w->rng, 500))
		fault_crash_leader(w);
	else
		many[rng_below(&w->rng, ARRAY_LEN(many))](w);
}

void no_more_faults(struct world *w)
{
	fault_heal(w);
	w->talkative = 1000;
	for (unsigned i = 0; i < w->n_nodes; i++) {
		w->nodes[i].disk.slow_ms = 0;
		w->nodes[i].disk.hangs_until = 0;
		w->nodes[i].disk.full = false;
		w->nodes[i].paused_until = 0;
		boot_again(&w->nodes[i]);
	}
}
