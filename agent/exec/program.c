#include "agent/exec/exec.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utlist.h>

#include "sys/log.h"

static void settle(struct app *a);

static void app_free(struct app *a)
{
	free(a);
}

static int app_dir(const struct exec *x, const char *name, struct err *e)
{
	char dir[EXEC_FULL_PATH];
	store_path(dir, x, name, "");
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		return err_sys(e, E_IO, errno, "make %s", dir);
	return E_OK;
}

int app_get(struct exec *x, const char *name, struct app **out, struct err *e)
{
	struct app *a;
	HASH_FIND_STR(x->apps, name, a);
	*out = a;
	if (a)
		return E_OK;
	int rc = app_dir(x, name, e);
	if (rc != E_OK)
		return rc;
	a = calloc(1, sizeof *a);
	PRE(a);
	a->x = x;
	a->pidfd = a->out_fd = a->log_fd = -1;
	strcpy(a->name, name);
	rc = store_load(a, e);
	if (rc != E_OK && rc != E_NOT_FOUND) {
		app_free(a);
		return rc;
	}
	uv_timer_init(x->loop, &a->timer);
	uv_timer_init(x->loop, &a->stable);
	a->timer.data = a->stable.data = a;
	HASH_ADD_STR(x->apps, name, a);
	*out = a;
	return E_OK;
}

int app_fence(struct app *a, const struct fence *f, struct err *e)
{
	int cmp = fence_cmp(f, &a->st.fence);
	if (cmp < 0)
		return err_set(e, E_FENCED, "app %s obeys a newer assignment (term %llu, epoch %llu)",
			       a->name, (unsigned long long)a->st.fence.term,
			       (unsigned long long)a->st.fence.epoch);
	if (cmp == 0)
		return E_OK;
	struct fence before = a->st.fence;
	a->st.fence = *f;
	int rc = store_save(a, e);
	if (rc != E_OK)
		a->st.fence = before;
	return rc;
}

static void save_or_say(const struct app *a)
{
	struct err e;
	if (store_save(a, &e) != E_OK)
		log_error(a->name, "state not saved: %s", e.text);
}

static void on_death(uv_poll_t *w, int status, int events)
{
	struct app *a = w->data;
	siginfo_t how = {0};
	/* An adopted program is not our child: its end is seen, its status is not. */
	bool known = waitid(P_PID, (id_t)a->st.pid, &how, WEXITED | WNOHANG) == 0 && how.si_pid == a->st.pid;
	watch_end(w);
	close(a->pidfd);
	a->pidfd = -1;
	a->st.last_known = known;
	a->st.last_exit = known && how.si_code == CLD_EXITED ? how.si_status : -1;
	a->st.last_signal = known && how.si_code != CLD_EXITED ? how.si_status : 0;
	uv_timer_stop(&a->stable);
	uv_timer_stop(&a->timer); /* the deadline of a stop, if any */
	sweep_begin(a, settle);
}

static void on_stable(uv_timer_t *t)
{
	struct app *a = t->data;
	a->st.tries_left = a->st.start.restart.tries;
	save_or_say(a);
	server_changed(a);
}

/* Written when it is so: nobody sees how long a life lasted that ends with the host. */
static void watch_life(struct app *a)
{
	uint64_t stable_ms = a->st.start.restart.stable_ms,
		 so_far = (uint64_t)child_uptime_ms(a->st.start_ticks);
	a->death = watch_begin(a->x->loop, a->pidfd, on_death, a);
	if (!stable_ms || a->st.tries_left == a->st.start.restart.tries)
		return;
	uv_update_time(a->x->loop);
	uv_timer_start(&a->stable, on_stable, stable_ms > so_far ? stable_ms - so_far : 0, 0);
}

