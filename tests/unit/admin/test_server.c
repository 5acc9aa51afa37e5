#include "tests/lib/test.h"
#include "tests/unit/admin/world.h"

#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/admin/commands_frame.h"

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
	assert_int_equal(r->body_case, ADMIN__REPLY__BODY_DONE);
	assert_int_equal(r->done->exit_code, exit_code);
	admin__reply__free_unpacked(r, NULL);
}

static Admin__Reply *ask_app(struct world *w, enum command_id verb, const char *name)
{
	Admin__Request rq;
	Admin__AppArgs args = ADMIN__APP_ARGS__INIT;
	world_request(&rq, verb);
	args.name = (char *)(uintptr_t)name;
	rq.args_case = ADMIN__REQUEST__ARGS_APP;
	rq.app = &args;
	return world_ask(w, &rq, NULL);
}

static void the_socket_is_for_owner_and_group(void **state)
{
	struct world *w = *state;
	struct stat st;
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
}

static void a_second_server_on_the_same_path_is_refused(void **state)
{
	struct world *w = *state;
	struct admin_config config = {.path = w->path, .gid = (gid_t)-1};
	struct admin *other;
	struct err e = {0};
	assert_int_equal(admin_open(&w->loop, &config, &other, &e), E_EXISTS);
	assert_non_null(strstr(e.text, "answers on"));
}

/* Every row of the table with every role: the one check of who may do what. */
static void each_verb_is_refused_below_its_role(void **state)
{
	struct world *w = *state;
	for (size_t i = 0; i < commands_nr; i++) {
		const struct command_row *row = &commands_table[i];
		for (enum role role = ROLE_NONE; role <= ROLE_ADMIN && !(row->flags & COMMAND_LOCAL);
		     role++) {
			Admin__Request rq;
			world_request(&rq, row->id);
			w->role = role;
			Admin__Reply *r = world_ask(w, &rq, NULL);
			assert_non_null(r);
			bool denied = r->body_case == ADMIN__REPLY__BODY_ERROR &&
				      strcmp(r->error->code, "E_DENIED") == 0;
			assert_int_equal(denied, role < row->role);
			admin__reply__free_unpacked(r, NULL);
		}
	}
	assert_int_equal(w->proposed, 0);
}

static void verbs_that_are_not_served_and_versions_that_are_not_spoken_are_told(void **state)
{
	Admin__Request rq;
	world_request(&rq, (enum command_id)9999);
	assert_error(world_ask(*state, &rq, NULL), "E_UNSUPPORTED");
	world_request(&rq, CMD_LINT);
	assert_error(world_ask(*state, &rq, NULL), "E_UNSUPPORTED");
	world_request(&rq, CMD_APP_LIST);
	rq.version = 2;
	assert_error(world_ask(*state, &rq, NULL), "E_VERSION");
}

static void arguments_of_another_verb_are_refused(void **state)
{
	assert_error(ask_app(*state, CMD_ENV_SHOW, "prod"), "E_PROTOCOL");
}

static void an_oversize_frame_is_refused_before_it_is_read(void **state)
{
	struct world *w = *state;
	uint8_t head[4];
	struct buf in;
	int fd = world_connect(w);
	buf_init(&in);
	put_u32(head, COMMANDS_FRAME_REQUEST_MAX + 1);
	world_write(w, fd, head, sizeof head);
	assert_error(world_reply(w, fd, &in), "E_TOO_LARGE");
	assert_null(world_reply(w, fd, &in));
	close(fd);
	buf_done(&in);
}

static void junk_is_refused_and_half_a_frame_is_dropped(void **state)
{
	struct world *w = *state;
	struct buf in;
	int fd = world_connect(w), half = world_connect(w);
	buf_init(&in);
	world_write(w, half, "\0\0\0\x20 half", 9);
	world_write(w, fd, "\0\0\0\x04\xff\xff\xff\xff", 8);
	assert_error(world_reply(w, fd, &in), "E_PROTOCOL");
	close(half);
	close(fd);
	for (int i = 0; i < 100 && admin_connections(w->admin); i++)
		world_turn(w);
	assert_int_equal(admin_connections(w->admin), 0);
	buf_done(&in);
}

static void a_second_request_on_a_connection_is_refused(void **state)
{
	struct world *w = *state;
	Admin__Request rq;
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	struct buf in;
	int fd = world_connect(w);
	args.follow = true;
	world_request(&rq, CMD_EVENTS);
	rq.args_case = ADMIN__REQUEST__ARGS_ROLLOUT;
	rq.rollout = &args;
	buf_init(&in);
	world_send(w, fd, &rq.base);
	world_send(w, fd, &rq.base);
	assert_error(world_reply(w, fd, &in), "E_PROTOCOL");
	close(fd);
	buf_done(&in);
}

