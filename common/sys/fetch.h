/*
 * fetch.h: one archive, from any coordinator onto this machine's disk, whole and verified or not at all:
 *
 *   <dir>/<hex>.partial   what came so far; the next try goes on where it ends. Locked while one is under way
 *   <dir>/<hex>           all of it, with the digest it is named by, durable
 *
 * GET <base>/v1/artifacts/<hex> over TLS 1.3 with certificates on both sides: the server must be a
 * coordinator of our cluster, under the name we called it by. No redirects, no proxy, no other protocol. Loop
 * thread only; writing, hashing and fsync happen in the thread pool, and a disk slower than the network slows
 * the network.
 */
#ifndef SYS_FETCH_H
#define SYS_FETCH_H

#include <uv.h>

#include "base/err.h"
#include "base/ids.h"
#include "sys/fetch_http.h"

struct fetch;

enum { FETCH_URLS_MAX = 16 };

/* Copied. */
struct fetch_config {
	/* "https://10.0.0.1:7701", as the coordinator's Welcome gives them; NULL-terminated, at most
	 * FETCH_URLS_MAX. Each is tried once, in turn, from one that `seed` chooses. */
	const char *const *urls;
	struct digest artifact;
	uint64_t size_bytes;
	const char *dir; /* exists */
	/* NULL: the same. Another folder of the same file system for what is not whole, which exists, too. */
	const char *partial_dir;
	struct tls_files tls;
	uint64_t reserve_bytes; /* must stay free beside what is still missing */
	uint64_t seed;
	unsigned stall_s;     /* [30] a server that sends less than 1 KiB/s for so long is left */
	bool plain_for_tests; /* http: is fine, too */
};

/*
 * How it ended, once, from the loop and never from within fetch_open; may call fetch_close. `detail` is for
 * people, "" when E_OK, and valid during the call.
 *
 * E_UNAVAILABLE, E_TIMEOUT  the network or the servers; what came is kept
 * E_BUSY         another download of the same archive is under way on this host
 * E_NO_SPACE     with the arithmetic; or the disk became full on the way, and what fit is kept
 * E_IO           the disk
 * E_NOT_FOUND    no coordinator has it
 * E_CORRUPT      the bytes given for this digest are others; they are gone
 * E_DENIED       a server that is no coordinator of ours, or that refuses us
 * E_PROTOCOL     an answer that makes no sense (a redirect, say)
 *
 * When the servers fail differently, a transient reason wins: trying again may help.
 */
typedef void (*fetch_cb)(void *ctx, int code, const char *detail);

/* E_INVALID: a URL, a path or a size that cannot be. */
must_check int fetch_open(struct fetch **out, uv_loop_t *loop, const struct fetch_config *c, fetch_cb cb,
			  void *ctx, struct err *e);
uint64_t fetch_have(const struct fetch *f); /* bytes on disk so far */
/* Cancels when under way; what came stays for the next try, which may see E_BUSY while the last write ends.
 * No callback after it; the memory is freed at once or by the loop. NULL-safe. */
void fetch_close(struct fetch *f);

#endif
