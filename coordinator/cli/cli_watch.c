#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/cli/cli.h"

enum { REDRAW_MS = 100, RECONNECT_MS = 1000, LOST_MS = 60000 };
enum { LAST_NR = 3, LAST_CAP = 96 };

/*
 * Watching survives the coordinator: when the connection ends without Done, it is opened again with the
 * cursor of the last event, until LOST_MS passed or --timeout says so.
 */
struct watch {
	struct cli *c;
	struct client cl;
	enum command_id verb;
	Admin__RolloutArgs args;
	char id[DEPLOYMENT_ID_CAP];
	uint64_t cursor;
	Admin__Reply *model; /* newest Rollout */
	size_t drawn_lines;
	int64_t drawn_ms, deadline_ms;
	bool stale;		      /* model is newer than the screen */
	char last[LAST_NR][LAST_CAP]; /* what happened last, the newest first: a line of the live view */
	bool ended, wanted_back;
	int exit_code;
	struct buf out;
	json_t *lines; /* logs -o json: all of them */
};

/* ---- what is shown ---- */

static void read_size(struct cli_screen *s, size_t *rows)
{
	struct winsize w;
	*rows = 24;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0)
		return;
	if (w.ws_col)
		s->width = w.ws_col;
	if (w.ws_row)
		*rows = w.ws_row;
}

/* Lines over the screen's height would scroll and break the redraw: the last that fits says how many are
 * hidden. */
static size_t put_frame(struct buf *out, const char *text, size_t rows)
{
	size_t lines = 0, all = 0;
	for (const char *s = text; (s = strchr(s, '\n')); s++)
		all++;
	for (const char *s = text; *s; lines++) {
		size_t n = strcspn(s, "\n");
		if (lines + 2 >= rows && all > lines + 1) {
			buf_printf(out, "... %zu more lines\033[K\n", all - lines);
			return lines + 1;
		}
		buf_put(out, s, n);
		buf_puts(out, "\033[K\n");
		s += n + (s[n] == '\n');
	}
	return lines;
}

static void put_last(const struct watch *w, struct buf *out, size_t columns)
{
	char line[LAST_NR * (LAST_CAP + 3)] = "";
	for (size_t i = 0; i < LAST_NR && w->last[i][0]; i++) {
		strcat(line, i ? "   " : "");
		strcat(line, w->last[i]);
	}
	if (line[0] == '\0')
		return;
	cli_put_fit(out, line, columns, w->c->out.utf8);
	buf_puts(out, "\n");
}

static void redraw(struct watch *w)
{
	struct cli_screen s = w->c->out;
	struct buf tree;
	size_t rows;
	read_size(&s, &rows);
	buf_init(&tree);
	cli_tree(&tree, w->model->rollout, &s, w->c->args.verbose);
	put_last(w, &tree, s.width);
	cli_put_cut(&tree, "Ctrl-C detaches, the rollout continues", s.width);
	buf_puts(&tree, "\n");
	if (w->drawn_lines)
		buf_printf(&w->out, "\033[%zuA\r", w->drawn_lines);
	w->drawn_lines = put_frame(&w->out, buf_cstr(&tree), rows);
	buf_puts(&w->out, "\033[J");
	cli_flush(&w->out);
	buf_done(&tree);
	w->drawn_ms = cli_mono_ms();
	w->stale = false;
}

/* The line above the table is repeated text; the last frame is replaced by the report. */
static void erase(struct watch *w)
{
	if (w->drawn_lines)
		buf_printf(&w->out, "\033[%zuA\r\033[J", w->drawn_lines);
	w->drawn_lines = 0;
}

static void lower_state(char *out, size_t cap, const char *state)
{
	cli_state_text(out, cap, state);
	if (out[0] >= 'A' && out[0] <= 'Z')
		out[0] = (char)(out[0] + 'a' - 'A');
}

