/*
 * enter.c: `wavetraind join`: a new coordinator of a cluster that is there. Its key is made here and stays
 * here; the configuration is written last, so that a join that was interrupted can be said again, with the
 * same key.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/cluster/invite.h"
#include "coordinator/cluster/visit.h"
#include "coordinator/consensus/peer_wire.h"
#include "coordinator/daemon.h"
#include "proto/join.pb-c.h"
#include "proto/scan.h"
#include "sys/csr.h"
#include "sys/fsio.h"
#include "sys/tls.h"

enum { PATIENCE_S = 60, HOPS_MAX = 8, KEY_FILE_MAX = 16 * 1024 };

struct joining {
	struct config cfg;
	struct invite token;
	char address[CONSENSUS_ADDRESS_CAP]; /* whom to ask next */
	struct buf request, answer;
	Join__Answer *said;
};

/* ---- the question
 * ------------------------------------------------------------------------------------------------- */

/* The key of an earlier try is used again: to the cluster that is the same coordinator. */
static int have_key(const struct config *c, struct buf *key, struct err *e)
{
	char path[CONFIG_PATH_CAP];
	config_path(c, "key.pem", path);
	if (access(path, F_OK) == 0)
		return fsio_read(path, KEY_FILE_MAX, key, e);
	int rc = csr_key_new(key, e);
	return rc == E_OK ? fsio_write_atomic(path, key->data, key->len, 0600, e) : rc;
}

static int make_csr(const struct config *c, struct buf *csr, struct err *e)
{
	struct buf key;
	buf_init(&key);
	int rc = have_key(c, &key, e);
	if (rc == E_OK)
		rc = csr_new(buf_cstr(&key), csr, e);
	if (key.len > 0)
		explicit_bzero(key.data, key.len);
	buf_done(&key);
	return rc;
}

static int make_request(struct joining *j, struct err *e)
{
	const struct config *c = &j->cfg;
	Join__Request m = JOIN__REQUEST__INIT;
	struct buf csr;
	buf_init(&csr);
	int rc = make_csr(c, &csr, e);
	m.version = 1;
	m.secret = (ProtobufCBinaryData){.data = j->token.secret, .len = sizeof j->token.secret};
	m.csr = (ProtobufCBinaryData){.data = csr.data, .len = csr.len};
	m.address = c->address;
	m.peer_port = c->peer_port;
	m.agent_port = c->agent_port;
	m.artifact_port = c->artifact_port;
	m.join_port = c->join_port;
	m.program = (char *)(uintptr_t)WAVETRAIN_VERSION;
	if (rc == E_OK)
		j->request.len =
			join__request__pack(&m, buf_reserve(&j->request, join__request__get_packed_size(&m)));
	buf_done(&csr);
	return rc;
}

/* ---- the conversation
 * --------------------------------------------------------------------------------------------- */

static int code_of(const char *name)
{
	for (int i = 1; i < E_NR; i++)
		if (strcmp(err_name(i), name) == 0)
			return i;
	return E_INTERNAL;
}

static int ask(struct joining *j, struct err *e)
{
	buf_reset(&j->answer);
	if (j->said != NULL)
		join__answer__free_unpacked(j->said, NULL);
	j->said = NULL;
	int rc = visit_ask(j->address, &j->token.ca, &j->request, &j->answer, e);
	if (rc != E_OK)
		return rc;
	if (scan_fits(&join__answer__descriptor, j->answer.data, j->answer.len))
		j->said = join__answer__unpack(NULL, j->answer.len, j->answer.data);
	if (j->said == NULL || j->said->body_case == JOIN__ANSWER__BODY__NOT_SET)
		return err_set(e, E_PROTOCOL,
			       "%s: the answer cannot be read: install the same release on both", j->address);
	if (j->said->body_case == JOIN__ANSWER__BODY_PROBLEM)
		return err_set(e, code_of(j->said->problem->code), "%s: %s", j->address,
			       j->said->problem->text);
	return E_OK;
}

/* Who is asked may know only who leads; between two leaders nobody does. Then the named address is the way
 * in. */
static int ask_until_told(struct joining *j, struct err *e)
{
	time_t end = time(NULL) + PATIENCE_S;
	for (unsigned hops = 0;;) {
		int rc = ask(j, e);
		if (rc == E_OK && j->said->body_case == JOIN__ANSWER__BODY_JOINED)
			return E_OK;
		if (rc == E_OK && strlen(j->said->leader) < sizeof j->address && ++hops <= HOPS_MAX) {
			strcpy(j->address, j->said->leader);
			continue;
		}
		if (rc == E_OK)
			return err_set(e, E_UNAVAILABLE,
				       "each coordinator says that another one leads; try again");
		if (err_class(rc) != ERR_TRANSIENT)
			return rc;
		if (time(NULL) >= end)
			return err_wrap(e,
					"nobody lets anyone in, which they do only while a token is valid");
		strcpy(j->address, j->token.address);
		sleep(1);
	}
}

