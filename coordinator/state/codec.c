/*
 * codec.c: each noun's message and back, in the order of proto/model.proto. `x_message` and `x_of` are
 * inverse: what one writes the other reads, and tests/unit/state/test_codec.c holds every field against it.
 */
#include "coordinator/state/codec.h"

#include <string.h>

#include "proto/envelope.h"

bool codec_name(struct name *out, const char *s)
{
	*out = (struct name){{0}};
	return s == NULL || *s == '\0' || name_set(out, s);
}

bool codec_version(struct name *out, const char *s)
{
	*out = (struct name){{0}};
	return s == NULL || *s == '\0' || name_set_version(out, s);
}

char *codec_text(struct arena *a, const char *s)
{
	return arena_strdup(a, s == NULL ? "" : s);
}

ProtobufCBinaryData trace_bytes(struct arena *a, const struct trace_id *t)
{
	return id128_bytes(a, t->hi, t->lo);
}

bool trace_of(ProtobufCBinaryData b, struct trace_id *out)
{
	return bytes_id128(b, &out->hi, &out->lo);
}

static Row__Label **labels_messages(struct arena *a, const struct labels *v, size_t *n)
{
	Row__Label **m = arena_array(a, Row__Label *, v->nr);
	for (size_t i = 0; i < v->nr; i++) {
		m[i] = arena_new(a, Row__Label);
		row__label__init(m[i]);
		m[i]->key = codec_text(a, v->v[i].key);
		m[i]->value = codec_text(a, v->v[i].value);
	}
	*n = v->nr;
	return m;
}

/* Sorted, unique keys: the order is part of the row's bytes. */
static bool labels_of(struct arena *a, size_t n, Row__Label **m, struct labels *out)
{
	out->v = arena_array(a, struct label, n);
	out->nr = n;
	for (size_t i = 0; i < n; i++) {
		out->v[i] = (struct label){codec_text(a, m[i]->key), codec_text(a, m[i]->value)};
		if (i > 0 && strcmp(out->v[i - 1].key, out->v[i].key) >= 0)
			return false;
	}
	return true;
}

Row__App *app_message(struct arena *a, const struct app *v)
{
	Row__App *m = arena_new(a, Row__App);
	row__app__init(m);
	m->name = codec_text(a, v->name.s);
	m->created_at = v->created_at.v;
	m->created_by = codec_text(a, v->created_by);
	return m;
}

bool app_of(struct arena *a, const Row__App *m, struct app *out)
{
	*out = (struct app){0};
	if (m == NULL)
		return true;
	out->created_at.v = m->created_at;
	out->created_by = codec_text(a, m->created_by);
	return codec_name(&out->name, m->name);
}

Row__Environment *environment_message(struct arena *a, const struct environment *v)
{
	Row__Environment *m = arena_new(a, Row__Environment);
	row__environment__init(m);
	m->name = codec_text(a, v->name.s);
	m->configuration = codec_text(a, v->configuration);
	m->selector = labels_messages(a, &v->selector, &m->n_selector);
	m->created_at = v->created_at.v;
	m->created_by = codec_text(a, v->created_by);
	return m;
}

bool environment_of(struct arena *a, const Row__Environment *m, struct environment *out)
{
	*out = (struct environment){0};
	if (m == NULL)
		return true;
	out->configuration = codec_text(a, m->configuration);
	out->created_at.v = m->created_at;
	out->created_by = codec_text(a, m->created_by);
	return codec_name(&out->name, m->name) && labels_of(a, m->n_selector, m->selector, &out->selector);
}

Row__Host *host_message(struct arena *a, const struct host *v)
{
	Row__Host *m = arena_new(a, Row__Host);
	row__host__init(m);
	m->name = codec_text(a, v->name.s);
	m->region = codec_text(a, v->region.s);
	m->zone = codec_text(a, v->zone.s);
	m->labels = labels_messages(a, &v->labels, &m->n_labels);
	m->generation = v->generation;
	m->seq = v->seq;
	m->removed = v->removed;
	m->created_at = v->created_at.v;
	m->created_by = codec_text(a, v->created_by);
	return m;
}