static void remember(struct watch *w, const Admin__Event *e)
{
	char at[32], to[40], wave[24] = "";
	cli_rfc3339(at, sizeof at, e->at_ms);
	lower_state(to, sizeof to, e->to);
	if (e->has_wave && !e->host[0])
		snprintf(wave, sizeof wave, " %u", e->wave + 1);
	memmove(w->last[1], w->last[0], sizeof w->last - sizeof w->last[0]);
	snprintf(w->last[0], LAST_CAP, "%.8s %.64s%s %s", at[0] ? at + 11 : "-",
		 e->host[0] ? e->host : e->kind, wave, to);
	w->stale = true;
}

static void event_line(struct watch *w, const Admin__Event *e)
{
	char at[32], to[40], id[24], line[512], where[100] = "";
	cli_rfc3339(at, sizeof at, e->at_ms);
	lower_state(to, sizeof to, e->to);
	if (e->has_wave)
		snprintf(where, sizeof where, "wave-%u ", e->wave + 1);
	snprintf(line, sizeof line, "%s %s %s%s%s%s%s%s", at[0] ? at + 11 : "-",
		 cli_short_id(id, sizeof id, e->deployment), where, e->host[0] ? e->host : e->kind,
		 to[0] ? " " : "", to, e->reason[0] ? "  " : "", e->reason);
	cli_put_cut(&w->out, line, sizeof line);
	buf_puts(&w->out, "\n");
	cli_flush(&w->out);
}

static void json_line(struct watch *w, const char *key, const ProtobufCMessage *m)
{
	json_t *o = json_pack("{s:o}", key, cli_json(m));
	cli_json_put(&w->out, o, JSON_COMPACT);
	cli_flush(&w->out);
	json_decref(o);
}

/* ---- one reply ---- */

static void show_line(struct watch *w, const Admin__Event *e)
{
	if (w->c->args.format == FORMAT_TEXT) {
		cli_log_text(&w->out, e, w->c->args.timestamps);
	} else if (w->c->args.format == FORMAT_JSON) {
		json_array_append_new(w->lines, cli_log_json(e));
		return;
	} else {
		json_t *o = cli_log_json(e);
		cli_json_put(&w->out, o, JSON_COMPACT);
		json_decref(o);
	}
	cli_flush(&w->out);
}

static void take_line(struct watch *w, const Admin__Event *e)
{
	if (e->reset)
		cli_note(w->c, "Some lines before these are not kept any more.");
	else
		show_line(w, e);
}

static void take_event(struct watch *w, const Admin__Event *e)
{
	bool log = strcmp(e->kind, "log") == 0;
	/* Another coordinator has other numbers; a repeated one after a reconnect was shown already. */
	if (e->reset)
		w->cursor = 0;
	if (e->cursor && e->cursor <= w->cursor)
		return;
	w->cursor = e->cursor ? e->cursor : w->cursor;
	if (w->verb == CMD_LOGS)
		take_line(w, e);
	else if (w->c->args.format == FORMAT_JSONL)
		json_line(w, "event", &e->base);
	else if (w->c->args.format == FORMAT_TEXT && w->c->out.animate && !log)
		remember(w, e);
	else if (w->c->args.format == FORMAT_TEXT && !w->c->out.animate && (!log || w->c->args.verbose))
		event_line(w, e);
}

/* Without a terminal the story is told by its events; where it stands when the telling begins is said first.
 */
static void begin_line(struct watch *w, const Admin__Rollout *r)
{
	char at[32], state[40], id[24], line[1024];
	const char *why = r->n_waiting ? r->waiting[0] : r->reason;
	cli_rfc3339(at, sizeof at, r->now_ms);
	lower_state(state, sizeof state, r->state);
	snprintf(line, sizeof line, "%s %s %s %s in %s is %s, %u of %u hosts done%s%s", at[0] ? at + 11 : "-",
		 cli_short_id(id, sizeof id, r->id), r->app, r->version, r->env, state, r->hosts_done,
		 r->hosts_nr, why[0] ? ": " : "", why);
	cli_put_cut(&w->out, line, sizeof line);
	buf_puts(&w->out, "\n");
	cli_flush(&w->out);
}

/* Paused or held, it stands until a person speaks. Whoever watches at a terminal may be that person; a script
 * would wait for ever, so its watch ends. */
static bool is_blocked(const struct watch *w)
{
	const Admin__Rollout *r = w->model ? w->model->rollout : NULL;
	return r && !w->c->out_tty && !r->terminal && r->exit_code == EXIT_BLOCKED;
}

