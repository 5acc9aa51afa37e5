#include "tests/lib/test.h"
#include "coordinator/state/codec.h"
#include "tests/lib/fleet.h"

static struct task sample_task(void)
{
	return (struct task){.deployment = {7},
			     .host = test_name("eu-1"),
			     .wave = 2,
			     .position = 3,
			     .state = TASK_FAILED,
			     .direction = DIRECTION_BACK,
			     .from = test_target("1.0"),
			     .touched = true,
			     .seq = 9,
			     .fence = {1, 2, 3},
			     .attempts = 2,
			     .cause = CAUSE_INFRA,
			     .reason = "why",
			     .evidence = {.boot_hi = 1, .activation = 4, .measured_ms = 5, .passes = 6},
			     .assigned_at = {10},
			     .state_since = {11},
			     .deadline = {12}};
}

static void a_task_comes_back_field_by_field(void **state)
{
	struct arena a;
	struct buf b;
	struct task t = sample_task(), u;
	arena_init(&a);
	buf_init(&b);
	task_encode(&b, &t);
	assert_int_equal(task_decode(&a, b.data, b.len, &u), E_OK);
	assert_string_equal(u.reason, "why");
	t.reason = u.reason = NULL;
	assert_memory_equal(&t, &u, sizeof t);
	buf_done(&b);
	arena_done(&a);
}

static void a_cut_row_is_corrupt_or_shorter_but_never_a_crash(void **state)
{
	struct arena a;
	struct buf b;
	struct task t = sample_task(), u;
	arena_init(&a);
	buf_init(&b);
	task_encode(&b, &t);
	for (size_t n = 0; n < b.len; n++)
		if (task_decode(&a, b.data, n, &u) == E_OK)
			assert_true(u.state > 0);
	buf_done(&b);
	arena_done(&a);
}

static void a_state_that_is_none_is_corrupt(void **state)
{
	struct arena a;
	struct buf b;
	struct task t = sample_task(), u;
	arena_init(&a);
	buf_init(&b);
	t.state = TASK_STATE_NR;
	task_encode(&b, &t);
	assert_int_equal(task_decode(&a, b.data, b.len, &u), E_CORRUPT);
	buf_done(&b);
	arena_done(&a);
}

static void labels_must_be_sorted(void **state)
{
	struct arena a;
	struct buf b;
	struct label v[] = {{"b", "1"}, {"a", "2"}};
	struct host h = {.name = test_name("x"), .region = test_name("eu"), .labels = {v, 2}}, u;
	arena_init(&a);
	buf_init(&b);
	host_encode(&b, &h);
	assert_int_equal(host_decode(&a, b.data, b.len, &u), E_CORRUPT);
	buf_done(&b);
	arena_done(&a);
}

static void a_command_of_an_unknown_kind_stops_the_node(void **state)
{
	struct arena a;
	struct command c;
	static const uint8_t only_a_time[] = {0x08, 0x05};
	arena_init(&a);
	assert_int_equal(command_decode(&a, only_a_time, sizeof only_a_time, &c), E_VERSION);
	assert_int_equal(command_decode(&a, (const uint8_t *)"\xff\xff", 2, &c), E_CORRUPT);
	arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_task_comes_back_field_by_field),
		cmocka_unit_test(a_cut_row_is_corrupt_or_shorter_but_never_a_crash),
		cmocka_unit_test(a_state_that_is_none_is_corrupt),
		cmocka_unit_test(labels_must_be_sorted),
		cmocka_unit_test(a_command_of_an_unknown_kind_stops_the_node),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
