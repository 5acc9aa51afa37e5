#include "tests/lib/test.h"
#include "tests/unit/admin/world.h"

#include <unistd.h>

static int setup(void **state)
{
	static struct world w;
	world_init(&w);
	world_fill(&w);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	world_done(*state);
	return 0;
}

static void assert_error(Admin__Reply *r, const char *code)
{
	assert_non_null(r);
	assert_int_equal(r->body_case, ADMIN__REPLY__BODY_ERROR);
	assert_string_equal(r->error->code, code);
	admin__reply__free_unpacked(r, NULL);
}

static void assert_done(Admin__Reply *r, int exit_code)
{
	assert_non_null(r);
	if (r->body_case == ADMIN__REPLY__BODY_ERROR)
		fail_msg("%s", r->error->text);
	assert_int_equal(r->done->exit_code, exit_code);
	admin__reply__free_unpacked(r, NULL);
}

/* ---- plan and deploy ---- */

static void deploy_args(Admin__Request *rq, Admin__DeployArgs *args, enum command_id verb,
			const char *version)
{
	world_request(rq, verb);
	admin__deploy_args__init(args);
	args->app = (char *)(uintptr_t) "checkout";
	args->env = (char *)(uintptr_t) "prod";
	args->version = (char *)(uintptr_t)version;
	args->spec.data = (uint8_t *)(uintptr_t) "{}";
	args->spec.len = 2;
	rq->args_case = ADMIN__REQUEST__ARGS_DEPLOY;
	rq->deploy = args;
}

static Admin__Reply *get_plan(struct world *w, const char *version)
{
	Admin__Request rq;
	Admin__DeployArgs args;
	Admin__Reply *plan = NULL;
	deploy_args(&rq, &args, CMD_PLAN, version);
	assert_done(world_ask(w, &rq, &plan), 2);
	assert_non_null(plan);
	return plan;
}

static Admin__Reply *deploy(struct world *w, const Admin__Plan *p)
{
	Admin__Request rq;
	Admin__DeployArgs args;
	deploy_args(&rq, &args, CMD_DEPLOY, p->version);
	args.plan = p->digest;
	args.state_index = p->state_index;
	args.deployment = p->deployment;
	return world_ask(w, &rq, NULL);
}

static void start(struct world *w, const char *version)
{
	Admin__Reply *plan = get_plan(w, version);
	assert_done(deploy(w, plan->plan), 0);
	admin__reply__free_unpacked(plan, NULL);
}

static void a_plan_names_waves_hosts_and_changes(void **state)
{
	Admin__Reply *r = get_plan(*state, "2.0");
	assert_int_equal(r->plan->n_waves, 2);
	assert_string_equal(r->plan->waves[0]->region, "eu");
	assert_int_equal(r->plan->waves[0]->hosts, 2);
	assert_int_equal(r->plan->waves[1]->after[0], 0);
	assert_string_equal(r->plan->changes[0], "~ run.health.timeout   60s -> 90s");
	admin__reply__free_unpacked(r, NULL);
}

static void a_deployment_follows_its_plan(void **state)
{
	struct world *w = *state;
	start(w, "2.0");
	struct deployment d = test_fleet_deployment(&w->f, 0x7f3a000000000001);
	assert_int_equal(d.state, ROLLOUT_RUNNING);
	assert_int_equal(d.hosts_nr, 3);
}

static void a_plan_of_another_fleet_is_stale(void **state)
{
	struct world *w = *state;
	Admin__Reply *plan = get_plan(w, "2.0");
	test_fleet_host(&w->f, "us-2", "us");
	assert_error(deploy(w, plan->plan), "E_STALE");
	assert_int_equal(w->proposed, 0);
	admin__reply__free_unpacked(plan, NULL);
}

static void a_deployment_nobody_planned_is_refused(void **state)
{
	Admin__Request rq;
	Admin__DeployArgs args;
	deploy_args(&rq, &args, CMD_DEPLOY, "2.0");
	assert_error(world_ask(*state, &rq, NULL), "E_INVALID");
}