static void take_model(struct watch *w, Admin__Reply *reply)
{
	if (!w->model && w->c->args.format == FORMAT_TEXT && !w->c->out.animate && !reply->rollout->terminal)
		begin_line(w, reply->rollout);
	if (w->model)
		admin__reply__free_unpacked(w->model, NULL);
	w->model = reply;
	w->stale = true;
	snprintf(w->id, sizeof w->id, "%s", reply->rollout->id);
	w->ended = is_blocked(w);
}

static void take(struct watch *w, Admin__Reply *reply)
{
	if (reply->body_case == ADMIN__REPLY__BODY_ROLLOUT) {
		take_model(w, reply);
		return;
	}
	if (reply->body_case == ADMIN__REPLY__BODY_EVENT) {
		take_event(w, reply->event);
	} else if (reply->body_case == ADMIN__REPLY__BODY_DONE) {
		w->exit_code = (int)reply->done->exit_code;
		w->ended = true;
	} else if (reply->body_case == ADMIN__REPLY__BODY_ERROR) {
		erase(w);
		cli_flush(&w->out);
		w->exit_code = cli_reply_error(w->c, reply->error);
		w->ended = true;
	}
	admin__reply__free_unpacked(reply, NULL);
}

/* ---- connection ---- */

static bool connect_again(struct watch *w)
{
	Admin__Request rq;
	if (client_try_open(cli_socket(w->c), &w->cl) != 0)
		return false;
	w->cl.quiet = true;
	w->cl.deadline_ms = w->deadline_ms;
	cli_request_init(w->c, &rq);
	rq.verb = (uint32_t)w->verb;
	rq.args_case = ADMIN__REQUEST__ARGS_ROLLOUT;
	rq.rollout = &w->args;
	w->args.cursor = w->cursor;
	if (w->id[0] && w->verb == CMD_WATCH)
		w->args.deployment = w->id;
	return client_send(&w->cl, &rq.base);
}

static void nap(void)
{
	struct timespec ts = {RECONNECT_MS / 1000, 0};
	nanosleep(&ts, NULL);
}

/* False: gave up; exit_code is set. */
static bool reconnect(struct watch *w)
{
	int64_t until = cli_mono_ms() + LOST_MS;
	client_close(&w->cl);
	cli_note(w->c, "The coordinator went away; the rollout continues without it. Connecting again...");
	w->drawn_lines = 0;
	while (cli_mono_ms() < until && (w->deadline_ms == 0 || cli_mono_ms() < w->deadline_ms)) {
		nap();
		if (connect_again(w))
			return true;
		client_close(&w->cl);
	}
	w->exit_code = cli_error(w->c, EXIT_UNAVAILABLE, "E_UNAVAILABLE",
				 "on another coordinator, or later: wavetrain watch",
				 "no coordinator answers on %s", cli_socket(w->c));
	return false;
}

/* ---- the loop ---- */

static int detach(struct watch *w, int exit_code, const char *why)
{
	char id[24];
	cli_flush(&w->out);
	cli_note(w->c, "%s The rollout continues. Watch it again: wavetrain watch %s", why,
		 cli_short_id(id, sizeof id, w->id));
	return exit_code;
}

static void say_waiting(const struct watch *w, const Admin__Rollout *r)
{
	for (size_t i = 0; i < r->n_waiting && i < 3; i++)
		cli_note(w->c, "%s %s", i ? "          " : "waits for:", r->waiting[i]);
}

static int stop_blocked(struct watch *w)
{
	const Admin__Rollout *r = w->model->rollout;
	char state[40], id[24];
	cli_state_text(state, sizeof state, r->state);
	cli_short_id(id, sizeof id, r->id);
	if (w->c->args.format != FORMAT_TEXT)
		json_line(w, "rollout", &r->base);
	cli_flush(&w->out);
	cli_note(w->c, "%s: %s", state, r->reason);
	say_waiting(w, r);
	cli_note(w->c, "Next: wavetrain %s %s (or rollback, abort). Then watch it again: wavetrain watch %s",
		 strcmp(state, "Held") == 0 ? "retry" : "resume", id, id);
	return EXIT_BLOCKED;
}

