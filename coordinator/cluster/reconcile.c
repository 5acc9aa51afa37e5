#include "coordinator/cluster/reconcile.h"

struct members {
	const struct consensus_member_info *v;
	size_t nr;
};

static const struct consensus_member_info *find(const struct members *m, uint64_t id)
{
	for (size_t i = 0; i < m->nr; i++)
		if (m->v[i].id == id)
			return &m->v[i];
	return NULL;
}

static bool another_votes(const struct members *m, uint64_t id)
{
	for (size_t i = 0; i < m->nr; i++)
		if (m->v[i].id != id && m->v[i].role == CONSENSUS_VOTER)
			return true;
	return false;
}

/* One that leads cannot be removed by itself. */
static struct reconcile_step leave(const struct members *m, const struct consensus_member_info *i)
{
	if (!i->self)
		return (struct reconcile_step){.op = CONSENSUS_MEMBER_REMOVE, .id = i->id};
	if (another_votes(m, i->id))
		return (struct reconcile_step){.op = CONSENSUS_LEADER_TRANSFER};
	return (struct reconcile_step){0};
}

static struct reconcile_step step_of(const struct members *m, const struct reconcile_node *n)
{
	const struct consensus_member_info *i = find(m, n->id);
	if (n->removed)
		return i ? leave(m, i) : (struct reconcile_step){0};
	if (!i || i->role == CONSENSUS_SPARE)
		return (struct reconcile_step){
			.op = CONSENSUS_MEMBER_ADD, .id = n->id, .address = n->address};
	if (i->role == CONSENSUS_STANDBY && !n->standby)
		return (struct reconcile_step){.op = CONSENSUS_MEMBER_PROMOTE, .id = n->id};
	return (struct reconcile_step){0};
}

struct reconcile_step reconcile_next(const struct reconcile_node *nodes, size_t nodes_nr,
				     const struct consensus_member_info *members, size_t members_nr,
				     uint64_t after)
{
	const struct members m = {members, members_nr};
	struct reconcile_step first = {0};
	for (size_t i = 0; i < nodes_nr; i++) {
		struct reconcile_step s = step_of(&m, &nodes[i]);
		if (!s.op)
			continue;
		if (nodes[i].id > after)
			return s;
		if (!first.op)
			first = s;
	}
	return first;
}
