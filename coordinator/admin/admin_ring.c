#include "coordinator/admin/admin_ring.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "coordinator/state/machines.h"

void admin_ring_init(struct admin_ring *r, size_t cap)
{
	r->v = calloc(cap, sizeof *r->v);
	PRE(r->v);
	r->cap = cap;
	r->next = 1;
	r->lost_cursor = 0;
}

void admin_ring_done(struct admin_ring *r)
{
	free(r->v);
	r->v = NULL;
}

void admin_ring_put(struct admin_ring *r, const struct admin_ring_event *e)
{
	struct admin_ring_event *slot = &r->v[r->next % r->cap];
	if (slot->number && slot->cursor > r->lost_cursor)
		r->lost_cursor = slot->cursor;
	*slot = *e;
	slot->number = r->next++;
}

void admin_ring_changes(struct admin_ring *r, uint64_t index, uint32_t sub, struct wall_ms at,
			const struct changes *changes)
{
	for (size_t i = 0; i < changes->nr; i++) {
		const struct change *c = &changes->v[i];
		/* 20 bits of position: a batch of 4096 commands with 256 changes each; beyond that positions
		 * repeat, in order. */
		uint64_t position = ((uint64_t)sub << 8) | (i < 255 ? i : 255);
		struct admin_ring_event e = {.cursor = (index << 20) | (position & 0xfffff),
					     .at = at,
					     .kind = c->kind,
					     .app = c->app,
					     .host = c->host,
					     .deployment = c->deployment,
					     .wave = c->wave,
					     .from = c->from,
					     .to = c->to};
		snprintf(e.reason, sizeof e.reason, "%s", c->reason ? c->reason : "");
		admin_ring_put(r, &e);
	}
}

static uint64_t oldest(const struct admin_ring *r)
{
	return r->next > r->cap ? r->next - r->cap : 1;
}

const struct admin_ring_event *admin_ring_get(const struct admin_ring *r, uint64_t number)
{
	if (number < oldest(r))
		number = oldest(r);
	return number < r->next ? &r->v[number % r->cap] : NULL;
}

uint64_t admin_ring_after(const struct admin_ring *r, uint64_t cursor, bool *reset)
{
	*reset = cursor < r->lost_cursor;
	for (uint64_t n = oldest(r); n < r->next; n++)
		if (r->v[n % r->cap].cursor > cursor)
			return n;
	return r->next;
}

uint64_t admin_ring_newest(const struct admin_ring *r)
{
	for (uint64_t n = r->next; n-- > oldest(r);)
		if (r->v[n % r->cap].cursor)
			return r->v[n % r->cap].cursor;
	return r->lost_cursor;
}

const char *change_kind_name(enum change_kind k)
{
	static const char *const names[CHANGE_NR] = {"step",	"app",	    "environment", "host",
						     "release", "bad-mark", "rollout",	   "wave",
						     "task",	"placement"};
	return (unsigned)k < CHANGE_NR ? names[k] : "?";
}

const char *change_state_name(enum change_kind k, int state)
{
	if (state == 0)
		return "";
	if (k == CHANGE_DEPLOYMENT)
		return sm_name(&rollout_machine, state);
	if (k == CHANGE_WAVE)
		return sm_name(&wave_machine, state);
	if (k == CHANGE_TASK)
		return sm_name(&task_machine, state);
	return "";
}
