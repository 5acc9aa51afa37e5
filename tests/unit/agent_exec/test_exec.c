/* The real wavetrain-exec: programs and hooks start, end, are killed and are told of. */
#include "tests/unit/agent_exec/exec_world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/unixsock.h"

static void a_program_starts_is_seen_and_stops(void **s)
{
	assert_int_equal(status()->run, EXEC_RUN_NONE);
	start_ready(NULL);
	assert_int_equal(status()->run, EXEC_RUN_UP);
	assert_int_equal(kill(reply.status.pid, 0), 0);
	assert_int_equal(reply.status.digest[0], 1);
	start_record(NULL, NULL);
	assert_int_equal(call(), E_CONFLICT);
	stop(false, 5000);
	assert_true(reply.status.last_known);
	assert_int_equal(reply.status.last_exit, 0);
}

static void a_missing_slot_or_program_is_an_error(void **s)
{
	start_record(NULL, NULL);
	record.digest[0] = 9;
	assert_int_equal(call(), E_NOT_FOUND);
	ask(EXEC_START);
	assert_int_equal(record_add_arg(&record, "nothing-here"), E_OK);
	assert_int_equal(call(), E_NOT_FOUND);
	assert_int_not_equal(status()->run, EXEC_RUN_UP);
}

static void a_program_that_ignores_term_is_killed(void **s)
{
	start_ready("--ignore-term");
	stop(true, 50);
	assert_int_equal(reply.status.last_signal, SIGKILL);
}

static void a_crashing_program_is_restarted_then_left(void **s)
{
	start_record("--exit", "7");
	record.restart = (struct exec_restart){.tries = 3, .first_ms = 2, .most_ms = 8};
	assert_int_equal(call(), E_OK);
	wait_run(EXEC_RUN_CRASH_LOOP);
	assert_int_equal(reply.status.restarts, 3);
	assert_int_equal(reply.status.tries_left, 0);
	assert_int_equal(reply.status.last_exit, 7);
}

static void a_killed_exec_leaves_its_program_and_the_next_takes_it_over(void **s)
{
	start_record("--noise", "200000");
	record.restart = (struct exec_restart){.tries = 1, .first_ms = 1, .most_ms = 1};
	assert_int_equal(call(), E_OK);
	int pid = reply.status.pid;
	exec_down(SIGKILL);
	assert_int_equal(kill(pid, 0), 0);
	exec_up_again();
	assert_int_equal(status()->run, EXEC_RUN_UP);
	assert_int_equal(reply.status.pid, pid);
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (status()->restarts != 1 || reply.status.run != EXEC_RUN_UP)
		poll(NULL, 0, 5);
	stop(false, 5000);
}

static void hook_record(const char *flag)
{
	char mark[300];
	ask(EXEC_HOOK);
	assert_int_equal(record_add_arg(&record, app_path), E_OK);
	assert_int_equal(record_add_arg(&record, flag), E_OK);
	snprintf(mark, sizeof mark, "MARK=%s", root);
	assert_int_equal(record_add_env(&record, mark), E_OK);
}

static void the_log_of_a_noisy_program_is_rotated_and_bounded(void **s)
{
	char path[200];
	struct stat st = {0};
	start_record("--noise", "400000");
	record.output_bytes = 60000;
	assert_int_equal(call(), E_OK);
	snprintf(path, sizeof path, "%s/apps/shop/output.log.1", root);
	while (stat(path, &st) != 0)
		poll(NULL, 0, 5);
	stop(false, 5000);
	assert_true(st.st_size <= 60000);
	path[strlen(path) - 2] = '\0';
	while (stat(path, &st) !=
	       0) /* what was in the pipe may be read, and rotated, after the program is gone */
		poll(NULL, 0, 5);
	assert_true(st.st_size <= 60000);
}

static void a_hanging_hook_and_all_it_forked_are_ended(void **s)
{
	hook_record("--fork");
	record.timeout_ms = 1000;
	assert_int_equal(call_begin(), E_OK);
	while (count_apps() < 7) /* itself, three children, three of theirs */
		poll(NULL, 0, 5);
	assert_int_equal(call_end(), E_TIMEOUT);
	assert_true(reply.killed);
	assert_int_equal(count_apps(), 0);
}

