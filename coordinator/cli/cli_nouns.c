#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/cli/cli.h"

/* ---- requests of the plain verbs ---- */

static char *word(const struct cli *c, size_t i)
{
	return (char *)(uintptr_t)(i < c->args.words_nr ? c->args.words[i] : "");
}

static char *option(const struct cli *c, unsigned bit)
{
	const char *s = cli_option(&c->args, bit);
	return (char *)(uintptr_t)(s ? s : "");
}

static Admin__Label **labels(struct cli *c, size_t *nr)
{
	Admin__Label **v = arena_array(&c->arena, Admin__Label *, CLI_LABELS_MAX);
	for (size_t i = 0; i < c->args.labels_nr; i++) {
		char *key = arena_strdup(&c->arena, c->args.labels[i]);
		char *eq = strchr(key, '=');
		*eq = '\0';
		v[i] = arena_new(&c->arena, Admin__Label);
		admin__label__init(v[i]);
		v[i]->key = key;
		v[i]->value = eq + 1;
	}
	*nr = c->args.labels_nr;
	return v;
}

static void set_app(struct cli *c, Admin__Request *rq)
{
	rq->args_case = ADMIN__REQUEST__ARGS_APP;
	rq->app = arena_new(&c->arena, Admin__AppArgs);
	admin__app_args__init(rq->app);
	rq->app->name = word(c, 0);
}

static void set_env(struct cli *c, Admin__Request *rq)
{
	rq->args_case = ADMIN__REQUEST__ARGS_ENV;
	rq->env = arena_new(&c->arena, Admin__EnvArgs);
	admin__env_args__init(rq->env);
	rq->env->name = word(c, 0);
	rq->env->configuration = option(c, OPT_CONFIGURATION);
	rq->env->selector = labels(c, &rq->env->n_selector);
}

static void set_host(struct cli *c, Admin__Request *rq)
{
	rq->args_case = ADMIN__REQUEST__ARGS_HOST;
	rq->host = arena_new(&c->arena, Admin__HostArgs);
	admin__host_args__init(rq->host);
	rq->host->name = word(c, 0);
	rq->host->region = option(c, OPT_REGION);
	rq->host->zone = option(c, OPT_ZONE);
	rq->host->labels = labels(c, &rq->host->n_labels);
}

static void set_release(struct cli *c, Admin__Request *rq)
{
	rq->args_case = ADMIN__REQUEST__ARGS_RELEASE;
	rq->release = arena_new(&c->arena, Admin__ReleaseArgs);
	admin__release_args__init(rq->release);
	rq->release->app = word(c, 0);
	rq->release->version = word(c, 1);
}

static void set_list(struct cli *c, Admin__Request *rq)
{
	rq->args_case = ADMIN__REQUEST__ARGS_LIST;
	rq->list = arena_new(&c->arena, Admin__ListArgs);
	admin__list_args__init(rq->list);
	rq->list->app = word(c, 0);
	rq->list->env = option(c, OPT_ENV);
	rq->list->from = cli_number(&c->args, OPT_FROM);
	rq->list->limit = (uint32_t)cli_number(&c->args, OPT_LIMIT);
}

static void set_rollout(struct cli *c, Admin__Request *rq)
{
	rq->args_case = ADMIN__REQUEST__ARGS_ROLLOUT;
	rq->rollout = arena_new(&c->arena, Admin__RolloutArgs);
	admin__rollout_args__init(rq->rollout);
	cli_rollout_args(c, rq->rollout, word(c, 0));
}

static void set_args(struct cli *c, Admin__Request *rq)
{
	const char *name = c->args.row->name;
	if (strncmp(name, "app ", 4) == 0)
		set_app(c, rq);
	else if (strncmp(name, "env ", 4) == 0)
		set_env(c, rq);
	else if (strncmp(name, "agents ", 7) == 0)
		set_host(c, rq);
	else if (c->args.row->id == CMD_RELEASE_LIST || c->args.row->id == CMD_LIST ||
		 c->args.row->id == CMD_HISTORY || c->args.row->id == CMD_AUDIT_LIST)
		set_list(c, rq);
	else if (strncmp(name, "release ", 8) == 0)
		set_release(c, rq);
	else if (c->args.row->id != CMD_DOCTOR)
		set_rollout(c, rq);
}

static int call(struct cli *c, struct cli_result *r)
{
	Admin__Request rq;
	char question[160];
	snprintf(question, sizeof question, "%s %.80s?", c->args.row->name, word(c, 0));
	int rc = cli_confirm(c, c->args.row->danger, word(c, 0), question);
	if (rc != EXIT_DONE)
		return rc;
	cli_request_init(c, &rq);
	set_args(c, &rq);
	return cli_call(c, &rq, r);
}

