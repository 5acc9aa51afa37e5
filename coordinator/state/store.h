/*
 * store.h: the ordered key-value transaction the fold runs on. Two implementations behind one contract suite:
 * LMDB (adapters/store_lmdb.h) and memory (state/store_mem.h: tests and simulator). Keys at most 400 bytes,
 * values at most 1 MiB; a value returned by get or a cursor is valid until the next put, del or commit. One
 * writer, one thread. Failing storage is not an error code here: the implementation stops the process
 * (fail-stop).
 */
#ifndef STATE_STORE_H
#define STATE_STORE_H

#include "base/base.h"

struct store_slice {
	const uint8_t *p;
	size_t n;
};

struct store;
struct store_ops {
	bool (*get)(struct store *s, struct store_slice key, struct store_slice *value);
	void (*put)(struct store *s, struct store_slice key, struct store_slice value);
	bool (*del)(struct store *s, struct store_slice key); /* false: was not there */
	/* The first pair with key >= `key`; false at the end. Stateless: callers continue with the last key +
	 * one zero byte. */
	bool (*seek)(struct store *s, struct store_slice key, struct store_slice *found,
		     struct store_slice *value);
	void (*commit)(struct store *s); /* all since the last commit, atomically; a new transaction begins
					    with the next call */
	void (*wipe)(struct store *s);	 /* remove every pair, inside the transaction */
};

struct store {
	const struct store_ops *ops;
};

#endif
