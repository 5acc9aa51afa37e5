#include "tests/lib/test.h"
#include "base/sm.h"

enum { A = 1, B, C, NR };

static const struct sm_state good[NR] = {
	[A] = {"A", SM_INITIAL, SM_TO(B), "b"},
	[B] = {"B", 0, SM_TO(A) | SM_TO(C), "c"},
	[C] = {"C", SM_TERMINAL, 0, NULL},
};

static void edges_are_what_the_table_says(void **state)
{
	const struct sm m = {"m", good, NR};
	assert_true(sm_well_formed(&m));
	assert_true(sm_edge_allowed(&m, A, B));
	assert_false(sm_edge_allowed(&m, A, C));
	assert_false(sm_edge_allowed(&m, 0, A));
	assert_false(sm_edge_allowed(&m, A, 99));
	assert_string_equal(sm_name(&m, B), "B");
	assert_string_equal(sm_name(&m, 99), "?");
}

static void a_state_without_exit_or_way_in_is_not_well_formed(void **state)
{
	struct sm_state s[NR];
	const struct sm m = {"m", s, NR};
	memcpy(s, good, sizeof s);
	s[B].next = SM_TO(A);
	assert_false(sm_well_formed(&m)); /* C cannot be reached */
	memcpy(s, good, sizeof s);
	s[C].flags = 0;
	assert_false(sm_well_formed(&m)); /* C has no exit and is not terminal */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges_are_what_the_table_says),
		cmocka_unit_test(a_state_without_exit_or_way_in_is_not_well_formed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
