#include "tests/lib/test.h"
#include "tests/unit/admin/world.h"

#include <stdio.h>

/* Why a rollout ended badly, read from the events. */
enum { ROLLOUT = 0x7f3a000000000001 };

static struct world w;
static Admin__Reply *first;

static int setup(void **state)
{
	static const char *const regions[] = {"eu"};
	world_init(&w);
	world_fill(&w);
	first = NULL;
	return test_fleet_deploy(&w.f, ROLLOUT, "checkout", "2.0", regions, 1);
}

static int teardown(void **state)
{
	if (first)
		admin__reply__free_unpacked(first, NULL);
	world_done(&w);
	return 0;
}

static void tell(enum event_kind kind, const char *host, const char *to, const char *text)
{
	struct event e = {.kind = kind, .at = w.f.now, .app = {"checkout"}, .deployment = {ROLLOUT}};
	snprintf(e.host.s, sizeof e.host.s, "%s", host);
	snprintf(e.to, sizeof e.to, "%s", to);
	snprintf(e.text, sizeof e.text, "%s", text);
	events_add(w.events, &e);
}

static void say(const char *host, const char *text)
{
	tell(EVENT_LOG, host, "", text);
}

static void host_fails(const char *host, const char *why)
{
	tell(EVENT_TASK, host, "FAILED", why);
}

static Admin__Rollout *status(void)
{
	Admin__Request rq;
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	world_request(&rq, CMD_STATUS);
	rq.args_case = ADMIN__REQUEST__ARGS_ROLLOUT;
	rq.rollout = &args;
	Admin__Reply *last = world_ask(&w, &rq, &first);
	assert_non_null(last);
	assert_int_equal(last->body_case, ADMIN__REPLY__BODY_DONE);
	admin__reply__free_unpacked(last, NULL);
	assert_int_equal(first->body_case, ADMIN__REPLY__BODY_ROLLOUT);
	return first->rollout;
}

static void go_back(void)
{
	world_move(&w, ROLLOUT, ROLLOUT_ROLLING_BACK);
	world_move(&w, ROLLOUT, ROLLOUT_ROLLED_BACK);
}

static void a_host_that_went_back_still_tells_why_it_failed(void **state)
{
	say("eu-1", "starting");
	say("eu-1", "panic: nil session");
	say("eu-1", "panic: nil session");
	say("eu-1", "serving all the same");
	say("eu-2", "error of a host that is well");
	tell(EVENT_STEP, "eu-1", "REVERTING", "");
	say("eu-1", "error of the version before");
	host_fails("eu-1", "PROBING: http 503");
	go_back();
	Admin__Rollout *r = status();
	assert_int_equal(r->n_seen, 1);
	assert_string_equal(r->seen[0]->host, "eu-1");
	assert_string_equal(r->seen[0]->reason, "PROBING: http 503");
	assert_string_equal(r->seen[0]->line, "panic: nil session");
	assert_int_equal(r->seen[0]->line_count, 2);
	assert_int_equal(r->seen[0]->at_ms, w.f.now.v);
	assert_int_equal(r->seen_more, 0);
}

static void explain_names_the_host_of_a_bad_end(void **state)
{
	Admin__Request rq;
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	say("eu-1", "panic: nil session");
	host_fails("eu-1", "PROBING: http 503");
	go_back();
	world_request(&rq, CMD_EXPLAIN);
	rq.args_case = ADMIN__REQUEST__ARGS_ROLLOUT;
	rq.rollout = &args;
	admin__reply__free_unpacked(world_ask(&w, &rq, &first), NULL);
	assert_int_equal(first->body_case, ADMIN__REPLY__BODY_LINES);
	assert_string_equal(first->lines->v[first->lines->n_v - 1],
			    "host eu-1: FAILED: PROBING: http 503; it printed \"panic: nil session\"");
}

static void without_trouble_in_words_the_last_line_is_shown(void **state)
{
	say("eu-1", "starting");
	say("eu-1", "waiting for the database");
	host_fails("eu-1", "exited with 1");
	host_fails("eu-2", "exited with 2");
	go_back();
	Admin__Rollout *r = status();
	assert_int_equal(r->n_seen, 2);
	assert_string_equal(r->seen[0]->line, "waiting for the database");
	assert_string_equal(r->seen[1]->reason, "exited with 2");
	assert_string_equal(r->seen[1]->line, "");
}

static void three_hosts_are_named_and_the_others_counted(void **state)
{
	char host[16];
	for (int i = 0; i < 5; i++) {
		snprintf(host, sizeof host, "eu-%d", i);
		host_fails(host, "first");
	}
	host_fails("eu-1", "again");
	go_back();
	Admin__Rollout *r = status();
	assert_int_equal(r->n_seen, 3);
	assert_int_equal(r->seen_more, 2);
	assert_string_equal(r->seen[1]->reason, "again");
}

static void what_runs_or_went_well_has_no_evidence(void **state)
{
	host_fails("eu-1", "first");
	assert_int_equal(status()->n_seen, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_host_that_went_back_still_tells_why_it_failed),
		T(explain_names_the_host_of_a_bad_end),
		T(without_trouble_in_words_the_last_line_is_shown),
		T(three_hosts_are_named_and_the_others_counted),
		T(what_runs_or_went_well_has_no_evidence),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
