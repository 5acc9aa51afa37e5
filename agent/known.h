/*
 * known.h: the coordinators of the cluster as one of them named them last. They are kept in the agent's own
 * folder, beside what the bundle says: a host whose bundle names one coordinator finds the others after a
 * restart, too, when that one is gone. Blocking (a few KiB).
 */
#ifndef AGENT_KNOWN_H
#define AGENT_KNOWN_H

#include "agent/bundle.h"

enum { KNOWN_MAX = BUNDLE_COORDINATORS_MAX, KNOWN_URL_CAP = 512, KNOWN_BYTES_MAX = 64 * 1024 };

/* The file, in the agent's folder. */
#define KNOWN_FILE "coordinators.json"

struct known {
	const char *coordinators[KNOWN_MAX + 1]; /* "host:port", NULL-terminated */
	const char *urls[KNOWN_MAX + 1]; /* where archives are, "https://host:port", NULL-terminated */
	size_t nr, urls_nr;
};

/* What a coordinator said, copied into the arena. E_INVALID: one of them is none, and `out` is untouched;
 * E_TOO_LARGE: more than KNOWN_MAX of either. */
must_check int known_take(struct arena *a, char *const *coordinators, size_t nr, char *const *urls,
			  size_t urls_nr, struct known *out, struct err *e);
bool known_same(const struct known *a, const struct known *b);

/* Matched by known_parse. */
char *known_text(struct arena *a, const struct bundle *b, const struct known *k);
/* E_INVALID: it is not such a text, or not of the bundle's cluster; `out` is untouched. */
must_check int known_parse(struct arena *a, const struct bundle *b, const char *text, size_t len,
			   struct known *out, struct err *e);
/* Durable when E_OK; the file is the old or the new one otherwise. */
must_check int known_save(const char *dir, const struct bundle *b, const struct known *k, struct err *e);
/* E_NOT_FOUND: nothing was kept yet. Any other error: the file cannot be used. `out` is empty then. */
must_check int known_load(struct arena *a, const char *dir, const struct bundle *b, struct known *out,
			  struct err *e);

/* Whom to dial, in turn: those known, then those of the bundle that are not among them. NULL-terminated, at
 * most KNOWN_MAX, in the arena; the strings are those of `k` and `b`. */
const char *const *known_dial(struct arena *a, const struct known *k, const struct bundle *b);

#endif
