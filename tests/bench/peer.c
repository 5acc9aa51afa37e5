#include "tests/bench/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

void peer_identity_parse(struct peer_identity *id, const uint8_t *cert, size_t cert_len, const uint8_t *key,
			 size_t key_len)
{
	BIO *c = BIO_new_mem_buf(cert, (int)cert_len), *k = BIO_new_mem_buf(key, (int)key_len);
	id->cert = PEM_read_bio_X509(c, NULL, NULL, NULL);
	id->key = PEM_read_bio_PrivateKey(k, NULL, NULL, NULL);
	BIO_free(c);
	BIO_free(k);
	if (id->cert == NULL || id->key == NULL)
		stat_die("a certificate or key of a bundle cannot be read");
}

void peer_identity_done(struct peer_identity *id)
{
	X509_free(id->cert);
	EVP_PKEY_free(id->key);
}

void peer_loop_open(struct peer_loop *l, const struct tls_pem *pem)
{
	struct err e;
	*l = (struct peer_loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	PRE(l->epoll >= 0);
	if (tls_ctx_new(&l->ctx, TLS_CLIENT, pem, &e) != E_OK)
		stat_die("tls: %s", e.text);
	SSL_CTX_set_mode(l->ctx, SSL_MODE_RELEASE_BUFFERS);
}

void peer_loop_close(struct peer_loop *l)
{
	SSL_CTX_free(l->ctx);
	close(l->epoll);
}

static _Noreturn void broken(struct peer *p, int rc, const char *doing)
{
	struct err e;
	tls_explain(p->ssl, SSL_get_error(p->ssl, rc), &e);
	stat_die("a connection broke while %s: %s", doing, e.text);
}

static bool handshake(struct peer *p)
{
	int rc = SSL_connect(p->ssl);
	if (rc == 1) {
		p->opened = true;
		p->ops->open(p);
		return true;
	}
	int why = SSL_get_error(p->ssl, rc);
	if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
		broken(p, rc, "shaking hands");
	return false;
}

static void receive(struct peer *p)
{
	static uint8_t text[16384];
	int n;
	bool any = false;
	while ((n = SSL_read(p->ssl, text, sizeof text)) > 0) {
		buf_put(&p->in, text, (size_t)n);
		p->loop->bytes_in += (uint64_t)n;
		any = true;
	}
	if (SSL_get_error(p->ssl, n) != SSL_ERROR_WANT_READ)
		broken(p, n, "reading");
	if (any)
		p->ops->bytes(p);
}

static void on_event(struct peer *p, uint32_t events)
{
	if (!p->opened && !handshake(p))
		return;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(p);
}

bool peer_loop_turn(struct peer_loop *l, int ms, int extra_fd)
{
	struct epoll_event ev[512], extra = {.events = EPOLLIN, .data.ptr = NULL};
	bool ready = false;
	if (extra_fd >= 0)
		PRE(epoll_ctl(l->epoll, EPOLL_CTL_ADD, extra_fd, &extra) == 0);
	int n = epoll_wait(l->epoll, ev, 512, ms);
	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr == NULL)
			ready = true;
		else
			on_event(ev[i].data.ptr, ev[i].events);
	}
	if (extra_fd >= 0)
		PRE(epoll_ctl(l->epoll, EPOLL_CTL_DEL, extra_fd, NULL) == 0);
	return ready;
}

static int dial(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0)
		stat_die("socket: %s; `ulimit -n` must be over twice the number of agents", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0 && errno != EINPROGRESS)
		stat_die("connect to port %u: %s", (unsigned)port, strerror(errno));
	return fd;
}

void peer_connect(struct peer *p, struct peer_loop *l, uint16_t port, const struct peer_identity *id)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = p};
	struct err e;
	p->loop = l;
	p->opened = false;
	buf_init(&p->in);
	p->fd = dial(port);
	if (tls_client_new(&p->ssl, l->ctx, "127.0.0.1", &e) != E_OK)
		stat_die("tls: %s", e.text);
	PRE(SSL_use_certificate(p->ssl, id->cert) == 1 && SSL_use_PrivateKey(p->ssl, id->key) == 1);
	PRE(SSL_set_fd(p->ssl, p->fd) == 1);
	PRE(epoll_ctl(l->epoll, EPOLL_CTL_ADD, p->fd, &ev) == 0);
}

/* What is sent here is small, and the peer reads: the socket takes it whole. */
void peer_send(struct peer *p, const void *bytes, size_t n)
{
	int rc = SSL_write(p->ssl, bytes, (int)n);
	if (rc <= 0)
		broken(p, rc, "sending");
	p->loop->bytes_out += n;
}

void peer_close(struct peer *p)
{
	if (p->ssl == NULL)
		return;
	SSL_free(p->ssl);
	close(p->fd);
	buf_done(&p->in);
	p->ssl = NULL;
}
