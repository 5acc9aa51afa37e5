/*
 * refer.c: what a coordinator that does not lead says to agents: who does, and when to try again. It looks at
 * nothing else of what they send, so whatever they keep until it is acknowledged goes to the leader.
 */
#include "coordinator/drive/internal.h"

/* About as long as an election takes, and what is left of one that is won; agents add their own jitter. Who
 * is told another one goes at once. */
enum { ELECTION_MS = 1000, READY_MS = 200 };

/* Ours leaves at the first answer, with at most one more request on its way. */
enum { REFERRED_MAX = 4 };

void drive_coordinators(struct drive *d, const struct drive_coordinator *list, size_t nr)
{
	struct arena *a = &d->coordinator_strings;
	arena_reset(a);
	d->coordinators_nr = nr < DRIVE_COORDINATORS_MAX ? nr : DRIVE_COORDINATORS_MAX;
	for (size_t i = 0; i < d->coordinators_nr; i++)
		d->coordinators[i] =
			(struct drive_coordinator){.id = list[i].id,
						   .address = arena_strdup(a, list[i].address),
						   .artifacts = arena_strdup(a, list[i].artifacts)};
}

const struct drive_coordinator *drive_known_coordinators(const struct drive *d, size_t *nr)
{
	*nr = d->coordinators_nr;
	return d->coordinators;
}

void drive_leader(struct drive *d, uint64_t id)
{
	d->leader = id;
}

/* The log has refused and this one does not know yet that it leads no more: who does instead is not known. */
static const char *leader_address(const struct drive *d)
{
	if (d->leads && d->leader == d->cfg.node_id)
		return NULL;
	for (size_t i = 0; i < d->coordinators_nr; i++)
		if (d->leader != 0 && d->coordinators[i].id == d->leader)
			return d->coordinators[i].address;
	return NULL;
}

void refer(struct drive *d, struct token t, uint64_t request_id)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Problem p = WAVETRAIN__AGENT__PROBLEM__INIT;
	const char *leader = leader_address(d);
	bool soon = leader != NULL && d->leader == d->cfg.node_id;
	p.code = arena_strdup(&d->arena, err_name(E_NOT_LEADER));
	p.text = soon ? arena_strdup(&d->arena, "this coordinator was elected and is not ready to lead yet")
		 : leader != NULL
			 ? arena_printf(&d->arena, "this coordinator does not lead its cluster, %s does",
					leader)
			 : arena_strdup(&d->arena, "this coordinator does not lead its cluster and knows "
						   "nobody who does: an election may be under way");
	if (leader != NULL)
		p.leader = arena_strdup(&d->arena, leader);
	p.retry_after_ms = soon ? READY_MS : leader == NULL ? ELECTION_MS : 0;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_PROBLEM;
	e.problem = &p;
	dispatch_answer(d, t, request_id, &e);
}

void refer_request(struct drive *d, struct fleet_host *h, struct token t, const envelope *e)
{
	if (++h->referred > REFERRED_MAX)
		d->ports.drop(d->ports.arg, t.session,
			      "asks on, although told that another coordinator leads");
	else
		refer(d, t, e->request_id);
}

void refer_parked(struct drive *d)
{
	while (d->fleet.parked != NULL) {
		struct fleet_host *h = d->fleet.parked;
		fleet_unpark(&d->fleet, h);
		h->referred++;
		refer(d, h->poll, h->poll_request_id);
	}
}

/* Its own archives first: it can be reached. Who still lacks one says so at once, and the next is asked. */
void refer_welcome(struct drive *d, Wavetrain__Agent__Welcome *w)
{
	struct arena *a = &d->arena;
	w->artifact_urls = arena_array(a, char *, d->coordinators_nr + 1);
	w->coordinators = arena_array(a, char *, d->coordinators_nr);
	w->artifact_urls[w->n_artifact_urls++] = arena_strdup(a, d->cfg.artifact_url);
	for (size_t i = 0; i < d->coordinators_nr; i++) {
		const struct drive_coordinator *c = &d->coordinators[i];
		w->coordinators[w->n_coordinators++] = arena_strdup(a, c->address);
		if (strcmp(c->artifacts, d->cfg.artifact_url) != 0 &&
		    w->n_artifact_urls < DRIVE_COORDINATORS_MAX)
			w->artifact_urls[w->n_artifact_urls++] = arena_strdup(a, c->artifacts);
	}
}
