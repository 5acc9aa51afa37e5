/* The real wavetrain-exec: what it wrote down holds over its own ends, those of the host, and upgrades. */
#include "tests/unit/agent_exec/exec_world.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "sys/child.h"
#include "sys/unixsock.h"

static void kill_program(int pid)
{
	assert_true(pid > 1); /* 0 would be ourselves */
	assert_int_equal(kill(pid, SIGKILL), 0);
}

/* Exec and program end together, and exec comes back, as in a reboot. A keeper that has not ended yet is
 * taken over for a moment: it has no program. */
static void host_restarts(void)
{
	int pid = status()->pid;
	exec_down(SIGKILL);
	kill_program(pid);
	exec_up_again();
	while (status()->run == EXEC_RUN_WAITING ||
	       (reply.status.run == EXEC_RUN_UP && (reply.status.pid == 0 || reply.status.pid == pid)))
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
	kill_program(reply.status.pid); /* it is still wanted */
	while (status()->restarts == 0)
		poll(NULL, 0, 5);
	stop(false, 5000);
}

/* A keeper that is halted stands for a process that the kernel does not let go of. */
static pid_t halt(pid_t keeper)
{
	assert_true(keeper > 1);
	assert_int_equal(kill(keeper, SIGSTOP), 0);
	return keeper;
}

static void who_waits_for_the_end_of_a_hook_that_does_not_come_is_told(void **s)
{
	ask(EXEC_HOOK);
	record.timeout_ms = 500;
	assert_int_equal(record_add_arg(&record, app_path), E_OK);
	mark();
	assert_int_equal(call_begin(), E_OK);
	wait_apps(1);
	pid_t keeper = halt(child_first(exec_pid));
	struct exec_record same = record;
	assert_int_equal(call_end(), E_TIMEOUT);
	assert_non_null(strstr(reply.text, "does not end"));
	record = same;
	assert_int_equal(call_begin(), E_OK);
	for (int i = 0; i < 20; i++) { /* it is not run a second time for that */
		uv_run(&loop, UV_RUN_NOWAIT);
		assert_int_equal(count_apps(), 1);
	}
	assert_int_equal(kill(keeper, SIGCONT), 0);
	assert_int_equal(call_end(), E_TIMEOUT);
	assert_non_null(strstr(reply.text, "was ended"));
	assert_int_equal(count_apps(), 0);
}

static void who_waits_for_the_end_of_a_program_that_does_not_come_is_told(void **s)
{
	if (!plain)
		skip_because("a program that has a control group has no keeper to halt");
	start_ready(NULL);
	pid_t keeper = halt(child_first(exec_pid));
	ask(EXEC_STOP);
	record.timeout_ms = 50;
	assert_int_equal(call(), E_TIMEOUT);
	assert_true(reply.killed);
	assert_int_equal(reply.status.run, EXEC_RUN_UP);
	assert_int_equal(kill(keeper, SIGCONT), 0);
	wait_run(EXEC_RUN_STOPPED);
	stop(false, 1000);
}

/* What apps/shop/run holds; where its core and its record end (store.c). */
static struct {
	uint8_t bytes[20000];
	size_t n;
} run;
enum { CORE_1 = 1160, CORE_2 = CORE_1 + 8, TAIL = 8 };

static FILE *run_open(const char *mode)
{
	char path[200];
	snprintf(path, sizeof path, "%s/apps/shop/run", root);
	FILE *f = fopen(path, mode);
	assert_non_null(f);
	return f;
}

static void run_read(void)
{
	FILE *f = run_open("r");
	run.n = fread(run.bytes, 1, sizeof run.bytes, f);
	assert_true(run.n > CORE_2 + TAIL && run.n < sizeof run.bytes - 100);
	fclose(f);
}

static void run_write(void)
{
	FILE *f = run_open("w");
	assert_int_equal(fwrite(run.bytes, 1, run.n, f), run.n);
	fclose(f);
}

static void put_u32(size_t at, uint32_t v)
{
	memcpy(run.bytes + at, &v, sizeof v);
}

static void run_seal(uint32_t magic)
{
	put_u32(0, magic);
	put_u32(4, (uint32_t)run.n);
	put_u32(run.n - TAIL, (uint32_t)crc32(0, run.bytes, (uInt)(run.n - TAIL)));
}

static void run_grow(size_t at, size_t by)
{
	memmove(run.bytes + at + by, run.bytes + at, run.n - at);
	memset(run.bytes + at, 0xaa, by);
	run.n += by;
}

/* The first version did not say how long its parts are. */
static void as_the_first_version_wrote_it(void)
{
	memmove(run.bytes + CORE_1, run.bytes + CORE_2, run.n - CORE_2);
	run.n -= CORE_2 - CORE_1;
	run_seal(0x57545231);
}

static void as_a_later_version_may_write_it(void)
{
	uint32_t start = (uint32_t)(run.n - TAIL - CORE_2);
	run_grow(run.n - TAIL, 32);
	run_grow(CORE_2, 16);
	put_u32(CORE_1, CORE_2 + 16);
	put_u32(CORE_1 + 4, start + 32);
	run_seal(0x57545232);
}

static int start_known(void)
{
	start_record(NULL, NULL);
	record.activation = 5;
	record.restart = (struct exec_restart){.tries = 1, .first_ms = 1, .most_ms = 1};
	assert_int_equal(call(), E_OK);
	return reply.status.pid;
}

static void another_exec_wrote(void (*change)(void))
{
	int pid = start_known();
	exec_down(SIGKILL);
	run_read();
	change();
	run_write();
	exec_up_again();
	assert_int_equal(status()->run, EXEC_RUN_UP);
	assert_int_equal(reply.status.pid, pid);
	assert_int_equal(reply.status.activation, 5);
	kill_program(pid); /* and it knows how to start it */
	while (status()->restarts == 0)
		poll(NULL, 0, 5);
	wait_run(EXEC_RUN_UP);
	stop(false, 5000);
}

static void programs_are_kept_over_an_upgrade_and_back(void **s)
{
	another_exec_wrote(as_the_first_version_wrote_it);
	another_exec_wrote(as_a_later_version_may_write_it);
}

static void what_the_disk_changed_is_not_acted_upon(void **s)
{
	const size_t where[] = {0, 4, 60, CORE_1, CORE_1 + 4, CORE_2 + 5000};
	start_known();
	exec_down(SIGKILL);
	run_read();
	for (size_t i = 0; i < ARRAY_LEN(where); i++) {
		run.bytes[where[i]] ^= 0x10;
		run_write();
		exec_up_again();
		ask(EXEC_STATUS);
		assert_int_equal(call(), E_CORRUPT);
		exec_down(SIGKILL);
		run.bytes[where[i]] ^= 0x10;
	}
	run_write();
	exec_up_again();
	stop(false, 5000);
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
		EXEC_CASE(who_waits_for_the_end_of_a_hook_that_does_not_come_is_told),
		EXEC_CASE(who_waits_for_the_end_of_a_program_that_does_not_come_is_told),
		EXEC_CASE(programs_are_kept_over_an_upgrade_and_back),
		EXEC_CASE(what_the_disk_changed_is_not_acted_upon),
		EXEC_CASE(an_answer_that_does_not_fit_ends_its_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