static void a_name_is_added_once_and_shown(void **state)
{
	struct world *w = *state;
	assert_done(ask_app(w, CMD_APP_ADD, "search"), 0);
	assert_done(ask_app(w, CMD_APP_ADD, "search"), 0);
	assert_int_equal(w->proposed, 1);
	assert_done(ask_app(w, CMD_APP_SHOW, "search"), 0);
	assert_error(ask_app(w, CMD_APP_ADD, "No Name"), "E_INVALID");
}

static void what_enters_the_log_is_bounded(void **state)
{
	static char reason[1200];
	static Admin__Label label = ADMIN__LABEL__INIT, *labels[40];
	struct world *w = *state;
	Admin__Request rq;
	Admin__EnvArgs args = ADMIN__ENV_ARGS__INIT;
	memset(reason, 'x', sizeof reason - 1);
	for (size_t i = 0; i < ARRAY_LEN(labels); i++)
		labels[i] = &label;
	label.key = (char *)(uintptr_t) "tier";
	world_request(&rq, CMD_ENV_ADD);
	args.name = (char *)(uintptr_t) "stage";
	args.selector = labels;
	args.n_selector = 2;
	rq.args_case = ADMIN__REQUEST__ARGS_ENV;
	rq.env = &args;
	assert_error(world_ask(w, &rq, NULL), "E_INVALID"); /* twice the same */
	args.n_selector = ARRAY_LEN(labels);
	assert_error(world_ask(w, &rq, NULL), "E_TOO_LARGE");
	args.n_selector = 1;
	rq.reason = reason;
	assert_error(world_ask(w, &rq, NULL), "E_TOO_LARGE");
	rq.reason = (char *)(uintptr_t) "";
	assert_done(world_ask(w, &rq, NULL), 0);
	assert_int_equal(w->proposed, 1);
}

static void a_misspelt_name_gets_a_suggestion(void **state)
{
	Admin__Reply *r = ask_app(*state, CMD_APP_SHOW, "chekcout");
	assert_non_null(r);
	assert_string_equal(r->error->hint, "did you mean 'checkout'?");
	assert_error(r, "E_NOT_FOUND");
}

static void a_dry_run_proposes_nothing(void **state)
{
	struct world *w = *state;
	Admin__Request rq;
	Admin__AppArgs args = ADMIN__APP_ARGS__INIT;
	world_request(&rq, CMD_APP_ADD);
	args.name = (char *)(uintptr_t) "search";
	rq.args_case = ADMIN__REQUEST__ARGS_APP;
	rq.app = &args;
	rq.dry_run = true;
	assert_done(world_ask(w, &rq, NULL), 0);
	assert_int_equal(w->proposed, 0);
}

static void what_the_log_refuses_is_told_with_its_exit_code(void **state)
{
	struct world *w = *state;
	w->propose_code = E_NOT_LEADER;
	Admin__Reply *r = ask_app(w, CMD_APP_ADD, "search");
	assert_non_null(r);
	assert_int_equal(r->error->exit_code, 69);
	assert_error(r, "E_NOT_LEADER");
}

static void a_peer_may_vanish_while_the_log_works(void **state)
{
	struct world *w = *state;
	Admin__Request rq;
	Admin__AppArgs args = ADMIN__APP_ARGS__INIT;
	int fd = world_connect(w);
	world_request(&rq, CMD_APP_ADD);
	args.name = (char *)(uintptr_t) "search";
	rq.args_case = ADMIN__REQUEST__ARGS_APP;
	rq.app = &args;
	w->hold = true;
	world_send(w, fd, &rq.base);
	for (int i = 0; i < 1000 && w->proposed == 0; i++)
		world_turn(w);
	close(fd);
	for (int i = 0; i < 2000 && admin_connections(w->admin); i++)
		world_turn(w);
	assert_int_equal(admin_connections(w->admin), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_socket_is_for_owner_and_group),
		T(a_second_server_on_the_same_path_is_refused),
		T(each_verb_is_refused_below_its_role),
		T(verbs_that_are_not_served_and_versions_that_are_not_spoken_are_told),
		T(arguments_of_another_verb_are_refused),
		T(an_oversize_frame_is_refused_before_it_is_read),
		T(junk_is_refused_and_half_a_frame_is_dropped),
		T(a_second_request_on_a_connection_is_refused),
		T(a_name_is_added_once_and_shown),
		T(what_enters_the_log_is_bounded),
		T(a_misspelt_name_gets_a_suggestion),
		T(a_dry_run_proposes_nothing),
		T(what_the_log_refuses_is_told_with_its_exit_code),
		T(a_peer_may_vanish_while_the_log_works),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