static void the_output_of_a_hook_is_bounded_and_its_tail_kept(void **s)
{
	hook_record("--noise");
	assert_int_equal(record_add_arg(&record, "500000"), E_OK);
	assert_int_equal(record_add_arg(&record, "--exit"), E_OK);
	assert_int_equal(record_add_arg(&record, "5"), E_OK);
	assert_int_equal(call(), E_OK);
	assert_int_equal(reply.hook_exit, 5);
	assert_int_equal(reply.output_len, EXEC_OUTPUT_CAP);
	assert_true(reply.output_total > 500000);
	assert_memory_equal(reply.output + EXEC_OUTPUT_CAP - 8, "the end\n", 8);
}

static void a_lower_fence_is_refused_also_by_the_next_exec(void **s)
{
	ask(EXEC_SWAP);
	record.fence = (struct fence){1, 5, 9};
	assert_int_equal(call(), E_OK);
	new_exec();
	ask(EXEC_SWAP);
	record.fence = (struct fence){1, 5, 8};
	assert_int_equal(call(), E_FENCED);
}

static void current_follows_the_swap(void **s)
{
	char path[300], target[200] = "";
	for (uint8_t d = 1; d <= 2; d++) {
		ask(EXEC_SWAP);
		record.digest[0] = d;
		assert_int_equal(call(), E_OK);
		snprintf(path, sizeof path, "%s/apps/shop/current", root);
		assert_true(readlink(path, target, sizeof target - 1) > 0);
		assert_int_equal(strncmp(target, d == 1 ? "../../slots/01" : "../../slots/02", 14), 0);
	}
	ask(EXEC_SWAP);
	record.digest[0] = 7;
	assert_int_equal(call(), E_NOT_FOUND);
}

static void an_invalid_record_is_refused_and_the_next_is_served(void **s)
{
	ask(EXEC_SWAP);
	memset(record.app, '/', sizeof record.app);
	assert_int_equal(call(), E_INVALID);
	assert_int_equal(status()->run, EXEC_RUN_NONE);
}

static void send_raw(const void *bytes, size_t len, int want)
{
	int fd;
	assert_int_equal(unixsock_connect(sock, &fd, NULL), E_OK);
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(recv(fd, &reply, sizeof reply, 0), (ssize_t)sizeof reply);
	assert_int_equal(reply.code, want);
	if (want == E_PROTOCOL)
		assert_false(recv(fd, &reply, sizeof reply, 0) > 0);
	close(fd);
}

static void foreign_bytes_do_not_disturb_exec(void **s)
{
	static uint8_t big[sizeof(struct exec_record) + 100];
	ask(EXEC_SWAP);
	send_raw("GET / HTTP/1.1", 14, E_PROTOCOL);
	send_raw(&record, sizeof record - 1, E_PROTOCOL);
	send_raw(big, sizeof big, E_PROTOCOL);
	record.op = 99;
	send_raw(&record, sizeof record, E_INVALID);
	assert_int_equal(status()->run, EXEC_RUN_NONE);
}

static void a_user_that_is_not_allowed_runs_nothing(void **s)
{
	start_record(NULL, NULL);
	strcpy(record.user, "nobody");
	assert_int_equal(call(), E_DENIED);
	hook_record("--exit");
	strcpy(record.user, "nobody");
	assert_int_equal(call(), E_DENIED);
	/* Where exec is not root the kernel refuses, after exec has written down what was meant to start. */
	assert_int_equal(status()->run, geteuid() == 0 ? EXEC_RUN_NONE : EXEC_RUN_STOPPED);
}

/* Seven processes, six of them in sessions of their own, deaf to TERM. */
static int start_forking(void)
{
	start_record("--fork", NULL);
	mark();
	assert_int_equal(call(), E_OK);
	wait_apps(7);
	return status()->pid;
}

static void nothing_that_a_program_forked_survives_its_stop(void **s)
{
	start_forking();
	stop(false, 5000);
	assert_int_equal(count_apps(), 0);
	start_forking();
	new_exec();
	assert_int_equal(count_apps(), 7);
	stop(false, 5000);
	assert_int_equal(count_apps(), 0);
}

static void nothing_that_a_program_forked_survives_its_own_end(void **s)
{
	assert_int_equal(kill(start_forking(), SIGKILL), 0);
	wait_run(EXEC_RUN_CRASH_LOOP);
	assert_int_equal(reply.status.last_signal, SIGKILL);
	wait_apps(0);
	start_forking(); /* and exec may be dead at that time */
	int pid = reply.status.pid;
	exec_down(SIGKILL);
	assert_int_equal(kill(pid, SIGKILL), 0);
	if (!plain)
		assert_true(count_apps() >= 6);
	exec_up_again();
	wait_apps(0);
}

