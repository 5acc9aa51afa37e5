#include "tests/lib/test.h"
#include "tests/lib/fleet.h"

static const char *const regions[] = {"eu", "us"};
enum { ONE = 0x0100, TWO = 0x0200 };

static int setup(void **state)
{
	static struct test_fleet f;
	test_fleet_init(&f);
	test_fleet_shop(&f);
	test_fleet_host(&f, "eu-1", "eu");
	test_fleet_host(&f, "us-1", "us");
	test_fleet_release(&f, "shop", "2.0");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	test_fleet_done(*state);
	return 0;
}

/* 1.0 goes to both regions, and eu-1 has been told. */
static void begin_at_eu_1(struct test_fleet *f)
{
	test_fleet_deploy(f, ONE, "shop", "1.0", regions, 2);
	test_fleet_assign(f, ONE, "eu-1", DIRECTION_FORWARD);
}

/* What eu-1 says when it has proven 1.0. */
static struct evidence a_proof(void)
{
	return (struct evidence){.target = test_target("1.0").id,
				 .boot_lo = 7,
				 .activation = 1,
				 .activated_ms = 10,
				 .measured_ms = 20,
				 .passes = 3};
}

static void a_plan_made_before_the_fleet_changed_is_stale(void **state)
{
	struct test_fleet *f = *state;
	uint64_t planned = f->index;
	test_fleet_host(f, "eu-2", "eu");
	struct wave w = {.region = test_name("eu"), .state = WAVE_PENDING};
	struct task t = {.host = test_name("eu-1"), .state = TASK_QUEUED};
	struct command d = {.kind = COMMAND_DEPLOY,
			    .deploy = {.deployment = {.id = {ONE},
						      .app = test_name("shop"),
						      .env = test_name("prod"),
						      .target = test_target("1.0"),
						      .state = ROLLOUT_RUNNING},
				       .spec = "{}",
				       .spec_len = 2,
				       .state_index = planned,
				       .waves = &w,
				       .waves_nr = 1,
				       .tasks = &t,
				       .tasks_nr = 1}};
	assert_int_equal(test_fleet_apply(f, &d), E_STALE);
}

static void an_assignment_has_a_number_a_fence_and_a_fallback(void **state)
{
	struct test_fleet *f = *state;
	assert_int_equal(test_fleet_deploy(f, ONE, "shop", "1.0", regions, 2), E_OK);
	assert_int_equal(test_fleet_assign(f, ONE, "eu-1", DIRECTION_FORWARD), E_OK);
	struct placement p = test_fleet_placement(f, "eu-1", "shop");
	assert_int_equal(p.seq, 1);
	assert_int_equal(p.fence.epoch, f->index);
	assert_string_equal(p.desired.version.s, "1.0");
	assert_true(digest_none(&p.fallback.id));
	assert_int_equal(test_fleet_task(f, ONE, "eu-1").state, TASK_ASSIGNED);
}

static void evidence_of_another_target_proves_nothing(void **state)
{
	struct test_fleet *f = *state;
	begin_at_eu_1(f);
	struct task_result r = {.deployment = {ONE},
				.host = test_name("eu-1"),
				.seq = 1,
				.state = TASK_HEALTHY,
				.reason = "",
				.evidence = {.target = test_target("2.0").id,
					     .boot_lo = 7,
					     .activation = 1,
					     .measured_ms = 20,
					     .passes = 3}};
	struct command c = {.kind = COMMAND_TASK_RESULTS, .results = {.v = &r, .nr = 1}};
	assert_int_equal(test_fleet_apply(f, &c), E_OK);
	assert_int_equal(test_fleet_task(f, ONE, "eu-1").state, TASK_ASSIGNED);
	r.evidence.target = test_target("1.0").id;
	r.evidence.activated_ms = 100; /* measured before it was started */
	test_fleet_apply(f, &c);
	assert_int_equal(test_fleet_task(f, ONE, "eu-1").state, TASK_ASSIGNED);
}

