/* The real wavetrain-exec: which balancer it asks and which file it writes, whatever a record says. */
#include "tests/unit/agent_exec/exec_world.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/unixsock.h"

/* A HAProxy in name only: it obeys everything, and its server state holds a line of its choice. */
static const char states[] = "\n1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state\n"
			     "2 be 1 s1 0.0.0.0 2 0\n* * * * * root sh -c evil x 0 0\n\n";
static struct {
	int fd;
	pthread_t thread;
	char path[130];
} fake;

static void *obey(void *arg)
{
	char command[512];
	for (int fd; (fd = accept(fake.fd, NULL, NULL)) >= 0; close(fd)) {
		ssize_t n = read(fd, command, sizeof command - 1);
		command[n > 0 ? n : 0] = '\0';
		const char *answer = strstr(command, "show servers state") ? states : "\n";
		assert_int_equal(write(fd, answer, strlen(answer)), (ssize_t)strlen(answer));
	}
	return NULL;
}

static void fake_up(const char *leaf)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(fake.path, sizeof fake.path, "%s/%s", root, leaf);
	snprintf(a.sun_path, sizeof a.sun_path, "%s/%s", root, leaf);
	fake.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fake.fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fake.fd, 8), 0);
}

static void fake_obeys(void)
{
	assert_int_equal(pthread_create(&fake.thread, NULL, obey, NULL), 0);
}

static void fake_down(void)
{
	shutdown(fake.fd, SHUT_RDWR); /* ends the accept */
	pthread_join(fake.thread, NULL);
	close(fake.fd);
}

static void undrain(const char *socket_leaf, const char *state_leaf)
{
	struct exec_balancer *b = &record.balancer;
	ask(EXEC_UNDRAIN);
	snprintf(b->socket, sizeof b->socket, "%s/%s", root, socket_leaf);
	if (state_leaf)
		snprintf(b->state_file, sizeof b->state_file, "%s/%s", root, state_leaf);
	strcpy(b->backend, "be");
	strcpy(b->server, "s1");
}

static bool is_there(const char *leaf)
{
	char path[200];
	struct stat st;
	snprintf(path, sizeof path, "%s/%s", root, leaf);
	return lstat(path, &st) == 0;
}

static void a_balancer_that_is_not_allowed_is_not_asked(void **s)
{
	fake_up("mine");
	assert_int_equal(fcntl(fake.fd, F_SETFL, O_NONBLOCK), 0);
	undrain("mine", "cron");
	assert_int_equal(call(), E_DENIED);
	assert_non_null(strstr(reply.text, "--balancer-socket-allowed"));
	assert_non_null(strstr(reply.text, fake.path));
	record.op = EXEC_DRAIN;
	assert_int_equal(call(), E_DENIED);
	assert_int_equal(accept(fake.fd, NULL, NULL), -1);
	assert_int_equal(errno, EAGAIN);
	assert_false(is_there("cron"));
	close(fake.fd);
}

static void a_file_that_is_not_allowed_is_not_written(void **s)
{
	fake_up("haproxy");
	fake_obeys();
	undrain("haproxy", "cron");
	assert_int_equal(call(), E_DENIED);
	assert_non_null(strstr(reply.text, "--state-file-allowed"));
	assert_non_null(strstr(reply.text, "/cron"));
	undrain("haproxy", "haproxy.state.new"); /* nor one whose name only begins like it */
	assert_int_equal(call(), E_DENIED);
	undrain("haproxy", "./haproxy.state"); /* paths are compared as they are written */
	assert_int_equal(call(), E_DENIED);
	assert_false(is_there("cron"));
	assert_false(is_there("haproxy.state"));
	fake_down();
}

static void what_is_allowed_is_asked_and_written(void **s)
{
	fake_up("haproxy");
	fake_obeys();
	undrain("haproxy", NULL);
	assert_int_equal(call(), E_OK);
	assert_false(is_there("haproxy.state"));
	undrain("haproxy", "haproxy.state");
	assert_int_equal(call(), E_OK);
	assert_true(is_there("haproxy.state"));
	fake_down();
}

static void a_dead_balancer_is_told_to_the_agent(void **s)
{
	undrain("haproxy", NULL);
	record.op = EXEC_DRAIN;
	assert_int_equal(call(), E_UNAVAILABLE);
	strcpy(record.balancer.server, "s1;show info");
	assert_int_equal(call(), E_INVALID);
}

int main(int argc, char **argv)
{
	exec_world_init(argc, argv);
	const struct CMUnitTest tests[] = {
		EXEC_CASE(a_balancer_that_is_not_allowed_is_not_asked),
		EXEC_CASE(a_file_that_is_not_allowed_is_not_written),
		EXEC_CASE(what_is_allowed_is_asked_and_written),
		EXEC_CASE(a_dead_balancer_is_told_to_the_agent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