static int born(void *ctx, pid_t pid, struct err *e)
{
	struct app *a = ctx;
	a->st.pid = pid;
	a->st.start_ticks = child_start_ticks(pid);
	store_boot_id(a->st.boot);
	int rc = store_save(a, e);
	if (rc == E_OK && a->st.group.version != CGROUP_NONE &&
	    (rc = cgroup_enter(&a->st.group, pid, e)) != E_OK)
		a->group_refused = true;
	return rc;
}

/* What the group limits for all together is not limited for each: an address space is not memory in use. */
static void fill_limits(struct child_spec *s, const struct app *a)
{
	const struct exec_limits *l = &a->st.start.limits;
	uint32_t set = l->set & ~((a->st.group.has_memory ? (uint32_t)EXEC_LIMIT_MEMORY : 0) |
				  (a->st.group.has_pids ? (uint32_t)EXEC_LIMIT_NPROC : 0));
	const struct {
		uint32_t bit;
		int which;
		uint64_t value;
	} all[] = {{EXEC_LIMIT_NOFILE, RLIMIT_NOFILE, l->nofile},
		   {EXEC_LIMIT_NPROC, RLIMIT_NPROC, l->nproc},
		   {EXEC_LIMIT_CORE, RLIMIT_CORE, l->core_bytes},
		   {EXEC_LIMIT_CPU, RLIMIT_CPU, l->cpu_s},
		   {EXEC_LIMIT_MEMORY, RLIMIT_AS, l->memory_bytes}};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (set & all[i].bit)
			s->rlimits[s->rlimit_count++] = (struct child_rlimit){all[i].which, all[i].value};
}

static void join_names(const struct exec_record *r, char *out, size_t cap)
{
	size_t n = 0;
	out[0] = '\0';
	for (uint32_t i = 0; i < r->listen_count; i++)
		n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ":" : "", r->listens[i].name);
}

/* The record is that of a->st.start. */
static int spawn_once(struct app *a, struct err *e)
{
	const struct exec_record *r = &a->st.start;
	char slot[EXEC_FULL_PATH], program[EXEC_FULL_PATH + EXEC_ARGV_BYTES],
		names[EXEC_LISTENS * (NAME_CAP + 1)];
	char *argv[EXEC_STRINGS_MAX + 1], *env[EXEC_STRINGS_MAX + 1];
	int fds[EXEC_LISTENS], out = -1, rc;
	struct child child;
	store_slot(slot, a->x, r->digest);
	record_pointers(r->argv.bytes, r->argv.count, argv);
	record_pointers(r->env.bytes, r->env.count, env);
	if (argv[0][0] != '/') {
		snprintf(program, sizeof program, "%s/%s", slot, argv[0]);
		argv[0] = program;
	}
	join_names(r, names, sizeof names);
	if ((rc = listen_open(a, r, fds, e)) != E_OK || (rc = output_open(a, &out, e)) != E_OK)
		return rc;
	struct child_spec s = {.argv = argv,
			       .env = env,
			       .user = r->user,
			       .workdir = r->workdir[0] ? r->workdir : slot,
			       .out_fd = out,
			       .listens = fds,
			       .fdnames = names,
			       .listen_count = (int)r->listen_count,
			       .keeper = a->st.kept != 0,
			       .lasting = a->st.kept != 0,
			       .born = born,
			       .ctx = a};
	fill_limits(&s, a);
	rc = child_spawn(&s, &child, e);
	close(out);
	if (rc != E_OK) {
		a->st.pid = 0;
		return rc;
	}
	a->pidfd = child.pidfd;
	watch_life(a);
	log_info(a->name, "started pid %d", (int)child.pid);
	return E_OK;
}

/* A group that takes no process is found out at the first one. */
static int spawn(struct app *a, struct err *e)
{
	a->group_refused = false;
	group_prepare(a);
	int rc = spawn_once(a, e);
	if (rc != E_OK && a->group_refused) {
		log_warn(a->name, "no cgroups from now on, limits are those of single processes: %s",
			 e->text);
		cgroup_remove(&a->st.group);
		a->x->home.version = CGROUP_NONE;
		group_prepare(a);
		rc = spawn_once(a, e);
	}
	if (rc != E_OK)
		cgroup_remove(&a->st.group);
	return rc;
}

