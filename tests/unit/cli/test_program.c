#include "tests/lib/test.h"
#include "tests/unit/admin/world.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The built program, run against a server of this process. What it printed is in `out` and `err`. */
static struct world w;
static struct buf out, err;
static char spec[128], overlay[128], archive[128], plan[128], bundle[128];
static const char *environment; /* WAVETRAIN_ENV of what is run; NULL: not set */

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int setup(void **state)
{
	world_init(&w);
	world_fill(&w);
	buf_init(&out);
	buf_init(&err);
	snprintf(spec, sizeof spec, "%s/deploy.yaml", w.dir);
	snprintf(overlay, sizeof overlay, "%s/deploy.prod.yaml", w.dir);
	environment = NULL;
	snprintf(archive, sizeof archive, "%s/app.tar.gz", w.dir);
	snprintf(plan, sizeof plan, "%s/plan.json", w.dir);
	snprintf(bundle, sizeof bundle, "%s/bundle", w.dir);
	write_file(spec, "schema: wavetrain/v1\napp: checkout\nartifact: { name: checkout }\ntargets: { "
			 "labels: { role: web } }\n"
			 "regions: [{ name: eu }]\nrun: { command: [./checkout] }\nhealth: { ready: { tcp: "
			 "\"127.0.0.1:80\" } }\n");
	write_file(archive, "0123456789");
	return 0;
}

static int teardown(void **state)
{
	char key[160];
	snprintf(key, sizeof key, "%s/agent.key", bundle);
	unlink(key);
	rmdir(bundle);
	unlink(spec);
	unlink(overlay);
	unlink(archive);
	unlink(plan);
	buf_done(&out);
	buf_done(&err);
	world_done(&w);
	return 0;
}

static _Noreturn void become(char **argv, int in, int o, int e)
{
	dup2(in, STDIN_FILENO);
	dup2(o, STDOUT_FILENO);
	dup2(e, STDERR_FILENO);
	setenv("WAVETRAIN_SOCKET", w.path, 1);
	setenv("LC_ALL", "C.UTF-8", 1);
	if (environment)
		setenv("WAVETRAIN_ENV", environment, 1);
	else
		unsetenv("WAVETRAIN_ENV");
	execv(WAVETRAIN, argv);
	_exit(127);
}

static void drain(int fd, struct buf *into)
{
	ssize_t n;
	while ((n = read(fd, buf_reserve(into, 4096), 4096)) > 0)
		into->len += (size_t)n;
}

typedef void each_turn_fn(pid_t pid, int turn);

