/*
 * raft_sim: the replicated log under crashes, partitions, slow disks, snapshots, membership changes.
 * Deterministic: the failing seed is the bug report.
 *
 *   raft_sim --seeds N --start S --nodes K [--rules-off MASK] [--least-voters V]
 *            [--free-transfers | --flood BOUND | --held] [--expect-violations] [--verbose]
 *
 * Checked: one command and one chain hash per index, one leader per term, one vote per term, what was
 * acknowledged is there at the end, no node halts, everybody converges. Exit 1 when a seed violates one (with
 * --expect-violations: when none does).
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/raft/world.h"

enum {
	FAULTS_MS = 45000,
	CALM_MS = 60000,
	FLOOD_MS = 20000,
	EXIT_VIOLATION = 9,
	NEWCOMERS = MAX_NODES - MAX_FIRST
};

_Noreturn void violation(struct world *w, const char *fmt, ...)
{
	va_list ap;
	printf("  t=%llu ms: ", (unsigned long long)w->now);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(EXIT_VIOLATION);
}

/* ---- events ---- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void push(struct world *w, const struct event *e)
{
	unsigned i = w->n_heap++;
	PRE(w->n_heap < MAX_EVENTS);
	for (; i > 0 && before(e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = *e;
}

static struct event pop(struct world *w)
{
	struct event top = w->heap[0], last = w->heap[--w->n_heap];
	unsigned i = 0, child;
	while ((child = 2 * i + 1) < w->n_heap) {
		if (child + 1 < w->n_heap && before(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!before(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = last;
	return top;
}

void at(struct node *n, uint64_t delay, event_fn *fn, void *arg)
{
	struct world *w = n->w;
	struct event e = {
		.at = w->now + delay, .seq = w->seq++, .node = n, .epoch = n->epoch, .fn = fn, .arg = arg};
	push(w, &e);
}

/* ---- invariants seen from outside ---- */

static void check_node(struct node *n)
{
	struct world *w = n->w;
	struct raft *r = n->raft;
	if (r->state == RAFT_UNAVAILABLE)
		violation(w, "node %u halts: %s", n->nr, raft_errmsg(r));
	if (r->state != RAFT_LEADER)
		return;
	raft_id *leader = &w->leader_of[r->current_term];
	if (w->verbose && *leader == 0)
		printf("  t=%llu node %u leads term %llu, log to %llu, stored %llu, commit %llu\n",
		       (unsigned long long)w->now, n->nr, r->current_term, raft_last_index(r), r->last_stored,
		       r->commit_index);
	if (*leader != 0 && *leader != n->nr + 1)
		violation(w, "nodes %llu and %u both lead term %llu", *leader - 1, n->nr, r->current_term);
	*leader = n->nr + 1;
}

static void handle(struct world *w, const struct event *e)
{
	if (setjmp(w->stopped) == 0)
		e->fn(e->node, e->arg);
}

void run_until(struct world *w, uint64_t end)
{
	while (w->n_heap > 0 && w->heap[0].at <= end) {
		struct event e = pop(w);
		w->now = e.at;
		if (!e.node->alive || e.node->epoch != e.epoch)
			continue;
		if (e.node->paused_until > e.at) {
			e.at = e.node->paused_until; /* later, in the order in which they came */
			push(w, &e);
			continue;
		}
		handle(w, &e);
		w->events++;
		check_node(e.node);
	}
	w->now = end;
}

static void clients(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		struct node *n = &w->nodes[i];
		if (!n->alive || n->paused_until > w->now || n->raft->state != RAFT_LEADER)
			continue;
		if (rng_chance(&w->rng, w->talkative))
			for (uint64_t k = rng_below(&w->rng, 4); k > 0; k--)
				(void)propose_one(n);
		check_node(n);
	}
}

/* ---- one run ---- */