static void stopping_exec_with_its_programs_leaves_nothing(void **s)
{
	start_forking();
	exec_down(SIGTERM);
	assert_int_equal(count_apps(), 0);
	exec_up();
}

static void a_hook_ends_with_exec(void **s)
{
	hook_record("--fork");
	assert_int_equal(call_begin(), E_OK);
	wait_apps(7);
	new_exec();
	wait_apps(0);
}

static void a_hook_goes_on_to_its_deadline_without_the_agent(void **s)
{
	hook_record("--fork");
	record.timeout_ms = 1000;
	assert_int_equal(call_begin(), E_OK);
	wait_apps(7);
	exec_client_close(client);
	client = exec_client_open(&loop, sock);
	assert_int_equal(status()->run, EXEC_RUN_NONE);
	wait_apps(0);
	assert_int_equal(status()->run, EXEC_RUN_NONE);
}

static struct exec_reply first;

static void on_first(void *ctx, const struct exec_reply *p)
{
	first = *p;
}

/* Its answer comes to `first`. */
static void begin_first(void)
{
	struct err e;
	memset(&first, 0, sizeof first);
	assert_int_equal(exec_client_call(client, &record, on_first, NULL, &e), E_OK);
}

static void wait_first(void)
{
	while (first.magic == 0)
		uv_run(&loop, UV_RUN_ONCE);
}

static void the_same_hook_asked_for_twice_runs_once(void **s)
{
	hook_record("--fork");
	record.timeout_ms = 1000;
	begin_first();
	wait_apps(7);
	assert_int_equal(call_begin(), E_OK);
	while (first.magic == 0) { /* it is not begun beside the first */
		uv_run(&loop, UV_RUN_NOWAIT);
		assert_true(count_apps() <= 7);
	}
	assert_int_equal(call_end(), E_TIMEOUT);
	assert_true(reply.killed);
	assert_int_equal(first.code, E_TIMEOUT);
	assert_true(first.killed);
	assert_int_equal(call_begin(), E_OK); /* that one has ended: this is another */
	wait_apps(7);
	assert_int_equal(call_end(), E_TIMEOUT);
}

static void another_hook_runs_beside_it(void **s)
{
	hook_record("--fork");
	record.timeout_ms = 600000;
	begin_first();
	wait_apps(7);
	record.fence.epoch++;
	assert_int_equal(call_begin(), E_OK);
	wait_apps(14);
	new_exec();
	wait_apps(0);
}

static void start_activation(uint64_t activation)
{
	start_record(NULL, NULL);
	mark();
	record.activation = activation;
	record.target.b[0] = 77;
}

static void the_same_start_twice_is_one(void **s)
{
	start_activation(5);
	assert_int_equal(call(), E_OK);
	int pid = reply.status.pid;
	start_activation(5);
	assert_int_equal(call(), E_OK);
	assert_int_equal(reply.status.pid, pid);
	start_activation(6);
	assert_int_equal(call(), E_CONFLICT);
	start_activation(5);
	record.target.b[0] = 78;
	assert_int_equal(call(), E_CONFLICT);
	start_activation(5);
	record.digest[0] = 2;
	assert_int_equal(call(), E_CONFLICT);
	new_exec();
	start_activation(5);
	assert_int_equal(call(), E_OK);
	assert_int_equal(reply.status.pid, pid);
	assert_int_equal(status()->activation, 5);
	assert_int_equal(reply.status.target.b[0], 77);
	stop(false, 5000);
	assert_int_equal(reply.status.activation, 5);
}

static void send_and_kill_exec(int step)
{
	struct timespec t = {.tv_nsec = step * 150000L};
	assert_int_equal(call_begin(), E_OK);
	nanosleep(&t, NULL);
	new_exec();
}

/* A program that exec had forked but not yet started holds the old socket a moment longer than exec. */
static int call_until_known(void)
{
	int rc;
	while ((rc = call()) == E_UNKNOWN_OUTCOME || rc == E_UNAVAILABLE)
		poll(NULL, 0, 1);
	return rc;
}

