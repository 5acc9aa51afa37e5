/*
 * init.c: a new coordinator: a directory with its CA, its certificate and its configuration. The log is made
 * by the first run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/daemon.h"
#include "sys/ca.h"

enum { CA_DAYS = 3650, CERT_DAYS = 825 };

static struct wall_ms in_days(int64_t days)
{
	return (struct wall_ms){((int64_t)time(NULL) + days * 86400) * 1000};
}

static int random_id(struct config *c, struct err *e)
{
	uint64_t v[2];
	if (getrandom(v, sizeof v, 0) != sizeof v)
		return err_sys(e, E_IO, errno, "init: no random bytes");
	c->cluster_hi = v[0];
	c->cluster_lo = v[1];
	return E_OK;
}

static bool is_address(const char *s)
{
	unsigned char buf[16];
	return uv_inet_pton(AF_INET, s, buf) == 0 || uv_inet_pton(AF_INET6, s, buf) == 0;
}

struct wall_ms node_certificate_ends(void)
{
	return in_days(CERT_DAYS);
}

int node_certificate(const struct ca *ca, uint64_t id, const char *host, const char *public_key,
		     struct wall_ms ends, struct ca_pair *out, struct err *e)
{
	const char *address[] = {host, NULL};
	char name[NAME_CAP];
	struct ca_request rq = {.role = TLS_ROLE_COORDINATOR,
				.name = tls_coordinator_name(id, name),
				.generation = 1,
				.public_key = public_key,
				.from = in_days(-1),
				.to = ends};
	if (is_address(host))
		rq.ips = address;
	else
		rq.dns = address;
	return ca_issue(ca, &rq, out, e);
}

static int make_certificate(const struct config *c, struct ca *ca, struct err *e)
{
	char cert[CONFIG_PATH_CAP], key[CONFIG_PATH_CAP];
	struct ca_pair pair = {0};
	int rc = node_certificate(ca, c->node_id, c->address, NULL, node_certificate_ends(), &pair, e);
	if (rc != E_OK)
		return rc;
	rc = ca_pair_save(&pair, config_path(c, "cert.pem", cert), config_path(c, "key.pem", key), e);
	ca_pair_done(&pair);
	return rc;
}

static int make_ca(const struct config *c, struct err *e)
{
	char id[CLUSTER_ID_CAP], cert[CONFIG_PATH_CAP], key[CONFIG_PATH_CAP];
	struct ca *ca;
	int rc = ca_new(&ca, config_cluster_id(c, id), in_days(-1), in_days(CA_DAYS), e);
	if (rc != E_OK)
		return rc;
	rc = ca_save(ca, config_path(c, "ca.pem", cert), config_path(c, "ca-key.pem", key), e);
	if (rc == E_OK)
		rc = make_certificate(c, ca, e);
	ca_free(ca);
	return rc;
}

void init_take_places(const struct init_options *o, struct config *c)
{
	char sock[CONFIG_PATH_CAP];
	c->data = strdup(o->data);
	c->address = strdup(o->address);
	c->listen = strdup(o->listen);
	c->socket = strdup(o->socket != NULL ? o->socket : config_path(c, "admin.sock", sock));
	c->agent_port = o->agent_port;
	c->artifact_port = o->artifact_port;
	c->peer_port = o->peer_port;
	c->join_port = o->join_port;
}

static int take_options(const struct init_options *o, struct config *c, struct err *e)
{
	config_init(c);
	if (!name_set(&c->cluster, o->name))
		return err_set(e, E_INVALID, "init: '%s' is no name: [a-z0-9][a-z0-9._-]{0,63}", o->name);
	init_take_places(o, c);
	if (o->poll_wait_ms != 0) {
		c->poll_wait_ms = o->poll_wait_ms;
		c->suspect_ms = 3 * (int64_t)o->poll_wait_ms;
		c->lost_ms = 5 * (int64_t)o->poll_wait_ms;
	}
	return random_id(c, e);
}

int init_make_directory(const struct config *c, struct err *e)
{
	char path[CONFIG_PATH_CAP];
	struct stat st;
	if (mkdir(c->data, 0700) != 0 && errno != EEXIST)
		return err_sys(e, E_IO, errno, "init: cannot make %s", c->data);
	if (stat(config_path(c, "config.json", path), &st) == 0)
		return err_set(e, E_EXISTS,
			       "%s is a coordinator already; choose another --data, or `wavetraind run "
			       "--data %s`",
			       c->data, c->data);
	/* A log belongs to the id under which it was written. */
	if (node_has_log(c))
		return err_set(e, E_EXISTS,
			       "%s/raft holds the log of a coordinator that was here: choose an empty "
			       "--data, or put its "
			       "config.json back",
			       c->data);
	static const char *const folders[] = {"raft", "state", "artifacts"};
	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		if (mkdir(config_path(c, folders[i], path), 0700) != 0 && errno != EEXIST)
			return err_sys(e, E_IO, errno, "init: cannot make %s", path);
	return E_OK;
}

int init_run(const struct init_options *o, struct err *e)
{
	struct config c;
	int rc = take_options(o, &c, e);
	if (rc == E_OK)
		rc = init_make_directory(&c, e);
	if (rc == E_OK)
		rc = make_ca(&c, e);
	/* Last: its presence says that the coordinator is complete. */
	if (rc == E_OK)
		rc = config_save(&c, e);
	config_done(&c);
	return rc;
}
