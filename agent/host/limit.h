/*
 * limit.h: how long an effect may take here, by the deployment file it is done for. What ends in this time by
 * itself (a hook, a drain, a stop, a probe) gets a little more, so that its own end is what is told. Pure.
 */
#ifndef AGENT_HOST_LIMIT_H
#define AGENT_HOST_LIMIT_H

#include "agent/host/runspec.h"

/* `s` NULL: nothing runs, or the file cannot be read. 0: no limit but the step machine's own. */
int64_t limit_of(const struct runspec *s, const struct agent_effect *e);

#endif
