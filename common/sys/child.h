/*
 * child.h: start a program in a session of its own, and know it by pidfd. Forks: for single-threaded programs
 * only.
 */
#ifndef SYS_CHILD_H
#define SYS_CHILD_H

#include "base/err.h"

#include <sys/resource.h>
#include <sys/types.h>

enum { CHILD_RLIMITS = 5 };
struct child_rlimit {
	int which; /* RLIMIT_* */
	uint64_t value;
};

/* Everything is borrowed for the call. */
struct child_spec {
	char *const *argv; /* argv[0] is a path */
	char *const *env;  /* the whole environment; LISTEN_PID is added when there are listens */
	const char *user;  /* "": stay who we are. Another user needs root */
	const char *workdir;
	int out_fd;	     /* becomes stdout and stderr */
	const int *listens;  /* become 3, 4, ... */
	const char *fdnames; /* LISTEN_FDNAMES */
	int listen_count;
	struct child_rlimit rlimits[CHILD_RLIMITS];
	int rlimit_count;
	/* Runs in the caller between fork and the start: what it writes down is true even if we die right
	 * after. */
	int (*born)(void *ctx, pid_t pid, struct err *e);
	void *ctx;
	bool keeper; /* put a parent of our own above it that ends all its descendants: see child.c */
	/* With keeper: it outlives us, hands TERM to the program's group, ends as the program ended, and ends
	 * all at child_end_kept. `pid` is the keeper's, the program is child_first of it. */
	bool lasting;
};

struct child {
	pid_t pid;
	int pidfd; /* owned by the caller; readable when dead */
};

/*
 * Returns after the program's exec succeeded, or failed: E_NOT_FOUND (user, folder, program or what its first
 * line names), E_DENIED, E_INVALID (it is none for this machine), E_IO (what the host could not do now).
 */
must_check int child_spawn(const struct child_spec *s, struct child *out, struct err *e);

/* Start time in clock ticks since boot: with the pid, it names a process for ever. 0 when there is no such
 * process. */
uint64_t child_start_ticks(pid_t pid);
int64_t child_uptime_ms(uint64_t start_ticks);
int child_pidfd(pid_t pid);	    /* -1 with errno */
int child_fd_of(int pidfd, int fd); /* a duplicate of a descriptor of another process; -1 with errno */
void child_kill_group(pid_t pid, int signo); /* the group that `pid` leads */
void child_end_kept(pid_t keeper);	     /* of a lasting keeper: KILL to the program and all it forked */
pid_t child_first(pid_t parent);	     /* its eldest child; 0 when it has none */

#endif