static void a_result_of_an_overtaken_assignment_is_ignored(void **state)
{
	struct test_fleet *f = *state;
	begin_at_eu_1(f);
	assert_int_equal(test_fleet_rollout_to(f, ONE, ROLLOUT_ROLLING_BACK), E_OK);
	assert_int_equal(test_fleet_assign(f, ONE, "eu-1", DIRECTION_BACK), E_OK);
	assert_int_equal(test_fleet_result(f, ONE, "eu-1", TASK_HEALTHY), E_OK);
	assert_int_equal(test_fleet_task(f, ONE, "eu-1").state, TASK_REVERTING);
	test_fleet_result(f, ONE, "eu-1", TASK_REVERTED);
	assert_int_equal(test_fleet_task(f, ONE, "eu-1").state, TASK_REVERTED);
}

static void only_a_whole_rollout_makes_a_version_stable(void **state)
{
	struct test_fleet *f = *state;
	begin_at_eu_1(f);
	test_fleet_result(f, ONE, "eu-1", TASK_HEALTHY);
	struct placement p = test_fleet_placement(f, "eu-1", "shop");
	assert_string_equal(p.current.version.s, "1.0");
	assert_true(digest_none(&p.stable.id));
	assert_int_equal(test_fleet_rollout_to(f, ONE, ROLLOUT_SUCCEEDED), E_OK);
	assert_string_equal(test_fleet_placement(f, "eu-1", "shop").stable.version.s, "1.0");
}

static void a_newer_deployment_supersedes_and_says_who(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_deploy(f, ONE, "shop", "1.0", regions, 2);
	assert_int_equal(test_fleet_deploy(f, TWO, "shop", "2.0", regions, 2), E_OK);
	struct deployment d = test_fleet_deployment(f, ONE);
	assert_int_equal(d.state, ROLLOUT_SUPERSEDED);
	assert_int_equal(d.superseded_by.v, TWO);
	assert_non_null(strstr(d.reason, "2.0"));
}

static void one_that_goes_back_is_not_superseded(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_deploy(f, ONE, "shop", "1.0", regions, 2);
	test_fleet_rollout_to(f, ONE, ROLLOUT_ROLLING_BACK);
	assert_int_equal(test_fleet_deploy(f, TWO, "shop", "2.0", regions, 2), E_CONFLICT);
}

static void a_failed_target_is_refused_until_someone_lifts_the_mark(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_deploy(f, ONE, "shop", "1.0", regions, 2);
	struct command back = {.kind = COMMAND_ROLLOUT_MOVE,
			       .reason = "probes failed",
			       .rollout_move = {.deployment = {ONE},
						.from = ROLLOUT_RUNNING,
						.to = ROLLOUT_ROLLING_BACK,
						.blames_target = true}};
	assert_int_equal(test_fleet_apply(f, &back), E_OK);
	test_fleet_rollout_to(f, ONE, ROLLOUT_ROLLED_BACK);
	assert_int_equal(test_fleet_deploy(f, TWO, "shop", "1.0", regions, 2), E_BAD_DIGEST);
	assert_non_null(strstr(f->reply.text, "probes failed"));
	struct command lift = {.kind = COMMAND_TARGET_RELEASE,
			       .target_release = {.app = test_name("shop"), .target = test_target("1.0").id}};
	assert_int_equal(test_fleet_apply(f, &lift), E_INVALID); /* no reason given */
	lift.reason = "the probe was wrong";
	assert_int_equal(test_fleet_apply(f, &lift), E_OK);
	assert_int_equal(test_fleet_deploy(f, TWO, "shop", "1.0", regions, 2), E_OK);
}

static void a_removed_host_leaves_its_rollout_and_its_placements(void **state)
{
	struct test_fleet *f = *state;
	struct placement p;
	struct name host = test_name("eu-1"), app = test_name("shop");
	begin_at_eu_1(f);
	test_fleet_apply(f, &(struct command){.kind = COMMAND_HOST_REMOVE, .host_remove = host});
	assert_int_equal(test_fleet_task(f, ONE, "eu-1").state, TASK_SKIPPED);
	assert_int_equal(view_placement(f->st, &f->a, &host, &app, &p), E_NOT_FOUND);
}

