/*
 * entry.h: the bytes of one log entry: a batch of commands in a checked envelope.
 *
 *   0  4  magic "WTE1"          8  4  length of the body in bytes
 *   4  4  version (1)          12  4  CRC-32 (zlib's) of bytes 0..11 and the body
 *  16  .  body: for each command a 4-byte length and its bytes; then zeros up to a multiple of 8
 *
 * All numbers are big-endian. The engine splits entries of one message by lengths rounded to 8 (defect S11),
 * so every entry is padded and carries its own length. Pure; any thread.
 */
#ifndef CONSENSUS_ENTRY_H
#define CONSENSUS_ENTRY_H

#include "base/buf.h"
#include "base/err.h"

enum {
	ENTRY_HEADER = 16,
	ENTRY_MAX_COMMANDS = 256,
	ENTRY_MAX_BATCH = 64 * 1024,	/* of body, unless one command alone is larger */
	ENTRY_MAX_COMMAND = 1024 * 1024 /* one command */
};

struct entry_reader {
	const uint8_t *at, *end;
};

void entry_begin(struct buf *out); /* resets `out` and leaves room for the envelope */
bool entry_has_room(const struct buf *out, unsigned commands, size_t n);
void entry_add(struct buf *out, const void *cmd, size_t n); /* n <= ENTRY_MAX_COMMAND */
void entry_seal(struct buf *out);			    /* pad, fill in the envelope */

/* Check all of the envelope and every length in the body: E_OK, E_CORRUPT or E_VERSION. */
int entry_open(struct entry_reader *r, const void *p, size_t n) must_check;
/* The next command, pointing into the entry; false at the end. */
bool entry_next(struct entry_reader *r, const uint8_t **cmd, size_t *n);

#endif
