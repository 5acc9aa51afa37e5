#include "sys/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int child_pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int child_fd_of(int pidfd, int fd)
{
	return (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}

void child_kill_group(pid_t pid, int signo)
{
	if (pid > 1)
		kill(-pid, signo);
}

/* The kernel lists children in the order in which they came. Returns the length. */
static ssize_t read_children(pid_t parent, char *text, size_t cap)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, cap - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n;
}

pid_t child_first(pid_t parent)
{
	char text[8192];
	return read_children(parent, text, sizeof text) > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

enum { SIGNAL_END_ALL = SIGUSR2 };

void child_end_kept(pid_t keeper)
{
	if (keeper > 1)
		kill(keeper, SIGNAL_END_ALL);
}

/* Field 22 of /proc/<pid>/stat, counted from behind the name, which may hold anything. A zombie counts as
 * gone. */
uint64_t child_start_ticks(pid_t pid)
{
	char path[64], text[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	char *p = strrchr(text, ')');
	if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
		return 0;
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

int64_t child_uptime_ms(uint64_t start_ticks)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	int64_t started = (int64_t)(start_ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK));
	int64_t up = now.tv_sec * 1000 + now.tv_nsec / 1000000 - started;
	return up > 0 ? up : 0;
}

struct identity {
	bool change;
	uid_t uid;
	gid_t gid;
};

static int find_user(const char *user, struct identity *id, struct err *e)
{
	id->change = false;
	if (!user || !*user)
		return E_OK;
	struct passwd *pw = getpwnam(user);
	if (!pw)
		return err_set(e, E_NOT_FOUND, "user %s does not exist on this host; create it first", user);
	if (pw->pw_uid == geteuid())
		return E_OK;
	if (geteuid() != 0)
		return err_set(e, E_DENIED, "only root starts programs as another user (%s)", user);
	*id = (struct identity){true, pw->pw_uid, pw->pw_gid};
	return E_OK;
}

/*
 * Below: in the new process, before its program. The pipe says how far it came: REACHED right before the
 * execve, which closes the pipe when it succeeds; an errno when something fails. So a pipe that closes
 * without a word means that the process was ended before there was a program.
 */
enum { REACHED = 0 };

static void tell_creator(int tell, int what)
{
	if (write(tell, &what, sizeof what) < 0)
		_exit(126);
}

static int become(const struct identity *id, const char *user)
{
	if (!id->change)
		return 0;
	return initgroups(user, id->gid) || setgid(id->gid) || setuid(id->uid) ? -1 : 0;
}

/* First out of the way of 0..2+n, then down to their places. */
static int place_fds(const struct child_spec *s, int *tell)
{
	int high[64], base = 3 + s->listen_count + 1, null = open("/dev/null", O_RDONLY);
	if (null < 0 || s->listen_count > 60)
		return -1;
	int out = fcntl(s->out_fd, F_DUPFD_CLOEXEC, base);
	*tell = fcntl(*tell, F_DUPFD_CLOEXEC, base);
	for (int i = 0; i < s->listen_count; i++)
		if ((high[i] = fcntl(s->listens[i], F_DUPFD_CLOEXEC, base)) < 0)
			return -1;
	if (out < 0 || *tell < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		return -1;
	for (int i = 0; i < s->listen_count; i++)
		if (dup2(high[i], 3 + i) < 0)
			return -1;
	return 0;
}

/* Nothing but 0..2, the listens and the pipe stays open, whatever a library forgot to mark. */
static void close_rest(const struct child_spec *s, int tell)
{
	unsigned first = 3U + (unsigned)s->listen_count;
	syscall(SYS_close_range, first, (unsigned)tell - 1, 0);
	syscall(SYS_close_range, (unsigned)tell + 1, ~0U, 0);
}

static int set_limits(const struct child_spec *s)
{
	for (int i = 0; i < s->rlimit_count; i++) {
		struct rlimit l = {s->rlimits[i].value, s->rlimits[i].value};
		if (setrlimit((__rlimit_resource_t)s->rlimits[i].which, &l) != 0)
			return -1;
	}
	return 0;
}

static char **environment(const struct child_spec *s)
{
	static char pid[32], fds[32], names[2048];
	int n = 0;
	while (s->env[n])
		n++;
	char **env = calloc((size_t)n + 4, sizeof *env);
	if (!env)
		return NULL;
	memcpy(env, s->env, (size_t)n * sizeof *env);
	if (s->listen_count == 0)
		return env;
	snprintf(pid, sizeof pid, "LISTEN_PID=%d", (int)getpid());
	snprintf(fds, sizeof fds, "LISTEN_FDS=%d", s->listen_count);
	snprintf(names, sizeof names, "LISTEN_FDNAMES=%s", s->fdnames);
	env[n] = pid, env[n + 1] = fds, env[n + 2] = names;
	return env;
}

static void calm_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
}

/* A program whose keeper was killed ends with it: nobody would end what it forks. Asked for after the change
 * of user, which takes the request back. */
static int stay_kept(const struct child_spec *s, pid_t parent)
{
	if (!s->lasting)
		return 0;
	return prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ? -1 : 0;
}

static _Noreturn void run(const struct child_spec *s, const struct identity *id, int tell, pid_t parent)
{
	char **env = environment(s);
	if (env && place_fds(s, &tell) == 0) {
		close_rest(s, tell);
		if (set_limits(s) == 0 && become(id, s->user) == 0 && stay_kept(s, parent) == 0 &&
		    chdir(s->workdir) == 0) {
			tell_creator(tell, REACHED);
			execve(s->argv[0], s->argv, env);
		}
	}
	tell_creator(tell, errno);
	_exit(127);
}

/*
 * The keeper. What it runs may fork processes that leave its group and session. The keeper is their
 * subreaper: whoever loses its parent becomes the keeper's child, so ending children until there are none
 * ends them all. That of a hook dies with us and ends all at TERM. A lasting one, of a program, stays when we
 * go.
 */
static volatile sig_atomic_t keeper_term, keeper_end;

static void keeper_tell(int signo)
{
	if (signo == SIGTERM)
		keeper_term = 1;
	else
		keeper_end = 1;
}

static void keeper_chld(int signo)
{
	(void)signo;
}

/* As many as fit: whoever ends is not listed the next time. */
static void kill_children(void)
{
	char text[8192];
	read_children(getpid(), text, sizeof text);
	for (char *p = text; *p;) {
		char *end;
		long pid = strtol(p, &end, 10);
		if (end == p || *end != ' ') /* the end of a long list may be cut inside a number */
			break;
		if (pid > 1)
			kill((pid_t)pid, SIGKILL);
		p = end + 1;
	}
}

static void end_all(void)
{
	for (;;) {
		kill_children();
		pid_t got = waitpid(-1, NULL, WNOHANG);
		if (got < 0 && errno == ECHILD)
			return;
		if (got == 0)
			poll(NULL, 0, 1);
	}
}

static void keeper_signals(sigset_t *before)
{
	static const int waited_for[] = {SIGTERM, SIGNAL_END_ALL, SIGCHLD};
	struct sigaction tell = {.sa_handler = keeper_tell}, chld = {.sa_handler = keeper_chld};
	sigset_t block;
	calm_signals();
	sigaction(SIGTERM, &tell, NULL);
	sigaction(SIGNAL_END_ALL, &tell, NULL);
	sigaction(SIGCHLD, &chld, NULL);
	sigemptyset(&block);
	for (size_t i = 0; i < ARRAY_LEN(waited_for); i++)
		sigaddset(&block, waited_for[i]);
	sigprocmask(SIG_BLOCK, &block, before);
}

static void keeper_place(const struct child_spec *s, pid_t creator)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "app-keeper");
	if (s->lasting)
		return;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != creator)
		_exit(125);
}

