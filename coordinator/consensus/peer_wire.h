/*
 * peer_wire.h: the bytes between two coordinators, inside TLS. Pure: bytes in, verdict out; any thread, one
 * object from one at a time.
 *
 * A link carries messages one way: from who dialed to who accepted. It begins with a hello and its answer:
 *
 *   hello    0  4  magic "WTPL"           answer   0  4  magic "WTPA"
 *            4  4  version (1)                     4  4  version (1)
 *            8  4  length of the address           8  4  enum peer_answer
 *           12  .  the sender's own address, as its cluster knows it
 *
 * All numbers are big-endian. Who the sender is stands in its certificate and nowhere here. Then come the
 * messages of libraft 0.15, little-endian: type, length of the head, head, payload. The engine trusts them:
 * it allocates what a length says, and reads a configuration past its end. So each head, and each
 * configuration in a head or an entry, is read here first, and nothing of a message reaches the engine before
 * its head is found good.
 */
#ifndef CONSENSUS_PEER_WIRE_H
#define CONSENSUS_PEER_WIRE_H

#include "base/buf.h"
#include "base/err.h"

enum {
	PEER_ADDRESS_CAP = 264, /* "host:port" with the terminator; a DNS name has 253 bytes at most */
	PEER_HELLO_HEAD = 12,
	PEER_HELLO_MAX = PEER_HELLO_HEAD + PEER_ADDRESS_CAP - 1,
	PEER_ANSWER_LEN = 12,
	PEER_MEMBERS_MAX = 32,
	PEER_CONFIGURATION_MAX = 9 + PEER_MEMBERS_MAX * (9 + PEER_ADDRESS_CAP) + 7,
	PEER_ENTRIES_MAX = 128 * 1024,	      /* of one message; a log holds some 25,000 between snapshots */
	PEER_PAYLOAD_MAX = 1024 * 1024 * 1024 /* of one message: all that follows, or a whole snapshot */
};

/* ---- addresses ---- */

/* "name:port", "192.0.2.1:port" or "[2001:db8::1]:port", port 1 to 65535. `host` comes without brackets. */
must_check bool peer_address_parse(const char *address, char host[PEER_ADDRESS_CAP], uint16_t *port);

/* ---- hello ---- */

enum peer_answer { PEER_WELCOME = 0, PEER_NO_MEMBER, PEER_OTHER_ADDRESS, PEER_OTHER_VERSION, PEER_ANSWER_NR };
const char *peer_answer_text(uint32_t answer); /* what to do about it, for the log of who dialed */

/* Appends to `out`; `address` is shorter than PEER_ADDRESS_CAP. */
void peer_hello_encode(struct buf *out, const char *address);
/* How many bytes the hello that begins with these has; at least `n` is needed to tell (0: more). E_PROTOCOL,
 * E_VERSION, E_TOO_LARGE: none of ours. */
must_check int peer_hello_length(const uint8_t *p, size_t n, size_t *length, struct err *e);
/* A whole hello of peer_hello_length; `address` is terminated, printable and not empty. */
must_check int peer_hello_decode(const uint8_t *p, size_t n, char address[PEER_ADDRESS_CAP], struct err *e);

void peer_answer_encode(struct buf *out, enum peer_answer answer);
must_check int peer_answer_decode(const uint8_t p[PEER_ANSWER_LEN], uint32_t *answer, struct err *e);

/* ---- messages ---- */

struct peer_inspector {
	uint64_t peer;	     /* the node at the other end: no other may ask for votes here */
	struct buf head;     /* preamble and head of the message under way, until its last byte has passed */
	size_t head_len;     /* with the preamble; 0: not known yet */
	size_t payload_left; /* of a snapshot, or of the entry under way */
	uint32_t entry, n_entries;
	struct buf configuration; /* an entry that holds one, until it is whole */
	bool passing;		  /* the head was good and is handed on */
	uint64_t messages;	  /* that have passed whole */
};

void peer_inspector_init(struct peer_inspector *in, uint64_t peer);
void peer_inspector_done(struct peer_inspector *in);
/*
 * Look at the next bytes; what may go on to the engine is appended to `out`, held bytes of earlier calls
 * first. E_PROTOCOL: no message of ours; E_TOO_LARGE: over a bound above; E_DENIED: asks for votes in
 * another's name. After an error nothing more of this link may be used.
 */
must_check int peer_inspect(struct peer_inspector *in, const uint8_t *p, size_t n, struct buf *out,
			    struct err *e);

/* A configuration as libraft encodes it, whole and safe to decode. */
must_check bool peer_configuration_ok(const uint8_t *p, size_t n);

#endif
