/* host_internal.h: what host.c, link.c and check.c share. */
#ifndef SIM_HOST_INTERNAL_H
#define SIM_HOST_INTERNAL_H

#include "tests/sim/fleet/host.h"

struct agent_boot_id host_boot_id(const struct sim_host *h);
int64_t host_mono(const struct sim_host *h); /* the host's monotonic clock */
void host_step(struct sim_host *h, const struct agent_event *ev);
void host_report(struct sim_host *h); /* there are chunks to send */
void host_connect_later(struct sim_host *h);
void host_disconnect(struct sim_host *h);

/* check.c: called at each effect and each start */
void host_check_effect(struct sim_host *h, const struct agent_effect *e);
void host_check_start(struct sim_host *h, const struct agent_target *t);

/* plant.c: the simulated disk says that it has what it has not */
bool sim_skips_fsync(void);

#endif
