/*
 * node.c: this coordinator as a node of its cluster: its log with the links to the others, and what must not
 * be started. A node whose log is lost may have voted in it, so it never comes back under its id.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/daemon.h"
#include "sys/log.h"

/* ---- what must not be started
 * ------------------------------------------------------------------------------------ */

static bool holds_entries(const char *name)
{
	return strncmp(name, "open-", 5) == 0 || strncmp(name, "snapshot-", 9) == 0 ||
	       (name[0] >= '0' && name[0] <= '9');
}

/* Segments or a snapshot; the engine's note of its vote alone is no log. */
bool node_has_log(const struct config *c)
{
	char path[CONFIG_PATH_CAP];
	const struct dirent *entry;
	bool found = false;
	DIR *dir = opendir(config_path(c, "raft/log", path));
	while (dir != NULL && !found && (entry = readdir(dir)) != NULL)
		found = holds_entries(entry->d_name);
	if (dir != NULL)
		closedir(dir);
	return found;
}

static int check_log_is_there(const struct config *c, struct err *e)
{
	if (!c->started || node_has_log(c))
		return E_OK;
	if (c->peer_port == 0)
		return err_set(e, E_CONFLICT, "%s/raft is empty, and it held the log: restore a backup",
			       c->data);
	return err_set(
		e, E_CONFLICT,
		"%s/raft is empty, but coordinator %llu was a member: it never comes back under this id. On "
		"the leader: wavetrain cluster remove %llu; here: wavetraind join, with a new token and an "
		"empty "
		"--data",
		c->data, (unsigned long long)c->node_id, (unsigned long long)c->node_id);
}

static int check_same_cluster(struct daemon *d, struct err *e)
{
	uint64_t hi, lo;
	struct name name;
	view_cluster(d->state, &hi, &lo, &name);
	if ((hi == 0 && lo == 0) || (hi == d->cfg.cluster_hi && lo == d->cfg.cluster_lo))
		return E_OK;
	return err_set(e, E_CONFLICT,
		       "the log in %s/raft is that of cluster '%s' (%016llx...), config.json is of '%s': put "
		       "back the "
		       "directory that belongs to it",
		       d->cfg.data, name.s, (unsigned long long)hi, d->cfg.cluster.s);
}

static int check_not_removed(struct daemon *d, struct err *e)
{
	struct node n;
	int rc = view_node(d->state, &d->arena, d->cfg.node_id, &n);
	arena_reset(&d->arena);
	if (rc != E_OK || !n.removed)
		return E_OK;
	return err_set(e, E_CONFLICT,
		       "coordinator %llu was removed from cluster '%s' and never comes back under this id: "
		       "wavetraind "
		       "join, with a new token and an empty --data",
		       (unsigned long long)d->cfg.node_id, d->cfg.cluster.s);
}

/* ---- opening
 * ---------------------------------------------------------------------------------------------------- */

static int open_log(struct daemon *d, struct err *e)
{
	char path[CONFIG_PATH_CAP], ca[CONFIG_PATH_CAP], cert[CONFIG_PATH_CAP], key[CONFIG_PATH_CAP];
	char address[CONSENSUS_ADDRESS_CAP] = "127.0.0.1:1"; /* of a cluster of one: nobody dials it */
	char listen[CONSENSUS_ADDRESS_CAP];
	const struct config *c = &d->cfg;
	struct consensus_config cfg = {.dir = config_path(c, "raft", path),
				       .node_id = c->node_id,
				       .address = address,
				       .join = c->joined,
				       .peers = c->members,
				       .peers_nr = c->members_nr,
				       .fsm = replica_table(),
				       .fsm_arg = d};
	if (c->peer_port != 0) {
		config_join_host_port(c->address, c->peer_port, address);
		cfg.listen = config_join_host_port(c->listen, c->peer_port, listen);
		cfg.tls = (struct tls_files){config_path(c, "ca.pem", ca), config_path(c, "cert.pem", cert),
					     config_path(c, "key.pem", key)};
	}
	return consensus_open(&d->consensus, &d->loop, &cfg, e);
}

int node_open(struct daemon *d, struct err *e)
{
	int rc = check_log_is_there(&d->cfg, e);
	if (rc == E_OK)
		rc = open_log(d, e);
	if (rc == E_OK)
		rc = check_same_cluster(d, e);
	return rc == E_OK ? check_not_removed(d, e) : rc;
}

/* From here on its log is one that others may have counted. Not written is only said: the next start tries
 * again. */
static void note_started(struct daemon *d)
{
	struct consensus_member_info members[CONSENSUS_MEMBERS_MAX];
	struct err e;
	if (d->cfg.started || consensus_members(d->consensus, members) == 0)
		return;
	d->cfg.started = true;
	if (config_save(&d->cfg, &e) != E_OK)
		log_warn("cluster", "config.json could not be written: %s", e.text);
}

void node_tick(struct daemon *d)
{
	note_started(d);
}
