/*
 * spool.h: numbered chunks that wait on disk until a coordinator acknowledged them. Appended to segment files
 * (length, CRC, number each), synced in batches, freed by segment after a cumulative acknowledgement. Results
 * and steps are never dropped; log lines are, and counted, when the spool is full. Blocking I/O; one thread
 * at a time.
 */
#ifndef AGENT_SPOOL_H
#define AGENT_SPOOL_H

#include "base/buf.h"
#include "base/err.h"

struct spool;

enum spool_kind { SPOOL_MATTERS = 1, SPOOL_LOG };
enum { SPOOL_CHUNK_MAX = 256 * 1024 };

struct spool_limits {
	size_t most_bytes;    /* log lines are dropped beyond; 0 = 32 MiB */
	size_t segment_bytes; /* 0 = 1 MiB */
};

/*
 * A torn end, as a crash leaves it, is cut off. Damage further in costs the chunks behind it in that segment,
 * counted by spool_damaged. Numbers go on where they ended, as far as that is known: what was cut off may
 * have been numbered and sent, so the numbers after it are those of a new spool, with an id of its own.
 */
must_check int spool_open(struct spool **out, const char *dir, struct spool_limits limits, struct err *e);
void spool_free(struct spool *s); /* NULL-safe; does not sync */

/* Who numbered the chunks: made with the directory and after damage, so a spool that was lost is told from
 * one that goes on. */
struct spool_id {
	uint64_t hi, lo;
};
struct spool_id spool_id(const struct spool *s);
uint64_t spool_next_number(const struct spool *s); /* of the next put; from 1 */
/* Durable after spool_sync only. A dropped log chunk uses no number: E_BUSY, counted. */
must_check int spool_put(struct spool *s, enum spool_kind kind, const void *bytes, size_t len, struct err *e);
must_check int spool_sync(struct spool *s, struct err *e);

/* The first chunk above `number` that is not acknowledged, into `out` (reset first). E_NOT_FOUND: there is
 * none. */
must_check int spool_read(struct spool *s, uint64_t number, uint64_t *found, struct buf *out, struct err *e);
/* All up to `number` arrived for good. Numbers never given out are refused: E_PROTOCOL. */
must_check int spool_ack(struct spool *s, uint64_t number, struct err *e);

uint64_t spool_acked(
	const struct spool *s); /* after opening: what was freed for sure; the coordinator may know more */
uint64_t spool_dropped(const struct spool *s); /* log chunks since opening */
uint64_t spool_damaged(const struct spool *s); /* segments with damage found when opening */
/* A sync failed: what is on disk is not known, and nothing can be put until it is opened anew. */
bool spool_broken(const struct spool *s);
size_t spool_bytes(const struct spool *s);

#endif
