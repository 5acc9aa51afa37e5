/*
 * changes.h: what differs between two rendered deployment files, one line per value: "~ key old -> new", "+
 * key new", "- key old".
 */
#ifndef DRIVE_CHANGES_H
#define DRIVE_CHANGES_H

#include "base/arena.h"

/* Both are canonical JSON; what is not JSON differs in nothing. Lines are in the order of keys and live in
 * the arena. */
void changes_between(struct arena *a, const char *old, size_t old_n, const char *new_, size_t new_n,
		     const char ***lines, size_t *nr);

#endif
