#include "coordinator/state/store_mem.h"

#include <stdlib.h>
#include <string.h>

struct pair {
	size_t key_n, value_n;
	uint8_t bytes[]; /* key, then value */
};

struct store_mem {
	struct store store;
	struct pair **v; /* sorted by key */
	size_t nr, cap;
};

static int compare(struct store_slice a, const struct pair *b)
{
	size_t n = a.n < b->key_n ? a.n : b->key_n;
	int c = n == 0 ? 0 : memcmp(a.p, b->bytes, n);
	return c != 0 ? c : a.n < b->key_n ? -1 : a.n > b->key_n;
}

/* The first place whose key is >= `key`. */
static size_t place(const struct store_mem *m, struct store_slice key)
{
	size_t lo = 0, hi = m->nr;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (compare(key, m->v[mid]) > 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool is_at(const struct store_mem *m, size_t i, struct store_slice key)
{
	return i < m->nr && compare(key, m->v[i]) == 0;
}

static struct store_slice value_of(const struct pair *p)
{
	return (struct store_slice){p->bytes + p->key_n, p->value_n};
}

static bool mem_get(struct store *s, struct store_slice key, struct store_slice *value)
{
	struct store_mem *m = container_of(s, struct store_mem, store);
	size_t i = place(m, key);
	if (!is_at(m, i, key))
		return false;
	*value = value_of(m->v[i]);
	return true;
}

static struct pair *pair_new(struct store_slice key, struct store_slice value)
{
	struct pair *p = malloc(sizeof *p + key.n + value.n);
	PRE(p != NULL);
	p->key_n = key.n;
	p->value_n = value.n;
	memcpy(p->bytes, key.p, key.n);
	if (value.n > 0)
		memcpy(p->bytes + key.n, value.p, value.n);
	return p;
}

static void insert_at(struct store_mem *m, size_t i, struct pair *p)
{
	if (m->nr == m->cap) {
		m->cap = m->cap == 0 ? 64 : 2 * m->cap;
		m->v = realloc(m->v, m->cap * sizeof *m->v);
		PRE(m->v != NULL);
	}
	memmove(m->v + i + 1, m->v + i, (m->nr - i) * sizeof *m->v);
	m->v[i] = p;
	m->nr++;
}

static void mem_put(struct store *s, struct store_slice key, struct store_slice value)
{
	struct store_mem *m = container_of(s, struct store_mem, store);
	size_t i = place(m, key);
	struct pair *p = pair_new(key, value);
	if (is_at(m, i, key)) {
		free(m->v[i]);
		m->v[i] = p;
	} else {
		insert_at(m, i, p);
	}
}

static bool mem_del(struct store *s, struct store_slice key)
{
	struct store_mem *m = container_of(s, struct store_mem, store);
	size_t i = place(m, key);
	if (!is_at(m, i, key))
		return false;
	free(m->v[i]);
	memmove(m->v + i, m->v + i + 1, (m->nr - i - 1) * sizeof *m->v);
	m->nr--;
	return true;
}

static bool mem_seek(struct store *s, struct store_slice key, struct store_slice *found,
		     struct store_slice *value)
{
	struct store_mem *m = container_of(s, struct store_mem, store);
	size_t i = place(m, key);
	if (i == m->nr)
		return false;
	*found = (struct store_slice){m->v[i]->bytes, m->v[i]->key_n};
	*value = value_of(m->v[i]);
	return true;
}

static void mem_commit(struct store *s)
{
	/* Every put is in place at once; a crash of the simulator's coordinator drops the whole store. */
}

static void mem_wipe(struct store *s)
{
	struct store_mem *m = container_of(s, struct store_mem, store);
	for (size_t i = 0; i < m->nr; i++)
		free(m->v[i]);
	m->nr = 0;
}

struct store *store_mem_new(void)
{
	static const struct store_ops ops = {.get = mem_get,
					     .put = mem_put,
					     .del = mem_del,
					     .seek = mem_seek,
					     .commit = mem_commit,
					     .wipe = mem_wipe};
	struct store_mem *m = calloc(1, sizeof *m);
	PRE(m != NULL);
	m->store.ops = &ops;
	return &m->store;
}

void store_mem_free(struct store *s)
{
	if (s == NULL)
		return;
	struct store_mem *m = container_of(s, struct store_mem, store);
	mem_wipe(s);
	free(m->v);
	free(m);
}
