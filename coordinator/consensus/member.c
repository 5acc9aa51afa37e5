/*
 * member.c: changes of the membership, one at a time, with the rules under which the engine is known to be
 * safe. A change is checked when it is asked for; then a barrier makes sure that this leader has committed
 * something of its own term; then it is checked again and given to the engine. Everything but the asking
 * happens in the turns of the loop, never inside the engine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/consensus/guard_conf.h"
#include "coordinator/consensus/internal.h"
#include "coordinator/consensus/peer_wire.h"

/* PRESENT_MS: followers answer each heartbeat, so one that was silent this long is away. CAUGHT_UP: entries
 * that may be under way to one that keeps up; the engine then waits for the last of them itself. */
enum { PRESENT_MS = 3000, CAUGHT_UP = 512 };
/* One voter is no better than one node, but no worse either: the guard's rules 11 to 13 lead there (0014). */
enum { LEAST_VOTERS = 1 };
static const uint64_t highest_possible_id = 9999999999999999999u; /* 19 digits, as in a certificate */

/* ---- what is known ---- */

const char *consensus_role_name(enum consensus_role role)
{
	static const char *const names[CONSENSUS_ROLE_NR] = {
		[CONSENSUS_SPARE] = "spare", [CONSENSUS_STANDBY] = "standby", [CONSENSUS_VOTER] = "voter"};
	return role > 0 && role < CONSENSUS_ROLE_NR ? names[role] : "?";
}

static enum consensus_role role_of(const struct raft_server *s)
{
	return s->role == RAFT_VOTER	 ? CONSENSUS_VOTER
	       : s->role == RAFT_STANDBY ? CONSENSUS_STANDBY
					 : CONSENSUS_SPARE;
}

static const struct raft_server *server_of(const struct consensus *c, uint64_t id)
{
	const struct raft_configuration *conf = &c->raft.configuration;
	for (unsigned i = 0; i < conf->n; i++)
		if (conf->servers[i].id == id)
			return &conf->servers[i];
	return NULL;
}

static uint64_t silent_ms(const struct consensus *c, uint64_t id)
{
	return c->peers ? peers_silent_ms(c->peers, id) : consensus_unknown;
}

static bool is_silent(const struct consensus *c, uint64_t id)
{
	return silent_ms(c, id) > PRESENT_MS;
}

static uint64_t lag_of(const struct consensus *c, const struct raft_server *s)
{
	if (!consensus_is_leader(c))
		return consensus_unknown;
	uint64_t last = raft_last_index((struct raft *)&c->raft);
	if (s->id == c->cfg.node_id)
		return last - c->raft.last_stored;
	return last - c->raft.leader_state.progress[s - c->raft.configuration.servers].match_index;
}

size_t consensus_members(const struct consensus *c, struct consensus_member_info out[CONSENSUS_MEMBERS_MAX])
{
	const struct raft_configuration *conf = &c->raft.configuration;
	uint64_t leader = consensus_leader(c, NULL, 0);
	size_t n = conf->n < CONSENSUS_MEMBERS_MAX ? conf->n : CONSENSUS_MEMBERS_MAX;
	for (size_t i = 0; i < n; i++) {
		const struct raft_server *s = &conf->servers[i];
		out[i] = (struct consensus_member_info){.id = s->id,
							.role = role_of(s),
							.self = s->id == c->cfg.node_id,
							.leader = s->id == leader,
							.lag = lag_of(c, s),
							.silent_ms = silent_ms(c, s->id)};
		snprintf(out[i].address, sizeof out[i].address, "%s", s->address);
	}
	return n;
}

const struct consensus_links *consensus_links(const struct consensus *c)
{
	static const struct consensus_links none;
	return c->peers ? peers_links(c->peers) : &none;
}

/* ---- who may link to us ---- */

const char *member_address(void *arg, uint64_t id)
{
	const struct consensus *c = arg;
	const struct raft_server *s = server_of(c, id);
	if (s)
		return s->address;
	for (size_t i = 0; id > c->highest_id && i < c->cfg.peers_nr; i++)
		if (c->cfg.peers[i].id == id)
			return c->cfg.peers[i].address;
	return NULL;
}

/*
 * A snapshot that was lost on its way is sent again only after the install timeout, a minute: for the engine
 * it was sent when it was in the socket pair. One that has to be sent again because its link is gone is late
 * now.
 */