static void what_is_wrong_with_a_plan_is_told(void **state)
{
	Admin__Request rq;
	Admin__DeployArgs args;
	deploy_args(&rq, &args, CMD_PLAN, "2.1");
	assert_error(world_ask(*state, &rq, NULL), "E_NOT_FOUND");
	deploy_args(&rq, &args, CMD_PLAN, "2.0");
	args.spec.data = (uint8_t *)(uintptr_t) "oops";
	args.spec.len = 4;
	assert_error(world_ask(*state, &rq, NULL), "E_SPEC");
	deploy_args(&rq, &args, CMD_PLAN, "2.0");
	args.force_bad = true;
	assert_error(world_ask(*state, &rq, NULL), "E_INVALID");
	deploy_args(&rq, &args, CMD_PLAN, "2.0");
	args.skip_stop_hooks = true;
	assert_error(world_ask(*state, &rq, NULL), "E_INVALID");
}

/* ---- verbs ---- */

static Admin__Reply *say(struct world *w, enum command_id verb, const char *rollout, Admin__Reply **first)
{
	Admin__Request rq;
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	world_request(&rq, verb);
	args.deployment = (char *)(uintptr_t)rollout;
	rq.args_case = ADMIN__REQUEST__ARGS_ROLLOUT;
	rq.rollout = &args;
	return world_ask(w, &rq, first);
}

static void a_rollout_is_paused_once_and_resumed_by_prefix(void **state)
{
	struct world *w = *state;
	start(w, "2.0");
	assert_done(say(w, CMD_PAUSE, "r-7f3a", NULL), 0);
	assert_int_equal(test_fleet_deployment(&w->f, 0x7f3a000000000001).state, ROLLOUT_PAUSED);
	unsigned before = w->proposed;
	assert_done(say(w, CMD_PAUSE, "", NULL), 0);
	assert_int_equal(w->proposed, before);
	assert_done(say(w, CMD_RESUME, "7f", NULL), 0);
	assert_int_equal(test_fleet_deployment(&w->f, 0x7f3a000000000001).state, ROLLOUT_RUNNING);
}

static void a_verb_that_does_not_fit_is_refused_with_the_reason(void **state)
{
	struct world *w = *state;
	assert_error(say(w, CMD_PAUSE, "", NULL), "E_NOT_FOUND");
	start(w, "2.0");
	assert_error(say(w, CMD_PROMOTE, "", NULL), "E_CONFLICT");
	assert_error(say(w, CMD_PAUSE, "r-0000", NULL), "E_NOT_FOUND");
}

static void two_rollouts_under_way_are_listed_when_none_is_named(void **state)
{
	struct world *w = *state;
	static const char *const regions[] = {"eu"};
	test_fleet_release(&w->f, "billing", "2.0");
	start(w, "2.0");
	assert_int_equal(test_fleet_deploy(&w->f, 0x7f3b000000000001, "billing", "2.0", regions, 1), E_OK);
	Admin__Reply *r = say(w, CMD_PAUSE, "", NULL);
	assert_int_equal(r->error->n_candidates, 2);
	assert_error(r, "E_AMBIGUOUS");
	r = say(w, CMD_PAUSE, "r-7f3", NULL);
	assert_int_equal(r->error->n_candidates, 2);
	assert_error(r, "E_AMBIGUOUS");
}

static void status_counts_hosts_and_shows_live_notes(void **state)
{
	struct world *w = *state;
	Admin__Reply *r;
	start(w, "2.0");
	world_result(w, 0x7f3a000000000001, "eu-1", TASK_HEALTHY);
	test_fleet_assign(&w->f, 0x7f3a000000000001, "eu-2", DIRECTION_FORWARD);
	assert_done(say(w, CMD_STATUS, "", &r), 0);
	assert_int_equal(r->rollout->hosts_done, 1);
	assert_int_equal(r->rollout->waves[0]->good, 1);
	assert_string_equal(r->rollout->tasks[1]->note, "2/3 passes");
	assert_string_equal(r->rollout->waiting[0], "wave 1: eu-1 is not healthy yet");
	admin__reply__free_unpacked(r, NULL);
}