/* The moment of the kill moves through all that a start and a stop do. */
static void exec_killed_anywhere_in_a_start_or_stop_can_be_asked_again(void **s)
{
	for (int i = 0; i < 30; i++) {
		start_activation((uint64_t)i + 1);
		send_and_kill_exec(i);
		start_activation((uint64_t)i + 1);
		assert_int_equal(call_until_known(), E_OK);
		wait_apps(1);
		assert_int_equal(status()->run, EXEC_RUN_UP);
		assert_int_equal(reply.status.activation, i + 1);
		ask(EXEC_STOP);
		send_and_kill_exec(i);
		ask(EXEC_STOP);
		assert_int_equal(call_until_known(), E_OK);
		assert_int_equal(reply.status.run, EXEC_RUN_STOPPED);
		assert_int_equal(count_apps(), 0);
	}
}

static void a_program_that_ends_in_a_broken_off_stop_is_not_started_again(void **s)
{
	start_ready("--ignore-term");
	ask(EXEC_STOP);
	record.timeout_ms = 600000;
	assert_int_equal(call_begin(), E_OK);
	char path[200];
	struct run_wanted {
		uint32_t magic, size;
		struct fence fence;
		char boot[40];
		uint32_t wanted;
	} st = {.wanted = 1};
	snprintf(path, sizeof path, "%s/apps/shop/run", root);
	while (st.wanted) { /* the stop is written down */
		int fd = open(path, O_RDONLY);
		assert_int_equal(read(fd, &st, sizeof st), (ssize_t)sizeof st);
		close(fd);
	}
	new_exec();
	assert_int_equal(status()->run, EXEC_RUN_UP);
	kill(reply.status.pid, SIGKILL);
	wait_run(EXEC_RUN_STOPPED);
	assert_int_equal(reply.status.restarts, 0);
	stop(false, 1000);
}

static void a_stop_goes_on_without_the_agent(void **s)
{
	start_ready("--ignore-term");
	ask(EXEC_STOP);
	record.timeout_ms = 100;
	assert_int_equal(call_begin(), E_OK);
	exec_client_close(client);
	client = exec_client_open(&loop, sock);
	wait_run(EXEC_RUN_STOPPED);
	assert_int_equal(reply.status.last_signal, SIGKILL);
	stop(false, 1000); /* asked again, by the next agent */
}

static void begin_first_stop(uint32_t ms)
{
	ask(EXEC_STOP);
	record.timeout_ms = ms;
	begin_first();
}

static void must_have_ended_too(void)
{
	wait_first();
	assert_int_equal(first.code, E_OK);
	assert_true(first.killed);
	assert_int_equal(first.status.run, EXEC_RUN_STOPPED);
}

static void a_second_stop_waits_for_the_same_end(void **s)
{
	start_ready("--ignore-term");
	begin_first_stop(400);
	stop(true, 60000); /* it is not put off */
	must_have_ended_too();
	start_ready("--ignore-term");
	begin_first_stop(600000);
	stop(true, 50); /* but it may come sooner */
	must_have_ended_too();
}

static void a_long_life_gives_the_restarts_back(void **s)
{
	start_record("--exit-after", "150");
	record.restart = (struct exec_restart){.tries = 1, .first_ms = 1, .most_ms = 1, .stable_ms = 50};
	assert_int_equal(call(), E_OK);
	while (status()->restarts < 3)
		poll(NULL, 0, 5);
	assert_int_equal(reply.status.last_exit, 3);
	stop(false, 5000);
}

static void no_target_removes_current(void **s)
{
	char path[300];
	struct stat st;
	snprintf(path, sizeof path, "%s/apps/shop/current", root);
	ask(EXEC_SWAP);
	assert_int_equal(call(), E_OK);
	assert_int_equal(lstat(path, &st), 0);
	for (int i = 0; i < 2; i++) {
		ask(EXEC_SWAP);
		record.digest[0] = 0;
		assert_int_equal(call(), E_OK);
		assert_int_equal(lstat(path, &st), -1);
		assert_int_equal(errno, ENOENT);
	}
}

static struct {
	int count;
	char app[NAME_CAP];
	struct exec_status last;
} seen;

static void on_change(void *ctx, const char *app, const struct exec_status *status)
{
	seen.count++;
	strcpy(seen.app, app);
	seen.last = *status;
}

