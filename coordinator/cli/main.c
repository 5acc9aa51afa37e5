/* wavetrain: the operator's program. */
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "coordinator/cli/cli.h"

static bool colour_wanted(const struct cli *c, int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
	if (c->args.no_color || (no && no[0]) || !isatty(fd))
		return false;
	return !term || strcmp(term, "dumb") != 0;
}

enum { UNCUT = 4096 };

static unsigned screen_width(void)
{
	struct winsize w;
	const char *columns = getenv("COLUMNS");
	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col)
		return w.ws_col;
	int n = columns ? atoi(columns) : 0;
	if (n >= 20)
		return (unsigned)n;
	return isatty(STDOUT_FILENO) ? 80 : UNCUT; /* a pipe has no width: nothing is cut away from scripts */
}

static void look_around(struct cli *c)
{
	const char *term = getenv("TERM");
	bool dumb = term && strcmp(term, "dumb") == 0;
	setlocale(LC_CTYPE, "");
	c->out.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	c->out.width = c->args.wide ? UNCUT : screen_width();
	c->out.color = colour_wanted(c, STDOUT_FILENO);
	c->out.animate = isatty(STDOUT_FILENO) && !dumb && c->args.format == FORMAT_TEXT;
	c->out_tty = isatty(STDOUT_FILENO);
	c->err_tty = isatty(STDERR_FILENO) && !dumb;
	c->err_color = colour_wanted(c, STDERR_FILENO);
	c->in_tty = isatty(STDIN_FILENO);
}

static int print(struct buf *out)
{
	cli_flush(out);
	buf_done(out);
	return EXIT_DONE;
}

static int run(struct cli *c)
{
	struct buf out;
	buf_init(&out);
	if (c->args.row && !c->args.help) {
		buf_done(&out);
		return cli_run(c);
	}
	if (c->args.version)
		buf_puts(&out, "wavetrain " WAVETRAIN_VERSION "\n");
	else if (c->args.row)
		cli_help_command(&out, c->args.row);
	else if (c->args.words_nr)
		cli_help_topic(&out, c->args.words[0]);
	else if (!c->args.help)
		cli_help_short(&out);
	else
		cli_help_top(&out);
	return print(&out);
}

int main(int argc, char **argv)
{
	struct cli c = {0};
	char why[512];
	signal(SIGPIPE, SIG_IGN);
	arena_init(&c.arena);
	bool ok = cli_args_parse(argc, argv, &c.args, why, sizeof why);
	look_around(&c);
	int rc = ok ? run(&c)
		    : cli_error(&c, EXIT_USAGE, "E_INVALID",
				c.args.row ? arena_printf(&c.arena, "wavetrain help %s", c.args.row->name)
					   : NULL,
				"%s", why);
	arena_done(&c.arena);
	return rc;
}
