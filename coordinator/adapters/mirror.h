/*
 * mirror.h: the archives of all releases on this coordinator, too: what its store lacks is fetched from the
 * other coordinators, over the port that artifact_http.h serves.
 *
 * Each other coordinator is asked archive by archive (HEAD) whether it has it, until it says yes; what it has
 * and we lack is fetched from it, verified before it gets its name, and goes on after a break or a restart
 * where it stopped. Once everybody has everything nobody is asked any more, but anew every ten minutes. What
 * goes wrong is logged when it begins, not at each try; tries are apart by full jitter, up to two minutes.
 *
 * It knows nothing of how the membership or the releases are found: its owner names both. Loop thread only.
 */
#ifndef ADAPTERS_MIRROR_H
#define ADAPTERS_MIRROR_H

#include <uv.h>

#include "base/err.h"
#include "coordinator/artifact/store.h"
#include "sys/tls.h"

struct mirror;

enum { MIRROR_PEERS_MAX = 32 }; /* more are not asked */

/* What the owner knows, asked for from the loop. The calls must not call mirror_close or mirror_look. */
struct mirror_source {
	void *arg;
	/* Call mirror_peer for each other coordinator, not for this one. */
	void (*peers)(void *arg, struct mirror *m);
	/* Call mirror_wanted for each archive that should be here, whether it is or not. Not called while
	 * there are no peers. */
	void (*wanted)(void *arg, struct mirror *m);
};

/* Zero chooses the default in brackets. */
struct mirror_config {
	struct artifact_store *store; /* outlives the mirror */
	struct tls_files tls;	      /* of this coordinator; the paths are copied */
	struct mirror_source source;
	uint64_t seed;	      /* of the jitter: different on each coordinator */
	unsigned at_once;     /* [2] downloads */
	unsigned round_ms;    /* [10 000] about as long until one that lacked an archive is asked again */
	unsigned retry_ms;    /* [1000] the first pause after a failure is at most this; it doubles */
	unsigned stall_s;     /* [30] a coordinator that sends less than 1 KiB/s for so long is left */
	uint64_t free_bytes;  /* [ARTIFACT_RESERVE_BYTES] must stay free on the disk of the store */
	bool plain_for_tests; /* http: is fine, too */
};

/* Looks for the first time on the loop's next turn. */
struct mirror *mirror_open(uv_loop_t *loop, const struct mirror_config *c);
/* The peers or what is wanted may have changed. Cheap: many calls cost one look, half a second after the
 * last. Without it the mirror looks once a minute. */
void mirror_look(struct mirror *m);

/* From `source` only. "https://10.0.0.1:7701"; one that cannot be is logged and not asked. */
void mirror_peer(struct mirror *m, const char *url);
void mirror_wanted(struct mirror *m, const struct digest *d, uint64_t size_bytes);

/* On how many coordinators an archive lies, this one included, as far as this one knows: what another one has
 * got is seen within seconds, what it has lost within ten minutes. */
struct mirror_copies {
	unsigned known, of;
};
struct mirror_copies mirror_copies(const struct mirror *m, const struct digest *d);

/* Downloads stop, and go on after the next start. `closed` (may be NULL) when the loop has let go and `m` is
 * gone. */
void mirror_close(struct mirror *m, void (*closed)(void *arg), void *arg);

#endif
