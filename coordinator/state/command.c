/*
 * command.c: commands as bytes. command_encode and command_decode are paired, kind by kind.
 */
#include "coordinator/state/command.h"

#include "base/buf.h"
#include "coordinator/state/codec.h"
#include "proto/command.pb-c.h"
#include "proto/envelope.h"

/* Each kind with its body, for both ways. */
#define KINDS(X)                                                                                             \
	X(CLUSTER_INIT, INIT)                                                                                \
	X(APP_PUT, APP_PUT)                                                                                  \
	X(ENV_PUT, ENV_PUT)                                                                                  \
	X(HOST_ADD, HOST_ADD)                                                                                \
	X(HOST_REMOVE, HOST_REMOVE)                                                                          \
	X(RELEASE_ADD, RELEASE_ADD)                                                                          \
	X(TARGET_RELEASE, TARGET_RELEASE)                                                                    \
	X(DEPLOY, DEPLOY)                                                                                    \
	X(VERB, VERB)                                                                                        \
	X(ROLLOUT_MOVE, ROLLOUT_MOVE)                                                                        \
	X(WAVE_MOVE, WAVE_MOVE)                                                                              \
	X(ASSIGN, ASSIGN)                                                                                    \
	X(TASK_RESULTS, RESULTS)                                                                             \
	X(TASK_JOIN, JOIN)                                                                                   \
	X(NODE_PUT, NODE_PUT)                                                                                \
	X(NODE_JOIN, NODE_JOIN)                                                                              \
	X(NODE_REMOVE, NODE_REMOVE)                                                                          \
	X(TOKEN_CREATE, TOKEN_CREATE)                                                                        \
	X(TOKEN_REVOKE, TOKEN_REVOKE)

#define BODY_OF(KIND, BODY) [COMMAND_##KIND] = CMD__COMMAND__BODY_##BODY,
static const Cmd__Command__BodyCase bodies[COMMAND_KIND_NR] = {KINDS(BODY_OF)};
#define KIND_OF(KIND, BODY) [CMD__COMMAND__BODY_##BODY] = COMMAND_##KIND,
static const enum command_kind kinds[] = {KINDS(KIND_OF)};

/* ---- to a message
 * -------------------------------------------------------------------------------------------------- */

static Cmd__Deploy *deploy_message(struct arena *a, const struct command_deploy *d)
{
	Cmd__Deploy *m = arena_new(a, Cmd__Deploy);
	cmd__deploy__init(m);
	m->deployment = deployment_message(a, &d->deployment);
	m->spec = (ProtobufCBinaryData){.len = d->spec_len, .data = arena_memdup(a, d->spec, d->spec_len)};
	m->plan = digest_bytes(a, &d->plan);
	m->state_index = d->state_index;
	m->force_bad = d->force_bad;
	m->n_waves = d->waves_nr;
	m->waves = arena_array(a, Row__Wave *, d->waves_nr);
	for (size_t i = 0; i < d->waves_nr; i++)
		m->waves[i] = wave_message(a, &d->waves[i]);
	m->n_tasks = d->tasks_nr;
	m->tasks = arena_array(a, Row__Task *, d->tasks_nr);
	for (size_t i = 0; i < d->tasks_nr; i++)
		m->tasks[i] = task_message(a, &d->tasks[i]);
	return m;
}

static Cmd__Result *result_message(struct arena *a, const struct task_result *r)
{
	Cmd__Result *m = arena_new(a, Cmd__Result);
	cmd__result__init(m);
	m->deployment = r->deployment.v;
	m->host = codec_text(a, r->host.s);
	m->seq = r->seq;
	m->state = (uint32_t)r->state;
	m->cause = (uint32_t)r->cause;
	m->reason = codec_text(a, r->reason);
	m->evidence = evidence_message(a, &r->evidence);
	return m;
}

