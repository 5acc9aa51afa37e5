#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/cli.h"

/*
 * One request and its answers. Text is printed frame by frame; JSON is one document: an array for lists
 * (joined over frames), else the object; jsonl one line per element.
 */
struct call {
	struct cli *c;
	struct cli_result *r;
	json_t *whole;
};

static const ProtobufCMessage *body_of(const Admin__Reply *reply)
{
	/* The members of a protobuf-c oneof share one place. */
	return &reply->error->base;
}

static json_t *elements_of(const Admin__Reply *reply)
{
	json_t *o = cli_json(body_of(reply));
	json_t *v = json_object_get(o, "v");
	if (!v)
		return o;
	json_incref(v);
	json_decref(o);
	return v;
}

static void print_jsonl(json_t *part, struct buf *out)
{
	size_t nr = json_is_array(part) ? json_array_size(part) : 1;
	for (size_t i = 0; i < nr; i++)
		cli_json_put(out, json_is_array(part) ? json_array_get(part, i) : part, JSON_COMPACT);
}

/* What a row is called where it is typed: a name, else an id, a version, a log index. */
static void print_names(json_t *part, struct buf *out)
{
	static const char *const keys[] = {"name", "id", "version", "index"};
	size_t nr = json_is_array(part) ? json_array_size(part) : 1;
	for (size_t i = 0; i < nr; i++) {
		json_t *row = json_is_array(part) ? json_array_get(part, i) : part, *v = NULL;
		for (size_t j = 0; j < ARRAY_LEN(keys) && !v; j++)
			v = json_object_get(row, keys[j]);
		if (json_is_integer(v))
			buf_printf(out, "%lld\n", (long long)json_integer_value(v));
		else if (json_is_string(v))
			buf_printf(out, "%s\n", json_string_value(v));
	}
}

static void add_json(struct call *k, json_t *part, struct buf *out)
{
	if (k->c->args.format == FORMAT_JSONL)
		print_jsonl(part, out);
	else if (k->c->args.format == FORMAT_NAME)
		print_names(part, out);
	else if (!k->whole)
		k->whole = json_incref(part);
	else if (json_is_array(k->whole) && json_is_array(part))
		json_array_extend(k->whole, part);
	json_decref(part);
}

static void show_rows(struct call *k, Admin__Reply *reply)
{
	struct buf out;
	buf_init(&out);
	if (k->c->args.format == FORMAT_TEXT)
		cli_show(k->c, reply, cli_wall_ms(), &out);
	else
		add_json(k, elements_of(reply), &out);
	cli_flush(&out);
	buf_done(&out);
}

static void finish_json(struct call *k, const Admin__Done *done)
{
	struct buf out;
	if (k->c->args.format == FORMAT_TEXT || k->r->silent)
		return;
	if (!k->whole && k->c->args.format == FORMAT_JSON)
		k->whole = cli_json(&done->base);
	if (!k->whole)
		return;
	buf_init(&out);
	cli_json_put(&out, k->whole, JSON_INDENT(2));
	cli_flush(&out);
	buf_done(&out);
}

/* True: the last frame came. The reply is freed or kept. */
static bool take(struct call *k, Admin__Reply *reply)
{
	struct cli_result *r = k->r;
	bool last = false, kept = false;
	if (reply->body_case == ADMIN__REPLY__BODY_ERROR) {
		r->exit_code = cli_reply_error(k->c, reply->error);
		last = true;
	} else if (reply->body_case == ADMIN__REPLY__BODY_DONE) {
		r->exit_code = (int)reply->done->exit_code;
		snprintf(r->deployment, sizeof r->deployment, "%s", reply->done->deployment);
		if (reply->done->text[0] && k->c->args.format == FORMAT_TEXT)
			cli_note(k->c, "%s", reply->done->text);
		if (reply->done->note[0])
			cli_note(k->c, "%s", reply->done->note);
		finish_json(k, reply->done);
		last = true;
	} else if (reply->body_case == r->keep) {
		if (r->kept)
			admin__reply__free_unpacked(r->kept, NULL);
		r->kept = reply;
		kept = true;
	}
	if (!last && !r->silent)
		show_rows(k, reply);
	if (!kept)
		admin__reply__free_unpacked(reply, NULL);
	return last;
}

static int lost(struct cli *c, enum client_event ev)
{
	if (ev == CLIENT_INTERRUPTED)
		return EXIT_INTERRUPTED;
	if (ev == CLIENT_TIMEOUT)
		return cli_error(c, c->args.timeout_ms ? EXIT_TIMEOUT : EXIT_UNAVAILABLE, "E_TIMEOUT",
				 "wavetrain doctor tells whether the coordinators have a leader",
				 "the coordinator did not answer '%s' in time", c->args.row->name);
	return cli_error(c, EXIT_UNAVAILABLE, "E_UNKNOWN_OUTCOME",
			 c->args.row->flags & COMMAND_MUTATES
				 ? "look before you repeat it: wavetrain list, wavetrain audit list"
				 : "try again",
			 "the coordinator went away before it answered '%s'", c->args.row->name);
}

int cli_call(struct cli *c, Admin__Request *rq, struct cli_result *r)
{
	struct call k = {.c = c, .r = r};
	struct client cl;
	int rc = client_open(c, &cl);
	if (rc != EXIT_DONE)
		return r->exit_code = rc;
	client_send(&cl, &rq->base); /* a refusal may come before all is written: the answer tells */
	for (bool last = false; !last;) {
		Admin__Reply *reply = NULL;
		enum client_event ev = client_next(&cl, -1, &reply);
		if (ev != CLIENT_REPLY) {
			r->exit_code = lost(c, ev);
			break;
		}
		last = take(&k, reply);
	}
	client_close(&cl);
	json_decref(k.whole);
	return r->exit_code;
}
