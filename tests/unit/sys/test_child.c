/* Starting a program: what it is told when there is none. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/child.h"

static char dir[64];
static struct err e;

static const char *at(const char *leaf)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", dir, leaf);
	return path;
}

static const char *make(const char *leaf, const char *text, mode_t mode)
{
	FILE *f = fopen(at(leaf), "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(at(leaf), mode), 0);
	return at(leaf);
}

/* E_OK: it was started; it is waited for. */
static int spawn(const char *path, bool keeper, int (*born)(void *ctx, pid_t pid, struct err *e), int *how)
{
	char *argv[] = {(char *)(uintptr_t)path, NULL}, *env[] = {NULL};
	struct child child;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct child_spec s = {.argv = argv,
			       .env = env,
			       .user = "",
			       .workdir = dir,
			       .out_fd = null,
			       .keeper = keeper,
			       .born = born};
	int rc = child_spawn(&s, &child, &e);
	close(null);
	if (rc == E_OK) {
		assert_int_equal(waitpid(child.pid, how, 0), child.pid);
		close(child.pidfd);
	}
	return rc;
}

static void both_ways(const char *path, int want)
{
	int how;
	for (int keeper = 0; keeper <= 1; keeper++)
		assert_int_equal(spawn(path, keeper, NULL, &how), want);
}

static void what_is_no_program_is_told_from_what_the_host_cannot_do(void **s)
{
	/* The head of an ELF file of a machine that is not this one. */
	both_ways(make("foreign",
		       "\x7f"
		       "ELF\2\1\1",
		       0755),
		  E_INVALID);
	both_ways(make("text", "echo no first line\n", 0755), E_INVALID);
	both_ways(make("plain", "#!/bin/sh\n", 0644), E_DENIED);
	both_ways(make("no-shell", "#!/nowhere/sh\n", 0755), E_NOT_FOUND);
	both_ways(at("missing"), E_NOT_FOUND);
	both_ways(at("text/below-a-file"), E_INVALID);
	assert_int_equal(symlink("loop", at("loop")), 0);
	both_ways(at("loop"), E_INVALID);
	both_ways(make("good", "#!/bin/sh\n", 0755), E_OK);
}

static void how_it_ended_is_its_own(void **s)
{
	int how;
	for (int keeper = 0; keeper <= 1; keeper++) {
		assert_int_equal(spawn(make("seven", "#!/bin/sh\nexit 7\n", 0755), keeper, NULL, &how), E_OK);
		assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 7);
	}
}

/* Waits, blocked, until the process unblocks its signals right before its program. */
static int hit(void *ctx, pid_t pid, struct err *err)
{
	return kill(pid, SIGUSR1) == 0 ? E_OK : err_set(err, E_IO, "kill");
}

static void who_is_killed_before_there_is_a_program_was_not_started(void **s)
{
	sigset_t usr1, before;
	int how;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, &before);
	for (int keeper = 0; keeper <= 1; keeper++) {
		assert_int_equal(spawn(make("good", "#!/bin/sh\n", 0755), keeper, hit, &how), E_IO);
		assert_non_null(strstr(e.text, "before it began"));
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static int setup(void **s)
{
	strcpy(dir, "/tmp/wtchild.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **s)
{
	char cmd[100];
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	return system(cmd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_no_program_is_told_from_what_the_host_cannot_do,
						setup, teardown),
		cmocka_unit_test_setup_teardown(how_it_ended_is_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_killed_before_there_is_a_program_was_not_started,
						setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
