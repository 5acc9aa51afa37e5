/*
 * stream.h: one connection of libuv as a stream of plain bytes, through TLS or without.
 *
 * Incoming bytes are fed by the owner slice by slice and consumed within the same call, so a quiet connection
 * holds no buffer of ours. Outgoing bytes are tried at once; only what the kernel does not take is kept. Loop
 * thread only.
 */
#ifndef SYS_STREAM_H
#define SYS_STREAM_H

#include <uv.h>

#include "base/buf.h"
#include "sys/tls.h"

struct stream {
	union { /* the owner makes it, reads and closes it */
		uv_handle_t handle;
		uv_stream_t io;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	};
	SSL *ssl; /* NULL: plain */
	const uint8_t *in;
	size_t in_len;
	struct buf out;	    /* waits for `sending` */
	struct buf sending; /* lent to libuv while `writing` */
	bool writing;
	uv_write_t write;
	uint64_t *bytes_out;
	void (*on_broken)(struct stream *s); /* a write failed after the call that caused it */
	void (*on_sent)(struct stream *s); /* optional: what waited has left; may be set after stream_init */
};

enum stream_result { STREAM_OK = 1, STREAM_MORE, STREAM_FAILED, STREAM_RESULT_NR };

/* `ssl` is of tls_server_new or tls_client_new and belongs to the stream from now on, also when this fails;
 * NULL: plain. The stream counts wire bytes into *bytes_out. */
must_check int stream_init(struct stream *s, SSL *ssl, uint64_t *bytes_out,
			   void (*on_broken)(struct stream *s), struct err *e);
void stream_done(struct stream *s); /* after the handle is closed */

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
