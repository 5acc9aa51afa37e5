/* A hook runs under a keeper (sys/child.c), so that nothing it forked outlives it. */
#include "agent/exec/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct hook {
	struct exec_call *call;
	struct child child;
	int out;
	uv_poll_t *death, *output;
	uv_timer_t timer;
};

/* Keep the tail: the reason of a failure stands at the end. */
static void keep_tail(struct exec_reply *p, const char *bytes, size_t n)
{
	size_t cap = sizeof p->output;
	p->output_total += (uint32_t)n;
	if (n > cap) {
		bytes += n - cap;
		n = cap;
	}
	size_t drop = p->output_len + n > cap ? p->output_len + n - cap : 0;
	memmove(p->output, p->output + drop, p->output_len - drop);
	p->output_len -= (uint32_t)drop;
	memcpy(p->output + p->output_len, bytes, n);
	p->output_len += (uint32_t)n;
}

static bool read_some(struct hook *h)
{
	char bytes[8192];
	ssize_t n = read(h->out, bytes, sizeof bytes);
	if (n > 0)
		keep_tail(&h->call->reply, bytes, (size_t)n);
	return n > 0;
}

static void on_output(uv_poll_t *w, int status, int events)
{
	struct hook *h = w->data;
	if (!read_some(h)) {
		watch_end(w);
		h->output = NULL;
	}
}

static void on_timer_closed(uv_handle_t *t)
{
	free(t->data);
}

static void on_death(uv_poll_t *w, int status, int events)
{
	struct hook *h = w->data;
	siginfo_t how = {0};
	waitid(P_PID, (id_t)h->child.pid, &how, WEXITED | WNOHANG);
	while (read_some(h))
		;
	watch_end(w);
	if (h->output)
		watch_end(h->output);
	close(h->child.pidfd);
	close(h->out);
	struct exec_call *c = h->call;
	struct err e;
	c->reply.hook_exit = how.si_code == CLD_EXITED ? how.si_status : 128 + how.si_status;
	int code = E_OK;
	if (c->reply.killed)
		code = err_set(&e, E_TIMEOUT, "hook of %s ran longer than %u ms and was ended", c->r.app,
			       c->r.timeout_ms);
	call_answer(c, code, &e);
	uv_close((uv_handle_t *)&h->timer, on_timer_closed);
}

static void on_deadline(uv_timer_t *t)
{
	struct hook *h = t->data;
	h->call->reply.killed = 1;
	kill(h->child.pid, SIGTERM); /* the keeper: it ends all below it */
}

static int spawn(struct exec *x, const struct exec_record *r, int out, struct child *child, struct err *e)
{
	char dir[EXEC_FULL_PATH], program[EXEC_FULL_PATH + EXEC_ARGV_BYTES];
	char *argv[EXEC_STRINGS_MAX + 1], *env[EXEC_STRINGS_MAX + 1];
	store_path(dir, x, r->app, "");
	record_pointers(r->argv.bytes, r->argv.count, argv);
	record_pointers(r->env.bytes, r->env.count, env);
	if (argv[0][0] != '/') {
		snprintf(program, sizeof program, "%s/current/%s", dir, argv[0]);
		argv[0] = program;
	}
	struct child_spec s = {.argv = argv,
			       .env = env,
			       .user = r->user,
			       .workdir = r->workdir[0] ? r->workdir : dir,
			       .out_fd = out,
			       .keeper = true};
	return child_spawn(&s, child, e);
}

static int begin(struct exec *x, const struct exec_record *r, struct hook *h, struct err *e)
{
	int out[2], rc = allow_user(x, r->user, e);
	if (rc != E_OK)
		return rc;
	if (pipe2(out, O_CLOEXEC) != 0)
		return err_sys(e, E_IO, errno, "pipe for the hook of %s", r->app);
	rc = spawn(x, r, out[1], &h->child, e);
	close(out[1]);
	h->out = out[0];
	if (rc != E_OK)
		close(out[0]);
	else if (fcntl(h->out, F_SETFL, O_NONBLOCK) != 0)
		PRE(!"F_SETFL on our own pipe");
	return rc;
}

void hook_run(struct exec *x, struct exec_call *c)
{
	struct err e;
	struct hook *h = calloc(1, sizeof *h);
	PRE(h);
	int rc = begin(x, &c->r, h, &e);
	if (rc != E_OK) {
		call_answer(c, rc, &e);
		free(h);
		return;
	}
	h->call = c;
	uv_timer_init(x->loop, &h->timer);
	h->timer.data = h;
	uv_timer_start(&h->timer, on_deadline, c->r.timeout_ms, 0);
	h->output = watch_begin(x->loop, h->out, on_output, h);
	h->death = watch_begin(x->loop, h->child.pidfd, on_death, h);
}