static struct command a_deploy(struct test_fleet *f, const struct wave *w, const struct task *t,
			       size_t tasks_nr)
{
	return (struct command){.kind = COMMAND_DEPLOY,
				.deploy = {.deployment = {.id = {ONE},
							  .app = test_name("shop"),
							  .env = test_name("prod"),
							  .target = test_target("1.0"),
							  .state = ROLLOUT_RUNNING},
					   .spec = "{}",
					   .spec_len = 2,
					   .state_index = f->index,
					   .waves = w,
					   .waves_nr = 1,
					   .tasks = t,
					   .tasks_nr = tasks_nr}};
}

static void two_hosts_in_one_place_are_refused(void **state)
{
	struct test_fleet *f = *state;
	struct wave w = {.region = test_name("eu"), .state = WAVE_PENDING};
	struct task t[] = {{.host = test_name("eu-1"), .state = TASK_QUEUED},
			   {.host = test_name("us-1"), .state = TASK_QUEUED}};
	struct command d = a_deploy(f, &w, t, 2);
	for (int order = 0; order < 2; order++) {
		assert_int_equal(test_fleet_apply(f, &d), E_INVALID);
		assert_string_equal(f->reply.text, "hosts eu-1 and us-1 have the same place in wave 1");
		t[0].host = test_name("us-1");
		t[1].host = test_name("eu-1");
	}
	t[1].position = 1;
	assert_int_equal(test_fleet_apply(f, &d), E_OK);
}

static void a_result_after_the_host_was_removed_makes_no_placement(void **state)
{
	struct test_fleet *f = *state;
	struct placement p;
	struct name host = test_name("eu-1"), app = test_name("shop");
	begin_at_eu_1(f);
	test_fleet_verb(f, ONE, VERB_ABORT);
	test_fleet_apply(f, &(struct command){.kind = COMMAND_HOST_REMOVE, .host_remove = host});
	test_fleet_host(f, "eu-1", "eu");
	test_fleet_result(f, ONE, "eu-1", TASK_HEALTHY); /* of the machine before it was rebuilt */
	assert_int_equal(view_placement(f->st, &f->a, &host, &app, &p), E_NOT_FOUND);
}

static void a_late_result_of_a_superseded_rollout_does_not_turn_current_back(void **state)
{
	struct test_fleet *f = *state;
	begin_at_eu_1(f);
	test_fleet_deploy(f, TWO, "shop", "2.0", regions, 2);
	test_fleet_assign(f, TWO, "eu-1", DIRECTION_FORWARD);
	test_fleet_result(f, TWO, "eu-1", TASK_HEALTHY);
	test_fleet_result(f, ONE, "eu-1", TASK_HEALTHY);
	assert_string_equal(test_fleet_placement(f, "eu-1", "shop").current.version.s, "2.0");
}

static void a_file_that_is_not_the_one_of_the_target_is_refused(void **state)
{
	struct test_fleet *f = *state;
	struct wave w = {.region = test_name("eu"), .state = WAVE_PENDING};
	struct task t = {.host = test_name("eu-1"), .state = TASK_QUEUED};
	struct command d = a_deploy(f, &w, &t, 1);
	d.deploy.spec = "{ }";
	d.deploy.spec_len = 3;
	assert_int_equal(test_fleet_apply(f, &d), E_INVALID);
	assert_non_null(strstr(f->reply.text, "digest"));
	d = a_deploy(f, &w, &t, 1);
	assert_int_equal(test_fleet_apply(f, &d), E_OK);
}

/* ---- results that count for nothing ---- */

static const struct change *ignored(const struct test_fleet *f)
{
	for (size_t i = 0; i < f->changes.nr; i++)
		if (f->changes.v[i].kind == CHANGE_RESULT_IGNORED)
			return &f->changes.v[i];
	return NULL;
}

static bool count_audit(void *arg, const struct audit_entry *e)
{
	++*(size_t *)arg;
	return true;
}

static size_t audits(struct test_fleet *f)
{
	size_t n = 0;
	view_each_audit(f->st, &f->a, 0, count_audit, &n);
	return n;
}

