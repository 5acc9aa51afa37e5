/*
 * store_mem.h: the store in memory, for tests and the simulator. The contract suite runs on it and on LMDB
 * alike.
 */
#ifndef STATE_STORE_MEM_H
#define STATE_STORE_MEM_H

#include "coordinator/state/store.h"

struct store *store_mem_new(void);
void store_mem_free(struct store *s);

#endif
