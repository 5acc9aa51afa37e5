#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/steps/probe.h"
#include "tests/lib/test.h"

/* A tiny server on the same loop: answers each connection with `answer` and closes it. */
static uv_loop_t loop;
static uv_tcp_t server;
static uint16_t port;
static const char *answer;
static struct probe *probe;
static struct http_client *http;
static struct probe_score last;
static char last_why[200];
static bool command_passes;

static void free_handle(uv_handle_t *h)
{
	free(h);
}

static void on_written(uv_write_t *w, int status)
{
	uv_close((uv_handle_t *)w->handle, free_handle);
	free(w);
}

static void alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
	static char bytes[4096];
	*out = uv_buf_init(bytes, sizeof(bytes));
}

/* Answers once the request is there; a close before that would reset the connection. */
static void on_request(uv_stream_t *c, ssize_t n, const uv_buf_t *bytes)
{
	uv_read_stop(c);
	if (n < 0) {
		uv_close((uv_handle_t *)c, free_handle);
		return;
	}
	uv_write_t *w = calloc(1, sizeof(*w));
	uv_buf_t b = uv_buf_init((char *)(uintptr_t)answer, (unsigned)strlen(answer));
	uv_write(w, c, &b, 1, on_written);
}

static void on_connection(uv_stream_t *s, int status)
{
	uv_tcp_t *c = calloc(1, sizeof(*c));
	uv_tcp_init(&loop, c);
	assert_int_equal(uv_accept(s, (uv_stream_t *)c), 0);
	uv_read_start((uv_stream_t *)c, alloc, on_request);
}

static int begin(void **state)
{
	struct sockaddr_in addr;
	int len = sizeof(addr);
	memset(&last, 0, sizeof(last));
	uv_loop_init(&loop);
	uv_tcp_init(&loop, &server);
	uv_ip4_addr("127.0.0.1", 0, &addr);
	uv_tcp_bind(&server, (struct sockaddr *)&addr, 0);
	if (uv_listen((uv_stream_t *)&server, 8, on_connection) != 0)
		return -1;
	uv_tcp_getsockname(&server, (struct sockaddr *)&addr, &len);
	port = ntohs(addr.sin_port);
	http = http_client_open(&loop, &(struct http_client_config){.program = HTTP_PROGRAM});
	return 0;
}

