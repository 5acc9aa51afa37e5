/*
 * fetch_http.h: how a coordinator is asked for an archive, by fetch.c and fetch_head.c: TLS 1.3 with
 * certificates on both sides, HTTP/1.1, no redirects, no proxy, no other protocol. Loop thread only.
 */
#ifndef SYS_FETCH_HTTP_H
#define SYS_FETCH_HTTP_H

#include <curl/curl.h>

#include "base/err.h"
#include "base/ids.h"
#include "sys/tls.h"

enum { FETCH_URL_CAP = 512 };

/* Is `url` scheme, host and port and nothing else? `plain`: http: is fine, too. */
bool fetch_http_is_base(const char *url, bool plain);

/* The paths in `tls` are copied; without them (tests) there is no TLS. */
void fetch_http_prepare(CURL *easy, const struct tls_files *tls, bool plain);

/* Asks for `d` at `base` from the next transfer on. */
void fetch_http_aim(CURL *easy, const char *base, const struct digest *d);

/* From CURLOPT_PREREQFUNCTION: who serves, before anything is asked of it? E_DENIED, with the reason, when it
 * is no coordinator of our cluster. */
must_check int fetch_http_server(CURL *easy, struct err *e);

/* What a transfer that failed means: E_TIMEOUT, E_DENIED, E_INVALID (our own files), E_PROTOCOL,
 * E_UNAVAILABLE. */
int fetch_http_code(CURLcode code);

/* What an answer that is no archive means: E_NOT_FOUND, E_DENIED, E_UNAVAILABLE, E_PROTOCOL; with a text. */
int fetch_http_refusal(long status, struct err *e);

#endif
