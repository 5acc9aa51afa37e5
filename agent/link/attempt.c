#include "agent/link/attempt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nng/protocol/reqrep0/req.h>

/* libnng must not redial by itself while the owner decides: one hour is "never" here. */
static const nng_duration never_ms = 3600 * 1000;

/* libnng's threads: these only pass news on. --------------------------------------------- */

static void on_pipe_gone(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct attempt *a = arg;

	inbox_put(a->inbox, NEWS_PIPE_GONE, a, 0, NULL);
}

/* The receive starts where the send ended, never beside it (cancelling both at once crashes libnng, P15). */
static void on_sent(struct call *c, int rv)
{
	if (rv != 0) {
		nng_msg_free(nng_aio_get_msg(c->aio)); /* a message that was not sent is ours again */
		nng_aio_set_msg(c->aio, NULL);
		inbox_put(c->attempt->inbox, NEWS_CALL_FAILED, c, rv, NULL);
		return;
	}
	c->receiving = true;
	nng_aio_set_timeout(c->aio, c->reply_ms);
	nng_ctx_recv(c->ctx, c->aio);
}

static void on_aio(void *arg)
{
	struct call *c = arg;
	int rv = nng_aio_result(c->aio);

	if (!c->receiving) {
		on_sent(c, rv);
		return;
	}
	c->receiving = false;
	if (rv != 0)
		inbox_put(c->attempt->inbox, NEWS_CALL_FAILED, c, rv, NULL);
	else
		inbox_put(c->attempt->inbox, NEWS_REPLY, c, 0, nng_aio_get_msg(c->aio));
}

/* Helper threads ---------------------------------------- */

static void dial_main(void *arg)
{
	struct attempt *a = arg;

	inbox_put(a->inbox, NEWS_DIALED, a, nng_dialer_start(a->dialer, 0), NULL);
}

static void free_calls(struct attempt *a)
{
	for (int i = 0; i < CALL_NR; i++)
		if (a->calls[i].aio)
			nng_aio_free(a->calls[i].aio);
}

static void close_main(void *arg)
{
	struct attempt *a = arg;

	nng_close(a->sock);
	uv_thread_join(&a->dial_thread);
	free_calls(a);
	inbox_put(a->inbox, NEWS_CLOSED, a, 0, NULL);
}

/* The loop's thread ---------------------------------------------------------------------- */

static int open_calls(struct attempt *a, const struct attempt_options *o)
{
	for (int i = 0; i < CALL_NR; i++) {
		struct call *c = &a->calls[i];

		c->attempt = a;
		c->kind = (enum call_kind)i;
		c->reply_ms = o->reply_ms[i];
		int rv = nng_ctx_open(&c->ctx, a->sock);
		if (rv == 0)
			rv = nng_aio_alloc(&c->aio, on_aio, c);
		if (rv != 0)
			return rv;
	}
	return 0;
}

static int set_up_socket(struct attempt *a, const struct attempt_options *o)
{
	int rv = nng_req0_open(&a->sock);

	if (rv != 0)
		return rv;
	/* A request is executed once per call: repeating it is the owner's decision (P13). */
	rv = nng_socket_set_ms(a->sock, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
	if (rv == 0)
		rv = nng_socket_set_ms(a->sock, NNG_OPT_RECONNMINT, never_ms);
	if (rv == 0)
		rv = nng_socket_set_ms(a->sock, NNG_OPT_RECONNMAXT, never_ms);
	if (rv == 0)
		rv = nng_socket_set_size(a->sock, NNG_OPT_RECVMAXSZ, o->reply_max);
	if (rv == 0)
		rv = nng_pipe_notify(a->sock, NNG_PIPE_EV_REM_POST, on_pipe_gone, a);
	if (rv == 0)
		rv = open_calls(a, o);
	return rv;
}

static int set_up_dialer(struct attempt *a, const struct attempt_options *o, nng_tls_config *tls)
{
	char url[320];

	snprintf(url, sizeof(url), "tls+tcp://%s", o->address);
	int rv = nng_dialer_create(&a->dialer, a->sock, url);
	if (rv == 0)
		rv = nng_dialer_set_ptr(a->dialer, NNG_OPT_TLS_CONFIG, tls);
	if (rv == 0)
		rv = nng_dialer_set_size(a->dialer, NNG_OPT_RECVMAXSZ, o->reply_max);
	return rv;
}

/* Nothing was dialed, so nothing can hang. */
static void abandon(struct attempt *a)
{
	if (nng_socket_id(a->sock) > 0)
		nng_close(a->sock);
	free_calls(a);
	attempt_free(a);
}

int attempt_open(struct attempt **out, struct inbox *inbox, const struct attempt_options *o, struct err *e)
{
	struct attempt *a = calloc(1, sizeof(*a));
	nng_tls_config *tls = NULL;

	PRE(a);
	a->inbox = inbox;
	a->send_ms = o->send_ms;
	a->note = engine_note_new();
	int rc = engine_config_new(&tls, o->tls, o->server_name, a->note, e);
	if (rc) {
		abandon(a);
		return rc;
	}
	int rv = set_up_socket(a, o);
	if (rv == 0)
		rv = set_up_dialer(a, o, tls);
	nng_tls_config_free(tls); /* the dialer holds its own reference */
	if (rv == 0 && uv_thread_create(&a->dial_thread, dial_main, a) != 0)
		rv = NNG_ENOMEM;
	if (rv != 0) {
		abandon(a);
		return err_set(e, E_UNAVAILABLE, "dial %s: %s", o->address, nng_strerror(rv));
	}
	*out = a;
	return E_OK;
}

int attempt_call(struct attempt *a, enum call_kind kind, const void *bytes, size_t len)
{
	struct call *c = &a->calls[kind];
	nng_msg *msg;

	if (c->busy)
		return E_BUSY;
	if (nng_msg_alloc(&msg, len) != 0)
		return E_NOMEM;
	if (len > 0)
		memcpy(nng_msg_body(msg), bytes, len);
	c->busy = true;
	c->receiving = false;
	nng_aio_set_msg(c->aio, msg);
	nng_aio_set_timeout(c->aio, a->send_ms);
	nng_ctx_send(c->ctx, c->aio);
	return E_OK;
}

void attempt_close(struct attempt *a)
{
	PRE(uv_thread_create(&a->close_thread, close_main, a) == 0);
}

void attempt_free(struct attempt *a)
{
	engine_note_drop(a->note);
	free(a);
}