/* ---- watch ---- */

static int watch(struct world *w, uint64_t cursor)
{
	Admin__Request rq;
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	int fd = world_connect(w);
	world_request(&rq, CMD_WATCH);
	args.cursor = cursor;
	rq.args_case = ADMIN__REQUEST__ARGS_ROLLOUT;
	rq.rollout = &args;
	world_send(w, fd, &rq.base);
	return fd;
}

static void a_watch_begins_with_a_view_and_ends_with_the_rollout(void **state)
{
	struct world *w = *state;
	struct buf in;
	unsigned events = 0, views = 0;
	uint32_t exit_code = 99;
	start(w, "2.0");
	int fd = watch(w, 0);
	buf_init(&in);
	for (Admin__Reply *r; (r = world_reply(w, fd, &in));) {
		if (r->body_case == ADMIN__REPLY__BODY_ROLLOUT && views++ == 0)
			world_move(w, 0x7f3a000000000001, ROLLOUT_FAILED);
		events += r->body_case == ADMIN__REPLY__BODY_EVENT;
		if (r->body_case == ADMIN__REPLY__BODY_DONE)
			exit_code = r->done->exit_code;
		admin__reply__free_unpacked(r, NULL);
	}
	assert_true(views >= 2 && events >= 1);
	assert_int_equal(exit_code, 1);
	close(fd);
	buf_done(&in);
}

static void a_watch_goes_on_from_a_cursor_and_tells_of_gaps(void **state)
{
	struct world *w = *state;
	struct buf in;
	start(w, "2.0");
	for (int i = 0; i < 40; i++) { /* more than the ring holds */
		assert_done(say(w, CMD_PAUSE, "", NULL), 0);
		assert_done(say(w, CMD_RESUME, "", NULL), 0);
	}
	int fd = watch(w, 1);
	buf_init(&in);
	Admin__Reply *r = world_reply(w, fd, &in);
	assert_true(r->event->reset);
	admin__reply__free_unpacked(r, NULL);
	r = world_reply(w, fd, &in);
	assert_true(r->event->cursor > 2);
	admin__reply__free_unpacked(r, NULL);
	close(fd);
	buf_done(&in);
}

static void a_watcher_that_vanishes_is_forgotten(void **state)
{
	struct world *w = *state;
	start(w, "2.0");
	int fd = watch(w, 0);
	for (int i = 0; i < 200; i++)
		world_turn(w);
	close(fd);
	for (int i = 0; i < 500 && admin_connections(w->admin); i++)
		world_turn(w);
	assert_int_equal(admin_connections(w->admin), 0);
}

/* ---- releases and agents ---- */

static int begin_push(struct world *w, uint64_t size, const char *version)
{
	static uint8_t digest[DIGEST_LEN] = {7};
	Admin__Request rq;
	Admin__ReleaseArgs args = ADMIN__RELEASE_ARGS__INIT;
	int fd = world_connect(w);
	world_request(&rq, CMD_RELEASE_PUSH);
	args.app = (char *)(uintptr_t) "checkout";
	args.version = (char *)(uintptr_t)version;
	args.type = (char *)(uintptr_t) "tar.gz";
	args.size_bytes = size;
	args.digest.data = digest;
	args.digest.len = sizeof digest;
	rq.args_case = ADMIN__REQUEST__ARGS_RELEASE;
	rq.release = &args;
	world_send(w, fd, &rq.base);
	return fd;
}

