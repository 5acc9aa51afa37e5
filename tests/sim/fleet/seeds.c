/*
 * seeds.c: random runs. A seed decides a fleet, a version's behaviour, the numbers of the strategy, and a
 * random subset of faults at random rates (swarm testing). Then everything is healed, and the rollout must
 * end. The program prints "N seeds, V violations", and for each violation the one command that repeats it.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/sim/fleet/seeds.h"
#include "tests/sim/fleet/sim.h"

enum fault {
	FAULT_AGENT_KILL,
	FAULT_POWER,
	FAULT_LINK,
	FAULT_REGION,
	FAULT_COORDINATOR,
	FAULT_ELECTION,
	FAULT_DISK,
	FAULT_PROBE,
	FAULT_STOP,
	FAULT_DRAIN,
	FAULT_STORE,
	FAULT_HOST_DISK,
	FAULT_STALE,
	FAULT_REPLAY,
	FAULT_VERB,
	FAULT_CHURN,
	FAULT_SUPERSEDE,
	FAULT_NR
};

struct run {
	struct sim s;
	bool on[FAULT_NR];
	size_t regions;
	uint64_t beside; /* as in sim_deploy; not 0 in one seed of four */
	unsigned superseded;
	int smallest; /* hosts of the smallest region or zone: no floor may want all of them */
};

static const char *const region_names[] = {"eu", "us", "ap"};

static int64_t below(struct run *r, int64_t n)
{
	return (int64_t)rng_below(&r->s.w.rng, (uint64_t)n);
}

static bool chance(struct run *r, permille p)
{
	return rng_chance(&r->s.w.rng, p);
}

/* ---- building
 * -------------------------------------------------------------------------------------------------------------
 */

static void make_fleet(struct run *r)
{
	r->regions = 1 + (size_t)below(r, 3);
	r->smallest = INT_MAX;
	for (size_t g = 0; g < r->regions; g++) {
		int n = chance(r, 200) ? 1 : 2 + (int)below(r, 5);
		bool zoned = n >= 4 && chance(r, 500);
		int domain = zoned ? n / 2 : n;
		r->smallest = domain < r->smallest ? domain : r->smallest;
		sim_add_region(&r->s, region_names[g], n, zoned ? 2 : 0);
	}
}

static permille a_floor(struct run *r)
{
	int n = r->smallest;
	return (permille)below(r, (n - 1) * 1000 / n + 1);
}

static struct sim_deploy a_deploy(struct run *r, const char *version)
{
	struct sim_deploy d = {.version = version,
			       .beside = r->beside,
			       .limits = sim_limits(),
			       .bake_ms = below(r, 3) * 30000};
	for (size_t g = 0; g < r->regions; g++)
		d.regions[d.regions_nr++] = region_names[g];
	d.limits.batch = chance(r, 500)
				 ? (struct amount){.v = 1 + (uint32_t)below(r, 3)}
				 : (struct amount){.is_share = true, .v = 100 + (uint32_t)below(r, 900)};
	d.limits.floor = chance(r, 500) ? 0 : a_floor(r);
	d.limits.back_floor = chance(r, 500) ? sim_back_floor(d.limits.floor) : a_floor(r);
	d.limits.budget = chance(r, 700) ? (struct amount){.v = (uint32_t)below(r, 2)}
					 : (struct amount){.is_share = true, .v = 250};
	d.limits.unavailable = chance(r, 500)
				       ? (struct amount){.is_share = true, .v = 100 + (uint32_t)below(r, 901)}
				       : (struct amount){.v = 1 + (uint32_t)below(r, 3)};
	d.limits.min_healthy_ms = chance(r, 500) ? 0 : below(r, 90000);
	d.limits.progress_ms = 120000 + below(r, 600000);
	d.limits.task_ms = 60000 + below(r, 300000);
	int64_t totals[] = {0, 600000 + below(r, 1800000), d.limits.total_ms};
	d.limits.total_ms = totals[below(r, 3)];
	d.limits.auto_rollback = chance(r, 850);
	d.limits.recreate = chance(r, 250);
	if (chance(r, 300)) { /* a bake that outlives most silences, and a deadline that does not */
		d.bake_ms = below(r, 300000);
		d.limits.progress_ms = 60000 + below(r, 240000);
	}
	return d;
}

