#include "agent/host/blame.h"

/* What the file asks for and this host cannot give it: no such user or program, an address that is none.
 * All else is the host's or ours: its disk and memory, exec itself and its files, another assignment. */
enum step_cause blame_of_start(int code)
{
	switch (code) {
	case E_INVALID:
	case E_NOT_FOUND:
	case E_DENIED:
	case E_TOO_LARGE:
	case E_SPEC:
		return STEP_CAUSE_VERSION;
	}
	return STEP_CAUSE_INFRA;
}

static bool moves_traffic(enum agent_effect_kind kind)
{
	return kind == AGENT_DRAIN || kind == AGENT_UNDRAIN;
}

/* The hooks around the stop are those of the version before, and what moves traffic talks to a balancer. */
enum step_cause blame_of_command(enum agent_effect_kind kind, enum agent_hook hook, int code)
{
	bool of_old = kind == AGENT_HOOK && (hook == AGENT_HOOK_BEFORE_STOP || hook == AGENT_HOOK_AFTER_STOP);
	if (of_old || moves_traffic(kind))
		return STEP_CAUSE_INFRA;
	return code == E_OK || code == E_TIMEOUT ? STEP_CAUSE_VERSION : blame_of_start(code);
}

int blame_code_of_exit(enum agent_effect_kind kind)
{
	return moves_traffic(kind) ? E_UNAVAILABLE : E_INVALID;
}
