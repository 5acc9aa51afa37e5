/*
 * stream.h: one accepted TCP connection as a stream of plain bytes, through TLS or (tests) without.
 *
 * Incoming bytes are fed by the owner slice by slice and consumed within the same call, so a quiet connection
 * holds no buffer of ours. Outgoing bytes are tried at once; only what the kernel does not take is kept.
 */
#ifndef EDGE_STREAM_H
#define EDGE_STREAM_H

#include <uv.h>

#include "base/buf.h"
#include "sys/tls.h"

struct stream {
	uv_tcp_t tcp; /* the owner accepts, reads and closes it */
	SSL *ssl;     /* NULL: plain */
	const uint8_t *in;
	size_t in_len;
	struct buf out;	    /* waits for `sending` */
	struct buf sending; /* lent to libuv while `writing` */
	bool writing;
	uv_write_t write;
	uint64_t *bytes_out;
	void (*on_broken)(struct stream *s); /* a write failed after the call that caused it */
};

enum stream_result { STREAM_OK = 1, STREAM_MORE, STREAM_FAILED, STREAM_RESULT_NR };

/* `ctx` NULL: plain. The stream counts wire bytes into *bytes_out. */
must_check int stream_init(struct stream *s, SSL_CTX *ctx, uint64_t *bytes_out,
			   void (*on_broken)(struct stream *s), struct err *e);
void stream_done(struct stream *s); /* after the tcp handle is closed */

void stream_feed(struct stream *s, const uint8_t *p, size_t n);
/* STREAM_MORE: needs the next slice. STREAM_FAILED: see `fault` and `e`; what the peer should hear is queued.
 */
enum stream_result stream_handshake(struct stream *s, enum tls_fault *fault, struct err *e);
enum stream_result stream_read(struct stream *s, uint8_t *to, size_t cap, size_t *n, enum tls_fault *fault,
			       struct err *e);
/* Queue bytes; false when TLS is broken. They leave with the next flush. */
must_check bool stream_write(struct stream *s, const void *p, size_t n);
/* False when the connection is broken. */
must_check bool stream_flush(struct stream *s);
size_t stream_unsent(const struct stream *s);
void stream_goodbye(struct stream *s); /* queue TLS's close notice */

#endif
