/*
 * artifact_http.h: artifacts for agents and other coordinators over HTTPS, by libmicrohttpd on the caller's
 * loop: GET and HEAD of /v1/artifacts/<sha256 hex>, with Range, from a file descriptor. Both sides show
 * certificates of the cluster's CA, and the owner says which of them may read: that of a removed host is
 * still of the CA. Loop thread only.
 */
#ifndef ADAPTERS_ARTIFACT_HTTP_H
#define ADAPTERS_ARTIFACT_HTTP_H

#include <uv.h>

#include "base/err.h"
#include "coordinator/artifact/store.h"
#include "sys/tls.h"

struct artifact_http_config {
	const char *address;	     /* numeric IPv4 */
	uint16_t port;		     /* 0: any free one */
	const char *ca, *cert, *key; /* PEM files */
	/* May this identity read? Asked at each request, after its certificate was verified. */
	bool (*is_allowed)(void *arg, const struct tls_identity *id);
	void *arg;
	unsigned connections_max; /* 0: 1024 */
	unsigned idle_timeout_s;  /* 0: 60 */
};

struct artifact_http;

/* `store` must outlive it. E_IO with the reason when the port or a file cannot be had. */
must_check int artifact_http_open(struct artifact_http **out, uv_loop_t *loop, struct artifact_store *store,
				  const struct artifact_http_config *cfg, struct err *e);
uint16_t artifact_http_port(const struct artifact_http *h);
/* Transfers under way are cut; agents resume. `closed` (may be NULL) once the loop has let go; then `h` is
 * gone. */
void artifact_http_close(struct artifact_http *h, void (*closed)(void *arg), void *arg);

#endif