/* Signals wait except inside sigsuspend, so that one between test and wait is not lost. Returns the wait
 * status. */
static int keeper_wait(const struct child_spec *s, pid_t kept, const sigset_t *open_mask)
{
	int status = 0;
	while (!keeper_end && (s->lasting || !keeper_term)) {
		if (keeper_term)
			kill(-kept, SIGTERM);
		keeper_term = 0;
		pid_t got = waitpid(-1, &status, WNOHANG);
		if (got == kept)
			return status;
		if (got == 0)
			sigsuspend(open_mask);
	}
	return s->lasting ? SIGKILL : SIGTERM; /* as a wait status: ended by it */
}

/* Whoever waits for the keeper of a program learns how the program ended, not how the keeper did. */
static _Noreturn void end_alike(const struct child_spec *s, int status, const sigset_t *open_mask)
{
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	if (s->lasting) {
		prctl(PR_SET_DUMPABLE, 0); /* one core is enough */
		calm_signals();
		sigprocmask(SIG_SETMASK, open_mask, NULL);
		raise(WTERMSIG(status));
	}
	_exit(128 + WTERMSIG(status));
}

static _Noreturn void keep(const struct child_spec *s, const struct identity *id, int tell, pid_t creator)
{
	sigset_t before;
	pid_t self = getpid();
	keeper_signals(&before);
	keeper_place(s, creator);
	pid_t kept = fork();
	if (kept == 0) {
		setsid();
		calm_signals();
		run(s, id, tell, self);
	}
	if (kept < 0)
		tell_creator(tell, errno);
	/* Drop every descriptor of exec: its sockets and listeners must not live on in a program's shadow. */
	syscall(SYS_close_range, 0, ~0U, 0);
	if (kept < 0)
		_exit(125);
	int status = keeper_wait(s, kept, &before);
	end_all();
	end_alike(s, status, &before);
}

