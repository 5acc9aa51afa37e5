/* What wavetrain-http reads and what it is answered: a record that passes has texts that end. */
#include "agent/http/record.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_order(const uint8_t *data, size_t len)
{
	static struct http_order o, as_long;
	size_t head = offsetof(struct http_order, op), n = len < sizeof o - head ? len : sizeof o - head;
	struct err e;
	http_order_init(&o, HTTP_FETCH, 1);
	memcpy((char *)&o + head, data, n);
	http_order_init(&as_long, o.op, 1); /* what a kind of its size may hold is looked at, not the size */
	o.size = as_long.size != 0 ? as_long.size : sizeof o;
	if (http_order_check(&o, o.size, &e) != E_OK)
		return;
	if (o.op == HTTP_FETCH && strlen(o.fetch.dir) + strlen(o.fetch.key) >= sizeof o)
		__builtin_trap();
	for (uint32_t i = 0; o.op == HTTP_FETCH && i < o.fetch.urls_nr; i++)
		if (strlen(o.fetch.urls[i]) >= HTTP_URL_CAP)
			__builtin_trap();
	if (o.op == HTTP_ATTEMPT && strlen(o.attempt.url) >= HTTP_PATH_CAP)
		__builtin_trap();
}

static void check_answer(const uint8_t *data, size_t len)
{
	struct http_answer a;
	struct err e;
	memset(&a, 0, sizeof a);
	memcpy(&a, data, len < sizeof a ? len : sizeof a);
	if (http_answer_check(&a, len, &e) == E_OK && (strlen(a.text) >= HTTP_TEXT_CAP || a.code >= E_NR))
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	check_order(data, len);
	check_answer(data, len);
	return 0;
}