void member_link_lost(void *arg, uint64_t id)
{
	struct consensus *c = arg;
	const struct raft_server *s = server_of(c, id);
	if (s && consensus_is_leader(c))
		c->raft.leader_state.progress[s - c->raft.configuration.servers].snapshot_last_send = 0;
}

static void note_ids(struct consensus *c, const struct raft_configuration *conf)
{
	for (unsigned i = 0; i < conf->n; i++)
		if (conf->servers[i].id > c->highest_id)
			c->highest_id = conf->servers[i].id;
}

static uint64_t newest_in_force(const struct consensus *c)
{
	const struct raft *r = &c->raft;
	return r->configuration_uncommitted_index ? r->configuration_uncommitted_index
						  : r->configuration_index;
}

/* Also of those that came and went within one message. What is not on the disk yet is not in force either. */
static void note_logged_ids(struct consensus *c)
{
	for (unsigned i = 0; i < c->guard.n_confs; i++) {
		struct raft_configuration conf;
		if (c->guard.confs[i].index > newest_in_force(c))
			break;
		raft_configuration_init(&conf);
		if (guard_conf_decode(&c->guard.confs[i], &conf) == 0)
			note_ids(c, &conf);
		raft_configuration_close(&conf);
	}
}

static uint64_t fingerprint(const struct consensus *c)
{
	const struct raft_configuration *conf = &c->raft.configuration;
	uint64_t h = 14695981039346656037u ^ newest_in_force(c);
	for (unsigned i = 0; i < conf->n; i++) {
		h = (h ^ conf->servers[i].id) * 1099511628211u;
		for (const char *p = conf->servers[i].address; *p; p++)
			h = (h ^ (uint8_t)*p) * 1099511628211u;
	}
	return h;
}

void member_look(struct consensus *c)
{
	uint64_t now = fingerprint(c);
	if (now == c->members_seen)
		return;
	c->members_seen = now;
	note_ids(c, &c->raft.configuration);
	note_logged_ids(c);
	if (c->peers)
		peers_membership_changed(c->peers);
}

/*
 * Nobody dials the only member there is, so its address may change until there is another. The next change of
 * the membership writes it to the log.
 */
static int take_new_address(struct consensus *c, struct raft_server *self, struct err *e)
{
	char *address = raft_malloc(strlen(c->address) + 1);
	if (!address)
		return err_set(e, E_NOMEM, "no memory for an address");
	strcpy(address, c->address);
	raft_free(self->address);
	self->address = address;
	return E_OK;
}

int member_check_own_address(struct consensus *c, struct err *e)
{
	struct raft_server *self = (struct raft_server *)server_of(c, c->cfg.node_id);
	if (!c->peers && c->raft.configuration.n > 1)
		return err_set(e, E_INVALID,
			       "coordinator %llu has %u peers by its log, and nowhere to listen for them: "
			       "give it its "
			       "address to listen on, and its certificates",
			       (unsigned long long)c->cfg.node_id, c->raft.configuration.n - 1);
	if (!self || strcmp(self->address, c->address) == 0)
		return E_OK;
	if (c->raft.configuration.n == 1)
		return take_new_address(c, self, e);
	return err_set(
		e, E_CONFLICT,
		"the cluster knows coordinator %llu as %s, not as %s, and would refuse it: start it with the "
		"old address, or remove it on the leader and add a new one with an empty directory",
		(unsigned long long)c->cfg.node_id, self->address, c->address);
}

/* ---- the rules ---- */

static int find_subject(const struct consensus *c, uint64_t id, const struct raft_server **out, struct err *e)
{
	*out = server_of(c, id);
	if (*out)
		return E_OK;
	return err_set(e, E_NOT_FOUND, "coordinator %llu is no member", (unsigned long long)id);
}

static int check_others_present(const struct consensus *c, uint64_t subject, struct err *e)
{
	const struct raft_configuration *conf = &c->raft.configuration;
	for (unsigned i = 0; i < conf->n; i++) {
		const struct raft_server *s = &conf->servers[i];
		if (s->id == subject || s->id == c->cfg.node_id || s->role == RAFT_SPARE ||
		    !is_silent(c, s->id))
			continue;
		return err_set(
			e, E_UNAVAILABLE,
			"coordinator %llu at %s is silent: the membership changes only while all members are "
			"there; start it, or remove it first",
			(unsigned long long)s->id, s->address);
	}
	return E_OK;
}

