#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/admin/commands_frame.h"
#include "coordinator/cli/cli.h"

enum { ANSWER_MS = 30000, SPINNER_MS = 100 };

/* ---- clocks and signals ---- */

static int64_t clock_ms(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t cli_mono_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

int64_t cli_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

static volatile sig_atomic_t interrupted;
static sigset_t waiting_mask; /* that of ppoll: SIGINT arrives nowhere else, so none is missed between check
				 and wait */

static void on_interrupt(int sig)
{
	interrupted = 1;
}

void cli_catch_interrupt(void)
{
	struct sigaction sa = {.sa_handler = on_interrupt};
	sigset_t block;
	sigaction(SIGINT, &sa, NULL);
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigprocmask(SIG_BLOCK, &block, &waiting_mask);
	sigdelset(&waiting_mask, SIGINT);
}

/* ---- requests ---- */

static void random_bytes(struct cli *c, ProtobufCBinaryData *out)
{
	out->data = arena_alloc(&c->arena, 16);
	out->len = 16;
	PRE(getrandom(out->data, 16, 0) == 16);
}

void cli_request_init(struct cli *c, Admin__Request *rq)
{
	const char *reason = cli_option(&c->args, OPT_REASON);
	admin__request__init(rq);
	rq->version = 1;
	rq->verb = (uint32_t)c->args.row->id;
	rq->dry_run = c->args.dry_run;
	rq->reason = (char *)(uintptr_t)(reason ? reason : "");
	rq->client_version = (char *)(uintptr_t)WAVETRAIN_VERSION;
	rq->client_at_ms = cli_wall_ms();
	random_bytes(c, &rq->trace_id);
	random_bytes(c, &rq->client_id);
}

/* ---- connection ---- */

const char *cli_socket(const struct cli *c)
{
	const char *env = getenv("WAVETRAIN_SOCKET");
	if (c->args.socket)
		return c->args.socket;
	return env && env[0] ? env : "/run/wavetrain/admin.sock";
}

const char *cli_environment(const struct cli *c)
{
	const char *given = cli_option(&c->args, OPT_ENV), *env = getenv("WAVETRAIN_ENV");
	return given ? given : env ? env : "";
}

int client_try_open(const char *path, struct client *cl)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	memset(cl, 0, sizeof *cl);
	cl->fd = -1;
	buf_init(&cl->in);
	if (strlen(path) >= sizeof sun.sun_path)
		return ENAMETOOLONG;
	memcpy(sun.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	if (connect(fd, (struct sockaddr *)&sun, sizeof sun) != 0) {
		int why = errno;
		close(fd);
		return why;
	}
	cl->fd = fd;
	return 0;
}

int client_open(struct cli *c, struct client *cl)
{
	const char *path = cli_socket(c);
	int rc = client_try_open(path, cl);
	cl->quiet = c->args.quiet || !c->err_tty;
	cl->deadline_ms = cli_mono_ms() + (c->args.timeout_ms ? c->args.timeout_ms : ANSWER_MS);
	if (rc == 0)
		return EXIT_DONE;
	if (rc == EACCES || rc == EPERM)
		return cli_error(c, EXIT_DENIED, "E_DENIED",
				 "join the group that owns the socket, or use sudo",
				 "you may not open the admin socket %s", path);
	return cli_error(
		c, EXIT_UNAVAILABLE, "E_UNAVAILABLE",
		"is a coordinator running here? systemctl status wavetraind; another socket: --socket PATH",
		"no coordinator answers on %s: %s", path, strerror(rc));
}

void client_close(struct client *cl)
{
	if (cl->fd >= 0)
		close(cl->fd);
	cl->fd = -1;
	buf_done(&cl->in);
}

bool client_send(struct client *cl, const ProtobufCMessage *m)
{
	struct buf out;
	size_t at = 0;
	buf_init(&out);
	commands_frame_put(&out, m);
	while (at < out.len) {
		ssize_t n = send(cl->fd, out.data + at, out.len - at, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			break;
		at += n > 0 ? (size_t)n : 0;
	}
	bool whole = at == out.len;
	buf_done(&out);
	return whole;
}

/* ---- replies ---- */

/* 1 readable, 0 the time is over, -1 interrupted. */
static int wait_readable(struct client *cl, int64_t until)
{
	bool told = false;
	int rc = 0;
	for (;;) {
		int64_t left = until ? until - cli_mono_ms() : INT64_MAX;
		if (interrupted)
			rc = -1;
		if (rc != 0 || left <= 0)
			break;
		int64_t step = !told && !cl->quiet && left > SPINNER_MS ? SPINNER_MS
			       : left > 60000				? 60000
									: left;
		struct timespec ts = {step / 1000, step % 1000 * 1000000};
		struct pollfd p = {.fd = cl->fd, .events = POLLIN};
		rc = ppoll(&p, 1, &ts, &waiting_mask) > 0 ? 1 : 0;
		if (rc == 0 && !told && !cl->quiet && !interrupted) {
			fputs("waiting for the coordinator...\r", stderr);
			told = true;
		}
	}
	if (told)
		fputs("\033[K", stderr);
	return rc;
}

static bool take_reply(struct client *cl, Admin__Reply **reply, bool *broken)
{
	const uint8_t *body;
	size_t n;
	enum frame_state s =
		commands_frame_next(cl->in.data, cl->in.len, COMMANDS_FRAME_REPLY_MAX, &body, &n);
	*broken = s == FRAME_TOO_LARGE;
	if (s != FRAME_WHOLE)
		return false;
	*reply = admin__reply__unpack(NULL, n, body);
	*broken = *reply == NULL;
	buf_drop(&cl->in, COMMANDS_FRAME_HEAD + n);
	return *reply != NULL;
}

static int64_t earlier(int64_t a, int64_t b)
{
	if (a == 0 || b == 0)
		return a + b;
	return a < b ? a : b;
}

enum client_event client_next(struct client *cl, int64_t wait_ms, Admin__Reply **reply)
{
	int64_t until = earlier(wait_ms >= 0 ? cli_mono_ms() + wait_ms + 1 : 0, cl->deadline_ms);
	for (;;) {
		bool broken;
		if (take_reply(cl, reply, &broken))
			return CLIENT_REPLY;
		if (broken)
			return CLIENT_END;
		int rc = wait_readable(cl, until);
		if (rc <= 0)
			return rc < 0 ? CLIENT_INTERRUPTED : CLIENT_TIMEOUT;
		ssize_t n = recv(cl->fd, buf_reserve(&cl->in, 65536), 65536, 0);
		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			return CLIENT_END;
		cl->in.len += n > 0 ? (size_t)n : 0;
	}
}