bool host_of(struct arena *a, const Row__Host *m, struct host *out)
{
	*out = (struct host){0};
	if (m == NULL)
		return true;
	out->generation = m->generation;
	out->seq = m->seq;
	out->removed = m->removed;
	out->created_at.v = m->created_at;
	out->created_by = codec_text(a, m->created_by);
	return codec_name(&out->name, m->name) && codec_name(&out->region, m->region) &&
	       codec_name(&out->zone, m->zone) && labels_of(a, m->n_labels, m->labels, &out->labels);
}

static Row__Build *build_message(struct arena *a, const struct build *v)
{
	Row__Build *m = arena_new(a, Row__Build);
	row__build__init(m);
	m->commit = codec_text(a, v->commit);
	m->branch = codec_text(a, v->branch);
	m->url = codec_text(a, v->url);
	m->tests_passed = v->tests_passed;
	m->tests_failed = v->tests_failed;
	return m;
}

static bool build_of(struct arena *a, const Row__Build *m, struct build *out)
{
	*out = (struct build){0};
	if (m == NULL)
		return true;
	out->commit = codec_text(a, m->commit);
	out->branch = codec_text(a, m->branch);
	out->url = codec_text(a, m->url);
	out->tests_passed = m->tests_passed;
	out->tests_failed = m->tests_failed;
	return true;
}

Row__Release *release_message(struct arena *a, const struct release *v)
{
	Row__Release *m = arena_new(a, Row__Release);
	row__release__init(m);
	m->app = codec_text(a, v->app.s);
	m->version = codec_text(a, v->version.s);
	m->artifact = digest_bytes(a, &v->artifact);
	m->size_bytes = v->size_bytes;
	m->unpacked_bytes = v->unpacked_bytes;
	m->entries = v->entries;
	m->type = codec_text(a, v->type);
	m->build = build_message(a, &v->build);
	m->created_at = v->created_at.v;
	m->created_by = codec_text(a, v->created_by);
	return m;
}

bool release_of(struct arena *a, const Row__Release *m, struct release *out)
{
	*out = (struct release){0};
	if (m == NULL)
		return true;
	out->size_bytes = m->size_bytes;
	out->unpacked_bytes = m->unpacked_bytes;
	out->entries = m->entries;
	out->type = codec_text(a, m->type);
	out->created_at.v = m->created_at;
	out->created_by = codec_text(a, m->created_by);
	return codec_name(&out->app, m->app) && codec_version(&out->version, m->version) &&
	       bytes_digest(m->artifact, &out->artifact) && build_of(a, m->build, &out->build);
}

static Row__Target *target_message(struct arena *a, const struct target *v)
{
	Row__Target *m = arena_new(a, Row__Target);
	row__target__init(m);
	m->id = digest_bytes(a, &v->id);
	m->artifact = digest_bytes(a, &v->artifact);
	m->spec = digest_bytes(a, &v->spec);
	m->version = codec_text(a, v->version.s);
	return m;
}

static bool target_of(struct arena *a, const Row__Target *m, struct target *out)
{
	*out = (struct target){0};
	if (m == NULL)
		return true;
	return bytes_digest(m->id, &out->id) && bytes_digest(m->artifact, &out->artifact) &&
	       bytes_digest(m->spec, &out->spec) && codec_version(&out->version, m->version);
}

Row__BadMark *bad_mark_message(struct arena *a, const struct bad_mark *v)
{
	Row__BadMark *m = arena_new(a, Row__BadMark);
	row__bad_mark__init(m);
	m->app = codec_text(a, v->app.s);
	m->target = target_message(a, &v->target);
	m->deployment = v->deployment.v;
	m->reason = codec_text(a, v->reason);
	m->marked_at = v->marked_at.v;
	return m;
}

bool bad_mark_of(struct arena *a, const Row__BadMark *m, struct bad_mark *out)
{
	*out = (struct bad_mark){0};
	if (m == NULL)
		return true;
	out->deployment.v = m->deployment;
	out->reason = codec_text(a, m->reason);
	out->marked_at.v = m->marked_at;
	return codec_name(&out->app, m->app) && target_of(a, m->target, &out->target);
}

