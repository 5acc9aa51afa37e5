/*
 * config.h: where a coordinator keeps things and what it listens on. The data directory holds everything;
 * `wavetraind init` writes <data>/config.json, `wavetraind run` reads it. Strings are owned by the config.
 */
#ifndef COORDINATOR_CONFIG_H
#define COORDINATOR_CONFIG_H

#include "base/err.h"
#include "base/ids.h"
#include "coordinator/consensus/consensus.h"

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
	/* Of this coordinator in its cluster. A file of before there were clusters has none of these. */
	uint64_t node_id;   /* 1 is the one that init made; the others are allotted when they join */
	uint16_t peer_port; /* other coordinators dial it; 0: a cluster of one that nobody can join */
	uint16_t join_port; /* new coordinators dial it; open only while there is a token */
	bool joined;  /* its log came from others: an empty one waits, rather than beginning a cluster */
	bool started; /* it was a member once: from then on an empty log is a lost one */
	struct consensus_peer *members; /* of the cluster when it joined */
	size_t members_nr;
};

void config_init(struct config *c); /* the defaults of docs/protocol.md */
void config_done(struct config *c);
must_check int config_load(struct config *c, const char *data, struct err *e);
must_check int config_save(const struct config *c, struct err *e);
/* <data>/<name>, in `out`. */
enum { CONFIG_PATH_CAP = 1024 };
const char *config_path(const struct config *c, const char *name, char out[CONFIG_PATH_CAP]);
/* "host:port", with the brackets of IPv6. */
const char *config_join_host_port(const char *host, uint16_t port, char out[CONSENSUS_ADDRESS_CAP]);
/* Copies; `address` is "host:port" of its peer port. */
void config_add_member(struct config *c, uint64_t id, const char *address);
/* 32 hex digits of the cluster id: the cluster part of every certificate's name. */
enum { CLUSTER_ID_CAP = 33 };
const char *config_cluster_id(const struct config *c, char out[CLUSTER_ID_CAP]);

#endif
