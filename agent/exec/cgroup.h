/*
 * cgroup.h: one control group per app, where the kernel and our rights allow one: limits of all its processes
 * together, and a way to end all of them, whatever they forked. Version 2 (a subtree that is ours), or the v1
 * controllers memory and pids. Blocking file access; one thread.
 */
#ifndef AGENT_EXEC_CGROUP_H
#define AGENT_EXEC_CGROUP_H

#include "base/err.h"

#include <sys/types.h>

enum { CGROUP_PATH_CAP = 512 };
enum cgroup_version { CGROUP_NONE, CGROUP_V1, CGROUP_V2 };
enum { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_DIRS }; /* v2 uses the first folder alone */

/* A group. Plain value; also kept in the app's state, so that the next exec finds it. */
struct cgroup {
	uint32_t version;			/* enum cgroup_version */
	uint32_t has_memory, has_pids;		/* these limits can be set */
	uint32_t zero;				/* no padding: it is written to disk as it is */
	char dir[CGROUP_DIRS][CGROUP_PATH_CAP]; /* absolute; empty: not used */
};

/* Where to look; tests give files of their own. */
struct cgroup_place {
	const char *mountinfo, *self; /* /proc/self/mountinfo, /proc/self/cgroup */
	const char *inside;	      /* path within the hierarchy, made when missing; NULL: our own group */
};

/*
 * The group below which groups of apps are made. Proven by making one. On v2 it hands memory and pids to its
 * children; when our own process stands in the way it moves into the child "wavetrain.exec". E_NOT_FOUND or
 * E_DENIED with the reason when there is none that we may use.
 */
must_check int cgroup_home(const struct cgroup_place *p, struct cgroup *out, struct err *e);

/* `leaf` below `home`, empty of limits. It may be there already. */
must_check int cgroup_make(const struct cgroup *home, const char *leaf, struct cgroup *out, struct err *e);
/* Whatever of it exists; for groups made by an earlier life. */
void cgroup_name(const struct cgroup *home, const char *leaf, struct cgroup *out);
/* 0: no limit. Ignored where the group has no such controller (has_*). */
must_check int cgroup_limit(const struct cgroup *g, uint64_t memory_bytes, uint64_t pids, struct err *e);
must_check int cgroup_enter(const struct cgroup *g, pid_t pid, struct err *e);

/* KILL to all in it, also to what forks meanwhile. It takes them a moment to go: repeat until removed. */
void cgroup_kill(const struct cgroup *g);
/* True when it is gone; false while a process is left in it. */
bool cgroup_remove(const struct cgroup *g);

/*
 * Removes empty groups below `home` whose name starts so and that are older than `age_s`: those of an exec
 * that was killed and whose root is gone, so that nobody else will. Whoever owns one makes it anew when it
 * needs it.
 */
void cgroup_tidy(const struct cgroup *home, const char *name_start, int64_t age_s);

struct cgroup_usage {
	bool known;
	uint64_t memory_bytes, peak_bytes, oom_kills; /* 0 also when the kernel does not say */
};
void cgroup_usage(const struct cgroup *g, struct cgroup_usage *out);

#endif
