#include "tests/lib/test.h"
#include "tests/contract/edge/raw.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "proto/sp.h"

enum { PATIENCE_S = 20 };

struct raw raw_connect(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct timeval patience = {.tv_sec = PATIENCE_S};
	struct raw r = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

	setsockopt(r.fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(r.fd >= 0);
	setsockopt(r.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(r.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(r.fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return r;
}

void raw_leave(struct raw *r, enum raw_leave how)
{
	struct linger reset = {.l_onoff = 1, .l_linger = 0};

	if (how == RAW_FIN_RESET)
		shutdown(r->fd, SHUT_WR);
	if (how != RAW_CLOSE)
		setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	SSL_free(r->ssl);
	close(r->fd);
	ERR_clear_error();
}

bool raw_handshake(struct raw *r, SSL_CTX *ctx)
{
	r->ssl = SSL_new(ctx);
	assert_non_null(r->ssl);
	SSL_set_fd(r->ssl, r->fd);
	return SSL_connect(r->ssl) == 1;
}

void raw_half_handshake(struct raw *r)
{
	/* A TLS record of a ClientHello that says 512 bytes and brings none. */
	static const uint8_t half[] = {22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3};

	assert_int_equal(send(r->fd, half, sizeof(half), MSG_NOSIGNAL), sizeof(half));
}

bool raw_write(struct raw *r, const void *p, size_t n)
{
	size_t written;

	if (r->ssl)
		return SSL_write_ex(r->ssl, p, n, &written) == 1;
	return send(r->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

bool raw_read(struct raw *r, void *p, size_t n)
{
	uint8_t *at = p;

	while (n > 0) {
		ssize_t got = r->ssl ? SSL_read(r->ssl, at, (int)n) : recv(r->fd, at, n, 0);

		if (got <= 0)
			return false;
		at += got;
		n -= (size_t)got;
	}
	return true;
}

bool raw_hello(struct raw *r)
{
	uint8_t hello[SP_HELLO_LEN];
	uint16_t peer = 0;

	sp_hello_encode(hello, SP_REQ0);
	if (!raw_write(r, hello, sizeof(hello)) || !raw_read(r, hello, sizeof(hello)))
		return false;
	return sp_hello_decode(hello, &peer) == 0 && peer == SP_REP0;
}

void raw_request(struct raw *r, uint32_t id, const char *text)
{
	uint8_t head[SP_REQUEST_HEAD_LEN];
	struct buf frame;

	buf_init(&frame);
	sp_request_head_encode(head, id);
	sp_frame_encode(&frame, head, sizeof(head), text, strlen(text));
	raw_write(r, frame.data, frame.len);
	buf_done(&frame);
}

bool raw_reply(struct raw *r, uint32_t id, const char *text)
{
	uint8_t head[SP_FRAME_HEAD_LEN + SP_REQUEST_HEAD_LEN], body[256];
	size_t n = strlen(text);

	if (!raw_read(r, head, sizeof(head)) || get_u64(head) != SP_REQUEST_HEAD_LEN + n ||
	    !raw_read(r, body, n))
		return false;
	return get_u32(head + SP_FRAME_HEAD_LEN) == (id | 0x80000000u) && memcmp(body, text, n) == 0;
}

struct raw raw_reach(uint16_t port, SSL_CTX *ctx, enum raw_stage stage)
{
	static const uint8_t half_frame[] = {0, 0, 0, 0, 0, 0, 0, 200, 0x80, 0, 0, 1, 'h', 'a'};
	struct raw r = raw_connect(port);

	if (stage == RAW_MID_HANDSHAKE)
		raw_half_handshake(&r);
	if (stage >= RAW_AFTER_HANDSHAKE)
		assert_true(raw_handshake(&r, ctx));
	if (stage >= RAW_AFTER_SP_HELLO)
		assert_true(raw_hello(&r));
	if (stage >= RAW_MID_REQUEST)
		assert_true(raw_write(&r, half_frame, sizeof(half_frame)));
	return r;
}
