#include "tests/lib/test.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "coordinator/consensus/consensus.h"

enum { MAX_NR = 400000, WINDOW = 200 };

/* The state: how often each number was applied, and their order as a running hash. Nothing of it is on disk.
 */
struct memory {
	uint32_t count;
	uint64_t hash, committed, index;
	uint8_t seen[MAX_NR];
	unsigned snapshots, restores;
};

struct node {
	uv_loop_t loop;
	struct consensus *c;
	struct memory m;
	char dir[200];
	struct consensus_config cfg;
	unsigned next, last, acked, failed;
	int out; /* acks go here too, unless -1 */
};

static void m_apply(void *u, uint64_t index, uint32_t sub, const void *cmd, size_t n, struct buf *reply)
{
	struct memory *m = u;
	if (n != 4)
		return; /* filler */
	uint32_t nr = get_u32(cmd);
	m->seen[nr]++;
	m->count++;
	m->hash = (m->hash ^ nr) * 1099511628211u;
	buf_put_u32(reply, nr);
}

static void m_commit(void *u, uint64_t index)
{
	struct memory *m = u;
	m->committed = m->count;
	m->index = index;
}

static uint64_t m_applied(void *u)
{
	return ((struct memory *)u)->index;
}

static void m_reset(void *u)
{
	memset(u, 0, sizeof(struct memory));
}

static int m_snap_begin(void *u, void **h)
{
	struct memory *m = u, *copy = malloc(sizeof *copy);
	m->snapshots++;
	memcpy(copy, m, sizeof *copy);
	*h = copy;
	return E_OK;
}

static int m_snap_write(void *h, struct buf *out)
{
	buf_put(out, h, sizeof(struct memory));
	return E_OK;
}

static int m_restore(void *u, uint64_t index, const void *p, size_t n)
{
	struct memory *m = u;
	assert_int_equal(n, sizeof *m);
	memcpy(m, p, n);
	m->restores++;
	m->snapshots = 0;
	return E_OK;
}

static const struct consensus_fsm memory_fsm = {.apply = m_apply,
						.commit = m_commit,
						.applied = m_applied,
						.reset = m_reset,
						.snap_begin = m_snap_begin,
						.snap_write = m_snap_write,
						.snap_end = free,
						.restore = m_restore};

static int rm_one(const char *path, const struct stat *s, int flag, struct FTW *f)
{
	return remove(path);
}

