/*
 * visit.h: the other side of gate.h: one question to a coordinator by a program that has no certificate.
 * Blocking, each step for at most VISIT_WAIT_S; the process must ignore SIGPIPE.
 */
#ifndef CLUSTER_VISIT_H
#define CLUSTER_VISIT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

enum { VISIT_WAIT_S = 30 };

/*
 * Dial `address` ("host:port"), make sure that it is a coordinator under the CA of this digest, and only then
 * send `request`; the answer goes to the end of `answer`. E_UNAVAILABLE, E_CLOSED: nobody answers there.
 * E_DENIED: not who was meant, E_PROTOCOL: no such port; then nothing was sent. E_UNKNOWN_OUTCOME: it was,
 * and no answer came.
 */
must_check int visit_ask(const char *address, const struct digest *ca, const struct buf *request,
			 struct buf *answer, struct err *e);

#endif
