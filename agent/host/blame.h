/*
 * blame.h: whose fault it is when an effect fails here. The version's is only what its own file or program
 * did: a target that is blamed is marked bad everywhere. Pure.
 */
#ifndef AGENT_HOST_BLAME_H
#define AGENT_HOST_BLAME_H

#include "agent/core/agent.h"

/* exec could not start what the file names, with `code`. */
enum step_cause blame_of_start(int code);
/* A command of the file could not be run, or ended with another exit code than 0 (E_OK). */
enum step_cause blame_of_command(enum agent_effect_kind kind, enum agent_hook hook, int code);
/* What a command that ended with another exit code than 0 means: those to the balancer are worth a retry. */
int blame_code_of_exit(enum agent_effect_kind kind);

#endif
