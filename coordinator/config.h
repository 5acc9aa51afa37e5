/*
 * config.h: where a coordinator keeps things and what it listens on. The data directory holds everything;
 * `wavetraind init` writes <data>/config.json, `wavetraind run` reads it. Strings are owned by the config.
 */
#ifndef COORDINATOR_CONFIG_H
#define COORDINATOR_CONFIG_H

#include "base/err.h"
#include "base/ids.h"

struct config {
	char *data;			 /* directory */
	struct name cluster;		 /* name for people */
	uint64_t cluster_hi, cluster_lo; /* cluster id, 128 random bits */
	char *address;			 /* agents dial it: numeric, or a name they resolve */
	char *listen;			 /* numeric address the ports are bound to */
	uint16_t agent_port, artifact_port;
	char *socket; /* admin socket */
	uint32_t poll_wait_ms;
	int64_t suspect_ms, lost_ms, grace_ms;
};

void config_init(struct config *c); /* the defaults of docs/protocol.md */
void config_done(struct config *c);
must_check int config_load(struct config *c, const char *data, struct err *e);
must_check int config_save(const struct config *c, struct err *e);
/* <data>/<name>, in `out`. */
enum { CONFIG_PATH_CAP = 1024 };
const char *config_path(const struct config *c, const char *name, char out[CONFIG_PATH_CAP]);
/* 32 hex digits of the cluster id: the cluster part of every certificate's name. */
enum { CLUSTER_ID_CAP = 33 };
const char *config_cluster_id(const struct config *c, char out[CLUSTER_ID_CAP]);

#endif
