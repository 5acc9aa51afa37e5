#include "agent/link/inbox.h"

#include <stdlib.h>

void inbox_open(struct inbox *in, uv_loop_t *loop, void *data, uv_async_cb on_news)
{
	PRE(uv_mutex_init(&in->lock) == 0 && uv_async_init(loop, &in->async, on_news) == 0);
	in->async.data = data;
	in->first = NULL;
	in->last = &in->first;
}

void inbox_put(struct inbox *in, enum news_kind kind, void *about, int rv, nng_msg *msg)
{
	struct news *n = calloc(1, sizeof(*n));

	PRE(n);
	*n = (struct news){.kind = kind, .about = about, .rv = rv, .msg = msg};
	uv_mutex_lock(&in->lock);
	*in->last = n;
	in->last = &n->next;
	/* Under the lock: the reader may close the handle as soon as it saw the last news. */
	uv_async_send(&in->async);
	uv_mutex_unlock(&in->lock);
}

struct news *inbox_take(struct inbox *in)
{
	uv_mutex_lock(&in->lock);
	struct news *all = in->first;
	in->first = NULL;
	in->last = &in->first;
	uv_mutex_unlock(&in->lock);
	return all;
}

void inbox_free(struct news *n)
{
	if (n->msg)
		nng_msg_free(n->msg);
	free(n);
}

void inbox_done(struct inbox *in)
{
	struct news *n = inbox_take(in), *next;

	for (; n; n = next) {
		next = n->next;
		inbox_free(n);
	}
	uv_mutex_destroy(&in->lock);
}
