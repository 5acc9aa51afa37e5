/* scalar.h: the small notations of the file, read and written; durations and sizes are base/notation.h. Pure.
 * Readers take the whole text or nothing.
 */
#ifndef COORDINATOR_SPEC_SCALAR_H
#define COORDINATOR_SPEC_SCALAR_H

#include "coordinator/spec/spec.h"

enum { SCALAR_CAP = 32 };

must_check bool scalar_percent(const char *s, permille *p); /* 0% to 100%, one decimal */
must_check bool scalar_uint(const char *s, uint32_t *v);    /* also 0x1f and 0o17 */
must_check bool scalar_int(const char *s, int64_t *v);
must_check bool scalar_bool(const char *s, bool *v);
must_check bool scalar_range(const char *s, struct spec_range *r); /* 200 or 200-399, HTTP codes */
/* Templates in addresses are taken on trust: only the host can fill them. */
bool scalar_address(const char *s); /* HOST:PORT, [IPV6]:PORT */
enum { SCALAR_LISTEN_CAP = 64 };    /* EXEC_ADDR_CAP of the agent's side */
bool scalar_listen(const char *s);  /* in numbers: wavetrain-exec looks nothing up */
/* Of this host, with a port or without: 127.x, [::1], localhost. */
bool scalar_loopback(const char *s);
bool scalar_env_name(const char *s);

/* The one way the canonical form writes them. */
const char *scalar_percent_text(permille p, char out[SCALAR_CAP]);
const char *scalar_range_text(struct spec_range r, char out[SCALAR_CAP]);

#endif