static int stop_watching(struct watch *w)
{
	const Admin__Rollout *r = w->model ? w->model->rollout : NULL;
	if (w->id[0] == '\0')
		return cli_error(w->c, EXIT_TIMEOUT, "E_TIMEOUT", "wavetrain doctor",
				 "--timeout is over; no coordinator told of the rollout until then");
	if (r)
		say_waiting(w, r);
	return detach(w, EXIT_TIMEOUT, "Stopped watching: --timeout is over.");
}

static void finish(struct watch *w)
{
	if (w->wanted_back && w->exit_code == EXIT_ROLLED_BACK)
		w->exit_code = EXIT_DONE;
	if (!w->model)
		return;
	if (w->c->args.format != FORMAT_TEXT) {
		json_line(w, "rollout", &w->model->rollout->base);
		return;
	}
	if (w->c->out.animate) {
		erase(w);
		cli_tree(&w->out, w->model->rollout, &w->c->out, w->c->args.verbose);
	}
	cli_report(&w->out, w->model->rollout, &w->c->out);
	cli_flush(&w->out);
}

static int64_t next_wait(const struct watch *w)
{
	if (!w->stale || !w->c->out.animate || w->c->args.format != FORMAT_TEXT)
		return -1;
	int64_t due = w->drawn_ms + REDRAW_MS - cli_mono_ms();
	return due > 0 ? due : 0;
}

static void draw_if_due(struct watch *w)
{
	if (w->stale && w->model && !w->ended && next_wait(w) == 0)
		redraw(w);
}

static int run(struct watch *w)
{
	while (!w->ended) {
		Admin__Reply *reply = NULL;
		enum client_event ev = client_next(&w->cl, next_wait(w), &reply);
		if (ev == CLIENT_REPLY)
			take(w, reply);
		if (ev == CLIENT_INTERRUPTED)
			return detach(w, EXIT_INTERRUPTED, "Detached.");
		if (ev == CLIENT_TIMEOUT && w->deadline_ms && cli_mono_ms() >= w->deadline_ms)
			return stop_watching(w);
		if (ev == CLIENT_END && !reconnect(w))
			return w->exit_code;
		draw_if_due(w);
	}
	if (is_blocked(w))
		return stop_blocked(w);
	finish(w);
	return w->exit_code;
}

static int watch_args(struct cli *c, const Admin__RolloutArgs *args, bool wanted_back)
{
	struct watch w = {
		.c = c, .verb = CMD_WATCH, .args = *args, .wanted_back = wanted_back, .cursor = args->cursor};
	cli_catch_interrupt();
	int rc = client_open(c, &w.cl); /* says why when nobody answers at all */
	if (rc != EXIT_DONE)
		return rc;
	client_close(&w.cl);
	buf_init(&w.out);
	if (c->args.timeout_ms)
		w.deadline_ms = cli_mono_ms() + c->args.timeout_ms;
	rc = connect_again(&w) || reconnect(&w) ? run(&w) : w.exit_code;
	client_close(&w.cl);
	if (w.model)
		admin__reply__free_unpacked(w.model, NULL);
	buf_done(&w.out);
	return rc;
}

int cli_watch(struct cli *c, const char *deployment, bool wanted_back)
{
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	args.deployment = (char *)(uintptr_t)deployment;
	return watch_args(c, &args, wanted_back);
}

static int once(struct cli *c, Admin__RolloutArgs *args)
{
	Admin__Request rq;
	struct cli_result r = {0};
	cli_request_init(c, &rq);
	rq.args_case = ADMIN__REQUEST__ARGS_ROLLOUT;
	rq.rollout = args;
	return cli_call(c, &rq, &r);
}

