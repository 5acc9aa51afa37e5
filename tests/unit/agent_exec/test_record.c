#include "tests/lib/test.h"

#include "agent/exec/record.h"

static struct exec_record r;
static struct err e;

static void good_start(void)
{
	record_init(&r, EXEC_START, "shop");
	r.digest[0] = 1;
	assert_int_equal(record_add_arg(&r, "bin/shop"), E_OK);
	assert_int_equal(record_add_env(&r, "A=b"), E_OK);
}

static void good_drain(void)
{
	record_init(&r, EXEC_DRAIN, "shop");
	strcpy(r.balancer.socket, "/run/haproxy.sock");
	strcpy(r.balancer.backend, "be");
	strcpy(r.balancer.server, "s1");
}

static void refused(void)
{
	assert_int_equal(record_check(&r, sizeof r, &e), E_INVALID);
}

static void a_good_record_passes(void **s)
{
	good_start();
	assert_int_equal(record_check(&r, sizeof r, &e), E_OK);
	good_drain();
	assert_int_equal(record_check(&r, sizeof r, &e), E_OK);
}

static void a_short_or_foreign_record_is_refused(void **s)
{
	good_start();
	assert_int_equal(record_check(&r, sizeof r - 1, &e), E_PROTOCOL);
	r.magic++;
	assert_int_equal(record_check(&r, sizeof r, &e), E_PROTOCOL);
	good_start();
	r.version++;
	assert_int_equal(record_check(&r, sizeof r, &e), E_VERSION);
	good_start();
	r.op = EXEC_OP_END;
	refused();
}

static void strings_without_an_end_are_refused(void **s)
{
	good_start();
	memset(r.app, 'a', sizeof r.app);
	refused();
	good_start();
	r.argv.bytes[r.argv.len - 1] = 'x';
	refused();
	good_start();
	r.argv.count = 2;
	refused();
	good_start();
	r.env.len = EXEC_ENV_BYTES + 1;
	refused();
}

static void paths_that_climb_are_refused(void **s)
{
	static const char *bad[] = {"../sh", "a/../../sh", "/a/../b", ""};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		record_init(&r, EXEC_START, "shop");
		r.digest[0] = 1;
		assert_int_equal(record_add_arg(&r, bad[i]), E_OK);
		refused();
	}
}

static void listen_variables_cannot_be_forged(void **s)
{
	good_start();
	assert_int_equal(record_add_env(&r, "LISTEN_FDS=9"), E_OK);
	refused();
}

static void no_command_reaches_the_balancer_inside_a_name(void **s)
{
	static const char *bad[] = {"s1;shutdown", "s1\nshow", "s 1", "", "be/s1"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		good_drain();
		strcpy(r.balancer.server, bad[i]);
		refused();
	}
}

static void only_a_start_needs_something_to_run(void **s)
{
	record_init(&r, EXEC_SWAP, "shop"); /* the digest of nothing: remove `current` */
	assert_int_equal(record_check(&r, sizeof r, &e), E_OK);
	good_start();
	memset(r.digest, 0, sizeof r.digest);
	refused();
}

static void a_watch_is_of_all_apps(void **s)
{
	record_init(&r, EXEC_WATCH, "");
	assert_int_equal(record_check(&r, sizeof r, &e), E_OK);
	record_init(&r, EXEC_WATCH, "shop");
	refused();
	record_init(&r, EXEC_STATUS, "");
	refused();
}

static void an_unknown_limit_is_refused(void **s)
{
	good_start();
	r.limits.set = EXEC_LIMIT_CPU;
	assert_int_equal(record_check(&r, sizeof r, &e), E_OK);
	r.limits.set = EXEC_LIMIT_ALL + 1;
	refused();
}

static void an_answer_without_an_end_is_refused(void **s)
{
	struct exec_reply p;
	good_start();
	record_reply_init(&p, &r);
	assert_string_equal(p.app, "shop");
	assert_int_equal(record_reply_check(&p, sizeof p, &e), E_OK);
	memset(p.app, 'a', sizeof p.app);
	assert_int_equal(record_reply_check(&p, sizeof p, &e), E_PROTOCOL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_record_passes),
		cmocka_unit_test(a_short_or_foreign_record_is_refused),
		cmocka_unit_test(strings_without_an_end_are_refused),
		cmocka_unit_test(paths_that_climb_are_refused),
		cmocka_unit_test(listen_variables_cannot_be_forged),
		cmocka_unit_test(no_command_reaches_the_balancer_inside_a_name),
		cmocka_unit_test(only_a_start_needs_something_to_run),
		cmocka_unit_test(a_watch_is_of_all_apps),
		cmocka_unit_test(an_unknown_limit_is_refused),
		cmocka_unit_test(an_answer_without_an_end_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
