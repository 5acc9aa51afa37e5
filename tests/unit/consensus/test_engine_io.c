/* What stands between libraft and its I/O, on I/O that does what a test says. */
#include "tests/lib/test.h"

#include <stdlib.h>

#include "coordinator/consensus/internal.h"

static struct consensus c;
static raft_io_recv_cb recv_of_io;
static unsigned received, snapshots;
static raft_index last_index;
static char from[64];

static int fake_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	recv_of_io = recv;
	return 0;
}

static void free_snapshot(struct raft_message *m)
{
	raft_configuration_close(&m->install_snapshot.conf);
	raft_free(m->install_snapshot.data.base);
}

/* As the engine: a snapshot is its own from here on. */
static void engine_recv(struct raft_io *io, struct raft_message *m)
{
	received++;
	if (m->type != RAFT_IO_INSTALL_SNAPSHOT)
		return;
	snapshots++;
	last_index = m->install_snapshot.last_index;
	snprintf(from, sizeof from, "%s", m->server_address);
	free_snapshot(m);
}

static int setup(void **state)
{
	c = (struct consensus){.io.start = fake_start};
	received = snapshots = 0;
	engine_io_wrap(&c);
	return c.io.start(&c.io, 50, NULL, engine_recv);
}

static int teardown(void **state)
{
	engine_io_done(&c);
	return 0;
}

static void snapshot_comes(raft_index index)
{
	char *address = strdup("b.example:7102");
	struct raft_message m = {.type = RAFT_IO_INSTALL_SNAPSHOT, .server_id = 2, .server_address = address};
	raft_configuration_init(&m.install_snapshot.conf);
	assert_int_equal(raft_configuration_add(&m.install_snapshot.conf, 2, address, RAFT_VOTER), 0);
	m.install_snapshot.last_index = index;
	m.install_snapshot.data = (struct raft_buffer){.base = raft_malloc(64), .len = 64};
	recv_of_io(&c.io, &m);
	free(address);
}

static void a_snapshot_goes_to_an_engine_that_takes_it(void **state)
{
	snapshot_comes(100);
	assert_int_equal(snapshots, 1);
	engine_io_turn(&c);
	assert_int_equal(received, 1);
}

static void one_that_would_be_dropped_is_kept_until_it_is_not(void **state)
{
	struct raft_message vote = {.type = RAFT_IO_REQUEST_VOTE};
	c.raft.snapshot.pending.term = 3; /* the engine takes one of its own */
	snapshot_comes(100);
	snapshot_comes(200);
	assert_int_equal(snapshots, 0);
	recv_of_io(&c.io, &vote);
	assert_int_equal(received, 1);
	engine_io_turn(&c);
	assert_int_equal(snapshots, 0);
	c.raft.snapshot.pending.term = 0;
	engine_io_turn(&c);
	engine_io_turn(&c);
	assert_int_equal(snapshots, 1);
	assert_int_equal(last_index, 200);
	assert_string_equal(from, "b.example:7102");
}

static void one_that_is_kept_at_the_end_is_freed(void **state)
{
	c.raft.snapshot.put.data = &c; /* the engine installs another */
	snapshot_comes(100);
	assert_int_equal(snapshots, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_snapshot_goes_to_an_engine_that_takes_it, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_would_be_dropped_is_kept_until_it_is_not, setup,
						teardown),
		cmocka_unit_test_setup_teardown(one_that_is_kept_at_the_end_is_freed, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
