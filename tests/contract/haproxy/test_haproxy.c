/* The balancer port against the real HAProxy: two small servers behind it. argv: haproxy, testapp. */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/steps/lb_haproxy.h"

static const char *haproxy_path, *app_path;
static char dir[100], sock[128], cfg[128], state[128];
static pid_t haproxy, app[2];
static int port[3], listener[2];
static uv_loop_t loop;
static int result;
static uint32_t keep_up = 1;
static const char *third = ""; /* a line of the configuration */

static int open_listener(int *number)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t n = sizeof a;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(fd, 256), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*number = ntohs(a.sin_port);
	return fd;
}

static void app_up(int i)
{
	app[i] = fork();
	if (app[i] != 0)
		return;
	char pid[32];
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	int high = fcntl(listener[i], F_DUPFD_CLOEXEC, 20);
	dup2(high, 3);
	execl(app_path, app_path, NULL);
	_exit(127);
}

static void app_down(int i)
{
	kill(app[i], SIGTERM);
	waitpid(app[i], NULL, 0);
}

static void write_config(void)
{
	FILE *f = fopen(cfg, "w");
	fprintf(f,
		"global\n  stats socket %s mode 600 level admin\n  server-state-file %s\n"
		"defaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n"
		"  option redispatch\n  retries 3\n  load-server-state-from-file global\n"
		"frontend f\n  bind 127.0.0.1:%d\n  default_backend be\n"
		"backend be\n  server s1 127.0.0.1:%d check inter 100ms fall 2 rise 1\n"
		"  server s2 127.0.0.1:%d check inter 100ms fall 2 rise 1\n%s",
		sock, state, port[2], port[0], port[1], third);
	fclose(f);
}

static bool socket_answers(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strcpy(a.sun_path, sock);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	bool ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
	close(fd);
	return ok;
}

static void haproxy_up(void)
{
	haproxy = fork();
	if (haproxy == 0) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 1);
		dup2(null, 2);
		execl(haproxy_path, haproxy_path, "-db", "-f", cfg, NULL);
		_exit(127);
	}
	while (!socket_answers())
		poll(NULL, 0, 10);
}

static void haproxy_down(void)
{
	kill(haproxy, SIGKILL);
	waitpid(haproxy, NULL, 0);
	unlink(sock);
}

static int setup(void **s)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof dir, "%s/wthap.XXXXXX", tmp && strlen(tmp) < 60 ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	snprintf(sock, sizeof sock, "%s/sock", dir);
	snprintf(cfg, sizeof cfg, "%s/cfg", dir);
	snprintf(state, sizeof state, "%s/state", dir);
	for (int i = 0; i < 2; i++) {
		listener[i] = open_listener(&port[i]);
		app_up(i);
	}
	close(open_listener(&port[2]));
	write_config();
	haproxy_up();
	return uv_loop_init(&loop);
}

static int teardown(void **s)
{
	char cmd[128];
	haproxy_down();
	for (int i = 0; i < 2; i++) {
		app_down(i);
		close(listener[i]);
	}
	assert_int_equal(uv_loop_close(&loop), 0);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	return system(cmd);
}

static void on_result(void *ctx, int code, const struct err *e)
{
	result = code;
	if (code != E_OK && getenv("SHOW"))
		fprintf(stderr, "%s\n", e->text);
}

static int balance(bool drain, const char *server, uint32_t ms)
{
	struct lb_target t = {sock, "be", server, state, keep_up, ms};
	result = -1;
	(drain ? lb_haproxy.drain : lb_haproxy.undrain)(&loop, &t, on_result, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	return result;
}

static struct {
	atomic_int stop, failed, done;
} load;

static bool one_request(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port[2])};
	static const char get[] = "GET / HTTP/1.0\r\n\r\n";
	char text[512];
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && write(fd, get, sizeof get - 1) > 0;
	ssize_t n = ok ? read(fd, text, sizeof text) : 0;
	close(fd);
	return n > 12 && memcmp(text + 9, "200", 3) == 0;
}

