#include "coordinator/consensus/guard_held.h"

void guard_held_begin(struct guard *g, struct guard_held *h, raft_index first, unsigned n)
{
	*h = (struct guard_held){.next = g->held, .link = &g->held, .first = first, .last = first + n - 1};
	if (h->next)
		h->next->link = &h->next;
	g->held = h;
}

void guard_held_end(struct guard_held *h)
{
	*h->link = h->next;
	if (h->next)
		h->next->link = h->link;
}

void guard_held_drop(struct guard *g, raft_index from)
{
	for (struct guard_held *h = g->held; h; h = h->next)
		h->dropped |= h->last >= from;
}

bool guard_held_again(const struct guard *g, const struct raft_append_entries *a)
{
	for (const struct guard_held *h = g->held; h; h = h->next)
		if (h->dropped && a->prev_log_index < h->last && a->prev_log_index + a->n_entries >= h->first)
			return true;
	return false;
}
