/*
 * The real wavetrain-exec, asked through its client; paths of the programs come in argv. The last word says
 * whether exec uses cgroups ("group", as far as this machine lets it) or a keeper per program ("plain").
 */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/exec/client.h"
#include "sys/unixsock.h"

static const char *exec_path, *app_path;
static bool plain;
static char root[80], sock[100], user[64];
static pid_t exec_pid;
static uv_loop_t loop;
static struct exec_client *client;
static struct exec_record r;
static struct exec_reply reply;
static bool answered;

static void on_reply(void *ctx, const struct exec_reply *p)
{
	reply = *p;
	answered = true;
}

static int call(void)
{
	struct err e;
	answered = false;
	int rc = exec_client_call(client, &r, on_reply, NULL, &e);
	if (rc != E_OK)
		return rc;
	while (!answered)
		uv_run(&loop, UV_RUN_ONCE);
	return reply.code;
}

static void exec_up(void)
{
	exec_pid = fork();
	if (exec_pid == 0) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 1);
		if (!getenv("SHOW"))
			dup2(null, 2);
		execl(exec_path, exec_path, "--socket", sock, "--root", root, "--user-allowed", user,
		      "--stop-programs", plain ? "--cgroup" : NULL, "none", NULL);
		_exit(127);
	}
	int fd;
	while (unixsock_connect(sock, &fd, NULL) != E_OK) {
		assert_int_equal(waitpid(exec_pid, NULL, WNOHANG), 0);
		poll(NULL, 0, 5);
	}
	close(fd);
}

static void exec_down(int signo)
{
	int how;
	kill(exec_pid, signo);
	assert_int_equal(waitpid(exec_pid, &how, 0), exec_pid);
	assert_int_equal(WIFSIGNALED(how) ? WTERMSIG(how) : SIGTERM, signo); /* it did not fall over before */
}

static void make_slot(uint8_t first)
{
	char dir[300], to[400];
	snprintf(dir, sizeof dir, "%s/slots/%02x%062d", root, first, 0);
	assert_int_equal(mkdir(dir, 0755), 0);
	snprintf(to, sizeof to, "%s/app", dir);
	assert_int_equal(symlink(app_path, to), 0);
}

static int setup(void **s)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(root, sizeof root, "%s/wtexec.XXXXXX", tmp && strlen(tmp) < 60 ? tmp : "/tmp");
	assert_non_null(mkdtemp(root));
	snprintf(sock, sizeof sock, "%s/sock", root);
	snprintf(user, sizeof user, "%s", getpwuid(geteuid())->pw_name);
	exec_up();
	make_slot(1);
	make_slot(2);
	uv_loop_init(&loop);
	client = exec_client_open(&loop, sock);
	return 0;
}

static int teardown(void **s)
{
	char cmd[300];
	exec_client_close(client);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	exec_down(SIGTERM);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
	return system(cmd);
}

static void ask(enum exec_op op)
{
	record_init(&r, op, "shop");
	r.digest[0] = 1;
	r.timeout_ms = 3000;
	strcpy(r.user, user);
}

static void start_record(const char *flag, const char *value)
{
	ask(EXEC_START);
	assert_int_equal(record_add_arg(&r, "app"), E_OK);
	if (flag)
		assert_int_equal(record_add_arg(&r, flag), E_OK);
	if (value)
		assert_int_equal(record_add_arg(&r, value), E_OK);
}

static const struct exec_status *status(void)
{
	ask(EXEC_STATUS);
	assert_int_equal(call(), E_OK);
	return &reply.status;
}

static void wait_run(enum exec_run want)
{
	while (status()->run != want)
		poll(NULL, 0, 5);
}

static void stop(bool killed, uint32_t ms)
{
	ask(EXEC_STOP);
	r.timeout_ms = ms;
	assert_int_equal(call(), E_OK);
	assert_int_equal(reply.killed, killed);
	assert_int_equal(reply.status.run, EXEC_RUN_STOPPED);
}