static void *load_loop(void *arg)
{
	while (!load.stop) {
		load.failed += !one_request();
		load.done++;
	}
	return NULL;
}

static void wait_load(int more)
{
	int before = load.done;
	while (load.done < before + more)
		poll(NULL, 0, 1);
}

static void swaps_behind_a_drain_fail_no_request(void **s)
{
	pthread_t t;
	static const char *const name[] = {"s1", "s2"};
	assert_int_equal(pthread_create(&t, NULL, load_loop, NULL), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(balance(true, name[i % 2], 5000), E_OK);
		app_down(i % 2);
		wait_load(20);
		app_up(i % 2);
		assert_int_equal(balance(false, name[i % 2], 5000), E_OK);
		wait_load(20);
	}
	load.stop = 1;
	pthread_join(t, NULL);
	assert_int_equal(load.failed, 0);
}

static void the_last_server_is_never_drained(void **s)
{
	assert_int_equal(balance(true, "s1", 5000), E_OK);
	assert_int_equal(balance(true, "s2", 5000), E_CONFLICT);
	assert_true(one_request());
	assert_int_equal(balance(false, "s1", 5000), E_OK);
}

static void so_many_stay_up_as_is_asked_for(void **s)
{
	third = "  server s3 127.0.0.1:9\n"; /* without a check: UP for HAProxy */
	keep_up = 2;
	assert_int_equal(balance(true, "s1", 5000), E_CONFLICT);
	haproxy_down();
	write_config();
	haproxy_up();
	assert_int_equal(balance(true, "s1", 5000), E_OK);
	assert_int_equal(balance(true, "s2", 5000), E_CONFLICT);
	keep_up = 1;
	assert_int_equal(balance(true, "s2", 5000), E_OK);
	third = "";
}

static void names_with_commands_and_unknown_ones_are_refused(void **s)
{
	assert_int_equal(balance(true, "s1;disable server be/s2", 5000), E_INVALID);
	assert_int_equal(balance(true, "s1\nshow info", 5000), E_INVALID);
	assert_int_equal(balance(true, "s9", 5000), E_NOT_FOUND);
	assert_int_equal(balance(false, "s9", 5000), E_CONFLICT);
}

/* Only sessions that do not end are a timeout: that is what `then: kill` cuts. */
static void a_stopped_haproxy_is_as_unreachable_as_a_dead_one(void **s)
{
	kill(haproxy, SIGSTOP);
	assert_int_equal(balance(true, "s1", 100), E_UNAVAILABLE);
	kill(haproxy, SIGCONT);
	haproxy_down();
	assert_int_equal(balance(true, "s1", 1000), E_UNAVAILABLE);
	haproxy_up();
}

static void a_restarted_haproxy_still_knows_the_drain(void **s)
{
	assert_int_equal(balance(true, "s1", 5000), E_OK);
	haproxy_down();
	haproxy_up();
	assert_int_equal(balance(true, "s2", 5000), E_CONFLICT);
}

static int undrain_often(const char *server)
{
	int bad = 0;
	for (int i = 0; i < 40; i++)
		bad += balance(false, server, 5000) != E_OK;
	return bad;
}

/* Each host has an exec of its own; behind one HAProxy they all write its one state file. */
static void many_may_write_the_state_file(void **s)
{
	int status = -1;
	pid_t other = fork();
	if (other == 0) {
		uv_loop_init(&loop);
		_exit(undrain_often("s1"));
	}
	int bad = undrain_often("s2");
	waitpid(other, &status, 0);
	assert_int_equal(bad, 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(int argc, char **argv)
{
	PRE(argc == 3);
	haproxy_path = argv[1];
	app_path = argv[2];
	const struct CMUnitTest tests[] = {
		CASE(swaps_behind_a_drain_fail_no_request),
		CASE(the_last_server_is_never_drained),
		CASE(so_many_stay_up_as_is_asked_for),
		CASE(names_with_commands_and_unknown_ones_are_refused),
		CASE(a_stopped_haproxy_is_as_unreachable_as_a_dead_one),
		CASE(a_restarted_haproxy_still_knows_the_drain),
		CASE(many_may_write_the_state_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
