#include "tests/lib/test.h"
#include "tests/lib/pki.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/link/engine.h"
#include "agent/link/link.h"
#include "agent/link/machine.h"

static void never(void *arg, const uint8_t *bytes, size_t len)
{
	fail_msg("a reply without a session");
}

static int try_open(const char *const *coordinators, const struct tls_files *files, struct err *e)
{
	const struct link_callbacks callbacks = {.on_poll_reply = never, .on_reply = never};
	struct link_config config = {.coordinators = coordinators, .tls = *files};
	struct link *link;

	return link_open(&link, NULL, &config, &callbacks, e);
}

static void the_link_machine_is_well_formed(void **state)
{
	assert_true(sm_well_formed(&link_sm));
}

static void what_no_retry_can_mend_is_an_error_at_once(void **state)
{
	static const char *const none[] = {NULL}, *const no_port[] = {"somewhere", NULL},
				 *const one[] = {"a:1", NULL};
	struct tls_files missing = {"/nonexistent/ca", "/nonexistent/crt", "/nonexistent/key"};
	struct err e;

	assert_int_equal(try_open(none, &missing, &e), E_INVALID);
	assert_int_equal(try_open(no_port, &missing, &e), E_INVALID);
	assert_non_null(strstr(e.text, "somewhere"));
	assert_int_equal(try_open(one, &missing, &e), E_NOT_FOUND);
	assert_non_null(strstr(e.text, "/nonexistent/ca"));
}

static void a_new_note_has_no_reason(void **state)
{
	struct engine_note *note = engine_note_new();
	struct err e;

	assert_false(engine_note_get(note, &e));
	engine_note_drop(note);
	engine_note_drop(NULL);
}

static void a_configuration_needs_a_server_name(void **state)
{
	struct engine_note *note = engine_note_new();
	struct pki_files files;
	nng_tls_config *config;
	struct pki pki;
	struct err e;

	pki_open(&pki, "prod");
	pki_issue(&pki, &files, TLS_ROLE_AGENT, "web-1");
	assert_int_equal(engine_register(&e), E_OK);
	assert_int_equal(engine_config_new(&config, &files.files, "", note, &e), E_INVALID);
	assert_int_equal(engine_config_new(&config, &files.files, "c1", note, &e), E_OK);
	/* The rules are ours: nothing can be loosened through libnng. */
	assert_int_not_equal(nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_NONE), 0);
	assert_int_not_equal(nng_tls_config_version(config, NNG_TLS_1_0, NNG_TLS_1_2), 0);
	nng_tls_config_free(config);
	assert_int_not_equal(nng_tls_config_alloc(&config, NNG_TLS_MODE_SERVER), 0);
	engine_note_drop(note);
	pki_close(&pki);
}

/* ---- a loop that is kept busy, by a slow disk for example ---- */

enum { CLOSE_MS = 150, BUSY_MS = 2 * CLOSE_MS, DIALS_MS = 100 };

static struct {
	uv_loop_t loop;
	uv_timer_t begin;
	uv_check_t act; /* after what came was taken: the timers are next */
	struct link *link;
	bool wedged, closed;
} busy;

static void on_wedged(void *arg)
{
	busy.wedged = true;
	uv_stop(&busy.loop);
}

static void on_closed(void *arg)
{
	busy.closed = true;
}

static void close_in_between(uv_check_t *check)
{
	uv_close((uv_handle_t *)check, NULL);
	uv_sleep(BUSY_MS);
	link_close(busy.link, on_closed, NULL);
	uv_sleep(BUSY_MS);
}

static void begin_to_close(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, NULL);
	uv_check_start(&busy.act, close_in_between);
}

/* Takes connections and says nothing, so the link goes on dialing. */
static int silent_listener(char address[32])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	snprintf(address, 32, "127.0.0.1:%u", ntohs(at.sin_port));
	return fd;
}

static void a_loop_that_is_late_does_not_take_libnng_for_wedged(void **state)
{
	char address[32];
	int fd = silent_listener(address);
	const char *const coordinators[] = {address, NULL};
	const struct link_callbacks callbacks = {
		.on_poll_reply = never, .on_reply = never, .on_wedged = on_wedged};
	struct pki_files files;
	struct pki pki;
	struct err e;

	pki_open(&pki, "prod");
	pki_issue(&pki, &files, TLS_ROLE_AGENT, "web-1");
	uv_loop_init(&busy.loop);
	uv_timer_init(&busy.loop, &busy.begin);
	uv_check_init(&busy.loop, &busy.act);
	const struct link_config config = {
		.coordinators = coordinators, .tls = files.files, .close_timeout_ms = CLOSE_MS};
	assert_int_equal(link_open(&busy.link, &busy.loop, &config, &callbacks, &e), E_OK);
	uv_timer_start(&busy.begin, begin_to_close, DIALS_MS, 0);
	uv_run(&busy.loop, UV_RUN_DEFAULT);
	assert_false(busy.wedged);
	assert_true(busy.closed);
	assert_int_equal(uv_loop_close(&busy.loop), 0);
	close(fd);
	pki_close(&pki);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_link_machine_is_well_formed),
		cmocka_unit_test(what_no_retry_can_mend_is_an_error_at_once),
		cmocka_unit_test(a_new_note_has_no_reason),
		cmocka_unit_test(a_configuration_needs_a_server_name),
		cmocka_unit_test(a_loop_that_is_late_does_not_take_libnng_for_wedged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
