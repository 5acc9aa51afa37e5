/* What wavetrain-exec gives to the agent's user, and what it does not. The path of the program comes in argv.
 */
#include "tests/unit/agent_exec/exec_world.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void up_for(const char *agent_user)
{
	const char *const args[] = {exec_path,	"--socket", sock,   "--root",
				    root,	"--cgroup", "none", agent_user ? "--agent-user" : NULL,
				    agent_user, NULL};
	exec_pid = exec_spawn(exec_path, sock, args);
}

static int setup(void **s)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(root, sizeof root, "%s/wtuser.XXXXXX", tmp && strlen(tmp) < 60 ? tmp : "/tmp");
	assert_non_null(mkdtemp(root));
	assert_int_equal(chmod(root, 0755), 0);
	snprintf(sock, sizeof sock, "%s/sock", root);
	return 0;
}

static int teardown(void **s)
{
	char cmd[120];
	if (exec_pid > 0)
		kill(exec_pid, SIGKILL);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
	return system(cmd);
}

/* 0, or the errno of making the folder root/leaf as that user. */
static int make_dir_as(const struct passwd *pw, const char *leaf)
{
	char dir[300];
	int how;
	snprintf(dir, sizeof dir, "%s/%s", root, leaf);
	pid_t pid = fork();
	if (pid == 0) {
		if (setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
			_exit(127);
		_exit(mkdir(dir, 0755) == 0 ? 0 : errno);
	}
	assert_int_equal(waitpid(pid, &how, 0), pid);
	assert_true(WIFEXITED(how));
	return WEXITSTATUS(how);
}

static void the_agents_user_gets_the_slots_and_the_socket_alone(void **s)
{
	if (geteuid() != 0)
		skip_because("only root has another user to give anything to");
	const struct passwd *nobody = getpwnam("nobody");
	struct stat st;
	assert_non_null(nobody);
	up_for(NULL);
	assert_int_equal(make_dir_as(nobody, "slots/before"), EACCES);
	exec_down(SIGTERM);
	up_for("nobody");
	assert_int_equal(stat(sock, &st), 0);
	assert_int_equal(st.st_uid, nobody->pw_uid);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(make_dir_as(nobody, "slots/after"), 0);
	assert_int_equal(make_dir_as(nobody, "apps/after"), EACCES);
	assert_int_equal(make_dir_as(nobody, "after"), EACCES);
	exec_down(SIGTERM);
}

static void a_link_in_the_place_of_slots_is_not_followed(void **s)
{
	char slots[120], other[120];
	int how;
	if (geteuid() != 0)
		skip_because("only root has another user to give anything to");
	snprintf(slots, sizeof slots, "%s/slots", root);
	snprintf(other, sizeof other, "%s/other", root);
	assert_int_equal(mkdir(other, 0755), 0);
	assert_int_equal(symlink("other", slots), 0);
	exec_pid = fork();
	if (exec_pid == 0) {
		dup2(open("/dev/null", O_WRONLY), 2);
		execl(exec_path, exec_path, "--socket", sock, "--root", root, "--agent-user", "nobody", NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(exec_pid, &how, 0), exec_pid);
	exec_pid = 0;
	assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 1);
	assert_int_equal(make_dir_as(getpwnam("nobody"), "other/after"), EACCES);
}

/* The exit code; `said` gets what it wrote to stdout. */
static int run_with(const char *option, const char *value, char said[128])
{
	int out[2], how;
	assert_int_equal(pipe(out), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		dup2(open("/dev/null", O_WRONLY), 2);
		execl(exec_path, exec_path, "--socket", sock, "--root", root, option, value, NULL);
		_exit(127);
	}
	close(out[1]);
	ssize_t n = read(out[0], said, 127);
	said[n > 0 ? n : 0] = '\0';
	close(out[0]);
	assert_int_equal(waitpid(pid, &how, 0), pid);
	assert_true(WIFEXITED(how));
	return WEXITSTATUS(how);
}

static void words_that_it_does_not_know_are_a_usage_error(void **s)
{
	static const char *const wrong[][2] = {{"--no-such-option", NULL},
					       {"surplus", NULL},
					       {"--cgroup", "relative/path"},
					       {"--balancer-socket-allowed", "haproxy.sock"},
					       {"--state-file-allowed", "server-state"}};
	char said[128];
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(run_with(wrong[i][0], wrong[i][1], said), 64);
	assert_int_equal(run_with("--version", NULL, said), 0);
	assert_string_equal(said, "wavetrain-exec " WAVETRAIN_VERSION "\n");
}

int main(int argc, char **argv)
{
	PRE(argc == 2);
	exec_path = argv[1];
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_agents_user_gets_the_slots_and_the_socket_alone, setup,
						teardown),
		cmocka_unit_test_setup_teardown(words_that_it_does_not_know_are_a_usage_error, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_link_in_the_place_of_slots_is_not_followed, setup,
						teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
