/*
 * A scene of S18, which chance hardly ever plays: five nodes, two elections, and one write that hangs all the
 * while. An entry is dropped from the log of a node whose disk has not written it yet, and comes back.
 */
#include "tests/sim/raft/world.h"

enum { LONG_MS = 20000, HANG_MS = 30000 };

static void isolate(struct world *w, const struct node *n)
{
	for (unsigned i = 0; i < w->n_nodes; i++)
		w->cut[n->nr][i] = w->cut[i][n->nr] = i != n->nr;
}

static void join(struct world *w, const struct node *a, const struct node *b)
{
	w->cut[a->nr][b->nr] = w->cut[b->nr][a->nr] = false;
}

/* The one that leads a term after `term`, at the millisecond at which it does. */
static struct node *next_leader(struct world *w, raft_term term)
{
	for (unsigned ms = 0; ms < LONG_MS; ms++) {
		struct node *l = leader(w);
		if (l && l->raft->current_term > term)
			return l;
		run_until(w, w->now + 1);
	}
	violation(w, "nobody leads after term %llu", term);
}

/* The hung one leads, and its newest entry reaches one other, the keeper. */
static void entry_on_a_hung_disk(struct world *w, struct node *hung, struct node *keeper)
{
	run_until(w, w->now + 500);
	hung->disk.hangs_until = w->now + HANG_MS;
	isolate(w, hung);
	join(w, hung, keeper);
	PRE(propose_one(hung));
	while (keeper->raft->last_stored < raft_last_index(hung->raft))
		run_until(w, w->now + 1);
	isolate(w, hung);
	isolate(w, keeper);
}

/* One who knows nothing of that entry leads, and only the hung one hears of it. */
static struct node *entry_is_dropped(struct world *w, struct node *hung, raft_term term)
{
	struct node *other = next_leader(w, term);
	isolate(w, other);
	join(w, other, hung);
	run_until(w, w->now + 300);
	isolate(w, hung);
	return other;
}

static void entry_comes_back(struct world *w, struct node *hung, struct node *keeper, struct node *other)
{
	raft_term term = other->raft->current_term;
	for (unsigned i = 0; i < w->n_nodes; i++)
		if (&w->nodes[i] != hung && &w->nodes[i] != other)
			join(w, keeper, &w->nodes[i]);
	struct node *l = next_leader(w, term);
	if (l != keeper)
		violation(w, "node %u leads without the longest log", l->nr);
	join(w, keeper, hung);
	run_until(w, w->now + 500);
}

void play_held(struct world *w)
{
	struct node *hung = next_leader(w, 0);
	struct node *keeper = &w->nodes[(hung->nr + 1) % w->n_first];
	raft_term term = hung->raft->current_term;
	entry_on_a_hung_disk(w, hung, keeper);
	struct node *other = entry_is_dropped(w, hung, term);
	entry_comes_back(w, hung, keeper, other);
}