/* ---- keeping what was said
 * ---------------------------------------------------------------------------------------- */

static int keep_file(const struct config *c, const char *name, const ProtobufCBinaryData *p, mode_t mode,
		     struct err *e)
{
	char path[CONFIG_PATH_CAP];
	return fsio_write_atomic(config_path(c, name, path), p->data, p->len, mode, e);
}

static int take_cluster(struct config *c, const Join__Joined *m, struct err *e)
{
	if (m->node_id == 0 || !name_set(&c->cluster, m->cluster))
		return err_set(e, E_PROTOCOL, "the answer names no cluster, or no node");
	c->cluster_hi = m->cluster_hi;
	c->cluster_lo = m->cluster_lo;
	c->node_id = m->node_id;
	c->joined = true;
	c->poll_wait_ms = m->poll_wait_ms;
	c->suspect_ms = m->suspect_ms;
	c->lost_ms = m->lost_ms;
	c->grace_ms = m->grace_ms;
	for (size_t i = 0; i < m->n_members; i++)
		config_add_member(c, m->members[i]->id, m->members[i]->address);
	return E_OK;
}

/* What was signed belongs to our key, under the CA that the token named: else it would fail at the first
 * start. */
static int check_kept(const struct config *c, struct err *e)
{
	char ca[CONFIG_PATH_CAP], cert[CONFIG_PATH_CAP], key[CONFIG_PATH_CAP];
	const struct tls_files files = {config_path(c, "ca.pem", ca), config_path(c, "cert.pem", cert),
					config_path(c, "key.pem", key)};
	SSL_CTX *ctx;
	int rc = tls_ctx_load(&ctx, TLS_SERVER, &files, e);
	if (rc == E_OK)
		SSL_CTX_free(ctx);
	return rc;
}

static int keep(struct joining *j, struct err *e)
{
	const Join__Joined *m = j->said->joined;
	int rc = keep_file(&j->cfg, "ca-key.pem", &m->ca_key, 0600, e);
	if (rc == E_OK)
		rc = keep_file(&j->cfg, "ca.pem", &m->ca_cert, 0644, e);
	if (rc == E_OK)
		rc = keep_file(&j->cfg, "cert.pem", &m->cert, 0644, e);
	if (rc == E_OK)
		rc = check_kept(&j->cfg, e);
	if (rc == E_OK)
		rc = take_cluster(&j->cfg, m, e);
	return rc == E_OK ? config_save(&j->cfg, e) : rc;
}

/* ---- all of it
 * ---------------------------------------------------------------------------------------------------- */

static bool is_this_machine(const char *host)
{
	return strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

static int check_places(const struct config *c, const char *theirs, struct err *e)
{
	char address[CONSENSUS_ADDRESS_CAP], host[PEER_ADDRESS_CAP];
	uint16_t port;
	if (is_this_machine(c->address) && peer_address_parse(theirs, host, &port) && !is_this_machine(host))
		return err_set(e, E_INVALID,
			       "--address %s means another machine to each of them: give the name or address "
			       "by which the "
			       "others dial this one",
			       c->address);
	if (c->peer_port != 0 &&
	    peer_address_parse(config_join_host_port(c->address, c->peer_port, address), host, &port))
		return E_OK;
	return err_set(e, E_INVALID,
		       "a coordinator that joins needs an --address and a --peer-port that the others dial");
}

static int run(struct joining *j, struct err *e)
{
	int rc = check_places(&j->cfg, j->token.address, e);
	if (rc == E_OK)
		rc = init_make_directory(&j->cfg, e);
	if (rc == E_OK)
		rc = make_request(j, e);
	strcpy(j->address, j->token.address);
	if (rc == E_OK)
		rc = ask_until_told(j, e);
	return rc == E_OK ? keep(j, e) : rc;
}

int enter_run(const struct init_options *o, const char *token, uint64_t *node_id, struct err *e)
{
	struct joining j = {0};
	int rc = invite_decode(&j.token, token, e);
	if (rc != E_OK)
		return rc;
	signal(SIGPIPE, SIG_IGN);
	config_init(&j.cfg);
	init_take_places(o, &j.cfg);
	buf_init(&j.request);
	buf_init(&j.answer);
	rc = run(&j, e);
	*node_id = j.cfg.node_id;
	if (j.said != NULL)
		join__answer__free_unpacked(j.said, NULL);
	buf_done(&j.request);
	buf_done(&j.answer);
	config_done(&j.cfg);
	return rc;
}
