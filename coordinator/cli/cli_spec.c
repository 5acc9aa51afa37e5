/*
 * cli_spec.c: the deployment file on the operator's side: `lint`, `schema`, the codes of `explain`, and what
 * `plan` and `deploy` send. The checks are those of coordinator/spec, which the coordinator runs again on
 * what arrives.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "coordinator/cli/cli.h"
#include "coordinator/spec/spec.h"

enum { PATH_CAP = 1024 };

static int read_file(struct cli *c, const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return cli_error(c, EXIT_SPEC, "E_NOT_FOUND", "name it with -f FILE", "%s: %s", path,
				 strerror(errno));
	size_t n;
	while ((n = fread(buf_reserve(out, 65536), 1, 65536, f)) > 0 && out->len <= SPEC_BYTES_MAX)
		out->len += n;
	fclose(f);
	if (out->len > SPEC_BYTES_MAX)
		return cli_error(c, EXIT_SPEC, "E_TOO_LARGE", NULL, "%s is larger than 1 MiB", path);
	return EXIT_DONE;
}

/* deploy.staging.yaml lies over deploy.yaml in the environment staging, when it is there. */
static bool overlay_path(const struct cli *c, const char *path, char out[PATH_CAP])
{
	const char *env = cli_environment(c), *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
	if (!name_ok(env) || dot == NULL || (slash != NULL && slash > dot))
		return false;
	snprintf(out, PATH_CAP, "%.*s.%s%s", (int)(dot - path), path, env, dot);
	return access(out, R_OK) == 0;
}

struct file {
	const char *path;
	char overlay[PATH_CAP];
	struct buf text, overlay_text;
	struct spec spec;
	struct spec_diags diags;
};

static const char *path_of(const struct cli *c)
{
	const char *path = cli_option(&c->args, OPT_FILE);
	if (path == NULL && c->args.row->id == CMD_LINT && c->args.words_nr > 0)
		path = c->args.words[0];
	return path == NULL ? "deploy.yaml" : path;
}

/* EXIT_DONE: read, maybe with errors in f->diags (*rc). Anything else was said already. */
static int load(struct cli *c, struct file *f, int *rc)
{
	f->path = path_of(c);
	buf_init(&f->text);
	buf_init(&f->overlay_text);
	int code = read_file(c, f->path, &f->text);
	bool overlaid = code == EXIT_DONE && overlay_path(c, f->path, f->overlay);
	if (overlaid)
		code = read_file(c, f->overlay, &f->overlay_text);
	if (code != EXIT_DONE)
		return code;
	const struct spec_source src = {.file = f->path,
					.text = buf_cstr(&f->text),
					.len = f->text.len,
					.overlay_file = overlaid ? f->overlay : NULL,
					.overlay_text = overlaid ? buf_cstr(&f->overlay_text) : NULL,
					.overlay_len = f->overlay_text.len,
					.sets = c->args.sets,
					.sets_nr = c->args.sets_nr};
	*rc = spec_load(&c->arena, &src, &f->spec, &f->diags);
	return EXIT_DONE;
}

static void file_free(struct file *f)
{
	if (f == NULL)
		return;
	buf_done(&f->text);
	buf_done(&f->overlay_text);
	free(f);
}

static struct file *file_new(void)
{
	struct file *f = calloc(1, sizeof *f);
	PRE(f != NULL);
	return f;
}

static void say_diags(const struct file *f)
{
	struct buf b;
	buf_init(&b);
	if (f->diags.nr > 0)
		spec_diag_print(&b, &f->diags);
	fputs(buf_cstr(&b), stderr);
	buf_done(&b);
}

int cli_spec_load(struct cli *c, struct buf *out)
{
	struct file *f = file_new();
	int rc = E_OK, code = load(c, f, &rc);
	if (code == EXIT_DONE) {
		say_diags(f);
		if (f->overlay_text.len > 0)
			cli_note(c, "%s with %s", f->path, f->overlay);
		if (rc == E_OK)
			spec_render_canonical(&f->spec, out);
		code = rc == E_OK ? EXIT_DONE : EXIT_SPEC;
	}
	file_free(f);
	return code;
}

static int print(struct buf *b)
{
	cli_flush(b);
	buf_done(b);
	return EXIT_DONE;
}

int cli_run_lint(struct cli *c)
{
	struct file *f = file_new();
	struct buf b;
	int rc = E_OK, code = load(c, f, &rc);
	buf_init(&b);
	if (code == EXIT_DONE) {
		if (c->args.format != FORMAT_TEXT) {
			spec_diag_json(&b, &f->diags);
			buf_puts(&b, "\n");
		} else {
			say_diags(f);
			if (rc == E_OK && f->diags.warnings == 0)
				cli_note(c, "%s%s%s: no errors", f->path, f->overlay_text.len ? " with " : "",
					 f->overlay_text.len ? f->overlay : "");
		}
		code = rc == E_OK ? EXIT_DONE : EXIT_SPEC;
	}
	print(&b);
	file_free(f);
	return code;
}

int cli_run_schema(struct cli *c)
{
	struct buf b;
	buf_init(&b);
	spec_schema_json(&b);
	if (b.len > 0 && b.data[b.len - 1] != '\n')
		buf_puts(&b, "\n");
	return print(&b);
}

int cli_spec_explain(struct cli *c, const char *code)
{
	struct buf b;
	const char *text = spec_explain(code);
	if (text == NULL)
		return cli_error(c, EXIT_FAILED, "E_NOT_FOUND", "wavetrain lint shows the codes of a file",
				 "there is no code %s", code);
	buf_init(&b);
	buf_printf(&b, "%s\n", text);
	return print(&b);
}
