/*
 * raft_sim: the replicated log under crashes, partitions, slow disks, snapshots, membership changes.
 * Deterministic: the failing seed is the bug report.
 *
 *   raft_sim --seeds N --start S --nodes K [--rules-off MASK] [--least-voters V] [--expect-violations]
 * [--verbose]
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

enum { FAULTS_MS = 45000, CALM_MS = 60000, EXIT_VIOLATION = 9 };

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

static void run_until(struct world *w, uint64_t end)
{
	while (w->n_heap > 0 && w->heap[0].at <= end) {
		struct event e = pop(w);
		w->now = e.at;
		if (!e.node->alive || e.node->epoch != e.epoch)
			continue;
		e.fn(e.node, e.arg);
		w->events++;
		check_node(e.node);
	}
	w->now = end;
}

/* ---- faults ---- */

static void note(const struct node *n, const char *what)
{
	if (n->w->verbose)
		printf("  t=%llu node %u %s\n", (unsigned long long)n->w->now, n->nr, what);
}

static bool all_well(const struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		if (!w->nodes[i].alive)
			return false;
		for (unsigned j = 0; j < w->n_nodes; j++)
			if (w->cut[i][j])
				return false;
	}
	return true;
}

static struct node *any_node(struct world *w)
{
	return &w->nodes[rng_below(&w->rng, w->n_nodes)];
}

static void fault_crash(struct world *w)
{
	struct node *n = any_node(w);
	if (!n->alive)
		return;
	note(n, "crashes");
	node_crash(n);
}

static void fault_restart(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++)
		if (!w->nodes[i].alive && rng_chance(&w->rng, 600)) {
			node_boot(&w->nodes[i]);
			note(&w->nodes[i], "is back");
		}
}

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

static void fault_heal(struct world *w)
{
	memset(w->cut, 0, sizeof w->cut);
}

static void fault_slow_disk(struct world *w)
{
	struct node *n = any_node(w);
	n->disk.slow_ms = rng_chance(&w->rng, 500) ? (unsigned)rng_below(&w->rng, 800) : 0;
}

static struct node *leader(struct world *w)
{
	struct node *best = NULL;
	for (unsigned i = 0; i < w->n_nodes; i++) {
		struct node *n = &w->nodes[i];
		if (n->alive && n->raft->state == RAFT_LEADER &&
		    (!best || n->raft->current_term > best->raft->current_term))
			best = n;
	}
	return best;
}

static void changed(struct raft_change *req, int status)
{
}

static void transferred(struct raft_transfer *req)
{
}

/*
 * Operator rules: one change at a time, with all members reachable, never the leader itself, never below
 * --least-voters (1), and, as the engine does not see to it, only once the leader has committed an entry of
 * its own term: two leaders' changes could else have majorities that do not meet.
 */
static void change_membership(struct world *w)
{
	struct node *n = leader(w), *other = any_node(w);
	if (!n || other == n || !all_well(w) || !guard_may_change_members(n->guard))
		return;
	struct raft_change *req = calloc(1, sizeof *req);
	PRE(req);
	int role = RAFT_VOTER;
	unsigned voters = 0;
	for (unsigned i = 0; i < n->raft->configuration.n; i++)
		voters += n->raft->configuration.servers[i].role == RAFT_VOTER;
	for (unsigned i = 0; i < n->raft->configuration.n; i++)
		if (n->raft->configuration.servers[i].id == other->nr + 1)
			role = n->raft->configuration.servers[i].role;
	if (role == RAFT_VOTER && voters <= w->least_voters)
		return;
	note(n, role == RAFT_VOTER ? "demotes another" : "promotes another");
	(void)raft_assign(n->raft, req, other->nr + 1, role == RAFT_VOTER ? RAFT_STANDBY : RAFT_VOTER,
			  changed);
}

static void transfer_leadership(struct world *w)
{
	struct node *n = leader(w);
	if (!n || !all_well(w) || w->n_nodes == 1)
		return;
	struct raft_transfer *req =
		calloc(1, sizeof *req); /* the engine uses it after its callback: never freed (S12) */
	PRE(req);
	(void)raft_transfer(n->raft, req, 0, transferred);
}

