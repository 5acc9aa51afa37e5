/*
 * gate.h: the port at which a program asks to become a coordinator. It is open only while its owner keeps it
 * so, and is not the peers' port: who comes here has no certificate, says one thing of bounded size, hears
 * one answer and goes. Loop thread throughout.
 *
 *   from the visitor, inside TLS 1.3: length (u32, big-endian, 1 to GATE_REQUEST_MAX) and that many bytes
 *   to the visitor: the same, with the answer; then the connection ends
 */
#ifndef CLUSTER_GATE_H
#define CLUSTER_GATE_H

#include <uv.h>

#include "sys/tls.h"

enum {
	GATE_HEAD = 4,
	GATE_REQUEST_MAX = 8 * 1024,
	GATE_ANSWER_MAX = 64 * 1024,
	GATE_VISITORS_MAX = 16, /* more wait in the kernel's queue */
	GATE_PER_ADDRESS_MAX = 8,
	GATE_REQUEST_MS = 10 * 1000, /* from the connection to a whole request */
	GATE_ANSWER_MS = 60 * 1000   /* from then until the answer has been taken */
};

struct gate;

struct gate_config {
	const char *address; /* numeric */
	uint16_t port;
	struct tls_files tls; /* shows certificate and CA; asks for none */
	/* A whole request. `visitor` is a number for gate_answer; `from` its address. Both and `p` only
	 * during the call. */
	void (*asked)(void *arg, uint64_t visitor, const char *from, const uint8_t *p, size_t n);
	void *arg;
};

/* E_UNAVAILABLE: cannot listen there. `config` is copied, its strings are not kept. */
must_check int gate_open(struct gate **out, uv_loop_t *loop, const struct gate_config *config, struct err *e);
/* Drops who is there; the gate is freed when the loop has closed its handles, then `closed` (may be NULL). */
void gate_close(struct gate *g, void (*closed)(void *arg), void *arg);
/* At most GATE_ANSWER_MAX bytes. A visitor who has left meanwhile is no error: it will ask again. */
void gate_answer(struct gate *g, uint64_t visitor, const void *p, size_t n);

#endif
