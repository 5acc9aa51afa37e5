/*
 * slots.h: the release slots of this host, which exec points `current` at:
 *
 *   <root>/slots/<hex>            complete: whoever unpacks renames it in last
 *   <root>/slots/<hex>.manifest   its files with sizes and digests, to find damage (slot_tree.h)
 *   <root>/slots/.partial-*       being unpacked, or being removed; removed at the next start
 *   <ledger>/<app>.ledger         what the app has here (slot_ledger.h)
 *
 * Loop thread only. What takes long runs in the thread pool or in a child; the calls that say "durable" fsync
 * one small file before they return.
 */
#ifndef STEPS_SLOTS_H
#define STEPS_SLOTS_H

#include <uv.h>

#include "agent/steps/slot_tree.h"
#include "base/err.h"
#include "base/ids.h"

struct slots;

/* Copied. */
struct slots_config {
	const char *root;	    /* of exec: exists */
	const char *ledger;	    /* a directory of the agent; made when it is not there */
	const char *archives;	    /* fetch's directory; the same */
	const char *unpack_program; /* path of wavetrain-unpack */
	uint64_t reserve_bytes;	    /* must stay free beside what is unpacked */
};

/* Once, from the loop, never from within the call that began the work; may call anything here, slots_close
 * too. `detail` is for people, "" when E_OK, valid during the call. */
typedef void (*slots_cb)(void *ctx, int code, const char *detail);

/* Removes what interrupted work left, in the background. E_IO, E_NO_SPACE, E_DENIED. */
must_check int slots_open(struct slots **out, uv_loop_t *loop, const struct slots_config *c, struct err *e);
/* Kills children under way, no callback comes after it; the memory is freed by the loop. NULL-safe. */
void slots_close(struct slots *s);

bool slots_has(const struct slots *s,
	       const struct digest *artifact); /* complete; says nothing about damage */

/*
 * <archives>/<hex> becomes the slot, and is removed. A slot that is there already is replaced in one step:
 * that is how a damaged one is mended. Calls for one artifact at the same time share the work.
 *
 * E_NOT_FOUND    no such archive, or no unpack program
 * E_CORRUPT      the archive has another size, or wavetrain-unpack refuses it (why is in the detail)
 * E_NO_SPACE     with the arithmetic; or the disk became full
 * E_IO           the disk; or somebody killed the child
 * E_INVALID (returned) the ticket is in use or 0
 */
must_check int slots_unpack(struct slots *s, const struct digest *artifact, uint64_t size_bytes,
			    uint64_t unpacked_bytes, uint64_t entries, uint64_t ticket, slots_cb cb,
			    void *ctx, struct err *e);
/* No callback comes for the ticket, of slots_unpack, slots_verify or slots_free_old. The child is killed,
 * unless another ticket waits for the same slot. Fine when there is no such ticket. */
void slots_cancel(struct slots *s, uint64_t ticket);

/*
 * Is each file of the slot as it was unpacked? E_NOT_FOUND: no slot. E_CORRUPT: not, or nobody can say.
 * slots_check looks at kinds, modes and sizes on the caller's thread: some microseconds a file, so for large
 * slots prefer slots_verify with SLOT_SIZES.
 */
must_check int slots_check(const struct slots *s, const struct digest *artifact, struct err *e);
must_check int slots_verify(struct slots *s, const struct digest *artifact, enum slot_depth depth,
			    uint64_t ticket, slots_cb cb, void *ctx, struct err *e);

/*
 * The app is about to fetch or unpack this one, or to run one that is there: nobody else removes it, and the
 * app's next slots_free_old does when it is not needed. Durable. Before the first byte is fetched; the same
 * again is free.
 */
must_check int slots_claim(struct slots *s, const struct name *app, const struct digest *artifact,
			   struct err *e);
/* A slot that was proven healthy goes to the front of the app's ledger. Durable. A damaged ledger is begun
 * anew: what it named is not removed any more. */
must_check int slots_good(struct slots *s, const struct name *app, const struct digest *artifact,
			  struct err *e);
/*
 * Removes what the app has here (proven, kept before, claimed) but the first `keep_nr` proven ones and the
 * `n` in `keep`: slots, their archives and pieces of archives. Never one that another app's ledger names,
 * that a `current` link points to, or that is being unpacked. E_CORRUPT, and nothing is removed, when another
 * app's ledger cannot be read. What could not be removed is tried again by the next call. `ticket` 0: it
 * cannot be cancelled.
 */
void slots_free_old(struct slots *s, const struct name *app, uint32_t keep_nr, const struct digest *keep,
		    uint32_t n, uint64_t ticket, slots_cb cb, void *ctx);

#endif