static Cmd__Results *results_message(struct arena *a, const struct command *c)
{
	Cmd__Results *m = arena_new(a, Cmd__Results);
	cmd__results__init(m);
	m->n_v = c->results.nr;
	m->v = arena_array(a, Cmd__Result *, c->results.nr);
	for (size_t i = 0; i < c->results.nr; i++)
		m->v[i] = result_message(a, &c->results.v[i]);
	return m;
}

static Cmd__Assign *assign_message(struct arena *a, const struct command *c)
{
	Cmd__Assign *m = arena_new(a, Cmd__Assign);
	cmd__assign__init(m);
	m->deployment = c->assign.deployment.v;
	m->direction = (uint32_t)c->assign.direction;
	m->term = c->assign.term;
	m->stop = c->assign.stop;
	m->n_hosts = c->assign.hosts_nr;
	m->hosts = arena_array(a, char *, c->assign.hosts_nr);
	for (size_t i = 0; i < c->assign.hosts_nr; i++)
		m->hosts[i] = codec_text(a, c->assign.hosts[i].s);
	return m;
}

#define SMALL(Type, lower, var)                                                                              \
	Cmd__##Type *var = arena_new(a, Cmd__##Type);                                                        \
	cmd__##lower##__init(var)

static void moves_message(struct arena *a, const struct command *c, Cmd__Command *m)
{
	if (c->kind == COMMAND_ROLLOUT_MOVE) {
		SMALL(RolloutMove, rollout_move, x);
		x->deployment = c->rollout_move.deployment.v;
		x->from = (uint32_t)c->rollout_move.from;
		x->to = (uint32_t)c->rollout_move.to;
		x->blames_target = c->rollout_move.blames_target;
		x->superseded_by = c->rollout_move.superseded_by.v;
		x->hosts_nr = c->rollout_move.hosts_nr;
		m->rollout_move = x;
	} else {
		SMALL(WaveMove, wave_move, x);
		x->deployment = c->wave_move.deployment.v;
		x->wave = c->wave_move.wave;
		x->from = (uint32_t)c->wave_move.from;
		x->to = (uint32_t)c->wave_move.to;
		x->revision = c->wave_move.revision;
		m->wave_move = x;
	}
}

static void verb_message(struct arena *a, const struct command *c, Cmd__Command *m)
{
	SMALL(Verb, verb, x);
	x->deployment = c->verb.deployment.v;
	x->verb = (uint32_t)c->verb.verb;
	x->wave = c->verb.wave;
	m->verb = x;
}

static void join_message(struct arena *a, const struct command *c, Cmd__Command *m)
{
	SMALL(Join, join, x);
	x->deployment = c->join.deployment.v;
	x->wave = c->join.wave;
	x->host = codec_text(a, c->join.host.s);
	m->join = x;
}

static void nouns_message(struct arena *a, const struct command *c, Cmd__Command *m)
{
	if (c->kind == COMMAND_CLUSTER_INIT) {
		SMALL(Init, init, x);
		x->cluster_hi = c->init.cluster_hi;
		x->cluster_lo = c->init.cluster_lo;
		x->name = codec_text(a, c->init.name.s);
		m->init = x;
	} else if (c->kind == COMMAND_HOST_REMOVE) {
		SMALL(HostRemove, host_remove, x);
		x->name = codec_text(a, c->host_remove.s);
		m->host_remove = x;
	} else {
		SMALL(TargetRelease, target_release, x);
		x->app = codec_text(a, c->target_release.app.s);
		x->target = digest_bytes(a, &c->target_release.target);
		m->target_release = x;
	}
}