/* Nothing runs before its creator has written it down; a creator that died lets nothing run. */
static void wait_gate(int gate)
{
	char go;
	ssize_t n;
	do
		n = read(gate, &go, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(125);
	close(gate);
}

static int fd_order(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/*
 * First of all: the sockets that our creator listens on must not outlive it in us. While we wait at the gate
 * its successor would find somebody listening.
 */
static void close_creators(const struct child_spec *s, int tell, int gate)
{
	int keep[64] = {2, tell, gate, s->out_fd}, n = 4;
	for (int i = 0; i < s->listen_count && n < (int)ARRAY_LEN(keep); i++)
		keep[n++] = s->listens[i];
	qsort(keep, (size_t)n, sizeof *keep, fd_order);
	for (int i = 0; i < n; i++) {
		unsigned last = i + 1 < n ? (unsigned)keep[i + 1] - 1 : ~0U;
		if (keep[i] >= 2 && (unsigned)keep[i] + 1 <= last)
			syscall(SYS_close_range, (unsigned)keep[i] + 1, last, 0);
	}
}

static _Noreturn void child_main(const struct child_spec *s, const struct identity *id, int tell, int gate)
{
	pid_t creator = getppid();
	close_creators(s, tell, gate);
	setsid();
	wait_gate(gate);
	if (s->keeper)
		keep(s, id, tell, creator);
	calm_signals();
	run(s, id, tell, creator);
}

static pid_t fork_child(const struct child_spec *s, const struct identity *id, const int tell[2],
			int *gate_out)
{
	int gate[2];
	if (pipe2(gate, O_CLOEXEC) != 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		close(gate[1]);
		close(tell[0]);
		child_main(s, id, tell[1], gate[0]);
	}
	close(gate[0]);
	*gate_out = gate[1];
	return pid;
}

static int open_gate(const struct child_spec *s, pid_t pid, int gate, struct err *e)
{
	int rc = s->born ? s->born(s->ctx, pid, e) : E_OK;
	if (rc == E_OK && write(gate, "g", 1) != 1)
		rc = err_sys(e, E_IO, errno, "start %s", s->argv[0]);
	close(gate);
	return rc;
}

/* The last word in the pipe, when all who hold it are gone or run their program. */
static int told(int fd)
{
	int word, last = ECHILD; /* nothing was said */
	for (;;) {
		ssize_t n = read(fd, &word, sizeof word);
		if (n == sizeof word)
			last = word;
		else if (n >= 0 || errno != EINTR)
			return last;
	}
}

/* What is wrong with the program itself is told from what the host could not do now. */
static int code_of(int why)
{
	switch (why) {
	case ENOENT:
		return E_NOT_FOUND;
	case EACCES:
	case EPERM:
		return E_DENIED;
	case ENOEXEC: /* of another architecture, or a script without its first line */
	case ELIBBAD:
	case ENOTDIR:
	case ELOOP:
	case EISDIR:
	case ENAMETOOLONG:
	case E2BIG:
		return E_INVALID;
	default:
		return E_IO;
	}
}

static int not_started(const struct child_spec *s, int why, struct err *e)
{
	if (why == ECHILD)
		return err_set(e, E_IO, "start %s: it was ended before it began", s->argv[0]);
	return err_sys(e, code_of(why), why, access(s->workdir, F_OK) == 0 ? "start %s" : "start %s in %s",
		       s->argv[0], s->workdir);
}

static int give_up(const struct child *c, int rc)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	if (c->pidfd >= 0)
		close(c->pidfd);
	return rc;
}

int child_spawn(const struct child_spec *s, struct child *out, struct err *e)
{
	struct identity id;
	int tell[2], gate = -1;
	int rc = find_user(s->user, &id, e);
	if (rc != E_OK)
		return rc;
	if (pipe2(tell, O_CLOEXEC) != 0)
		return err_sys(e, E_IO, errno, "pipe for %s", s->argv[0]);
	out->pid = fork_child(s, &id, tell, &gate);
	int fork_errno = errno;
	close(tell[1]);
	if (out->pid < 0) {
		close(tell[0]);
		return err_sys(e, E_IO, fork_errno, "fork for %s", s->argv[0]);
	}
	out->pidfd = child_pidfd(out->pid);
	rc = out->pidfd < 0 ? err_sys(e, E_IO, errno, "pidfd of %s", s->argv[0]) : E_OK;
	rc = rc == E_OK ? open_gate(s, out->pid, gate, e) : (close(gate), rc);
	int why = rc == E_OK ? told(tell[0]) : REACHED;
	close(tell[0]);
	if (why != REACHED)
		rc = not_started(s, why, e);
	return rc == E_OK ? E_OK : give_up(out, rc);
}
