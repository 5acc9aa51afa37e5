#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/cli.h"

static char *text(const char *s)
{
	return (char *)(uintptr_t)(s ? s : "");
}

/* A word that is "r-..." names a rollout; for rollback and logs another word is an application. Logs of one
 * are those of all environments unless --env says otherwise. */
void cli_rollout_args(struct cli *c, Admin__RolloutArgs *args, const char *word)
{
	uint64_t wave = cli_number(&c->args, OPT_WAVE);
	const char *host = cli_option(&c->args, OPT_HOST);
	bool by_app = c->args.row->id == CMD_ROLLBACK || c->args.row->id == CMD_LOGS;
	bool is_app = by_app && word[0] != '\0' && strncmp(word, "r-", 2) != 0;
	args->deployment = text(is_app ? "" : word);
	args->app = text(is_app ? word : "");
	args->env = text(word[0] == '\0' || is_app ? cli_environment(c) : "");
	if (is_app && c->args.row->id == CMD_LOGS)
		args->env = text(cli_option(&c->args, OPT_ENV));
	args->promote_full = cli_option(&c->args, OPT_FULL) != NULL;
	args->has_wave = wave > 0;
	args->wave = wave > 0 ? (uint32_t)wave - 1 : 0;
	args->host = text(host);
}

/* ---- plan ---- */

static void fill_deploy(struct cli *c, Admin__DeployArgs *args, struct buf *spec)
{
	admin__deploy_args__init(args);
	args->app = text(c->args.words_nr ? c->args.words[0] : "");
	args->version = text(c->args.words_nr > 1 ? c->args.words[1] : "");
	args->env = text(cli_environment(c));
	args->force_bad = cli_option(&c->args, OPT_FORCE_BAD) != NULL;
	args->skip_stop_hooks = cli_option(&c->args, OPT_SKIP_STOP_HOOKS) != NULL;
	args->spec.data = spec->data;
	args->spec.len = spec->len;
}

/* Ask for a plan; *kept is the reply with it. */
static int get_plan(struct cli *c, struct buf *spec, bool silent, Admin__Reply **kept)
{
	Admin__Request rq;
	Admin__DeployArgs args;
	struct cli_result r = {.keep = ADMIN__REPLY__BODY_PLAN, .silent = silent};
	cli_request_init(c, &rq);
	rq.verb = CMD_PLAN;
	fill_deploy(c, &args, spec);
	rq.args_case = ADMIN__REQUEST__ARGS_DEPLOY;
	rq.deploy = &args;
	int rc = cli_call(c, &rq, &r);
	*kept = r.kept;
	return rc == EXIT_CHANGES || (rc == EXIT_DONE && r.kept) ? EXIT_DONE : rc;
}

int cli_run_plan(struct cli *c)
{
	struct buf spec;
	Admin__Reply *kept = NULL;
	const char *path = cli_option(&c->args, OPT_OUT);
	buf_init(&spec);
	int rc = cli_spec_load(c, &spec);
	if (rc == EXIT_DONE)
		rc = get_plan(c, &spec, false, &kept);
	if (rc == EXIT_DONE && path)
		rc = cli_plan_save(c, kept->plan, &spec, path);
	if (rc == EXIT_DONE && !kept->plan->no_change && cli_option(&c->args, OPT_DETAILED))
		rc = EXIT_CHANGES;
	if (kept)
		admin__reply__free_unpacked(kept, NULL);
	buf_done(&spec);
	return rc;
}

/* ---- deploy ---- */

static void show_plan(struct cli *c, const Admin__Plan *p)
{
	struct buf out;
	if (c->args.format != FORMAT_TEXT)
		return;
	buf_init(&out);
	cli_plan_text(&out, p, &c->out);
	cli_flush(&out);
	buf_done(&out);
}

static int ask(struct cli *c, const Admin__Plan *p)
{
	char question[160];
	if (p->severe)
		snprintf(question, sizeof question, "This is severe: %.120s.", p->severe_why);
	else
		snprintf(question, sizeof question, "Apply to %.64s?", p->env);
	return cli_confirm(c, p->severe ? DANGER_SEVERE : DANGER_MODERATE, p->app, question);
}

static int send_deploy(struct cli *c, const Admin__Plan *p, struct buf *spec, struct cli_result *r)
{
	Admin__Request rq;
	Admin__DeployArgs args;
	cli_request_init(c, &rq);
	fill_deploy(c, &args, spec);
	args.app = p->app;
	args.version = p->version;
	args.env = p->env;
	args.plan = p->digest;
	args.state_index = p->state_index;
	args.deployment = p->deployment;
	args.force_bad = p->force_bad;
	args.skip_stop_hooks = p->skip_stop_hooks;
	rq.verb = CMD_DEPLOY;
	rq.args_case = ADMIN__REQUEST__ARGS_DEPLOY;
	rq.deploy = &args;
	r->silent = true;
	return cli_call(c, &rq, r);
}

static int follow(struct cli *c, const struct cli_result *r, bool wanted_back)
{
	char id[24];
	cli_short_id(id, sizeof id, r->deployment);
	if (c->args.dry_run || r->deployment[0] == '\0')
		return EXIT_DONE;
	if (cli_option(&c->args, OPT_DETACH)) {
		cli_note(c, "Rollout %s runs. Watch it: wavetrain watch %s", id, id);
		if (c->args.format != FORMAT_TEXT)
			printf("{\"rollout\":{\"id\":\"%s\"}}\n", r->deployment);
		return EXIT_DONE;
	}
	cli_note(c, "Rollout %s runs.", id);
	return cli_watch(c, r->deployment, wanted_back);
}