static void build(struct world *w, uint64_t seed)
{
	rng_seed(&w->rng, seed);
	w->quiet = rng_chance(&w->rng, 300);
	w->talkative = w->quiet ? 0 : 1000;
	w->threshold = 20 + (unsigned)rng_below(&w->rng, 100);
	w->trailing = 5 + (unsigned)rng_below(&w->rng, 40);
	w->fault_gap_ms = 200 + (unsigned)rng_below(&w->rng, 1500);
	for (unsigned i = 0; i < w->n_nodes; i++) {
		w->nodes[i].w = w;
		w->nodes[i].nr = i;
		snprintf(w->nodes[i].address, sizeof w->nodes[i].address, "n%u", i);
	}
	for (unsigned i = 0; i < w->n_first; i++) {
		disk_format(&w->nodes[i]);
		w->nodes[i].life = MEMBER;
		node_boot(&w->nodes[i]);
	}
}

/* Spares are sent nothing. */
static bool converged(struct world *w)
{
	struct node *l = leader(w);
	if (!l)
		return false;
	for (unsigned i = 0; i < l->raft->configuration.n; i++) {
		const struct raft_server *s = &l->raft->configuration.servers[i];
		const struct node *n = &w->nodes[s->id - 1];
		if (s->role != RAFT_SPARE &&
		    (n->raft->last_applied != raft_last_index(l->raft) || n->chain != l->chain))
			return false;
	}
	return l->raft->last_applied >= w->top_acked_index;
}

static void tell(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		struct raft *r = w->nodes[i].raft;
		if (w->nodes[i].life != MEMBER)
			continue;
		printf("  node %u: state %u term %llu last %llu stored %llu commit %llu applied %llu "
		       "snapshot %llu\n",
		       i, r->state, r->current_term, raft_last_index(r), r->last_stored, r->commit_index,
		       r->last_applied, r->log.snapshot.last_index);
		printf("    voters of configuration %llu (uncommitted %llu):", r->configuration_index,
		       r->configuration_uncommitted_index);
		for (unsigned k = 0; k < r->configuration.n; k++)
			if (r->configuration.servers[k].role == RAFT_VOTER)
				printf(" %llu", r->configuration.servers[k].id - 1);
		printf("\n");
	}
}

static void calm(struct world *w)
{
	no_more_faults(w);
	uint64_t end = w->now + CALM_MS, before_calm = w->acked;
	while (w->now < end) {
		struct node *l = leader(w);
		if (l)
			(void)propose_one(l);
		run_until(w, w->now + 2000);
		if (w->acked > before_calm && converged(w))
			return;
	}
	tell(w);
	violation(w, "the nodes do not converge within %d s of calm", CALM_MS / 1000);
}

static void run_seed(struct world *w, uint64_t seed)
{
	build(w, seed);
	uint64_t next_fault = 2000;
	while (w->now < FAULTS_MS) {
		run_until(w, w->now + 1 + rng_below(&w->rng, 30));
		clients(w);
		if (w->now < next_fault)
			continue;
		one_fault(w);
		next_fault = w->now + 20 + rng_below(&w->rng, w->hurry ? 50 : w->fault_gap_ms);
	}
	calm(w);
	if (w->verbose)
		printf("seed %llu: %llu events, %llu acknowledged\n", (unsigned long long)seed,
		       (unsigned long long)w->events, (unsigned long long)w->acked);
}

/*
 * S13: the engine commits only when followers have all that the leader has. While one more proposal always
 * follows before they have, nothing is acknowledged; so a proposer must bound what it has in flight.
 */
static void run_flood(struct world *w, uint64_t seed, uint64_t bound)
{
	build(w, seed);
	uint64_t acked = 0;
	for (unsigned ms = 0; ms < FLOOD_MS; ms++) {
		struct node *l = leader(w);
		run_until(w, w->now + 1);
		if (l && w->in_flight < bound)
			(void)propose_one(l);
		if (ms % 5000 != 4999)
			continue;
		if (w->acked == acked)
			violation(w, "nothing was acknowledged for 5 s, with %llu in flight",
				  (unsigned long long)w->in_flight);
		acked = w->acked;
	}
}

