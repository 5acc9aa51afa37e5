/* The real wavetrain-exec, asked through its client; paths of the programs come in argv. */
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
#include <unistd.h>

#include "agent/exec/client.h"
#include "sys/unixsock.h"

static const char *exec_path, *app_path;
static char root[200], sock[256], user[64];
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
		      "--stop-programs", NULL);
		_exit(127);
	}
	int fd;
	while (unixsock_connect(sock, &fd, NULL) != E_OK)
		poll(NULL, 0, 5);
	close(fd);
}

static void exec_down(int signo)
{
	kill(exec_pid, signo);
	waitpid(exec_pid, NULL, 0);
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

static void a_program_starts_is_seen_and_stops(void **s)
{
	assert_int_equal(status()->run, EXEC_RUN_NONE);
	start_record(NULL, NULL);
	assert_int_equal(call(), E_OK);
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
	start_record("--ignore-term", NULL);
	assert_int_equal(call(), E_OK);
	poll(NULL, 0, 100); /* until it ignores */
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

static void a_hanging_hook_and_all_it_forked_are_ended(void **s)
{
	hook_record("--fork");
	r.timeout_ms = 300;
	assert_int_equal(call(), E_TIMEOUT);
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

static void evil_records_are_answered_with_an_error_and_a_closed_door(void **s)
{
	ask(EXEC_SWAP);
	memset(r.app, '/', sizeof r.app);
	assert_int_not_equal(call(), E_OK);
	assert_int_equal(status()->run, EXEC_RUN_NONE);
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
	PRE(argc == 3);
	exec_path = argv[1];
	app_path = argv[2];
	const struct CMUnitTest tests[] = {
		CASE(a_program_starts_is_seen_and_stops),
		CASE(a_missing_slot_or_program_is_an_error),
		CASE(a_program_that_ignores_term_is_killed),
		CASE(a_crashing_program_is_restarted_then_left),
		CASE(a_killed_exec_leaves_its_program_and_the_next_takes_it_over),
		CASE(a_hanging_hook_and_all_it_forked_are_ended),
		CASE(the_output_of_a_hook_is_bounded_and_its_tail_kept),
		CASE(a_lower_fence_is_refused_also_by_the_next_exec),
		CASE(current_follows_the_swap),
		CASE(evil_records_are_answered_with_an_error_and_a_closed_door),
		CASE(ten_swaps_under_load_refuse_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
