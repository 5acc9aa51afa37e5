/*
 * base.h: the handful of words every file uses. Pure: no I/O, no clock, no state.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a)	       (sizeof(a) / sizeof((a)[0]))
#define must_check	       __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/*
 * PRE(cond): what we promise to each other. It stays on in release builds: a process whose own invariant
 * broke must stop before it says or does anything more. Never used on bytes that came from elsewhere.
 */
_Noreturn void base_broken(const char *cond, const char *file, int line);
#define PRE(cond) ((cond) ? (void)0 : base_broken(#cond, __FILE__, __LINE__))

/* Time. Milliseconds since an arbitrary start (mono) or since 1970-01-01 UTC (wall); never mixed. */
struct mono_ms {
	int64_t v;
};
struct wall_ms {
	int64_t v;
};

/* Shares are permille (1000 = all): pure code has no floating point. */
typedef uint32_t permille;

#endif
