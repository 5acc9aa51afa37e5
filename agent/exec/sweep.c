/*
 * Nothing that a program forked outlives it, whatever it did to its sessions and groups. With a cgroup, all
 * that is in the group is killed until the group can be removed. Without one, the program has a keeper. So no
 * KILL goes to a number that the kernel may have given to somebody else.
 */
#include "agent/exec/exec.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/log.h"

enum { SWEEP_EVERY_MS = 2, LEFT_OVER_S = 600 };

/* Two execs of one host have apps of the same name: the folders of their roots tell them apart. */
static void name_prefix(struct exec *x)
{
	struct stat st = {0};
	if (stat(x->root, &st) != 0)
		log_warn("cgroup", "%s cannot be looked at; its groups are named without it", x->root);
	snprintf(x->group_prefix, sizeof x->group_prefix, "wavetrain.%llx-%llx",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
}

void group_open(struct exec *x, const char *inside)
{
	struct cgroup_place place = {"/proc/self/mountinfo", "/proc/self/cgroup", inside};
	struct err e;
	name_prefix(x);
	if (inside && strcmp(inside, "none") == 0)
		log_info("cgroup", "not used; limits are those of single processes");
	else if (cgroup_home(&place, &x->home, &e) != E_OK)
		log_warn("cgroup", "not used, limits are those of single processes: %s", e.text);
	else
		log_info("cgroup", "version %u, memory %s, pids %s: groups are made in %s", x->home.version,
			 x->home.has_memory ? "yes" : "no", x->home.has_pids ? "yes" : "no",
			 x->home.dir[x->home.dir[CGROUP_MEMORY][0] ? CGROUP_MEMORY : CGROUP_PIDS]);
	cgroup_tidy(&x->home, "wavetrain.", LEFT_OVER_S);
}

static void leaf_of(const struct app *a, char out[NAME_CAP + 48])
{
	snprintf(out, NAME_CAP + 48, "%s.%s", a->x->group_prefix, a->name);
}

static int make_group(struct app *a, struct err *e)
{
	const struct exec_limits *l = &a->st.start.limits;
	char leaf[NAME_CAP + 48];
	leaf_of(a, leaf);
	int rc = cgroup_make(&a->x->home, leaf, &a->st.group, e);
	return rc != E_OK ? rc
			  : cgroup_limit(&a->st.group, l->set & EXEC_LIMIT_MEMORY ? l->memory_bytes : 0,
					 l->set & EXEC_LIMIT_NPROC ? l->nproc : 0, e);
}

void group_prepare(struct app *a)
{
	struct err e;
	memset(&a->st.group, 0, sizeof a->st.group);
	a->st.kept = 0;
	if (a->x->home.version != CGROUP_NONE && make_group(a, &e) == E_OK)
		return;
	if (a->x->home.version != CGROUP_NONE)
		log_warn(a->name, "runs without a cgroup, its limits are those of single processes: %s",
			 e.text);
	memset(&a->st.group, 0, sizeof a->st.group);
	a->st.kept = 1;
}

/* A life that ended before it wrote the group down may have made one. */
static void find_group(const struct app *a, struct cgroup *g)
{
	char leaf[NAME_CAP + 48];
	leaf_of(a, leaf);
	*g = a->st.group;
	if (g->version == CGROUP_NONE && a->x->home.version != CGROUP_NONE)
		cgroup_name(&a->x->home, leaf, g);
}

void group_note_usage(struct app *a)
{
	struct cgroup_usage u;
	cgroup_usage(&a->st.group, &u);
	a->peak_bytes = u.peak_bytes > a->peak_bytes ? u.peak_bytes : a->peak_bytes;
	a->oom_kills += u.oom_kills;
}

void group_status(const struct app *a, struct exec_status *out)
{
	struct cgroup_usage u;
	cgroup_usage(&a->st.group, &u);
	out->metered = a->st.group.has_memory;
	out->memory_bytes = u.memory_bytes;
	out->memory_peak_bytes = u.peak_bytes > a->peak_bytes ? u.peak_bytes : a->peak_bytes;
	out->oom_kills = a->oom_kills + u.oom_kills;
}

static bool sweep_once(const struct app *a)
{
	struct cgroup g;
	find_group(a, &g);
	if (cgroup_remove(&g))
		return true;
	cgroup_kill(&g);
	return cgroup_remove(&g);
}

static void on_sweep(uv_timer_t *t)
{
	struct app *a = t->data;
	bool gone = sweep_once(a);
	if (!gone && uv_now(t->loop) < a->sweep_until)
		return;
	uv_timer_stop(t);
	a->sweeping = false;
	a->left = !gone;
	if (!gone)
		log_error(a->name, "processes of it do not end although they were killed");
	a->swept(a);
}

void sweep_begin(struct app *a, sweep_cb cb)
{
	group_note_usage(a);
	a->left = false;
	a->swept = cb;
	if (sweep_once(a)) {
		cb(a);
		return;
	}
	a->sweeping = true;
	uv_update_time(a->x->loop);
	a->sweep_until = uv_now(a->x->loop) + KILL_MOST_MS;
	uv_timer_start(&a->timer, on_sweep, SWEEP_EVERY_MS, SWEEP_EVERY_MS);
}

void sweep_kill(struct app *a)
{
	if (a->st.kept)
		child_end_kept(a->st.pid);
	else
		cgroup_kill(&a->st.group);
}

void sweep_now(struct app *a, int most_ms)
{
	struct pollfd dead = {.fd = a->pidfd, .events = POLLIN};
	poll(&dead, 1, most_ms);
	for (int i = 0; i < most_ms && !sweep_once(a); i++)
		poll(NULL, 0, 1);
}
