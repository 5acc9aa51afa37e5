#include "tests/unit/agent_core/fake.h"

static struct fake f;

static int fresh(void **state)
{
	fake_init(&f);
	return 0;
}

/* Target 1 is healthy and served. */
static int serving(void **state)
{
	fake_init(&f);
	fake_assign(&f, fake_assignment(1, 1, 0));
	return f.result.state == STEP_HEALTHY ? 0 : -1;
}

static bool runs(uint8_t n)
{
	struct digest want = fake_target(n).id;
	return digest_eq(&f.runs, &want) && digest_eq(&f.result.running, &want);
}

static void wait_for_result(uint64_t seq)
{
	for (int i = 0; i < 40 && f.result.seq != seq && f.out.next_at.v > f.now; i++)
		fake_timer(&f);
	assert_int_equal(f.result.seq, seq);
}

static void a_first_release_becomes_healthy_with_evidence(void **state)
{
	fake_assign(&f, fake_assignment(1, 1, 0));
	assert_int_equal(f.result.state, STEP_HEALTHY);
	assert_true(runs(1) && f.in_rotation);
	assert_int_equal(f.accepted, 1);
	assert_int_equal(f.results, 1);
	assert_true(f.result.evidence.measured_ms > f.result.evidence.activated_ms);
	assert_int_equal(f.result.evidence.activation, f.activation);
}

static void a_second_release_takes_the_place_of_the_first(void **state)
{
	fake_assign(&f, fake_assignment(2, 2, 1));
	assert_int_equal(f.result.state, STEP_HEALTHY);
	assert_true(runs(2) && f.in_rotation);
}

static void the_machine_is_well_formed(void **state)
{
	assert_true(sm_well_formed(&agent_sm));
}

static void the_same_assignment_again_changes_nothing_and_is_answered(void **state)
{
	fake_assign(&f, fake_assignment(1, 1, 0));
	assert_int_equal(f.results, 2);
	assert_int_equal(f.starts, 1);
}

static void what_runs_already_is_proven_anew_and_not_restarted(void **state)
{
	struct agent_evidence old = f.result.evidence;
	fake_assign(&f, fake_assignment(2, 1, 0));
	assert_int_equal(f.result.state, STEP_HEALTHY);
	assert_int_equal(f.result.seq, 2);
	assert_int_equal(f.starts, 1);
	assert_true(f.result.evidence.measured_ms > old.measured_ms);
}

static void a_lower_fence_is_refused(void **state)
{
	struct agent_assignment as = fake_assignment(9, 2, 1);
	as.fence.epoch = 0;
	fake_assign(&f, as);
	assert_int_equal(f.result.code, E_FENCED);
	assert_int_equal(f.result.seq, 9);
	assert_true(runs(1));
}

static void a_rollback_ends_reverted(void **state)
{
	fake_assign(&f, fake_assignment(2, 2, 1));
	struct agent_assignment as = fake_assignment(3, 1, 0);
	as.back = true;
	fake_assign(&f, as);
	assert_int_equal(f.result.state, STEP_REVERTED);
	assert_int_equal(f.last_step.to, STEP_REVERTING);
	assert_true(runs(1));
}

static void an_empty_target_stops_the_app(void **state)
{
	fake_assign(&f, fake_assignment(2, 0, 0));
	assert_int_equal(f.result.state, STEP_HEALTHY);
	assert_true(runs(0) && !f.in_rotation);
	assert_true(digest_none(&f.current));
}

static bool keeps(const struct agent_effect *e, uint8_t n)
{
	struct digest want = fake_target(n).artifact;
	for (uint32_t i = 0; i < e->keep_nr; i++)
		if (digest_eq(&e->keep[i], &want))
			return true;
	return false;
}

/* recreate: told to stop with 1 as the fallback, then to start 2 without any. */
static void what_was_stopped_first_stays_on_disk(void **state)
{
	f.hold = AGENT_FREE_SLOTS;
	fake_assign(&f, fake_assignment(2, 0, 1));
	assert_int_equal(f.held.id, 0); /* nothing is freed while nothing runs */
	fake_assign(&f, fake_assignment(3, 2, 0));
	assert_int_equal(f.held.kind, AGENT_FREE_SLOTS);
	assert_true(keeps(&f.held, 1) && keeps(&f.held, 2));
}