static void one_fault(struct world *w)
{
	static void (*const many[])(struct world *) = {
		fault_crash,	   fault_crash,	       fault_restart,	fault_restart,	   fault_restart,
		fault_partition,   fault_partition,    fault_partition, fault_heal,	   fault_heal,
		fault_heal,	   fault_slow_disk,    fault_slow_disk, change_membership, change_membership,
		change_membership, transfer_leadership};
	many[rng_below(&w->rng, ARRAY_LEN(many))](w);
}

static void clients(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		struct node *n = &w->nodes[i];
		if (!n->alive || n->raft->state != RAFT_LEADER)
			continue;
		for (uint64_t k = rng_below(&w->rng, 4); k > 0; k--)
			(void)propose_one(n);
		check_node(n);
	}
}

/* ---- one run ---- */

static void build(struct world *w, uint64_t seed)
{
	rng_seed(&w->rng, seed);
	w->threshold = 20 + (unsigned)rng_below(&w->rng, 100);
	w->trailing = 5 + (unsigned)rng_below(&w->rng, 40);
	for (unsigned i = 0; i < w->n_nodes; i++) {
		w->nodes[i].w = w;
		w->nodes[i].nr = i;
		snprintf(w->nodes[i].address, sizeof w->nodes[i].address, "n%u", i);
	}
	for (unsigned i = 0; i < w->n_nodes; i++) {
		disk_format(&w->nodes[i]);
		node_boot(&w->nodes[i]);
	}
}

static bool converged(struct world *w)
{
	struct node *l = leader(w);
	if (!l)
		return false;
	for (unsigned i = 0; i < w->n_nodes; i++)
		if (w->nodes[i].raft->last_applied != raft_last_index(l->raft) ||
		    w->nodes[i].chain != l->chain)
			return false;
	return l->raft->last_applied >= w->top_acked_index;
}

static void tell(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		struct raft *r = w->nodes[i].raft;
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
	fault_heal(w);
	for (unsigned i = 0; i < w->n_nodes; i++) {
		w->nodes[i].disk.slow_ms = 0;
		if (!w->nodes[i].alive)
			node_boot(&w->nodes[i]);
	}
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
		next_fault = w->now + 20 + rng_below(&w->rng, 800);
	}
	calm(w);
	if (w->verbose)
		printf("seed %llu: %llu events, %llu acknowledged\n", (unsigned long long)seed,
		       (unsigned long long)w->events, (unsigned long long)w->acked);
}

/* ---- many runs ---- */

struct options {
	uint64_t seeds, start;
	unsigned nodes, rules_off, least_voters;
	bool verbose, expect;
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
		w->n_nodes = o->nodes;
		w->rules_off = o->rules_off;
		w->least_voters = o->least_voters;
		w->verbose = o->verbose;
		alarm(60); /* a run that does not end is one more way to fail */
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
	       "--verbose\n",
	       (unsigned long long)seed, o->nodes, o->rules_off, o->least_voters);
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
		else
			return false;
	}
	return o->nodes >= 1 && o->nodes <= MAX_NODES;
}

int main(int argc, char **argv)
{
	struct options o = {.seeds = 100, .start = 1, .nodes = 3, .least_voters = 1};
	uint64_t bad = 0, ran = 0;
	if (!parse(&o, argc, argv)) {
		fprintf(stderr, "usage: raft_sim [--seeds N] [--start S] [--nodes 1..5] [--rules-off MASK] "
				"[--least-voters V] [--expect-violations] [--verbose]\n");
		return 2;
	}
	for (; ran < o.seeds && !(o.expect && bad > 0); ran++)
		bad += !seed_is_clean(&o, o.start + ran);
	printf("%llu seeds, %llu violations\n", (unsigned long long)ran, (unsigned long long)bad);
	return o.expect ? bad == 0 : bad > 0;
}
