/*
 * Frames of the admin socket from either side: a server takes requests and data from any local user, the
 * program takes replies from whoever listens on the socket. The first byte says which side, and which command
 * the reply is taken for; replies are also shown as text and as JSON.
 */
#include <stdint.h>
#include <stdlib.h>

#include <jansson.h>

#include "coordinator/admin/commands_frame.h"
#include "coordinator/cli/cli.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* The reply need not be what was asked for. */
static void show(const struct command_row *asked, const Admin__Reply *r)
{
	struct cli c = {.args = {.row = asked, .format = FORMAT_TEXT}, .out = {.width = 80, .utf8 = true}};
	struct buf out;
	arena_init(&c.arena);
	buf_init(&out);
	cli_show(&c, r, 1000, &out);
	if (r->body_case == ADMIN__REPLY__BODY_ROLLOUT)
		cli_report(&out, r->rollout, &c.out);
	json_decref(cli_json(&r->base));
	buf_done(&out);
	arena_done(&c.arena);
}

static void take_reply(const struct command_row *asked, const uint8_t *p, size_t n)
{
	Admin__Reply *r = admin__reply__unpack(NULL, n, p);
	if (!r)
		return;
	show(asked, r);
	admin__reply__free_unpacked(r, NULL);
}

static void take_request(const uint8_t *p, size_t n)
{
	Admin__Request *r = admin__request__unpack(NULL, n, p);
	Admin__Data *d = admin__data__unpack(NULL, n, p);
	if (r)
		admin__request__free_unpacked(r, NULL);
	if (d)
		admin__data__free_unpacked(d, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const uint8_t *body;
	size_t len;
	if (n < 1)
		return 0;
	bool reply = p[0] & 1;
	const struct command_row *asked = &commands_table[(p[0] >> 1) % commands_nr];
	for (p++, n--; commands_frame_next(p, n, COMMANDS_FRAME_REQUEST_MAX, &body, &len) == FRAME_WHOLE;) {
		if (reply)
			take_reply(asked, body, len);
		else
			take_request(body, len);
		p += COMMANDS_FRAME_HEAD + len;
		n -= COMMANDS_FRAME_HEAD + len;
	}
	return 0;
}
