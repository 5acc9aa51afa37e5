/*
 * slot_ledger.h: which slots one app has on this host, as its small file says. Pure. A slot may stand in the
 * ledgers of several apps; none of them removes it while another names it.
 */
#ifndef STEPS_SLOT_LEDGER_H
#define STEPS_SLOT_LEDGER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

enum { SLOT_LEDGER_GOOD_MAX = 64, SLOT_LEDGER_KEPT_MAX = 16, SLOT_LEDGER_CLAIMS_MAX = 256 };

struct slot_ledger {
	struct digest good[SLOT_LEDGER_GOOD_MAX]; /* proven healthy, most recent first */
	struct digest kept[SLOT_LEDGER_KEPT_MAX]; /* what the last slots_free_old was told to keep */
	/* Made for this app, or meant to be, and not proven; also what is to be removed. Most recent first.
	 */
	struct digest claims[SLOT_LEDGER_CLAIMS_MAX];
	size_t good_nr, kept_nr, claims_nr;
};

bool slot_ledger_names(const struct slot_ledger *l, const struct digest *d);
/* To the front of `good`, and no claim any more. What falls off its end becomes a claim. */
void slot_ledger_good(struct slot_ledger *l, const struct digest *d);
/* Nothing changes when the ledger names it already; else to the front, and the oldest falls off the end. */
void slot_ledger_claim(struct slot_ledger *l, const struct digest *d);
/*
 * Keeps the first `keep_nr` of `good` and the `n` in `keep` (at most SLOT_LEDGER_KEPT_MAX); everything else
 * becomes a claim: what the app does not need any more.
 */
void slot_ledger_trim(struct slot_ledger *l, uint32_t keep_nr, const struct digest *keep, size_t n);
void slot_ledger_unclaim(struct slot_ledger *l, const struct digest *d);

void slot_ledger_encode(const struct slot_ledger *l, struct buf *b);
/* E_CORRUPT unless these are exactly bytes that slot_ledger_encode writes. */
must_check int slot_ledger_decode(struct slot_ledger *l, const uint8_t *p, size_t n, struct err *e);

#endif