static void run_held(struct world *w, uint64_t seed)
{
	build(w, seed);
	play_held(w);
	no_more_faults(w);
	for (uint64_t end = w->now + FLOOD_MS * 2; w->now < end; clients(w))
		run_until(w, w->now + 20);
	calm(w);
}

/* ---- many runs ---- */

struct options {
	uint64_t seeds, start;
	unsigned nodes, rules_off, least_voters;
	bool verbose, expect, free_transfers, held;
	uint64_t flood;
};

/* A crash of the engine is a violation too: each seed has its own process. */
static bool seed_is_clean(const struct options *o, uint64_t seed)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	PRE(pid >= 0);
	if (pid == 0) {
		struct world *w = calloc(1, sizeof *w);
		PRE(w);
		w->n_first = o->nodes;
		w->n_nodes = o->nodes + NEWCOMERS;
		w->free_transfers = o->free_transfers;
		w->rules_off = o->rules_off;
		w->least_voters = o->least_voters;
		w->verbose = o->verbose;
		alarm(60); /* a run that does not end is one more way to fail */
		heap_begin(w);
		if (o->flood)
			run_flood(w, seed, o->flood);
		else if (o->held)
			run_held(w, seed);
		else
			run_seed(w, seed);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFSIGNALED(status))
		printf("  killed by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
	printf("  repeat: raft_sim --seeds 1 --start %llu --nodes %u --rules-off %u --least-voters %u "
	       "--flood %llu "
	       "%s--verbose\n",
	       (unsigned long long)seed, o->nodes, o->rules_off, o->least_voters,
	       (unsigned long long)o->flood,
	       o->free_transfers ? "--free-transfers "
	       : o->held	 ? "--held "
				 : "");
	return false;
}

static bool parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {{"seeds", 1, 0, 'n'},
					      {"start", 1, 0, 's'},
					      {"nodes", 1, 0, 'k'},
					      {"rules-off", 1, 0, 'r'},
					      {"least-voters", 1, 0, 'l'},
					      {"verbose", 0, 0, 'v'},
					      {"expect-violations", 0, 0, 'x'},
					      {"free-transfers", 0, 0, 't'},
					      {"flood", 1, 0, 'f'},
					      {"held", 0, 0, 'h'},
					      {0}};
	int c;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'n')
			o->seeds = strtoull(optarg, NULL, 0);
		else if (c == 's')
			o->start = strtoull(optarg, NULL, 0);
		else if (c == 'k')
			o->nodes = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'r')
			o->rules_off = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'l')
			o->least_voters = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'v')
			o->verbose = true;
		else if (c == 'x')
			o->expect = true;
		else if (c == 't')
			o->free_transfers = true;
		else if (c == 'h')
			o->held = true;
		else if (c == 'f')
			o->flood = strtoull(optarg, NULL, 0);
		else
			return false;
	}
	return o->nodes >= 1 && o->nodes <= MAX_FIRST && (!o->held || o->nodes == 5);
}

int main(int argc, char **argv)
{
	struct options o = {.seeds = 100, .start = 1, .nodes = 3, .least_voters = 1};
	uint64_t bad = 0, ran = 0;
	if (!parse(&o, argc, argv)) {
		fprintf(stderr, "usage: raft_sim [--seeds N] [--start S] [--nodes 1..5] [--rules-off MASK] "
				"[--least-voters V] [--free-transfers] [--flood BOUND] [--held] "
				"[--expect-violations] [--verbose]\n");
		return 2;
	}
	for (; ran < o.seeds && !(o.expect && bad > 0); ran++)
		bad += !seed_is_clean(&o, o.start + ran);
	printf("%llu seeds, %llu violations\n", (unsigned long long)ran, (unsigned long long)bad);
	return o.expect ? bad == 0 : bad > 0;
}
