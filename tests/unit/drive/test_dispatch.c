#include "tests/lib/test.h"

#include <stdio.h>

#include "tests/unit/drive/one_agent.h"

enum { APPS = 20, FILE_BYTES = 60 * 1024 };

static char file[FILE_BYTES + 1];
static uint64_t up_to, deadline_ms, fault_cap_ms; /* the last two of the first assignment */
static struct digest keep;			  /* likewise */
static size_t assignments, answers;
static bool snapshot;

/* The decoder has refused what is longer than a frame may be before this sees it. */
static void answered(const envelope *e)
{
	if (e->body_case != WAVETRAIN__AGENT__ENVELOPE__BODY_DESIRED)
		return;
	const Wavetrain__Agent__Desired *m = e->desired;
	for (size_t i = 0; i < m->n_assignments; i++)
		assert_int_equal(m->assignments[i]->seq, up_to + i + 1);
	if (m->n_assignments > 0) {
		deadline_ms = m->assignments[0]->deadline_ms;
		fault_cap_ms = m->assignments[0]->fault_cap_ms;
		if (!bytes_digest(m->assignments[0]->keep_artifact, &keep))
			fail();
	}
	up_to = m->up_to_seq;
	snapshot = m->snapshot;
	assignments += m->n_assignments;
	answers++;
}

static int begin(void **state)
{
	one_agent_begin();
	one.answered = answered;
	memset(file, ' ', FILE_BYTES);
	up_to = assignments = answers = 0;
	snapshot = false;
	test_fleet_env(&one.f, "prod");
	return 0;
}

static int end(void **state)
{
	assert_null(one.dropped);
	one_agent_end();
	return 0;
}

static void deploy_and_assign(size_t i)
{
	static const char *const eu[] = {"eu"};
	char app[16];
	snprintf(app, sizeof app, "app-%zu", i);
	test_fleet_app(&one.f, app);
	test_fleet_release(&one.f, app, "1.0");
	assert_int_equal(test_fleet_deploy(&one.f, i + 1, app, "1.0", eu, 1), E_OK);
	assert_int_equal(test_fleet_assign(&one.f, i + 1, "eu-1", DIRECTION_FORWARD), E_OK);
}

static void poll(uint64_t log_id, uint64_t after)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Poll p = WAVETRAIN__AGENT__POLL__INIT;
	p.log_id = log_id;
	p.after_seq = after;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_POLL;
	e.poll = &p;
	one_agent_send(&e);
}

static void an_answer_of_many_small_assignments_is_cut_at_sixteen(void **state)
{
	for (size_t i = 0; i < APPS; i++)
		deploy_and_assign(i);
	poll(1, 0);
	assert_int_equal(assignments, 16);
	poll(1, up_to);
	assert_int_equal(assignments, APPS);
	assert_int_equal(answers, 2);
}

static void an_answer_of_large_files_is_cut_before_the_frame_is_full(void **state)
{
	one.f.file = file;
	for (size_t i = 0; i < APPS; i++)
		deploy_and_assign(i);
	poll(1, 0);
	assert_in_range(assignments, 2, 4);
	while (assignments < APPS)
		poll(1, up_to);
	assert_int_equal(up_to, APPS);
	assert_in_range(answers, 5, 10);
}

/* It gives up before its coordinator does, and waits for what it needs as long. */
static void a_host_has_nine_tenths_of_its_task_and_the_whole_cap(void **state)
{
	one.f.task_ms = 600000;
	one.f.infra_cap_ms = 1800000;
	deploy_and_assign(0);
	poll(1, 0);
	assert_int_equal(deadline_ms, 540000);
	assert_int_equal(fault_cap_ms, 1800000);
}

static void an_order_names_what_a_rollback_would_bring_back(void **state)
{
	static const char *const eu[] = {"eu"};
	const struct digest before = test_target("1.0").artifact;
	deploy_and_assign(0);
	assert_int_equal(test_fleet_result(&one.f, 1, "eu-1", TASK_HEALTHY), E_OK);
	assert_int_equal(test_fleet_rollout_to(&one.f, 1, ROLLOUT_SUCCEEDED), E_OK);
	test_fleet_release(&one.f, "app-0", "2.0");
	assert_int_equal(test_fleet_deploy(&one.f, 2, "app-0", "2.0", eu, 1), E_OK);
	assert_int_equal(test_fleet_assign(&one.f, 2, "eu-1", DIRECTION_FORWARD), E_OK);
	up_to = 1;
	poll(1, 1);
	assert_true(digest_eq(&keep, &before));
}

static void only_the_whole_of_it_is_a_snapshot(void **state)
{
	one.f.file = file;
	for (size_t i = 0; i < 2; i++)
		deploy_and_assign(i);
	poll(99, 0);
	assert_true(snapshot);
	for (size_t i = 2; i < APPS; i++)
		deploy_and_assign(i);
	up_to = 0;
	poll(99, 0);
	assert_false(snapshot);
}

static void poll_with_status_of(size_t apps)
{
	enum { MOST = 12000 };
	static Wavetrain__Agent__AppStatus status[MOST], *v[MOST];
	static char names[MOST][24];
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Poll p = WAVETRAIN__AGENT__POLL__INIT;
	for (size_t i = 0; i < apps; i++) {
		wavetrain__agent__app_status__init(v[i] = &status[i]);
		snprintf(names[i], sizeof names[i], "a%zu", i);
		status[i].app = names[i];
	}
	p.log_id = 1;
	p.apps = v;
	p.n_apps = apps;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_POLL;
	e.poll = &p;
	one_agent_send(&e);
}

static void a_status_of_more_apps_than_a_host_has_ends_the_session(void **state)
{
	const struct name host = test_name("eu-1"), first = test_name("a0"), last = test_name("a63");
	poll_with_status_of(64);
	assert_null(one.dropped);
	assert_non_null(fleet_app(drive_host(one.drive, &host), &last));
	poll_with_status_of(65);
	assert_non_null(strstr(one.dropped, "more than 64 apps"));
	poll_with_status_of(12000);
	assert_non_null(fleet_app(drive_host(one.drive, &host), &first));
	one.dropped = NULL;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(an_answer_of_many_small_assignments_is_cut_at_sixteen),
		T(an_answer_of_large_files_is_cut_before_the_frame_is_full),
		T(a_host_has_nine_tenths_of_its_task_and_the_whole_cap),
		T(an_order_names_what_a_rollback_would_bring_back),
		T(only_the_whole_of_it_is_a_snapshot),
		T(a_status_of_more_apps_than_a_host_has_ends_the_session),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
