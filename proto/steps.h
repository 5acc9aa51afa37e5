/*
 * steps.h: the numbers that agents and coordinators share for the steps of a host and the causes of failures.
 * They are those of enum task_state and enum cause in coordinator/state/model.h;
 * tests/unit/agent_core/test_steps.c holds them together.
 */
#ifndef PROTO_STEPS_H
#define PROTO_STEPS_H

enum step_state {
	STEP_NONE = 0,
	STEP_QUEUED = 1,
	STEP_ASSIGNED,
	STEP_ACKED,
	STEP_FETCHED,
	STEP_STAGED,
	STEP_DRAINED,
	STEP_SWAPPED,
	STEP_PROBING,
	STEP_HEALTHY,
	STEP_FAILED,
	STEP_LOST,
	STEP_REVERTING,
	STEP_REVERTED,
	STEP_SKIPPED,
	STEP_STATE_NR
};

enum step_cause { STEP_CAUSE_NONE = 0, STEP_CAUSE_VERSION = 1, STEP_CAUSE_INFRA, STEP_CAUSE_OPERATOR };

#endif