static int check_caught_up(const struct consensus *c, const struct raft_server *s, struct err *e)
{
	if (is_silent(c, s->id))
		return err_set(e, E_UNAVAILABLE, "coordinator %llu at %s is silent; start it, then ask again",
			       (unsigned long long)s->id, s->address);
	if (lag_of(c, s) > CAUGHT_UP)
		return err_set(e, E_CONFLICT,
			       "coordinator %llu is %llu entries behind; wait until it has caught up, then "
			       "ask again",
			       (unsigned long long)s->id, (unsigned long long)lag_of(c, s));
	return E_OK;
}

static int check_role(const struct raft_server *s, int role, struct err *e)
{
	if (s->role == role)
		return E_OK;
	const struct raft_server wanted = {.role = role};
	return err_set(e, E_CONFLICT, "coordinator %llu is a %s; this needs a %s", (unsigned long long)s->id,
		       consensus_role_name(role_of(s)), consensus_role_name(role_of(&wanted)));
}

static int check_new(const struct consensus *c, uint64_t id, const char *address, struct err *e)
{
	char host[PEER_ADDRESS_CAP];
	uint16_t port;
	const struct raft_configuration *conf = &c->raft.configuration;
	if (id == 0 || id > highest_possible_id)
		return err_set(e, E_INVALID, "a coordinator's id is a number of 1 to 19 digits, not 0");
	if (!address || !peer_address_parse(address, host, &port))
		return err_set(
			e, E_INVALID,
			"'%.300s' is no address that peers can dial: write name:port, 192.0.2.1:port or "
			"[2001:db8::1]:port",
			address ? address : "");
	for (unsigned i = 0; i < conf->n; i++)
		if (conf->servers[i].id == id || strcmp(conf->servers[i].address, address) == 0)
			return err_set(e, E_EXISTS, "coordinator %llu at %s is a member already",
				       (unsigned long long)conf->servers[i].id, conf->servers[i].address);
	if (id <= c->highest_id)
		return err_set(e, E_EXISTS,
			       "ids up to %llu were used, and a removed one never comes back: take a higher "
			       "one, with "
			       "its own certificate and an empty directory",
			       (unsigned long long)c->highest_id);
	if (conf->n >= CONSENSUS_MEMBERS_MAX)
		return err_set(e, E_TOO_LARGE, "a cluster has at most %d members", CONSENSUS_MEMBERS_MAX);
	return E_OK;
}

/* One that was added, but whose leader was lost before it became a standby: the same call goes on with it. */
static bool is_half_added(const struct consensus *c, uint64_t id, const char *address)
{
	const struct raft_server *s = server_of(c, id);
	return s && s->role == RAFT_SPARE && address && strcmp(s->address, address) == 0;
}

static int check_add(const struct consensus *c, uint64_t id, const char *address, struct err *e)
{
	int rc = is_half_added(c, id, address) ? E_OK : check_new(c, id, address, e);
	return rc ? rc : check_others_present(c, id, e);
}

static int check_promote(const struct consensus *c, uint64_t id, struct err *e)
{
	const struct raft_server *s;
	int rc = find_subject(c, id, &s, e);
	if (rc == E_OK)
		rc = check_role(s, RAFT_STANDBY, e);
	if (rc == E_OK)
		rc = check_others_present(c, id, e);
	return rc ? rc : check_caught_up(c, s, e);
}

static unsigned voters(const struct consensus *c)
{
	unsigned n = 0;
	for (unsigned i = 0; i < c->raft.configuration.n; i++)
		n += c->raft.configuration.servers[i].role == RAFT_VOTER;
	return n;
}

/* One that is away may go while others are away, too: else two dead ones of five could never be replaced. */
static int check_leaves(const struct consensus *c, const struct raft_server *s, struct err *e)
{
	if (s->id == c->cfg.node_id)
		return err_set(e, E_CONFLICT,
			       "coordinator %llu leads: hand over the lead first, then ask the new leader",
			       (unsigned long long)s->id);
	if (s->role == RAFT_VOTER && voters(c) - 1 < LEAST_VOTERS)
		return err_set(e, E_INFEASIBLE,
			       "%u voter is left, and %d must be: add and promote another "
			       "one first",
			       voters(c), LEAST_VOTERS);
	return is_silent(c, s->id) ? E_OK : check_others_present(c, s->id, e);
}