static Row__Amount *amount_message(struct arena *a, const struct amount *v)
{
	Row__Amount *m = arena_new(a, Row__Amount);
	row__amount__init(m);
	m->is_share = v->is_share;
	m->v = v->v;
	return m;
}

static bool amount_of(struct arena *a, const Row__Amount *m, struct amount *out)
{
	*out = (struct amount){0};
	if (m == NULL)
		return true;
	out->is_share = m->is_share;
	out->v = m->v;
	return true;
}

static Row__Limits *limits_message(struct arena *a, const struct limits *v)
{
	Row__Limits *m = arena_new(a, Row__Limits);
	row__limits__init(m);
	m->recreate = v->recreate;
	m->batch = amount_message(a, &v->batch);
	m->unavailable = amount_message(a, &v->unavailable);
	m->floor = v->floor;
	m->budget = amount_message(a, &v->budget);
	m->back_batch = v->back_batch;
	m->back_floor = v->back_floor;
	m->auto_rollback = v->auto_rollback;
	m->min_healthy_ms = v->min_healthy_ms;
	m->progress_ms = v->progress_ms;
	m->total_ms = v->total_ms;
	m->task_ms = v->task_ms;
	m->infra_cap_ms = v->infra_cap_ms;
	m->pause_ms = v->pause_ms;
	m->skip_stop_hooks = v->skip_stop_hooks;
	return m;
}

static bool limits_of(struct arena *a, const Row__Limits *m, struct limits *out)
{
	*out = (struct limits){0};
	if (m == NULL)
		return true;
	out->recreate = m->recreate;
	out->floor = m->floor;
	out->back_batch = m->back_batch;
	out->back_floor = m->back_floor;
	out->auto_rollback = m->auto_rollback;
	out->min_healthy_ms = m->min_healthy_ms;
	out->progress_ms = m->progress_ms;
	out->total_ms = m->total_ms;
	out->task_ms = m->task_ms;
	out->infra_cap_ms = m->infra_cap_ms;
	out->pause_ms = m->pause_ms;
	out->skip_stop_hooks = m->skip_stop_hooks;
	return amount_of(a, m->batch, &out->batch) && amount_of(a, m->unavailable, &out->unavailable) &&
	       amount_of(a, m->budget, &out->budget);
}

Row__Deployment *deployment_message(struct arena *a, const struct deployment *v)
{
	Row__Deployment *m = arena_new(a, Row__Deployment);
	row__deployment__init(m);
	m->id = v->id.v;
	m->app = codec_text(a, v->app.s);
	m->env = codec_text(a, v->env.s);
	m->target = target_message(a, &v->target);
	m->from_version = codec_text(a, v->from_version.s);
	m->limits = limits_message(a, &v->limits);
	m->state = (uint32_t)v->state;
	m->resume_to = (uint32_t)v->resume_to;
	m->back = v->back;
	m->promoted = v->promoted;
	m->reason = codec_text(a, v->reason);
	m->initiator = codec_text(a, v->initiator);
	m->trace = trace_bytes(a, &v->trace);
	m->serial = v->serial;
	m->waves_nr = v->waves_nr;
	m->hosts_nr = v->hosts_nr;
	m->created_at = v->created_at.v;
	m->state_since = v->state_since.v;
	m->ended_at = v->ended_at.v;
	m->total_deadline = v->total_deadline.v;
	m->superseded_by = v->superseded_by.v;
	m->selector = labels_messages(a, &v->selector, &m->n_selector);
	return m;
}

