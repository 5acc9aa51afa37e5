#include "coordinator/consensus/consensus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/consensus/internal.h"
#include "sys/dirlock.h"
#include "sys/log.h"

enum { EXIT_STORAGE = 70, ELECTION_MS = 500, HEARTBEAT_MS = 50, INSTALL_MS = 60000, RETRY_MS = 200 };
enum { SEGMENT_BYTES = 8 * 1024 * 1024 };
static const uint64_t default_min_free = (uint64_t)512 << 20;

static void log_and_exit(void *arg, const char *text)
{
	struct consensus *c = arg;
	log_error("consensus", "%s: %s", c->dir, text);
	_exit(EXIT_STORAGE);
}

static void on_fatal(void *arg, const char *text)
{
	struct consensus *c = arg;
	if (c->cfg.fatal)
		c->cfg.fatal(c->cfg.fatal_arg, text);
	log_and_exit(c, text);
}

static void on_loaded(void *arg, raft_index last_index)
{
	fsm_loaded(arg, last_index);
}

/* On an error of its own the engine falls silent for good; a process that runs on would look alive. */
static void stop_if_engine_did(struct consensus *c)
{
	char text[768];
	if (c->closing || c->raft.state != RAFT_UNAVAILABLE)
		return;
	snprintf(text, sizeof text,
		 "the engine stopped (%s; %s). Nothing unwritten was acknowledged. Start again; if it stops "
		 "again, "
		 "restore this node from a healthy peer",
		 c->raft.errmsg[0] ? c->raft.errmsg : "it does not say why",
		 c->io.errmsg[0] ? c->io.errmsg : "nothing of its storage");
	on_fatal(c, text);
}

/* Once per loop turn, before the loop waits: commit, then speak, then hand the engine what was collected. */
static void on_prepare(uv_prepare_t *h)
{
	struct consensus *c = h->data;
	if (!c->closing && engine_io_failed(c))
		on_fatal(c, "a file of the log cannot be written, made or closed: disk error. Nothing "
			    "unwritten was "
			    "acknowledged. Free or repair the disk, then start again");
	stop_if_engine_did(c);
	fsm_commit(c);
	propose_deliver(c);
	member_turn(c);
	propose_flush(c);
	propose_deliver(c);
	member_deliver(c);
}

static int check_config(const struct consensus_config *cfg, struct err *e)
{
	if (cfg->node_id == 0)
		return err_set(e, E_INVALID, "the node id must not be 0");
	if (!cfg->dir || !cfg->address || !cfg->fsm)
		return err_set(e, E_INVALID,
			       "directory, address and state machine are needed to open the log");
	if (cfg->join && !cfg->listen)
		return err_set(e, E_INVALID,
			       "a node that joins needs an address to listen on, or nobody can add it");
	return E_OK;
}

static char *copy(const char *s)
{
	char *own = strdup(s);
	PRE(own);
	return own;
}

static void copy_peers(struct consensus *c)
{
	size_t n = c->cfg.peers_nr;
	struct consensus_peer *own = calloc(n ? n : 1, sizeof *own);
	PRE(own);
	for (size_t i = 0; i < n; i++)
		own[i] = (struct consensus_peer){.id = c->cfg.peers[i].id,
						 .address = copy(c->cfg.peers[i].address)};
	c->cfg.peers = own;
}

static void free_peers(struct consensus *c)
{
	for (size_t i = 0; i < c->cfg.peers_nr; i++)
		free((char *)c->cfg.peers[i].address);
	free((struct consensus_peer *)c->cfg.peers);
}

static struct consensus *new_from(const struct consensus_config *cfg, uv_loop_t *loop)
{
	struct consensus *c = calloc(1, sizeof *c);
	PRE(c);
	c->cfg = *cfg;
	c->loop = loop;
	c->lock_fd = -1;
	c->dir = copy(cfg->dir);
	c->address = copy(cfg->address);
	copy_peers(c);
	if (!c->cfg.snapshot_threshold)
		c->cfg.snapshot_threshold = 16384;
	if (!c->cfg.snapshot_trailing)
		c->cfg.snapshot_trailing = 8192;
	if (!c->cfg.min_free_bytes)
		c->cfg.min_free_bytes = default_min_free;
	propose_init(c);
	fsm_init(c);
	return c;
}

