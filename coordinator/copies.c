/*
 * copies.c: the archives of all releases on every coordinator: who may read them here, and what this one
 * fetches from whom. Another coordinator may lead at any moment, and has to serve them then.
 */
#include <string.h>
#include <sys/random.h>

#include "coordinator/adapters/mirror.h"
#include "coordinator/daemon.h"
#include "coordinator/state/view.h"

/* ---- who may read
 * ------------------------------------------------------------------------------------------------------- */

static bool is_member(const struct daemon *d, const struct tls_identity *id)
{
	struct consensus_member_info members[CONSENSUS_MEMBERS_MAX];
	uint64_t node_id;
	if (!tls_coordinator_id(id, &node_id))
		return false;
	for (size_t i = consensus_members(d->consensus, members); i > 0; i--)
		if (members[i - 1].id == node_id)
			return true;
	return false;
}

bool copies_allowed(void *arg, const struct tls_identity *id)
{
	const struct daemon *d = arg;
	char cluster[CLUSTER_ID_CAP];
	/* Signed by a CA that we trust, but its names are those of another cluster. */
	if (strcmp(id->cluster.s, config_cluster_id(&d->cfg, cluster)) != 0)
		return false;
	return is_member(d, id) || peers_allowed(arg, id);
}

/* ---- what is fetched
 * ---------------------------------------------------------------------------------------------------- */

static void name_others(void *arg, struct mirror *m)
{
	struct daemon *d = arg;
	size_t nr;
	const struct drive_coordinator *all = drive_known_coordinators(d->drive, &nr);
	for (size_t i = 0; i < nr; i++)
		if (all[i].id != d->cfg.node_id)
			mirror_peer(m, all[i].artifacts);
}

static bool name_release(void *arg, const struct release *r)
{
	mirror_wanted(arg, &r->artifact, r->size_bytes);
	return true;
}

static void name_wanted(void *arg, struct mirror *m)
{
	struct daemon *d = arg;
	struct arena a;
	arena_init(&a);
	view_each_release(d->state, &a, NULL, name_release, m);
	arena_done(&a);
}

int copies_open(struct daemon *d, struct err *e)
{
	char ca[CONFIG_PATH_CAP], cert[CONFIG_PATH_CAP], key[CONFIG_PATH_CAP];
	struct mirror_config c = {.store = d->artifacts,
				  .tls = {config_path(&d->cfg, "ca.pem", ca),
					  config_path(&d->cfg, "cert.pem", cert),
					  config_path(&d->cfg, "key.pem", key)},
				  .source = {d, name_others, name_wanted}};
	PRE(getrandom(&c.seed, sizeof c.seed, 0) == sizeof c.seed);
	d->mirror = mirror_open(&d->loop, &c);
	return E_OK;
}

void copies_look(struct daemon *d)
{
	if (d->mirror != NULL)
		mirror_look(d->mirror);
}

void copies_changed(struct daemon *d, const struct changes *ch)
{
	for (size_t i = 0; i < ch->nr; i++)
		if (ch->v[i].kind == CHANGE_RELEASE)
			copies_look(d);
}

void copies_close(struct daemon *d, void (*closed)(void *arg))
{
	struct mirror *m = d->mirror;
	d->mirror = NULL;
	mirror_close(m, closed, d);
}
