#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/cli.h"

enum { SPEC_MAX = 200 * 1024 }; /* fits a request */

static int read_file(struct cli *c, const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return cli_error(c, EXIT_SPEC, "E_NOT_FOUND", "name it with -f FILE", "%s: %s", path,
				 strerror(errno));
	size_t n;
	while ((n = fread(buf_reserve(out, 65536), 1, 65536, f)) > 0 && out->len <= SPEC_MAX)
		out->len += n;
	fclose(f);
	if (out->len > SPEC_MAX)
		return cli_error(c, EXIT_SPEC, "E_TOO_LARGE", NULL, "%s is larger than 200 KiB", path);
	return EXIT_DONE;
}

int cli_spec_load(struct cli *c, struct buf *out)
{
	const char *path = cli_option(&c->args, OPT_FILE);
	return read_file(c, path ? path : "deploy.yaml", out);
}

int cli_run_lint(struct cli *c)
{
	return cli_error(c, EXIT_FAILED, "E_UNSUPPORTED", "wavetrain plan checks the file on the coordinator",
			 "this build has no checker of deployment files");
}

int cli_run_schema(struct cli *c)
{
	return cli_error(c, EXIT_FAILED, "E_UNSUPPORTED", NULL,
			 "this build has no schema of deployment files");
}

int cli_spec_explain(struct cli *c, const char *code)
{
	return cli_error(c, EXIT_FAILED, "E_UNSUPPORTED", NULL,
			 "this build has no texts for codes of deployment files (%s)", code);
}
