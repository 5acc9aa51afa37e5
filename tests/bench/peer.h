/*
 * peer.h: thousands of TLS client connections in one thread: non-blocking sockets, edge-triggered epoll,
 * OpenSSL. A connection that breaks ends the program: a measurement with fewer peers than it says is none.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "base/buf.h"
#include "sys/tls.h"
#include "tests/bench/stat.h"

struct peer;
struct peer_loop {
	int epoll;
	SSL_CTX *ctx;
	uint64_t bytes_in, bytes_out; /* of the application, all peers */
};

struct peer_ops {
	void (*open)(struct peer *p);  /* the handshake is done */
	void (*bytes)(struct peer *p); /* there are new bytes in p->in; take what is whole with buf_drop */
};

struct peer {
	struct peer_loop *loop;
	const struct peer_ops *ops;
	void *arg;
	int fd;
	SSL *ssl;
	bool opened;
	struct buf in;
};

/* Who connects; shared by all connections of one agent. */
struct peer_identity {
	X509 *cert;
	EVP_PKEY *key;
};
void peer_identity_parse(struct peer_identity *id, const uint8_t *cert, size_t cert_len, const uint8_t *key,
			 size_t key_len);
void peer_identity_done(struct peer_identity *id);

/* `ca`, `cert` and `key`: PEM texts; any certificate of the cluster, replaced by that of each identity. */
void peer_loop_open(struct peer_loop *l, const struct tls_pem *pem);
void peer_loop_close(struct peer_loop *l);
/* Wait for events for at most `ms` and handle them; `extra_fd` readable (-1: none) makes it return true. */
bool peer_loop_turn(struct peer_loop *l, int ms, int extra_fd);

void peer_connect(struct peer *p, struct peer_loop *l, uint16_t port, const struct peer_identity *id);
void peer_send(struct peer *p, const void *bytes, size_t n);
void peer_close(struct peer *p);

#endif
