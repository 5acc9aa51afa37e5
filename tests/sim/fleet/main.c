/*
 * wavetrain-sim: the simulator of the whole product.
 *
 *   wavetrain-sim --seeds N [--start S] [--verbose]     random runs; the same seeds print the same trace
 *   wavetrain-sim --scenario FILE [--verbose]           one story
 *   wavetrain-sim-planted --plant BUG --seeds N         a fault is put in: exit 0 when it is found within N
 * seeds
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/fleet/plant.h"
#include "tests/sim/fleet/scenario.h"
#include "tests/sim/fleet/seeds.h"

struct options {
	uint64_t seeds, start;
	const char *scenario, *plant;
	bool verbose, twice;
};

static int usage(void)
{
	fprintf(stderr, "usage: wavetrain-sim --seeds N [--start S] [--twice] [--verbose] | --scenario FILE "
			"[--verbose]\n");
	return 64;
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {{"seeds", required_argument, NULL, 'n'},
					      {"start", required_argument, NULL, 's'},
					      {"scenario", required_argument, NULL, 'f'},
					      {"verbose", no_argument, NULL, 'v'},
					      {"twice", no_argument, NULL, '2'},
					      {"plant", required_argument, NULL, 'p'},
					      {NULL, 0, NULL, 0}};
	int c;
	*o = (struct options){.start = 1};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'n')
			o->seeds = strtoull(optarg, NULL, 10);
		else if (c == 's')
			o->start = strtoull(optarg, NULL, 10);
		else if (c == 'f')
			o->scenario = optarg;
		else if (c == 'v')
			o->verbose = true;
		else if (c == '2')
			o->twice = true;
		else if (c == 'p')
			o->plant = optarg;
		else
			return false;
	}
	return optind == argc && (o->seeds > 0) != (o->scenario != NULL);
}

/* The same seed must tell the same story. */
static bool repeats(uint64_t seed, uint64_t trace)
{
	char violation[512];
	uint64_t steps = 0;
	int64_t ms = 0;
	return seeds_run_one(seed, false, violation, sizeof violation, &steps, &ms) == trace;
}

static int run_seeds(const struct options *o)
{
	uint64_t violations = 0, steps = 0, traces = 0;
	int64_t virtual_ms = 0;
	for (uint64_t i = 0; i < o->seeds; i++) {
		char violation[512];
		uint64_t seed = o->start + i;
		uint64_t trace =
			seeds_run_one(seed, o->verbose, violation, sizeof violation, &steps, &virtual_ms);
		traces = traces * 31 + trace;
		if (violation[0] == '\0' && o->twice && !repeats(seed, trace))
			snprintf(violation, sizeof violation, "the same seed told another story");
		if (violation[0] == '\0')
			continue;
		violations++;
		printf("seed %llu: %s\n  repeat: ./tests/run sim --seeds 1 --start %llu --verbose\n",
		       (unsigned long long)seed, violation, (unsigned long long)seed);
	}
	printf("%llu events, %.1f virtual hours, trace %016llx\n", (unsigned long long)steps,
	       (double)virtual_ms / 3600000, (unsigned long long)traces);
	printf("%llu seeds, %llu violations\n", (unsigned long long)o->seeds, (unsigned long long)violations);
	return violations == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct options o;
	if (!parse(argc, argv, &o))
		return usage();
	if (o.plant != NULL)
		return plant_run(o.plant, o.seeds, o.start);
	return o.scenario != NULL ? scenario_run_file(o.scenario, o.verbose) : run_seeds(&o);
}