static void make_version(struct run *r, const char *name)
{
	struct version *v = versions_get(&r->s.versions, name);
	v->ready_after_ms = below(r, 2) * below(r, 10000);
	switch (below(r, 6)) {
	case 0:
		v->crashes_at_start = true;
		break;
	case 1:
		v->never_ready = true;
		break;
	case 2:
		v->unhealthy_after_ms = 1 + below(r, 120000);
		break;
	case 3:
		v->dies_after_ms = 1 + below(r, 120000);
		break;
	default:
		break; /* a good one */
	}
}

/* ---- faults
 * ----------------------------------------------------------------------------------------------------------------
 */

static struct sim_host *any_host(struct run *r)
{
	return &r->s.hosts[below(r, (int64_t)r->s.hosts_nr)];
}

static void power_cycle(struct run *r)
{
	struct sim_host *h = any_host(r);
	if (h->powered)
		sim_host_power_off(h);
	else
		sim_host_boot(h);
}

static void cut_region(struct run *r)
{
	const char *region = region_names[below(r, (int64_t)r->regions)];
	bool cut = chance(r, 500), all = chance(r, 400);
	for (size_t i = 0; i < r->s.hosts_nr; i++)
		if (all || strcmp(r->s.hosts[i].region.s, region) == 0)
			sim_host_cut(&r->s.hosts[i], cut);
}

static void store_fault(struct run *r)
{
	bool away = chance(r, 500), all = chance(r, 500);
	size_t one = (size_t)below(r, (int64_t)r->s.hosts_nr);
	for (size_t i = 0; i < r->s.hosts_nr; i++)
		if (all || i == one)
			r->s.hosts[i].store_fault = away;
}

static void coordinator_fault(struct run *r)
{
	if (coordinator_up(r->s.c)) {
		coordinator_crash(r->s.c);
	} else {
		coordinator_restart(r->s.c);
		check_restarted(r->s.check);
	}
}

/* A lead is lost, or won by somebody; one of several coordinators dies, or comes back. */
static void election(struct run *r)
{
	struct coordinator *c = r->s.c;
	size_t node = (size_t)below(r, (int64_t)coordinator_nodes(c));
	bool others = coordinator_nodes(c) > 1;
	if (!coordinator_up(c))
		return;
	if (chance(r, 300))
		coordinator_step_down(c);
	else if (others && coordinator_node_up(c, node) && chance(r, 300))
		coordinator_node_crash(c, node);
	else if (!coordinator_node_up(c, node))
		coordinator_node_restart(c, node);
	else
		coordinator_lead(c, node);
}

/* Whatever has become of it: all of them are up, and one leads. */
static void heal_coordinators(struct run *r)
{
	struct coordinator *c = r->s.c;
	if (!coordinator_up(c))
		coordinator_fault(r);
	for (size_t i = 0; i < coordinator_nodes(c); i++)
		coordinator_node_restart(c, i);
	if (!coordinator_led(c))
		coordinator_lead(c, 0);
}

static void churn(struct run *r)
{
	char name[16];
	if (!coordinator_led(r->s.c) || r->s.hosts_nr >= SIM_HOSTS_MAX - 1)
		return;
	if (chance(r, 500)) {
		snprintf(name, sizeof name, "late-%zu", r->s.hosts_nr);
		sim_add_host(&r->s, name, region_names[below(r, (int64_t)r->regions)]);
	} else {
		sim_remove_host(&r->s, any_host(r));
	}
}

static bool begin_rollout(struct run *r, const char *version)
{
	make_version(r, version);
	struct sim_deploy d = a_deploy(r, version);
	if (!coordinator_led(r->s.c))
		return false;
	int rc = sim_deploy(&r->s, &d);
	if (rc == E_INFEASIBLE) { /* the fleet has changed since, and has a domain of one host */
		d.limits.floor = d.limits.back_floor = 0;
		rc = sim_deploy(&r->s, &d);
	}
	return rc == E_OK;
}

