#include "agent/http/record.h"

#include <string.h>

/* 0: no order. */
static size_t order_size(uint32_t op)
{
	if (op == HTTP_FETCH)
		return offsetof(struct http_order, fetch) + sizeof(struct http_fetch);
	if (op == HTTP_ATTEMPT)
		return offsetof(struct http_order, attempt) + sizeof(struct http_attempt);
	return op == HTTP_DROP ? offsetof(struct http_order, fetch) : 0;
}

void http_order_init(struct http_order *o, enum http_op op, uint64_t request)
{
	memset(o, 0, sizeof(*o));
	o->magic = HTTP_MAGIC;
	o->version = HTTP_VERSION;
	o->size = (uint32_t)order_size(op);
	o->op = op;
	o->request = request;
}

void http_answer_init(struct http_answer *a, enum http_op op, uint64_t request)
{
	memset(a, 0, sizeof(*a));
	a->magic = HTTP_ANSWER_MAGIC;
	a->version = HTTP_VERSION;
	a->size = sizeof(*a);
	a->op = op;
	a->request = request;
}

static bool ended(const char *s, size_t cap)
{
	return memchr(s, '\0', cap) != NULL;
}

static bool fetch_ok(const struct http_fetch *f)
{
	bool ok = ended(f->dir, sizeof(f->dir)) && ended(f->ca, sizeof(f->ca)) &&
		  ended(f->cert, sizeof(f->cert)) && ended(f->key, sizeof(f->key)) && f->urls_nr <= HTTP_URLS;
	for (uint32_t i = 0; ok && i < f->urls_nr; i++)
		ok = ended(f->urls[i], sizeof(f->urls[i]));
	return ok;
}

/* Of `len` bytes that came, is there a head to be read, and is it of our version? */
static int head_check(size_t len, size_t head, const uint32_t *words, uint32_t magic, size_t size,
		      struct err *e)
{
	if (len < head || words[0] != magic)
		return err_set(e, E_PROTOCOL, "not a record of wavetrain-http");
	if (words[1] != HTTP_VERSION)
		return err_set(e, E_VERSION,
			       "the other side speaks version %u, this one %d; restart wavetrain-agent",
			       words[1], HTTP_VERSION);
	if (len != size || words[2] != len)
		return err_set(e, E_PROTOCOL, "a record of %zu bytes instead of %zu", len, size);
	return E_OK;
}

int http_order_check(const struct http_order *o, size_t len, struct err *e)
{
	size_t head = offsetof(struct http_order, fetch), size = len < head ? 0 : order_size(o->op);
	int rc = head_check(len, head, &o->magic, HTTP_MAGIC, size != 0 ? size : len, e);
	if (rc != E_OK)
		return rc;
	if (size == 0)
		return err_set(e, E_INVALID, "there is no order %u", o->op);
	if (o->op == HTTP_FETCH && !fetch_ok(&o->fetch))
		return err_set(e, E_INVALID, "an order to fetch with a text that does not end");
	if (o->op == HTTP_ATTEMPT && !ended(o->attempt.url, sizeof(o->attempt.url)))
		return err_set(e, E_INVALID, "an order to try with a URL that does not end");
	return E_OK;
}

int http_answer_check(const struct http_answer *a, size_t len, struct err *e)
{
	int rc = head_check(len, offsetof(struct http_answer, ended), &a->magic, HTTP_ANSWER_MAGIC,
			    sizeof(*a), e);
	if (rc != E_OK)
		return rc;
	if (a->op >= HTTP_OP_END || a->op == HTTP_DROP || a->ended > 1 || a->code < 0 || a->code >= E_NR ||
	    (!a->ended && a->code != E_OK) || !ended(a->text, sizeof(a->text)))
		return err_set(e, E_INVALID, "an answer that makes no sense");
	return E_OK;
}
