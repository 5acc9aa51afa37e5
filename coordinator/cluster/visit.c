#include "coordinator/cluster/visit.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/cluster/gate.h"
#include "coordinator/consensus/peer_wire.h"
#include "sys/tls_pin.h"

static int dial_one(const struct addrinfo *a)
{
	const struct timeval wait = {.tv_sec = VISIT_WAIT_S};
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
	if (fd < 0)
		return -1;
	/* The time to send bounds connect(), too. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		return fd;
	int errnum = errno;
	close(fd);
	errno = errnum;
	return -1;
}

static int dial(const char *host, uint16_t port, int *fd, struct err *e)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	char service[8];
	snprintf(service, sizeof service, "%u", (unsigned)port);
	int rv = getaddrinfo(host, service, &hints, &list);
	if (rv != 0)
		return err_set(e, E_UNAVAILABLE, "%s: %s", host, gai_strerror(rv));
	*fd = -1;
	errno = EADDRNOTAVAIL;
	for (const struct addrinfo *a = list; a && *fd < 0; a = a->ai_next)
		*fd = dial_one(a);
	int errnum = errno;
	freeaddrinfo(list);
	return *fd >= 0 ? E_OK : err_sys(e, E_UNAVAILABLE, errnum, "%s port %s", host, service);
}

static int write_all(SSL *ssl, const void *p, size_t n, struct err *e)
{
	int rc = SSL_write(ssl, p, (int)n);
	if (rc == (int)n)
		return E_OK;
	tls_explain(ssl, SSL_get_error(ssl, rc), e);
	return e->code;
}

static int read_all(SSL *ssl, uint8_t *to, size_t n, struct err *e)
{
	for (size_t at = 0; at < n;) {
		int rc = SSL_read(ssl, to + at, (int)(n - at));
		if (rc <= 0) {
			tls_explain(ssl, SSL_get_error(ssl, rc), e);
			return e->code;
		}
		at += (size_t)rc;
	}
	return E_OK;
}

static int read_answer(SSL *ssl, struct buf *answer, struct err *e)
{
	uint8_t head[GATE_HEAD];
	int rc = read_all(ssl, head, sizeof head, e);
	if (rc != E_OK)
		return rc;
	uint32_t n = get_u32(head);
	if (n == 0 || n > GATE_ANSWER_MAX)
		return err_set(e, E_PROTOCOL, "the answer has a size that none has");
	uint8_t *to = buf_reserve(answer, n);
	rc = read_all(ssl, to, n, e);
	if (rc == E_OK)
		answer->len += n;
	return rc;
}

static int exchange(SSL *ssl, const struct buf *request, struct buf *answer, struct err *e)
{
	uint8_t head[GATE_HEAD];
	put_u32(head, (uint32_t)request->len);
	int rc = write_all(ssl, head, sizeof head, e);
	if (rc == E_OK)
		rc = write_all(ssl, request->data, request->len, e);
	if (rc == E_OK)
		rc = read_answer(ssl, answer, e);
	if (rc == E_OK || rc == E_PROTOCOL)
		return rc;
	err_wrap(e, "no answer came");
	return e->code = E_UNKNOWN_OUTCOME;
}

static int converse(int fd, const char *host, const struct digest *ca, const struct buf *request,
		    struct buf *answer, struct err *e)
{
	SSL_CTX *ctx = NULL;
	SSL *ssl = NULL;
	struct tls_identity who;
	int rc = tls_pin_client_new(&ctx, e);
	if (rc == E_OK)
		rc = tls_client_new(&ssl, ctx, host, e);
	if (rc == E_OK && !SSL_set_fd(ssl, fd))
		rc = err_set(e, E_INTERNAL, "TLS connection");
	int shaken = rc == E_OK ? SSL_do_handshake(ssl) : 1;
	if (shaken != 1) {
		tls_explain(ssl, SSL_get_error(ssl, shaken), e);
		rc = e->code;
	}
	if (rc == E_OK)
		rc = tls_pin_check(ssl, ca, host, &who, e);
	if (rc == E_OK)
		rc = exchange(ssl, request, answer, e);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return rc;
}

int visit_ask(const char *address, const struct digest *ca, const struct buf *request, struct buf *answer,
	      struct err *e)
{
	char host[PEER_ADDRESS_CAP];
	uint16_t port;
	int fd;
	if (!peer_address_parse(address, host, &port))
		return err_set(e, E_INVALID, "'%.200s' is no address to dial", address);
	int rc = dial(host, port, &fd, e);
	if (rc != E_OK)
		return rc;
	rc = converse(fd, host, ca, request, answer, e);
	close(fd);
	return rc;
}
