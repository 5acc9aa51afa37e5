/*
 * arena.h: memory that belongs to one message or one step and dies with it. Not thread safe; nothing is freed
 * singly. Allocation never fails to the caller: running out of memory ends the process (fail-stop), so pure
 * code has no out-of-memory paths. Everything returned is zeroed and aligned for any type.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/base.h"

struct arena_chunk;
struct arena {
	struct arena_chunk *head;
	size_t used; /* bytes handed out since the last reset */
};

void arena_init(struct arena *a);
void arena_done(struct arena *a);  /* frees everything; the arena may be used again */
void arena_reset(struct arena *a); /* like done, but keeps one chunk for the next step */

void *arena_alloc(struct arena *a, size_t size);
#define arena_new(a, type)	arena_alloc((a), sizeof(type))
#define arena_array(a, type, n) arena_alloc_n((a), (n), sizeof(type))
void *arena_alloc_n(struct arena *a, size_t n, size_t size); /* n * size, overflow checked */
char *arena_strdup(struct arena *a, const char *s);
void *arena_memdup(struct arena *a, const void *p, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) printf_like(2, 3);

#endif
