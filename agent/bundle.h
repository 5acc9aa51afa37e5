/*
 * bundle.h: the join bundle that `wavetrain agents add` wrote: a directory with bundle.json, ca.pem, cert.pem
 * and key.pem. It says who this host is for people and logs; to the coordinators only the certificate says
 * that.
 */
#ifndef AGENT_BUNDLE_H
#define AGENT_BUNDLE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/ids.h"

enum { BUNDLE_COORDINATORS_MAX = 16, BUNDLE_ADDRESS_CAP = 272, BUNDLE_BYTES_MAX = 64 * 1024 };

struct bundle {
	uint64_t cluster_hi, cluster_lo;
	struct name host, region, zone; /* zone may be empty */
	uint64_t generation;
	const char
		*coordinators[BUNDLE_COORDINATORS_MAX + 1]; /* "host:port", NULL-terminated, at least one */
	const char *server_name;			    /* NULL: each coordinator's own host */
	uint32_t poll_wait_ms;				    /* 27 500 when not given; 10 to 30 000 */
	const char *ca, *cert, *key;			    /* paths; set by bundle_load only */
};

/* "host:port" or "[v6]:port", as agents dial it: letters, digits, dots, hyphens and underscores, a port. */
bool bundle_is_address(const char *s);
/* Everything lives in the arena. E_INVALID names the field. */
must_check int bundle_parse(struct arena *a, const char *json, size_t len, struct bundle *out, struct err *e);
/* Reads <dir>/bundle.json and sets the paths; key.pem must belong to nobody else: E_DENIED when others may
 * read it. */
must_check int bundle_load(struct arena *a, const char *dir, struct bundle *out, struct err *e);

#endif
