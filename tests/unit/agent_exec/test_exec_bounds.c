/* The real wavetrain-exec: what a program is given to live in: a control group, limits, listening sockets. */
#include "tests/unit/agent_exec/exec_world.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

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
	record.limits.set = EXEC_LIMIT_MEMORY;
	record.limits.memory_bytes = 60 << 20;
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
	record.limits.set = EXEC_LIMIT_NPROC;
	record.limits.nproc = 3;
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
	record.limits.set = EXEC_LIMIT_CPU;
	record.limits.cpu_s = 1;
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
	record.digest[0] = digest;
	record.listen_count = 1;
	strcpy(record.listens[0].name, "http");
	snprintf(record.listens[0].addr, sizeof record.listens[0].addr, "127.0.0.1:%d", load.port);
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

int main(int argc, char **argv)
{
	exec_world_init(argc, argv);
	const struct CMUnitTest tests[] = {
		EXEC_CASE(a_program_lives_in_a_group_that_goes_with_it),
		EXEC_CASE(memory_is_limited),
		EXEC_CASE(processes_are_limited),
		EXEC_CASE(cpu_time_is_limited),
		EXEC_CASE(ten_swaps_under_load_refuse_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
