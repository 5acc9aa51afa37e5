/* The real wavetrain-exec: what it wrote down holds over its own ends, those of the host, and upgrades. */
#include "tests/unit/agent_exec/exec_world.h"

#include <poll.h>
#include <signal.h>

/* Exec and program end together, and exec comes back, as in a reboot. */
static void host_restarts(void)
{
	int pid = status()->pid;
	exec_down(SIGKILL);
	assert_int_equal(kill(pid, SIGKILL), 0);
	exec_up_again();
	while (status()->run == EXEC_RUN_WAITING || reply.status.pid == pid)
		poll(NULL, 0, 5);
}

static void start_with_one_try(uint32_t stable_ms)
{
	start_record(NULL, NULL);
	record.restart =
		(struct exec_restart){.tries = 1, .first_ms = 1, .most_ms = 1, .stable_ms = stable_ms};
	assert_int_equal(call(), E_OK);
}

static void reboots_after_long_lives_do_not_use_up_the_restarts(void **s)
{
	start_with_one_try(100);
	for (int i = 0; i < 4; i++) {
		host_restarts();
		assert_int_equal(reply.status.run, EXEC_RUN_UP);
		while (status()->tries_left == 0)
			poll(NULL, 0, 5);
		if (i ==
		    2) /* the count of a life begins with the program, not with the exec that watches it */
			new_exec();
	}
	stop(false, 5000);
}

static void a_start_that_takes_the_host_down_is_counted(void **s)
{
	start_with_one_try(600000);
	host_restarts();
	assert_int_equal(reply.status.run, EXEC_RUN_UP);
	assert_int_equal(reply.status.tries_left, 0);
	host_restarts();
	assert_int_equal(reply.status.run, EXEC_RUN_CRASH_LOOP);
}

int main(int argc, char **argv)
{
	exec_world_init(argc, argv);
	const struct CMUnitTest tests[] = {
		EXEC_CASE(reboots_after_long_lives_do_not_use_up_the_restarts),
		EXEC_CASE(a_start_that_takes_the_host_down_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
