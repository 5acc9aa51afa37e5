/* The real wavetrain-exec: what it wrote down holds over its own ends, those of the host, and upgrades. */
#include "tests/unit/agent_exec/exec_world.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/unixsock.h"

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

static void what_cannot_be_written_down_is_not_done(void **s)
{
	char in_the_way[200];
	snprintf(in_the_way, sizeof in_the_way, "%s/apps/shop/run.new", root);
	status(); /* makes the folder of the app */
	assert_int_equal(mkdir(in_the_way, 0755), 0);
	for (int i = 0; i < 2; i++) { /* the same start, asked for again, is no success either */
		start_record(NULL, NULL);
		record.activation = 5;
		assert_int_equal(call(), E_IO);
		assert_int_equal(status()->run, EXEC_RUN_STOPPED);
	}
	assert_int_equal(rmdir(in_the_way), 0);
	start_record(NULL, NULL);
	record.activation = 5;
	record.restart = (struct exec_restart){.tries = 1, .first_ms = 1, .most_ms = 1};
	assert_int_equal(call(), E_OK);
	assert_int_equal(mkdir(in_the_way, 0755), 0);
	ask(EXEC_STOP);
	assert_int_equal(call(), E_IO);
	assert_int_equal(status()->run, EXEC_RUN_UP);
	assert_int_equal(rmdir(in_the_way), 0);
	kill(reply.status.pid, SIGKILL); /* it is still wanted */
	while (status()->restarts == 0)
		poll(NULL, 0, 5);
	stop(false, 5000);
}

static pid_t parent_of(int pid)
{
	char path[64], text[1024] = "";
	int parent = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof text, f));
	fclose(f);
	assert_int_equal(sscanf(strrchr(text, ')'), ") %*c %d", &parent), 1);
	return parent;
}

/* A keeper that is halted stands for a process that the kernel does not let go of. */
static void who_waits_for_an_end_that_does_not_come_is_told(void **s)
{
	if (!plain)
		skip_because("only a keeper can be halted from here");
	start_ready(NULL);
	pid_t keeper = parent_of(status()->pid);
	assert_int_equal(kill(keeper, SIGSTOP), 0);
	ask(EXEC_STOP);
	record.timeout_ms = 50;
	assert_int_equal(call(), E_TIMEOUT);
	assert_true(reply.killed);
	assert_int_equal(reply.status.run, EXEC_RUN_UP);
	assert_int_equal(kill(keeper, SIGCONT), 0);
	wait_run(EXEC_RUN_STOPPED);
	stop(false, 1000);
}

/* 0: there are none; -1: the other side is gone. */
static ssize_t next_answer(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	if (poll(&p, 1, 5000) != 1)
		return 0;
	return recv(fd, &reply, sizeof reply, 0) == (ssize_t)sizeof reply ? 1 : -1;
}

static void an_answer_that_does_not_fit_ends_its_connection(void **s)
{
	enum { MANY = 2000 };
	int fd, asked = 0, answered = 0;
	ssize_t n;
	assert_int_equal(unixsock_connect(sock, &fd, NULL), E_OK);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0); /* send waits for room */
	ask(EXEC_STATUS);
	while (asked < MANY && send(fd, &record, sizeof record, MSG_NOSIGNAL) > 0)
		asked++;
	assert_true(asked < MANY); /* nobody takes the answers, so it was dropped on the way */
	while ((n = next_answer(fd)) == 1)
		answered++;
	assert_int_equal(n, -1);
	assert_true(answered > 0 && answered < asked);
	close(fd);
	assert_int_equal(status()->run, EXEC_RUN_NONE); /* others are served */
}

int main(int argc, char **argv)
{
	exec_world_init(argc, argv);
	const struct CMUnitTest tests[] = {
		EXEC_CASE(reboots_after_long_lives_do_not_use_up_the_restarts),
		EXEC_CASE(a_start_that_takes_the_host_down_is_counted),
		EXEC_CASE(what_cannot_be_written_down_is_not_done),
		EXEC_CASE(who_waits_for_an_end_that_does_not_come_is_told),
		EXEC_CASE(an_answer_that_does_not_fit_ends_its_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
