#include <stdio.h>
#include <string.h>

#include "coordinator/cli/cli.h"

static const struct {
	int code;
	const char *text;
} exit_codes[] = {
	{EXIT_DONE, "done"},
	{EXIT_FAILED, "operation failed"},
	{EXIT_CHANGES, "changes present (plan with --detailed-exitcode only)"},
	{EXIT_ROLLED_BACK, "rolled back: by itself, or because somebody said so"},
	{EXIT_DENIED, "not authenticated or not allowed"},
	{EXIT_BLOCKED, "blocked: paused or held"},
	{EXIT_CONFLICT, "conflict (stale plan, another rollout under way)"},
	{EXIT_USAGE, "usage"},
	{EXIT_SPEC, "invalid deployment file"},
	{EXIT_UNAVAILABLE, "no coordinator or no quorum"},
	{EXIT_TIMEOUT, "--timeout hit"},
	{EXIT_INTERRUPTED, "interrupted"},
};

static const char global_help[] =
	"Global options:\n"
	"  -e, --env ENV            environment (or WAVETRAIN_ENV)\n"
	"  -o, --format FORMAT      text, wide, name, json or jsonl\n"
	"      --socket PATH        admin socket (or WAVETRAIN_SOCKET), default /run/wavetrain/admin.sock\n"
	"      --timeout TIME       give up after 90s, 5m, 1h30m\n"
	"  -n, --dry-run            all checks of the coordinator, no change\n"
	"  -y, --yes                answer yes to [y/N]\n"
	"      --confirm NAME       the name a severe question asks for\n"
	"      --no-input           never ask\n"
	"      --no-color           no colours (also NO_COLOR, TERM=dumb)\n"
	"      --timestamps         absolute times instead of ages\n"
	"  -q, --quiet              errors only\n"
	"  -v, --verbose            all hosts in the live view\n"
	"  -h, --help\n"
	"      --version\n";

void cli_help_short(struct buf *out)
{
	static const enum command_id first[] = {CMD_DEPLOY, CMD_STATUS, CMD_LIST,     CMD_LOGS,
						CMD_PAUSE,  CMD_ABORT,	CMD_ROLLBACK, CMD_DOCTOR};
	buf_puts(out, "wavetrain: deploy versions to fleets of hosts in waves\n\n"
		      "Usage: wavetrain COMMAND [options]\n\n");
	for (size_t i = 0; i < ARRAY_LEN(first); i++) {
		const struct command_row *row = command_by_number(first[i]);
		buf_printf(out, "  %-10s %s\n", row->name, row->help);
	}
	buf_puts(out, "\nAll commands: wavetrain help. One of them: wavetrain help COMMAND\n");
}

void cli_help_top(struct buf *out)
{
	buf_puts(out, "wavetrain: deploy versions to fleets of hosts in waves\n\n"
		      "Examples:\n"
		      "  wavetrain release push checkout 2.5.0 ./dist\n"
		      "  wavetrain deploy checkout 2.5.0 -e prod\n"
		      "  wavetrain status\n\n"
		      "Commands:\n");
	for (size_t i = 0; i < commands_nr; i++) {
		char left[64];
		snprintf(left, sizeof left, "%s %s", commands_table[i].name, commands_table[i].args);
		buf_printf(out, "  %-36s %s\n", left, commands_table[i].help);
	}
	buf_printf(out, "\n%s\nMore: wavetrain help COMMAND, wavetrain help exit-codes\n", global_help);
}

static void put_options(struct buf *out, unsigned options)
{
	for (size_t i = 0; i < options_nr; i++) {
		const struct option_row *o = &options_table[i];
		char left[64], letter[8] = "    ";
		if (!(o->bit & options))
			continue;
		if (o->letter)
			snprintf(letter, sizeof letter, "-%c, ", o->letter);
		snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->arg ? " " : "",
			 o->arg ? o->arg : "");
		buf_printf(out, "  %-27s %s\n", left, o->help);
	}
}

void cli_help_command(struct buf *out, const struct command_row *row)
{
	buf_printf(out, "Example:\n  %s\n\n", row->example);
	buf_printf(out, "Usage: wavetrain %s%s%s%s\n\n%s.\n", row->name, row->args[0] ? " " : "", row->args,
		   row->options ? " [options]" : "", row->help);
	if (!(row->flags & COMMAND_LOCAL))
		buf_printf(out, "Needs the role %s.\n", role_name(row->role));
	if (row->options) {
		buf_puts(out, "\nOptions:\n");
		put_options(out, row->options);
	}
	buf_puts(out, "\nGlobal options: wavetrain help\n");
}

