/*
 * invite.h: a join token as text: "wtj1.<SHA-256 of the CA's certificate>.<secret>.<host:port to dial>", the
 * first two as 64 hex digits. Who has it can tell the cluster from anybody else before it says the secret.
 * Pure; any thread.
 */
#ifndef CLUSTER_INVITE_H
#define CLUSTER_INVITE_H

#include "base/err.h"
#include "base/ids.h"
#include "coordinator/consensus/consensus.h"

enum { INVITE_SECRET_LEN = 32, INVITE_CAP = 5 + 64 + 1 + 64 + 1 + CONSENSUS_ADDRESS_CAP };

struct invite {
	struct digest ca;
	uint8_t secret[INVITE_SECRET_LEN];
	char address[CONSENSUS_ADDRESS_CAP];
};

/* Always terminated; `t->address` is one that peers can dial. */
const char *invite_encode(const struct invite *t, char out[INVITE_CAP]);
/* E_INVALID with what is wrong with it; the error never holds the secret. */
must_check int invite_decode(struct invite *out, const char *text, struct err *e);

#endif