static int check_demote(const struct consensus *c, uint64_t id, struct err *e)
{
	const struct raft_server *s;
	int rc = find_subject(c, id, &s, e);
	if (rc == E_OK)
		rc = check_role(s, RAFT_VOTER, e);
	return rc ? rc : check_leaves(c, s, e);
}

static int check_remove(const struct consensus *c, uint64_t id, struct err *e)
{
	const struct raft_server *s;
	int rc = find_subject(c, id, &s, e);
	return rc ? rc : check_leaves(c, s, e);
}

static int check_transfer(const struct consensus *c, uint64_t id, struct err *e)
{
	const struct raft_server *s;
	if (id == 0)
		return voters(c) > 1 ? E_OK : err_set(e, E_NOT_FOUND, "there is no other voter to lead");
	int rc = find_subject(c, id, &s, e);
	if (rc == E_OK)
		rc = check_role(s, RAFT_VOTER, e);
	if (rc == E_OK && id == c->cfg.node_id)
		return err_set(e, E_CONFLICT, "coordinator %llu leads already", (unsigned long long)id);
	return rc ? rc : check_caught_up(c, s, e);
}

static int check_rules(const struct consensus *c, enum consensus_member_op op, uint64_t id,
		       const char *address, struct err *e)
{
	const struct raft *r = &c->raft;
	if (c->closing || !consensus_is_leader(c))
		return err_set(e, E_NOT_LEADER, "coordinator %llu does not lead its cluster; ask the leader",
			       (unsigned long long)c->cfg.node_id);
	if (r->transfer || r->configuration_uncommitted_index != 0 || r->leader_state.promotee_id != 0)
		return err_set(e, E_BUSY, "a change of the membership is not committed yet; wait for it");
	switch (op) {
	case CONSENSUS_MEMBER_ADD:
		return check_add(c, id, address, e);
	case CONSENSUS_MEMBER_PROMOTE:
		return check_promote(c, id, e);
	case CONSENSUS_MEMBER_DEMOTE:
		return check_demote(c, id, e);
	case CONSENSUS_MEMBER_REMOVE:
		return check_remove(c, id, e);
	case CONSENSUS_LEADER_TRANSFER:
		return check_transfer(c, id, e);
	}
	return err_set(e, E_INVALID, "there is no such change");
}

/* ---- one change from asking to done ---- */

int consensus_member(struct consensus *c, enum consensus_member_op op, uint64_t id, const char *address,
		     consensus_done_fn *done, void *arg, struct err *e)
{
	struct member_change *m = &c->member;
	if (!c->peers)
		return err_set(e, E_UNSUPPORTED,
			       "coordinator %llu does not listen for peers: start it with an address to "
			       "listen on, and "
			       "with certificates",
			       (unsigned long long)c->cfg.node_id);
	if (m->step != MEMBER_IDLE)
		return err_set(e, E_BUSY, "a change for coordinator %llu is under way; one at a time",
			       (unsigned long long)m->id);
	int rc = check_rules(c, op, id, address, e);
	if (rc)
		return rc;
	m->op = op;
	m->id = id;
	m->done = done;
	m->arg = arg;
	snprintf(m->address, sizeof m->address, "%s", address ? address : "");
	m->step = MEMBER_ASKED;
	return E_OK;
}

static void finish(struct consensus *c, int code, const char *text)
{
	struct member_change *m = &c->member;
	m->step = MEMBER_FINISHED;
	m->code = code;
	snprintf(m->text, sizeof m->text, "%s", text);
}

static void finish_status(struct consensus *c, int status)
{
	switch (status) {
	case 0:
		finish(c, E_OK, "");
		break;
	case RAFT_NOTLEADER:
		finish(c, E_NOT_LEADER, "the lead was lost before anything was written; ask the leader");
		break;
	case RAFT_CANTCHANGE:
		finish(c, E_BUSY, "another change is not committed yet");
		break;
	case RAFT_NOCONNECTION:
		finish(c, E_TIMEOUT,
		       "it did not catch up in time; nothing has changed, ask again when it has");
		break;
	default:
		finish(c, E_UNKNOWN_OUTCOME, "the lead was lost meanwhile; list the members on the leader");
	}
}

