#include "tests/lib/test.h"

#include "coordinator/edge/session.h"

static void the_session_machine_is_well_formed(void **state)
{
	assert_true(sm_well_formed(&session_sm));
}

static void nothing_is_heard_after_the_end_began(void **state)
{
	for (int to = SESSION_HANDSHAKE; to <= SESSION_PUBLISHING; to++) {
		assert_false(sm_edge_allowed(&session_sm, SESSION_LINGERING, to));
		assert_false(sm_edge_allowed(&session_sm, SESSION_CLOSING, to));
	}
}

static void requests_need_handshake_and_hello(void **state)
{
	assert_false(sm_edge_allowed(&session_sm, SESSION_HANDSHAKE, SESSION_REPLYING));
	assert_false(sm_edge_allowed(&session_sm, SESSION_HANDSHAKE, SESSION_PUBLISHING));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_session_machine_is_well_formed),
		cmocka_unit_test(nothing_is_heard_after_the_end_began),
		cmocka_unit_test(requests_need_handshake_and_hello),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