/* Runs the loop until the program ended (at most 20 seconds), then gives its exit code. */
static int run_with(const char *line, each_turn_fn *each)
{
	static char copy[1024];
	char *argv[32] = {(char *)(uintptr_t) "wavetrain"};
	int argc = 1, o[2], e[2], status = 0;
	snprintf(copy, sizeof copy, "%s", line);
	for (char *word = strtok(copy, " "); word && argc < 31; word = strtok(NULL, " "))
		argv[argc++] = word;
	buf_reset(&out);
	buf_reset(&err);
	assert_int_equal(pipe2(o, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(e, O_CLOEXEC | O_NONBLOCK), 0);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid = fork();
	if (pid == 0)
		become(argv, null, o[1], e[1]);
	close(null);
	close(o[1]);
	close(e[1]);
	pid_t ended = 0;
	for (int turn = 0; turn < 20000 && ended == 0; turn++) {
		world_turn(&w);
		if (each)
			each(pid, turn);
		drain(o[0], &out);
		drain(e[0], &err);
		ended = waitpid(pid, &status, WNOHANG);
	}
	if (ended == 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	drain(o[0], &out);
	drain(e[0], &err);
	close(o[0]);
	close(e[0]);
	return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The same on a terminal of 70 columns; `typed` is there to be read from the start. */
static int run_tty(const char *line, each_turn_fn *each, const char *typed)
{
	static char copy[1024];
	char *argv[32] = {(char *)(uintptr_t) "wavetrain"};
	int argc = 1, status = 0, master;
	struct winsize size = {.ws_row = 24, .ws_col = 70};
	snprintf(copy, sizeof copy, "%s", line);
	for (char *word = strtok(copy, " "); word && argc < 31; word = strtok(NULL, " "))
		argv[argc++] = word;
	buf_reset(&out);
	pid_t pid = forkpty(&master, NULL, NULL, &size), ended = 0;
	if (pid == 0) {
		setenv("TERM", "xterm", 1);
		unsetenv("NO_COLOR");
		become(argv, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
	}
	fcntl(master, F_SETFL, O_NONBLOCK);
	assert_int_equal(write(master, typed, strlen(typed)), (ssize_t)strlen(typed));
	for (int turn = 0; turn < 20000 && ended == 0; turn++) {
		world_turn(&w);
		if (each)
			each(pid, turn);
		drain(master, &out);
		ended = waitpid(pid, &status, WNOHANG);
	}
	drain(master, &out);
	close(master);
	return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run(const char *line)
{
	return run_with(line, NULL);
}

static bool said(const char *text)
{
	return strstr(buf_cstr(&out), text) != NULL;
}

static bool told(const char *text)
{
	return strstr(buf_cstr(&err), text) != NULL;
}

/* ---- nouns ---- */

static void lists_are_tables_or_json(void **state)
{
	assert_int_equal(run("app list"), 0);
	assert_true(said("checkout") && said("billing"));
	assert_int_equal(run("app list -o json"), 0);
	assert_true(said("\"name\": \"checkout\""));
	assert_int_equal(run("release list checkout -o jsonl"), 0);
	assert_true(said("\"version\":\"1.0\"") && said("\n{"));
	assert_int_equal(run("app list -o name"), 0);
	assert_string_equal(buf_cstr(&out), "billing\ncheckout\n");
	assert_int_equal(run("release list checkout -o name"), 0);
	assert_string_equal(buf_cstr(&out), "1.0\n2.0\n");
	assert_int_equal(run("agents list"), 0);
	assert_true(said("eu-1") && said("us-1"));
	assert_int_equal(run("agents show eu-1"), 0);
	assert_true(said("agent       0.1.0") && said("generation 1") && said("HOST"));
	assert_int_equal(run("env show prod"), 0);
	assert_true(said("RUNS (HOSTS)"));
	assert_int_equal(run("audit list --limit 3"), 0);
	assert_int_equal(run("history checkout"), 0);
	assert_int_equal(run("events"), 0);
}

static void errors_have_code_hint_and_exit_code(void **state)
{
	assert_int_equal(run("app show chekcout"), 1);
	assert_true(told("[E_NOT_FOUND]") && told("did you mean 'checkout'?"));
	assert_int_equal(run("app show chekcout -o json"), 1);
	assert_true(told("\"code\":\"E_NOT_FOUND\""));
	w.role = ROLE_VIEWER;
	assert_int_equal(run("app add search"), 4);
	assert_true(told("E_DENIED"));
	w.role = ROLE_ADMIN;
	w.propose_code = E_NOT_LEADER;
	assert_int_equal(run("app add search"), 69);
	assert_int_equal(run("app list --socket /nonexistent/socket"), 69);
	assert_int_equal(run("frobnicate"), 64);
}

static void a_dry_run_changes_nothing(void **state)
{
	assert_int_equal(run("app add search --dry-run"), 0);
	assert_true(told("nothing was changed"));
	assert_int_equal(w.proposed, 0);
}

static void severe_commands_want_the_name(void **state)
{
	assert_int_equal(run("agents remove us-1 --yes"), 64);
	assert_true(told("--confirm=us-1"));
	assert_int_equal(run("agents remove us-1 --confirm us-2"), 64);
	assert_int_equal(w.proposed, 0);
	assert_int_equal(run("agents remove us-1 --confirm us-1 --reason gone"), 0);
	assert_int_equal(w.proposed, 1);
}

static void an_agents_bundle_is_written_for_its_owner_only(void **state)
{
	char line[512];
	snprintf(line, sizeof line, "agents add us-9 --region us --out %s", bundle);
	assert_int_equal(run(line), 0);
	snprintf(line, sizeof line, "%s/agent.key", bundle);
	assert_int_equal(access(line, R_OK), 0);
	assert_true(told("Copy it to the host"));
	/* Its host is registered already when a bundle cannot be written: the way out is said. */
	snprintf(line, sizeof line, "agents add us-8 --region us --out %s", bundle);
	assert_int_equal(run(line), 1);
	assert_true(told("choose an empty folder") && told("wavetrain agents remove us-8 --reason"));
}

static void doctor_and_explain_answer(void **state)
{
	assert_int_equal(run("doctor"), 0);
	assert_true(said("3 of 3 hosts polled") && said("all agents are 0.1.0"));
	assert_int_equal(run("explain E_STALE"), 0);
	assert_int_equal(run("explain E_NOTHING"), 64);
	assert_int_equal(run(""), 0);
	assert_true(said("Usage: wavetrain COMMAND") && said("All commands: wavetrain help"));
}

/* ---- releases ---- */

static void a_release_is_pushed_and_gone_on_with(void **state)
{
	char line[512];
	snprintf(line, sizeof line, "release push checkout 3.0 %s --commit abc --tests 9/10", archive);
	buf_put(&w.upload, "012", 3);
	assert_int_equal(run(line), 0);
	assert_true(told("Going on at byte 3"));
	assert_string_equal(buf_cstr(&w.upload), "0123456789");
	assert_int_equal(run("release show checkout 3.0"), 0);
	assert_true(said("9/10") && said("abc"));
	assert_int_equal(run("release push checkout 3.1 /nonexistent"), 1);
	assert_true(told("next: name a folder"));
}

static void a_release_says_on_how_many_coordinators_it_lies(void **state)
{
	w.coordinators = 1;
	w.copies = 1;
	assert_int_equal(run("release show checkout 2.0"), 0);
	assert_false(said("coordinator"));
	w.coordinators = 3;
	w.copies = 2;
	assert_int_equal(run("release show checkout 2.0"), 0);
	assert_true(said("The archive lies on 2 of 3 coordinators."));
	assert_int_equal(run("release list checkout"), 0);
	assert_false(said("coordinator"));
	assert_int_equal(run("release show checkout 2.0 -o json"), 0);
	assert_true(said("\"copies\": 2") && said("\"coordinators\": 3"));
}

static void an_upload_draws_its_progress_on_a_terminal(void **state)
{
	char line[256];
	static char text[1000001];
	memset(text, 'x', sizeof text - 1);
	write_file(archive, text);
	snprintf(line, sizeof line, "release push checkout 3.0 %s", archive);
	assert_int_equal(run_tty(line, NULL, ""), 0);
	assert_true(said("#################### 100%  976.5 KiB of 976.5 KiB"));
	assert_int_equal(w.upload.len, sizeof text - 1);
}

/* ---- deployments ---- */

static void a_refused_upload_is_told_although_bytes_were_on_their_way(void **state)
{
	char line[256];
	static char text[1000001];
	memset(text, 'x', sizeof text - 1);
	write_file(archive, text);
	w.upload_limit = 100000;
	snprintf(line, sizeof line, "release push checkout 3.0 %s", archive);
	assert_int_equal(run(line), 1);
	assert_true(told("E_NO_SPACE") && told("the store is full"));
	assert_int_equal(w.proposed, 0);
}

static uint64_t newest;

static bool first_id(void *arg, const struct deployment *d)
{
	newest = d->id.v;
	return false;
}

/* Once the program watches: let the rollout fail and go back. */
static void fail_it(pid_t pid, int turn)
{
	if (turn % 50 || w.proposed == 0)
		return;
	view_each_deployment(w.f.st, &w.f.a, first_id, NULL);
	struct deployment d = test_fleet_deployment(&w.f, newest);
	if (d.state == ROLLOUT_RUNNING && turn > 300)
		world_move(&w, newest, ROLLOUT_ROLLING_BACK);
	else if (d.state == ROLLOUT_ROLLING_BACK)
		world_move(&w, newest, ROLLOUT_ROLLED_BACK);
}

static void a_deployment_that_goes_back_exits_3_with_the_reason(void **state)
{
	char line[512];
	snprintf(line, sizeof line, "deploy checkout 2.0 -e prod --yes -f %s", spec);
	assert_int_equal(run_with(line, fail_it), 3);
	assert_true(said("Plan r-7f3a") && said("wave 1"));
	assert_true(said("rolled back") && said("Why:") && said("Now:") && said("Next:"));
}

static void a_terminal_is_asked_then_redrawn_in_place(void **state)
{
	char line[256];
	snprintf(line, sizeof line, "deploy checkout 2.0 -e prod -f %s", spec);
	assert_int_equal(run_tty(line, fail_it, "y\n"), 3);
	assert_true(said("Apply to prod? [y/N]"));
	assert_true(said("\033[J") && said("A\r"));
	assert_true(said("\033[31m✖\033[0m r-7f3a0000 rolled back"));
	assert_int_equal(run_tty(line, NULL, "n\n"), 1);
	assert_true(said("nothing was changed"));
}

static void deploy_asks_and_a_script_must_say_yes(void **state)
{
	char line[512];
	snprintf(line, sizeof line, "deploy checkout 2.0 -e prod -f %s", spec);
	assert_int_equal(run(line), 64);
	assert_true(told("add --yes"));
	w.severe = "all hosts of a region at once";
	snprintf(line, sizeof line, "deploy checkout 2.0 -e prod --yes -f %s", spec);
	assert_int_equal(run(line), 64);
	assert_true(told("--confirm=checkout") && told("--yes is not enough"));
	assert_true(told("This is severe: all hosts of a region at once."));
	assert_int_equal(w.proposed, 0);
}

static void values_of_the_file_are_set_by_name(void **state)
{
	char line[512];
	FILE *f = fopen(spec, "ae");
	assert_non_null(f);
	fputs("values: { grace: { type: duration, default: 5s } }\nrollback: { auto: true }\n"
	      "x-use: \"{{ values.grace }}\"\n",
	      f);
	fclose(f);
	snprintf(line, sizeof line, "lint %s --set grace=9s", spec);
	assert_int_equal(run(line), 0);
	snprintf(line, sizeof line, "lint %s --set grace=soon", spec);
	assert_int_equal(run(line), 65);
	assert_true(told("'soon' does not fit value 'grace'"));
	snprintf(line, sizeof line, "plan checkout 2.0 -e prod -f %s --set grcae=9s", spec);
	assert_int_equal(run(line), 65);
	assert_true(told("did you mean 'grace'?"));
	assert_int_equal(run("deploy --plan p.json --set grace=9s"), 64);
	assert_true(told("--plan already names"));
}

/* However the environment is named, what lies over the file for it counts. */
static void an_environment_brings_its_overlay(void **state)
{
	char line[512];
	write_file(overlay, "keep: 4\n");
	snprintf(line, sizeof line, "lint %s", spec);
	assert_int_equal(run(line), 0);
	assert_false(told("deploy.prod.yaml"));
	environment = "prod";
	assert_int_equal(run(line), 0);
	assert_true(told("/deploy.prod.yaml: no errors"));
	snprintf(line, sizeof line, "plan checkout 2.0 -f %s", spec);
	assert_int_equal(run(line), 0);
	assert_true(told("/deploy.yaml with ") && told("/deploy.prod.yaml"));
	snprintf(line, sizeof line, "lint %s", spec);
	write_file(overlay, "kep: 4\n");
	assert_int_equal(run(line), 65);
	snprintf(line, sizeof line, "deploy checkout 2.0 --yes --detach -f %s", spec);
	assert_int_equal(run(line), 65);
	assert_true(told("deploy.prod.yaml:1:1: error: unknown key 'kep'"));
	snprintf(line, sizeof line, "lint %s -e staging", spec);
	assert_int_equal(run(line), 0);
	environment = NULL;
	snprintf(line, sizeof line, "lint %s -e prod", spec);
	assert_int_equal(run(line), 65);
}

static void a_saved_plan_is_applied_or_stale(void **state)
{
	char line[512];
	snprintf(line, sizeof line, "plan checkout 2.0 -e prod -f %s --out %s --detailed-exitcode", spec,
		 plan);
	assert_int_equal(run(line), 2);
	snprintf(line, sizeof line, "deploy --plan %s --yes --detach", plan);
	test_fleet_host(&w.f, "us-2", "us");
	assert_int_equal(run(line), 6);
	assert_true(told("E_STALE"));
	snprintf(line, sizeof line, "plan checkout 2.0 -e prod -f %s --out %s", spec, plan);
	assert_int_equal(run(line), 0);
	snprintf(line, sizeof line, "deploy --plan %s --yes --detach", plan);
	assert_int_equal(run(line), 0);
	assert_true(told("wavetrain watch r-7f3a"));
}

static void start(void)
{
	char line[512];
	snprintf(line, sizeof line, "deploy checkout 2.0 -e prod --yes --detach -f %s", spec);
	assert_int_equal(run(line), 0);
}

static void verbs_and_one_shot_status(void **state)
{
	start();
	assert_int_equal(run("status --watch false"), 0);
	assert_true(said("eu") && said("wave 1"));
	assert_int_equal(run("pause --reason look"), 0);
	assert_int_equal(run("status --watch=false"), 5);
	assert_int_equal(run("resume r-7f3a"), 0);
	assert_int_equal(run("promote --yes"), 6);
	assert_true(told("next: "));
	assert_int_equal(run("promote --wave 9 --yes"), 1);
	assert_int_equal(run("explain r-7f3a"), 0);
	assert_true(said("is RUNNING"));
	assert_int_equal(run("list -o json"), 0);
	assert_true(said("\"state\": \"RUNNING\""));
}

static void ended(uint64_t id, const char *version, enum rollout_state state)
{
	static const char *const regions[] = {"eu"};
	assert_int_equal(test_fleet_deploy(&w.f, id, "checkout", version, regions, 1), E_OK);
	if (state == ROLLOUT_ROLLED_BACK)
		world_move(&w, id, ROLLOUT_ROLLING_BACK);
	world_move(&w, id, state);
}

static void what_ended_is_undone_by_a_deployment_of_what_was_before(void **state)
{
	ended(0xaaaa000000000001, "1.0", ROLLOUT_SUCCEEDED);
	assert_int_equal(run("rollback checkout --yes --detach"), 1);
	assert_true(told("there is nothing before r-aaaa000000000001"));
	ended(0xbbbb000000000001, "2.0", ROLLOUT_SUCCEEDED);
	assert_int_equal(run("rollback checkout --yes --dry-run"), 0);
	assert_int_equal(w.proposed, 0);
	assert_true(said("goes back to what r-aaaa000000000001 deployed, with its file"));
	assert_int_equal(run("rollback checkout"), 64);
	assert_int_equal(run("rollback r-bbbb --yes --detach --reason errors"), 0);
	assert_true(said("1.0") && told("Rollout r-7f3a0000 runs"));
	assert_int_equal(w.proposed, 1);
	struct deployment d = test_fleet_deployment(&w.f, 0x7f3a000000000001);
	assert_string_equal(d.target.version.s, "1.0");
	assert_false(d.back);
	/* Now it is under way: the verb takes it back. */
	assert_int_equal(run("rollback checkout --yes --detach"), 0);
	d = test_fleet_deployment(&w.f, 0x7f3a000000000001);
	assert_int_equal(d.state, ROLLOUT_ROLLING_BACK);
}

static void a_rollback_goes_where_it_is_told_and_never_one_too_far(void **state)
{
	ended(0xaaaa000000000001, "1.0", ROLLOUT_SUCCEEDED);
	ended(0xbbbb000000000001, "2.0", ROLLOUT_SUCCEEDED);
	ended(0xcccc000000000001, "2.0", ROLLOUT_ROLLED_BACK);
	assert_int_equal(run("rollback checkout --yes"), 6);
	assert_true(told("is rolled back already: the hosts run 2.0") && told("--to VERSION"));
	assert_int_equal(run("rollback r-aaaa --yes"), 6);
	assert_true(told("is not the newest rollout"));
	assert_int_equal(run("rollback checkout --to 3.0 --yes"), 1);
	assert_true(told("no rollout of checkout 3.0 in prod succeeded"));
	assert_int_equal(run("rollback checkout --to r-cccc --yes"), 1);
	assert_int_equal(run("rollback checkout --to r-aaaa --yes --dry-run"), 0);
	assert_true(said("goes back to what r-aaaa000000000001 deployed"));
	assert_int_equal(run("rollback chekcout --yes"), 1);
	assert_true(told("did you mean 'checkout'?"));
	assert_int_equal(run("rollback checkout --to 1.0 --yes --detach"), 0);
	assert_true(said("goes back to what r-aaaa000000000001 deployed"));
}

static void a_watch_ends_at_its_timeout(void **state)
{
	start();
	assert_int_equal(run("watch --timeout 300ms"), 124);
	assert_true(told("The rollout continues"));
	assert_true(told("waits for: wave 1: eu-1 is not healthy yet"));
	assert_true(
		said("r-7f3a0000 checkout 2.0 in prod is running, 0 of 3 hosts done: wave 1: eu-1 is not"));
}

static void hold_it(pid_t pid, int turn)
{
	if (turn % 200 == 0 && admin_connections(w.admin))
		world_move(&w, newest, ROLLOUT_HELD);
}

/* A script would wait for ever for a person who is not there. */
static void without_a_terminal_a_watch_ends_when_only_a_person_can_go_on(void **state)
{
	start();
	view_each_deployment(w.f.st, &w.f.a, first_id, NULL);
	assert_int_equal(run_with("watch", hold_it), 5);
	assert_true(told("Held: ") && told("waits for: ") && told("wavetrain retry r-7f3a0000"));
	assert_int_equal(run("status r-7f3a"), 5);
	assert_int_equal(run("watch r-7f3a -o jsonl"), 5);
	assert_true(said("\"state\":\"HELD\""));
	assert_int_equal(run("resume r-7f3a"), 0);
	assert_int_equal(run("pause r-7f3a --reason look"), 0);
	assert_int_equal(run("watch r-7f3a"), 5);
	assert_true(told("Paused: pause by ") && told(": look") && told("wavetrain resume r-7f3a0000"));
}

static void at_a_terminal_a_watch_stays_with_what_is_held(void **state)
{
	start();
	assert_int_equal(run("pause --reason look"), 0);
	assert_int_equal(run_tty("watch --timeout 300ms", NULL, ""), 124);
}

static void two_things_happen(pid_t pid, int turn)
{
	if (turn % 400 || admin_connections(w.admin) == 0)
		return;
	struct event e = {.kind = EVENT_TASK, .at = w.f.now, .app = {"checkout"}, .host = {"eu-1"}};
	e.deployment.v = newest;
	snprintf(e.to, sizeof e.to, "%s", turn % 800 ? "PROBING" : "HEALTHY");
	events_add(w.events, &e);
}

static void the_live_view_tells_what_happened_last(void **state)
{
	start();
	view_each_deployment(w.f.st, &w.f.a, first_id, NULL);
	assert_int_equal(run_tty("watch --timeout 3s", two_things_happen, ""), 124);
	assert_true(said("eu-1 healthy   ") || said("eu-1 probing   "));
}

static void interrupt(pid_t pid, int turn)
{
	/* It takes interrupts from before it connects on. */
	if (turn % 100 == 0 && admin_connections(w.admin))
		kill(pid, SIGINT);
}

static void an_interrupt_detaches(void **state)
{
	start();
	assert_int_equal(run_with("watch", interrupt), 130);
	assert_true(told("Detached.") && told("wavetrain watch"));
}

/* The coordinator goes away twice under the watch; then the rollout ends. */
static void restart_and_end(pid_t pid, int turn)
{
	static int restarts;
	if (turn == 0)
		restarts = 0;
	if (turn % 200 || admin_connections(w.admin) == 0)
		return;
	if (restarts++ < 2)
		world_restart(&w);
	else
		world_move(&w, newest, ROLLOUT_FAILED);
}

static void a_watch_survives_the_coordinator(void **state)
{
	start();
	view_each_deployment(w.f.st, &w.f.a, first_id, NULL);
	assert_int_equal(run_with("watch", restart_and_end), 1);
	assert_true(told("Connecting again"));
	assert_true(said("failed  checkout 2.0 in prod"));
}

static void events_come_as_json_lines_with_cursors(void **state)
{
	start();
	assert_int_equal(run("events -o jsonl"), 0);
	assert_true(said("{\"event\":{\"cursor\":1,"));
}

static void log_line(const char *host, const char *text)
{
	struct event e = {.kind = EVENT_LOG, .at = w.f.now, .app = {"checkout"}, .from = "output"};
	snprintf(e.host.s, sizeof e.host.s, "%s", host);
	snprintf(e.text, sizeof e.text, "%s", text);
	e.deployment.v = 0x7f3a000000000001;
	events_add(w.events, &e);
}

static void logs_are_lines_of_hosts_and_inert_on_a_terminal(void **state)
{
	start();
	log_line("eu-1", "listening on 8080");
	log_line("eu-2", "\033[2J\033]0;owned\007");
	assert_int_equal(run("logs r-7f3a"), 0);
	assert_string_equal(buf_cstr(&out), "eu-1 output: listening on 8080\neu-2 output: ?[2J?]0;owned?\n");
	assert_int_equal(run("logs checkout --host eu-1 --timestamps"), 0);
	assert_string_equal(buf_cstr(&out), "2023-11-14T22:13:20Z eu-1 output: listening on 8080\n");
	assert_int_equal(run("logs --grep 8080 -o jsonl --limit 5"), 0);
	assert_true(said(
		"\"at\":\"2023-11-14T22:13:20Z\",\"app\":\"checkout\",\"deployment\":\"r-7f3a000000000001\","
		"\"host\":\"eu-1\",\"stream\":\"output\",\"text\":\"listening on 8080\"}"));
	assert_int_equal(run("logs checkout -o json"), 0);
	assert_true(said("[\n  {") && said("\\u001B[2J"));
	log_line("eu-1", "half a character \xe2\x82");
	assert_int_equal(run("logs checkout -o jsonl --limit 1"), 0);
	assert_true(said("\"text\":\"half a character ?"
			 "?\"}"));
	assert_int_equal(run("logs billing"), 0);
	assert_int_equal(out.len, 0);
}

static void what_logs_cannot_do_is_told(void **state)
{
	assert_int_equal(run("logs nothing"), 1);
	assert_true(told("E_NOT_FOUND"));
	assert_int_equal(run("logs checkout --since soon"), 64);
	assert_int_equal(run("logs checkout --limit -1"), 64);
	assert_int_equal(run("logs checkout -f -o json"), 64);
	assert_true(told("jsonl"));
}

/* Lines come before, between and after two restarts of the coordinator; then a person has seen enough. */
static void print_and_restart(pid_t pid, int turn)
{
	char text[32];
	if (turn == 0)
		log_line("eu-1", "before");
	if (turn == 300 || turn == 2000)
		world_restart(&w);
	if (turn > 0 && turn < 4000 && turn % 1000 == 0) {
		snprintf(text, sizeof text, "turn %d", turn);
		log_line("eu-1", text);
	}
	if (turn > 4000 && said("turn 3000"))
		kill(pid, SIGINT);
}

static void following_logs_survives_the_coordinator(void **state)
{
	assert_int_equal(run_with("logs checkout -f", print_and_restart), 130);
	assert_string_equal(buf_cstr(&out), "eu-1 output: before\neu-1 output: turn 1000\n"
					    "eu-1 output: turn 2000\neu-1 output: turn 3000\n");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(lists_are_tables_or_json),
		T(errors_have_code_hint_and_exit_code),
		T(a_dry_run_changes_nothing),
		T(severe_commands_want_the_name),
		T(an_agents_bundle_is_written_for_its_owner_only),
		T(doctor_and_explain_answer),
		T(a_release_is_pushed_and_gone_on_with),
		T(a_release_says_on_how_many_coordinators_it_lies),
		T(an_upload_draws_its_progress_on_a_terminal),
		T(a_refused_upload_is_told_although_bytes_were_on_their_way),
		T(a_deployment_that_goes_back_exits_3_with_the_reason),
		T(a_terminal_is_asked_then_redrawn_in_place),
		T(deploy_asks_and_a_script_must_say_yes),
		T(values_of_the_file_are_set_by_name),
		T(an_environment_brings_its_overlay),
		T(a_saved_plan_is_applied_or_stale),
		T(verbs_and_one_shot_status),
		T(what_ended_is_undone_by_a_deployment_of_what_was_before),
		T(a_rollback_goes_where_it_is_told_and_never_one_too_far),
		T(a_watch_ends_at_its_timeout),
		T(without_a_terminal_a_watch_ends_when_only_a_person_can_go_on),
		T(at_a_terminal_a_watch_stays_with_what_is_held),
		T(the_live_view_tells_what_happened_last),
		T(an_interrupt_detaches),
		T(a_watch_survives_the_coordinator),
		T(events_come_as_json_lines_with_cursors),
		T(logs_are_lines_of_hosts_and_inert_on_a_terminal),
		T(what_logs_cannot_do_is_told),
		T(following_logs_survives_the_coordinator),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