/* Of the cluster of coordinators. */
static void cluster_message(struct arena *a, const struct command *c, Cmd__Command *m)
{
	if (c->kind == COMMAND_NODE_PUT) {
		m->node_put = node_message(a, &c->node_put);
	} else if (c->kind == COMMAND_NODE_JOIN) {
		SMALL(NodeJoin, node_join, x);
		x->secret = digest_bytes(a, &c->node_join.secret);
		x->node = node_message(a, &c->node_join.node);
		m->node_join = x;
	} else if (c->kind == COMMAND_NODE_REMOVE) {
		SMALL(NodeRemove, node_remove, x);
		x->id = c->node_remove;
		m->node_remove = x;
	} else if (c->kind == COMMAND_TOKEN_CREATE) {
		m->token_create = join_token_message(a, &c->token_create);
	} else {
		SMALL(TokenRevoke, token_revoke, x);
		x->secret = digest_bytes(a, &c->token_revoke);
		m->token_revoke = x;
	}
}

static void body_message(struct arena *a, const struct command *c, Cmd__Command *m)
{
	PRE(c->kind < COMMAND_KIND_NR);
	m->body_case = bodies[c->kind];
	switch (c->kind) {
	case COMMAND_CLUSTER_INIT:
	case COMMAND_HOST_REMOVE:
	case COMMAND_TARGET_RELEASE:
		nouns_message(a, c, m);
		return;
	case COMMAND_APP_PUT:
		m->app_put = app_message(a, &c->app);
		return;
	case COMMAND_ENV_PUT:
		m->env_put = environment_message(a, &c->env);
		return;
	case COMMAND_HOST_ADD:
		m->host_add = host_message(a, &c->host);
		return;
	case COMMAND_RELEASE_ADD:
		m->release_add = release_message(a, &c->release);
		return;
	case COMMAND_DEPLOY:
		m->deploy = deploy_message(a, &c->deploy);
		return;
	case COMMAND_VERB:
		verb_message(a, c, m);
		return;
	case COMMAND_ROLLOUT_MOVE:
	case COMMAND_WAVE_MOVE:
		moves_message(a, c, m);
		return;
	case COMMAND_ASSIGN:
		m->assign = assign_message(a, c);
		return;
	case COMMAND_TASK_RESULTS:
		m->results = results_message(a, c);
		return;
	case COMMAND_TASK_JOIN:
		join_message(a, c, m);
		return;
	case COMMAND_NODE_PUT:
	case COMMAND_NODE_JOIN:
	case COMMAND_NODE_REMOVE:
	case COMMAND_TOKEN_CREATE:
	case COMMAND_TOKEN_REVOKE:
		cluster_message(a, c, m);
		return;
	case COMMAND_KIND_NR:
		return;
	}
}

void command_encode(struct buf *out, const struct command *c)
{
	struct arena scratch;
	Cmd__Command m = CMD__COMMAND__INIT;
	arena_init(&scratch);
	m.at = c->at.v;
	m.actor = codec_text(&scratch, c->actor);
	m.reason = codec_text(&scratch, c->reason);
	m.trace = trace_bytes(&scratch, &c->trace);
	m.client = id128_bytes(&scratch, c->client_hi, c->client_lo);
	m.client_seq = c->client_seq;
	body_message(&scratch, c, &m);
	uint8_t *p = buf_reserve(out, cmd__command__get_packed_size(&m));
	out->len += cmd__command__pack(&m, p);
	arena_done(&scratch);
}

/* ---- from a message
 * ------------------------------------------------------------------------------------------------ */

static bool deploy_of(struct arena *a, const Cmd__Deploy *m, struct command_deploy *d)
{
	struct wave *waves = arena_array(a, struct wave, m->n_waves);
	struct task *tasks = arena_array(a, struct task, m->n_tasks);
	if (!deployment_of(a, m->deployment, &d->deployment) || !bytes_digest(m->plan, &d->plan))
		return false;
	for (size_t i = 0; i < m->n_waves; i++)
		if (!wave_of(a, m->waves[i], &waves[i]))
			return false;
	for (size_t i = 0; i < m->n_tasks; i++)
		if (!task_of(a, m->tasks[i], &tasks[i]))
			return false;
	d->spec = arena_memdup(a, m->spec.data, m->spec.len);
	d->spec_len = m->spec.len;
	d->state_index = m->state_index;
	d->force_bad = m->force_bad;
	d->waves = waves;
	d->waves_nr = m->n_waves;
	d->tasks = tasks;
	d->tasks_nr = m->n_tasks;
	return m->deployment != NULL;
}