static void change_done(struct raft_change *req, int status)
{
	struct consensus *c = req->data;
	struct member_change *m = &c->member;
	if (m->step != MEMBER_UNDER_WAY)
		return;
	if (status == 0 && m->op == CONSENSUS_MEMBER_ADD && !m->assigned)
		m->step = MEMBER_BARRIER_DONE; /* a spare now; next a standby */
	else
		finish_status(c, status);
}

static void transfer_done(struct raft_transfer *req)
{
	struct consensus *c = req->data;
	if (c->member.step != MEMBER_UNDER_WAY)
		return;
	if (consensus_leader(c, NULL, 0) == req->id)
		finish(c, E_OK, "");
	else if (consensus_is_leader(c))
		finish(c, E_TIMEOUT, "it did not take the lead; nothing has changed, ask again");
	else
		finish(c, E_UNKNOWN_OUTCOME, "nobody is known to lead yet");
}

static int assign(struct consensus *c, int role)
{
	struct member_change *m = &c->member;
	m->assigned = true;
	return raft_assign(&c->raft, &m->change, m->id, role, change_done);
}

static int submit(struct consensus *c)
{
	struct member_change *m = &c->member;
	switch (m->op) {
	case CONSENSUS_MEMBER_ADD:
		if (is_half_added(c, m->id, m->address))
			return assign(c, RAFT_STANDBY);
		return raft_add(&c->raft, &m->change, m->id, m->address, change_done);
	case CONSENSUS_MEMBER_PROMOTE:
		return assign(c, RAFT_VOTER);
	case CONSENSUS_MEMBER_DEMOTE:
		return assign(c, RAFT_STANDBY);
	case CONSENSUS_MEMBER_REMOVE:
		return raft_remove(&c->raft, &m->change, m->id, change_done);
	case CONSENSUS_LEADER_TRANSFER:
		break;
	}
	return raft_transfer(&c->raft, &m->transfer, m->id, transfer_done);
}

/* Looked at again: since it was asked for, others may have fallen silent. */
static void begin_change(struct consensus *c)
{
	struct member_change *m = &c->member;
	struct err e;
	if (c->raft.current_term != m->term) {
		finish(c, E_NOT_LEADER, "the lead was lost before anything was written; ask the leader");
		return;
	}
	int rc = check_rules(c, m->op, m->id, m->address, &e);
	if (rc == E_OK && !guard_may_change_members(&c->guard)) /* the barrier made it so */
		rc = err_set(&e, E_BUSY, "nothing of this term is committed yet; try again");
	if (rc) {
		finish(c, rc, e.text);
		return;
	}
	m->change.data = m->transfer.data = c;
	m->step = MEMBER_UNDER_WAY;
	int rv = submit(c);
	if (rv != 0)
		finish_status(c, rv);
}

static void barrier_done(struct raft_barrier *req, int status)
{
	struct consensus *c = req->data;
	if (c->member.step != MEMBER_BARRIER)
		return;
	if (status == 0)
		c->member.step = MEMBER_BARRIER_DONE;
	else
		finish_status(c, RAFT_NOTLEADER); /* of the change itself nothing was written */
}

static void begin_barrier(struct consensus *c)
{
	struct member_change *m = &c->member;
	m->assigned = false;
	m->term = c->raft.current_term;
	m->barrier.data = c;
	m->step = MEMBER_BARRIER;
	int rv = raft_barrier(&c->raft, &m->barrier, barrier_done);
	if (rv != 0)
		finish_status(c, rv);
}

void member_turn(struct consensus *c)
{
	member_look(c);
	if (c->member.step == MEMBER_ASKED)
		begin_barrier(c);
	if (c->member.step == MEMBER_BARRIER_DONE)
		begin_change(c);
	member_look(c); /* one who was just removed is cut off in this turn */
}

void member_deliver(struct consensus *c)
{
	struct member_change *m = &c->member;
	if (m->step != MEMBER_FINISHED)
		return;
	m->step = MEMBER_IDLE; /* it may ask for the next */
	m->done(m->arg, m->code, c->applied, m->text, strlen(m->text));
}

void member_refuse(struct consensus *c, int code)
{
	if (c->member.step != MEMBER_IDLE && c->member.step != MEMBER_FINISHED)
		finish(c, code, "this coordinator stops");
}
