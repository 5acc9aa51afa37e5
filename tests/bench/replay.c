/*
 * replay.c: the exchanges of the last deployment once more, byte counts and order as they were, against the
 * bare echo server.
 */
#include <string.h>

#include "tests/bench/fleet.h"

enum { HEAD = 8, QUESTION_MAX = 65536 };

static unsigned last_step;

static uint32_t mean(uint64_t bytes, uint64_t count)
{
	return count == 0 ? 0 : (uint32_t)(bytes / count);
}

static void ask(struct agent *g)
{
	static uint8_t question[QUESTION_MAX];
	const struct exchange_bytes *b = &g->fleet->bytes[g->echo_step];
	uint32_t sent = mean(b->sent, b->count), body = sent > HEAD ? sent - HEAD : 0;
	g->echo_awaits = mean(b->received, b->count);
	PRE(body <= sizeof question - HEAD);
	put_u32(question, body);
	put_u32(question + 4, g->echo_awaits);
	peer_send(&g->echo, question, HEAD + body);
}

void replay_begin(struct fleet *f, enum exchange from, enum exchange to)
{
	last_step = to;
	f->echo_done = 0;
	for (size_t i = 0; i < f->nr; i++) {
		f->agents[i].echo_step = from;
		ask(&f->agents[i]);
	}
}

static void on_bytes(struct peer *p)
{
	struct agent *g = p->arg;
	if (p->in.len < g->echo_awaits)
		return;
	buf_drop(&p->in, g->echo_awaits);
	if (++g->echo_step < last_step)
		ask(g);
	else
		g->fleet->echo_done++;
}

static void on_open(struct peer *p)
{
	struct agent *g = p->arg;
	g->fleet->connected++;
	g->fleet->unfinished--;
}

const struct peer_ops replay_ops = {.open = on_open, .bytes = on_bytes};
