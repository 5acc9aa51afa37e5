/*
 * attempt.h: one try of a probe of a program on this host, by HTTP or by a TCP connection, through libcurl.
 * Loop thread only.
 */
#ifndef AGENT_HTTP_ATTEMPT_H
#define AGENT_HTTP_ATTEMPT_H

#include "agent/http/record.h"
#include "sys/curlloop.h"

struct attempt;

/* How it ended, once, from the loop; may call attempt_close. E_OK: it passed. E_UNAVAILABLE: it did not, and
 * `why` says why, to people; valid during the call. */
typedef void (*attempt_cb)(void *ctx, int code, const char *why);

/*
 * A connection of its own each time, which proves that new ones are accepted; redirects are not followed. It
 * passes when the connection comes about within the time (`connect_only`) or the answer's status lies within
 * [status_min, status_max]. `a` is copied. E_INVALID: the URL's host is not this host.
 */
must_check int attempt_open(struct attempt **out, struct curlloop *curl, const struct http_attempt *a,
			    attempt_cb cb, void *ctx, struct err *e);
void attempt_close(struct attempt *t); /* no callback after it. NULL-safe */

#endif
