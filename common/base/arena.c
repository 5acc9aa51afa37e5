#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_MIN = 16 * 1024, ALIGN = 16 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, used;
	_Alignas(ALIGN) unsigned char mem[];
};

static struct arena_chunk *chunk_new(size_t need)
{
	size_t size = need > CHUNK_MIN ? need : CHUNK_MIN;
	struct arena_chunk *c = malloc(sizeof *c + size);
	PRE(c != NULL);
	c->next = NULL;
	c->size = size;
	c->used = 0;
	return c;
}

void arena_init(struct arena *a)
{
	*a = (struct arena){0};
}

void arena_done(struct arena *a)
{
	for (struct arena_chunk *c = a->head, *next; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	arena_init(a);
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *keep = a->head;
	if (keep == NULL)
		return;
	a->head = keep->next;
	arena_done(a);
	keep->next = NULL;
	keep->used = 0;
	a->head = keep;
}

void *arena_alloc(struct arena *a, size_t size)
{
	PRE(size <= SIZE_MAX / 2);
	size = size == 0 ? ALIGN : (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (a->head == NULL || a->head->size - a->head->used < size) {
		struct arena_chunk *c = chunk_new(size);
		c->next = a->head;
		a->head = c;
	}
	void *p = a->head->mem + a->head->used;
	a->head->used += size;
	a->used += size;
	return memset(p, 0, size);
}

void *arena_alloc_n(struct arena *a, size_t n, size_t size)
{
	PRE(size == 0 || n <= SIZE_MAX / 2 / size);
	return arena_alloc(a, n * size);
}

void *arena_memdup(struct arena *a, const void *p, size_t n)
{
	void *out = arena_alloc(a, n);
	return n == 0 ? out : memcpy(out, p, n);
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_memdup(a, s, strlen(s) + 1);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	PRE(n >= 0);
	char *s = arena_alloc(a, (size_t)n + 1);
	vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	return s;
}
