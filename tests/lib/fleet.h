/*
 * fleet.h: a small state for tests: commands in, assertions out. Owns a store in memory, a fold and an arena.
 */
#ifndef TESTS_LIB_FLEET_H
#define TESTS_LIB_FLEET_H

#include "base/err.h"
#include "coordinator/state/store_mem.h"
#include "coordinator/state/view.h"

struct test_fleet {
	struct arena a;
	struct store *store;
	struct state *st;
	uint64_t index;
	struct wall_ms now;
	struct changes changes; /* of the last command */
	struct command_reply reply;
	bool recreate;		       /* the next deployments stop all of a wave first */
	int64_t task_ms, infra_cap_ms; /* their deadlines, as in struct limits */
	const char *file;	       /* of the next deployments; NULL: "{}" */
	const char *env;	       /* of the next deployments; NULL: prod */
	struct trace_id trace;	       /* of the next deployments */
};

void test_fleet_init(struct test_fleet *f);
void test_fleet_done(struct test_fleet *f);
/* Encodes, applies at the next index and checks that the fold took it; returns the reply's code. */
int test_fleet_apply(struct test_fleet *f, struct command *c);

void test_fleet_app(struct test_fleet *f, const char *app);
void test_fleet_env(struct test_fleet *f, const char *env);
void test_fleet_host(struct test_fleet *f, const char *host, const char *region);
void test_fleet_release(struct test_fleet *f, const char *app, const char *version);
/* The app `shop`, its release 1.0 and the environment `prod`: what most stories begin with. */
void test_fleet_shop(struct test_fleet *f);
/* A target as the tests name them: id and artifact made of the version's letters; its file is "{}". */
struct target test_target(const char *version);
/* One wave per region, in the order given; all live hosts of each. Returns the code. */
int test_fleet_deploy(struct test_fleet *f, uint64_t id, const char *app, const char *version,
		      const char *const *regions, size_t nr);
int test_fleet_verb(struct test_fleet *f, uint64_t id, enum verb v);
int test_fleet_rollout_to(struct test_fleet *f, uint64_t id, enum rollout_state to);
int test_fleet_assign(struct test_fleet *f, uint64_t id, const char *host, enum direction dir);
/* recreate: told to run nothing first. */
int test_fleet_assign_stop(struct test_fleet *f, uint64_t id, const char *host, enum direction dir);
/* The agent's answer to its newest assignment, with evidence that counts. */
int test_fleet_result(struct test_fleet *f, uint64_t id, const char *host, enum task_state state);

struct deployment test_fleet_deployment(struct test_fleet *f, uint64_t id);
struct task test_fleet_task(struct test_fleet *f, uint64_t id, const char *host);
struct placement test_fleet_placement(struct test_fleet *f, const char *host, const char *app);
struct name test_name(const char *s);

#endif