static void each_failure_leaves_the_old_release_serving(void **state)
{
	static const enum agent_effect_kind kinds[] = {AGENT_FETCH, AGENT_UNPACK, AGENT_SWAP,
						       AGENT_START, AGENT_PROBE,  AGENT_UNDRAIN};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		assert_int_equal(serving(state), 0);
		fake_fail(&f, kinds[i], 2, E_CORRUPT);
		fake_assign(&f, fake_assignment(2, 2, 1));
		assert_int_equal(f.result.state, STEP_FAILED);
		assert_int_equal(f.result.cause, STEP_CAUSE_VERSION);
		assert_true(runs(1) && f.in_rotation);
	}
}

static void each_hook_that_fails_leaves_the_old_release_serving(void **state)
{
	for (int h = AGENT_HOOK_BEFORE_STOP; h <= AGENT_HOOK_AFTER_HEALTHY; h++) {
		assert_int_equal(serving(state), 0);
		fake_fail(&f, AGENT_HOOK, h <= AGENT_HOOK_AFTER_STOP ? 1 : 2, E_INVALID);
		f.fail_hook = (enum agent_hook)h;
		fake_assign(&f, fake_assignment(2, 2, 1));
		assert_int_equal(f.result.state, STEP_FAILED);
		assert_true(runs(1) && f.in_rotation);
	}
}

static void a_drain_that_fails_leaves_the_old_release_serving_unrestarted(void **state)
{
	fake_fail(&f, AGENT_DRAIN, 1, E_INVALID);
	fake_assign(&f, fake_assignment(2, 2, 1));
	assert_int_equal(f.result.state, STEP_FAILED);
	assert_true(runs(1) && f.in_rotation);
	assert_int_equal(f.starts, 1);
}

/* wavetrain-exec is at it already, for the agent before this one. */
static void a_stop_that_is_under_way_is_waited_for(void **state)
{
	f.hold = AGENT_STOP;
	fake_assign(&f, fake_assignment(2, 2, 1));
	fake_boot(&f);
	f.hold = 0;
	fake_end_held(&f, E_BUSY);
	fake_timer(&f);
	assert_int_equal(f.result.state, STEP_HEALTHY);
	assert_true(runs(2) && f.in_rotation);
}

static void what_cannot_be_stopped_serves_on(void **state)
{
	fake_fail(&f, AGENT_STOP, 1, E_INVALID);
	fake_assign(&f, fake_assignment(2, 2, 1));
	assert_int_equal(f.result.state, STEP_FAILED);
	assert_int_equal(f.result.cause, STEP_CAUSE_VERSION); /* the fake's */
	assert_true(runs(1) && f.in_rotation);
	assert_false(fake_record(&f)->drained);
	assert_int_equal(f.starts, 1);
}

static void what_the_balancer_did_not_take_back_is_put_in_when_it_can(void **state)
{
	fake_fail(&f, AGENT_UNDRAIN, 1, E_UNAVAILABLE);
	f.hold = AGENT_PROBE;
	fake_assign(&f, fake_assignment(2, 2, 1));
	f.hold = 0;
	fake_end_held(&f, E_INVALID);
	wait_for_result(2);
	assert_int_equal(f.result.state, STEP_FAILED);
	for (int i = 0; i < 20; i++)
		fake_timer(&f);
	assert_true(runs(1) && !f.in_rotation);
	f.fail_code = E_OK;
	fake_timer(&f);
	assert_true(f.in_rotation);
	assert_false(fake_record(&f)->drained);
}

/* And when it ended meanwhile, it is started first. */
static void what_was_not_taken_back_and_ended_comes_back_into_rotation(void **state)
{
	fake_fail(&f, AGENT_UNDRAIN, 1, E_UNAVAILABLE);
	f.hold = AGENT_PROBE;
	fake_assign(&f, fake_assignment(2, 2, 1));
	f.hold = 0;
	fake_end_held(&f, E_INVALID);
	wait_for_result(2);
	f.fail_code = E_OK;
	unsigned starts = f.starts;
	fake_reboot(&f);
	fake_timer(&f);
	assert_int_equal(f.starts, starts + 1);
	assert_true(runs(1) && f.in_rotation);
}

