/*
 * slot_tree.h: the files of one slot on disk: a manifest of them, whether they still are as it says, and away
 * with them. Blocking; any thread.
 *
 * A manifest is a text: one line per file, folder and link in the order of their paths, parents first, and a
 * digest of all lines at its end:
 *
 *     wavetrain manifest 1
 *     d 755 0 <64 zeros> bin
 *     f 755 1234 <sha256> bin/app
 *     l 777 3 <sha256 of where it points> bin/current
 *     end <sha256>
 */
#ifndef STEPS_SLOT_TREE_H
#define STEPS_SLOT_TREE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"
#include "base/pathrule.h"

enum { SLOT_MANIFEST_MAX = 64 << 20 };

/* SIZES: all are there with kind, mode and size. DIGESTS: and every byte was read. */
enum slot_depth { SLOT_SIZES = 1, SLOT_DIGESTS };

struct slot_entry {
	char kind; /* 'f', 'd', 'l' */
	uint32_t mode;
	uint64_t size_bytes;
	struct digest digest;
	char path[PATHRULE_BYTES_MAX + 1];
};

void slot_manifest_begin(struct buf *b);
void slot_manifest_put(struct buf *b, const struct slot_entry *en);
void slot_manifest_end(struct buf *b);
/* Calls `each`, until it returns an error, which is returned. E_CORRUPT when these are not exactly bytes that
 * the three above write; nothing is called before the digest at the end was found right. */
must_check int slot_manifest_read(const uint8_t *p, size_t n,
				  int (*each)(void *ctx, const struct slot_entry *en, struct err *e),
				  void *ctx, struct err *e);

/* The manifest of what is in `dir`, at the end of `out`. */
must_check int slot_tree_list(const char *dir, struct buf *out, struct err *e);
/* E_CORRUPT: says which file is not as the manifest says, or that the manifest is damaged itself. What is in
 * the folder besides is not looked at: programs write beside their files. E_NOT_FOUND: no such folder. */
must_check int slot_tree_check(const char *dir, const uint8_t *manifest, size_t n, enum slot_depth depth,
			       struct err *e);
/* A file or a folder with all below; links are not followed. Fine when nothing is there. Goes on after an
 * error and returns the first. */
must_check int slot_tree_remove(const char *path, struct err *e);

#endif
