#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/http/client.h"

static uv_loop_t loop;
static struct http_client *client;
static char root[64], program[96];

/* ---- whom to ask -------------------------------------------------------------------------------------- */

/* A port that nobody listens on. */
static uint16_t free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

/* A listener that never answers. */
static int silent_port(uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static const char *script(const char *text)
{
	int fd = open(program, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	dprintf(fd, "#!/bin/sh\n%s\n", text);
	close(fd);
	return program;
}

static void open_client(const char *path, int64_t linger_ms, int64_t silent_ms)
{
	client = http_client_open(&loop, &(struct http_client_config){.program = path,
								      .linger_ms = linger_ms,
								      .silent_ms = silent_ms});
}

/* ---- calls -------------------------------------------------------------------------------------------- */

struct outcome {
	struct http_call *call;
	int calls, code;
	char text[HTTP_TEXT_CAP];
	int stop_at; /* of all that ended: the loop stops */
	struct outcome *drops;
};
static int ended;

static void on_end(void *ctx, int code, const char *text)
{
	struct outcome *o = ctx;
	o->calls++;
	o->code = code;
	snprintf(o->text, sizeof(o->text), "%s", text);
	o->call = NULL;
	if (o->drops != NULL) {
		http_call_drop(o->drops->call);
		o->drops->call = NULL;
	}
	if (++ended >= o->stop_at)
		uv_stop(&loop);
}

static void attempt_at(struct outcome *o, uint16_t port, uint32_t timeout_ms)
{
	struct http_attempt a = {.timeout_ms = timeout_ms, .status_min = 200, .status_max = 399};
	snprintf(a.url, sizeof(a.url), "http://127.0.0.1:%u/", port);
	o->call = http_client_attempt(client, &a, on_end, o);
	assert_int_equal(o->calls, 0);
}

static void run_one(struct outcome *o)
{
	attempt_at(o, free_port(), 5000);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(o->calls, 1);
}

static int begin(void **state)
{
	uv_loop_init(&loop);
	snprintf(root, sizeof(root), "/tmp/wavetrain-http-XXXXXX");
	ended = 0;
	if (mkdtemp(root) == NULL)
		return -1;
	snprintf(program, sizeof(program), "%s/program", root);
	return 0;
}

static int end(void **state)
{
	http_client_close(client);
	client = NULL;
	uv_run(&loop, UV_RUN_DEFAULT);
	unlink(program);
	rmdir(root);
	return uv_loop_close(&loop);
}

/* ---- the real process --------------------------------------------------------------------------------- */

static void it_says_how_an_attempt_ended(void **state)
{
	struct outcome o = {0};
	open_client(HTTP_PROGRAM, 0, 0);
	run_one(&o);
	assert_int_equal(o.code, E_UNAVAILABLE);
	assert_non_null(strstr(o.text, "http://127.0.0.1:"));
}

static void another_host_is_refused_by_it_too(void **state)
{
	struct outcome o = {0};
	open_client(HTTP_PROGRAM, 0, 0);
	struct http_attempt a = {.timeout_ms = 1000, .url = "http://192.0.2.1/"};
	o.call = http_client_attempt(client, &a, on_end, &o);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(o.code, E_INVALID);
}

static void a_fetch_that_cannot_be_is_refused(void **state)
{
	static const char *const urls[] = {"ftp://127.0.0.1:1", NULL};
	struct outcome o = {0};
	struct http_fetch f = {.size_bytes = 1, .ca = "ca", .cert = "cert", .key = "key"};
	struct err e;
	open_client(HTTP_PROGRAM, 0, 0);
	snprintf(f.dir, sizeof(f.dir), "%s", root);
	assert_int_equal(http_client_fetch(&o.call, client, &f, urls, on_end, &o, &e), E_OK);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(o.code, E_INVALID);
	assert_non_null(strstr(o.text, "ftp://127.0.0.1:1"));
}

static void too_many_servers_are_refused_at_once(void **state)
{
	const char *urls[HTTP_URLS + 2] = {0};
	struct http_call *call;
	struct http_fetch f = {.size_bytes = 1};
	struct err e;
	open_client(HTTP_PROGRAM, 0, 0);
	for (int i = 0; i <= HTTP_URLS; i++)
		urls[i] = "https://127.0.0.1:1";
	assert_int_equal(http_client_fetch(&call, client, &f, urls, on_end, NULL, &e), E_TOO_LARGE);
}

static void what_is_dropped_is_not_told(void **state)
{
	struct outcome dropped = {0}, told = {0};
	uint16_t port;
	int fd = silent_port(&port);
	open_client(HTTP_PROGRAM, 0, 0);
	attempt_at(&dropped, port, 300);
	http_call_drop(dropped.call);
	http_call_drop(NULL);
	attempt_at(&told, port, 600);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(told.code, E_UNAVAILABLE);
	assert_int_equal(dropped.calls, 0);
	close(fd);
}

enum { MANY = 400 };

/* More than the socket holds while the process is only starting: as on a host of many apps after a restart.
 */
static void many_at_once_are_all_tried(void **state)
{
	static struct outcome all[MANY];
	uint16_t port = free_port();
	open_client(HTTP_PROGRAM, 0, 0);
	for (int i = 0; i < MANY; i++) {
		all[i] = (struct outcome){.stop_at = MANY / 2};
		attempt_at(&all[i], port, 20 * 1000);
	}
	for (int i = 1; i < MANY; i += 2) { /* sent or not */
		http_call_drop(all[i].call);
		all[i].call = NULL;
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(all[i].calls, i % 2 == 0);
		assert_int_equal(all[i].code, i % 2 == 0 ? E_UNAVAILABLE : 0);
		if (strstr(all[i].text, "http://127.0.0.1:") == NULL && i % 2 == 0)
			fail_msg("%s", all[i].text);
	}
}

static bool has_child(void)
{
	char path[64], line[16] = "";
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	if (fgets(line, sizeof(line), f) == NULL)
		line[0] = '\0';
	fclose(f);
	return line[0] != '\0';
}

static void it_goes_a_while_after_the_last_call(void **state)
{
	struct outcome o = {0};
	open_client(HTTP_PROGRAM, 1, 0);
	run_one(&o);
	assert_true(has_child());
	for (int i = 0; i < 1000 && has_child(); i++) {
		usleep(10 * 1000);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	assert_false(has_child());
	struct outcome again = {0};
	run_one(&again);
	assert_int_equal(again.code, E_UNAVAILABLE);
}

/* ---- a process that is no good ------------------------------------------------------------------------ */

static void fails_with(const char *path, const char *text)
{
	struct outcome first = {.stop_at = 2}, second = {.stop_at = 2};
	open_client(path, 0, 200);
	attempt_at(&first, 1, 1000);
	attempt_at(&second, 1, 1000);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(first.code, E_CLOSED);
	assert_int_equal(second.code, E_CLOSED);
	if (strstr(first.text, text) == NULL)
		fail_msg("'%s' does not say '%s'", first.text, text);
}

static void one_that_is_not_there(void **state)
{
	fails_with("/nowhere/wavetrain-http", "cannot start /nowhere/wavetrain-http");
}

static void one_that_ends(void **state)
{
	fails_with(script("exit 3"), "ended with 3");
}

static void one_that_is_killed(void **state)
{
	fails_with(script("kill -SEGV $$"), "signal 11");
}

static void one_that_says_nothing(void **state)
{
	fails_with(script("exec sleep 1000"), "said nothing");
}

static void one_that_babbles(void **state)
{
	fails_with(script("echo hello >&0; exec sleep 1000"), "not a record of wavetrain-http");
}

/* As after an upgrade: the head of an answer of version 2. */
static void one_of_another_version(void **state)
{
	fails_with(script("printf 'AHTW\\002\\000\\000\\000aaaaaaaaaaaaaaaa' >&0; exec sleep 1000"),
		   "speaks version 2, this one 1; restart wavetrain-agent");
}

static void the_next_call_starts_another(void **state)
{
	struct outcome first = {0}, second = {0};
	open_client(program, 0, 0);
	script("exit 1");
	attempt_at(&first, 1, 1000);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(first.code, E_CLOSED);
	unlink(program);
	assert_int_equal(symlink(HTTP_PROGRAM, program), 0);
	attempt_at(&second, free_port(), 5000);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(second.code, E_UNAVAILABLE);
}

static void a_callback_may_drop_another_that_was_lost(void **state)
{
	struct outcome second = {0}, first = {.drops = &second};
	open_client(script("exit 1"), 0, 0);
	attempt_at(&first, 1, 1000);
	attempt_at(&second, 1, 1000);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(first.calls, 1);
	for (int i = 0; i < 10; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(second.calls, 0);
}

static void closing_leaves_nothing(void **state)
{
	struct outcome o = {0};
	open_client(script("exec sleep 1000"), 0, 0);
	attempt_at(&o, 1, 1000);
	http_client_close(client);
	client = NULL;
	assert_int_equal(o.calls, 0);
}

/* ---- records ------------------------------------------------------------------------------------------ */

static void records_are_checked(void **state)
{
	static struct http_order o;
	struct http_answer a;
	struct err e;
	http_order_init(&o, HTTP_FETCH, 1);
	assert_int_equal(http_order_check(&o, sizeof(o), &e), E_OK);
	assert_int_equal(http_order_check(&o, sizeof(o) - 1, &e), E_PROTOCOL);
	assert_int_equal(http_order_check(&o, 3, &e), E_PROTOCOL);
	o.fetch.urls_nr = HTTP_URLS + 1;
	assert_int_equal(http_order_check(&o, sizeof(o), &e), E_INVALID);
	http_order_init(&o, HTTP_ATTEMPT, 1);
	assert_true(o.size < 2048); /* an attempt is small */
	assert_int_equal(http_order_check(&o, o.size, &e), E_OK);
	assert_int_equal(http_order_check(&o, sizeof(o), &e), E_PROTOCOL);
	memset(o.attempt.url, 'x', sizeof(o.attempt.url));
	assert_int_equal(http_order_check(&o, o.size, &e), E_INVALID);
	http_order_init(&o, HTTP_DROP, 1);
	assert_int_equal(http_order_check(&o, o.size, &e), E_OK);
	http_order_init(&o, HTTP_OP_END, 1);
	o.size = sizeof(o);
	assert_int_equal(http_order_check(&o, sizeof(o), &e), E_INVALID);
	http_answer_init(&a, HTTP_FETCH, 1);
	assert_int_equal(http_answer_check(&a, sizeof(a), &e), E_OK);
	a.code = E_IO;
	assert_int_equal(http_answer_check(&a, sizeof(a), &e), E_INVALID);
	a.ended = 1;
	assert_int_equal(http_answer_check(&a, sizeof(a), &e), E_OK);
	a.version = 2;
	assert_int_equal(http_answer_check(&a, sizeof(a), &e), E_VERSION);
	a.version = 1;
	memset(a.text, 'x', sizeof(a.text));
	assert_int_equal(http_answer_check(&a, sizeof(a), &e), E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_says_how_an_attempt_ended, begin, end),
		cmocka_unit_test_setup_teardown(another_host_is_refused_by_it_too, begin, end),
		cmocka_unit_test_setup_teardown(a_fetch_that_cannot_be_is_refused, begin, end),
		cmocka_unit_test_setup_teardown(too_many_servers_are_refused_at_once, begin, end),
		cmocka_unit_test_setup_teardown(what_is_dropped_is_not_told, begin, end),
		cmocka_unit_test_setup_teardown(many_at_once_are_all_tried, begin, end),
		cmocka_unit_test_setup_teardown(it_goes_a_while_after_the_last_call, begin, end),
		cmocka_unit_test_setup_teardown(one_that_is_not_there, begin, end),
		cmocka_unit_test_setup_teardown(one_that_ends, begin, end),
		cmocka_unit_test_setup_teardown(one_that_is_killed, begin, end),
		cmocka_unit_test_setup_teardown(one_that_says_nothing, begin, end),
		cmocka_unit_test_setup_teardown(one_that_babbles, begin, end),
		cmocka_unit_test_setup_teardown(one_of_another_version, begin, end),
		cmocka_unit_test_setup_teardown(the_next_call_starts_another, begin, end),
		cmocka_unit_test_setup_teardown(a_callback_may_drop_another_that_was_lost, begin, end),
		cmocka_unit_test_setup_teardown(closing_leaves_nothing, begin, end),
		cmocka_unit_test(records_are_checked),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
