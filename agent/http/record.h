/*
 * record.h: what wavetrain-agent says to wavetrain-http, and what it is answered. Records of a size fixed for
 * each kind, one SOCK_SEQPACKET message each, in host order: both ends are of one host and one package. After
 * an upgrade they may be of two versions for a while, which the version tells. Unused bytes are zero. Pure;
 * any thread.
 */
#ifndef AGENT_HTTP_RECORD_H
#define AGENT_HTTP_RECORD_H

#include "base/err.h"
#include "base/ids.h"

enum { HTTP_MAGIC = 0x57544854, HTTP_ANSWER_MAGIC = 0x57544841, HTTP_VERSION = 1 };

enum http_op {
	HTTP_ALIVE,   /* answers only: nothing new, but it works on what it was asked */
	HTTP_FETCH,   /* answered with how much is there, again and again, and at last with how it ended */
	HTTP_ATTEMPT, /* one try of a probe: answered once */
	HTTP_DROP,    /* `request` is wanted no more, and gets no answer from now on */
	HTTP_OP_END
};

enum { HTTP_URLS = 16, HTTP_URL_CAP = 512, HTTP_PATH_CAP = 1024, HTTP_TEXT_CAP = 256 };

/* fetch.h says what they mean. */
struct http_fetch {
	struct digest artifact;
	uint64_t size_bytes, reserve_bytes, seed;
	char dir[HTTP_PATH_CAP];
	char ca[HTTP_PATH_CAP], cert[HTTP_PATH_CAP], key[HTTP_PATH_CAP];
	uint32_t urls_nr, zero;
	char urls[HTTP_URLS][HTTP_URL_CAP];
};

/* attempt.h says what they mean. */
struct http_attempt {
	char url[HTTP_PATH_CAP];
	uint32_t connect_only, timeout_ms, status_min, status_max;
};

/* Only as much of it is sent as its kind needs: `size`. */
struct http_order {
	uint32_t magic, version, size, op;
	uint64_t request; /* comes back in each answer */
	union {
		struct http_fetch fetch;
		struct http_attempt attempt;
	};
};

struct http_answer {
	uint32_t magic, version, size, op;
	uint64_t request;
	uint32_t ended; /* 1: nothing more comes for this request */
	int32_t code;	/* enum err_code; E_OK while it has not ended */
	uint64_t have;	/* FETCH: bytes on disk so far */
	char text[HTTP_TEXT_CAP];
};

/* Zero it and fill its head; `op` is an order. */
void http_order_init(struct http_order *o, enum http_op op, uint64_t request);
void http_answer_init(struct http_answer *a, enum http_op op, uint64_t request);

/* May one act on these `len` bytes? E_PROTOCOL, E_VERSION or E_INVALID, with the reason in `e`. */
must_check int http_order_check(const struct http_order *o, size_t len, struct err *e);
must_check int http_answer_check(const struct http_answer *a, size_t len, struct err *e);

#endif
