#include "coordinator/config.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/fsio.h"

void config_init(struct config *c)
{
	*c = (struct config){.poll_wait_ms = 25000,
			     .suspect_ms = 75000,
			     .lost_ms = 120000,
			     .grace_ms = 90000,
			     .node_id = 1};
}

void config_done(struct config *c)
{
	free(c->data);
	free(c->address);
	free(c->listen);
	free(c->socket);
	for (size_t i = 0; i < c->members_nr; i++)
		free((char *)(uintptr_t)c->members[i].address);
	free(c->members);
	config_init(c);
}

const char *config_path(const struct config *c, const char *name, char out[CONFIG_PATH_CAP])
{
	snprintf(out, CONFIG_PATH_CAP, "%s/%s", c->data, name);
	return out;
}

const char *config_cluster_id(const struct config *c, char out[CLUSTER_ID_CAP])
{
	snprintf(out, CLUSTER_ID_CAP, "%016llx%016llx", (unsigned long long)c->cluster_hi,
		 (unsigned long long)c->cluster_lo);
	return out;
}

const char *config_join_host_port(const char *host, uint16_t port, char out[CONSENSUS_ADDRESS_CAP])
{
	const char *form = strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u";
	snprintf(out, CONSENSUS_ADDRESS_CAP, form, host, (unsigned)port);
	return out;
}

void config_add_member(struct config *c, uint64_t id, const char *address)
{
	c->members = realloc(c->members, (c->members_nr + 1) * sizeof *c->members);
	char *own = strdup(address);
	PRE(c->members != NULL && own != NULL);
	c->members[c->members_nr++] = (struct consensus_peer){.id = id, .address = own};
}

static bool cluster_id_parse(struct config *c, const char *s)
{
	unsigned long long hi, lo;
	int used = 0;
	if (strlen(s) != 32 || sscanf(s, "%16llx%16llx%n", &hi, &lo, &used) != 2 || used != 32)
		return false;
	c->cluster_hi = hi;
	c->cluster_lo = lo;
	return true;
}

static bool port_ok(json_int_t v, bool may_be_none)
{
	return v < 65536 && (v > 0 || (v == 0 && may_be_none));
}

static int parse_members(struct config *c, const json_t *v, const char *path, struct err *e)
{
	for (size_t i = 0; i < json_array_size(v); i++) {
		json_int_t id;
		const char *address;
		if (json_unpack(json_array_get(v, i), "{s:I,s:s!}", "id", &id, "address", &address) != 0 ||
		    id <= 0)
			return err_set(e, E_INVALID, "%s: each of members needs an id and an address", path);
		config_add_member(c, (uint64_t)id, address);
	}
	return E_OK;
}

/* What a node is in its cluster; all of it is optional. */
static int parse_node(struct config *c, const json_t *root, const char *path, struct err *e)
{
	json_int_t id = 1, peer = 0, join = 0;
	int joined = 0, started = 0;
	json_t *members = NULL;
	json_error_t je;
	if (json_unpack_ex((json_t *)(uintptr_t)root, &je, 0, "{s?I,s?I,s?I,s?b,s?b,s?o}", "node_id", &id,
			   "peer_port", &peer, "join_port", &join, "joined", &joined, "started", &started,
			   "members", &members) != 0)
		return err_set(e, E_INVALID, "%s: %s", path, je.text);
	if (id <= 0 || !port_ok(peer, true) || !port_ok(join, true))
		return err_set(e, E_INVALID, "%s: node_id, peer_port or join_port is not valid", path);
	c->node_id = (uint64_t)id;
	c->peer_port = (uint16_t)peer;
	c->join_port = (uint16_t)join;
	c->joined = joined;
	c->started = started;
	return parse_members(c, members, path, e);
}

static int parse_times(struct config *c, const json_t *root, const char *path, struct err *e)
{
	json_int_t wait = c->poll_wait_ms, suspect = c->suspect_ms, lost = c->lost_ms, grace = c->grace_ms;
	json_error_t je;
	if (json_unpack_ex((json_t *)(uintptr_t)root, &je, 0, "{s?I,s?I,s?I,s?I}", "poll_wait_ms", &wait,
			   "suspect_ms", &suspect, "lost_ms", &lost, "grace_ms", &grace) != 0)
		return err_set(e, E_INVALID, "%s: %s", path, je.text);
	if (wait <= 0 || wait > 300000 || suspect <= wait || lost <= suspect || grace < 0)
		return err_set(e, E_INVALID, "%s: needs poll_wait_ms < suspect_ms < lost_ms", path);
	c->poll_wait_ms = (uint32_t)wait;
	c->suspect_ms = suspect;
	c->lost_ms = lost;
	c->grace_ms = grace;
	return E_OK;
}

