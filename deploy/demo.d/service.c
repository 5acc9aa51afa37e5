/*
 * service.c: the small HTTP service that the demo deploys. It is a program as users have them: it takes its
 * listening socket from the supervisor (LISTEN_FDS) or opens PORT itself, works a moment on GET / before it
 * answers with its version, answers GET /healthz with its health, and knows nothing of being deployed:
 * SIGTERM ends it at once, in the middle of whatever it does. FAIL_AFTER_MS makes it turn unhealthy some time
 * after its start, as a bad release does.
 */
#include <microhttpd.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WORK_MS = 15 };

struct service {
	const char *version;
	long fail_after_ms; /* 0 = never */
	long started_ms;
};

static long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool healthy(const struct service *s)
{
	return s->fail_after_ms == 0 || now_ms() - s->started_ms < s->fail_after_ms;
}

static enum MHD_Result answer_cb(void *arg, struct MHD_Connection *c, const char *url, const char *method,
				 const char *version, const char *data, size_t *data_len, void **req)
{
	struct service *s = arg;
	static int seen;
	if (*req == NULL) { /* replying on the first call would cost the client its connection */
		*req = &seen;
		return MHD_YES;
	}
	bool is_probe = strcmp(url, "/healthz") == 0;
	if (!is_probe)
		poll(NULL, 0, WORK_MS);
	unsigned status = is_probe && !healthy(s) ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK;
	char body[128];
	int n = snprintf(body, sizeof body, "%s\n", is_probe ? (healthy(s) ? "ok" : "failing") : s->version);
	struct MHD_Response *r = MHD_create_response_from_buffer((size_t)n, body, MHD_RESPMEM_MUST_COPY);
	MHD_add_response_header(r, "X-Version", s->version);
	enum MHD_Result rc = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return rc;
}

static int passed_socket(void)
{
	const char *fds = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	return fds != NULL && pid != NULL && atoi(fds) > 0 && atoi(pid) == getpid() ? 3 : -1;
}

static struct MHD_Daemon *serve(struct service *s)
{
	const char *port = getenv("PORT");
	int fd = passed_socket();
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL;
	if (fd >= 0)
		return MHD_start_daemon(flags, 0, NULL, NULL, answer_cb, s, MHD_OPTION_LISTEN_SOCKET, fd,
					MHD_OPTION_END);
	return MHD_start_daemon(flags, (uint16_t)(port == NULL ? 8080 : atoi(port)), NULL, NULL, answer_cb, s,
				MHD_OPTION_END);
}

int main(int argc, char **argv)
{
	struct service s = {.version = argc > 1 ? argv[1] : "0", .started_ms = now_ms()};
	const char *fail = getenv("FAIL_AFTER_MS");
	s.fail_after_ms = fail == NULL ? 0 : atol(fail);
	signal(SIGPIPE, SIG_IGN);

	struct MHD_Daemon *d = serve(&s);
	if (d == NULL) {
		fprintf(stderr, "service %s: cannot listen\n", s.version);
		return 1;
	}
	printf("service %s: serving\n", s.version);
	fflush(stdout);
	for (;;)
		pause();
}
