#include "coordinator/adapters/artifact_http.h"

#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "sys/fsio.h"

enum { CONNECTIONS_MAX = 1024, IDLE_S = 60, PEM_MAX = 64 * 1024 };
static const char prefix[] = "/v1/artifacts/";

struct artifact_http {
	struct MHD_Daemon *mhd;
	struct artifact_store *store;
	bool (*is_allowed)(void *arg, const struct tls_identity *id);
	void *arg;
	struct buf ca, cert, key; /* libmicrohttpd reads them at the start only, and keeps pointers */
	uv_poll_t poll;
	uv_timer_t timer;
	uv_idle_t again;
	int open_handles;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- one request
 * -------------------------------------------------------------------------------------------------------- */

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, struct MHD_Response *r)
{
	enum MHD_Result rc = r == NULL ? MHD_NO : MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result answer_text(struct MHD_Connection *c, unsigned status, const char *text)
{
	return answer(c, status,
		      MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
						      MHD_RESPMEM_PERSISTENT));
}

struct range {
	uint64_t first, end; /* [first, end) */
};

/* "bytes=A-", "bytes=A-B" or "bytes=-N" (RFC 9110, 14.1.2); one range. False: cannot be given. */
static bool parse_range(const char *s, uint64_t size, struct range *r)
{
	char *end;
	if (strncmp(s, "bytes=", 6) != 0 || strchr(s, ',') != NULL)
		return false;
	s += 6;
	if (*s == '-') {
		uint64_t n = strtoull(s + 1, &end, 10);
		*r = (struct range){n < size ? size - n : 0, size};
		return *end == '\0' && n > 0 && size > 0;
	}
	r->first = strtoull(s, &end, 10);
	r->end = size;
	if (end == s || *end != '-')
		return false;
	if (end[1] != '\0') {
		char *last;
		uint64_t b = strtoull(end + 1, &last, 10);
		if (*last != '\0' || b < r->first)
			return false;
		r->end = b + 1 < size ? b + 1 : size;
	}
	return r->first < size;
}

static void header(struct MHD_Response *r, const char *name, const char *fmt, ...) printf_like(3, 4);
static void header(struct MHD_Response *r, const char *name, const char *fmt, ...)
{
	char text[128];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	MHD_add_response_header(r, name, text);
}

static enum MHD_Result refuse_range(struct MHD_Connection *c, uint64_t size)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	if (r != NULL)
		header(r, "Content-Range", "bytes */%llu", (unsigned long long)size);
	return answer(c, MHD_HTTP_RANGE_NOT_SATISFIABLE, r);
}

/* A piece of a file on its way. libmicrohttpd's own reader takes 4 KiB at a time: a turn of the loop for
 * each. */
struct sending {
	int fd;
	uint64_t first;
};
enum { BLOCK_BYTES = 128 * 1024 };

static ssize_t read_block(void *arg, uint64_t pos, char *out, size_t most)
{
	const struct sending *s = arg;
	ssize_t n = pread(s->fd, out, most, (off_t)(s->first + pos));
	return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR; /* the size was promised */
}

static void sending_free(void *arg)
{
	struct sending *s = arg;
	close(s->fd);
	free(s);
}

static struct MHD_Response *file_response(int fd, const struct range *r)
{
	struct sending *s = calloc(1, sizeof *s);
	PRE(s != NULL);
	*s = (struct sending){fd, r->first};
	struct MHD_Response *resp = MHD_create_response_from_callback(r->end - r->first, BLOCK_BYTES,
								      read_block, s, sending_free);
	if (resp == NULL)
		sending_free(s);
	return resp;
}

/* Takes the descriptor. */
static enum MHD_Result send_file(struct MHD_Connection *c, int fd, uint64_t size, const char *hex)
{
	const char *wanted = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Range");
	struct range r = {0, size};
	if (wanted != NULL && !parse_range(wanted, size, &r)) {
		close(fd);
		return refuse_range(c, size);
	}
	struct MHD_Response *resp = file_response(fd, &r);
	if (resp == NULL)
		return MHD_NO;
	header(resp, "ETag", "\"%s\"", hex);
	header(resp, "Accept-Ranges", "bytes");
	header(resp, "Content-Type", "application/octet-stream");
	if (wanted != NULL)
		header(resp, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)r.first,
		       (unsigned long long)r.end - 1, (unsigned long long)size);
	return answer(c, wanted != NULL ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK, resp);
}

/* The server asks for a certificate; whether one of our CA was shown is for us to check. */
static bool may_read(struct artifact_http *h, struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	struct tls_identity id;
	unsigned status = 1, nr = 0;
	if (info == NULL ||
	    gnutls_certificate_verify_peers2(info->tls_session, &status) != GNUTLS_E_SUCCESS || status != 0)
		return false;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(info->tls_session, &nr);
	return chain != NULL && nr > 0 && tls_certificate_identity(chain[0].data, chain[0].size, &id) &&
	       h->is_allowed(h->arg, &id);
}

static enum MHD_Result request_cb(void *arg, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *data, size_t *data_len, void **seen)
{
	struct artifact_http *h = arg;
	struct digest d;
	struct err e;
	struct stat st;
	if (*seen == NULL) { /* a reply on the first call would cost the connection */
		*seen = h;
		return MHD_YES;
	}
	if (!may_read(h, c))
		return answer_text(c, MHD_HTTP_FORBIDDEN,
				   "show the certificate of a host or coordinator of this cluster\n");
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return answer_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	if (strncmp(url, prefix, strlen(prefix)) != 0 || !digest_parse(&d, url + strlen(prefix)))
		return answer_text(c, MHD_HTTP_NOT_FOUND, "no such path\n");
	int fd = artifact_store_fd(h->store, &d, &e);
	if (fd < 0 || fstat(fd, &st) != 0) {
		if (fd >= 0)
			close(fd);
		return answer_text(c, MHD_HTTP_NOT_FOUND, "no such artifact\n");
	}
	return send_file(c, fd, (uint64_t)st.st_size, url + strlen(prefix));
}

