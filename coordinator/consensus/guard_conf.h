/*
 * guard_conf.h: the guard's own memory of every configuration in the log (rule 8, defect S9). The engine
 * keeps only the newest and finds the one before it by an entry that may be compacted. Private to guard.c.
 */
#ifndef CONSENSUS_GUARD_CONF_H
#define CONSENSUS_GUARD_CONF_H

#include "coordinator/consensus/guard.h"

struct guard_conf {
	raft_index index;
	void *bytes; /* as raft_configuration_encode() makes them */
	size_t len;
};

/* Remember the configuration at `index`; what stood at or after it is gone. False when out of memory. */
bool guard_conf_put(struct guard *g, raft_index index, const void *bytes, size_t len);
bool guard_conf_put_decoded(struct guard *g, raft_index index, const struct raft_configuration *conf);
void guard_conf_cut(struct guard *g, raft_index from); /* forget those at or after `from` */
void guard_conf_clear(struct guard *g);
/* The newest at or before `upto`, NULL when none is known. */
const struct guard_conf *guard_conf_upto(const struct guard *g, raft_index upto);
/* Into an initialised, empty configuration; a RAFT_* code. */
int guard_conf_decode(const struct guard_conf *c, struct raft_configuration *out);

#endif