/* Else no version after it could ever be deployed. */
static void a_broken_hook_of_what_runs_can_be_left_out(void **state)
{
	static const enum agent_hook around_stop[] = {AGENT_HOOK_BEFORE_STOP, AGENT_HOOK_AFTER_STOP};
	for (size_t i = 0; i < ARRAY_LEN(around_stop); i++) {
		struct agent_assignment as = fake_assignment(3, 2, 1);
		assert_int_equal(serving(state), 0);
		fake_fail(&f, AGENT_HOOK, 1, E_INVALID);
		f.fail_hook = around_stop[i];
		fake_assign(&f, fake_assignment(2, 2, 1));
		assert_int_equal(f.result.state, STEP_FAILED);
		as.skip_stop_hooks = true;
		fake_assign(&f, as);
		assert_int_equal(f.result.seq, 3);
		assert_int_equal(f.result.state, STEP_HEALTHY);
	}
}

/* Of recreate: the order names no place to go to by itself, and what it may be told to run again stays. */
static void what_a_rollback_would_bring_back_stays_on_disk(void **state)
{
	struct agent_assignment as = fake_assignment(2, 2, 0);
	memset(as.keep.b, 9, DIGEST_LEN);
	f.hold = AGENT_FREE_SLOTS;
	fake_assign(&f, as);
	bool kept = false;
	for (uint32_t i = 0; i < f.held.keep_nr; i++)
		kept = kept || digest_eq(&f.held.keep[i], &as.keep);
	assert_true(kept);
}

static void without_a_fallback_a_failed_release_is_stopped(void **state)
{
	fake_fail(&f, AGENT_PROBE, 1, E_INVALID);
	fake_assign(&f, fake_assignment(1, 1, 0));
	assert_int_equal(f.result.state, STEP_FAILED);
	assert_true(runs(0) && !f.in_rotation);
}

static void a_newer_assignment_overtakes_a_fetch(void **state)
{
	f.hold = AGENT_FETCH;
	fake_assign(&f, fake_assignment(2, 2, 1));
	struct agent_effect late = f.held;
	f.hold = 0;
	fake_assign(&f, fake_assignment(3, 3, 1));
	assert_int_equal(f.cancels, 1);
	assert_true(runs(3));
	f.held = late;
	fake_end_held(&f, E_CORRUPT); /* late: ignored */
	assert_int_equal(f.result.seq, 3);
	assert_int_equal(f.result.state, STEP_HEALTHY);
}

static void a_newer_assignment_waits_for_a_swap_to_end(void **state)
{
	f.hold = AGENT_SWAP;
	fake_assign(&f, fake_assignment(2, 2, 1));
	fake_assign(&f, fake_assignment(3, 3, 1));
	assert_int_equal(f.cancels, 0);
	f.hold = 0;
	fake_end_held(&f, E_OK);
	assert_int_equal(f.result.seq, 3);
	assert_true(runs(3) && f.in_rotation);
}

static void going_back_to_what_was_drained_needs_no_restart(void **state)
{
	f.hold = AGENT_DRAIN;
	fake_assign(&f, fake_assignment(2, 2, 1));
	f.hold = 0;
	struct agent_assignment as = fake_assignment(3, 1, 0);
	as.back = true;
	fake_assign(&f, as);
	fake_end_held(&f, E_OK);
	assert_int_equal(f.result.state, STEP_REVERTED);
	assert_true(runs(1) && f.in_rotation);
	assert_int_equal(f.starts, 1);
}

static void evidence_of_an_older_activation_does_not_count(void **state)
{
	f.hold = AGENT_PROBE;
	fake_assign(&f, fake_assignment(2, 2, 1));
	f.activation--;
	fake_end_held(&f, E_OK);
	assert_int_equal(fake_record(&f)->state, AGENT_PROBING);
	f.activation++;
	fake_timer(&f); /* measured again, a little later */
	fake_end_held(&f, E_OK);
	assert_int_equal(f.result.seq, 2);
	assert_int_equal(f.result.state, STEP_HEALTHY);
}