/* ---- the loop
 * -------------------------------------------------------------------------------------------------------------
 */

static void run(struct artifact_http *h);

static void timer_cb(uv_timer_t *t)
{
	run(t->data);
}

static void again_cb(uv_idle_t *i)
{
	run(i->data);
}

static void poll_cb(uv_poll_t *p, int status, int events)
{
	run(p->data);
}

/*
 * More can be done at once: on the loop's next turn, after it has looked at the sockets of everyone. Not by a
 * timer of 0: libuv before 1.45 would run it again before it looks at any socket, and whom we wait for may be
 * on this loop.
 */
static void run(struct artifact_http *h)
{
	MHD_UNSIGNED_LONG_LONG wait_ms = 0;
	MHD_run(h->mhd);
	bool waits = MHD_get_timeout(h->mhd, &wait_ms) == MHD_YES;
	if (waits && wait_ms == 0)
		uv_idle_start(&h->again, again_cb);
	else
		uv_idle_stop(&h->again);
	if (waits && wait_ms > 0)
		uv_timer_start(&h->timer, timer_cb, wait_ms, 0);
	else
		uv_timer_stop(&h->timer);
}

static void closed_cb(uv_handle_t *handle)
{
	struct artifact_http *h = handle->data;
	if (--h->open_handles > 0)
		return;
	MHD_stop_daemon(h->mhd);
	buf_done(&h->ca);
	buf_done(&h->cert);
	if (h->key.data != NULL)
		explicit_bzero(h->key.data, h->key.len);
	buf_done(&h->key);
	if (h->closed != NULL)
		h->closed(h->closed_arg);
	free(h);
}

void artifact_http_close(struct artifact_http *h, void (*closed)(void *arg), void *arg)
{
	h->closed = closed;
	h->closed_arg = arg;
	h->open_handles = 3;
	uv_close((uv_handle_t *)&h->poll, closed_cb);
	uv_close((uv_handle_t *)&h->timer, closed_cb);
	uv_close((uv_handle_t *)&h->again, closed_cb);
}

/* ---- opening
 * -----------------------------------------------------------------------------------------------------------------
 */

static int read_pems(struct artifact_http *h, const struct artifact_http_config *cfg, struct err *e)
{
	int rc = fsio_read(cfg->ca, PEM_MAX, &h->ca, e);
	if (rc == E_OK)
		rc = fsio_read(cfg->cert, PEM_MAX, &h->cert, e);
	return rc == E_OK ? fsio_read(cfg->key, PEM_MAX, &h->key, e) : rc;
}

static int start(struct artifact_http *h, const struct artifact_http_config *cfg, struct err *e)
{
	struct sockaddr_in at;
	if (uv_ip4_addr(cfg->address, cfg->port, &at) != 0)
		return err_set(e, E_INVALID, "artifacts: '%s' is no IPv4 address", cfg->address);
	h->mhd = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_TLS, cfg->port, NULL, NULL, request_cb, h, MHD_OPTION_SOCK_ADDR, &at,
		MHD_OPTION_HTTPS_MEM_KEY, buf_cstr(&h->key), MHD_OPTION_HTTPS_MEM_CERT, buf_cstr(&h->cert),
		MHD_OPTION_HTTPS_MEM_TRUST, buf_cstr(&h->ca), MHD_OPTION_HTTPS_PRIORITIES,
		"NORMAL:-VERS-ALL:+VERS-TLS1.3", MHD_OPTION_CONNECTION_LIMIT,
		cfg->connections_max != 0 ? cfg->connections_max : (unsigned)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT,
		cfg->idle_timeout_s != 0 ? cfg->idle_timeout_s : (unsigned)IDLE_S, MHD_OPTION_END);
	if (h->mhd == NULL)
		return err_set(
			e, E_IO,
			"artifacts: cannot serve on %s:%u (is the port taken, do the certificates fit?)",
			cfg->address, (unsigned)cfg->port);
	return E_OK;
}

static int watch(struct artifact_http *h, uv_loop_t *loop, struct err *e)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL || uv_poll_init(loop, &h->poll, info->epoll_fd) != 0)
		return err_set(e, E_IO, "artifacts: the server cannot be watched");
	uv_timer_init(loop, &h->timer);
	uv_idle_init(loop, &h->again);
	h->poll.data = h->timer.data = h->again.data = h;
	uv_poll_start(&h->poll, UV_READABLE, poll_cb);
	return E_OK;
}

uint16_t artifact_http_port(const struct artifact_http *h)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_BIND_PORT);
	return info == NULL ? 0 : info->port;
}

int artifact_http_open(struct artifact_http **out, uv_loop_t *loop, struct artifact_store *store,
		       const struct artifact_http_config *cfg, struct err *e)
{
	struct artifact_http *h = calloc(1, sizeof *h);
	PRE(h != NULL && cfg->is_allowed != NULL);
	h->store = store;
	h->is_allowed = cfg->is_allowed;
	h->arg = cfg->arg;
	int rc = read_pems(h, cfg, e);
	if (rc == E_OK)
		rc = start(h, cfg, e);
	if (rc == E_OK)
		rc = watch(h, loop, e);
	if (rc == E_OK) {
		*out = h;
		return E_OK;
	}
	if (h->mhd != NULL)
		MHD_stop_daemon(h->mhd);
	buf_done(&h->ca);
	buf_done(&h->cert);
	buf_done(&h->key);
	free(h);
	return rc;
}
