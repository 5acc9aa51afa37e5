/*
 * ids.h: the value types that name things. All are plain values: copied, compared, never owned.
 */
#ifndef BASE_IDS_H
#define BASE_IDS_H

#include "base/base.h"

/* Names of apps, hosts, regions, environments, zones: [a-z0-9][a-z0-9._-]{0,63}. Versions also take A-Z and
 * '+'. */
enum { NAME_MAX_LEN = 64, NAME_CAP = NAME_MAX_LEN + 1 };
struct name {
	char s[NAME_CAP];
};

bool name_ok(const char *s);
bool version_ok(const char *s);
/* False, and an empty `out`, when `s` is not a name (use name_set_version for versions). */
must_check bool name_set(struct name *out, const char *s);
must_check bool name_set_version(struct name *out, const char *s);
bool name_eq(const struct name *a, const struct name *b);
int name_cmp(const struct name *a, const struct name *b);
bool name_empty(const struct name *n);

/* SHA-256 of an artifact, a rendered file, a plan. All zero means "none". */
enum { DIGEST_LEN = 32, DIGEST_HEX_CAP = 2 * DIGEST_LEN + 1 };
struct digest {
	uint8_t b[DIGEST_LEN];
};

bool digest_eq(const struct digest *a, const struct digest *b);
bool digest_none(const struct digest *d);
const char *digest_hex(const struct digest *d, char out[DIGEST_HEX_CAP]);
must_check bool digest_parse(struct digest *out, const char *hex); /* exactly 64 lower-case hex digits */

/* A deployment: random 64 bits given by the proposer, shown as "r-" and 16 hex digits, unique prefixes
 * accepted. */
struct deployment_id {
	uint64_t v;
};
enum { DEPLOYMENT_ID_CAP = 2 + 16 + 1 };
const char *deployment_id_text(struct deployment_id id, char out[DEPLOYMENT_ID_CAP]);
must_check bool deployment_id_parse(struct deployment_id *out, const char *s);

/*
 * The fence of an assignment: the raft term and the log index that committed it, and the
 * generation of the host record. An agent stores the highest it obeyed, fsynced, and refuses anything lower.
 */
struct fence {
	uint64_t generation; /* of the host record: a rebuilt host is a new one */
	uint64_t term;
	uint64_t epoch; /* log index */
};
int fence_cmp(const struct fence *a, const struct fence *b); /* <0, 0, >0 */

/* One id follows a request from the CLI through log, agent and report. */
struct trace_id {
	uint64_t hi, lo;
};
enum { TRACE_ID_CAP = 33 };
const char *trace_id_text(struct trace_id t, char out[TRACE_ID_CAP]);

#endif