static bool same_start(const struct app *a, const struct exec_record *r)
{
	const struct exec_record *s = &a->st.start;
	return r->activation != 0 && s->activation == r->activation && digest_eq(&s->target, &r->target) &&
	       memcmp(s->digest, r->digest, DIGEST_LEN) == 0;
}

/* The answer to an earlier START may have been lost, and the program may have died since: exec looks after
 * it. */
static bool is_under_way(const struct app *a, const struct exec_record *r)
{
	return a->st.wanted && !a->st.crash_loop && !a->stopping && same_start(a, r);
}

static int refuse_start(struct app *a, const struct exec_record *r, struct err *e)
{
	if (a->pidfd >= 0)
		return err_set(e, E_CONFLICT, "app %s runs as pid %d (activation %llu); stop it first",
			       a->name, a->st.pid, (unsigned long long)a->st.start.activation);
	if (a->stopping || a->starting)
		return err_set(e, E_CONFLICT, "app %s is being %s", a->name,
			       a->stopping ? "stopped" : "started by another request");
	int rc = store_slot_complete(a->x, r->digest, e);
	return rc != E_OK ? rc : allow_user(a->x, r->user, e);
}

static int begin(struct app *a, const struct exec_record *r, struct err *e)
{
	uv_timer_stop(&a->timer);
	a->st.start = *r;
	a->st.wanted = 1;
	a->st.crash_loop = a->st.restarts = a->st.last_known = 0;
	a->st.tries_left = r->restart.tries;
	a->st.pid = 0;
	a->peak_bytes = a->oom_kills = 0;
	int rc = store_save(a, e);
	if (rc == E_OK)
		rc = spawn(a, e);
	if (rc == E_OK)
		return E_OK;
	a->st.wanted = 0;
	save_or_say(a);
	return rc;
}

static void begin_and_answer(struct app *a, struct exec_call *c)
{
	struct err e;
	int rc = begin(a, &c->r, &e);
	server_changed(a);
	app_status(a, &c->reply.status);
	call_answer(c, rc, &e);
}

void app_start(struct app *a, struct exec_call *c)
{
	struct err e;
	int rc = is_under_way(a, &c->r) ? E_OK : refuse_start(a, &c->r, &e);
	if (rc != E_OK || is_under_way(a, &c->r)) {
		app_status(a, &c->reply.status);
		call_answer(c, rc, &e);
	} else if (a->sweeping) {
		a->starting = c;
	} else {
		begin_and_answer(a, c);
	}
}

static void died(struct app *a);

/* The counter goes down, on disk, before the start: a start that takes the host down is counted too. */
static void on_backoff(uv_timer_t *t)
{
	struct app *a = t->data;
	struct err e;
	a->st.tries_left--;
	a->st.restarts++;
	if (store_save(a, &e) == E_OK && spawn(a, &e) == E_OK) {
		server_changed(a);
		return;
	}
	log_error(a->name, "restart failed: %s", e.text);
	died(a);
}

static uint64_t backoff_ms(const struct app *a)
{
	const struct exec_restart *r = &a->st.start.restart;
	uint32_t done = r->tries - a->st.tries_left;
	uint64_t wait = (uint64_t)r->first_ms << (done < 24 ? done : 24);
	return wait < r->most_ms ? wait : r->most_ms;
}

static void answer_stop(struct app *a, struct exec_call *c)
{
	struct err e;
	int rc = a->left ? err_set(&e, E_TIMEOUT, "processes of %s do not end although they were killed",
				   a->name)
			 : E_OK;
	c->reply.killed = a->killed;
	app_status(a, &c->reply.status);
	call_answer(c, rc, &e);
}