/* It has set up its signals when its first output arrived. */
static void start_ready(const char *flag)
{
	char path[200];
	struct stat st = {0};
	start_record(flag, NULL);
	assert_int_equal(record_add_arg(&r, "--noise"), E_OK);
	assert_int_equal(record_add_arg(&r, "10"), E_OK);
	assert_int_equal(call(), E_OK);
	snprintf(path, sizeof path, "%s/apps/shop/output.log", root);
	while (stat(path, &st) != 0 || st.st_size == 0)
		poll(NULL, 0, 5);
}

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
	r.digest[0] = 9;
	assert_int_equal(call(), E_NOT_FOUND);
	ask(EXEC_START);
	assert_int_equal(record_add_arg(&r, "nothing-here"), E_OK);
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
	r.restart = (struct exec_restart){.tries = 3, .first_ms = 2, .most_ms = 8};
	assert_int_equal(call(), E_OK);
	wait_run(EXEC_RUN_CRASH_LOOP);
	assert_int_equal(reply.status.restarts, 3);
	assert_int_equal(reply.status.tries_left, 0);
	assert_int_equal(reply.status.last_exit, 7);
}

static void a_killed_exec_leaves_its_program_and_the_next_takes_it_over(void **s)
{
	start_record("--noise", "200000");
	r.restart = (struct exec_restart){.tries = 1, .first_ms = 1, .most_ms = 1};
	assert_int_equal(call(), E_OK);
	int pid = reply.status.pid;
	exec_down(SIGKILL);
	assert_int_equal(kill(pid, 0), 0);
	exec_up();
	exec_client_close(client);
	client = exec_client_open(&loop, sock);
	assert_int_equal(status()->run, EXEC_RUN_UP);
	assert_int_equal(reply.status.pid, pid);
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (status()->restarts != 1 || reply.status.run != EXEC_RUN_UP)
		poll(NULL, 0, 5);
	stop(false, 5000);
}

static int count_apps(void)
{
	char cmd[400], text[32] = "";
	snprintf(cmd, sizeof cmd, "grep -la -- '%s' /proc/[0-9]*/environ 2>/dev/null | wc -l", root);
	FILE *f = popen(cmd, "r");
	assert_non_null(fgets(text, sizeof text, f));
	pclose(f);
	return atoi(text);
}

static void hook_record(const char *flag)
{
	char mark[300];
	ask(EXEC_HOOK);
	assert_int_equal(record_add_arg(&r, app_path), E_OK);
	assert_int_equal(record_add_arg(&r, flag), E_OK);
	snprintf(mark, sizeof mark, "MARK=%s", root);
	assert_int_equal(record_add_env(&r, mark), E_OK);
}

static void the_log_of_a_noisy_program_is_rotated_and_bounded(void **s)
{
	char path[200];
	struct stat st = {0};
	start_record("--noise", "400000");
	r.output_bytes = 60000;
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
	r.timeout_ms = 1000;
	struct err e;
	answered = false;
	assert_int_equal(exec_client_call(client, &r, on_reply, NULL, &e), E_OK);
	while (count_apps() < 7) /* itself, three children, three of theirs */
		poll(NULL, 0, 5);
	while (!answered)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(reply.code, E_TIMEOUT);
	assert_true(reply.killed);
	assert_int_equal(count_apps(), 0);
}

static void the_output_of_a_hook_is_bounded_and_its_tail_kept(void **s)
{
	hook_record("--noise");
	assert_int_equal(record_add_arg(&r, "500000"), E_OK);
	assert_int_equal(record_add_arg(&r, "--exit"), E_OK);
	assert_int_equal(record_add_arg(&r, "5"), E_OK);
	assert_int_equal(call(), E_OK);
	assert_int_equal(reply.hook_exit, 5);
	assert_int_equal(reply.output_len, EXEC_OUTPUT_CAP);
	assert_true(reply.output_total > 500000);
	assert_memory_equal(reply.output + EXEC_OUTPUT_CAP - 8, "the end\n", 8);
}

static void a_lower_fence_is_refused_also_by_the_next_exec(void **s)
{
	ask(EXEC_SWAP);
	r.fence = (struct fence){1, 5, 9};
	assert_int_equal(call(), E_OK);
	exec_down(SIGKILL);
	exec_up();
	exec_client_close(client);
	client = exec_client_open(&loop, sock);
	ask(EXEC_SWAP);
	r.fence = (struct fence){1, 5, 8};
	assert_int_equal(call(), E_FENCED);
}

