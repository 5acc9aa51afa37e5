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

/* A host that breaks the rules may send what is not UTF-8: its ASCII is shown. */
static json_t *text_of(const char *s)
{
	struct buf b;
	json_t *j = json_string(s);
	if (j)
		return j;
	buf_init(&b);
	buf_puts(&b, s);
	for (size_t i = 0; i < b.len; i++)
		b.data[i] = b.data[i] < 0x80 ? b.data[i] : '?';
	j = json_string(buf_cstr(&b));
	buf_done(&b);
	return j;
}

struct json_t *cli_log_json(const Admin__Event *e)
{
	char at[32];
	return json_pack("{s:I,s:s,s:o,s:o,s:o,s:o,s:o}", "cursor", (json_int_t)e->cursor, "at",
			 cli_rfc3339(at, sizeof at, e->at_ms), "app", text_of(e->app), "deployment",
			 text_of(e->deployment), "host", text_of(e->host), "stream", text_of(e->from), "text",
			 text_of(e->reason));
}