static void stopped(struct app *a)
{
	struct exec_call *c = a->stopping, *next;
	a->stopping = NULL;
	server_changed(a);
	for (; c; c = next) {
		next = c->next;
		answer_stop(a, c);
	}
}

static void died(struct app *a)
{
	a->st.pid = 0;
	a->st.crash_loop = a->st.tries_left == 0;
	log_warn(a->name, "died (exit %d, signal %d), %u restarts left", a->st.last_exit, a->st.last_signal,
		 a->st.tries_left);
	save_or_say(a);
	if (!a->st.crash_loop)
		uv_timer_start(&a->timer, on_backoff, backoff_ms(a), 0);
	server_changed(a);
}

/* Nothing of the app is left. */
static void settle(struct app *a)
{
	struct exec_call *next = a->starting;
	a->starting = NULL;
	if (a->st.wanted && !a->st.crash_loop && !next) {
		died(a);
		return;
	}
	bool was_there = a->st.pid != 0;
	a->st.pid = 0;
	if (was_there || a->stopping)
		save_or_say(a);
	if (a->stopping)
		stopped(a);
	else if (next)
		begin_and_answer(a, next);
	else if (was_there)
		server_changed(a);
}

/* What the kernel does not end is watched on; whoever waits for its end is told. */
static void on_kill_deadline(uv_timer_t *t)
{
	struct app *a = t->data;
	a->left = true;
	log_error(a->name, "pid %d does not end although it was killed", a->st.pid);
	stopped(a);
}

static void on_stop_deadline(uv_timer_t *t)
{
	struct app *a = t->data;
	a->killed = true;
	sweep_kill(a);
	uv_timer_start(t, on_kill_deadline, KILL_MOST_MS, 0);
}

/* A start that waits for the end of what was before gives way to the stop. */
static void drop_starting(struct app *a)
{
	struct exec_call *c = a->starting;
	struct err e;
	a->starting = NULL;
	if (c)
		call_answer(c, err_set(&e, E_CONFLICT, "app %s was stopped before it began", a->name), &e);
}

/* An agent that was restarted asks again: its patience counts from now, that of the one before still runs. */
static void join_stop(struct app *a, struct exec_call *c)
{
	LL_APPEND(a->stopping, c);
	uv_update_time(a->x->loop);
	if (a->pidfd >= 0 && !a->killed && c->r.timeout_ms < uv_timer_get_due_in(&a->timer))
		uv_timer_start(&a->timer, on_stop_deadline, c->r.timeout_ms, 0);
}

static void stop(struct app *a, struct exec_call *c)
{
	a->killed = a->left = false;
	a->stopping = c;
	drop_starting(a);
	if (a->sweeping)
		return;
	uv_timer_stop(&a->timer);
	if (a->pidfd < 0) {
		sweep_begin(a, settle);
		return;
	}
	uv_timer_start(&a->timer, on_stop_deadline, c->r.timeout_ms, 0);
	child_kill_group(a->st.pid, SIGTERM);
}

/* Wanted goes first and is written: an exec that dies here must not bring the program back. */
void app_stop(struct app *a, struct exec_call *c)
{
	struct err e;
	if (a->stopping) {
		join_stop(a, c);
		return;
	}
	uint32_t before = a->st.wanted;
	a->st.wanted = 0;
	int rc = store_save(a, &e);
	if (rc == E_OK) {
		stop(a, c);
		return;
	}
	a->st.wanted = before; /* it is looked after as if nobody had asked */
	call_answer(c, rc, &e);
}

static enum exec_run run_of(const struct app *a)
{
	if (a->pidfd >= 0)
		return EXEC_RUN_UP;
	if (a->st.start.magic == 0)
		return EXEC_RUN_NONE;
	if (!a->st.wanted)
		return EXEC_RUN_STOPPED;
	return a->st.crash_loop ? EXEC_RUN_CRASH_LOOP : EXEC_RUN_WAITING;
}

