/*
 * cli.h: inside of the program `wavetrain`. One thread, blocking sockets; it links the table of commands, the
 * frames, the specification of deployment files and the packer, and nothing else of the coordinator.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"
#include "coordinator/admin/commands.h"
#include "proto/admin.pb-c.h"

/* `wavetrain help exit-codes` prints this table. */
enum cli_exit {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_CHANGES = 2,
	EXIT_ROLLED_BACK = 3,
	EXIT_DENIED = 4,
	EXIT_BLOCKED = 5,
	EXIT_CONFLICT = 6,
	EXIT_USAGE = 64,
	EXIT_SPEC = 65,
	EXIT_UNAVAILABLE = 69,
	EXIT_TIMEOUT = 124,
	EXIT_INTERRUPTED = 130,
};

enum cli_format { FORMAT_TEXT = 1, FORMAT_JSON, FORMAT_JSONL, FORMAT_NAME };

enum { CLI_WORDS_MAX = 8, CLI_LABELS_MAX = 32, CLI_SETS_MAX = 64, CLI_OPTIONS_MAX = 32 };

/* What was typed. Pointers go into argv. */
struct cli_args {
	const struct command_row *row; /* NULL: bare, or --help without a command */
	const char *words[CLI_WORDS_MAX];
	size_t words_nr;
	const char *
		option[CLI_OPTIONS_MAX]; /* by bit number; NULL: not given; "" for options without argument */
	const char *labels[CLI_LABELS_MAX];
	size_t labels_nr;
	const char *sets[CLI_SETS_MAX]; /* "name=value", each checked to have both */
	size_t sets_nr;
	const char *socket, *confirm;
	enum cli_format format;
	int64_t timeout_ms; /* 0: none given */
	bool help, version, no_color, no_input, quiet, yes, dry_run, verbose, timestamps;
	bool wide; /* -o wide: text whose tables are not cut to the screen */
};

/* What the terminal can do. */
struct cli_screen {
	unsigned width;
	bool utf8, color, animate; /* animate: redraw in place */
};

struct cli {
	struct cli_args args;
	struct cli_screen out; /* stdout */
	bool out_tty, err_tty, err_color, in_tty;
	struct arena arena;
};

/* cli_args.c. False: `why` says what is wrong and what to do (exit 64). Does not look at the environment. */
bool cli_args_parse(int argc, char **argv, struct cli_args *out, char *why, size_t why_cap);
const char *cli_option(const struct cli_args *a, unsigned bit); /* NULL: not given */
bool cli_parse_duration(const char *s, int64_t *ms);		/* 90s 5m 1h30m 2d */
bool cli_parse_number(const char *s, uint64_t *out);		/* digits alone; all of the text or nothing */
bool cli_parse_tests(const char *s, uint32_t *passed, uint32_t *failed); /* 41/42 */
/* Of --limit, --wave, --cursor, --from, which were checked when they were read; 0: not given. */
uint64_t cli_number(const struct cli_args *a, unsigned bit);

/* cli_help.c, cli_complete.c, cli_man.c: text into `out` */
void cli_help_top(struct buf *out);
void cli_help_short(struct buf *out); /* when nothing was typed */
void cli_help_command(struct buf *out, const struct command_row *row);
bool cli_help_topic(struct buf *out, const char *topic); /* false: no such topic */
bool cli_completion(struct buf *out, const char *shell);
void cli_man(struct buf *out);

/* cli_text.c */
const char *cli_age(char *out, size_t cap, int64_t ms);	    /* "4m12s" */
const char *cli_bytes(char *out, size_t cap, uint64_t n);   /* "14.2 MiB" */
const char *cli_rfc3339(char *out, size_t cap, int64_t ms); /* "2026-11-24T11:58:11Z", "" for 0 */
size_t cli_columns(const char *utf8);			    /* columns it takes */
void cli_put_cut(struct buf *out, const char *text,
		 size_t columns); /* cut to columns; control characters shown as '?' */
/* The same; when something is cut away, the last columns say so: "…" or "...". */
void cli_put_fit(struct buf *out, const char *text, size_t columns, bool utf8);
void cli_put_pad(struct buf *out, const char *text, size_t columns); /* cut and filled */

struct cli_table {
	const char *const *head;
	size_t columns, rows;
	const char **cells; /* rows * columns, in the arena */
	size_t cap;
	struct arena *arena;
};
void cli_table_row(struct cli_table *t, const char *const *cells);
void cli_table_print(const struct cli_table *t, struct buf *out, unsigned width);

/* cli_json.c */
struct json_t;
struct json_t *
cli_json(const ProtobufCMessage *m); /* field names of proto/admin.proto; times as RFC 3339; new reference */

/* Foreign text: all of it that is not ASCII becomes '?' when it is not UTF-8. Never NULL. */
struct json_t *cli_json_string(const char *s);
/* `j` as one document or, with JSON_COMPACT, one line; C1 controls and DEL, which jansson lets pass, are
 * escaped as well: a terminal may obey them. */
