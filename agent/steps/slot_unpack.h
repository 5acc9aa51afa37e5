/*
 * slot_unpack.h: one archive becomes one slot: unpacked by wavetrain-unpack into <slots>/.partial-<hex>-<n>,
 * listed in <slots>/<hex>.manifest, and renamed to <slots>/<hex> when all of it is on disk. A slot that is
 * there already is replaced in one step. Loop thread; the disk's work happens in the thread pool and in the
 * child.
 */
#ifndef STEPS_SLOT_UNPACK_H
#define STEPS_SLOT_UNPACK_H

#include <uv.h>

#include "base/err.h"
#include "base/ids.h"

struct slot_unpack;

/* The texts are borrowed until the end. */
struct slot_unpack_config {
	const char *slots_dir, *archives, *program;
	struct digest artifact;
	uint64_t size_bytes, unpacked_bytes, entries, reserve_bytes;
};

/* Once, from the loop; the object is gone after it. Codes are those of slots_unpack, and E_CLOSED when it was
 * stopped. */
typedef void (*slot_unpack_cb)(void *ctx, int code, const char *detail);
struct slot_unpack *slot_unpack_open(uv_loop_t *loop, const struct slot_unpack_config *c, slot_unpack_cb cb,
				     void *ctx);
/* Kills the child; the callback still comes, when what it left is removed. */
void slot_unpack_stop(struct slot_unpack *u);

#endif