static int say(struct test_fleet *f, struct task_result r)
{
	r.deployment.v = r.deployment.v == 0 ? ONE : r.deployment.v;
	r.host = test_name("eu-1");
	r.reason = "";
	return test_fleet_apply(
		f, &(struct command){.kind = COMMAND_TASK_RESULTS, .results = {.v = &r, .nr = 1}});
}

static void a_result_that_counts_for_nothing_says_host_number_and_why(void **state)
{
	struct test_fleet *f = *state;
	struct evidence good = a_proof();
	struct evidence old = good, same = good, other = good, none = good, homeless = good;
	old.activated_ms = 25;
	same.activated_ms = 20;
	other.target = test_target("2.0").id;
	none.passes = 0;
	homeless.boot_lo = 0;
	const struct {
		struct task_result r;
		const char *why;
	} cases[] = {
		{{.deployment = {TWO}, .seq = 1, .state = TASK_HEALTHY}, "no task in such a rollout"},
		{{.seq = 7, .state = TASK_HEALTHY, .evidence = good}, "the newest assignment there is 1"},
		{{.seq = 1, .state = TASK_REVERTED}, "does not answer what the host was asked"},
		{{.seq = 1, .state = TASK_HEALTHY, .evidence = other}, "of another target"},
		{{.seq = 1, .state = TASK_HEALTHY, .evidence = none}, "no probe that passed"},
		{{.seq = 1, .state = TASK_HEALTHY, .evidence = old}, "not measured after the activation"},
		{{.seq = 1, .state = TASK_HEALTHY, .evidence = same}, "not measured after the activation"},
		{{.seq = 1, .state = TASK_HEALTHY, .evidence = homeless}, "names no boot"},
	};
	begin_at_eu_1(f);
	size_t before = audits(f);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(say(f, cases[i].r), E_OK);
		const struct change *ch = ignored(f);
		assert_non_null(ch);
		assert_string_equal(ch->host.s, "eu-1");
		assert_int_equal(ch->seq, cases[i].r.seq);
		assert_non_null(strstr(ch->reason, cases[i].why));
		assert_int_equal(test_fleet_task(f, ONE, "eu-1").state, TASK_ASSIGNED);
	}
	assert_int_equal(audits(f), before); /* however often a host says it, the audit does not grow */
	say(f, (struct task_result){.seq = 1, .state = TASK_HEALTHY, .evidence = good});
	assert_int_equal(test_fleet_task(f, ONE, "eu-1").state, TASK_HEALTHY);
}

static void a_result_said_twice_is_said_once(void **state)
{
	struct test_fleet *f = *state;
	begin_at_eu_1(f);
	test_fleet_result(f, ONE, "eu-1", TASK_HEALTHY);
	size_t before = audits(f);
	test_fleet_result(f, ONE, "eu-1", TASK_HEALTHY);
	assert_int_equal(f->changes.nr, 0);
	assert_int_equal(audits(f), before);
}

static void what_was_proven_before_a_host_was_lost_does_not_bring_it_back(void **state)
{
	struct test_fleet *f = *state;
	struct evidence e = a_proof();
	begin_at_eu_1(f);
	say(f, (struct task_result){.seq = 1, .state = TASK_HEALTHY, .evidence = e});
	say(f, (struct task_result){.seq = 1, .state = TASK_LOST, .cause = CAUSE_INFRA});
	assert_int_equal(test_fleet_task(f, ONE, "eu-1").state, TASK_LOST);
	say(f, (struct task_result){.seq = 1, .state = TASK_HEALTHY, .evidence = e});
	assert_string_equal(ignored(f)->reason, "it says again what it had proven before it was lost");
	assert_int_equal(test_fleet_task(f, ONE, "eu-1").state, TASK_LOST);
	e.measured_ms = 30;
	say(f, (struct task_result){.seq = 1, .state = TASK_HEALTHY, .evidence = e});
	assert_int_equal(test_fleet_task(f, ONE, "eu-1").state, TASK_HEALTHY);
}

