/*
 * bench-admin: acknowledged writes through the admin socket of a coordinator.
 *
 *   bench-admin --socket PATH --in-flight N (--seconds S | --count N) --prefix NAME
 *
 * Each write is `app add NAME`: one command in the log, answered when it is durable and applied.
 */
#include <getopt.h>
#include <stdlib.h>

#include "coordinator/admin/commands.h"
#include "tests/bench/calls.h"

struct load {
	const char *prefix;
	Admin__AppArgs args;
};

static void ask(void *arg, uint64_t nr, struct arena *a, Admin__Request *rq)
{
	struct load *l = arg;
	admin__app_args__init(&l->args);
	l->args.name = arena_printf(a, "%s-%llu", l->prefix, (unsigned long long)nr);
	rq->verb = CMD_APP_ADD;
	rq->args_case = ADMIN__REQUEST__ARGS_APP;
	rq->app = &l->args;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"socket", required_argument, NULL, 'p'},  {"in-flight", required_argument, NULL, 'f'},
		{"seconds", required_argument, NULL, 's'}, {"count", required_argument, NULL, 'c'},
		{"prefix", required_argument, NULL, 'x'},  {NULL, 0, NULL, 0}};
	struct load l = {0};
	struct calls calls = {.in_flight = 1, .ask = ask, .arg = &l};
	double seconds = 0;
	int c;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'p')
			calls.path = optarg;
		else if (c == 'f')
			calls.in_flight = strtoul(optarg, NULL, 10);
		else if (c == 's')
			seconds = strtod(optarg, NULL);
		else if (c == 'c')
			calls.most = strtoull(optarg, NULL, 10);
		else if (c == 'x')
			l.prefix = optarg;
		else
			return 64;
	}
	if (calls.path == NULL || l.prefix == NULL || (seconds <= 0) == (calls.most == 0))
		stat_die("bench-admin: needs --socket, --prefix, and one of --seconds and --count");
	int64_t start = stat_now_ns();
	calls.until_ns = seconds > 0 ? start + (int64_t)(seconds * 1e9) : 0;
	calls_run(&calls);
	stat_print(&calls.latency, calls.done, (double)(stat_now_ns() - start) / 1e9, stat_cpu_s());
	stat_done(&calls.latency);
	return 0;
}
