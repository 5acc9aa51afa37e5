#include "agent/exec/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Where our own process stands aside, so that its group may hand controllers to its children (v2). */
static const char aside[] = "/wavetrain.exec";

enum { SMALL_FILE = 4096, FULL = CGROUP_PATH_CAP + 64 };

static void path_of(char out[FULL], const struct cgroup *g, int which, const char *file)
{
	snprintf(out, FULL, "%s/%s", g->dir[which], file);
}

static int write_file(const struct cgroup *g, int which, const char *file, const char *text, struct err *e)
{
	char path[FULL];
	path_of(path, g, which, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t n = strlen(text);
	if (fd < 0 || write(fd, text, n) != (ssize_t)n) {
		int why = errno;
		if (fd >= 0)
			close(fd);
		return err_sys(e, E_DENIED, why, "write %s to %s", text, path);
	}
	close(fd);
	return E_OK;
}

static bool read_file(const struct cgroup *g, int which, const char *file, char out[SMALL_FILE])
{
	char path[FULL];
	path_of(path, g, which, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, out, SMALL_FILE - 1);
	close(fd);
	out[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *at = list; (at = strstr(at, word)); at += n)
		if ((at == list || strchr(" ,\n", at[-1])) && (!at[n] || strchr(" ,\n", at[n])))
			return true;
	return false;
}

/* One line of mountinfo: its group within the hierarchy, where it is mounted, and for what. */
struct mount {
	char root[CGROUP_PATH_CAP], point[CGROUP_PATH_CAP], type[32], options[256];
};

static bool mount_parse(const char *line, struct mount *m)
{
	const char *dash = strstr(line, " - ");
	return dash && sscanf(line, "%*s %*s %*s %511s %511s", m->root, m->point) == 2 &&
	       sscanf(dash, " - %31s %*s %255s", m->type, m->options) == 2;
}

/* The mount of a controller (v1), or of the v2 tree when `controller` is empty. */
static bool mount_find(const char *mountinfo, const char *controller, struct mount *m)
{
	char line[4096];
	bool found = false;
	FILE *f = fopen(mountinfo, "re");
	while (f && !found && fgets(line, sizeof line, f))
		found = mount_parse(line, m) &&
			(*controller ? strcmp(m->type, "cgroup") == 0 && has_word(m->options, controller)
				     : strcmp(m->type, "cgroup2") == 0);
	if (f)
		fclose(f);
	return found;
}

/* Lines are "7:memory:/path"; the v2 tree is "0::/path". */
static bool own_group(const char *self, const char *controller, char out[CGROUP_PATH_CAP])
{
	char line[4096];
	bool found = false;
	FILE *f = fopen(self, "re");
	while (f && !found && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
		if (!path || strlen(path + 1) >= CGROUP_PATH_CAP)
			continue;
		*path = '\0';
		found = *controller ? has_word(list + 1, controller) : list[1] == '\0';
		strcpy(out, path + 1);
	}
	if (f)
		fclose(f);
	return found;
}

/* In a container the mount may show only a part of the hierarchy, which our path starts with. */
static const char *below_root(const char *path, const char *root)
{
	size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
	return strncmp(path, root, n) == 0 && (path[n] == '/' || !path[n]) ? path + n : path;
}

static bool place_dir(const struct cgroup_place *p, const char *controller, char out[CGROUP_PATH_CAP])
{
	struct mount m;
	char own[CGROUP_PATH_CAP];
	if (!mount_find(p->mountinfo, controller, &m) || !own_group(p->self, controller, own))
		return false;
	const char *path = p->inside ? p->inside : below_root(own, m.root);
	size_t n = strlen(path), tail = strlen(aside);
	/* An earlier exec of this service may have stepped aside, and we with it. */
	if (!p->inside && n >= tail && strcmp(path + n - tail, aside) == 0)
		n -= tail;
	while (n > 0 && path[n - 1] == '/')
		n--;
	if (strlen(m.point) + n >= CGROUP_PATH_CAP - 80)
		return false;
	snprintf(out, CGROUP_PATH_CAP, "%s%.*s", m.point, (int)n, path);
	return true;
}

static int make_dir(const char *dir, struct err *e)
{
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		return err_sys(e, E_DENIED, errno, "make %s", dir);
	return E_OK;
}

/* Can we make groups in here? The only test that holds is to make one. */
static int prove(const char *dir, const struct cgroup_place *p, struct err *e)
{
	char probe[FULL];
	int rc = p->inside ? make_dir(dir, e) : E_OK;
	snprintf(probe, sizeof probe, "%s/wavetrain.probe-%d", dir, (int)getpid());
	if (rc == E_OK)
		rc = make_dir(probe, e);
	if (rc == E_OK)
		rmdir(probe);
	return rc;
}

static int step_aside(const struct cgroup *home, struct err *e)
{
	struct cgroup to;
	char pid[32];
	cgroup_name(home, aside + 1, &to);
	int rc = make_dir(to.dir[CGROUP_MEMORY], e);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	return rc == E_OK ? write_file(&to, CGROUP_MEMORY, "cgroup.procs", pid, e) : rc;
}

/* The tree's own rule: a group with processes of its own cannot hand controllers down. */
static bool hand_down(const struct cgroup *home, const char *controller)
{
	char list[SMALL_FILE], text[32];
	snprintf(text, sizeof text, "+%s", controller);
	if (!read_file(home, CGROUP_MEMORY, "cgroup.controllers", list) || !has_word(list, controller))
		return false;
	return write_file(home, CGROUP_MEMORY, "cgroup.subtree_control", text, NULL) == E_OK ||
	       (step_aside(home, NULL) == E_OK &&
		write_file(home, CGROUP_MEMORY, "cgroup.subtree_control", text, NULL) == E_OK);
}

static int home_v2(const struct cgroup_place *p, struct cgroup *out, struct err *e)
{
	if (!place_dir(p, "", out->dir[CGROUP_MEMORY]))
		return err_set(e, E_NOT_FOUND, "no cgroup tree is mounted");
	int rc = prove(out->dir[CGROUP_MEMORY], p, e);
	if (rc != E_OK)
		return rc;
	out->version = CGROUP_V2;
	out->has_memory = hand_down(out, "memory");
	out->has_pids = hand_down(out, "pids");
	return E_OK;
}

static int home_v1(const struct cgroup_place *p, struct cgroup *out, struct err *e)
{
	static const char *const controller[CGROUP_DIRS] = {"memory", "pids"};
	int rc = E_NOT_FOUND, found = 0;
	for (int i = 0; i < CGROUP_DIRS; i++) {
		bool there = place_dir(p, controller[i], out->dir[i]);
		if (there && (rc = prove(out->dir[i], p, e)) == E_OK)
			found++;
		else
			out->dir[i][0] = '\0';
	}
	if (!found)
		return rc == E_NOT_FOUND ? err_set(e, rc, "no cgroup controller is mounted") : rc;
	out->version = CGROUP_V1;
	out->has_memory = out->dir[CGROUP_MEMORY][0] != '\0';
	out->has_pids = out->dir[CGROUP_PIDS][0] != '\0';
	return E_OK;
}

int cgroup_home(const struct cgroup_place *p, struct cgroup *out, struct err *e)
{
	struct cgroup g = {0};
	struct mount m;
	bool v1 = mount_find(p->mountinfo, "memory", &m) || mount_find(p->mountinfo, "pids", &m);
	/* Where both trees exist the controllers are with v1. */
	int rc = v1 ? home_v1(p, &g, e) : home_v2(p, &g, e);
	if (rc == E_OK)
		*out = g;
	return rc;
}

void cgroup_name(const struct cgroup *home, const char *leaf, struct cgroup *out)
{
	*out = *home;
	for (int i = 0; i < CGROUP_DIRS; i++) {
		size_t n = strlen(out->dir[i]);
		if (n)
			snprintf(out->dir[i] + n, CGROUP_PATH_CAP - n, "/%s", leaf);
	}
}

int cgroup_make(const struct cgroup *home, const char *leaf, struct cgroup *out, struct err *e)
{
	struct cgroup g;
	int rc = E_OK;
	cgroup_name(home, leaf, &g);
	for (int i = 0; i < CGROUP_DIRS && rc == E_OK; i++)
		if (g.dir[i][0])
			rc = make_dir(g.dir[i], e);
	if (rc == E_OK)
		*out = g;
	return rc;
}

static int limit(const struct cgroup *g, int which, const char *file, const char *none, uint64_t value,
		 struct err *e)
{
	char text[32];
	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	return write_file(g, which, file, value ? text : none, e);
}

int cgroup_limit(const struct cgroup *g, uint64_t memory_bytes, uint64_t pids, struct err *e)
{
	bool v2 = g->version == CGROUP_V2;
	int rc = E_OK;
	if (g->has_memory)
		rc = limit(g, CGROUP_MEMORY, v2 ? "memory.max" : "memory.limit_in_bytes", v2 ? "max" : "-1",
			   memory_bytes, e);
	if (rc == E_OK && g->has_pids)
		rc = limit(g, v2 ? CGROUP_MEMORY : CGROUP_PIDS, "pids.max", "max", pids, e);
	return rc;
}

int cgroup_enter(const struct cgroup *g, pid_t pid, struct err *e)
{
	char text[32];
	int rc = E_OK;
	snprintf(text, sizeof text, "%d", (int)pid);
	for (int i = 0; i < CGROUP_DIRS && rc == E_OK; i++)
		if (g->dir[i][0])
			rc = write_file(g, i, "cgroup.procs", text, e);
	return rc;
}

static void kill_listed(const struct cgroup *g, int which)
{
	char path[FULL], line[32];
	path_of(path, g, which, "cgroup.procs");
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f)) {
		long pid = strtol(line, NULL, 10);
		if (pid > 1 && pid != getpid())
			kill((pid_t)pid, SIGKILL);
	}
	if (f)
		fclose(f);
}

