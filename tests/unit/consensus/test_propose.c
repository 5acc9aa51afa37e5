/* What the proposer gives to the engine at a time (S13; what comes of more: tests/sim/raft, --flood). */
#include "tests/lib/test.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "coordinator/consensus/internal.h"

enum { COMMANDS = 12 };

static char dir[200];
static uint8_t command[ENTRY_MAX_BATCH]; /* fills an entry of its own */
static unsigned answered;

static void ignore_command(void *u, uint64_t index, uint32_t sub, const void *cmd, size_t n,
			   struct buf *reply)
{
}

static void ignore_commit(void *u, uint64_t index)
{
}

static uint64_t nothing_applied(void *u)
{
	return 0;
}

static void ignore_reset(void *u)
{
}

static int begin_nothing(void *u, void **h)
{
	*h = NULL;
	return E_OK;
}

static int write_nothing(void *h, struct buf *out)
{
	return E_OK;
}

static void end_nothing(void *h)
{
}

static int restore_nothing(void *u, uint64_t index, const void *p, size_t n)
{
	return E_OK;
}

static const struct consensus_fsm forgetful = {.apply = ignore_command,
					       .commit = ignore_commit,
					       .applied = nothing_applied,
					       .reset = ignore_reset,
					       .snap_begin = begin_nothing,
					       .snap_write = write_nothing,
					       .snap_end = end_nothing,
					       .restore = restore_nothing};

static void on_answer(void *arg, int code, uint64_t index, const void *reply, size_t len)
{
	assert_int_equal(code, E_OK);
	answered++;
}

static int rm_one(const char *path, const struct stat *s, int flag, struct FTW *f)
{
	return remove(path);
}

static struct consensus *open_lone_node(uv_loop_t *loop)
{
	struct err e;
	struct consensus *c;
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof dir, "%s/propose-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	const struct consensus_config cfg = {
		.dir = dir, .node_id = 1, .address = "127.0.0.1:1", .fsm = &forgetful, .min_free_bytes = 1};
	assert_int_equal(uv_loop_init(loop), 0);
	if (consensus_open(&c, loop, &cfg, &e) != E_OK)
		fail_msg("%s", e.text);
	return c;
}

static void at_most_four_entries_are_in_flight(void **state)
{
	uv_loop_t loop;
	struct err e;
	unsigned most = 0;
	struct consensus *c = open_lone_node(&loop);
	for (unsigned i = 0; i < COMMANDS; i++)
		assert_int_equal(consensus_propose(c, command, sizeof command, CONSENSUS_ESSENTIAL, on_answer,
						   NULL, &e),
				 E_OK);
	while (answered < COMMANDS) {
		uv_run(&loop, UV_RUN_ONCE);
		if (c->in_flight > most)
			most = c->in_flight;
	}
	assert_int_equal(most, MAX_IN_FLIGHT);
	assert_int_equal(MAX_IN_FLIGHT, 4); /* as the simulation's flood */
	consensus_close(c, NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	nftw(dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(at_most_four_entries_are_in_flight)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