/* Hosts are still at work for the one before. */
static void supersede(struct run *r)
{
	char version[16];
	if (chance(r, 600))
		return;
	snprintf(version, sizeof version, "9.%u", r->superseded++);
	begin_rollout(r, version);
}

static void one_fault(struct run *r)
{
	int64_t f = below(r, FAULT_NR);
	struct sim_host *h = any_host(r);
	if (!r->on[f])
		return;
	switch ((enum fault)f) {
	case FAULT_AGENT_KILL:
		sim_host_kill_agent(h);
		sim_host_start_agent(h);
		break;
	case FAULT_POWER:
		power_cycle(r);
		break;
	case FAULT_LINK:
		sim_host_cut(h, chance(r, 500));
		break;
	case FAULT_REGION:
		cut_region(r);
		break;
	case FAULT_COORDINATOR:
		coordinator_fault(r);
		break;
	case FAULT_ELECTION:
		election(r);
		break;
	case FAULT_DISK:
		coordinator_slow_disk(r->s.c, chance(r, 500) ? below(r, 3000) : 0);
		break;
	case FAULT_PROBE:
		h->probe_fault = chance(r, 300);
		break;
	case FAULT_STOP:
		h->stop_fault = chance(r, 300);
		break;
	case FAULT_DRAIN:
		h->drain_fault = chance(r, 300);
		break;
	case FAULT_STORE:
		store_fault(r);
		break;
	case FAULT_HOST_DISK:
		h->disk_fault = chance(r, 300);
		h->journal_fault = chance(r, 200);
		h->fsync_ms = chance(r, 500) ? 1 + below(r, 5000) : 1;
		break;
	case FAULT_STALE:
		h->stale_probe = chance(r, 300);
		break;
	case FAULT_REPLAY:
		h->replays = true;
		break;
	case FAULT_VERB:
		sim_verb(&r->s, r->s.deployments, (enum verb)(1 + below(r, VERB_NR - 1)),
			 (uint32_t)below(r, 3));
		break;
	case FAULT_CHURN:
		churn(r);
		break;
	case FAULT_SUPERSEDE:
		supersede(r);
		break;
	case FAULT_NR:
		break;
	}
}

static void heal(struct run *r)
{
	world_say(&r->s.w, "everything heals");
	coordinator_slow_disk(r->s.c, 0);
	heal_coordinators(r);
	for (size_t i = 0; i < r->s.hosts_nr; i++) {
		r->s.hosts[i].probe_fault = false;
		r->s.hosts[i].stop_fault = false;
		r->s.hosts[i].drain_fault = false;
		r->s.hosts[i].store_fault = false;
		r->s.hosts[i].disk_fault = false;
		r->s.hosts[i].journal_fault = false;
		r->s.hosts[i].fsync_ms = 1;
		r->s.hosts[i].stale_probe = false;
		sim_host_cut(&r->s.hosts[i], false);
		sim_host_boot(&r->s.hosts[i]);
		sim_host_start_agent(&r->s.hosts[i]);
	}
}

/* ---- one run
 * ----------------------------------------------------------------------------------------------------------------
 */

static void stuck(struct run *r, uint64_t id)
{
	static struct plan_update u;
	struct deployment d = sim_deployment(&r->s, id);
	const char *why = "no reason given";
	if (drive_explain(coordinator_drive(r->s.c), d.id, &r->s.arena, (struct wall_ms){r->s.w.now_ms},
			  &u) == E_OK &&
	    u.reasons_nr > 0)
		why = arena_printf(&r->s.arena, "%s: %s", u.reasons[0].object, u.reasons[0].text);
	world_violation(&r->s.w, "after healing the rollout is still %s (%s)",
			sm_name(&rollout_machine, (int)d.state), why);
}