static void a_result_of_a_task_that_was_given_up_is_told(void **state)
{
	struct test_fleet *f = *state;
	begin_at_eu_1(f);
	test_fleet_result(f, ONE, "eu-1", TASK_FAILED);
	test_fleet_result(f, ONE, "eu-1", TASK_HEALTHY);
	assert_string_equal(ignored(f)->reason, "its task is FAILED by now");
}

/* ---- hosts that come late ---- */

static int join(struct test_fleet *f, const char *host, uint32_t wave)
{
	struct command c = {.kind = COMMAND_TASK_JOIN,
			    .join = {.deployment = {ONE}, .wave = wave, .host = test_name(host)}};
	return test_fleet_apply(f, &c);
}

static int move_wave(struct test_fleet *f, enum wave_state from, enum wave_state to, uint64_t revision)
{
	struct command c = {.kind = COMMAND_WAVE_MOVE,
			    .wave_move = {.deployment = {ONE}, .from = from, .to = to, .revision = revision}};
	return test_fleet_apply(f, &c);
}

static uint64_t revision(struct test_fleet *f)
{
	struct wave w;
	assert_int_equal(view_wave(f->st, &f->a, (struct deployment_id){ONE}, 0, &w), E_OK);
	return w.revision;
}

static void a_decision_made_without_the_newcomer_is_made_anew(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_deploy(f, ONE, "shop", "1.0", regions, 2);
	uint64_t seen = revision(f);
	test_fleet_host(f, "eu-2", "eu");
	assert_int_equal(join(f, "eu-2", 0), E_OK);
	assert_int_equal(move_wave(f, WAVE_PENDING, WAVE_SKIPPED, seen), E_CONFLICT);
	assert_int_equal(move_wave(f, WAVE_PENDING, WAVE_GATED, revision(f)), E_OK);
}

static void a_rollout_does_not_succeed_without_the_newcomer(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_deploy(f, ONE, "shop", "1.0", regions, 2);
	struct command done = {.kind = COMMAND_ROLLOUT_MOVE,
			       .rollout_move = {.deployment = {ONE},
						.from = ROLLOUT_RUNNING,
						.to = ROLLOUT_SUCCEEDED,
						.hosts_nr = 2}};
	test_fleet_host(f, "eu-2", "eu");
	join(f, "eu-2", 0);
	assert_int_equal(test_fleet_apply(f, &done), E_CONFLICT);
	done.rollout_move.hosts_nr = 3;
	assert_int_equal(test_fleet_apply(f, &done), E_OK);
}

static void who_joins_a_failed_wave_is_told_to_wait_for_retry_and_gets_its_turn(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_deploy(f, ONE, "shop", "1.0", regions, 2);
	move_wave(f, WAVE_PENDING, WAVE_GATED, revision(f));
	move_wave(f, WAVE_GATED, WAVE_ROLLING, revision(f));
	assert_int_equal(move_wave(f, WAVE_ROLLING, WAVE_FAILED, revision(f)), E_OK);
	test_fleet_rollout_to(f, ONE, ROLLOUT_HELD);
	test_fleet_host(f, "eu-2", "eu");
	assert_int_equal(join(f, "eu-2", 0), E_OK);
	assert_non_null(strstr(test_fleet_task(f, ONE, "eu-2").reason, "waits for `retry`"));
	assert_int_equal(test_fleet_verb(f, ONE, VERB_RETRY), E_OK);
	assert_int_equal(test_fleet_assign(f, ONE, "eu-2", DIRECTION_FORWARD), E_OK);
}

/* ---- one host, one app, two environments ---- */

static int deploy_in(struct test_fleet *f, const char *env, uint64_t id, const char *const *where, size_t nr)
{
	f->env = env;
	int rc = test_fleet_deploy(f, id, "shop", "1.0", where, nr);
	f->env = NULL;
	return rc;
}

static void select_no_host(struct test_fleet *f, const char *env)
{
	struct label label = {.key = "tier", .value = env};
	struct command c = {
		.kind = COMMAND_ENV_PUT,
		.env = {.name = test_name(env), .configuration = "", .selector = {.v = &label, .nr = 1}}};
	assert_int_equal(test_fleet_apply(f, &c), E_OK);
}

