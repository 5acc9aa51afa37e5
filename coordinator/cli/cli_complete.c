#include <stdio.h>
#include <string.h>

#include "coordinator/cli/cli.h"

/* ---- shared: the words of the table ---- */

static size_t first_word(const char *name)
{
	return strcspn(name, " ");
}

static bool first_of_group(size_t i)
{
	size_t n = first_word(commands_table[i].name);
	for (size_t j = 0; j < i; j++)
		if (strncmp(commands_table[j].name, commands_table[i].name, n) == 0 &&
		    first_word(commands_table[j].name) == n)
			return false;
	return true;
}

static void put_top_words(struct buf *out)
{
	for (size_t i = 0; i < commands_nr; i++)
		if (first_of_group(i))
			buf_printf(out, "%s%.*s", i ? " " : "", (int)first_word(commands_table[i].name),
				   commands_table[i].name);
}

static void put_options(struct buf *out, unsigned options)
{
	buf_puts(out, "--format --socket --timeout --dry-run --yes --confirm --no-input --no-color --quiet "
		      "--verbose --help");
	for (size_t i = 0; i < options_nr; i++)
		if (options_table[i].bit & options)
			buf_printf(out, " --%s", options_table[i].name);
}

static void put_cases(struct buf *out)
{
	for (size_t i = 0; i < commands_nr; i++) {
		const struct command_row *r = &commands_table[i];
		const char *space = strchr(r->name, ' ');
		if (space)
			buf_printf(out, "\t\t'%s'*) options='", r->name);
		else
			buf_printf(out, "\t\t'%s '*) options='", r->name);
		put_options(out, r->options);
		buf_printf(out, "' ; kind='%s' ;;\n", r->args);
	}
}

/* The word of a name that begins at `at`, unless an earlier name of the same beginning has it there, too. */
static void put_next_word(struct buf *out, size_t i, size_t at)
{
	const char *name = commands_table[i].name;
	size_t n = strcspn(name + at, " ");
	for (size_t j = 0; j < i; j++)
		if (strncmp(commands_table[j].name, name, at + n) == 0 &&
		    strchr(" ", commands_table[j].name[at + n]) != NULL)
			return;
	buf_printf(out, "%.*s ", (int)n, name + at);
}

/* Names of three words: what may stand behind the first two. */
static void put_third(struct buf *out)
{
	for (size_t i = 0; i < commands_nr; i++) {
		const char *name = commands_table[i].name, *last = strrchr(name, ' ');
		size_t n = last ? (size_t)(last - name) : 0;
		if (!last || strchr(name, ' ') == last ||
		    (i > 0 && strncmp(commands_table[i - 1].name, name, n + 1) == 0))
			continue;
		buf_printf(out, "\t\t'%.*s') words='", (int)n, name);
		for (size_t j = i; j < commands_nr; j++)
			if (strncmp(commands_table[j].name, name, n + 1) == 0)
				put_next_word(out, j, n + 1);
		buf_puts(out, "' ;;\n");
	}
}

static void put_groups(struct buf *out)
{
	for (size_t i = 0; i < commands_nr; i++) {
		size_t n = first_word(commands_table[i].name);
		if (!first_of_group(i) || commands_table[i].name[n] == '\0')
			continue;
		buf_printf(out, "\t\t%.*s) words='", (int)n, commands_table[i].name);
		for (size_t j = i; j < commands_nr; j++)
			if (strncmp(commands_table[j].name, commands_table[i].name, n + 1) == 0)
				put_next_word(out, j, n + 1);
		buf_puts(out, "' ;;\n");
	}
}

/*
 * Names are asked of the coordinator, for at most a second and silently. What is completed follows from the
 * argument's word in commands.def.
 */
