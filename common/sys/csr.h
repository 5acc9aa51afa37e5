/*
 * csr.h: a key that never leaves its machine, and the request for a certificate over it (PKCS #10, DER). The
 * request proves that who sends it has the key; the names in the certificate are the signer's choice.
 * Blocking; any thread.
 */
#ifndef SYS_CSR_H
#define SYS_CSR_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

/* A new ECDSA P-256 key as PEM at the end of `out`, which the caller wipes. */
must_check int csr_key_new(struct buf *out, struct err *e);
/* A request over the key (PEM), DER, at the end of `out`. */
must_check int csr_new(const char *key_pem, struct buf *out, struct err *e);
/*
 * The public key in a request, as PEM at the end of `out` (what ca_issue takes), and its SHA-256 in `id`.
 * E_INVALID when the bytes are no request, are not signed by that key, or it is not P-256.
 */
must_check int csr_public_key(const void *der, size_t n, struct buf *out, struct digest *id, struct err *e);

#endif
