/*
 * fetch_head.h: has this coordinator this archive? One server, one question at a time (HEAD), over a
 * connection that is kept while both sides like. The same demands on the server as for a download, fetch.h.
 * Loop thread only.
 */
#ifndef SYS_FETCH_HEAD_H
#define SYS_FETCH_HEAD_H

#include "sys/curlloop.h"
#include "sys/fetch_http.h"

struct fetch_head;

/*
 * The answer, once, from the loop; may ask again or close. `why` is for people and valid during the call.
 *
 * E_OK           it has it, in `size_bytes`; for what it said nothing of, UINT64_MAX
 * E_NOT_FOUND    it has not
 * E_DENIED       it is no coordinator of ours, or refuses us
 * E_UNAVAILABLE, E_TIMEOUT, E_PROTOCOL, E_INVALID   as in fetch.h
 */
typedef void (*fetch_head_cb)(void *ctx, int code, uint64_t size_bytes, const char *why);

/* `url` and the paths in `tls` are copied; `curl` outlives it. E_INVALID: a URL that cannot be. */
must_check int fetch_head_open(struct fetch_head **out, struct curlloop *curl, const char *url,
			       const struct tls_files *tls, bool plain_for_tests, fetch_head_cb cb, void *ctx,
			       struct err *e);
/* No question may be under way. */
void fetch_head_ask(struct fetch_head *h, const struct digest *d);
void fetch_head_close(struct fetch_head *h); /* no callback after it. NULL-safe */

#endif