static int end(void **state)
{
	if (!uv_is_closing((uv_handle_t *)&server))
		uv_close((uv_handle_t *)&server, NULL);
	http_client_close(http);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static void on_verdict(void *arg, const struct probe_score *score, const char *why)
{
	last = *score;
	snprintf(last_why, sizeof(last_why), "%s", why);
	probe_close(probe);
	uv_stop(&loop);
	if (!uv_is_closing((uv_handle_t *)&server))
		uv_close((uv_handle_t *)&server, NULL);
}

static void run_command(void *arg)
{
	probe_answer(probe, command_passes, "exit code 1");
}

static void run(enum probe_kind kind, const char *format)
{
	char url[100];
	snprintf(url, sizeof(url), format, port);
	struct probe_config c = {
		.kind = kind, .url = url, .interval_ms = 1, .timeout_ms = 5000, .pass = 3, .fail = 2};
	struct probe_callbacks cb = {NULL, on_verdict, run_command};
	assert_int_equal(probe_open(&probe, &loop, http, &c, &cb, NULL), E_OK);
	uv_run(&loop, UV_RUN_DEFAULT);
}

static void http_passes_by_its_status(void **state)
{
	answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
	run(PROBE_HTTP, "http://127.0.0.1:%u/ready");
	assert_int_equal(last.verdict, PROBE_PASSED);
	assert_int_equal(last.passes, 3);
}

static void http_fails_by_its_status(void **state)
{
	answer = "HTTP/1.1 503 Not Yet\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	run(PROBE_HTTP, "http://127.0.0.1:%u/ready");
	assert_int_equal(last.verdict, PROBE_FAILED);
	assert_int_equal(last.failures, 2);
	assert_non_null(strstr(last_why, "http 503"));
}

static void tcp_passes_when_something_listens(void **state)
{
	answer = "x";
	run(PROBE_TCP, "127.0.0.1:%u");
	assert_int_equal(last.verdict, PROBE_PASSED);
}

static void tcp_fails_when_nothing_listens(void **state)
{
	uv_close((uv_handle_t *)&server, NULL);
	run(PROBE_TCP, "127.0.0.1:%u");
	assert_int_equal(last.verdict, PROBE_FAILED);
}

static void on_enough(uv_timer_t *t)
{
	uv_stop(&loop);
}

/* Nothing is known of the program: neither passed nor failed, and it is asked again when it can be. */
static void what_cannot_be_tried_is_no_failure(void **state)
{
	uv_timer_t enough;
	struct probe_config c = {.kind = PROBE_TCP, .url = "127.0.0.1:1", .interval_ms = 1, .fail = 1};
	struct probe_callbacks cb = {NULL, on_verdict, run_command};
	http_client_close(http);
	http = http_client_open(&loop, &(struct http_client_config){.program = "/nowhere/wavetrain-http"});
	assert_int_equal(probe_open(&probe, &loop, http, &c, &cb, NULL), E_OK);
	assert_string_equal(probe_untried(probe), "");
	uv_timer_init(&loop, &enough);
	uv_timer_start(&enough, on_enough, 50, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(probe_score_of(probe)->verdict, PROBE_UNDECIDED);
	assert_int_equal(probe_score_of(probe)->failures, 0);
	assert_non_null(strstr(probe_untried(probe), "cannot start /nowhere/wavetrain-http"));
	probe_close(probe);
	uv_close((uv_handle_t *)&enough, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void a_command_is_judged_by_what_its_owner_says(void **state)
{
	command_passes = true;
	run(PROBE_COMMAND, "%u");
	assert_int_equal(last.verdict, PROBE_PASSED);
	assert_int_equal(last.passes, 3);
}

static void other_hosts_are_refused(void **state)
{
	static const char *const urls[] = {"http://192.0.2.1/", "http://127.0.0.1@example.org/",
					   "file:///etc/hosts", "", "http://127.0.0.1.example.org/"};
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		struct probe_config c = {.kind = PROBE_HTTP, .url = urls[i]};
		struct probe_callbacks cb = {NULL, on_verdict, run_command};
		assert_int_equal(probe_open(&probe, &loop, http, &c, &cb, NULL), E_INVALID);
	}
}

static void passes_must_be_in_a_row_and_last(void **state)
{
	struct probe_config c = {.pass = 2, .fail = 2, .healthy_ms = 100};
	struct probe_score s = {0};
	probe_score_add(&s, &c, true, 10);
	probe_score_add(&s, &c, false, 20);
	probe_score_add(&s, &c, true, 30);
	probe_score_add(&s, &c, true, 129);
	assert_int_equal(s.verdict, PROBE_UNDECIDED);
	probe_score_add(&s, &c, true, 130);
	assert_int_equal(s.verdict, PROBE_PASSED);
	probe_score_add(&s, &c, false, 140);
	assert_int_equal(s.verdict, PROBE_PASSED);
	probe_score_add(&s, &c, false, 150);
	assert_int_equal(s.verdict, PROBE_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(http_passes_by_its_status, begin, end),
		cmocka_unit_test_setup_teardown(http_fails_by_its_status, begin, end),
		cmocka_unit_test_setup_teardown(tcp_passes_when_something_listens, begin, end),
		cmocka_unit_test_setup_teardown(tcp_fails_when_nothing_listens, begin, end),
		cmocka_unit_test_setup_teardown(what_cannot_be_tried_is_no_failure, begin, end),
		cmocka_unit_test_setup_teardown(a_command_is_judged_by_what_its_owner_says, begin, end),
		cmocka_unit_test_setup_teardown(other_hosts_are_refused, begin, end),
		cmocka_unit_test(passes_must_be_in_a_row_and_last),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
