/* digest.h: SHA-256 through OpenSSL, streaming or of a file. Any thread, one context from one at a time. */
#ifndef SYS_DIGEST_H
#define SYS_DIGEST_H

#include "base/err.h"
#include "base/ids.h"

struct digest_ctx;
struct digest_ctx *digest_ctx_new(void);
void digest_ctx_free(struct digest_ctx *c);
void digest_ctx_update(struct digest_ctx *c, const void *p, size_t n);
struct digest digest_ctx_final(struct digest_ctx *c); /* the context is used up */

struct digest digest_of(const void *p, size_t n);
/* From the descriptor's position to its end; *size_bytes is what was read. */
must_check int digest_of_fd(int fd, struct digest *out, uint64_t *size_bytes, struct err *e);

#endif