void cli_json_put(struct buf *out, const struct json_t *j, size_t flags);

/* cli_logs.c: one line that a program printed */
void cli_log_text(struct buf *out, const Admin__Event *e, bool timestamp);
struct json_t *cli_log_json(const Admin__Event *e); /* new reference */

/* cli_show.c: replies of nouns as tables */
void cli_show(struct cli *c, const Admin__Reply *reply, int64_t now_ms, struct buf *out);

/* cli_tree.c: pure */
enum cli_mark { MARK_NONE = 0, MARK_GOOD, MARK_BUSY, MARK_WAIT, MARK_WARN, MARK_FAIL };
enum cli_mark cli_mark_of(const char *state);
const char *cli_state_text(char *out, size_t cap, const char *state); /* "rolling_back" -> "Rolling back" */
const char *cli_short_id(char *out, size_t cap, const char *id);
void cli_put_mark(struct buf *out, const struct cli_screen *s, enum cli_mark m);
void cli_tree(struct buf *out, const Admin__Rollout *r, const struct cli_screen *s, bool verbose);
/* What happened, when it ended badly: Why, Seen, Now, and the next step. One line when it went well. */
void cli_report(struct buf *out, const Admin__Rollout *r, const struct cli_screen *s);

/* cli_plan.c */
void cli_plan_text(struct buf *out, const Admin__Plan *p, const struct cli_screen *s);
int cli_plan_save(struct cli *c, const Admin__Plan *p, const struct buf *spec, const char *path);
int cli_plan_load(struct cli *c, const char *path, Admin__Plan **p, struct buf *spec);

/* cli_client.c */
struct client {
	int fd;
	struct buf in;
	int64_t deadline_ms; /* monotonic; 0 = none */
	bool quiet;
};
enum client_event { CLIENT_REPLY = 1, CLIENT_END, CLIENT_TIMEOUT, CLIENT_INTERRUPTED };
int64_t cli_mono_ms(void);
int64_t cli_wall_ms(void);
void cli_catch_interrupt(void);
void cli_request_init(struct cli *c, Admin__Request *rq);
/* 0, or an exit code after a message on stderr. */
int client_open(struct cli *c, struct client *cl);
int client_try_open(const char *path, struct client *cl); /* 0 or errno */
bool client_send(struct client *cl, const ProtobufCMessage *m);
/* wait_ms < 0: until the deadline. CLIENT_TIMEOUT also when wait_ms passed. The reply is freed by the caller.
 */
enum client_event client_next(struct client *cl, int64_t wait_ms, Admin__Reply **reply);
void client_close(struct client *cl);
const char *cli_socket(const struct cli *c);
const char *cli_environment(const struct cli *c); /* --env, or WAVETRAIN_ENV, or "" */

/* cli_say.c: messages on stderr, answers on stdout */
void cli_note(const struct cli *c, const char *fmt, ...) printf_like(2, 3); /* not with -q */
int cli_error(const struct cli *c, int exit_code, const char *code, const char *hint, const char *fmt, ...)
	printf_like(5, 6);
int cli_reply_error(const struct cli *c, const Admin__Error *e);
bool cli_flush(struct buf *out); /* to stdout; a closed pipe ends the program quietly */
int cli_confirm(const struct cli *c, enum danger danger, const char *name,
		const char *question); /* 0 or exit code */

/* cli_call.c: one request, answers shown as the format asks. Fills *out (may be NULL) with the last
 * plan/rollout/... */
struct cli_result {
	int exit_code;
	char deployment[DEPLOYMENT_ID_CAP];
	Admin__Reply *kept; /* newest reply of the kind asked for; free with admin__reply__free_unpacked */
	Admin__Reply__BodyCase keep;
	bool silent; /* do not print rows */
};
int cli_call(struct cli *c, Admin__Request *rq, struct cli_result *r);

/* the rest: one function per verb; returns the exit code */
int cli_run(struct cli *c);
int cli_run_deploy(struct cli *c);
int cli_run_plan(struct cli *c);
int cli_run_rollback(struct cli *c);
int cli_run_verb(struct cli *c);
int cli_run_watch(struct cli *c);
int cli_run_events(struct cli *c);
int cli_run_logs(struct cli *c);
int cli_run_push(struct cli *c);
int cli_run_lint(struct cli *c);
int cli_run_schema(struct cli *c);
int cli_run_doctor(struct cli *c);
int cli_run_explain(struct cli *c);
int cli_run_agents_add(struct cli *c);
int cli_run_cluster(struct cli *c); /* all of the group */
int cli_watch(struct cli *c, const char *deployment, bool wanted_back);
/* Reads and checks the deployment file; the rendered form goes to `out`. 0 or exit code after the
 * diagnostics. */
int cli_spec_load(struct cli *c, struct buf *out);
int cli_spec_explain(struct cli *c, const char *code);
void cli_rollout_args(struct cli *c, Admin__RolloutArgs *args, const char *word);

#endif
