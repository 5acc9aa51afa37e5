#include "tests/lib/test.h"

#include "coordinator/edge/edge.h"

static void every_reason_has_words(void **state)
{
	for (int r = 1; r < EDGE_REASON_NR; r++)
		assert_string_not_equal(edge_reason_text((enum edge_reason)r), "none");
	assert_string_equal(edge_reason_text(EDGE_REASON_NONE), "none");
	assert_string_equal(edge_reason_text(EDGE_REASON_NR), "none");
}

static void never(void *arg, struct edge_session *s, struct edge_token t, const uint8_t *bytes, size_t len)
{
	fail_msg("a request without a peer");
}

static int try_open(uv_loop_t *loop, const char *address, uint16_t port, struct edge **out, struct err *e)
{
	const struct edge_callbacks callbacks = {.on_request = never};
	struct edge_config config = {.address = address, .port = port, .insecure_for_tests = true};

	return edge_open(out, loop, &config, &callbacks, e);
}

static void a_taken_port_is_an_error_with_its_name(void **state)
{
	uv_loop_t loop;
	struct edge *first, *second;
	struct err e;

	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(try_open(&loop, "127.0.0.1", 0, &first, &e), E_OK);
	assert_true(edge_port(first) != 0);
	assert_int_equal(try_open(&loop, "127.0.0.1", edge_port(first), &second, &e), E_UNAVAILABLE);
	assert_non_null(strstr(e.text, "127.0.0.1"));
	edge_close(first, NULL, NULL);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void plain_tcp_needs_loopback(void **state)
{
	struct edge *edge;
	struct err e;

	assert_int_equal(try_open(NULL, "0.0.0.0", 0, &edge, &e), E_DENIED);
	assert_int_equal(try_open(NULL, "::", 0, &edge, &e), E_DENIED);
	assert_int_equal(try_open(NULL, "somewhere", 0, &edge, &e), E_INVALID);
}

static void tls_needs_its_files(void **state)
{
	const struct edge_callbacks callbacks = {.on_request = never};
	struct edge_config config = {.address = "127.0.0.1",
				     .tls = {"/nonexistent/ca", "/nonexistent/c", "/nonexistent/k"}};
	struct edge *edge;
	struct err e;

	assert_int_equal(edge_open(&edge, NULL, &config, &callbacks, &e), E_NOT_FOUND);
	assert_non_null(strstr(e.text, "/nonexistent/ca"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reason_has_words),
		cmocka_unit_test(a_taken_port_is_an_error_with_its_name),
		cmocka_unit_test(plain_tcp_needs_loopback),
		cmocka_unit_test(tls_needs_its_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
