#include "tests/bench/stat.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

int64_t stat_now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

double stat_cpu_s(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return seconds(u.ru_utime) + seconds(u.ru_stime);
}

void stat_add(struct stat_list *l, int64_t ns)
{
	if (l->nr == l->cap) {
		l->cap = l->cap == 0 ? 4096 : 2 * l->cap;
		l->v = realloc(l->v, l->cap * sizeof *l->v);
		PRE(l->v != NULL);
	}
	l->v[l->nr++] = ns;
}

static int by_size(const void *pa, const void *pb)
{
	const int64_t *a = pa, *b = pb;
	return *a < *b ? -1 : *a > *b;
}

double stat_percentile_ms(struct stat_list *l, double share)
{
	if (l->nr == 0)
		return 0;
	qsort(l->v, l->nr, sizeof *l->v, by_size);
	size_t i = (size_t)(share * (double)(l->nr - 1) + 0.5);
	return (double)l->v[i] / 1e6;
}

void stat_done(struct stat_list *l)
{
	free(l->v);
	*l = (struct stat_list){0};
}

void stat_print(struct stat_list *l, uint64_t operations, double seconds_, double cpu_s)
{
	printf("{\"operations\":%llu,\"seconds\":%.4f,\"per_second\":%.1f,\"p50_ms\":%.4f,\"p99_ms\":%.4f,"
	       "\"max_ms\":%.4f,\"client_cpu_s\":%.3f}\n",
	       (unsigned long long)operations, seconds_, (double)operations / seconds_,
	       stat_percentile_ms(l, 0.5), stat_percentile_ms(l, 0.99), stat_percentile_ms(l, 1), cpu_s);
	fflush(stdout);
}

void stat_die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}