static void see(enum exec_run run, uint32_t restarts)
{
	while (seen.last.run != run || seen.last.restarts < restarts)
		uv_run(&loop, UV_RUN_ONCE);
	assert_string_equal(seen.app, "shop");
}

static void the_agent_is_told_of_each_change(void **s)
{
	memset(&seen, 0, sizeof seen);
	exec_client_watch(client, on_change, NULL);
	start_record(NULL, NULL);
	record.restart = (struct exec_restart){.tries = 1, .first_ms = 1, .most_ms = 1};
	assert_int_equal(call(), E_OK);
	see(EXEC_RUN_UP, 0);
	kill(seen.last.pid, SIGKILL);
	see(EXEC_RUN_UP, 1);
	kill(seen.last.pid, SIGKILL);
	see(EXEC_RUN_CRASH_LOOP, 1);
	start_record(NULL, NULL);
	assert_int_equal(call(), E_OK);
	see(EXEC_RUN_UP, 0);
	int before = seen.count;
	exec_down(SIGKILL); /* the client finds the next one by itself, and hears of the app again */
	exec_up();
	while (seen.count == before)
		uv_run(&loop, UV_RUN_ONCE);
	stop(false, 5000);
	see(EXEC_RUN_STOPPED, 0);
}

static void on_own_reply(void *ctx, const struct exec_reply *p)
{
	*(struct exec_reply *)ctx = *p;
}

static void one_question_for_changes_per_connection(void **s)
{
	struct err e;
	struct exec_reply change = {.code = -1};
	record_init(&record, EXEC_WATCH, "");
	assert_int_equal(exec_client_call(client, &record, on_own_reply, &change, &e), E_OK);
	assert_int_equal(call(), E_BUSY);
	start_record(NULL, NULL);
	assert_int_equal(call(), E_OK);
	while (change.code != E_OK)
		uv_run(&loop, UV_RUN_ONCE);
	assert_string_equal(change.app, "shop");
	assert_true(change.change > 0);
	assert_int_equal(change.status.run, EXEC_RUN_UP);
	stop(false, 5000);
}

int main(int argc, char **argv)
{
	exec_world_init(argc, argv);
	const struct CMUnitTest tests[] = {
		EXEC_CASE(a_program_starts_is_seen_and_stops),
		EXEC_CASE(a_missing_slot_or_program_is_an_error),
		EXEC_CASE(a_program_that_ignores_term_is_killed),
		EXEC_CASE(a_crashing_program_is_restarted_then_left),
		EXEC_CASE(a_killed_exec_leaves_its_program_and_the_next_takes_it_over),
		EXEC_CASE(the_log_of_a_noisy_program_is_rotated_and_bounded),
		EXEC_CASE(a_hanging_hook_and_all_it_forked_are_ended),
		EXEC_CASE(the_output_of_a_hook_is_bounded_and_its_tail_kept),
		EXEC_CASE(a_lower_fence_is_refused_also_by_the_next_exec),
		EXEC_CASE(current_follows_the_swap),
		EXEC_CASE(an_invalid_record_is_refused_and_the_next_is_served),
		EXEC_CASE(foreign_bytes_do_not_disturb_exec),
		EXEC_CASE(a_user_that_is_not_allowed_runs_nothing),
		EXEC_CASE(nothing_that_a_program_forked_survives_its_stop),
		EXEC_CASE(nothing_that_a_program_forked_survives_its_own_end),
		EXEC_CASE(stopping_exec_with_its_programs_leaves_nothing),
		EXEC_CASE(a_hook_ends_with_exec),
		EXEC_CASE(a_hook_goes_on_to_its_deadline_without_the_agent),
		EXEC_CASE(the_same_hook_asked_for_twice_runs_once),
		EXEC_CASE(another_hook_runs_beside_it),
		EXEC_CASE(the_same_start_twice_is_one),
		EXEC_CASE(exec_killed_anywhere_in_a_start_or_stop_can_be_asked_again),
		EXEC_CASE(a_program_that_ends_in_a_broken_off_stop_is_not_started_again),
		EXEC_CASE(a_stop_goes_on_without_the_agent),
		EXEC_CASE(a_second_stop_waits_for_the_same_end),
		EXEC_CASE(a_long_life_gives_the_restarts_back),
		EXEC_CASE(no_target_removes_current),
		EXEC_CASE(the_agent_is_told_of_each_change),
		EXEC_CASE(one_question_for_changes_per_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
