/*
 * bench-events: the limit of the simulator: its own event queue, and events that do nothing.
 *
 *   bench-events --events N --waiting M
 *
 * M events wait at any time, as in a run of that many hosts and timers; each, when it comes, makes the next
 * one at a random time.
 */
#include <getopt.h>
#include <stdlib.h>

#include "tests/bench/stat.h"
#include "tests/sim/fleet/world.h"

static void again(void *arg)
{
	struct world *w = arg;
	world_at(w, (int64_t)rng_below(&w->rng, 1000), again, w);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"events", required_argument, NULL, 'e'},
					      {"waiting", required_argument, NULL, 'w'},
					      {NULL, 0, NULL, 0}};
	uint64_t events = 1000000, waiting = 100;
	struct world w;
	int c;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'e')
			events = strtoull(optarg, NULL, 10);
		else if (c == 'w')
			waiting = strtoull(optarg, NULL, 10);
		else
			return 64;
	}
	world_init(&w, 1);
	for (uint64_t i = 0; i < waiting; i++)
		again(&w);
	int64_t start = stat_now_ns();
	double cpu = stat_cpu_s();
	while (w.steps < events && world_step(&w, INT64_MAX))
		;
	double seconds = (double)(stat_now_ns() - start) / 1e9;
	printf("{\"events\":%llu,\"seconds\":%.4f,\"per_second\":%.0f,\"cpu_s\":%.3f}\n",
	       (unsigned long long)w.steps, seconds, (double)w.steps / seconds, stat_cpu_s() - cpu);
	world_done(&w);
	return 0;
}
