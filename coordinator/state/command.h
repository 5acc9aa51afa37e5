/*
 * command.h: every fact that can enter the log. The proposer puts time, ids and the results of policy into
 * the command; applying it reads nothing else. Paired codec: command_encode / command_decode (protobuf,
 * proto/command.proto).
 */
#ifndef STATE_COMMAND_H
#define STATE_COMMAND_H

#include "coordinator/state/model.h"

enum command_kind {
	COMMAND_CLUSTER_INIT = 1,
	COMMAND_APP_PUT,
	COMMAND_ENV_PUT,
	COMMAND_HOST_ADD,
	COMMAND_HOST_REMOVE,
	COMMAND_RELEASE_ADD,
	COMMAND_TARGET_RELEASE, /* a bad mark is lifted, by a named person with a reason */
	COMMAND_DEPLOY,
	COMMAND_VERB,
	COMMAND_ROLLOUT_MOVE,
	COMMAND_WAVE_MOVE,
	COMMAND_ASSIGN,
	COMMAND_TASK_RESULTS,
	COMMAND_TASK_JOIN,
	COMMAND_NODE_PUT,  /* what the leader says of itself */
	COMMAND_NODE_JOIN, /* a token is used up, a node id allotted */
	COMMAND_NODE_REMOVE,
	COMMAND_TOKEN_CREATE,
	COMMAND_TOKEN_REVOKE,
	COMMAND_KIND_NR
};

/* What an operator may say to a deployment. machines.h has the table verb x state. */
enum verb {
	VERB_PAUSE = 1,
	VERB_RESUME,
	VERB_ABORT,
	VERB_RETRY,
	VERB_PROMOTE,
	VERB_PROMOTE_FULL,
	VERB_ROLLBACK,
	VERB_NR
};

struct command_deploy {
	struct deployment deployment; /* state RUNNING; serial, counts and deadlines are set by the fold */
	const char *spec; /* canonical rendered file, stored under its digest (deployment.target.spec) */
	size_t spec_len;
	struct digest plan;	  /* of the plan the operator saw; kept for audit */
	uint64_t state_index;	  /* the plan was made at; refused (E_STALE) when the app's placements or
				     deployments moved since */
	const struct wave *waves; /* index order */
	size_t waves_nr;
	const struct task *tasks; /* QUEUED; host, wave, position */
	size_t tasks_nr;
	bool force_bad; /* deploy although the target is marked bad; the reason is in the audit */
};

struct task_result {
	struct deployment_id deployment;
	struct name host;
	uint64_t seq;	       /* of the assignment it answers; others are ignored */
	enum task_state state; /* HEALTHY, FAILED, LOST, REVERTED or SKIPPED */
	enum cause cause;
	const char *reason;
	struct evidence evidence;
};

struct command {
	enum command_kind kind;
	struct wall_ms at; /* proposer's clock, never below the highest stamped before (meta.clock) */
	const char *actor;
	const char *reason; /* given by a person; may be "" */
	struct trace_id trace;
	uint64_t client_hi, client_lo,
		client_seq; /* dedupe: same client and seq = same answer, applied once; seq 0 = none */
	union {
		struct {
			uint64_t cluster_hi, cluster_lo;
			struct name name;
		} init;
		struct app app;
		struct environment env;
		struct host host; /* HOST_ADD; generation and seq are set by the fold */
		struct name host_remove;
		struct release release;
		struct {
			struct name app;
			struct digest target;
		} target_release;
		struct command_deploy deploy;
		struct {
			struct deployment_id deployment;
			enum verb verb;
			uint32_t wave; /* PROMOTE: the baking wave */
		} verb;
		struct {
			struct deployment_id deployment;
			enum rollout_state from, to; /* applied only if the state is still `from` */
			bool blames_target;	     /* mark the target bad */
			struct deployment_id superseded_by;
			uint32_t hosts_nr; /* SUCCEEDED: applied only if no host has joined since; 0 = any */
		} rollout_move;
		struct {
			struct deployment_id deployment;
			uint32_t wave;
			enum wave_state from, to;
			uint64_t revision; /* applied only if no task of the wave has moved since */
		} wave_move;
		struct {
			struct deployment_id deployment;
			enum direction direction;
			uint64_t term;
			bool stop; /* recreate: run nothing, and wait for the rest of the wave; all hosts of
				      the command stand in one wave then, as they do when they start */
			const struct name *hosts;
			size_t hosts_nr;
		} assign;
		struct {
			const struct task_result *v;
			size_t nr;
		} results;
		struct {
			struct deployment_id deployment;
			uint32_t wave;
			struct name host;
		} join; /* a host that came into the fleet after the plan was made */
		struct node node_put;
		struct {
			struct digest secret; /* of the token, hashed */
			struct node node;     /* id and standby are set by the fold */
		} node_join;
		uint64_t node_remove;
		struct join_token token_create;
		struct digest token_revoke;
	};
};

struct buf;
void command_encode(struct buf *out, const struct command *c);
/* E_CORRUPT for bytes that are no command, E_VERSION for a kind this build does not know (the node must
 * stop). */
must_check int command_decode(struct arena *a, const uint8_t *p, size_t n, struct command *out);

/* What the proposer is told: code 0 or E_*, a sentence, and ids the fold made. Encoded as the consensus
 * reply. */
struct command_reply {
	int code;
	uint64_t index; /* log index */
	const char *text;
	uint64_t generation; /* HOST_ADD */
	uint64_t node;	     /* NODE_JOIN: its id */
};
void command_reply_encode(struct buf *out, const struct command_reply *r);
must_check int command_reply_decode(struct arena *a, const uint8_t *p, size_t n, struct command_reply *out);

#endif