static int apply(struct cli *c, const Admin__Plan *p, struct buf *spec)
{
	struct cli_result r = {0};
	show_plan(c, p);
	if (p->no_change)
		return EXIT_DONE;
	int rc = ask(c, p);
	if (rc == EXIT_DONE)
		rc = send_deploy(c, p, spec, &r);
	return rc == EXIT_DONE ? follow(c, &r, false) : rc;
}

static int deploy_saved(struct cli *c, const char *path)
{
	struct buf spec;
	Admin__Plan *p = NULL;
	bool other = cli_option(&c->args, OPT_FILE) || cli_option(&c->args, OPT_SET) ||
		     cli_option(&c->args, OPT_ENV) || cli_option(&c->args, OPT_FORCE_BAD) ||
		     cli_option(&c->args, OPT_SKIP_STOP_HOOKS);
	buf_init(&spec);
	int rc =
		c->args.words_nr || other
			? cli_error(
				  c, EXIT_USAGE, "E_INVALID", "make another plan: wavetrain plan",
				  "--plan already names application, version, environment and file, and what "
				  "is forced or left out")
			: cli_plan_load(c, path, &p, &spec);
	if (rc == EXIT_DONE)
		rc = apply(c, p, &spec);
	if (p)
		admin__plan__free_unpacked(p, NULL);
	buf_done(&spec);
	return rc;
}

int cli_run_deploy(struct cli *c)
{
	struct buf spec;
	Admin__Reply *kept = NULL;
	const char *path = cli_option(&c->args, OPT_PLAN);
	if (path)
		return deploy_saved(c, path);
	if (c->args.words_nr == 0)
		return cli_error(c, EXIT_USAGE, "E_INVALID", "wavetrain help deploy",
				 "deploy needs APP VERSION, or --plan FILE");
	buf_init(&spec);
	int rc = cli_spec_load(c, &spec);
	if (rc == EXIT_DONE)
		rc = get_plan(c, &spec, true, &kept);
	if (rc == EXIT_DONE)
		rc = apply(c, kept->plan, &spec);
	if (kept)
		admin__reply__free_unpacked(kept, NULL);
	buf_done(&spec);
	return rc;
}

/* ---- verbs ---- */

static int send_verb(struct cli *c, struct cli_result *r)
{
	Admin__Request rq;
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	const char *word = c->args.words_nr ? c->args.words[0] : "";
	char question[200];
	snprintf(question, sizeof question, "%s %.64s?", c->args.row->name,
		 word[0] ? word : "the rollout under way");
	int rc = cli_confirm(c, c->args.row->danger, word, question);
	if (rc != EXIT_DONE)
		return rc;
	cli_rollout_args(c, &args, word);
	cli_request_init(c, &rq);
	rq.args_case = ADMIN__REQUEST__ARGS_ROLLOUT;
	rq.rollout = &args;
	return cli_call(c, &rq, r);
}

int cli_run_verb(struct cli *c)
{
	struct cli_result r = {0};
	return send_verb(c, &r);
}

/* ---- rollback ---- */

/* What a rollback would do: a plan is kept, or r->deployment is under way and its verb takes it back. */
static int ask_back(struct cli *c, struct cli_result *r)
{
	Admin__Request rq;
	Admin__DeployArgs args = ADMIN__DEPLOY_ARGS__INIT;
	const char *word = c->args.words[0];
	bool is_rollout = strncmp(word, "r-", 2) == 0;
	cli_request_init(c, &rq);
	rq.verb = CMD_PLAN;
	rq.dry_run = false; /* a plan changes nothing */
	args.back = true;
	args.app = text(is_rollout ? "" : word);
	args.rollout = text(is_rollout ? word : "");
	args.env = text(is_rollout ? "" : cli_environment(c));
	args.version = text(cli_option(&c->args, OPT_TO));
	rq.args_case = ADMIN__REQUEST__ARGS_DEPLOY;
	rq.deploy = &args;
	*r = (struct cli_result){.keep = ADMIN__REPLY__BODY_PLAN, .silent = true};
	int rc = cli_call(c, &rq, r);
	return rc == EXIT_CHANGES ? EXIT_DONE : rc;
}

static int take_back(struct cli *c, const char *rollout)
{
	struct cli_result r = {.silent = true};
	c->args.words[0] = rollout;
	int rc = send_verb(c, &r);
	return rc == EXIT_DONE ? follow(c, &r, true) : rc;
}

int cli_run_rollback(struct cli *c)
{
	struct cli_result r;
	struct buf spec;
	int rc = ask_back(c, &r);
	if (rc == EXIT_DONE && !r.kept)
		return take_back(c, arena_strdup(&c->arena, r.deployment));
	buf_init(&spec);
	if (rc == EXIT_DONE) {
		buf_put(&spec, r.kept->plan->spec.data, r.kept->plan->spec.len);
		rc = apply(c, r.kept->plan, &spec);
	}
	if (r.kept)
		admin__reply__free_unpacked(r.kept, NULL);
	buf_done(&spec);
	return rc;
}