static void a_release_that_keeps_ending_is_started_three_times_and_given_up(void **state)
{
	f.hold = AGENT_PROBE;
	fake_assign(&f, fake_assignment(2, 2, 1));
	fake_status(&f, AGENT_NOT_RUNNING);
	fake_status(&f, AGENT_NOT_RUNNING);
	f.hold = 0;
	fake_status(&f, AGENT_NOT_RUNNING);
	assert_int_equal(f.starts, 1 + 3 + 1);
	assert_int_equal(f.result.state, STEP_FAILED);
	assert_true(runs(1));
}

static void a_fetch_is_tried_again_until_its_time_is_over(void **state)
{
	fake_fail(&f, AGENT_FETCH, 2, E_UNAVAILABLE);
	fake_assign(&f, fake_assignment(2, 2, 1));
	for (int i = 0; i < 40 && f.result.seq != 2; i++)
		fake_timer(&f);
	assert_int_equal(f.result.state, STEP_FAILED);
	assert_true(runs(1) && f.in_rotation);
	assert_int_equal(f.stops, 1);
}

static void an_effect_that_never_ends_is_cancelled_and_fails(void **state)
{
	f.hold = AGENT_PROBE;
	fake_assign(&f, fake_assignment(2, 2, 1));
	f.hold = 0;
	fake_timer(&f);
	assert_int_equal(f.cancels, 1);
	assert_int_equal(f.result.code, E_TIMEOUT);
	assert_int_equal(f.result.cause, STEP_CAUSE_INFRA); /* its probes had time left */
	assert_non_null(strstr(f.result.reason, "time for this host"));
	assert_true(runs(1) && f.in_rotation);
}

static void after_a_reboot_the_last_good_release_is_started_without_a_coordinator(void **state)
{
	fake_reboot(&f);
	assert_int_equal(f.starts, 2);
	assert_true(runs(1));
	assert_int_equal(fake_record(&f)->state, AGENT_HEALTHY);
}

static void a_reboot_during_a_fetch_brings_the_old_release_up_first(void **state)
{
	f.hold = AGENT_FETCH;
	fake_assign(&f, fake_assignment(2, 2, 1));
	fake_reboot(&f);
	struct digest one = fake_target(1).id;
	assert_true(digest_eq(&f.runs, &one));
	assert_int_equal(fake_record(&f)->state, AGENT_ACKED);
}

/* The program is gone and START of target 1 fails from now on; exec says so. */
static void lose_what_runs(int code)
{
	fake_fail(&f, AGENT_START, 1, code);
	memset(&f.runs, 0, sizeof(f.runs));
	fake_status(&f, AGENT_NOT_RUNNING);
}

static void what_cannot_be_started_again_is_replaced_all_the_same(void **state)
{
	static const int codes[] = {E_CORRUPT, E_UNAVAILABLE};
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		assert_int_equal(serving(state), 0);
		lose_what_runs(codes[i]);
		fake_timer(&f);
		fake_assign(&f, fake_assignment(2, 2, 1));
		wait_for_result(2);
		assert_int_equal(f.result.state, STEP_HEALTHY);
		assert_true(runs(2) && f.in_rotation);
		assert_int_equal(f.starts, 2);
	}
}

static void what_ends_during_a_fetch_and_cannot_be_started_does_not_hold_it_up(void **state)
{
	f.hold = AGENT_FETCH;
	fake_assign(&f, fake_assignment(2, 2, 1));
	f.hold = 0;
	lose_what_runs(E_CORRUPT);
	wait_for_result(2);
	assert_int_equal(f.result.state, STEP_HEALTHY);
	assert_true(runs(2) && f.in_rotation);
}

static void the_time_of_a_host_runs_out_whatever_does_not_start(void **state)
{
	lose_what_runs(E_CORRUPT);
	f.hold = AGENT_FETCH;
	fake_assign(&f, fake_assignment(2, 2, 1));
	wait_for_result(2);
	assert_int_equal(f.result.code, E_TIMEOUT);
	assert_int_equal(f.result.cause, STEP_CAUSE_INFRA);
}

