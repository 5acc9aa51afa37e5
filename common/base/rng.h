/*
 * rng.h: a small seeded generator for simulators, jitter and tests. Not for secrets. The algorithm is
 * xoshiro256** by Blackman and Vigna, seeded through splitmix64; the same seed gives the same numbers on
 * every machine.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include "base/base.h"

struct rng {
	uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);		  /* uniform in [0, n), n > 0 */
int64_t rng_range(struct rng *r, int64_t lo, int64_t hi); /* uniform in [lo, hi] */
bool rng_chance(struct rng *r, permille p);		  /* true p times in 1000 */

/* Full jitter: uniform in [0, min(cap, base * 2^attempt)] (AWS architecture blog, "Exponential Backoff And
 * Jitter"). */
int64_t rng_full_jitter_ms(struct rng *r, unsigned attempt, int64_t base_ms, int64_t cap_ms);

#endif