static void node_init(struct node *n)
{
	const char *tmp = getenv("TMPDIR");
	memset(n, 0, sizeof *n);
	snprintf(n->dir, sizeof n->dir, "%s/consensus-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(n->dir));
	n->cfg = (struct consensus_config){.dir = n->dir,
					   .node_id = 1,
					   .address = "127.0.0.1:1",
					   .fsm = &memory_fsm,
					   .fsm_arg = &n->m,
					   .min_free_bytes = 1};
	n->out = -1;
}

static void node_done(struct node *n)
{
	nftw(n->dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
	free(n);
}

static int node_open(struct node *n, struct err *e)
{
	uv_loop_init(&n->loop);
	return consensus_open(&n->c, &n->loop, &n->cfg, e);
}

static void node_start(struct node *n)
{
	struct err e;
	memset(&n->m, 0, sizeof n->m);
	int rv = node_open(n, &e);
	if (rv != E_OK)
		fail_msg("%s", e.text);
}

static void node_stop(struct node *n)
{
	consensus_close(n->c, NULL, NULL);
	uv_run(&n->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&n->loop), 0);
}

static void propose_more(struct node *n);

static void on_done(void *arg, int code, uint64_t index, const void *reply, size_t len)
{
	uint32_t nr = 0;
	struct node *n = arg;
	n->failed += code != E_OK;
	if (code == E_OK) {
		assert_int_equal(len, 4);
		nr = get_u32(reply);
		assert_true(n->m.seen[nr] == 1 && n->m.committed == n->m.count);
		if (n->out >= 0 && write(n->out, &nr, 4) != 4)
			_exit(3);
	}
	n->acked++;
	propose_more(n);
}

static void propose_more(struct node *n)
{
	struct err e;
	uint8_t cmd[4];
	while (n->next < n->last && n->next - n->acked < WINDOW) {
		put_u32(cmd, n->next);
		int rv = consensus_propose(n->c, cmd, 4, 0, on_done, n, &e);
		if (rv != E_OK)
			fail_msg("%s", e.text);
		n->next++;
	}
}

static void propose_all(struct node *n, unsigned from, unsigned nr)
{
	n->next = n->acked = from;
	n->last = from + nr;
	propose_more(n);
	while (n->acked < n->last)
		uv_run(&n->loop, UV_RUN_ONCE);
	assert_int_equal(n->failed, 0);
}

static void ten_thousand_commands_survive_a_restart(void **state)
{
	struct node *n = malloc(sizeof *n);
	node_init(n);
	node_start(n);
	assert_true(consensus_is_leader(n->c));
	propose_all(n, 0, 10000);
	uint64_t hash = n->m.hash;
	node_stop(n);
	node_start(n);
	assert_int_equal(n->m.count, 10000);
	assert_true(n->m.hash == hash);
	node_stop(n);
	node_done(n);
}

static void a_snapshot_shortens_the_log_and_brings_the_state_back(void **state)
{
	struct node *n = malloc(sizeof *n);
	node_init(n);
	n->cfg.snapshot_threshold = 16;
	n->cfg.snapshot_trailing = 4;
	node_start(n);
	propose_all(n, 0, 20000);
	assert_true(n->m.snapshots > 0);
	uint64_t hash = n->m.hash;
	node_stop(n);
	node_start(n);
	assert_int_equal(n->m.restores, 1);
	assert_int_equal(n->m.count, 20000);
	assert_true(n->m.hash == hash);
	node_stop(n);
	node_done(n);
}

static void a_store_that_kept_its_state_is_not_given_commands_twice(void **state)
{
	struct err e;
	struct node *n = malloc(sizeof *n);
	node_init(n);
	node_start(n);
	propose_all(n, 0, 500);
	node_stop(n);
	assert_int_equal(node_open(n, &e), E_OK);
	assert_int_equal(n->m.count, 500);
	node_stop(n);
	n->m.index += 1000; /* claims more than the log has: rebuilt from the log */
	n->m.count = 77;
	assert_int_equal(node_open(n, &e), E_OK);
	assert_int_equal(n->m.count, 500);
	node_stop(n);
	node_done(n);
}

static void a_second_process_is_told_who_holds_the_directory(void **state)
{
	char pid[32];
	struct err e;
	struct consensus *other;
	struct node *n = malloc(sizeof *n);
	node_init(n);
	node_start(n);
	assert_int_equal(consensus_open(&other, &n->loop, &n->cfg, &e), E_BUSY);
	snprintf(pid, sizeof pid, "process %d", (int)getpid());
	assert_non_null(strstr(e.text, pid));
	node_stop(n);
	node_done(n);
}

static void a_command_that_is_too_large_and_a_full_disk_are_refused(void **state)
{
	static uint8_t large[1024 * 1024 + 1];
	struct err e;
	struct node *n = malloc(sizeof *n);
	node_init(n);
	n->cfg.min_free_bytes = UINT64_MAX;
	node_start(n);
	assert_int_equal(consensus_propose(n->c, large, sizeof large, 0, on_done, n, &e), E_TOO_LARGE);
	assert_int_equal(consensus_propose(n->c, large, 4, 0, on_done, n, &e), E_NO_SPACE);
	assert_int_equal(consensus_propose(n->c, large, 4, CONSENSUS_ESSENTIAL, on_done, n, &e), E_OK);
	assert_int_equal(consensus_member(n->c, CONSENSUS_MEMBER_ADD, 2, "b", on_done, n, &e), E_UNSUPPORTED);
	while (n->acked == 0)
		uv_run(&n->loop, UV_RUN_ONCE);
	node_stop(n);
	node_done(n);
}

/* The child proposes for ever from `from`, and writes each acknowledged number to the pipe. */
static pid_t start_child(struct node *n, unsigned from, int *out)
{
	int p[2];
	assert_int_equal(pipe(p), 0);
	pid_t pid = fork();
	if (pid == 0) {
		n->out = p[1];
		close(p[0]);
		node_start(n);
		n->next = n->acked = from;
		n->last = MAX_NR;
		propose_more(n);
		uv_run(&n->loop, UV_RUN_DEFAULT);
		_exit(4);
	}
	close(p[1]);
	*out = p[0];
	return pid;
}

/* Read acks until `want` came, kill, drain. Marks them in `acked`; returns the highest number + 1. */
static unsigned kill_after(pid_t pid, int in, unsigned want, uint8_t *acked)
{
	unsigned got = 0, top = 0;
	uint32_t nr;
	while (read(in, &nr, 4) == 4) {
		acked[nr] = 1;
		top = nr + 1;
		if (++got == want)
			kill(pid, SIGKILL);
	}
	close(in);
	return top;
}

static void check_acked_once(struct node *n, const uint8_t *acked)
{
	node_start(n);
	for (unsigned i = 0; i < MAX_NR; i++)
		assert_true(acked[i] ? n->m.seen[i] == 1 : n->m.seen[i] <= 1);
	node_stop(n);
}

static void what_was_acknowledged_before_kill_9_is_there_exactly_once(void **state)
{
	static uint8_t acked[MAX_NR];
	struct node *n = malloc(sizeof *n);
	unsigned from = 0;
	int in, status;
	node_init(n);
	n->cfg.snapshot_threshold = 64;
	n->cfg.snapshot_trailing = 16;
	for (int round = 0; round < 20; round++) {
		pid_t pid = start_child(n, from, &in);
		unsigned top = kill_after(pid, in, 150 + 37 * (unsigned)round, acked);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		from = top + WINDOW + 1; /* what was in flight may or may not be there */
		check_acked_once(n, acked);
	}
	node_done(n);
}

/* The file size limit of the parent is lowered before the fork: the log's segments of 8 MiB cannot be made
 * any more. */
static void a_disk_that_takes_no_more_stops_the_process_before_a_false_word(void **state)
{
	static uint8_t acked[MAX_NR];
	struct node *n = malloc(sizeof *n);
	struct rlimit old, low;
	int in, status;
	node_init(n);
	node_start(n);
	propose_all(n, 0, 100);
	node_stop(n);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	low = (struct rlimit){.rlim_cur = 1024 * 1024, .rlim_max = old.rlim_max};
	setrlimit(RLIMIT_FSIZE, &low);
	pid_t pid = start_child(n, 1000, &in);
	setrlimit(RLIMIT_FSIZE, &old);
	kill_after(pid, in, UINT32_MAX, acked);
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 70);
	check_acked_once(n, acked);
	node_done(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_thousand_commands_survive_a_restart),
		cmocka_unit_test(a_snapshot_shortens_the_log_and_brings_the_state_back),
		cmocka_unit_test(a_store_that_kept_its_state_is_not_given_commands_twice),
		cmocka_unit_test(a_second_process_is_told_who_holds_the_directory),
		cmocka_unit_test(a_command_that_is_too_large_and_a_full_disk_are_refused),
		cmocka_unit_test(what_was_acknowledged_before_kill_9_is_there_exactly_once),
		cmocka_unit_test(a_disk_that_takes_no_more_stops_the_process_before_a_false_word),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