bool deployment_of(struct arena *a, const Row__Deployment *m, struct deployment *out)
{
	*out = (struct deployment){0};
	if (m == NULL)
		return true;
	out->id.v = m->id;
	out->state = (enum rollout_state)m->state;
	out->resume_to = (enum rollout_state)m->resume_to;
	out->back = m->back;
	out->promoted = m->promoted;
	out->reason = codec_text(a, m->reason);
	out->initiator = codec_text(a, m->initiator);
	out->serial = m->serial;
	out->waves_nr = m->waves_nr;
	out->hosts_nr = m->hosts_nr;
	out->created_at.v = m->created_at;
	out->state_since.v = m->state_since;
	out->ended_at.v = m->ended_at;
	out->total_deadline.v = m->total_deadline;
	out->superseded_by.v = m->superseded_by;
	return labels_of(a, m->n_selector, m->selector, &out->selector) && codec_name(&out->app, m->app) &&
	       codec_name(&out->env, m->env) && target_of(a, m->target, &out->target) &&
	       codec_version(&out->from_version, m->from_version) && limits_of(a, m->limits, &out->limits) &&
	       m->state < ROLLOUT_STATE_NR && m->state > 0 && m->resume_to < ROLLOUT_STATE_NR &&
	       trace_of(m->trace, &out->trace);
}

Row__Wave *wave_message(struct arena *a, const struct wave *v)
{
	Row__Wave *m = arena_new(a, Row__Wave);
	row__wave__init(m);
	m->deployment = v->deployment.v;
	m->index = v->index;
	m->region = codec_text(a, v->region.s);
	m->after = v->after;
	m->bake_ms = v->bake_ms;
	m->state = (uint32_t)v->state;
	m->reason = codec_text(a, v->reason);
	m->state_since = v->state_since.v;
	m->promoted = v->promoted;
	m->revision = v->revision;
	m->opened = (uint32_t)v->opened;
	return m;
}

bool wave_of(struct arena *a, const Row__Wave *m, struct wave *out)
{
	*out = (struct wave){0};
	if (m == NULL)
		return true;
	out->deployment.v = m->deployment;
	out->index = m->index;
	out->after = m->after;
	out->bake_ms = m->bake_ms;
	out->state = (enum wave_state)m->state;
	out->reason = codec_text(a, m->reason);
	out->state_since.v = m->state_since;
	out->revision = m->revision;
	out->opened = (enum direction)m->opened;
	out->promoted = m->promoted;
	return codec_name(&out->region, m->region) && m->state < WAVE_STATE_NR && m->state > 0 &&
	       m->opened <= DIRECTION_BACK;
}

static Row__Fence *fence_message(struct arena *a, const struct fence *v)
{
	Row__Fence *m = arena_new(a, Row__Fence);
	row__fence__init(m);
	m->generation = v->generation;
	m->term = v->term;
	m->epoch = v->epoch;
	return m;
}

static bool fence_of(struct arena *a, const Row__Fence *m, struct fence *out)
{
	*out = (struct fence){0};
	if (m == NULL)
		return true;
	out->generation = m->generation;
	out->term = m->term;
	out->epoch = m->epoch;
	return true;
}

Row__Evidence *evidence_message(struct arena *a, const struct evidence *v)
{
	Row__Evidence *m = arena_new(a, Row__Evidence);
	row__evidence__init(m);
	m->target = digest_bytes(a, &v->target);
	m->boot_hi = v->boot_hi;
	m->boot_lo = v->boot_lo;
	m->activation = v->activation;
	m->activated_ms = v->activated_ms;
	m->measured_ms = v->measured_ms;
	m->passes = v->passes;
	m->failures = v->failures;
	return m;
}

bool evidence_of(struct arena *a, const Row__Evidence *m, struct evidence *out)
{
	*out = (struct evidence){0};
	if (m == NULL)
		return true;
	out->boot_hi = m->boot_hi;
	out->boot_lo = m->boot_lo;
	out->activation = m->activation;
	out->activated_ms = m->activated_ms;
	out->measured_ms = m->measured_ms;
	out->passes = m->passes;
	out->failures = m->failures;
	return bytes_digest(m->target, &out->target);
}

