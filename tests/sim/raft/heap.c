/*
 * The engine's heap: quick, and deterministic about misuse. What is freed is filled with a pattern and not
 * given out again for a while; freeing it twice, or writing to it, is a violation of the seed.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/raft/world.h"

/* Classes of sizes: each multiple of STEP up to SMALL, then the powers of two. */
enum { STEP = 16, SMALL = 4096, SMALL_CLASSES = SMALL / STEP + 1, CLASSES = SMALL_CLASSES + 32 };
enum { QUARANTINE = 32, QUARANTINE_LARGE = 4, CHUNK = 1 << 20, POISON = 0xdd };

struct block {
	uint64_t state;
	size_t size; /* as asked for */
	struct block *next;
	uint64_t spare; /* what follows is aligned to 16 */
};

static const uint64_t live = 0x4c495645u, freed = 0x46524545u;

static struct {
	struct world *w;
	uint8_t *chunk;
	size_t left;
	struct block *first[CLASSES], **tail[CLASSES]; /* freed, oldest first */
	unsigned n[CLASSES];
} heap;

static unsigned class_of(size_t size)
{
	if (size <= SMALL)
		return size > 0 ? (unsigned)((size + STEP - 1) / STEP) : 1;
	return SMALL_CLASSES + 63 - (unsigned)__builtin_clzll((size - 1) / SMALL);
}

static size_t room_of(unsigned class)
{
	return class < SMALL_CLASSES ? (size_t) class * STEP : (size_t)2 * SMALL << (class - SMALL_CLASSES);
}

static struct block *carve(size_t bytes)
{
	if (heap.left < bytes) {
		heap.left = bytes > CHUNK ? bytes : CHUNK;
		heap.chunk = malloc(heap.left);
		PRE(heap.chunk);
	}
	struct block *b = (struct block *)heap.chunk;
	heap.chunk += bytes;
	heap.left -= bytes;
	return b;
}

static void check_untouched(const struct block *b)
{
	const uint8_t *p = (const uint8_t *)(b + 1);
	if (b->size > 0 && (p[0] != POISON || memcmp(p, p + 1, b->size - 1) != 0))
		violation(heap.w, "the engine wrote to memory of %zu bytes after it was freed", b->size);
}

static struct block *reuse(unsigned class)
{
	struct block *b = heap.first[class];
	if (heap.n[class] < (class < SMALL_CLASSES ? QUARANTINE : QUARANTINE_LARGE))
		return NULL;
	check_untouched(b);
	heap.first[class] = b->next;
	heap.n[class]--;
	return b;
}

static void *heap_malloc(void *data, size_t size)
{
	unsigned class = class_of(size);
	struct block *b = reuse(class);
	if (!b)
		b = carve(sizeof *b + room_of(class));
	b->state = live;
	b->size = size;
	return b + 1;
}

static void heap_free(void *data, void *ptr)
{
	struct block *b = (struct block *)ptr - 1;
	if (!ptr)
		return;
	if (b->state != live)
		violation(heap.w, "the engine freed memory %s", b->state == freed ? "twice" : "of nobody");
	b->state = freed;
	memset(ptr, POISON, b->size);
	unsigned class = class_of(b->size);
	if (heap.n[class]++ == 0)
		heap.tail[class] = &heap.first[class];
	b->next = NULL;
	*heap.tail[class] = b;
	heap.tail[class] = &b->next;
}

static void *heap_calloc(void *data, size_t n, size_t size)
{
	void *p = heap_malloc(data, n * size);
	memset(p, 0, n * size);
	return p;
}

static void *heap_realloc(void *data, void *ptr, size_t size)
{
	void *p = heap_malloc(data, size);
	if (ptr) {
		size_t had = ((struct block *)ptr - 1)->size;
		memcpy(p, ptr, had < size ? had : size);
		heap_free(data, ptr);
	}
	return p;
}

static void *heap_aligned_alloc(void *data, size_t alignment, size_t size)
{
	PRE(alignment <= STEP);
	return heap_malloc(data, size);
}

static void heap_aligned_free(void *data, size_t alignment, void *ptr)
{
	heap_free(data, ptr);
}

void heap_begin(struct world *w)
{
	static struct raft_heap functions = {.malloc = heap_malloc,
					     .free = heap_free,
					     .calloc = heap_calloc,
					     .realloc = heap_realloc,
					     .aligned_alloc = heap_aligned_alloc,
					     .aligned_free = heap_aligned_free};
	heap.w = w;
	raft_heap_set(&functions);
}
