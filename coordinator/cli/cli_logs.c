#include <jansson.h>

#include "coordinator/cli/cli.h"

/* "web-03 output: listening on 8080": a log line is an event whose `from` is the stream. */
void cli_log_text(struct buf *out, const Admin__Event *e, bool timestamp)
{
	char at[32];
	if (timestamp)
		buf_printf(out, "%s ", cli_rfc3339(at, sizeof at, e->at_ms));
	cli_put_cut(out, e->host, NAME_MAX_LEN);
	buf_puts(out, " ");
	cli_put_cut(out, e->from, NAME_MAX_LEN);
	buf_puts(out, ": ");
	cli_put_cut(out, e->reason, SIZE_MAX);
	buf_puts(out, "\n");
}

struct json_t *cli_log_json(const Admin__Event *e)
{
	char at[32];
	return json_pack("{s:I,s:s,s:o,s:o,s:o,s:o,s:o}", "cursor", (json_int_t)e->cursor, "at",
			 cli_rfc3339(at, sizeof at, e->at_ms), "app", cli_json_string(e->app), "deployment",
			 cli_json_string(e->deployment), "host", cli_json_string(e->host), "stream",
			 cli_json_string(e->from), "text", cli_json_string(e->reason));
}
