#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/cli.h"

/* Data goes to stdout. When its reader is gone nobody is left to tell: end quietly, as other tools do. A full
 * disk is told. */
bool cli_flush(struct buf *out)
{
	size_t at = 0;
	while (at < out->len) {
		ssize_t n = write(STDOUT_FILENO, out->data + at, out->len - at);
		if (n < 0 && errno != EINTR) {
			if (errno != EPIPE)
				fprintf(stderr, "error: the output cannot be written: %s  [E_IO]\n",
					strerror(errno));
			_exit(EXIT_FAILED);
		}
		at += n > 0 ? (size_t)n : 0;
	}
	buf_reset(out);
	return true;
}

/* Messages may carry text of other people: what could drive a terminal is shown as '?'. */
static void say(const char *line)
{
	struct buf b;
	buf_init(&b);
	for (const char *s = line; *s; s += strcspn(s, "\n") + (s[strcspn(s, "\n")] == '\n')) {
		char one[2048];
		snprintf(one, sizeof one, "%.*s", (int)strcspn(s, "\n"), s);
		cli_put_cut(&b, one, sizeof one);
		buf_puts(&b, "\n");
	}
	fwrite(b.data, 1, b.len, stderr);
	buf_done(&b);
}

void cli_note(const struct cli *c, const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	if (c->args.quiet)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	say(text);
}

static void error_json(int exit_code, const char *code, const char *text, const char *hint,
		       json_t *candidates)
{
	json_t *o =
		json_pack("{s:{s:s,s:o,s:o,s:i,s:o}}", "error", "code", code, "text", cli_json_string(text),
			  "hint", cli_json_string(hint), "exit_code", exit_code, "candidates", candidates);
	struct buf out;
	buf_init(&out);
	cli_json_put(&out, o, JSON_COMPACT);
	fputs(buf_cstr(&out), stderr);
	buf_done(&out);
	json_decref(o);
}

static int show_error(const struct cli *c, int exit_code, const char *code, const char *hint,
		      const char *text, char **candidates, size_t nr)
{
	char line[2048];
	json_t *list = json_array();
	for (size_t i = 0; i < nr; i++)
		json_array_append_new(list, json_string(candidates[i]));
	if (c->args.format == FORMAT_JSON || c->args.format == FORMAT_JSONL) {
		error_json(exit_code, code, text, hint, list);
		return exit_code;
	}
	json_decref(list);
	if (c->err_color)
		fputs("\033[31m", stderr);
	fputs("error: ", stderr);
	if (c->err_color)
		fputs("\033[0m", stderr);
	snprintf(line, sizeof line, "%s  [%s]", text, code);
	say(line);
	for (size_t i = 0; nr > 1 && i < nr; i++) {
		snprintf(line, sizeof line, "    %s", candidates[i]);
		say(line);
	}
	if (hint && hint[0]) {
		snprintf(line, sizeof line, "  next: %s", hint);
		say(line);
	}
	return exit_code;
}

int cli_error(const struct cli *c, int exit_code, const char *code, const char *hint, const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return show_error(c, exit_code, code, hint, text, NULL, 0);
}

int cli_reply_error(const struct cli *c, const Admin__Error *e)
{
	return show_error(c, (int)e->exit_code, e->code, e->hint, e->text, e->candidates, e->n_candidates);
}

/* ---- questions ---- */

static bool read_line(char *line, size_t cap)
{
	if (!fgets(line, (int)cap, stdin))
		return false;
	line[strcspn(line, "\r\n")] = '\0';
	return true;
}

static int refuse_to_ask(const struct cli *c, enum danger danger, const char *name, const char *question)
{
	char hint[160];
	const char *why = c->args.no_input ? " (--no-input)" : " (stdin is no terminal)";
	snprintf(hint, sizeof hint, danger == DANGER_SEVERE ? "add --confirm=%s" : "add --yes", name);
	if (danger == DANGER_SEVERE)
		return cli_error(c, EXIT_USAGE, "E_INVALID", hint,
				 "%s%s This needs its name typed, and there is no one to ask%s", question,
				 c->args.yes ? " --yes is not enough for it." : "", why);
	return cli_error(c, EXIT_USAGE, "E_INVALID", hint,
			 "this needs to be confirmed, and there is no one to ask%s", why);
}

static int ask_name(const struct cli *c, const char *name, const char *question)
{
	char line[256];
	fprintf(stderr, "%s\nType %s to go on: ", question, name);
	if (read_line(line, sizeof line) && strcmp(line, name) == 0)
		return EXIT_DONE;
	return cli_error(c, EXIT_FAILED, "E_INVALID", NULL, "not confirmed; nothing was changed");
}

static int ask_yes(const struct cli *c, const char *question)
{
	char line[256];
	fprintf(stderr, "%s [y/N] ", question);
	if (read_line(line, sizeof line) && (strcmp(line, "y") == 0 || strcmp(line, "yes") == 0))
		return EXIT_DONE;
	return cli_error(c, EXIT_FAILED, "E_INVALID", NULL, "not confirmed; nothing was changed");
}

int cli_confirm(const struct cli *c, enum danger danger, const char *name, const char *question)
{
	if (danger <= DANGER_MILD || c->args.dry_run)
		return EXIT_DONE;
	if (c->args.confirm)
		return strcmp(c->args.confirm, name) == 0
			       ? EXIT_DONE
			       : cli_error(c, EXIT_USAGE, "E_INVALID", NULL,
					   "--confirm names '%s', but this is about '%s'", c->args.confirm,
					   name);
	if (danger == DANGER_MODERATE && c->args.yes)
		return EXIT_DONE;
	if (c->args.no_input || !c->in_tty)
		return refuse_to_ask(c, danger, name, question);
	return danger == DANGER_SEVERE ? ask_name(c, name, question) : ask_yes(c, question);
}
