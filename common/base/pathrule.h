/*
 * pathrule.h: which names an archive may hold. Pure; the coordinator asks at the push and each host asks
 * again when it unpacks. Allowed are relative paths of at most 1024 bytes and 64 parts, valid UTF-8 without
 * control characters, without empty, "." or
 * ".." parts; one trailing slash for a directory. A symbolic link may only point inside, relative to where it
 * lies.
 */
#ifndef BASE_PATHRULE_H
#define BASE_PATHRULE_H

#include "base/base.h"

enum { PATHRULE_BYTES_MAX = 1024, PATHRULE_PARTS_MAX = 64 };

/* NULL when the path is allowed, else why not: a phrase that follows the name. */
const char *pathrule_refuses(const char *path);
const char *pathrule_refuses_link(const char *path, const char *target);
/* Case is folded for ASCII, so that two names that are one on some file systems are found. Returns `out`. */
const char *pathrule_fold(const char *path, char out[PATHRULE_BYTES_MAX + 1]);

#endif
