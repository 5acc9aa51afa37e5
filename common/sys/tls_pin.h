/*
 * tls_pin.h: TLS 1.3 between a coordinator and a program that has no certificate yet. The server shows its
 * certificate and that of its CA; the client knows the SHA-256 of the CA's certificate and checks the chain
 * against it. Until tls_pin_check has said so, the server is anybody: nothing secret may be sent to it.
 */
#ifndef SYS_TLS_PIN_H
#define SYS_TLS_PIN_H

#include "sys/tls.h"

/* Each gives a reference the caller frees with SSL_CTX_free. The server asks its clients for no certificate:
 * who they are is for what they send to say. */
must_check int tls_pin_server_new(SSL_CTX **out, const struct tls_files *files, struct err *e);
must_check int tls_pin_client_new(SSL_CTX **out, struct err *e);

/* SHA-256 of the first certificate (DER) in a PEM file: what a client pins. */
must_check int tls_pin_digest(const char *ca_file, struct digest *out, struct err *e);

/*
 * After the handshake: the server has shown a CA of this digest, its certificate is signed by it, is valid
 * now, may serve, names `host` (a DNS name or an address), and is a coordinator's. E_DENIED with the reason
 * otherwise.
 */
must_check int tls_pin_check(SSL *ssl, const struct digest *ca, const char *host, struct tls_identity *out,
			     struct err *e);

#endif