static void current_follows_the_swap(void **s)
{
	char path[300], target[200] = "";
	for (uint8_t d = 1; d <= 2; d++) {
		ask(EXEC_SWAP);
		r.digest[0] = d;
		assert_int_equal(call(), E_OK);
		snprintf(path, sizeof path, "%s/apps/shop/current", root);
		assert_true(readlink(path, target, sizeof target - 1) > 0);
		assert_int_equal(strncmp(target, d == 1 ? "../../slots/01" : "../../slots/02", 14), 0);
	}
	ask(EXEC_SWAP);
	r.digest[0] = 7;
	assert_int_equal(call(), E_NOT_FOUND);
}

static void an_invalid_record_is_refused_and_the_next_is_served(void **s)
{
	ask(EXEC_SWAP);
	memset(r.app, '/', sizeof r.app);
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
	send_raw(&r, sizeof r - 1, E_PROTOCOL);
	send_raw(big, sizeof big, E_PROTOCOL);
	r.op = 99;
	send_raw(&r, sizeof r, E_INVALID);
	assert_int_equal(status()->run, EXEC_RUN_NONE);
}

static void a_dead_balancer_is_told_to_the_agent(void **s)
{
	ask(EXEC_DRAIN);
	snprintf(r.balancer.socket, sizeof r.balancer.socket, "%s/no-haproxy", root);
	strcpy(r.balancer.backend, "be");
	strcpy(r.balancer.server, "s1");
	assert_int_equal(call(), E_UNAVAILABLE);
	strcpy(r.balancer.server, "s1;show info");
	assert_int_equal(call(), E_INVALID);
}

static void a_user_that_is_not_allowed_runs_nothing(void **s)
{
	start_record(NULL, NULL);
	strcpy(r.user, "nobody");
	assert_int_equal(call(), E_DENIED);
	hook_record("--exit");
	strcpy(r.user, "nobody");
	assert_int_equal(call(), E_DENIED);
	/* Where exec is not root the kernel refuses, after exec has written down what was meant to start. */
	assert_int_equal(status()->run, geteuid() == 0 ? EXEC_RUN_NONE : EXEC_RUN_STOPPED);
}

static void mark(void)
{
	char text[300];
	snprintf(text, sizeof text, "MARK=%s", root);
	assert_int_equal(record_add_env(&r, text), E_OK);
}

