/*
 * steps.h: the numbers of Step, Result and AppStatus in agent.proto. Equal to enum task_state, direction and
 * cause of the coordinators' model (a test holds them together): agents and coordinators include nothing of
 * each other.
 */
#ifndef PROTO_STEPS_H
#define PROTO_STEPS_H

enum step {
	STEP_IDLE = 1, /* nothing assigned; the coordinators' QUEUED */
	STEP_ASSIGNED,
	STEP_ACKED,
	STEP_FETCHED,
	STEP_STAGED,
	STEP_DRAINED,
	STEP_SWAPPED,
	STEP_PROBING,
	STEP_HEALTHY,
	STEP_FAILED,
	STEP_LOST, /* never sent by an agent */
	STEP_REVERTING,
	STEP_REVERTED,
	STEP_SKIPPED, /* never sent by an agent */
	STEP_STOPPED, /* likewise: a coordinator's word for "stopped, and waits for its wave" */
	STEP_NR
};

/* Why a step failed. STEP_CAUSE_INFRA never blames the version (D3). */
enum step_cause { STEP_CAUSE_NONE = 0, STEP_CAUSE_VERSION = 1, STEP_CAUSE_INFRA, STEP_CAUSE_OPERATOR };

#endif