Row__Task *task_message(struct arena *a, const struct task *v)
{
	Row__Task *m = arena_new(a, Row__Task);
	row__task__init(m);
	m->deployment = v->deployment.v;
	m->host = codec_text(a, v->host.s);
	m->wave = v->wave;
	m->position = v->position;
	m->state = (uint32_t)v->state;
	m->direction = (uint32_t)v->direction;
	m->from = target_message(a, &v->from);
	m->touched = v->touched;
	m->stop = v->stop;
	m->seq = v->seq;
	m->fence = fence_message(a, &v->fence);
	m->attempts = v->attempts;
	m->cause = (uint32_t)v->cause;
	m->reason = codec_text(a, v->reason);
	m->evidence = evidence_message(a, &v->evidence);
	m->assigned_at = v->assigned_at.v;
	m->state_since = v->state_since.v;
	m->deadline = v->deadline.v;
	return m;
}

bool task_of(struct arena *a, const Row__Task *m, struct task *out)
{
	*out = (struct task){0};
	if (m == NULL)
		return true;
	out->deployment.v = m->deployment;
	out->wave = m->wave;
	out->position = m->position;
	out->state = (enum task_state)m->state;
	out->direction = (enum direction)m->direction;
	out->touched = m->touched;
	out->stop = m->stop;
	out->seq = m->seq;
	out->attempts = m->attempts;
	out->cause = (enum cause)m->cause;
	out->reason = codec_text(a, m->reason);
	out->assigned_at.v = m->assigned_at;
	out->state_since.v = m->state_since;
	out->deadline.v = m->deadline;
	return codec_name(&out->host, m->host) && m->state < TASK_STATE_NR && m->state > 0 &&
	       m->direction < 3 && target_of(a, m->from, &out->from) && fence_of(a, m->fence, &out->fence) &&
	       m->cause < 4 && evidence_of(a, m->evidence, &out->evidence);
}

Row__Placement *placement_message(struct arena *a, const struct placement *v)
{
	Row__Placement *m = arena_new(a, Row__Placement);
	row__placement__init(m);
	m->host = codec_text(a, v->host.s);
	m->app = codec_text(a, v->app.s);
	m->env = codec_text(a, v->env.s);
	m->current = target_message(a, &v->current);
	m->stable = target_message(a, &v->stable);
	m->seq = v->seq;
	m->fence = fence_message(a, &v->fence);
	m->deployment = v->deployment.v;
	m->wave = v->wave;
	m->direction = (uint32_t)v->direction;
	m->desired = target_message(a, &v->desired);
	m->fallback = target_message(a, &v->fallback);
	m->assigned_at = v->assigned_at.v;
	m->trace = trace_bytes(a, &v->trace);
	return m;
}

bool placement_of(struct arena *a, const Row__Placement *m, struct placement *out)
{
	*out = (struct placement){0};
	if (m == NULL)
		return true;
	out->seq = m->seq;
	out->deployment.v = m->deployment;
	out->wave = m->wave;
	out->direction = (enum direction)m->direction;
	out->assigned_at.v = m->assigned_at;
	return codec_name(&out->host, m->host) && codec_name(&out->app, m->app) &&
	       codec_name(&out->env, m->env) && target_of(a, m->current, &out->current) &&
	       target_of(a, m->stable, &out->stable) && fence_of(a, m->fence, &out->fence) &&
	       m->direction < 3 && target_of(a, m->desired, &out->desired) &&
	       target_of(a, m->fallback, &out->fallback) && trace_of(m->trace, &out->trace);
}

Row__Node *node_message(struct arena *a, const struct node *v)
{
	Row__Node *m = arena_new(a, Row__Node);
	row__node__init(m);
	m->id = v->id;
	m->address = codec_text(a, v->address);
	m->peer_address = codec_text(a, v->peer_address);
	m->agent_port = v->agent_port;
	m->artifact_port = v->artifact_port;
	m->join_port = v->join_port;
	m->standby = v->standby;
	m->removed = v->removed;
	m->key = digest_bytes(a, &v->key);
	m->version = codec_text(a, v->version);
	m->cert_ends = v->cert_ends.v;
	m->created_at = v->created_at.v;
	m->created_by = codec_text(a, v->created_by);
	return m;
}