static void what_could_not_be_started_is_tried_until_it_can(void **state)
{
	lose_what_runs(E_CORRUPT);
	f.hold = AGENT_FETCH;
	fake_assign(&f, fake_assignment(2, 2, 1));
	f.hold = 0;
	fake_end_held(&f, E_CORRUPT);
	assert_int_equal(f.result.state, STEP_FAILED);
	struct digest one = fake_target(1).id;
	assert_false(digest_eq(&f.runs, &one));
	f.fail_code = E_OK;
	fake_timer(&f);
	assert_true(digest_eq(&f.runs, &one));
}

/* Whether the program had anything to do with it, nobody can say: exec did not answer. */
static void an_agent_that_keeps_dying_at_a_start_blames_no_version(void **state)
{
	f.hold = AGENT_START;
	fake_assign(&f, fake_assignment(2, 2, 0));
	for (int i = 0; i < 3; i++)
		fake_boot(&f);
	assert_int_equal(fake_record(&f)->cause, STEP_CAUSE_INFRA);
	assert_non_null(strstr(fake_record(&f)->reason, "started too often"));
}

static void an_agent_restart_does_not_touch_a_healthy_program(void **state)
{
	fake_boot(&f);
	fake_status(&f, AGENT_RUNNING);
	assert_int_equal(f.starts, 1);
	assert_int_equal(f.stops, 1);
	assert_int_equal(f.results, 2);
}

static void a_damaged_journal_waits_for_exec_and_proves_again(void **state)
{
	memset(&f.disk, 0, sizeof(f.disk));
	f.disk.app = (struct name){"shop"};
	f.disk.state = AGENT_IDLE;
	f.disk.unknown = true;
	fake_boot(&f);
	fake_assign(&f, fake_assignment(2, 1, 0));
	assert_int_equal(f.results, 1);
	fake_status(&f, AGENT_RUNNING);
	assert_int_equal(f.results, 2);
	assert_int_equal(f.starts, 1);
	assert_true(runs(1));
}

static void a_lost_journal_is_as_good_as_a_damaged_one(void **state)
{
	f.on_disk = false;
	fake_boot(&f);
	fake_status(&f, AGENT_RUNNING);
	fake_assign(&f, fake_assignment(2, 1, 0));
	assert_int_equal(f.results, 2);
	assert_int_equal(f.starts, 1);
	assert_int_equal(f.stops, 1);
	assert_true(runs(1));
}

/* Dies after journal write number n, with each failure there may be; the end must be the same as without
 * dying. */
static void crash_everywhere(enum agent_effect_kind fail, int code)
{
	for (int n = 0; n < 40; n++) {
		assert_int_equal(serving(NULL), 0);
		fake_fail(&f, fail, 2, code);
		f.crash_after = n;
		fake_assign(&f, fake_assignment(2, 2, 1));
		bool good = code == E_OK;
		assert_int_equal(f.result.seq, 2);
		assert_int_equal(f.result.state, good ? STEP_HEALTHY : STEP_FAILED);
		assert_true(runs(good ? 2 : 1) && f.in_rotation);
	}
}

static void dying_after_any_journal_write_ends_the_same(void **state)
{
	crash_everywhere(AGENT_FETCH, E_OK);
	crash_everywhere(AGENT_FETCH, E_CORRUPT);
	crash_everywhere(AGENT_PROBE, E_INVALID);
	crash_everywhere(AGENT_START, E_INVALID);
	crash_everywhere(AGENT_UNDRAIN, E_INVALID);
}

