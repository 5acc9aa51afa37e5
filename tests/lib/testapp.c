/*
 * testapp: a small server to be supervised. Answers each connection "ok <pid>" on the passed listeners
 * (LISTEN_FDS). TERM: serves what is queued, then ends. Flags: --ignore-term, --exit N, --exit-after MS,
 * --fork (children that never end, in sessions of their own), --noise BYTES, --eat MEBIBYTES (exit 9 when
 * there is not that much), --spin (burns CPU).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t told;

static void on_term(int signo)
{
	told = signo;
}

static void serve_one(int fd)
{
	char text[256];
	int n = snprintf(text, sizeof text, "HTTP/1.0 200 OK\r\n\r\nok %d\n", (int)getpid());
	if (send(fd, text, (size_t)n, MSG_NOSIGNAL) < 0)
		perror("send");
	shutdown(fd, SHUT_WR);
	/* A close with unread bytes would reset the connection and lose the answer. */
	struct pollfd p = {.fd = fd, .events = POLLIN};
	while (poll(&p, 1, 100) > 0 && read(fd, text, sizeof text) > 0)
		;
	close(fd);
}

static void fork_forever(void)
{
	for (int i = 0; i < 3; i++)
		if (fork() == 0) {
			setsid();
			if (fork() == 0)
				setsid();
			for (;;)
				pause();
		}
}

static void noise(long bytes)
{
	for (long i = 0; i < bytes; i += 10)
		printf("123456789\n");
	printf("the end\n");
	fflush(stdout);
}

static void eat(long mebibytes)
{
	size_t n = (size_t)mebibytes << 20;
	static char *volatile kept; /* or the compiler leaves it all out */
	kept = malloc(n);
	if (!kept)
		exit(9);
	memset(kept, 1, n);
}

static long end_after = -1;
static void take_flags(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--ignore-term") == 0)
			signal(SIGTERM, SIG_IGN);
		else if (strcmp(argv[i], "--exit") == 0)
			exit(atoi(argv[++i]));
		else if (strcmp(argv[i], "--exit-after") == 0)
			end_after = atol(argv[++i]);
		else if (strcmp(argv[i], "--fork") == 0)
			fork_forever();
		else if (strcmp(argv[i], "--noise") == 0)
			noise(atol(argv[++i]));
		else if (strcmp(argv[i], "--eat") == 0)
			eat(atol(argv[++i]));
		else if (strcmp(argv[i], "--spin") == 0)
			for (volatile long n = 0;; n++)
				;
	}
}

static int listener(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	return pid && fds && atoi(pid) == getpid() && atoi(fds) > 0 ? 3 : -1;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_term};
	sigaction(SIGTERM, &sa, NULL);
	take_flags(argc, argv);
	struct pollfd p = {.fd = listener(), .events = POLLIN};
	while (!told) {
		int n = poll(&p, 1, end_after >= 0 ? (int)end_after : 20);
		if (n == 0 && end_after >= 0)
			return 3;
		int fd = n > 0 ? accept(p.fd, NULL, NULL) : -1;
		if (fd >= 0)
			serve_one(fd);
	}
	return 0;
}
