#include "base/sm.h"

static bool known(const struct sm *m, int s)
{
	return s > 0 && s < m->nr && m->states[s].name != NULL;
}

bool sm_edge_allowed(const struct sm *m, int from, int to)
{
	return known(m, from) && known(m, to) && (m->states[from].next & SM_TO(to)) != 0;
}

bool sm_terminal(const struct sm *m, int state)
{
	return known(m, state) && (m->states[state].flags & SM_TERMINAL) != 0;
}

const char *sm_name(const struct sm *m, int state)
{
	return known(m, state) ? m->states[state].name : "?";
}

static uint64_t reachable(const struct sm *m)
{
	uint64_t seen = 0, before;
	for (int s = 1; s < m->nr; s++)
		if (m->states[s].flags & SM_INITIAL)
			seen |= SM_TO(s);
	do {
		before = seen;
		for (int s = 1; s < m->nr; s++)
			if (seen & SM_TO(s))
				seen |= m->states[s].next;
	} while (seen != before);
	return seen;
}

bool sm_well_formed(const struct sm *m)
{
	uint64_t seen = reachable(m);
	for (int s = 1; s < m->nr; s++) {
		bool terminal = sm_terminal(m, s);
		if (!known(m, s) || !(seen & SM_TO(s)))
			return false;
		if (terminal != (m->states[s].next == 0))
			return false;
	}
	return m->nr > 1 && m->nr <= 64;
}