static void send_data(struct world *w, int fd, const char *bytes)
{
	Admin__Data d = ADMIN__DATA__INIT;
	d.bytes.data = (uint8_t *)(uintptr_t)bytes;
	d.bytes.len = strlen(bytes);
	world_send(w, fd, &d.base);
}

static uint64_t offset_of(struct world *w, int fd, struct buf *in)
{
	Admin__Reply *r = world_reply(w, fd, in);
	assert_non_null(r);
	assert_int_equal(r->body_case, ADMIN__REPLY__BODY_UPLOAD_READY);
	uint64_t offset = r->upload_ready->offset;
	admin__reply__free_unpacked(r, NULL);
	return offset;
}

static void an_upload_goes_on_where_it_broke(void **state)
{
	struct world *w = *state;
	struct buf in;
	buf_init(&in);
	int fd = begin_push(w, 10, "3.0");
	assert_int_equal(offset_of(w, fd, &in), 0);
	send_data(w, fd, "01234");
	close(fd);
	for (int i = 0; i < 500 && w->cancelled == 0; i++)
		world_turn(w);
	assert_int_equal(w->cancelled, 1);
	fd = begin_push(w, 10, "3.0");
	assert_int_equal(offset_of(w, fd, &in), 5);
	send_data(w, fd, "56789");
	send_data(w, fd, "");
	assert_done(world_reply(w, fd, &in), 0);
	assert_int_equal(w->finished, 1);
	close(fd);
	buf_done(&in);
}

static void an_upload_that_lies_about_its_size_is_refused(void **state)
{
	struct world *w = *state;
	struct buf in;
	buf_init(&in);
	int fd = begin_push(w, 4, "3.0");
	offset_of(w, fd, &in);
	send_data(w, fd, "01234");
	assert_error(world_reply(w, fd, &in), "E_PROTOCOL");
	close(fd);
	fd = begin_push(w, 4, "3.0");
	buf_reset(&in);
	offset_of(w, fd, &in);
	send_data(w, fd, "");
	assert_error(world_reply(w, fd, &in), "E_PROTOCOL");
	assert_int_equal(w->finished, 0);
	close(fd);
	buf_done(&in);
}

static void a_full_store_is_told_and_a_version_keeps_its_bytes(void **state)
{
	struct world *w = *state;
	struct buf in;
	buf_init(&in);
	w->upload_limit = 3;
	int fd = begin_push(w, 5, "3.0");
	offset_of(w, fd, &in);
	send_data(w, fd, "01234");
	assert_error(world_reply(w, fd, &in), "E_NO_SPACE");
	close(fd);
	fd = begin_push(w, 5, "1.0");
	assert_error(world_reply(w, fd, &in), "E_EXISTS");
	close(fd);
	buf_done(&in);
}

static void a_new_agent_comes_with_its_certificate(void **state)
{
	struct world *w = *state;
	Admin__Request rq;
	Admin__HostArgs args = ADMIN__HOST_ARGS__INIT;
	Admin__Reply *bundle = NULL;
	world_request(&rq, CMD_AGENTS_ADD);
	args.name = (char *)(uintptr_t) "us-9";
	rq.args_case = ADMIN__REQUEST__ARGS_HOST;
	rq.host = &args;
	assert_error(world_ask(w, &rq, NULL), "E_INVALID");
	args.region = (char *)(uintptr_t) "us";
	assert_done(world_ask(w, &rq, &bundle), 0);
	assert_string_equal(bundle->bundle->files[0]->name, "agent.key");
	assert_int_equal(bundle->bundle->files[0]->mode, 0600);
	admin__reply__free_unpacked(bundle, NULL);
}