/* Paused and held rollouts wait for a person; one comes. */
static void finish(struct run *r, uint64_t id)
{
	enum { HOURS = 3600000 };
	for (int tries = 0; tries < 6 && r->s.w.violation[0] == '\0'; tries++) {
		struct deployment d = sim_deployment(&r->s, id);
		if (d.state == ROLLOUT_PAUSED)
			sim_verb(&r->s, id, VERB_RESUME, 0);
		if (d.state == ROLLOUT_HELD)
			sim_verb(&r->s, id,
				 tries < 2   ? VERB_RETRY
				 : tries < 4 ? VERB_ROLLBACK
					     : VERB_ABORT,
				 0);
		if (!sim_run_until_over(&r->s, id, 5 * HOURS) && r->s.w.violation[0] == '\0')
			stuck(r, id);
		if (sm_terminal(&rollout_machine, (int)sim_deployment(&r->s, id).state))
			break;
	}
	sim_run_ms(&r->s, 10 * 60000);
	check_over(r->s.check, id);
}

static bool is_good(const struct version *v)
{
	return !v->crashes_at_start && !v->never_ready && v->unhealthy_after_ms == 0 && v->dies_after_ms == 0;
}

/* D3: where nothing ever made a probe fail or lie, a good version is never marked bad, whatever became of
 * hosts, links and the coordinator. */
static void check_not_blamed(struct run *r)
{
	struct bad_mark mark;
	if (r->on[FAULT_PROBE] || r->on[FAULT_STALE] || !coordinator_up(r->s.c))
		return;
	for (size_t i = 0; i < r->s.versions.nr; i++) {
		const struct version *v = &r->s.versions.v[i];
		if (is_good(v) &&
		    view_bad(coordinator_state(r->s.c), &r->s.arena, &r->s.app, &v->id, &mark) == E_OK)
			world_violation(&r->s.w, "%s is good and was marked bad: %s", v->name.s, mark.reason);
	}
}

static void baseline(struct run *r)
{
	struct sim_deploy d = {.version = "1.0", .limits = sim_limits()};
	for (size_t g = 0; g < r->regions; g++)
		d.regions[d.regions_nr++] = region_names[g];
	d.limits.batch = (struct amount){.is_share = true, .v = 1000};
	PRE(sim_deploy(&r->s, &d) == E_OK);
	if (!sim_run_until_over(&r->s, r->s.deployments, 3600000) ||
	    sim_deployment(&r->s, r->s.deployments).state != ROLLOUT_SUCCEEDED)
		world_violation(&r->s.w, "a good version without faults did not succeed");
	sim_run_ms(&r->s, 60000);
}

static void faulty_rollout(struct run *r, const char *version)
{
	if (!begin_rollout(r, version))
		return;
	for (int64_t i = 0, n = below(r, 60); i < n && r->s.w.violation[0] == '\0'; i++) {
		sim_run_ms(&r->s, 1 + below(r, 20000));
		check_now(r->s.check);
		one_fault(r);
	}
	heal(r);
	check_not_blamed(r);
	finish(r, r->s.deployments);
	check_not_blamed(r);
}

uint64_t seeds_run_one(uint64_t seed, bool verbose, char *violation, size_t cap, uint64_t *steps,
		       int64_t *virtual_ms)
{
	struct run *r = calloc(1, sizeof *r);
	PRE(r != NULL);
	sim_init(&r->s, seed, verbose);
	r->beside = seed % 4 == 3 ? (seed / 4 % 4) << 1 : 0;
	coordinator_grow(r->s.c, seed % 2 == 0 ? 3 : 1);
	for (int f = 0; f < FAULT_NR; f++)
		r->on[f] = chance(r, 400);
	make_fleet(r);
	sim_run_ms(&r->s, 5000);
	baseline(r);
	faulty_rollout(r, "2.0");
	if (r->s.w.violation[0] == '\0')
		faulty_rollout(r, "3.0");
	snprintf(violation, cap, "%s", r->s.w.violation);
	*steps += r->s.w.steps;
	*virtual_ms += world_since_start(&r->s.w);
	uint64_t trace = r->s.w.trace;
	sim_done(&r->s);
	free(r);
	return trace;
}