static int run_plain(struct cli *c)
{
	struct cli_result r = {0};
	return call(c, &r);
}

/* ---- agents add: the bundle ---- */

/* Names come from the coordinator; still, nothing may be written outside the folder. */
static bool plain_file_name(const char *s)
{
	return s[0] && s[0] != '.' && !strchr(s, '/');
}

/* The coordinator has issued the bundle and does not keep it: only a new generation has another. */
static const char *add_again(struct cli *c, const char *first)
{
	return arena_printf(&c->arena, "%s, then: wavetrain agents remove %s --reason TEXT, and add it again",
			    first, word(c, 0));
}

static int write_file(struct cli *c, const char *dir, const Admin__File *f)
{
	const char *path = arena_printf(&c->arena, "%s/%s", dir, f->name);
	if (!plain_file_name(f->name))
		return cli_error(c, EXIT_FAILED, "E_PROTOCOL", NULL,
				 "the coordinator sent a file with the name '%s'", f->name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, f->mode & 0777);
	if (fd < 0)
		return cli_error(c, EXIT_FAILED, "E_IO",
				 add_again(c, "choose an empty folder (--out FOLDER)"), "%s: %s", path,
				 strerror(errno));
	ssize_t n = write(fd, f->content.data, f->content.len);
	int rc = close(fd);
	if (n != (ssize_t)f->content.len || rc != 0)
		return cli_error(c, EXIT_FAILED, "E_IO", add_again(c, "free disk space"),
				 "%s could not be written", path);
	return EXIT_DONE;
}

static int write_bundle(struct cli *c, const Admin__Bundle *b)
{
	const char *dir = cli_option(&c->args, OPT_OUT);
	int rc = EXIT_DONE;
	if (!dir)
		dir = arena_printf(&c->arena, "%s.d", word(c, 0));
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return cli_error(c, EXIT_FAILED, "E_IO", add_again(c, "choose another folder (--out FOLDER)"),
				 "%s: %s", dir, strerror(errno));
	for (size_t i = 0; i < b->n_files && rc == EXIT_DONE; i++)
		rc = write_file(c, dir, b->files[i]);
	if (rc == EXIT_DONE)
		cli_note(c,
			 "Certificate bundle written to %s. Copy it to the host, keep the key private, then "
			 "delete it here.",
			 dir);
	return rc;
}

int cli_run_agents_add(struct cli *c)
{
	struct cli_result r = {.keep = ADMIN__REPLY__BODY_BUNDLE, .silent = true};
	int rc = call(c, &r);
	if (rc == EXIT_DONE && r.kept)
		rc = write_bundle(c, r.kept->bundle);
	if (rc == EXIT_DONE && r.kept && c->args.format != FORMAT_TEXT)
		printf("{\"host\":\"%s\",\"generation\":%llu}\n", word(c, 0),
		       (unsigned long long)r.kept->bundle->generation);
	if (r.kept)
		admin__reply__free_unpacked(r.kept, NULL);
	return rc;
}

/* ---- doctor ---- */

static void put_check(struct cli *c, struct buf *out, const char *result, const char *name, const char *text,
		      const char *fix)
{
	enum cli_mark m = strcmp(result, "ok") == 0	? MARK_GOOD
			  : strcmp(result, "warn") == 0 ? MARK_WARN
							: MARK_FAIL;
	cli_put_mark(out, &c->out, m);
	buf_puts(out, " ");
	cli_put_pad(out, name, 16);
	cli_put_cut(out, text, 300);
	buf_puts(out, "\n");
	if (m == MARK_GOOD || fix[0] == '\0')
		return;
	buf_puts(out, "                    fix: ");
	cli_put_cut(out, fix, 300);
	buf_puts(out, "\n");
}

int cli_run_doctor(struct cli *c)
{
	struct cli_result r = {.keep = ADMIN__REPLY__BODY_DOCTOR, .silent = c->args.format == FORMAT_TEXT};
	struct buf out;
	int rc = call(c, &r);
	if (r.kept) {
		buf_init(&out);
		if (c->args.format == FORMAT_TEXT)
			put_check(c, &out, "ok", "socket", cli_socket(c), "");
		for (size_t i = 0; c->args.format == FORMAT_TEXT && i < r.kept->doctor->n_checks; i++) {
			const Admin__Check *k = r.kept->doctor->checks[i];
			put_check(c, &out, k->result, k->name, k->text, k->fix);
		}
		cli_flush(&out);
		buf_done(&out);
		admin__reply__free_unpacked(r.kept, NULL);
	}
	return rc;
}

/* ---- explain ---- */