static void each_state_has_exactly_one_next_action(void **state)
{
	static const enum agent_effect_kind want[AGENT_STATE_NR] = {
		[AGENT_ACKED] = AGENT_FETCH,	   [AGENT_FETCHED] = AGENT_UNPACK,
		[AGENT_STAGED] = AGENT_HOOK,	   [AGENT_LEAVING] = AGENT_DRAIN,
		[AGENT_DRAINED] = AGENT_STOP,	   [AGENT_STOPPED] = AGENT_HOOK,
		[AGENT_CLEARED] = AGENT_SWAP,	   [AGENT_SWAPPED] = AGENT_HOOK,
		[AGENT_STARTING] = AGENT_START,	   [AGENT_PROBING] = AGENT_PROBE,
		[AGENT_PROVEN] = AGENT_UNDRAIN,	   [AGENT_SERVING] = AGENT_HOOK,
		[AGENT_HALTING] = AGENT_STOP,	   [AGENT_HEALTHY] = AGENT_FREE_SLOTS,
		[AGENT_FAILED] = AGENT_FREE_SLOTS,
	};
	struct agent_record r = {.to = fake_target(2), .runs = fake_target(1)};
	for (int s = AGENT_IDLE; s < AGENT_STATE_NR; s++) {
		r.state = (enum agent_state)s;
		assert_int_equal(agent_action(&r), want[s]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_machine_is_well_formed),
		cmocka_unit_test(each_state_has_exactly_one_next_action),
		cmocka_unit_test_setup(a_first_release_becomes_healthy_with_evidence, fresh),
		cmocka_unit_test_setup(a_second_release_takes_the_place_of_the_first, serving),
		cmocka_unit_test_setup(the_same_assignment_again_changes_nothing_and_is_answered, serving),
		cmocka_unit_test_setup(what_runs_already_is_proven_anew_and_not_restarted, serving),
		cmocka_unit_test_setup(a_lower_fence_is_refused, serving),
		cmocka_unit_test_setup(a_rollback_ends_reverted, serving),
		cmocka_unit_test_setup(an_empty_target_stops_the_app, serving),
		cmocka_unit_test_setup(what_was_stopped_first_stays_on_disk, serving),
		cmocka_unit_test(each_failure_leaves_the_old_release_serving),
		cmocka_unit_test(each_hook_that_fails_leaves_the_old_release_serving),
		cmocka_unit_test_setup(a_drain_that_fails_leaves_the_old_release_serving_unrestarted,
				       serving),
		cmocka_unit_test_setup(a_stop_that_is_under_way_is_waited_for, serving),
		cmocka_unit_test_setup(what_cannot_be_stopped_serves_on, serving),
		cmocka_unit_test_setup(what_the_balancer_did_not_take_back_is_put_in_when_it_can, serving),
		cmocka_unit_test_setup(what_was_not_taken_back_and_ended_comes_back_into_rotation, serving),
		cmocka_unit_test(a_broken_hook_of_what_runs_can_be_left_out),
		cmocka_unit_test_setup(what_a_rollback_would_bring_back_stays_on_disk, serving),
		cmocka_unit_test_setup(without_a_fallback_a_failed_release_is_stopped, fresh),
		cmocka_unit_test_setup(a_newer_assignment_overtakes_a_fetch, serving),
		cmocka_unit_test_setup(a_newer_assignment_waits_for_a_swap_to_end, serving),
		cmocka_unit_test_setup(going_back_to_what_was_drained_needs_no_restart, serving),
		cmocka_unit_test_setup(evidence_of_an_older_activation_does_not_count, serving),
		cmocka_unit_test_setup(a_release_that_keeps_ending_is_started_three_times_and_given_up,
				       serving),
		cmocka_unit_test_setup(a_fetch_is_tried_again_until_its_time_is_over, serving),
		cmocka_unit_test_setup(an_effect_that_never_ends_is_cancelled_and_fails, serving),
		cmocka_unit_test_setup(after_a_reboot_the_last_good_release_is_started_without_a_coordinator,
				       serving),
		cmocka_unit_test_setup(a_reboot_during_a_fetch_brings_the_old_release_up_first, serving),
		cmocka_unit_test(what_cannot_be_started_again_is_replaced_all_the_same),
		cmocka_unit_test_setup(what_ends_during_a_fetch_and_cannot_be_started_does_not_hold_it_up,
				       serving),
		cmocka_unit_test_setup(the_time_of_a_host_runs_out_whatever_does_not_start, serving),
		cmocka_unit_test_setup(what_could_not_be_started_is_tried_until_it_can, serving),
		cmocka_unit_test_setup(an_agent_that_keeps_dying_at_a_start_blames_no_version, serving),
		cmocka_unit_test_setup(an_agent_restart_does_not_touch_a_healthy_program, serving),
		cmocka_unit_test_setup(a_damaged_journal_waits_for_exec_and_proves_again, serving),
		cmocka_unit_test_setup(a_lost_journal_is_as_good_as_a_damaged_one, serving),
		cmocka_unit_test(dying_after_any_journal_write_ends_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