static int parse_own(struct config *c, const json_t *root, const char *path, struct err *e)
{
	const char *cluster, *id, *address, *listen, *sock;
	json_int_t agent, artifact;
	json_error_t je;
	if (json_unpack_ex((json_t *)(uintptr_t)root, &je, 0, "{s:s,s:s,s:s,s:s,s:s,s:I,s:I}", "cluster",
			   &cluster, "cluster_id", &id, "address", &address, "listen", &listen, "socket",
			   &sock, "agent_port", &agent, "artifact_port", &artifact) != 0)
		return err_set(e, E_INVALID, "%s: %s", path, je.text);
	if (!name_set(&c->cluster, cluster) || !cluster_id_parse(c, id) || !port_ok(agent, false) ||
	    !port_ok(artifact, false))
		return err_set(e, E_INVALID, "%s: cluster, cluster_id or a port is not valid", path);
	c->address = strdup(address);
	c->listen = strdup(listen);
	c->socket = strdup(sock);
	c->agent_port = (uint16_t)agent;
	c->artifact_port = (uint16_t)artifact;
	return E_OK;
}

/* A key that nothing reads is a setting that people believe in. */
static int refuse_unknown(const json_t *root, const char *path, struct err *e)
{
	static const char *const known[] = {
		"cluster",	 "cluster_id",	 "address",    "listen",  "socket",   "agent_port",
		"artifact_port", "poll_wait_ms", "suspect_ms", "lost_ms", "grace_ms", "node_id",
		"peer_port",	 "join_port",	 "joined",     "started", "members"};
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)root, key, value)
	{
		size_t i = 0;
		while (i < ARRAY_LEN(known) && strcmp(known[i], key) != 0)
			i++;
		if (i == ARRAY_LEN(known))
			return err_set(e, E_INVALID, "%s: '%.60s' is no setting", path, key);
	}
	return E_OK;
}

static int parse(struct config *c, const json_t *root, const char *path, struct err *e)
{
	int rc = parse_own(c, root, path, e);
	if (rc == E_OK)
		rc = parse_times(c, root, path, e);
	if (rc == E_OK)
		rc = parse_node(c, root, path, e);
	return rc == E_OK ? refuse_unknown(root, path, e) : rc;
}

int config_load(struct config *c, const char *data, struct err *e)
{
	char path[CONFIG_PATH_CAP];
	json_error_t je;
	config_init(c);
	c->data = strdup(data);
	json_t *root = json_load_file(config_path(c, "config.json", path), JSON_REJECT_DUPLICATES, &je);
	if (root == NULL)
		return err_set(e, E_NOT_FOUND,
			       "%s: %s (line %d); `wavetraind init --data %s` makes a new coordinator", path,
			       je.text, je.line, data);
	int rc = parse(c, root, path, e);
	json_decref(root);
	return rc;
}

static json_t *members_json(const struct config *c)
{
	json_t *v = json_array();
	for (size_t i = 0; i < c->members_nr; i++)
		json_array_append_new(v, json_pack("{s:I,s:s}", "id", (json_int_t)c->members[i].id, "address",
						   c->members[i].address));
	return v;
}

static json_t *as_json(const struct config *c)
{
	char id[CLUSTER_ID_CAP];
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:I,s:I,s:I,s:I,s:I,s:i,s:i,s:b,s:b,s:o}", "cluster",
			 c->cluster.s, "cluster_id", config_cluster_id(c, id), "address", c->address,
			 "listen", c->listen, "socket", c->socket, "agent_port", (int)c->agent_port,
			 "artifact_port", (int)c->artifact_port, "poll_wait_ms", (json_int_t)c->poll_wait_ms,
			 "suspect_ms", (json_int_t)c->suspect_ms, "lost_ms", (json_int_t)c->lost_ms,
			 "grace_ms", (json_int_t)c->grace_ms, "node_id", (json_int_t)c->node_id, "peer_port",
			 (int)c->peer_port, "join_port", (int)c->join_port, "joined", (int)c->joined,
			 "started", (int)c->started, "members", members_json(c));
}

int config_save(const struct config *c, struct err *e)
{
	char path[CONFIG_PATH_CAP];
	json_t *o = as_json(c);
	char *text = o == NULL ? NULL : json_dumps(o, JSON_INDENT(2));
	json_decref(o);
	if (text == NULL)
		return err_set(e, E_NOMEM, "config: cannot be written as JSON");
	int rc = fsio_write_atomic(config_path(c, "config.json", path), text, strlen(text), 0644, e);
	free(text);
	return rc;
}