static void exit_code_help(struct buf *out)
{
	buf_puts(out, "Exit codes:\n");
	for (size_t i = 0; i < ARRAY_LEN(exit_codes); i++)
		buf_printf(out, "  %3d  %s\n", exit_codes[i].code, exit_codes[i].text);
}

static bool group_help(struct buf *out, const char *group)
{
	bool found = false;
	size_t n = strlen(group);
	for (size_t i = 0; i < commands_nr; i++) {
		const struct command_row *r = &commands_table[i];
		if (strncmp(r->name, group, n) != 0 || r->name[n] != ' ')
			continue;
		buf_printf(out, "  wavetrain %s %s\n      %s.\n", r->name, r->args, r->help);
		found = true;
	}
	return found;
}

bool cli_help_topic(struct buf *out, const char *topic)
{
	const struct command_row *row = command_by_name(topic);
	if (strcmp(topic, "exit-codes") == 0)
		exit_code_help(out);
	else if (strcmp(topic, "man") == 0)
		cli_man(out);
	else if (row)
		cli_help_command(out, row);
	else
		return group_help(out, topic);
	return true;
}

/* ---- the manual page ---- */

/* roff: a leading dot or quote would be a request, a minus a hyphen. */
static void put_roff(struct buf *out, const char *s)
{
	if (*s == '.' || *s == '\'')
		buf_puts(out, "\\&");
	for (; *s; s++) {
		if (*s == '-')
			buf_puts(out, "\\-");
		else if (*s == '\\')
			buf_puts(out, "\\e");
		else
			buf_put(out, s, 1);
	}
}

static void man_lines(struct buf *out, const char *text)
{
	buf_puts(out, ".nf\n");
	for (const char *s = text; *s;) {
		char line[200];
		size_t n = strcspn(s, "\n");
		snprintf(line, sizeof line, "%.*s", (int)n, s);
		put_roff(out, line);
		buf_puts(out, "\n");
		s += n + (s[n] == '\n');
	}
	buf_puts(out, ".fi\n");
}

static void man_command(struct buf *out, const struct command_row *row)
{
	buf_puts(out, ".TP\n.B wavetrain ");
	put_roff(out, row->name);
	buf_puts(out, " ");
	put_roff(out, row->args);
	buf_puts(out, "\n");
	put_roff(out, row->help);
	buf_puts(out, ".\n");
	for (size_t i = 0; i < options_nr; i++)
		if (options_table[i].bit & row->options) {
			buf_puts(out, ".br\n");
			buf_puts(out, "\\-\\-");
			put_roff(out, options_table[i].name);
			buf_printf(out, "%s%s: ", options_table[i].arg ? " " : "",
				   options_table[i].arg ? options_table[i].arg : "");
			put_roff(out, options_table[i].help);
			buf_puts(out, "\n");
		}
	buf_puts(out, ".br\nExample: ");
	put_roff(out, row->example);
	buf_puts(out, "\n");
}

void cli_man(struct buf *out)
{
	struct buf codes;
	buf_puts(out, ".\\\" Made by 'wavetrain help man' from coordinator/admin/commands.def; do not edit.\n"
		      ".TH WAVETRAIN 1 \"\" \"wavetrain " WAVETRAIN_VERSION "\" \"wavetrain\"\n"
		      ".SH NAME\nwavetrain \\- deploy versions to fleets of hosts in waves\n"
		      ".SH SYNOPSIS\n.B wavetrain\n.I command\n[options] [arguments]\n.SH COMMANDS\n");
	for (size_t i = 0; i < commands_nr; i++)
		man_command(out, &commands_table[i]);
	buf_puts(out, ".SH OPTIONS\n");
	man_lines(out, global_help);
	buf_puts(out, ".SH EXIT STATUS\n");
	buf_init(&codes);
	exit_code_help(&codes);
	man_lines(out, buf_cstr(&codes));
	buf_done(&codes);
	buf_puts(out, ".SH ENVIRONMENT\nWAVETRAIN_SOCKET, WAVETRAIN_ENV, NO_COLOR, TERM, COLUMNS\n");
}
