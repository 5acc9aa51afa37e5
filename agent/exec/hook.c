/*
 * A hook runs under a keeper (sys/child.c), so that nothing it forked outlives it. Who asks for the hook that
 * runs is an agent that was restarted: it gets the same end. Others run beside it: probes come this way too.
 */
#include "agent/exec/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utlist.h>

#include "sys/log.h"

struct hook {
	struct app *app;
	struct exec_record r;
	struct exec_call *calls; /* that wait for its end */
	struct exec_reply end;	 /* what they are told of it */
	struct child child;
	int out;
	uv_poll_t *death, *output;
	uv_timer_t timer; /* its deadline, then that of its end */
	struct hook *prev, *next;
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
		keep_tail(&h->end, bytes, (size_t)n);
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

static void answer(struct hook *h, int code, const struct err *e)
{
	struct exec_call *c = h->calls, *next;
	h->calls = NULL;
	for (; c; c = next) {
		next = c->next;
		c->reply.killed = h->end.killed;
		c->reply.hook_exit = h->end.hook_exit;
		c->reply.output_len = h->end.output_len;
		c->reply.output_total = h->end.output_total;
		memcpy(c->reply.output, h->end.output, sizeof c->reply.output);
		call_answer(c, code, e);
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
	struct err e;
	h->end.hook_exit = how.si_code == CLD_EXITED ? how.si_status : 128 + how.si_status;
	int code = E_OK;
	if (h->end.killed)
		code = err_set(&e, E_TIMEOUT, "hook of %s ran longer than %u ms and was ended", h->r.app,
			       h->r.timeout_ms);
	DL_DELETE(h->app->hooks, h);
	answer(h, code, &e);
	uv_close((uv_handle_t *)&h->timer, on_timer_closed);
}

/* It is watched on, and stays the one that runs. */
static void on_kill_deadline(uv_timer_t *t)
{
	struct hook *h = t->data;
	struct err e;
	int code = err_set(&e, E_TIMEOUT,
			   "hook of %s ran longer than %u ms and does not end although it was killed",
			   h->r.app, h->r.timeout_ms);
	log_error(h->r.app, "%s", e.text);
	answer(h, code, &e);
}

static void on_deadline(uv_timer_t *t)
{
	struct hook *h = t->data;
	h->end.killed = 1;
	kill(h->child.pid, SIGTERM); /* the keeper: it ends all below it */
	uv_timer_start(t, on_kill_deadline, KILL_MOST_MS, 0);
}

static bool is_same(const struct exec_record *a, const struct exec_record *b)
{
	return fence_cmp(&a->fence, &b->fence) == 0 && memcmp(&a->argv, &b->argv, sizeof a->argv) == 0 &&
	       memcmp(&a->env, &b->env, sizeof a->env) == 0 && strcmp(a->user, b->user) == 0 &&
	       strcmp(a->workdir, b->workdir) == 0 && a->timeout_ms == b->timeout_ms;
}

static bool join(struct app *a, struct exec_call *c)
{
	struct hook *h;
	DL_FOREACH(a->hooks, h)
	{
		if (is_same(&h->r, &c->r))
			break;
	}
	if (!h)
		return false;
	LL_APPEND(h->calls, c);
	if (!uv_is_active((uv_handle_t *)&h->timer)) /* those before were told that it does not end */
		uv_timer_start(&h->timer, on_kill_deadline, KILL_MOST_MS, 0);
	return true;
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

void hook_run(struct app *a, struct exec_call *c)
{
	struct exec *x = a->x;
	struct err e;
	if (join(a, c))
		return;
	struct hook *h = calloc(1, sizeof *h);
	PRE(h);
	int rc = begin(x, &c->r, h, &e);
	if (rc != E_OK) {
		call_answer(c, rc, &e);
		free(h);
		return;
	}
	h->app = a;
	h->r = c->r;
	LL_APPEND(h->calls, c);
	DL_APPEND(a->hooks, h);
	uv_timer_init(x->loop, &h->timer);
	h->timer.data = h;
	uv_timer_start(&h->timer, on_deadline, c->r.timeout_ms, 0);
	h->output = watch_begin(x->loop, h->out, on_output, h);
	h->death = watch_begin(x->loop, h->child.pidfd, on_death, h);
}
