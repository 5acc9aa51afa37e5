#include "tests/lib/test.h"
#include "tests/unit/admin/world.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/admin/commands_frame.h"

/* Real processes with real uids: needs root, and is skipped without. */
enum { OPERATORS = 54321, NOBODY = 65534, REFUSED = 77, DENIED = 4, ALLOWED = 0 };

static struct world w;

static int setup(void **state)
{
	world_init_real(&w, geteuid() == 0 ? OPERATORS : (gid_t)-1);
	world_fill(&w);
	return chmod(w.dir, 0755);
}

static int teardown(void **state)
{
	world_done(&w);
	return 0;
}

static int talk(int fd, enum command_id verb)
{
	struct buf b;
	Admin__Request rq;
	const uint8_t *body;
	size_t n;
	ssize_t got;
	world_request(&rq, verb);
	buf_init(&b);
	commands_frame_put(&b, &rq.base);
	if (send(fd, b.data, b.len, MSG_NOSIGNAL) != (ssize_t)b.len)
		return 1;
	buf_reset(&b);
	while ((got = recv(fd, buf_reserve(&b, 4096), 4096, 0)) > 0)
		b.len += (size_t)got;
	if (commands_frame_next(b.data, b.len, COMMANDS_FRAME_REPLY_MAX, &body, &n) != FRAME_WHOLE)
		return 2;
	Admin__Reply *r = admin__reply__unpack(NULL, n, body);
	return r && r->body_case == ADMIN__REPLY__BODY_ERROR && strcmp(r->error->code, "E_DENIED") == 0
		       ? DENIED
		       : ALLOWED;
}

/* In a child: become that user, ask, exit with what came. */
static _Noreturn void ask_as(uid_t uid, gid_t group, enum command_id verb)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	if (uid != geteuid() && (setgroups(1, &group) != 0 || setgid(NOBODY) != 0 || setuid(uid) != 0))
		_exit(3);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(sun.sun_path, sizeof sun.sun_path, "%s", w.path);
	if (connect(fd, (struct sockaddr *)&sun, sizeof sun) != 0)
		_exit(errno == EACCES ? REFUSED : 5);
	_exit(talk(fd, verb));
}

static int outcome(uid_t uid, gid_t group, enum command_id verb)
{
	int status = -1;
	pid_t pid = fork(), ended = 0;
	if (pid == 0)
		ask_as(uid, group, verb);
	for (int i = 0; i < 5000 && ended == 0; i++) {
		world_turn(&w);
		ended = waitpid(pid, &status, WNOHANG);
	}
	return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_owner_is_an_administrator(void **state)
{
	assert_int_equal(outcome(geteuid(), getegid(), CMD_AGENTS_REMOVE), ALLOWED);
}

static void a_member_of_the_group_is_an_operator(void **state)
{
	if (geteuid() != 0)
		skip_because("only root can be several users");
	assert_int_equal(outcome(NOBODY, OPERATORS, CMD_APP_LIST), ALLOWED);
	assert_int_equal(outcome(NOBODY, OPERATORS, CMD_APP_ADD), ALLOWED);
	assert_int_equal(outcome(NOBODY, OPERATORS, CMD_AGENTS_REMOVE), DENIED);
	assert_int_equal(outcome(NOBODY, OPERATORS, CMD_AGENTS_ADD), DENIED);
}

static void another_user_may_not_even_connect(void **state)
{
	if (geteuid() != 0)
		skip_because("only root can be several users");
	assert_int_equal(outcome(NOBODY, NOBODY, CMD_APP_LIST), REFUSED);
}

/* Were the socket opened to all by mistake, strangers could look and not touch. */
static void a_stranger_is_a_viewer_at_most(void **state)
{
	if (geteuid() != 0)
		skip_because("only root can be several users");
	assert_int_equal(chmod(w.path, 0666), 0);
	assert_int_equal(outcome(NOBODY, NOBODY, CMD_APP_LIST), ALLOWED);
	assert_int_equal(outcome(NOBODY, NOBODY, CMD_APP_ADD), DENIED);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_owner_is_an_administrator),
		T(a_member_of_the_group_is_an_operator),
		T(another_user_may_not_even_connect),
		T(a_stranger_is_a_viewer_at_most),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