static const char bash_names[] = "_wavetrain_names() {\n"
				 "\tcase \"$1\" in\n"
				 "\t\tAPP*) wavetrain app list -o name --timeout 1s 2>/dev/null ;;\n"
				 "\t\tENV*) wavetrain env list -o name --timeout 1s 2>/dev/null ;;\n"
				 "\t\tHOST*) wavetrain agents list -o name --timeout 1s 2>/dev/null ;;\n"
				 "\t\t*ROLLOUT*) wavetrain list -o name --timeout 1s 2>/dev/null ;;\n"
				 "\t\tSHELL) echo bash zsh ;;\n"
				 "\tesac\n"
				 "}\n";

static const char bash_body[] =
	"\tcase \"$line\" in\n"
	"%CASES%"
	"\tesac\n"
	"\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n"
	"\t\twords='%TOP%'\n"
	"\telif [ \"$COMP_CWORD\" -eq 2 ]; then\n"
	"\t\tcase \"${COMP_WORDS[1]}\" in\n"
	"%GROUPS%"
	"\t\tesac\n"
	"\telif [ \"$COMP_CWORD\" -eq 3 ]; then\n"
	"\t\tcase \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n"
	"%THIRD%"
	"\t\tesac\n"
	"\tfi\n"
	"\tcase \"$current\" in\n"
	"\t\t-*) words=$options ;;\n"
	"\t\t*) case \"$previous\" in\n"
	"\t\t\t-e | --env) words=$(_wavetrain_names ENV) ;;\n"
	"\t\t\t--host) words=$(_wavetrain_names HOST) ;;\n"
	"\t\t\t-o | --format) words='text wide name json jsonl' ;;\n"
	"\t\t\t-f | --file | --plan | --out | --socket) COMPREPLY=($(compgen -f -- \"$current\")); return "
	";;\n"
	"\t\t\t*) if [ -z \"$words\" ]; then words=$(_wavetrain_names \"${kind#[}\"); fi ;;\n"
	"\t\tesac ;;\n"
	"\tesac\n"
	"\tCOMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
	"\tif [ \"${#COMPREPLY[@]}\" -eq 0 ]; then\n"
	"\t\tCOMPREPLY=($(compgen -f -- \"$current\"))\n"
	"\tfi\n"
	"}\n";

static void put_template(struct buf *out, const char *t)
{
	for (const char *s = t; *s;) {
		const char *mark = strstr(s, "%");
		size_t n = mark ? (size_t)(mark - s) : strlen(s);
		buf_put(out, s, n);
		s += n;
		if (strncmp(s, "%CASES%", 7) == 0) {
			put_cases(out);
			s += 7;
		} else if (strncmp(s, "%TOP%", 5) == 0) {
			put_top_words(out);
			s += 5;
		} else if (strncmp(s, "%GROUPS%", 8) == 0) {
			put_groups(out);
			s += 8;
		} else if (strncmp(s, "%THIRD%", 7) == 0) {
			put_third(out);
			s += 7;
		} else if (*s) {
			buf_put(out, s++, 1);
		}
	}
}

static void put_bash(struct buf *out)
{
	buf_puts(out, "# Made by 'wavetrain completion' from coordinator/admin/commands.def.\n");
	buf_puts(out, bash_names);
	buf_puts(out, "_wavetrain() {\n"
		      "\tlocal current previous words options kind line\n"
		      "\tcurrent=${COMP_WORDS[COMP_CWORD]}\n"
		      "\tprevious=${COMP_WORDS[COMP_CWORD - 1]}\n"
		      "\twords= options='--help' kind=\n"
		      "\tline=\"${COMP_WORDS[*]:1} \"\n");
	put_template(out, bash_body);
	buf_puts(out, "complete -F _wavetrain wavetrain\n");
}

/* zsh runs the same function through its own emulation of bash completion. */
bool cli_completion(struct buf *out, const char *shell)
{
	bool zsh = strcmp(shell, "zsh") == 0;
	if (!zsh && strcmp(shell, "bash") != 0)
		return false;
	if (zsh)
		buf_puts(out, "#compdef wavetrain\nautoload -U +X bashcompinit && bashcompinit\n");
	put_bash(out);
	return true;
}
