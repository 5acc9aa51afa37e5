#include "sys/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

struct digest_ctx {
	EVP_MD_CTX *md;
};

struct digest_ctx *digest_ctx_new(void)
{
	struct digest_ctx *c = calloc(1, sizeof *c);
	PRE(c != NULL);
	c->md = EVP_MD_CTX_new();
	PRE(c->md != NULL && EVP_DigestInit_ex(c->md, EVP_sha256(), NULL) == 1);
	return c;
}

void digest_ctx_free(struct digest_ctx *c)
{
	if (c == NULL)
		return;
	EVP_MD_CTX_free(c->md);
	free(c);
}

void digest_ctx_update(struct digest_ctx *c, const void *p, size_t n)
{
	PRE(EVP_DigestUpdate(c->md, p, n) == 1);
}

struct digest digest_ctx_final(struct digest_ctx *c)
{
	struct digest d;
	unsigned n = 0;
	PRE(EVP_DigestFinal_ex(c->md, d.b, &n) == 1 && n == DIGEST_LEN);
	return d;
}

struct digest digest_of(const void *p, size_t n)
{
	struct digest_ctx *c = digest_ctx_new();
	digest_ctx_update(c, p, n);
	struct digest d = digest_ctx_final(c);
	digest_ctx_free(c);
	return d;
}

int digest_of_fd(int fd, struct digest *out, uint64_t *size_bytes, struct err *e)
{
	enum { STEP = 128 * 1024 };
	struct digest_ctx *c = digest_ctx_new();
	char *step = malloc(STEP);
	ssize_t r;
	PRE(step != NULL);
	*size_bytes = 0;
	while ((r = read(fd, step, STEP)) != 0) {
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			break;
		digest_ctx_update(c, step, (size_t)r);
		*size_bytes += (uint64_t)r;
	}
	int rc = r < 0 ? err_sys(e, E_IO, errno, "read for the digest") : E_OK;
	if (rc == E_OK)
		*out = digest_ctx_final(c);
	digest_ctx_free(c);
	free(step);
	return rc;
}