static void two_environments_do_not_roll_out_to_one_host(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_env(f, "staging");
	test_fleet_app(f, "other");
	test_fleet_release(f, "other", "1.0");
	assert_int_equal(deploy_in(f, "prod", ONE, regions, 1), E_OK); /* eu only */
	assert_int_equal(deploy_in(f, "staging", TWO, regions, 2), E_CONFLICT);
	assert_non_null(strstr(f->reply.text, "host eu-1 has a task in r-0000000000000100"));
	assert_non_null(strstr(f->reply.text, "shop in environment prod"));
	assert_int_equal(deploy_in(f, "staging", TWO, regions + 1, 1), E_OK); /* us only */
	f->env = "staging";
	assert_int_equal(test_fleet_deploy(f, 0x0300, "other", "1.0", regions, 2), E_OK);
	f->env = NULL;
}

static void what_another_environment_brought_is_not_overwritten_while_it_selects_the_host(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_env(f, "staging");
	deploy_in(f, "prod", ONE, regions, 1);
	test_fleet_assign(f, ONE, "eu-1", DIRECTION_FORWARD);
	test_fleet_result(f, ONE, "eu-1", TASK_HEALTHY);
	test_fleet_rollout_to(f, ONE, ROLLOUT_SUCCEEDED);
	assert_int_equal(deploy_in(f, "staging", TWO, regions, 1), E_CONFLICT);
	assert_non_null(strstr(f->reply.text, "host eu-1 runs shop of environment prod"));
	select_no_host(f, "prod");
	assert_int_equal(deploy_in(f, "staging", TWO, regions, 1), E_OK);
}

static void a_newcomer_joins_one_environment(void **state)
{
	struct test_fleet *f = *state;
	test_fleet_env(f, "staging");
	deploy_in(f, "prod", ONE, regions, 1);
	deploy_in(f, "staging", TWO, regions + 1, 1);
	test_fleet_host(f, "eu-2", "eu");
	struct command second = {.kind = COMMAND_TASK_JOIN,
				 .join = {.deployment = {TWO}, .host = test_name("eu-2")}};
	assert_int_equal(join(f, "eu-2", 0), E_OK);
	assert_int_equal(test_fleet_apply(f, &second), E_CONFLICT);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_plan_made_before_the_fleet_changed_is_stale),
		CASE(an_assignment_has_a_number_a_fence_and_a_fallback),
		CASE(evidence_of_another_target_proves_nothing),
		CASE(two_environments_do_not_roll_out_to_one_host),
		CASE(what_another_environment_brought_is_not_overwritten_while_it_selects_the_host),
		CASE(a_newcomer_joins_one_environment),
		CASE(a_result_of_an_overtaken_assignment_is_ignored),
		CASE(only_a_whole_rollout_makes_a_version_stable),
		CASE(a_newer_deployment_supersedes_and_says_who),
		CASE(one_that_goes_back_is_not_superseded),
		CASE(a_failed_target_is_refused_until_someone_lifts_the_mark),
		CASE(a_removed_host_leaves_its_rollout_and_its_placements),
		CASE(two_hosts_in_one_place_are_refused),
		CASE(a_result_after_the_host_was_removed_makes_no_placement),
		CASE(a_late_result_of_a_superseded_rollout_does_not_turn_current_back),
		CASE(a_file_that_is_not_the_one_of_the_target_is_refused),
		CASE(a_result_that_counts_for_nothing_says_host_number_and_why),
		CASE(a_result_said_twice_is_said_once),
		CASE(what_was_proven_before_a_host_was_lost_does_not_bring_it_back),
		CASE(a_result_of_a_task_that_was_given_up_is_told),
		CASE(a_decision_made_without_the_newcomer_is_made_anew),
		CASE(a_rollout_does_not_succeed_without_the_newcomer),
		CASE(who_joins_a_failed_wave_is_told_to_wait_for_retry_and_gets_its_turn),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