void cgroup_kill(const struct cgroup *g)
{
	if (g->version == CGROUP_V2 && write_file(g, CGROUP_MEMORY, "cgroup.kill", "1", NULL) == E_OK)
		return;
	/* Nothing new is born while we go through the list; without the controller the caller's repeating
	 * wins. */
	if (g->has_pids)
		(void)!write_file(g, g->version == CGROUP_V2 ? CGROUP_MEMORY : CGROUP_PIDS, "pids.max", "0",
				  NULL);
	for (int i = 0; i < CGROUP_DIRS; i++)
		if (g->dir[i][0])
			kill_listed(g, i);
}

bool cgroup_remove(const struct cgroup *g)
{
	bool gone = true;
	for (int i = 0; i < CGROUP_DIRS; i++)
		if (g->dir[i][0] && rmdir(g->dir[i]) != 0 && errno != ENOENT)
			gone = false;
	return gone;
}

static void tidy_one(int dir, const char *name, int64_t age_s)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode))
		return;
	/* Not what was just made and is about to be entered. One that is in use refuses. */
	if (time(NULL) - st.st_mtim.tv_sec >= age_s)
		(void)!unlinkat(dir, name, AT_REMOVEDIR);
}

void cgroup_tidy(const struct cgroup *home, const char *name_start, int64_t age_s)
{
	for (int i = 0; i < CGROUP_DIRS; i++) {
		DIR *d = home->dir[i][0] ? opendir(home->dir[i]) : NULL;
		for (struct dirent *it; d && (it = readdir(d));)
			if (strncmp(it->d_name, name_start, strlen(name_start)) == 0)
				tidy_one(dirfd(d), it->d_name, age_s);
		if (d)
			closedir(d);
	}
}

static uint64_t number_in(const struct cgroup *g, const char *file, const char *key)
{
	char text[SMALL_FILE];
	size_t n = strlen(key);
	if (!read_file(g, CGROUP_MEMORY, file, text))
		return 0;
	for (char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (strncmp(line, key, n) == 0 && (n == 0 || line[n] == ' '))
			return strtoull(line + n, NULL, 10);
	return 0;
}

void cgroup_usage(const struct cgroup *g, struct cgroup_usage *out)
{
	bool v2 = g->version == CGROUP_V2;
	char text[SMALL_FILE];
	*out = (struct cgroup_usage){0};
	const char *current = v2 ? "memory.current" : "memory.usage_in_bytes";
	if (!g->has_memory || !read_file(g, CGROUP_MEMORY, current, text))
		return;
	out->known = true;
	out->memory_bytes = number_in(g, current, "");
	out->peak_bytes = number_in(g, v2 ? "memory.peak" : "memory.max_usage_in_bytes", "");
	out->oom_kills = number_in(g, v2 ? "memory.events" : "memory.oom_control", "oom_kill");
}