static const char *class_text(enum err_class k)
{
	switch (k) {
	case ERR_TRANSIENT:
		return "It may work when tried again.";
	case ERR_PERMANENT:
		return "It will not work without a change of what was asked.";
	case ERR_DENIED:
		return "It is not allowed. Trying again will not help.";
	case ERR_CONFLICT:
		return "The state moved, or something else is under way. Look again, then decide.";
	case ERR_CORRUPT:
		return "Stored or received bytes are damaged. Do not repeat it before the cause is known.";
	case ERR_BUG:
		return "This is a fault of wavetrain itself. Please report it with the log.";
	}
	return "";
}

static int explain_code(struct cli *c, const char *code)
{
	for (int i = 1; i < E_NR; i++)
		if (strcmp(err_name(i), code) == 0) {
			printf("%s: %s\n%s\n", code, err_text(i), class_text(err_class(i)));
			return EXIT_DONE;
		}
	return cli_error(c, EXIT_USAGE, "E_NOT_FOUND", "codes stand in [brackets] at the end of errors",
			 "there is no code '%.40s'", code);
}

int cli_run_explain(struct cli *c)
{
	const char *what = word(c, 0);
	if (strncmp(what, "E_", 2) == 0)
		return explain_code(c, what);
	/* E1101, W1201: what lint says of deployment files. */
	if ((what[0] == 'E' || what[0] == 'W') && strlen(what) == 5 && strspn(what + 1, "0123456789") == 4)
		return cli_spec_explain(c, what);
	return run_plain(c);
}

/* ---- which function for which verb ---- */

static int print_text(struct buf *out)
{
	cli_flush(out);
	buf_done(out);
	return EXIT_DONE;
}

static int run_version(struct cli *c)
{
	struct buf out;
	buf_init(&out);
	buf_puts(&out, c->args.format == FORMAT_TEXT ? "wavetrain " WAVETRAIN_VERSION "\n"
						     : "{\"version\":\"" WAVETRAIN_VERSION "\"}\n");
	return print_text(&out);
}

static int run_completion(struct cli *c)
{
	struct buf out;
	buf_init(&out);
	if (cli_completion(&out, word(c, 0)))
		return print_text(&out);
	buf_done(&out);
	return cli_error(c, EXIT_USAGE, "E_INVALID", NULL, "completion is made for bash and zsh, not '%s'",
			 word(c, 0));
}

static int run_help(struct cli *c)
{
	struct buf out;
	const char *topic =
		arena_printf(&c->arena, "%s%s%s", word(c, 0), c->args.words_nr > 1 ? " " : "", word(c, 1));
	buf_init(&out);
	if (c->args.words_nr == 0)
		cli_help_top(&out);
	else if (!cli_help_topic(&out, topic)) {
		buf_done(&out);
		return cli_error(c, EXIT_USAGE, "E_INVALID", "wavetrain help lists all",
				 "there is no help on '%.60s'", topic);
	}
	return print_text(&out);
}

static const struct {
	enum command_id id;
	int (*run)(struct cli *c);
} runs[] = {
	{CMD_AGENTS_ADD, cli_run_agents_add},
	{CMD_RELEASE_PUSH, cli_run_push},
	{CMD_CLUSTER_STATUS, cli_run_cluster},
	{CMD_CLUSTER_REMOVE, cli_run_cluster},
	{CMD_CLUSTER_TRANSFER, cli_run_cluster},
	{CMD_TOKEN_CREATE, cli_run_cluster},
	{CMD_TOKEN_LIST, cli_run_cluster},
	{CMD_TOKEN_REVOKE, cli_run_cluster},
	{CMD_LINT, cli_run_lint},
	{CMD_SCHEMA, cli_run_schema},
	{CMD_PLAN, cli_run_plan},
	{CMD_DEPLOY, cli_run_deploy},
	{CMD_STATUS, cli_run_watch},
	{CMD_WATCH, cli_run_watch},
	{CMD_EVENTS, cli_run_events},
	{CMD_LOGS, cli_run_logs},
	{CMD_EXPLAIN, cli_run_explain},
	{CMD_PAUSE, cli_run_verb},
	{CMD_RESUME, cli_run_verb},
	{CMD_ABORT, cli_run_verb},
	{CMD_RETRY, cli_run_verb},
	{CMD_PROMOTE, cli_run_verb},
	{CMD_ROLLBACK, cli_run_rollback},
	{CMD_DOCTOR, cli_run_doctor},
	{CMD_VERSION, run_version},
	{CMD_COMPLETION, run_completion},
	{CMD_HELP, run_help},
};

/* Verbs without a row of their own send what was typed and show what comes back. */
int cli_run(struct cli *c)
{
	for (size_t i = 0; i < ARRAY_LEN(runs); i++)
		if (runs[i].id == c->args.row->id)
			return runs[i].run(c);
	return run_plain(c);
}
