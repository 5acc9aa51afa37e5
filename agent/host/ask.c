#include "agent/host/ask.h"

#include <stdlib.h>
#include <utlist.h>

#include "sys/log.h"

enum { AGAIN_MS = 250 };

struct asks {
	uv_loop_t *loop;
	struct exec_client *client;
	struct ask *head;
	bool answered;
};

struct ask {
	struct asks *all;
	struct exec_record record;
	exec_client_cb cb; /* NULL: dropped */
	void *ctx;
	uv_timer_t again;
	bool in_flight;
	struct ask *prev, *next;
};

struct asks *asks_open(uv_loop_t *loop, const char *exec_socket)
{
	struct asks *all = calloc(1, sizeof(*all));
	PRE(all != NULL);
	all->loop = loop;
	all->client = exec_client_open(loop, exec_socket);
	all->answered = true;
	return all;
}

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

static void ask_end(struct ask *k)
{
	DL_DELETE(k->all->head, k);
	uv_close((uv_handle_t *)&k->again, on_closed);
}

void asks_close(struct asks *all)
{
	struct ask *k, *next;
	if (all == NULL)
		return;
	exec_client_close(all->client);
	DL_FOREACH_SAFE(all->head, k, next)
	ask_end(k);
	free(all);
}

void asks_watch(struct asks *all, exec_client_watch_cb cb, void *ctx)
{
	exec_client_watch(all->client, cb, ctx);
}

bool asks_answered(const struct asks *all)
{
	return all->answered && exec_client_is_up(all->client);
}

static void on_again(uv_timer_t *t);

static void again(struct ask *k, const char *why)
{
	if (k->all->answered)
		log_warn("exec", "%s; asked again until it answers", why);
	k->all->answered = false;
	uv_timer_start(&k->again, on_again, AGAIN_MS, 0);
}

static void on_reply(void *ctx, const struct exec_reply *reply)
{
	struct ask *k = ctx;
	k->in_flight = false;
	if (k->cb == NULL) {
		ask_end(k);
		return;
	}
	if (reply->code == E_UNKNOWN_OUTCOME) {
		again(k, reply->text);
		return;
	}
	k->all->answered = true;
	exec_client_cb cb = k->cb;
	void *arg = k->ctx;
	ask_end(k);
	cb(arg, reply);
}

static void on_again(uv_timer_t *t)
{
	struct ask *k = t->data;
	struct err e;
	k->in_flight = exec_client_call(k->all->client, &k->record, on_reply, k, &e) == E_OK;
	if (!k->in_flight)
		again(k, e.text);
}

struct ask *ask_begin(struct asks *all, const struct exec_record *r, exec_client_cb cb, void *ctx)
{
	struct ask *k = calloc(1, sizeof(*k));
	PRE(k != NULL);
	k->all = all;
	k->record = *r;
	k->cb = cb;
	k->ctx = ctx;
	uv_timer_init(all->loop, &k->again);
	k->again.data = k;
	DL_APPEND(all->head, k);
	uv_timer_start(&k->again, on_again, 0, 0);
	return k;
}

void ask_drop(struct ask *k)
{
	if (k == NULL)
		return;
	k->cb = NULL;
	if (!k->in_flight)
		ask_end(k);
}
