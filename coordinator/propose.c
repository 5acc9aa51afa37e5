/*
 * propose.c: commands on their way into the log. Whoever proposes is answered exactly once, and never from
 * inside the call.
 */
#include <stdlib.h>

#include "coordinator/daemon.h"

struct proposal {
	struct daemon *d;
	drive_proposed_fn *done;
	void *arg;
	int code; /* of a refusal */
	char text[232];
	struct proposal *next;
};

static void answer(struct proposal *p, int code, const struct command_reply *r)
{
	if (p->done != NULL)
		p->done(p->arg, code, r);
	free(p);
}

static void committed_cb(void *arg, int code, uint64_t index, const void *bytes, size_t n)
{
	struct proposal *p = arg;
	struct arena a;
	struct command_reply r = {.code = code, .index = index, .text = err_text(code)};
	arena_init(&a);
	if (code == E_OK && command_reply_decode(&a, bytes, n, &r) != E_OK)
		r = (struct command_reply){
			.code = E_INTERNAL, .index = index, .text = "the reply cannot be read"};
	daemon_soon(p->d);
	answer(p, r.code, &r);
	arena_done(&a);
}

static unsigned flags_of(const struct command *c)
{
	/* What steers something that is under way must go through when the disk is nearly full: it is small.
	 */
	return c->kind == COMMAND_VERB || c->kind == COMMAND_ROLLOUT_MOVE ? CONSENSUS_ESSENTIAL : 0;
}

static void refuse(struct proposal *p, int code, const struct err *e)
{
	p->code = code;
	memcpy(p->text, e->text, sizeof p->text);
	p->next = p->d->refused;
	p->d->refused = p;
	daemon_soon(p->d);
}

void propose(struct daemon *d, const struct command *c, drive_proposed_fn *done, void *arg)
{
	struct command stamped = *c;
	struct err e = {0};
	struct buf b;
	struct proposal *p = calloc(1, sizeof *p);
	PRE(p != NULL);
	*p = (struct proposal){.d = d, .done = done, .arg = arg};
	stamped.at = daemon_now(d);
	buf_init(&b);
	command_encode(&b, &stamped);
	int rc = consensus_propose(d->consensus, b.data, b.len, flags_of(c), committed_cb, p, &e);
	buf_done(&b);
	if (rc != E_OK)
		refuse(p, rc, &e);
}

void propose_refused(struct daemon *d)
{
	while (d->refused != NULL) {
		struct proposal *p = d->refused;
		d->refused = p->next;
		struct command_reply r = {.code = p->code, .text = p->text};
		answer(p, r.code, &r);
	}
}