static void wait_apps(int want)
{
	while (count_apps() != want)
		poll(NULL, 0, 5);
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

static void new_exec(void)
{
	exec_down(SIGKILL);
	exec_up();
	exec_client_close(client);
	client = exec_client_open(&loop, sock);
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
	exec_up();
	exec_client_close(client);
	client = exec_client_open(&loop, sock);
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
	struct err e;
	hook_record("--fork");
	assert_int_equal(exec_client_call(client, &r, on_reply, NULL, &e), E_OK);
	wait_apps(7);
	new_exec();
	wait_apps(0);
}

static void a_hook_goes_on_to_its_deadline_without_the_agent(void **s)
{
	struct err e;
	hook_record("--fork");
	r.timeout_ms = 1000;
	assert_int_equal(exec_client_call(client, &r, on_reply, NULL, &e), E_OK);
	wait_apps(7);
	exec_client_close(client);
	client = exec_client_open(&loop, sock);
	assert_int_equal(status()->run, EXEC_RUN_NONE);
	wait_apps(0);
	assert_int_equal(status()->run, EXEC_RUN_NONE);
}

static void start_activation(uint64_t activation)
{
	start_record(NULL, NULL);
	mark();
	r.activation = activation;
	r.target.b[0] = 77;
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
	r.target.b[0] = 78;
	assert_int_equal(call(), E_CONFLICT);
	start_activation(5);
	r.digest[0] = 2;
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
	struct err e;
	struct timespec t = {.tv_nsec = step * 150000L};
	answered = false;
	assert_int_equal(exec_client_call(client, &r, on_reply, NULL, &e), E_OK);
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
	struct err e;
	start_ready("--ignore-term");
	ask(EXEC_STOP);
	r.timeout_ms = 600000;
	assert_int_equal(exec_client_call(client, &r, on_reply, NULL, &e), E_OK);
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
	struct err e;
	start_ready("--ignore-term");
	ask(EXEC_STOP);
	r.timeout_ms = 100;
	assert_int_equal(exec_client_call(client, &r, on_reply, NULL, &e), E_OK);
	exec_client_close(client);
	client = exec_client_open(&loop, sock);
	wait_run(EXEC_RUN_STOPPED);
	assert_int_equal(reply.status.last_signal, SIGKILL);
	stop(false, 1000); /* asked again, by the next agent */
}

static void a_long_life_gives_the_restarts_back(void **s)
{
	start_record("--exit-after", "150");
	r.restart = (struct exec_restart){.tries = 1, .first_ms = 1, .most_ms = 1, .stable_ms = 50};
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
		r.digest[0] = 0;
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
	r.restart = (struct exec_restart){.tries = 1, .first_ms = 1, .most_ms = 1};
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
	record_init(&r, EXEC_WATCH, "");
	assert_int_equal(exec_client_call(client, &r, on_own_reply, &change, &e), E_OK);
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

/* The folder of the program's group, empty without one. */
static void group_dir(int pid, const char *controller, char out[600])
{
	char path[64], line[1024];
	out[0] = '\0';
	snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		char *list = strchr(line, ':'), *in = strstr(line, "/wavetrain.");
		line[strcspn(line, "\n")] = '\0';
		if (in && strncmp(list + 1, controller, strlen(controller)) == 0)
			snprintf(out, 600, "/sys/fs/cgroup/%s%s", controller, strchr(list + 1, ':') + 1);
	}
	fclose(f);
}

static void a_program_lives_in_a_group_that_goes_with_it(void **s)
{
	char dir[600];
	struct stat st;
	start_record(NULL, NULL);
	assert_int_equal(call(), E_OK);
	group_dir(reply.status.pid, "pids", dir);
	if (plain)
		assert_string_equal(dir, "");
	if (!dir[0]) {
		stop(false, 5000);
		if (!plain)
			skip_because("no control group can be made here");
		return;
	}
	assert_int_equal(stat(dir, &st), 0);
	assert_true(reply.status.metered);
	assert_true(status()->memory_bytes > 0);
	assert_true(reply.status.memory_peak_bytes >= reply.status.memory_bytes);
	stop(false, 5000);
	assert_int_equal(stat(dir, &st), -1);
	assert_true(reply.status.memory_peak_bytes > 0);
}

static void memory_is_limited(void **s)
{
	start_record("--eat", "200");
	r.limits.set = EXEC_LIMIT_MEMORY;
	r.limits.memory_bytes = 60 << 20;
	assert_int_equal(call(), E_OK);
	wait_run(EXEC_RUN_CRASH_LOOP);
	if (reply.status.last_signal == SIGKILL)
		assert_true(reply.status.oom_kills > 0);
	else
		assert_int_equal(reply.status.last_exit, 9);
}

static bool has_limit(int pid, const char *line)
{
	char path[64], text[4096] = "";
	snprintf(path, sizeof path, "/proc/%d/limits", pid);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_true(fread(text, 1, sizeof text - 1, f) > 0);
	fclose(f);
	return strstr(text, line) != NULL;
}

static void processes_are_limited(void **s)
{
	char dir[600];
	start_record("--fork", NULL);
	mark();
	r.limits.set = EXEC_LIMIT_NPROC;
	r.limits.nproc = 3;
	assert_int_equal(call(), E_OK);
	group_dir(reply.status.pid, "pids", dir);
	if (dir[0])
		wait_apps(3);
	else /* RLIMIT_NPROC does not bind root, so it is only seen to be set */
		assert_true(has_limit(reply.status.pid, "Max processes             3 "));
	stop(false, 5000);
	assert_int_equal(count_apps(), 0);
}

static void cpu_time_is_limited(void **s)
{
	start_record("--spin", NULL);
	r.limits.set = EXEC_LIMIT_CPU;
	r.limits.cpu_s = 1;
	assert_int_equal(call(), E_OK);
	wait_run(EXEC_RUN_CRASH_LOOP);
	assert_true(reply.status.last_signal == SIGXCPU || reply.status.last_signal == SIGKILL);
}

static struct {
	atomic_int stop, failed, done;
	int port;
} load;

static bool one_request(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load.port)};
	char text[128];
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && read(fd, text, sizeof text) > 0;
	close(fd);
	return ok;
}