void app_status(const struct app *a, struct exec_status *out)
{
	memset(out, 0, sizeof *out);
	out->run = run_of(a);
	out->pid = a->pidfd < 0 ? 0 : a->st.kept ? child_first(a->st.pid) : a->st.pid;
	memcpy(out->digest, a->st.start.digest, DIGEST_LEN);
	out->uptime_ms = out->pid ? child_uptime_ms(a->st.start_ticks) : 0;
	out->restarts = a->st.restarts;
	out->tries_left = a->st.tries_left;
	out->last_known = a->st.last_known;
	out->last_exit = a->st.last_exit;
	out->last_signal = a->st.last_signal;
	out->activation = a->st.start.activation;
	out->target = a->st.start.target;
	group_status(a, out);
}

static bool is_our_image(pid_t pid)
{
	char path[64], ours[EXEC_FULL_PATH], its[EXEC_FULL_PATH];
	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	ssize_t n = readlink("/proc/self/exe", ours, sizeof ours), m = readlink(path, its, sizeof its);
	return n > 0 && n == m && memcmp(ours, its, (size_t)n) == 0;
}

static bool is_program(const struct app *a)
{
	pid_t pid = a->st.kept ? child_first(a->st.pid) : a->st.pid;
	return pid > 0 && !is_our_image(pid);
}

/*
 * An exec that was killed in the middle of a start leaves a process that may never become its program. What
 * it becomes is waited for, a moment: a START that is asked again must not be told that it runs. False: it
 * ended.
 */
static bool became_program(const struct app *a, int pidfd)
{
	enum { TRIES = 100, PAUSE_MS = 10 };
	struct pollfd dead = {.fd = pidfd, .events = POLLIN};
	for (int i = 0; i < TRIES && !is_program(a); i++)
		if (poll(&dead, 1, PAUSE_MS) > 0)
			return false;
	return true;
}

/* The pid is ours only if boot and start time agree; asked again once the pidfd holds it. */
static bool adopt(struct app *a)
{
	char boot[40];
	store_boot_id(boot);
	if (a->st.pid <= 1 || strcmp(boot, a->st.boot) != 0)
		return false;
	int fd = child_pidfd(a->st.pid);
	if (fd < 0)
		return false;
	if (child_start_ticks(a->st.pid) != a->st.start_ticks || !became_program(a, fd)) {
		close(fd);
		return false;
	}
	a->pidfd = fd;
	watch_life(a);
	listen_readopt(a);
	log_info(a->name, "took over pid %d", a->st.pid);
	return true;
}

static void adopt_app(struct exec *x, const char *name)
{
	struct app *a;
	struct err e;
	if (app_get(x, name, &a, &e) != E_OK) {
		log_error(name, "%s", e.text);
		return;
	}
	if (a->st.start.magic == 0)
		return;
	if (output_open(a, NULL, &e) != E_OK)
		log_warn(name, "output is not read: %s", e.text);
	server_changed(a);
	if (adopt(a))
		return;
	if (a->st.wanted && !a->st.crash_loop)
		a->st.last_known = 0;
	a->st.pid = 0;
	sweep_begin(a, settle); /* the exec before us may have died in one */
}

void app_adopt_all(struct exec *x)
{
	char dir[EXEC_FULL_PATH];
	store_path(dir, x, "", "");
	DIR *d = opendir(dir);
	if (!d)
		return;
	for (struct dirent *it; (it = readdir(d));)
		if (name_ok(it->d_name))
			adopt_app(x, it->d_name);
	closedir(d);
}

void app_kill_all(struct exec *x)
{
	enum { MOST_MS = 2000 };
	struct app *a, *next;
	HASH_ITER(hh, x->apps, a, next)
	{
		if (a->pidfd < 0)
			continue;
		a->st.wanted = 0;
		save_or_say(a);
		sweep_kill(a);
	}
	HASH_ITER(hh, x->apps, a, next)
	{
		if (a->pidfd >= 0 || a->sweeping)
			sweep_now(a, MOST_MS);
	}
}