static bool results_of(struct arena *a, const Cmd__Results *m, struct command *c)
{
	struct task_result *v = arena_array(a, struct task_result, m->n_v);
	for (size_t i = 0; i < m->n_v; i++) {
		const Cmd__Result *r = m->v[i];
		v[i] = (struct task_result){.deployment = {r->deployment},
					    .seq = r->seq,
					    .state = (enum task_state)r->state,
					    .cause = (enum cause)r->cause,
					    .reason = codec_text(a, r->reason)};
		bool known = r->state > 0 && r->state < TASK_STATE_NR && r->cause <= CAUSE_OPERATOR;
		if (!known || !name_set(&v[i].host, r->host) || !evidence_of(a, r->evidence, &v[i].evidence))
			return false;
	}
	c->results.v = v;
	c->results.nr = m->n_v;
	return true;
}

static bool assign_of(struct arena *a, const Cmd__Assign *m, struct command *c)
{
	struct name *hosts = arena_array(a, struct name, m->n_hosts);
	for (size_t i = 0; i < m->n_hosts; i++)
		if (!name_set(&hosts[i], m->hosts[i]))
			return false;
	c->assign.deployment.v = m->deployment;
	c->assign.direction = (enum direction)m->direction;
	c->assign.term = m->term;
	c->assign.stop = m->stop;
	c->assign.hosts = hosts;
	c->assign.hosts_nr = m->n_hosts;
	return m->direction == DIRECTION_FORWARD || m->direction == DIRECTION_BACK;
}

static bool verb_of(const Cmd__Verb *m, struct command *c)
{
	c->verb.deployment.v = m->deployment;
	c->verb.verb = (enum verb)m->verb;
	c->verb.wave = m->wave;
	return m->verb > 0 && m->verb < VERB_NR;
}

static bool rollout_move_of(const Cmd__RolloutMove *m, struct command *c)
{
	c->rollout_move.deployment.v = m->deployment;
	c->rollout_move.from = (enum rollout_state)m->from;
	c->rollout_move.to = (enum rollout_state)m->to;
	c->rollout_move.blames_target = m->blames_target;
	c->rollout_move.superseded_by.v = m->superseded_by;
	c->rollout_move.hosts_nr = m->hosts_nr;
	return m->from > 0 && m->from < ROLLOUT_STATE_NR && m->to > 0 && m->to < ROLLOUT_STATE_NR;
}

static bool wave_move_of(const Cmd__WaveMove *m, struct command *c)
{
	c->wave_move.deployment.v = m->deployment;
	c->wave_move.wave = m->wave;
	c->wave_move.from = (enum wave_state)m->from;
	c->wave_move.to = (enum wave_state)m->to;
	c->wave_move.revision = m->revision;
	return m->from > 0 && m->from < WAVE_STATE_NR && m->to > 0 && m->to < WAVE_STATE_NR;
}

static bool init_of(const Cmd__Init *m, struct command *c)
{
	c->init.cluster_hi = m->cluster_hi;
	c->init.cluster_lo = m->cluster_lo;
	return name_set(&c->init.name, m->name);
}

static bool target_release_of(const Cmd__TargetRelease *m, struct command *c)
{
	return name_set(&c->target_release.app, m->app) && bytes_digest(m->target, &c->target_release.target);
}

static bool join_of(const Cmd__Join *m, struct command *c)
{
	c->join.deployment.v = m->deployment;
	c->join.wave = m->wave;
	return name_set(&c->join.host, m->host);
}

static bool node_join_of(struct arena *a, const Cmd__NodeJoin *m, struct command *c)
{
	return bytes_digest(m->secret, &c->node_join.secret) && node_of(a, m->node, &c->node_join.node);
}

