/*
 * fleet.h: inside of bench-fleet. N agents that speak the real protocol to a coordinator (talk.c), the same N
 * identities at a bare echo server (replay.c), one thread for all (peer.h).
 */
#ifndef BENCH_FLEET_H
#define BENCH_FLEET_H

#include "base/arena.h"
#include "base/ids.h"
#include "tests/bench/peer.h"

/* The four exchanges that one deployment costs each agent: question and answer. */
enum exchange { EXCHANGE_DESIRED = 0, EXCHANGE_ACCEPTED, EXCHANGE_RESULT, EXCHANGE_STATUS, EXCHANGE_NR };

struct exchange_bytes {
	uint64_t sent, received, count;
};

enum agent_stage { STAGE_IDLE = 0, STAGE_ACCEPTING, STAGE_ACCEPTED, STAGE_FINISHING, STAGE_FINISHED };

struct agent {
	struct fleet *fleet;
	struct name host;
	uint64_t generation;
	struct peer_identity identity;
	struct peer line, echo;
	bool greeted, hello_sent;
	/* the conversation */
	uint32_t next_id, poll_id; /* of SP requests; that of the newest poll */
	uint64_t request_id, log_id, after_seq, chunk;
	enum agent_stage stage;
	/* the assignment in hand, and what runs */
	struct name app;
	uint64_t seq, deployment;
	struct digest target, running;
	struct trace_id trace;
	/* the replay */
	unsigned echo_step;
	uint32_t echo_awaits;
};

/* When each step of a round was reached, CLOCK_MONOTONIC in ns; 0 = not in this round. */
struct round_times {
	int64_t first_desired, last_desired, last_accepted, results_begun, last_result;
	size_t desired, accepted, results;
};

struct fleet {
	struct peer_loop loop;
	struct agent *agents;
	size_t nr;
	uint16_t port, echo_port;
	uint64_t cluster_hi, cluster_lo;
	size_t connected, unfinished; /* of the connect under way */
	struct round_times times;
	struct exchange_bytes bytes[EXCHANGE_NR];
	uint64_t polls_answered_empty;
	size_t echo_done; /* agents that finished the steps of a half of the replay */
	struct arena arena;
	struct buf frame;
};

/* talk.c */
extern const struct peer_ops talk_ops;
/* Every agent that was told and has acknowledged sends its result now. */
void talk_results(struct fleet *f);

/* replay.c: exchange `from` up to but not `to`, for all, one after the other for each. */
extern const struct peer_ops replay_ops;
void replay_begin(struct fleet *f, enum exchange from, enum exchange to);

#endif
