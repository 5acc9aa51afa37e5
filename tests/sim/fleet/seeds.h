/* seeds.h: one random run. Returns the trace hash; `violation` is empty when all held. Adds to *steps and
 * *virtual_ms. */
#ifndef SIM_SEEDS_H
#define SIM_SEEDS_H

#include "base/base.h"

uint64_t seeds_run_one(uint64_t seed, bool verbose, char *violation, size_t cap, uint64_t *steps,
		       int64_t *virtual_ms);

#endif