static void free_all(struct consensus *c)
{
	guard_done(&c->guard);
	propose_done(c);
	fsm_done(c);
	if (c->lock_fd >= 0)
		close(c->lock_fd);
	peers_free(c->peers);
	free_peers(c);
	free(c->dir);
	free(c->address);
	free(c);
}

static int engine_failed(struct consensus *c, const char *what, int rv, struct err *e)
{
	const char *why = c->raft.errmsg[0] ? c->raft.errmsg : c->io.errmsg;
	const struct err *listen = c->peers ? peers_listen_error(c->peers) : NULL;
	if (listen) {
		*e = *listen;
		return e->code;
	}
	if (c->restore_failed != E_OK)
		return err_set(e, c->restore_failed,
			       "%s: the snapshot does not match its checksum or the state machine "
			       "refused it; restore a backup",
			       c->dir);
	if (rv == RAFT_CORRUPT || rv == RAFT_MALFORMED)
		return err_set(e, E_CORRUPT, "%s/log is damaged (%s: %s); restore a backup", c->dir,
			       raft_strerror(rv), why);
	return err_set(e, E_IO, "cannot %s in %s/log: %s: %s", what, c->dir, raft_strerror(rv), why);
}

static int init_links(struct consensus *c, struct err *e)
{
	const struct peers_config cfg = {.id = c->cfg.node_id,
					 .address = c->address,
					 .listen = c->cfg.listen,
					 .tls = c->cfg.tls,
					 .address_of = member_address,
					 .lost = member_link_lost,
					 .arg = c};
	if (c->cfg.listen)
		return peers_new(&c->peers, &c->transport, c->loop, &cfg, e);
	no_links_init(&c->transport);
	return E_OK;
}

static int init_io(struct consensus *c, struct err *e)
{
	char log[4096];
	snprintf(log, sizeof log, "%s/log", c->dir);
	if (mkdir(log, 0700) != 0 && errno != EEXIST)
		return err_sys(e, E_IO, errno, "cannot create %s", log);
	int rv = init_links(c, e);
	if (rv != E_OK)
		return rv;
	rv = raft_uv_init(&c->io, c->loop, log, &c->transport);
	if (rv != 0)
		return err_set(e, E_IO, "cannot use %s for the log: %s", log, raft_strerror(rv));
	c->io.version = 2; /* it has async_work, but says 1 */
	raft_uv_set_auto_recovery(&c->io, false);
	raft_uv_set_segment_size(&c->io, SEGMENT_BYTES);
	raft_uv_set_connect_retry_delay(&c->io, RETRY_MS);
	(void)raft_uv_set_snapshot_compression(&c->io, false);
	engine_io_closes_late(c);
	rv = engine_io_check(c, log, e);
	if (rv != E_OK)
		raft_uv_close(&c->io);
	return rv;
}

static void set_timing(struct consensus *c)
{
	raft_set_election_timeout(&c->raft, ELECTION_MS);
	raft_set_heartbeat_timeout(&c->raft, HEARTBEAT_MS);
	raft_set_install_snapshot_timeout(&c->raft, INSTALL_MS);
	raft_set_snapshot_threshold(&c->raft, c->cfg.snapshot_threshold);
	raft_set_snapshot_trailing(&c->raft, c->cfg.snapshot_trailing);
	raft_set_pre_vote(&c->raft, true);
}

/* A log that exists already refuses this, and keeps its own membership. */
static int bootstrap(struct consensus *c)
{
	struct raft_configuration conf;
	raft_configuration_init(&conf);
	int rv = raft_configuration_add(&conf, c->cfg.node_id, c->address, RAFT_VOTER);
	if (rv == 0)
		rv = raft_bootstrap(&c->raft, &conf);
	raft_configuration_close(&conf);
	return rv == RAFT_CANTBOOTSTRAP ? 0 : rv;
}

