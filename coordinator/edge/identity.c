#include <uthash.h>
#include <utlist.h>

#include <stdlib.h>

#include "coordinator/edge/internal.h"

/* Who has proven this name: an agent has one session for requests and one for hints, and the two of before
 * until somebody notices that they are dead. */
struct edge_identity {
	struct name name;
	struct edge_session *sessions; /* the oldest first */
	unsigned nr;
	UT_hash_handle hh;
};

static struct edge_identity *find(const struct edge *edge, const char *name)
{
	struct edge_identity *id;

	HASH_FIND_STR(edge->identities, name, id);
	return id;
}

static struct edge_identity *get(struct edge *edge, const struct name *name)
{
	struct edge_identity *id = find(edge, name->s);

	if (id != NULL)
		return id;
	id = calloc(1, sizeof(*id));
	PRE(id);
	id->name = *name;
	HASH_ADD_STR(edge->identities, name.s, id);
	return id;
}

void identity_bind(struct edge_session *s)
{
	struct edge_identity *id = get(s->edge, &s->identity.name);

	if (id->nr >= s->edge->config.per_identity_max)
		session_end(id->sessions, EDGE_IDENTITY_CAP); /* not the last one, so `id` stays */
	s->same = id;
	DL_APPEND2(id->sessions, s, same_prev, same_next);
	id->nr++;
}

void identity_unbind(struct edge_session *s)
{
	struct edge_identity *id = s->same;

	if (id == NULL)
		return;
	s->same = NULL;
	DL_DELETE2(id->sessions, s, same_prev, same_next);
	if (--id->nr > 0)
		return;
	HASH_DEL(s->edge->identities, id);
	free(id);
}

unsigned edge_drop_identity(struct edge *edge, const char *name)
{
	struct edge_identity *id = find(edge, name);
	unsigned dropped = 0, nr = id == NULL ? 0 : id->nr;

	for (; dropped < nr; dropped++) /* the last one takes `id` along */
		session_end(id->sessions, EDGE_REVOKED);
	return dropped;
}
