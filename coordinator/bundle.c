/*
 * bundle.c: the join bundle of one host: who it is, whom to dial, the CA, and a certificate with its key. The
 * key is made here and kept nowhere (enrolment, where it never leaves the host, does not exist).
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/daemon.h"
#include "sys/ca.h"

enum { VALID_DAYS = 365 };

/* All that are known: a host finds the cluster although the one that made its bundle is gone. */
static json_t *addresses(struct daemon *d)
{
	size_t nr;
	const struct drive_coordinator *v = drive_known_coordinators(d->drive, &nr);
	json_t *list = json_array();
	for (size_t i = 0; i < nr; i++)
		json_array_append_new(list, json_string(v[i].address));
	return list;
}

static const char *coordinators_json(struct daemon *d, struct arena *a, const struct host *h,
				     uint64_t generation)
{
	char id[CLUSTER_ID_CAP];
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:I,s:o,s:I}", "cluster_id", config_cluster_id(&d->cfg, id),
			      "host", h->name.s, "region", h->region.s, "zone", h->zone.s, "generation",
			      (json_int_t)generation, "coordinators", addresses(d), "poll_wait_ms",
			      (json_int_t)d->cfg.poll_wait_ms);
	char *text = o == NULL ? NULL : json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS);
	const char *out = text == NULL ? NULL : arena_strdup(a, text);
	free(text);
	json_decref(o);
	return out;
}

static int issue(struct daemon *d, struct ca *ca, const struct name *host, uint64_t generation,
		 struct ca_pair *pair, struct err *e)
{
	int64_t now = (int64_t)time(NULL) * 1000;
	const struct ca_request rq = {.role = TLS_ROLE_AGENT,
				      .name = host->s,
				      .generation = generation,
				      .from = {now - 86400000}, /* clocks are not all right */
				      .to = {now + (int64_t)VALID_DAYS * 86400000}};
	return ca_issue(ca, &rq, pair, e);
}

static void add_file(struct arena *a, struct admin_file *f, const char *name, unsigned mode, const void *p,
		     size_t n)
{
	*f = (struct admin_file){.name = name, .mode = mode, .p = arena_memdup(a, p, n), .n = n};
}

static int fill(struct daemon *d, struct arena *a, struct ca *ca, const struct host *h, uint64_t generation,
		struct admin_file *files, struct err *e)
{
	struct ca_pair pair = {0};
	struct buf ca_pem;
	buf_init(&ca_pem);
	const char *json = coordinators_json(d, a, h, generation);
	int rc = json == NULL ? err_set(e, E_NOMEM, "bundle: cannot be written as JSON")
			      : ca_cert_pem(ca, &ca_pem, e);
	if (rc == E_OK)
		rc = issue(d, ca, &h->name, generation, &pair, e);
	if (rc == E_OK) {
		add_file(a, &files[0], "bundle.json", 0644, json, strlen(json));
		add_file(a, &files[1], "ca.pem", 0644, ca_pem.data, ca_pem.len);
		add_file(a, &files[2], "cert.pem", 0644, pair.cert.data, pair.cert.len);
		add_file(a, &files[3], "key.pem", 0600, pair.key.data, pair.key.len);
		ca_pair_done(&pair);
	}
	buf_done(&ca_pem);
	return rc;
}

int bundle_issue(void *backend, struct arena *a, const struct name *host, uint64_t generation,
		 struct admin_file **files, size_t *nr, struct err *e)
{
	enum { FILES = 4 };
	struct daemon *d = backend;
	struct ca *ca;
	struct host h;
	char cert[CONFIG_PATH_CAP], key[CONFIG_PATH_CAP];
	if (view_host(d->state, a, host, &h) != E_OK)
		return err_set(e, E_NOT_FOUND, "no host is named %s", host->s);
	int rc = ca_load(&ca, config_path(&d->cfg, "ca.pem", cert), config_path(&d->cfg, "ca-key.pem", key),
			 e);
	if (rc != E_OK)
		return err_wrap(e, "join bundle of %s", host->s);
	*files = arena_array(a, struct admin_file, FILES);
	*nr = FILES;
	rc = fill(d, a, ca, &h, generation, *files, e);
	ca_free(ca);
	return rc;
}
