/*
 * sim.h: the whole product in one thread on virtual time: one coordinator, its hosts, the wires between them,
 * and a checker that looks on. Used by the random runs (seeds.c) and by the stories (scenario.c).
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "tests/sim/fleet/coordinator.h"
#include "tests/sim/fleet/host.h"
#include "tests/sim/fleet/world.h"

enum { SIM_HOSTS_MAX = 48, SIM_CLUSTER_HI = 0x5eed, SIM_CLUSTER_LO = 1 };

struct check;

struct sim {
	struct world w;
	struct coordinator *c;
	struct versions versions;
	struct sim_host hosts[SIM_HOSTS_MAX];
	size_t hosts_nr;
	uint64_t sessions, deployments;
	struct name app, env;
	struct check *check;
	struct arena arena; /* of what lasts as long as the run */
};

struct sim_deploy {
	const char *version;
	const char *regions[8]; /* in order, each after the one before */
	uint64_t beside;	/* bit i: but region i begins when the one before it does */
	size_t regions_nr;
	struct limits limits;
	int64_t bake_ms;
};

void sim_init(struct sim *s, uint64_t seed, bool verbose);
void sim_done(struct sim *s);
struct sim_host *sim_add_host(struct sim *s, const char *name,
			      const char *region); /* in the fleet, powered, agent up */
struct sim_host *sim_add_host_in(struct sim *s, const char *name, const char *region, const char *zone);
/* Hosts region-1 to region-n, the first ones in the first of `zones`, and so on. */
void sim_add_region(struct sim *s, const char *region, int n, int zones);
void sim_remove_host(struct sim *s, struct sim_host *h);
struct sim_host *sim_host(struct sim *s, const char *name); /* NULL: none of that name */
void sim_run_ms(struct sim *s, int64_t ms);		    /* until then, or the first violation */

bool sim_host_is_live(struct sim *s, const struct sim_host *h); /* in the fleet, not removed */

/* The defaults of the deployment file, scaled to small fleets: batch 1, floor 0, no budget, rollback by
 * itself. */
struct limits sim_limits(void);
/* The floor of the way back when the file gives none: 67%, or that of the way there where it is lower. */
permille sim_back_floor(permille floor);
/* Makes the release if needed and deploys, if the planner finds it feasible. Its code or that of the fold;
 * the id in s->deployments. */
int sim_deploy(struct sim *s, const struct sim_deploy *d);
int sim_verb(struct sim *s, uint64_t id, enum verb v, uint32_t wave);
struct deployment sim_deployment(struct sim *s, uint64_t id);
/* Runs until the rollout is terminal, HELD counts too; false when it is not within `ms`. */
bool sim_run_until_over(struct sim *s, uint64_t id, int64_t ms);
/* What version a host runs: its name, or "nothing". */
const char *sim_runs(struct sim *s, const struct sim_host *h);

uint64_t sim_next_session(struct sim_host *h);

/* check.c */
struct check *check_new(struct sim *s);
void check_free(struct check *c);
void check_applied(struct check *c, const struct command *cmd, const struct command_reply *r,
		   const struct changes *ch);
void check_now(struct check *c);       /* what must hold although nothing happens */
void check_watch(struct check *c);     /* after each event */
void check_restarted(struct check *c); /* the coordinator has replayed its log */
void check_over(struct check *c,
		uint64_t id); /* a rollout has ended, and time has passed for all to settle */

#endif
