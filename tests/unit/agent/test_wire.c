#include "agent/wire.h"
#include "tests/lib/test.h"

static uint8_t one[32] = {1}, two[32] = {2}, spec[] = "{}";
static Wavetrain__Agent__Fence fence;
static Wavetrain__Agent__Target target;
static Wavetrain__Agent__Assignment as;
static Wavetrain__Agent__Assignment *list[] = {&as};
static Wavetrain__Agent__Desired desired;
static struct arena arena;

static int begin(void **state)
{
	arena_init(&arena);
	wavetrain__agent__fence__init(&fence);
	wavetrain__agent__target__init(&target);
	wavetrain__agent__assignment__init(&as);
	wavetrain__agent__desired__init(&desired);
	fence.generation = fence.term = fence.epoch = 3;
	target.id = target.spec_digest = (ProtobufCBinaryData){32, one};
	target.artifact = (ProtobufCBinaryData){32, two};
	target.version = (char *)(uintptr_t) "1.8";
	target.type = (char *)(uintptr_t) "tar.zst";
	target.spec = (ProtobufCBinaryData){2, spec};
	as.app = (char *)(uintptr_t) "shop";
	as.seq = 4;
	as.deadline_ms = 540000;
	as.skip_stop_hooks = true;
	as.keep_artifact = (ProtobufCBinaryData){32, two};
	as.fault_cap_ms = 1800000;
	as.fence = &fence;
	as.target = &target;
	desired.assignments = list;
	desired.n_assignments = 1;
	desired.up_to_seq = 4;
	return 0;
}

static int end(void **state)
{
	arena_done(&arena);
	return 0;
}

static int decode(struct wire_desired *out)
{
	return wire_desired_decode(&arena, &desired, out, NULL);
}

static void an_assignment_is_taken_as_it_is(void **state)
{
	struct wire_desired d;
	assert_int_equal(decode(&d), E_OK);
	assert_int_equal(d.nr, 1);
	assert_string_equal(d.assignments[0].app.s, "shop");
	assert_int_equal(d.assignments[0].fence.epoch, 3);
	assert_int_equal(d.assignments[0].deadline_ms, 540000);
	assert_int_equal(d.assignments[0].fault_cap_ms, 1800000);
	assert_true(d.assignments[0].skip_stop_hooks);
	assert_memory_equal(d.assignments[0].keep.b, two, sizeof(two));
	assert_string_equal(d.assignments[0].target.type, "tar.zst");
	assert_true(digest_none(&d.assignments[0].fallback.id));
	assert_int_equal(d.texts[0].spec_len, 2);
	assert_int_equal(d.texts[1].spec_len, 0);
}

static void a_broken_assignment_is_refused(void **state)
{
	struct wire_desired d;
	as.fence = NULL;
	assert_int_equal(decode(&d), E_PROTOCOL);
	as.fence = &fence;
	as.app = (char *)(uintptr_t) "../etc";
	assert_int_equal(decode(&d), E_PROTOCOL);
	as.app = (char *)(uintptr_t) "shop";
	target.artifact.len = 31;
	assert_int_equal(decode(&d), E_PROTOCOL);
	target.artifact.len = 32;
	target.type = (char *)(uintptr_t) "zip";
	assert_int_equal(decode(&d), E_PROTOCOL);
	target.type = (char *)(uintptr_t) "tar.gz";
	assert_int_equal(decode(&d), E_OK);
	as.keep_artifact.len = 31;
	assert_int_equal(decode(&d), E_PROTOCOL);
	as.keep_artifact.len = 32;
	as.fault_cap_ms = UINT64_MAX;
	assert_int_equal(decode(&d), E_PROTOCOL);
}

static void a_result_keeps_its_numbers(void **state)
{
	struct agent_report r = {.kind = AGENT_REPORT_RESULT,
				 .app = {"shop"},
				 .seq = 4,
				 .state = STEP_HEALTHY,
				 .reason = "why"};
	r.evidence = (struct agent_evidence){.target = {{1}},
					     .boot = {5, 6},
					     .activation = 7,
					     .activated_ms = 8,
					     .measured_ms = 9,
					     .passes = 3};
	struct buf b;
	buf_init(&b);
	wire_chunk_encode(&r, 12, (struct wall_ms){34}, &b);
	Wavetrain__Agent__Chunk *c = wavetrain__agent__chunk__unpack(NULL, b.len, b.data);
	assert_non_null(c);
	assert_int_equal(c->number, 12);
	assert_int_equal(c->what_case, WAVETRAIN__AGENT__CHUNK__WHAT_RESULT);
	assert_int_equal(c->result->state, STEP_HEALTHY);
	assert_string_equal(c->result->reason, "why");
	assert_int_equal(c->result->evidence->activation, 7);
	assert_int_equal(get_u64(c->result->evidence->boot_id.data + 8), 6);
	assert_int_equal(c->result->running.len, 0);
	wavetrain__agent__chunk__free_unpacked(c, NULL);
	buf_done(&b);
}

static void lines_keep_their_work_and_what_was_dropped(void **state)
{
	static const char *const lines[] = {"one", "two"};
	const struct tail_batch batch = {"output", lines, 2, 7};
	const struct name app = {"shop"};
	struct buf b;
	buf_init(&b);
	wire_log_encode(&app, 4, 5, (struct trace_id){6, 7}, &batch, 12, (struct wall_ms){34}, &b);
	Wavetrain__Agent__Chunk *c = wavetrain__agent__chunk__unpack(NULL, b.len, b.data);
	assert_non_null(c);
	assert_int_equal(c->what_case, WAVETRAIN__AGENT__CHUNK__WHAT_LOG);
	assert_string_equal(c->app, "shop");
	assert_int_equal(c->number, 12);
	assert_int_equal(c->seq, 4);
	assert_int_equal(c->deployment, 5);
	assert_int_equal(c->at_wall_ms, 34);
	assert_int_equal(get_u64(c->trace_id.data + 8), 7);
	assert_string_equal(c->log->stream, "output");
	assert_int_equal(c->log->n_lines, 2);
	assert_string_equal(c->log->lines[1], "two");
	assert_int_equal(c->log->dropped, 7);
	wavetrain__agent__chunk__free_unpacked(c, NULL);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_assignment_is_taken_as_it_is, begin, end),
		cmocka_unit_test_setup_teardown(a_broken_assignment_is_refused, begin, end),
		cmocka_unit_test(a_result_keeps_its_numbers),
		cmocka_unit_test(lines_keep_their_work_and_what_was_dropped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
