/*
 * engine.h: OpenSSL 3 as the TLS engine of libnng, through its public engine interface.
 *
 * libnng's own engine (mbedTLS 2.28) knows no TLS 1.3 and says "cryptographic error" for everything. Ours
 * speaks sys/tls.h's rules as a client only, and does three things the library depends on (reference "NNG",
 * N5, P12): it never returns the codes for closed or cancelled (they end a dialer for ever), it completes the
 * first write only when the peer's first byte is there (a peer that dies before its hello then fails the dial
 * instead of leaving a dead pipe), and it checks the peer's identity before any byte of ours is sent.
 */
#ifndef LINK_ENGINE_H
#define LINK_ENGINE_H

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

#include "base/err.h"
#include "sys/tls.h"

/* Make ours the engine of this process; once, before any TLS socket. E_UNSUPPORTED when libnng will not have
 * it. */
must_check int engine_register(struct err *e);

/* Where connections of one configuration leave the reason of their failure. Counted references; any thread.
 */
struct engine_note;
struct engine_note *engine_note_new(void);
void engine_note_drop(struct engine_note *note);
/* The first failure since the note was made; false when there is none. */
must_check bool engine_note_get(struct engine_note *note, struct err *out);

/* A client configuration for a dialer (NNG_OPT_TLS_CONFIG); free with nng_tls_config_free. Reads the files.
 */
must_check int engine_config_new(nng_tls_config **out, const struct tls_files *files, const char *server_name,
				 struct engine_note *note, struct err *e);

#endif