int cli_run_watch(struct cli *c)
{
	Admin__RolloutArgs args = ADMIN__ROLLOUT_ARGS__INIT;
	const char *watch = cli_option(&c->args, OPT_WATCH);
	cli_rollout_args(c, &args, c->args.words_nr ? c->args.words[0] : "");
	args.cursor = cli_number(&c->args, OPT_CURSOR);
	if (watch && strcmp(watch, "true") != 0 && strcmp(watch, "false") != 0)
		return cli_error(c, EXIT_USAGE, "E_INVALID", NULL, "--watch takes true or false, not '%s'",
				 watch);
	if (c->args.row->id == CMD_STATUS &&
	    ((watch && strcmp(watch, "false") == 0) || c->args.format == FORMAT_JSON))
		return once(c, &args);
	return watch_args(c, &args, false);
}

/* ---- events ---- */

/* Follows a stream without a model until it ends. */
static void read_stream(struct watch *w)
{
	while (!w->ended) {
		Admin__Reply *reply = NULL;
		enum client_event ev = client_next(&w->cl, -1, &reply);
		if (ev == CLIENT_REPLY) {
			take(w, reply);
			continue;
		}
		if (ev == CLIENT_END && w->args.follow && reconnect(w))
			continue;
		w->exit_code = ev == CLIENT_INTERRUPTED ? EXIT_INTERRUPTED
			       : ev == CLIENT_TIMEOUT	? EXIT_TIMEOUT
							: EXIT_UNAVAILABLE;
		return;
	}
}

static int run_stream(struct watch *w)
{
	int rc = client_open(w->c, &w->cl); /* says why when nobody answers at all */
	if (rc != EXIT_DONE)
		return rc;
	client_close(&w->cl);
	buf_init(&w->out);
	w->c->out.animate = false;
	w->deadline_ms = w->c->args.timeout_ms ? cli_mono_ms() + w->c->args.timeout_ms : 0;
	cli_catch_interrupt();
	if (connect_again(w) || reconnect(w))
		read_stream(w);
	client_close(&w->cl);
	buf_done(&w->out);
	return w->exit_code;
}

int cli_run_events(struct cli *c)
{
	struct watch w = {.c = c, .verb = CMD_EVENTS, .cursor = cli_number(&c->args, OPT_CURSOR)};
	admin__rollout_args__init(&w.args);
	w.args.follow = cli_option(&c->args, OPT_FOLLOW) != NULL;
	int rc = run_stream(&w);
	if (!w.ended && w.cursor)
		cli_note(c, "Stopped. Go on from here: wavetrain events --follow --cursor %llu",
			 (unsigned long long)w.cursor);
	return rc;
}

/* ---- logs ---- */

static int log_args(struct cli *c, Admin__RolloutArgs *args)
{
	const char *since = cli_option(&c->args, OPT_SINCE);
	const char *grep = cli_option(&c->args, OPT_GREP);
	int64_t since_ms = 0;
	admin__rollout_args__init(args);
	cli_rollout_args(c, args, c->args.words_nr ? c->args.words[0] : "");
	if (since && (!cli_parse_duration(since, &since_ms) || since_ms <= 0))
		return cli_error(c, EXIT_USAGE, "E_INVALID", NULL,
				 "--since: '%.40s' is not a duration (examples: 90s, 10m, 2h)", since);
	args->since_ms = (uint64_t)since_ms;
	args->limit = (uint32_t)cli_number(&c->args, OPT_LIMIT);
	args->grep = (char *)(uintptr_t)(grep ? grep : "");
	args->follow = cli_option(&c->args, OPT_FOLLOW) != NULL;
	if (args->follow && c->args.format == FORMAT_JSON)
		return cli_error(c, EXIT_USAGE, "E_INVALID", "use -o jsonl",
				 "one JSON document cannot follow what has no end");
	return EXIT_DONE;
}

static void print_lines(struct watch *w)
{
	struct buf out;
	buf_init(&out);
	cli_json_put(&out, w->lines, JSON_INDENT(2));
	cli_flush(&out);
	buf_done(&out);
}

int cli_run_logs(struct cli *c)
{
	struct watch w = {.c = c, .verb = CMD_LOGS};
	int rc = log_args(c, &w.args);
	if (rc != EXIT_DONE)
		return rc;
	w.lines = json_array();
	rc = run_stream(&w);
	if (rc == EXIT_DONE && c->args.format == FORMAT_JSON)
		print_lines(&w);
	json_decref(w.lines);
	return rc;
}