static void *load_loop(void *arg)
{
	while (!load.stop) {
		if (!one_request())
			load.failed++;
		load.done++;
	}
	return NULL;
}

static int free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t n = sizeof a;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static void start_listening(uint8_t digest)
{
	start_record(NULL, NULL);
	r.digest[0] = digest;
	r.listen_count = 1;
	strcpy(r.listens[0].name, "http");
	snprintf(r.listens[0].addr, sizeof r.listens[0].addr, "127.0.0.1:%d", load.port);
	assert_int_equal(call(), E_OK);
}

static void ten_swaps_under_load_refuse_nobody(void **s)
{
	pthread_t t;
	load.port = free_port();
	start_listening(1);
	assert_int_equal(pthread_create(&t, NULL, load_loop, NULL), 0);
	for (int i = 0; i < 10; i++) {
		int before = load.done;
		while (load.done < before + 5)
			poll(NULL, 0, 1);
		stop(false, 5000);
		start_listening(i % 2 ? 1 : 2);
	}
	load.stop = 1;
	pthread_join(t, NULL);
	stop(false, 5000);
	assert_int_equal(load.failed, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(int argc, char **argv)
{
	PRE(argc == 4);
	plain = strcmp(argv[3], "plain") == 0 || geteuid() != 0; /* only root makes control groups */
	/* Programs are started from other directories than this one. */
	exec_path = realpath(argv[1], NULL);
	app_path = realpath(argv[2], NULL);
	PRE(exec_path && app_path);
	const struct CMUnitTest tests[] = {
		CASE(a_program_starts_is_seen_and_stops),
		CASE(a_missing_slot_or_program_is_an_error),
		CASE(a_program_that_ignores_term_is_killed),
		CASE(a_crashing_program_is_restarted_then_left),
		CASE(a_killed_exec_leaves_its_program_and_the_next_takes_it_over),
		CASE(the_log_of_a_noisy_program_is_rotated_and_bounded),
		CASE(a_hanging_hook_and_all_it_forked_are_ended),
		CASE(the_output_of_a_hook_is_bounded_and_its_tail_kept),
		CASE(a_lower_fence_is_refused_also_by_the_next_exec),
		CASE(current_follows_the_swap),
		CASE(an_invalid_record_is_refused_and_the_next_is_served),
		CASE(foreign_bytes_do_not_disturb_exec),
		CASE(a_dead_balancer_is_told_to_the_agent),
		CASE(a_user_that_is_not_allowed_runs_nothing),
		CASE(nothing_that_a_program_forked_survives_its_stop),
		CASE(nothing_that_a_program_forked_survives_its_own_end),
		CASE(stopping_exec_with_its_programs_leaves_nothing),
		CASE(a_hook_ends_with_exec),
		CASE(a_hook_goes_on_to_its_deadline_without_the_agent),
		CASE(the_same_start_twice_is_one),
		CASE(exec_killed_anywhere_in_a_start_or_stop_can_be_asked_again),
		CASE(a_program_that_ends_in_a_broken_off_stop_is_not_started_again),
		CASE(a_stop_goes_on_without_the_agent),
		CASE(a_long_life_gives_the_restarts_back),
		CASE(no_target_removes_current),
		CASE(the_agent_is_told_of_each_change),
		CASE(one_question_for_changes_per_connection),
		CASE(a_program_lives_in_a_group_that_goes_with_it),
		CASE(memory_is_limited),
		CASE(processes_are_limited),
		CASE(cpu_time_is_limited),
		CASE(ten_swaps_under_load_refuse_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
