/*
 * stat.h: what the programs of tests/bench share: a clock, a list of latencies, their percentiles, and the
 * way out when something is wrong. A measurement that went wrong ends the program: it must not look like a
 * figure.
 */
#ifndef BENCH_STAT_H
#define BENCH_STAT_H

#include <stdint.h>
#include <stdio.h>

#include "base/base.h"

int64_t stat_now_ns(void); /* CLOCK_MONOTONIC, that of Python's time.monotonic */
double stat_cpu_s(void);   /* of this process, user and system */

struct stat_list {
	int64_t *v;
	size_t nr, cap;
};

void stat_add(struct stat_list *l, int64_t ns);
/* Sorts. `share` 0.5 is the median; 0 of an empty list. */
double stat_percentile_ms(struct stat_list *l, double share);
void stat_done(struct stat_list *l);

/* One line of JSON to stdout: operations, seconds, operations per second, p50, p99 and most, CPU of this
 * process. */
void stat_print(struct stat_list *l, uint64_t operations, double seconds, double cpu_s);

_Noreturn void stat_die(const char *fmt, ...) printf_like(1, 2);

#endif
