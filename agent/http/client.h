/*
 * client.h: asks wavetrain-http, on a libuv loop. Loop thread only. The process is started by the first call
 * and let go a while after the last. Each call is answered exactly once, from the loop and never from within
 * the call that began it, unless it is dropped. When the process ends, or says nothing for too long, it is
 * ended, what was under way fails, and the next call starts another.
 */
#ifndef AGENT_HTTP_CLIENT_H
#define AGENT_HTTP_CLIENT_H

#include <uv.h>

#include "agent/http/record.h"

struct http_client;
struct http_call;

/* Zero chooses the default in brackets. */
struct http_client_config {
	const char *program; /* path of wavetrain-http; copied */
	int64_t linger_ms;   /* [15 000] how long it stays without a call */
	int64_t silent_ms;   /* [30 000] a process with calls under way that says nothing for so long hangs */
};

struct http_client *http_client_open(uv_loop_t *loop, const struct http_client_config *c);

/*
 * How a call ended: a code of fetch.h or attempt.h with its text, which is valid during the call; or
 *   E_CLOSED   the process ended, hung or could not be started, and nobody knows how it would have ended
 * May begin and drop other calls. The call itself is gone.
 */
typedef void (*http_client_cb)(void *ctx, int code, const char *text);

/* Copied. The URLs, at most HTTP_URLS, are NULL-terminated and take the place of those in `f`. E_TOO_LARGE.
 */
must_check int http_client_fetch(struct http_call **out, struct http_client *c, const struct http_fetch *f,
				 const char *const *urls, http_client_cb cb, void *ctx, struct err *e);
struct http_call *http_client_attempt(struct http_client *c, const struct http_attempt *a, http_client_cb cb,
				      void *ctx);

uint64_t http_call_have(const struct http_call *call); /* FETCH: bytes on disk, as last told */
void http_call_drop(struct http_call *call);	       /* no callback after it. NULL-safe */

/* Drops all calls, and lets the process go; the memory is freed by the loop's next turns. NULL-safe. */
void http_client_close(struct http_client *c);

#endif
