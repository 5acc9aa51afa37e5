/*
 * sp.h: the wire of NNG's Scalability Protocols over a byte stream, as far as we speak it. Pure: bytes in,
 * items out.
 *
 * A connection starts with one 8-byte hello from each side (00 'S' 'P' 00, u16 protocol, 00 00), then frames:
 * a u64 length and that many bytes. All numbers are big-endian. The frame of a request or a reply starts with
 * the u32 request id, whose high bit is set; a reply repeats the id of its request. Longer routes (NNG
 * devices) are refused: agents connect directly.
 */
#ifndef PROTO_SP_H
#define PROTO_SP_H

#include "base/buf.h"

enum { SP_HELLO_LEN = 8, SP_FRAME_HEAD_LEN = 8, SP_REQUEST_HEAD_LEN = 4 };

/* The largest frames that are taken: before the application's own hello was accepted, and after. */
enum { SP_FRAME_MAX_UNTRUSTED = 4 * 1024, SP_FRAME_MAX_TRUSTED = 256 * 1024 };

enum sp_protocol { SP_PUB0 = 0x20, SP_SUB0 = 0x21, SP_REQ0 = 0x30, SP_REP0 = 0x31 };

void sp_hello_encode(uint8_t out[SP_HELLO_LEN], enum sp_protocol self);
/* E_PROTOCOL when these are not the bytes of an SP hello. `*peer` is any 16-bit number, known to us or not.
 */
must_check int sp_hello_decode(const uint8_t in[SP_HELLO_LEN], uint16_t *peer);

/* Append a whole frame: its payload is `head` followed by `body`; either may be empty. */
void sp_frame_encode(struct buf *out, const void *head, size_t head_len, const void *body, size_t body_len);

/* Split the payload of a request or reply into id and body, which points into `frame`. E_PROTOCOL when it has
 * no id. */
must_check int sp_request_decode(const uint8_t *frame, size_t len, uint32_t *id, const uint8_t **body,
				 size_t *body_len);
void sp_request_head_encode(uint8_t out[SP_REQUEST_HEAD_LEN], uint32_t id);

/*
 * The incremental decoder of one direction of one connection. Feed it slices of any size. It holds at most
 * one frame, and only as much memory as bytes really came: a length that was only claimed allocates nothing.
 */
enum sp_item { SP_MORE = 1, SP_HELLO, SP_FRAME, SP_ITEM_NR };

enum sp_place { SP_IN_HELLO = 1, SP_IN_HEAD, SP_IN_BODY, SP_FAILED, SP_PLACE_NR };

struct sp_decoder {
	enum sp_place place;
	int failed; /* the error that ended it, repeated for ever */
	uint8_t head[SP_FRAME_HEAD_LEN];
	size_t head_len;
	size_t body_len;  /* of the frame under way */
	size_t frame_max; /* the owner may change it at any time; it counts from the next frame on */
	uint16_t peer;	  /* after SP_HELLO: the peer's protocol */
	struct buf body;  /* after SP_FRAME: the payload, valid until the next sp_decode */
};

void sp_decoder_init(struct sp_decoder *d, size_t frame_max);
void sp_decoder_done(struct sp_decoder *d);
/*
 * Take bytes from *p (advancing *p, reducing *n) up to the end of the next item. SP_MORE: all bytes are taken
 * and no item is complete. Call again with the rest after SP_HELLO and SP_FRAME. Errors are final: E_PROTOCOL
 * (bad hello), E_TOO_LARGE (a frame claims more than frame_max).
 */
must_check int sp_decode(struct sp_decoder *d, const uint8_t **p, size_t *n, enum sp_item *item);

#endif
