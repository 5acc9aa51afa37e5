#include "tests/unit/agent_core/fake.h"

/* D3: what stops the clock of a host (docs/decisions/0012). fake_assignment gives it ten minutes. */
enum { TIME = 600000, CAP = 300000 };

static struct fake f;
static int64_t began;

/* Target 1 is healthy and served; 2 is assigned, and `kind` fails with `code`. */
static void assign_while_fails(enum agent_effect_kind kind, int code)
{
	struct agent_assignment as = fake_assignment(2, 2, 1);
	as.fault_cap_ms = CAP;
	fake_init(&f);
	fake_assign(&f, fake_assignment(1, 1, 0));
	assert_int_equal(f.result.state, STEP_HEALTHY);
	fake_fail(&f, kind, kind == AGENT_DRAIN ? 1 : 2, code);
	fake_assign(&f, as);
	began = fake_record(&f)->accepted_ms;
}

static void pass_until(int64_t at)
{
	while (f.result.seq != 2 && f.out.next_at.v > 0 && f.out.next_at.v <= at)
		fake_timer(&f);
}

static const struct {
	enum agent_effect_kind kind;
	int code;
} faults[] = {{AGENT_FETCH, E_UNAVAILABLE},
	      {AGENT_FETCH, E_TIMEOUT},
	      {AGENT_DRAIN, E_BUSY},
	      {AGENT_DRAIN, E_UNAVAILABLE},
	      {AGENT_UNDRAIN, E_TIMEOUT}};

static void it_stands_while_store_network_or_balancer_fail(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		assign_while_fails(faults[i].kind, faults[i].code);
		pass_until(began + TIME + CAP - 130000); /* the last wait is two minutes */
		assert_int_not_equal(f.result.seq, 2);
		assert_true(agent_fault_ms(fake_record(&f), (struct mono_ms){f.now}) > TIME / 2);
		f.fail_code = E_OK;
		fake_timer(&f);
		assert_int_equal(f.result.seq, 2);
		assert_int_equal(f.result.state, STEP_HEALTHY);
		assert_int_equal(fake_record(&f)->fault_since_ms, 0);
	}
}

static void it_stands_no_longer_than_the_cap_and_the_fault_is_the_reason(void **state)
{
	assign_while_fails(AGENT_FETCH, E_UNAVAILABLE);
	pass_until(began + TIME + CAP - 1);
	assert_int_not_equal(f.result.seq, 2);
	pass_until(began + TIME + CAP);
	assert_int_equal(f.result.seq, 2);
	assert_int_equal(f.result.state, STEP_FAILED);
	assert_int_equal(f.result.cause, STEP_CAUSE_INFRA);
	assert_non_null(strstr(f.result.reason, err_text(E_UNAVAILABLE)));
}

static void the_hosts_own_disk_does_not_stop_it(void **state)
{
	assign_while_fails(AGENT_FETCH, E_NO_SPACE);
	pass_until(began + TIME);
	assert_int_equal(f.result.seq, 2);
	assert_int_equal(f.result.state, STEP_FAILED);
}

static void only_the_time_of_the_fault_is_given_back(void **state)
{
	assign_while_fails(AGENT_FETCH, E_UNAVAILABLE);
	pass_until(began + 100000);
	int64_t since = fake_record(&f)->fault_since_ms;
	f.fail_code = E_OK;
	f.hold = AGENT_PROBE;
	fake_timer(&f);
	int64_t lasted = fake_record(&f)->fault_ms;
	assert_true(since > began && lasted > 30000 && lasted <= f.now - since);
	assert_int_equal(f.held.kind, AGENT_PROBE);
	assert_int_equal(f.held.deadline.v, began + TIME + lasted);
}

static void an_agent_restart_does_not_forget_it(void **state)
{
	assign_while_fails(AGENT_FETCH, E_UNAVAILABLE);
	pass_until(began + 100000);
	int64_t since = fake_record(&f)->fault_since_ms;
	assert_true(since > 0);
	f.now += 60000;
	fake_boot(&f);
	assert_int_equal(fake_record(&f)->fault_since_ms, since);
	assert_int_equal(agent_fault_ms(fake_record(&f), (struct mono_ms){f.now}), f.now - since);
}

static void a_reboot_and_a_newer_assignment_begin_anew(void **state)
{
	assign_while_fails(AGENT_FETCH, E_UNAVAILABLE);
	pass_until(began + 100000);
	fake_assign(&f, fake_assignment(3, 3, 1));
	assert_int_equal(f.result.seq, 3);
	assert_int_equal(fake_record(&f)->fault_ms, 0);
	assign_while_fails(AGENT_FETCH, E_UNAVAILABLE);
	pass_until(began + 100000);
	f.hold = AGENT_FETCH;
	fake_reboot(&f);
	assert_int_equal(agent_fault_ms(fake_record(&f), (struct mono_ms){f.now}), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_stands_while_store_network_or_balancer_fail),
		cmocka_unit_test(it_stands_no_longer_than_the_cap_and_the_fault_is_the_reason),
		cmocka_unit_test(the_hosts_own_disk_does_not_stop_it),
		cmocka_unit_test(only_the_time_of_the_fault_is_given_back),
		cmocka_unit_test(an_agent_restart_does_not_forget_it),
		cmocka_unit_test(a_reboot_and_a_newer_assignment_begin_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
