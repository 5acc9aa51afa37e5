#include "tests/unit/agent_exec/exec_world.h"

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/exec/cgroup.h"
#include "sys/unixsock.h"

const char *exec_path, *app_path;
bool plain;
char root[80], sock[100], user[64];
pid_t exec_pid;
uv_loop_t loop;
struct exec_client *client;
struct exec_record record;
struct exec_reply reply;
static bool answered;

/* Looked at by a process of its own: where the kernel has version 2, looking moves it. */
static bool can_make_groups(void)
{
	int how = 0;
	pid_t pid = fork();
	if (pid == 0) {
		struct cgroup_place place = {"/proc/self/mountinfo", "/proc/self/cgroup", NULL};
		struct cgroup home;
		struct err e;
		_exit(cgroup_home(&place, &home, &e) == E_OK ? 0 : 1);
	}
	return pid > 0 && waitpid(pid, &how, 0) == pid && WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

void exec_world_init(int argc, char **argv)
{
	PRE(argc == 4);
	/* Only root makes control groups, and only where there is a tree of them: a bare container has none.
	 */
	plain = strcmp(argv[3], "plain") == 0 || geteuid() != 0 || !can_make_groups();
	/* Programs are started from other directories than this one. */
	exec_path = realpath(argv[1], NULL);
	app_path = realpath(argv[2], NULL);
	PRE(exec_path && app_path);
}

static void on_reply(void *ctx, const struct exec_reply *p)
{
	reply = *p;
	answered = true;
}

int call_begin(void)
{
	struct err e;
	answered = false;
	return exec_client_call(client, &record, on_reply, NULL, &e);
}

int call_end(void)
{
	while (!answered)
		uv_run(&loop, UV_RUN_ONCE);
	return reply.code;
}

int call(void)
{
	int rc = call_begin();
	return rc != E_OK ? rc : call_end();
}

pid_t exec_spawn(const char *path, const char *at, const char *const args[])
{
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 1);
		if (!getenv("SHOW"))
			dup2(null, 2);
		execv(path, (char *const *)args);
		_exit(127);
	}
	int fd;
	while (unixsock_connect(at, &fd, NULL) != E_OK) {
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		poll(NULL, 0, 5);
	}
	close(fd);
	return pid;
}

void exec_up(void)
{
	char balancer[100], state[100];
	snprintf(balancer, sizeof balancer, "%s/haproxy", root);
	snprintf(state, sizeof state, "%s/haproxy.state", root);
	const char *const args[] = {exec_path,
				    "--socket",
				    sock,
				    "--root",
				    root,
				    "--user-allowed",
				    user,
				    "--balancer-socket-allowed",
				    balancer,
				    "--state-file-allowed",
				    state,
				    "--stop-programs",
				    plain ? "--cgroup" : NULL,
				    "none",
				    NULL};
	exec_pid = exec_spawn(exec_path, sock, args);
}

void exec_down(int signo)
{
	int how;
	assert_true(exec_pid > 0); /* 0 would be all of us */
	kill(exec_pid, signo);
	assert_int_equal(waitpid(exec_pid, &how, 0), exec_pid);
	assert_int_equal(WIFSIGNALED(how) ? WTERMSIG(how) : SIGTERM, signo); /* it did not fall over before */
	exec_pid = 0;
}

void exec_up_again(void)
{
	exec_up();
	exec_client_close(client);
	client = exec_client_open(&loop, sock);
}

void new_exec(void)
{
	exec_down(SIGKILL);
	exec_up_again();
}

static void make_slot(uint8_t first)
{
	char dir[300], to[400];
	snprintf(dir, sizeof dir, "%s/slots/%02x%062d", root, first, 0);
	assert_int_equal(mkdir(dir, 0755), 0);
	snprintf(to, sizeof to, "%s/app", dir);
	assert_int_equal(symlink(app_path, to), 0);
}

int exec_setup(void **s)
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

int exec_teardown(void **s)
{
	char cmd[300];
	exec_client_close(client);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	exec_down(SIGTERM);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
	return system(cmd);
}

void ask(enum exec_op op)
{
	record_init(&record, op, "shop");
	record.digest[0] = 1;
	record.timeout_ms = 3000;
	strcpy(record.user, user);
}

void start_record(const char *flag, const char *value)
{
	ask(EXEC_START);
	assert_int_equal(record_add_arg(&record, "app"), E_OK);
	if (flag)
		assert_int_equal(record_add_arg(&record, flag), E_OK);
	if (value)
		assert_int_equal(record_add_arg(&record, value), E_OK);
}

const struct exec_status *status(void)
{
	ask(EXEC_STATUS);
	assert_int_equal(call(), E_OK);
	return &reply.status;
}

void wait_run(enum exec_run want)
{
	while (status()->run != want)
		poll(NULL, 0, 5);
}

void stop(bool killed, uint32_t ms)
{
	ask(EXEC_STOP);
	record.timeout_ms = ms;
	assert_int_equal(call(), E_OK);
	assert_int_equal(reply.killed, killed);
	assert_int_equal(reply.status.run, EXEC_RUN_STOPPED);
}

/* It has set up its signals when its first output arrived. */
void start_ready(const char *flag)
{
	char path[200];
	struct stat st = {0};
	start_record(flag, NULL);
	assert_int_equal(record_add_arg(&record, "--noise"), E_OK);
	assert_int_equal(record_add_arg(&record, "10"), E_OK);
	assert_int_equal(call(), E_OK);
	snprintf(path, sizeof path, "%s/apps/shop/output.log", root);
	while (stat(path, &st) != 0 || st.st_size == 0)
		poll(NULL, 0, 5);
}

int count_apps(void)
{
	char cmd[400], text[32] = "";
	snprintf(cmd, sizeof cmd, "grep -la -- '%s' /proc/[0-9]*/environ 2>/dev/null | wc -l", root);
	FILE *f = popen(cmd, "r");
	assert_non_null(fgets(text, sizeof text, f));
	pclose(f);
	return atoi(text);
}

void mark(void)
{
	char text[300];
	snprintf(text, sizeof text, "MARK=%s", root);
	assert_int_equal(record_add_env(&record, text), E_OK);
}

void wait_apps(int want)
{
	while (count_apps() != want)
		poll(NULL, 0, 5);
}
