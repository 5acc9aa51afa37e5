#include "coordinator/config.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/fsio.h"

void config_init(struct config *c)
{
	*c = (struct config){
		.poll_wait_ms = 25000, .suspect_ms = 75000, .lost_ms = 120000, .grace_ms = 90000};
}

void config_done(struct config *c)
{
	free(c->data);
	free(c->address);
	free(c->listen);
	free(c->socket);
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

static int parse(struct config *c, json_t *root, const char *path, struct err *e)
{
	const char *cluster, *id, *address, *listen, *sock;
	int agent_port, artifact_port;
	json_int_t wait = c->poll_wait_ms, suspect = c->suspect_ms, lost = c->lost_ms, grace = c->grace_ms;
	json_error_t je;
	if (json_unpack_ex(root, &je, JSON_STRICT, "{s:s,s:s,s:s,s:s,s:s,s:i,s:i,s?I,s?I,s?I,s?I}", "cluster",
			   &cluster, "cluster_id", &id, "address", &address, "listen", &listen, "socket",
			   &sock, "agent_port", &agent_port, "artifact_port", &artifact_port, "poll_wait_ms",
			   &wait, "suspect_ms", &suspect, "lost_ms", &lost, "grace_ms", &grace) != 0)
		return err_set(e, E_INVALID, "%s: %s", path, je.text);
	bool ports_ok = agent_port > 0 && agent_port < 65536 && artifact_port > 0 && artifact_port < 65536;
	bool times_ok = wait > 0 && wait <= 300000 && suspect > wait && lost > suspect && grace >= 0;
	if (!name_set(&c->cluster, cluster) || !cluster_id_parse(c, id) || !ports_ok)
		return err_set(e, E_INVALID, "%s: cluster, cluster_id or a port is not valid", path);
	if (!times_ok)
		return err_set(e, E_INVALID, "%s: needs poll_wait_ms < suspect_ms < lost_ms", path);
	c->address = strdup(address);
	c->listen = strdup(listen);
	c->socket = strdup(sock);
	c->agent_port = (uint16_t)agent_port;
	c->artifact_port = (uint16_t)artifact_port;
	c->poll_wait_ms = (uint32_t)wait;
	c->suspect_ms = suspect;
	c->lost_ms = lost;
	c->grace_ms = grace;
	return E_OK;
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

int config_save(const struct config *c, struct err *e)
{
	char path[CONFIG_PATH_CAP], id[CLUSTER_ID_CAP];
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:I,s:I,s:I,s:I}", "cluster", c->cluster.s,
			      "cluster_id", config_cluster_id(c, id), "address", c->address, "listen",
			      c->listen, "socket", c->socket, "agent_port", (int)c->agent_port,
			      "artifact_port", (int)c->artifact_port, "poll_wait_ms",
			      (json_int_t)c->poll_wait_ms, "suspect_ms", (json_int_t)c->suspect_ms, "lost_ms",
			      (json_int_t)c->lost_ms, "grace_ms", (json_int_t)c->grace_ms);
	char *text = o == NULL ? NULL : json_dumps(o, JSON_INDENT(2));
	json_decref(o);
	if (text == NULL)
		return err_set(e, E_NOMEM, "config: cannot be written as JSON");
	int rc = fsio_write_atomic(config_path(c, "config.json", path), text, strlen(text), 0644, e);
	free(text);
	return rc;
}
