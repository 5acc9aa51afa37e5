/*
 * service.h: who serves, and who was taken out of service by our order, looked at from outside: from what the
 * programs of the hosts really do, and from no task and no status. At the moment an order takes a serving
 * host out, the floor and maxUnavailable of its rollout must hold (D2).
 *
 * What the coordinator cannot know yet is not held against it: an order is judged by what was known when it
 * was committed, and knowing takes a while (KNOWN_*).
 */
#ifndef SIM_SERVICE_H
#define SIM_SERVICE_H

#include "tests/sim/fleet/sim.h"

struct service;

struct service *service_new(struct sim *s);
void service_free(struct service *v);

void service_watch(struct service *v); /* after each event */
/* An order was committed. `unseen`: only found after a crash, and nobody knows what was known then. */
void service_ordered(struct service *v, const struct placement *p, bool unseen);
/* A host has left the fleet: what was ordered before counted on it. */
void service_fleet_shrank(struct service *v);
/* The agent is about to take its program out of rotation, or to end it, for the order of this epoch. */
void service_leaves(struct service *v, struct sim_host *h, uint64_t epoch);

#endif
