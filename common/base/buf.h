/*
 * buf.h: a growable byte buffer. Owns its memory; running out of memory ends the process. Not thread safe.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/base.h"

struct buf {
	uint8_t *data;
	size_t len, cap;
};

void buf_init(struct buf *b);
void buf_done(struct buf *b);
void buf_reset(struct buf *b); /* length 0, memory kept */
uint8_t *buf_reserve(struct buf *b,
		     size_t more); /* room for `more` bytes at the end; returns where they go */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_puts(struct buf *b, const char *s); /* without the terminator */
void buf_printf(struct buf *b, const char *fmt, ...) printf_like(2, 3);
void buf_drop(struct buf *b, size_t n); /* remove the first n bytes */
const char *buf_cstr(struct buf *b);	/* terminated view, valid until the next change */

/* Big-endian numbers, as all our fixed layouts use. */
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
uint32_t get_u32(const uint8_t *p);
uint64_t get_u64(const uint8_t *p);
void put_u32(uint8_t *p, uint32_t v);
void put_u64(uint8_t *p, uint64_t v);

#endif
