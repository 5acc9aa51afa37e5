#include "tests/lib/test.h"
#include "tests/contract/edge/agent.h"

#include <stdio.h>

enum { PATIENCE_MS = 20000, TICK_MS = 2 };

struct link_config agent_config(const struct tls_files *files)
{
	return (struct link_config){.tls = *files,
				    .backoff_base_ms = 5,
				    .backoff_cap_ms = 50,
				    .dial_timeout_ms = 2000,
				    .healthy_ms = 100,
				    .seed = 7};
}

static void on_up(void *arg, const char *coordinator)
{
	struct agent *a = arg;

	a->ups++;
	snprintf(a->up_to, sizeof(a->up_to), "%s", coordinator);
	if (a->polite)
		assert_int_equal(link_request(a->link, "echo", 4), E_OK);
}

static void on_down(void *arg, const char *coordinator, const struct err *why, int64_t next_ms)
{
	struct agent *a = arg;

	a->downs++;
	a->down_code = why->code;
	a->next_ms = next_ms;
	snprintf(a->down_text, sizeof(a->down_text), "%s", why->text);
}

static void note(struct agent *a, const uint8_t *bytes, size_t len)
{
	a->last_len = len;
	snprintf(a->last, sizeof(a->last), "%.*s", (int)(len < 60 ? len : 60), (const char *)bytes);
}

static void on_poll_reply(void *arg, const uint8_t *bytes, size_t len)
{
	struct agent *a = arg;

	a->polls++;
	note(a, bytes, len);
}

static void on_reply(void *arg, const uint8_t *bytes, size_t len)
{
	struct agent *a = arg;

	a->replies++;
	note(a, bytes, len);
	if (a->polite)
		assert_int_equal(link_poll(a->link, "park", 4), E_OK);
}

static void on_wedged(void *arg)
{
	struct agent *a = arg;

	a->wedged = true;
}

void agent_open(struct agent *a, uv_loop_t *loop, const struct link_config *config, uint16_t port)
{
	const char *coordinators[] = {a->address, NULL};
	const struct link_callbacks callbacks = {.arg = a,
						 .on_up = on_up,
						 .on_down = on_down,
						 .on_poll_reply = on_poll_reply,
						 .on_reply = on_reply,
						 .on_wedged = on_wedged};
	struct link_config c = *config;
	bool polite = a->polite;
	struct err e;

	*a = (struct agent){.polite = polite};
	snprintf(a->address, sizeof(a->address), "127.0.0.1:%u", port);
	c.coordinators = coordinators;
	if (link_open(&a->link, loop, &c, &callbacks, &e))
		fail_msg("link: %s", e.text);
}

static void on_tick(uv_timer_t *timer)
{
	/* only to make the loop turn */
}

bool agents_run(uv_loop_t *loop, bool (*cond)(void *arg), void *arg)
{
	uv_timer_t tick;
	uint64_t start = uv_hrtime();

	uv_timer_init(loop, &tick);
	uv_timer_start(&tick, on_tick, TICK_MS, TICK_MS);
	while (!cond(arg) && (uv_hrtime() - start) / 1000000 < PATIENCE_MS)
		uv_run(loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(loop, UV_RUN_NOWAIT);
	return cond(arg);
}

static void on_closed(void *arg)
{
	struct agent *a = arg;

	a->closed = true;
}

void agents_close(uv_loop_t *loop, struct agent *list, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		link_close(list[i].link, on_closed, &list[i]);
	assert_int_equal(uv_run(loop, UV_RUN_DEFAULT), 0);
	for (unsigned i = 0; i < nr; i++)
		assert_true(list[i].closed);
}
