#include <stdio.h>
#include <string.h>

#include "coordinator/cli/cli.h"

/* "3", or "coordinator-3" as it stands in certificates and logs. Empty: any. */
static bool parse_node(const char *s, uint64_t *out)
{
	static const char head[] = "coordinator-";
	*out = 0;
	if (strncmp(s, head, sizeof head - 1) == 0)
		s += sizeof head - 1;
	return s[0] == '\0' || (cli_parse_number(s, out) && *out != 0);
}

static bool fill(struct cli *c, Admin__ClusterArgs *args, const char *word)
{
	const char *ttl = cli_option(&c->args, OPT_TTL);
	args->standby = cli_option(&c->args, OPT_STANDBY) != NULL;
	if (ttl && !cli_parse_duration(ttl, &args->ttl_ms))
		return false; /* looked at when it was read */
	if (c->args.row->id == CMD_TOKEN_REVOKE)
		args->token = (char *)(uintptr_t)word;
	else
		return parse_node(word, &args->node);
	return true;
}

static int confirm(struct cli *c, const char *word)
{
	char question[160];
	snprintf(question, sizeof question, "%s %.80s?", c->args.row->name, word);
	return cli_confirm(c, c->args.row->danger, word, question);
}

int cli_run_cluster(struct cli *c)
{
	const char *word = c->args.words_nr ? c->args.words[0] : "";
	struct cli_result r = {0};
	Admin__Request rq;
	Admin__ClusterArgs args = ADMIN__CLUSTER_ARGS__INIT;
	if (!fill(c, &args, word))
		return cli_error(c, EXIT_USAGE, "E_INVALID", "wavetrain cluster status lists them",
				 "'%.40s' is no coordinator: each has a number", word);
	int rc = confirm(c, word);
	if (rc != EXIT_DONE)
		return rc;
	cli_request_init(c, &rq);
	rq.args_case = ADMIN__REQUEST__ARGS_CLUSTER;
	rq.cluster = &args;
	return cli_call(c, &rq, &r);
}