/* The way out that the error names is one that works. */
static void a_host_whose_bundle_failed_is_removed_and_added_again(void **state)
{
	struct world *w = *state;
	Admin__Request rq;
	Admin__HostArgs args = ADMIN__HOST_ARGS__INIT;
	world_request(&rq, CMD_AGENTS_ADD);
	args.name = (char *)(uintptr_t) "us-9";
	args.region = (char *)(uintptr_t) "us";
	rq.args_case = ADMIN__REQUEST__ARGS_HOST;
	rq.host = &args;
	w->issue_code = E_IO;
	Admin__Reply *r = world_ask(w, &rq, NULL);
	assert_non_null(strstr(r->error->hint, "wavetrain agents remove us-9 --reason"));
	assert_error(r, "E_IO");
	w->issue_code = E_OK;
	assert_error(world_ask(w, &rq, NULL), "E_EXISTS");
	world_request(&rq, CMD_AGENTS_REMOVE);
	rq.args_case = ADMIN__REQUEST__ARGS_HOST;
	rq.host = &args;
	assert_done(world_ask(w, &rq, NULL), 0);
	world_request(&rq, CMD_AGENTS_ADD);
	rq.args_case = ADMIN__REQUEST__ARGS_HOST;
	rq.host = &args;
	assert_done(world_ask(w, &rq, NULL), 0);
}

/* ---- environments ---- */

static void run_on(struct world *w, uint64_t id, const char *version, const char *const *hosts, size_t nr)
{
	static const char *const eu[] = {"eu"};
	assert_int_equal(test_fleet_deploy(&w->f, id, "checkout", version, eu, 1), E_OK);
	for (size_t i = 0; i < nr; i++) {
		assert_int_equal(test_fleet_assign(&w->f, id, hosts[i], DIRECTION_FORWARD), E_OK);
		assert_int_equal(test_fleet_result(&w->f, id, hosts[i], TASK_HEALTHY), E_OK);
	}
}

static void assert_run(const Admin__EnvApp *run, const char *version, uint32_t hosts)
{
	assert_string_equal(run->app, "checkout");
	assert_string_equal(run->version, version);
	assert_int_equal(run->hosts, hosts);
}

static void an_environment_shows_what_runs_and_on_how_many_hosts(void **state)
{
	static const char *const both[] = {"eu-1", "eu-2"};
	Admin__Request rq;
	Admin__EnvArgs args = ADMIN__ENV_ARGS__INIT;
	Admin__Reply *envs = NULL;
	run_on(*state, 1, "1.0", both, 2);
	run_on(*state, 2, "2.0", both, 1);
	world_request(&rq, CMD_ENV_SHOW);
	args.name = (char *)(uintptr_t) "prod";
	rq.args_case = ADMIN__REQUEST__ARGS_ENV;
	rq.env = &args;
	assert_done(world_ask(*state, &rq, &envs), 0);
	assert_int_equal(envs->envs->v[0]->n_apps, 2);
	assert_run(envs->envs->v[0]->apps[0], "1.0", 1);
	assert_run(envs->envs->v[0]->apps[1], "2.0", 1);
	admin__reply__free_unpacked(envs, NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_plan_names_waves_hosts_and_changes),
		T(a_deployment_follows_its_plan),
		T(a_plan_of_another_fleet_is_stale),
		T(a_deployment_nobody_planned_is_refused),
		T(what_is_wrong_with_a_plan_is_told),
		T(a_rollout_is_paused_once_and_resumed_by_prefix),
		T(a_verb_that_does_not_fit_is_refused_with_the_reason),
		T(two_rollouts_under_way_are_listed_when_none_is_named),
		T(status_counts_hosts_and_shows_live_notes),
		T(a_watch_begins_with_a_view_and_ends_with_the_rollout),
		T(a_watch_goes_on_from_a_cursor_and_tells_of_gaps),
		T(a_watcher_that_vanishes_is_forgotten),
		T(an_upload_goes_on_where_it_broke),
		T(an_upload_that_lies_about_its_size_is_refused),
		T(a_full_store_is_told_and_a_version_keeps_its_bytes),
		T(an_environment_shows_what_runs_and_on_how_many_hosts),
		T(a_new_agent_comes_with_its_certificate),
		T(a_host_whose_bundle_failed_is_removed_and_added_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