static void engine_closed(struct raft *r)
{
	struct guard *g = r->data;
	struct consensus *c = g->hooks.arg;
	raft_uv_close(&c->io);
	if (c->closed) {
		fsm_commit(c);
		propose_deliver(c);
		member_deliver(c);
		c->closed(c->closed_arg);
	}
	free_all(c);
}

static int start_engine(struct consensus *c, struct err *e)
{
	static const char *const what = "open the log";
	int rv = c->cfg.join ? 0 : bootstrap(c);
	if (rv != 0)
		return engine_failed(c, "create the log", rv, e);
	rv = raft_start(&c->raft);
	if (rv != 0)
		return engine_failed(c, what, rv, e);
	guard_started(&c->guard);
	member_look(c);
	return member_check_own_address(c, e);
}

static void start_turns(struct consensus *c)
{
	fsm_commit(c);
	uv_prepare_init(c->loop, &c->prepare);
	c->prepare.data = c;
	uv_prepare_start(&c->prepare, on_prepare);
}

static int open_engine(struct consensus *c, struct err *e)
{
	struct guard_hooks hooks = {.arg = c, .fatal = on_fatal, .loaded = on_loaded};
	int rv = raft_init(&c->raft, &c->io, &c->fsm, c->cfg.node_id, c->address);
	if (rv != 0) {
		rv = engine_failed(c, "open the log", rv, e);
		raft_uv_close(&c->io);
		return rv;
	}
	guard_install(&c->guard, &c->raft, &hooks, 0);
	set_timing(c);
	return E_OK;
}

int consensus_open(struct consensus **out, struct uv_loop_s *loop, const struct consensus_config *cfg,
		   struct err *e)
{
	int rv = check_config(cfg, e);
	if (rv != E_OK)
		return rv;
	struct consensus *c = new_from(cfg, loop);
	rv = dirlock_take(c->dir, &c->lock_fd, e);
	if (rv == E_OK)
		rv = init_io(c, e);
	if (rv == E_OK)
		rv = open_engine(c, e);
	if (rv != E_OK) {
		free_all(c);
		return rv;
	}
	rv = start_engine(c, e);
	if (rv != E_OK) {
		guard_closing(&c->guard);
		raft_close(&c->raft, engine_closed); /* frees c on a later turn of the loop */
		return rv;
	}
	start_turns(c);
	*out = c;
	return E_OK;
}

static void prepare_closed(uv_handle_t *h)
{
	struct consensus *c = h->data;
	propose_refuse_queue(c, E_NOT_LEADER);
	member_refuse(c, c->member.step < MEMBER_UNDER_WAY ? E_NOT_LEADER : E_UNKNOWN_OUTCOME);
	guard_closing(&c->guard);
	raft_close(&c->raft, engine_closed);
}

void consensus_close(struct consensus *c, consensus_closed_fn *closed, void *arg)
{
	PRE(!c->closing);
	c->closing = true;
	c->closed = closed;
	c->closed_arg = arg;
	uv_close((uv_handle_t *)&c->prepare, prepare_closed);
}

uint64_t consensus_applied(const struct consensus *c)
{
	return c->applied;
}

uint64_t consensus_snapshot(const struct consensus *c)
{
	return c->raft.log.snapshot.last_index;
}

uint64_t consensus_term(const struct consensus *c)
{
	return c->raft.current_term;
}

bool consensus_is_leader(const struct consensus *c)
{
	return c->raft.state == RAFT_LEADER;
}

uint64_t consensus_leader(const struct consensus *c, char *address, size_t n)
{
	raft_id id = 0;
	const char *a = NULL;
	raft_leader((struct raft *)&c->raft, &id, &a);
	if (address && n > 0)
		snprintf(address, n, "%s", a ? a : "");
	return id;
}
