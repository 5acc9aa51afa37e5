/* One node: engine, guard and a state machine that is a chain of hashes; the invariants are checked as it
 * applies. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/consensus/entry.h"
#include "tests/sim/raft/world.h"

struct proposal {
	struct raft_apply req;
	struct node *node;
	uint64_t command;
};

static uint64_t mix(uint64_t chain, uint64_t index, uint64_t command)
{
	uint64_t x = (chain ^ index) * 0x9e3779b97f4a7c15u;
	return (x ^ (x >> 29) ^ command) * 0xbf58476d1ce4e5b9u;
}

static uint64_t command_of(struct node *n, const struct raft_buffer *b)
{
	struct entry_reader r;
	const uint8_t *cmd;
	size_t len;
	if (entry_open(&r, b->base, b->len) != E_OK || !entry_next(&r, &cmd, &len) || len < 8)
		violation(n->w, "node %u: entry %llu is damaged", n->nr, raft_last_applied(n->raft) + 1);
	return get_u64(cmd);
}

static int apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
	struct node *n = fsm->data;
	struct world *w = n->w;
	raft_index index = raft_last_applied(n->raft) + 1;
	uint64_t command = command_of(n, buf);
	PRE(index < MAX_INDEX);
	if (w->command_at[index] == 0)
		w->command_at[index] = command;
	if (w->command_at[index] != command)
		violation(w, "node %u: index %llu holds command %llu, elsewhere %llu", n->nr, index,
			  (unsigned long long)command, (unsigned long long)w->command_at[index]);
	n->chain = mix(n->chain, index, command);
	if (w->chain_at[index] == 0)
		w->chain_at[index] = n->chain;
	if (w->chain_at[index] != n->chain)
		violation(w, "node %u: the chain differs at index %llu", n->nr, index);
	*result = NULL;
	return 0;
}

static int snap_begin(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *nr)
{
	struct node *n = fsm->data;
	*bufs = raft_malloc(sizeof **bufs);
	(*bufs)[0] = (struct raft_buffer){.base = raft_malloc(8), .len = 8};
	memcpy((*bufs)[0].base, &n->chain, 8);
	*nr = 1;
	return 0;
}

static int snap_write(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *nr)
{
	return 0;
}

static int snap_end(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *nr)
{
	if (*bufs)
		raft_free((*bufs)[0].base);
	raft_free(*bufs);
	*bufs = NULL;
	*nr = 0;
	return 0;
}

static int restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
	struct node *n = fsm->data;
	PRE(buf->len == 8);
	memcpy(&n->chain, buf->base, 8);
	raft_free(buf->base);
	return 0;
}

void fsm_sim_init(struct node *n)
{
	n->fsm = calloc(1, sizeof *n->fsm);
	PRE(n->fsm);
	*n->fsm = (struct raft_fsm){.version = 3,
				    .data = n,
				    .apply = apply,
				    .snapshot = snap_begin,
				    .restore = restore,
				    .snapshot_finalize = snap_end,
				    .snapshot_async = snap_write};
}

static void note_acked(const struct proposal *p)
{
	struct world *w = p->node->w;
	raft_index index = raft_last_applied(p->node->raft) + 1; /* it moves only after this call */
	if (w->command_at[index] != p->command)
		violation(w, "node %u: acknowledges command %llu at index %llu, which holds %llu",
			  p->node->nr, (unsigned long long)p->command, index,
			  (unsigned long long)w->command_at[index]);
	w->acked++;
	if (index > w->top_acked_index)
		w->top_acked_index = index;
}

static void answered(struct raft_apply *req, int status, void *result)
{
	struct proposal *p = container_of(req, struct proposal, req);
	p->node->w->in_flight--;
	if (status == 0)
		note_acked(p);
	free(p);
}

bool propose_one(struct node *n)
{
	uint8_t bytes[64] = {0};
	struct buf b;
	struct proposal *p = calloc(1, sizeof *p);
	PRE(p);
	*p = (struct proposal){.node = n, .command = ++n->w->next_command};
	put_u64(bytes, p->command);
	buf_init(&b);
	entry_begin(&b);
	entry_add(&b, bytes, 8 + rng_below(&n->w->rng, 50));
	entry_seal(&b);
	struct raft_buffer buf = {.base = raft_malloc(b.len), .len = b.len};
	memcpy(buf.base, b.data, b.len);
	buf_done(&b);
	if (raft_apply(n->raft, &p->req, &buf, 1, answered) != 0)
		return false;
	n->w->in_flight++;
	return true;
}

static void guard_fatal(void *arg, const char *text)
{
	struct node *n = arg;
	if (!n->disk.failed && !n->disk.full)
		violation(n->w, "node %u: %s", n->nr, text);
	node_crash(n); /* the process ends here */
	longjmp(n->w->stopped, 1);
}

static void set_options(struct node *n)
{
	raft_set_election_timeout(n->raft, 500);
	raft_set_heartbeat_timeout(n->raft, 50);
	raft_set_install_snapshot_timeout(n->raft, 2000);
	raft_set_snapshot_threshold(n->raft, n->w->threshold);
	raft_set_snapshot_trailing(n->raft, n->w->trailing);
	raft_set_pre_vote(n->raft, true);
}

void node_boot(struct node *n)
{
	struct guard_hooks hooks = {.arg = n, .fatal = guard_fatal};
	n->epoch++;
	n->alive = true;
	n->chain = 0;
	n->raft = calloc(1, sizeof *n->raft);
	n->guard = calloc(1, sizeof *n->guard);
	PRE(n->raft && n->guard);
	io_init(n);
	fsm_sim_init(n);
	if (raft_init(n->raft, n->io, n->fsm, n->nr + 1, n->address) != 0)
		violation(n->w, "node %u: init: %s", n->nr, raft_errmsg(n->raft));
	guard_install(n->guard, n->raft, &hooks, n->w->rules_off);
	set_options(n);
	if (raft_start(n->raft) != 0)
		violation(n->w, "node %u does not start: %s", n->nr, raft_errmsg(n->raft));
	guard_started(n->guard);
}

void node_crash(struct node *n)
{
	n->alive = false;
	n->epoch++;
	disk_crash(n);
}