bool node_of(struct arena *a, const Row__Node *m, struct node *out)
{
	*out = (struct node){.address = "", .peer_address = "", .version = "", .created_by = ""};
	if (m == NULL)
		return true;
	out->id = m->id;
	out->address = codec_text(a, m->address);
	out->peer_address = codec_text(a, m->peer_address);
	out->agent_port = m->agent_port;
	out->artifact_port = m->artifact_port;
	out->join_port = m->join_port;
	out->standby = m->standby;
	out->removed = m->removed;
	out->version = codec_text(a, m->version);
	out->cert_ends.v = m->cert_ends;
	out->created_at.v = m->created_at;
	out->created_by = codec_text(a, m->created_by);
	return m->agent_port < 65536 && m->artifact_port < 65536 && m->join_port < 65536 &&
	       bytes_digest(m->key, &out->key);
}

Row__JoinToken *join_token_message(struct arena *a, const struct join_token *v)
{
	Row__JoinToken *m = arena_new(a, Row__JoinToken);
	row__join_token__init(m);
	m->secret = digest_bytes(a, &v->secret);
	m->standby = v->standby;
	m->revoked = v->revoked;
	m->expires_at = v->expires_at.v;
	m->node = v->node;
	m->created_at = v->created_at.v;
	m->created_by = codec_text(a, v->created_by);
	return m;
}

bool join_token_of(struct arena *a, const Row__JoinToken *m, struct join_token *out)
{
	*out = (struct join_token){.created_by = ""};
	if (m == NULL)
		return true;
	out->standby = m->standby;
	out->revoked = m->revoked;
	out->expires_at.v = m->expires_at;
	out->node = m->node;
	out->created_at.v = m->created_at;
	out->created_by = codec_text(a, m->created_by);
	return bytes_digest(m->secret, &out->secret);
}

Row__AuditEntry *audit_entry_message(struct arena *a, const struct audit_entry *v)
{
	Row__AuditEntry *m = arena_new(a, Row__AuditEntry);
	row__audit_entry__init(m);
	m->index = v->index;
	m->at = v->at.v;
	m->actor = codec_text(a, v->actor);
	m->verb = codec_text(a, v->verb);
	m->object = codec_text(a, v->object);
	m->detail = codec_text(a, v->detail);
	m->trace = trace_bytes(a, &v->trace);
	m->chain = digest_bytes(a, &v->chain);
	return m;
}

bool audit_entry_of(struct arena *a, const Row__AuditEntry *m, struct audit_entry *out)
{
	*out = (struct audit_entry){0};
	if (m == NULL)
		return true;
	out->index = m->index;
	out->at.v = m->at;
	out->actor = codec_text(a, m->actor);
	out->verb = codec_text(a, m->verb);
	out->object = codec_text(a, m->object);
	out->detail = codec_text(a, m->detail);
	return trace_of(m->trace, &out->trace) && bytes_digest(m->chain, &out->chain);
}
/* The bytes of a row are its message packed. The scratch arena dies here; what the caller keeps is in `out`.
 */
#define X(noun, Message, c)                                                                                  \
	void noun##_encode(struct buf *out, const struct noun *v)                                            \
	{                                                                                                    \
		struct arena scratch;                                                                        \
		arena_init(&scratch);                                                                        \
		const Row__##Message *m = noun##_message(&scratch, v);                                       \
		uint8_t *p = buf_reserve(out, row__##c##__get_packed_size(m));                               \
		out->len += row__##c##__pack(m, p);                                                          \
		arena_done(&scratch);                                                                        \
	}                                                                                                    \
                                                                                                             \
	int noun##_decode(struct arena *a, const uint8_t *p, size_t n, struct noun *out)                     \
	{                                                                                                    \
		ProtobufCAllocator alloc = arena_allocator(a);                                               \
		const Row__##Message *m = row__##c##__unpack(&alloc, n, p);                                  \
		return m != NULL && noun##_of(a, m, out) ? E_OK : E_CORRUPT;                                 \
	}
CODEC_NOUNS(X)
#undef X