static bool body_of(struct arena *a, const Cmd__Command *m, struct command *c)
{
	switch (c->kind) {
	case COMMAND_CLUSTER_INIT:
		return init_of(m->init, c);
	case COMMAND_APP_PUT:
		return app_of(a, m->app_put, &c->app);
	case COMMAND_ENV_PUT:
		return environment_of(a, m->env_put, &c->env);
	case COMMAND_HOST_ADD:
		return host_of(a, m->host_add, &c->host);
	case COMMAND_HOST_REMOVE:
		return name_set(&c->host_remove, m->host_remove->name);
	case COMMAND_RELEASE_ADD:
		return release_of(a, m->release_add, &c->release);
	case COMMAND_TARGET_RELEASE:
		return target_release_of(m->target_release, c);
	case COMMAND_DEPLOY:
		return deploy_of(a, m->deploy, &c->deploy);
	case COMMAND_VERB:
		return verb_of(m->verb, c);
	case COMMAND_ROLLOUT_MOVE:
		return rollout_move_of(m->rollout_move, c);
	case COMMAND_WAVE_MOVE:
		return wave_move_of(m->wave_move, c);
	case COMMAND_ASSIGN:
		return assign_of(a, m->assign, c);
	case COMMAND_TASK_RESULTS:
		return results_of(a, m->results, c);
	case COMMAND_TASK_JOIN:
		return join_of(m->join, c);
	case COMMAND_NODE_PUT:
		return node_of(a, m->node_put, &c->node_put);
	case COMMAND_NODE_JOIN:
		return node_join_of(a, m->node_join, c);
	case COMMAND_NODE_REMOVE:
		c->node_remove = m->node_remove->id;
		return true;
	case COMMAND_TOKEN_CREATE:
		return join_token_of(a, m->token_create, &c->token_create);
	case COMMAND_TOKEN_REVOKE:
		return bytes_digest(m->token_revoke->secret, &c->token_revoke);
	case COMMAND_KIND_NR:
		break;
	}
	return false;
}

int command_decode(struct arena *a, const uint8_t *p, size_t n, struct command *out)
{
	ProtobufCAllocator alloc = arena_allocator(a);
	const Cmd__Command *m = cmd__command__unpack(&alloc, n, p);
	*out = (struct command){0};
	if (m == NULL || !trace_of(m->trace, &out->trace) ||
	    !bytes_id128(m->client, &out->client_hi, &out->client_lo))
		return E_CORRUPT;
	out->at.v = m->at;
	out->actor = codec_text(a, m->actor);
	out->reason = codec_text(a, m->reason);
	out->client_seq = m->client_seq;
	if (m->body_case == CMD__COMMAND__BODY__NOT_SET)
		return E_VERSION; /* a kind that we do not know has no body for us */
	out->kind = kinds[m->body_case];
	return body_of(a, m, out) ? E_OK : E_CORRUPT;
}

/* ---- replies
 * ------------------------------------------------------------------------------------------------------- */

void command_reply_encode(struct buf *out, const struct command_reply *r)
{
	Cmd__Reply m = CMD__REPLY__INIT;
	struct arena scratch;
	arena_init(&scratch);
	m.code = (uint32_t)r->code;
	m.index = r->index;
	m.text = codec_text(&scratch, r->text);
	m.generation = r->generation;
	m.node = r->node;
	uint8_t *p = buf_reserve(out, cmd__reply__get_packed_size(&m));
	out->len += cmd__reply__pack(&m, p);
	arena_done(&scratch);
}

int command_reply_decode(struct arena *a, const uint8_t *p, size_t n, struct command_reply *out)
{
	ProtobufCAllocator alloc = arena_allocator(a);
	const Cmd__Reply *m = cmd__reply__unpack(&alloc, n, p);
	if (m == NULL || m->code >= E_NR)
		return E_CORRUPT;
	*out = (struct command_reply){.code = (int)m->code,
				      .index = m->index,
				      .text = codec_text(a, m->text),
				      .generation = m->generation,
				      .node = m->node};
	return E_OK;
}
