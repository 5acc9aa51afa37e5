#include "tests/lib/test.h"

#include "tests/contract/peers/stranger.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STEP_MS = 100, SMALL = 4096 };

/* On a thread nothing of cmocka may fail: what goes wrong shows in what did not come of it. */

static int dial(const char *address)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	a.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ? fd : -1;
}

static bool wait_readable(struct stranger *s, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	while (!atomic_load(&s->stop))
		if (poll(&p, 1, STEP_MS) > 0)
			return true;
	return false;
}

static SSL_CTX *context(const struct stranger *s)
{
	SSL_CTX *ctx = SSL_CTX_new(s->address ? TLS_client_method() : TLS_server_method());
	SSL_CTX_set_min_proto_version(ctx, s->tls);
	SSL_CTX_set_max_proto_version(ctx, s->tls);
	if (!s->address) /* as a server it wants to know who dials, and takes anybody of that CA */
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (s->files && (SSL_CTX_load_verify_locations(ctx, s->files->ca, NULL) != 1 ||
			 SSL_CTX_use_certificate_file(ctx, s->files->cert, SSL_FILETYPE_PEM) != 1 ||
			 SSL_CTX_use_PrivateKey_file(ctx, s->files->key, SSL_FILETYPE_PEM) != 1))
		abort();
	return ctx;
}

static void hear(struct stranger *s, SSL *ssl)
{
	uint8_t b[64];
	while (wait_readable(s, s->fd)) {
		int n = ssl ? SSL_read(ssl, b, sizeof b) : (int)read(s->fd, b, sizeof b);
		if (n <= 0)
			return;
		for (int i = 0; i < n && s->heard_len < sizeof s->heard; i++)
			s->heard[s->heard_len++] = b[i];
	}
}

static void wait_for_stop(const struct stranger *s)
{
	while (!atomic_load(&s->stop))
		poll(NULL, 0, STEP_MS);
}

static void speak(struct stranger *s, SSL *ssl)
{
	if (!s->address && ssl) { /* hears the hello first */
		uint8_t hello[512];
		if (SSL_read(ssl, hello, sizeof hello) <= 0)
			return;
	}
	if (s->says.len > 0 && ssl)
		SSL_write(ssl, s->says.data, (int)s->says.len);
	else if (s->says.len > 0 && write(s->fd, s->says.data, s->says.len) < 0)
		return;
	if (s->deaf)
		wait_for_stop(s);
	else
		hear(s, ssl);
}

static void talk(struct stranger *s)
{
	if (s->silent || s->tls == 0) {
		speak(s, NULL);
		return;
	}
	SSL_CTX *ctx = context(s);
	SSL *ssl = SSL_new(ctx);
	SSL_set_fd(ssl, s->fd);
	s->shook_hands = (s->address ? SSL_connect(ssl) : SSL_accept(ssl)) == 1;
	if (s->shook_hands)
		speak(s, ssl);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

static void *run(void *arg)
{
	struct stranger *s = arg;
	/* A server is dialed again and again. */
	do {
		s->fd = s->address			? dial(s->address)
			: wait_readable(s, s->listener) ? accept(s->listener, NULL, NULL)
							: -1;
		if (s->fd < 0)
			break;
		talk(s);
		close(s->fd);
	} while (!s->address && !atomic_load(&s->stop));
	atomic_store(&s->done, true);
	return NULL;
}

uint16_t stranger_listen(struct stranger *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int small = SMALL;
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(s->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(s->listener, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(listen(s->listener, 8), 0);
	return ntohs(a.sin_port);
}

void stranger_start(struct stranger *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
}

void stranger_join(struct stranger *s)
{
	atomic_store(&s->stop, true);
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	if (!s->address)
		close(s->listener);
	buf_done(&s->says);
}
