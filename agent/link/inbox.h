/*
 * inbox.h: the one bridge from libnng's threads to the loop: a locked queue and uv_async_send. Internal to
 * agent/link.
 */
#ifndef LINK_INBOX_H
#define LINK_INBOX_H

#include <nng/nng.h>
#include <uv.h>

#include "base/base.h"

enum news_kind { NEWS_DIALED = 1, NEWS_PIPE_GONE, NEWS_REPLY, NEWS_CALL_FAILED, NEWS_CLOSED, NEWS_NR };

struct news {
	enum news_kind kind;
	void *about;  /* the attempt, or the call of it */
	int rv;	      /* of libnng */
	nng_msg *msg; /* NEWS_REPLY: owned by whoever holds the news */
	struct news *next;
};

struct inbox {
	uv_mutex_t lock;
	struct news *first, **last;
	uv_async_t async;
};

/* `on_news` runs on the loop after one or more puts; take everything then. */
void inbox_open(struct inbox *in, uv_loop_t *loop, void *data, uv_async_cb on_news);
/* Any thread. Takes over `msg`. */
void inbox_put(struct inbox *in, enum news_kind kind, void *about, int rv, nng_msg *msg);
/* The whole queue, oldest first; each is freed with inbox_free. Loop thread. */
struct news *inbox_take(struct inbox *in);
void inbox_free(struct news *n);
void inbox_done(struct inbox *in); /* after the async handle is closed */

#endif
