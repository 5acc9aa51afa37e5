#include "agent/host/blame.h"

#include "tests/lib/test.h"

static const enum agent_hook none = (enum agent_hook)0;

static void what_the_file_names_and_cannot_be_started_is_the_versions(void **state)
{
	static const int codes[] = {E_INVALID, E_NOT_FOUND, E_DENIED, E_TOO_LARGE, E_SPEC};
	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		assert_int_equal(blame_of_start(codes[i]), STEP_CAUSE_VERSION);
}

/* exec's own file of what runs, a newer assignment, what another activation left, exec too old or away. */
static void what_the_host_and_exec_cannot_do_is_not(void **state)
{
	static const int codes[] = {E_CORRUPT, E_FENCED, E_CONFLICT, E_STALE,	    E_UNSUPPORTED, E_VERSION,
				    E_IO,      E_NOMEM,	 E_NO_SPACE, E_UNAVAILABLE, E_PROTOCOL,	   E_TIMEOUT};
	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		assert_int_equal(blame_of_start(codes[i]), STEP_CAUSE_INFRA);
}

static void a_command_to_the_balancer_never_blames_the_version_and_is_retried(void **state)
{
	static const int codes[] = {E_OK, E_TIMEOUT, E_NOT_FOUND, E_INVALID};
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		assert_int_equal(blame_of_command(AGENT_DRAIN, none, codes[i]), STEP_CAUSE_INFRA);
		assert_int_equal(blame_of_command(AGENT_UNDRAIN, none, codes[i]), STEP_CAUSE_INFRA);
	}
	assert_int_equal(err_class(blame_code_of_exit(AGENT_DRAIN)), ERR_TRANSIENT);
	assert_int_equal(err_class(blame_code_of_exit(AGENT_UNDRAIN)), ERR_TRANSIENT);
}

static void the_hooks_around_the_stop_are_of_the_version_before(void **state)
{
	assert_int_equal(blame_of_command(AGENT_HOOK, AGENT_HOOK_BEFORE_STOP, E_OK), STEP_CAUSE_INFRA);
	assert_int_equal(blame_of_command(AGENT_HOOK, AGENT_HOOK_AFTER_STOP, E_TIMEOUT), STEP_CAUSE_INFRA);
}

static void the_other_hooks_are_of_the_new_one_and_no_retry_mends_them(void **state)
{
	static const int codes[] = {E_OK, E_TIMEOUT, E_NOT_FOUND};
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		assert_int_equal(blame_of_command(AGENT_HOOK, AGENT_HOOK_BEFORE_START, codes[i]),
				 STEP_CAUSE_VERSION);
		assert_int_equal(blame_of_command(AGENT_HOOK, AGENT_HOOK_AFTER_HEALTHY, codes[i]),
				 STEP_CAUSE_VERSION);
		assert_int_equal(blame_of_command(AGENT_PROBE, none, codes[i]), STEP_CAUSE_VERSION);
	}
	assert_int_equal(blame_of_command(AGENT_HOOK, AGENT_HOOK_BEFORE_START, E_IO), STEP_CAUSE_INFRA);
	assert_int_equal(blame_code_of_exit(AGENT_HOOK), E_INVALID);
	assert_int_equal(blame_code_of_exit(AGENT_PROBE), E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_file_names_and_cannot_be_started_is_the_versions),
		cmocka_unit_test(what_the_host_and_exec_cannot_do_is_not),
		cmocka_unit_test(a_command_to_the_balancer_never_blames_the_version_and_is_retried),
		cmocka_unit_test(the_hooks_around_the_stop_are_of_the_version_before),
		cmocka_unit_test(the_other_hooks_are_of_the_new_one_and_no_retry_mends_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
