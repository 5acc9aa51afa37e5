/* raw.h: a blocking peer that speaks as much TLS and SP as a test wants, and leaves as rudely as it wants. */
#ifndef TESTS_CONTRACT_EDGE_RAW_H
#define TESTS_CONTRACT_EDGE_RAW_H

#include "sys/tls.h"

enum raw_stage {
	RAW_BEFORE_HELLO = 0, /* TCP only */
	RAW_MID_HANDSHAKE,    /* half of the first TLS message */
	RAW_AFTER_HANDSHAKE,
	RAW_AFTER_SP_HELLO,
	RAW_MID_REQUEST, /* half a frame */
	RAW_STAGE_NR
};
enum raw_leave { RAW_CLOSE = 0, RAW_RESET, RAW_FIN_RESET, RAW_LEAVE_NR };

struct raw {
	int fd;
	SSL *ssl;
};

struct raw raw_connect(uint16_t port);
void raw_leave(struct raw *r, enum raw_leave how);
/* As a client; false when TLS failed, the error queue is left for the caller to clear. */
bool raw_handshake(struct raw *r, SSL_CTX *ctx);
/* Bytes of half a handshake. */
void raw_half_handshake(struct raw *r);
bool raw_write(struct raw *r, const void *p, size_t n);
bool raw_read(struct raw *r, void *p, size_t n);
bool raw_hello(struct raw *r); /* ours is REQ; reads theirs */
void raw_request(struct raw *r, uint32_t id, const char *text);
bool raw_reply(struct raw *r, uint32_t id, const char *text); /* the next frame is exactly this */
/* A client that goes as far as `stage`, ready to leave. */
struct raw raw_reach(uint16_t port, SSL_CTX *ctx, enum raw_stage stage);

#endif
