#include "tests/lib/fleet.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

struct name test_name(const char *s)
{
	struct name n;
	PRE(name_set(&n, s));
	return n;
}

void test_fleet_init(struct test_fleet *f)
{
	*f = (struct test_fleet){.now = {1700000000000}};
	arena_init(&f->a);
	f->store = store_mem_new();
	PRE(state_open(f->store, &f->st) == E_OK);
}

void test_fleet_done(struct test_fleet *f)
{
	state_free(f->st);
	store_mem_free(f->store);
	arena_done(&f->a);
}

int test_fleet_apply(struct test_fleet *f, struct command *c)
{
	struct buf b;
	buf_init(&b);
	c->at = f->now;
	c->actor = c->actor == NULL ? "test" : c->actor;
	c->reason = c->reason == NULL ? "" : c->reason;
	command_encode(&b, c);
	PRE(state_apply(f->st, &f->a, ++f->index, 0, b.data, b.len, &f->reply, &f->changes) == E_OK);
	f->store->ops->commit(f->store);
	buf_done(&b);
	return f->reply.code;
}

static void must(int rc)
{
	PRE(rc == E_OK);
}

void test_fleet_app(struct test_fleet *f, const char *app)
{
	must(test_fleet_apply(f,
			      &(struct command){.kind = COMMAND_APP_PUT, .app = {.name = test_name(app)}}));
}

void test_fleet_env(struct test_fleet *f, const char *env)
{
	must(test_fleet_apply(f, &(struct command){.kind = COMMAND_ENV_PUT,
						   .env = {.name = test_name(env), .configuration = ""}}));
}

void test_fleet_host(struct test_fleet *f, const char *host, const char *region)
{
	struct command c = {.kind = COMMAND_HOST_ADD,
			    .host = {.name = test_name(host), .region = test_name(region)}};
	must(test_fleet_apply(f, &c));
}

static struct target target_with(const char *version, const char *file)
{
	struct target t = {{{0}}};
	snprintf((char *)t.id.b, sizeof t.id.b, "id %s", version);
	snprintf((char *)t.artifact.b, sizeof t.artifact.b, "artifact %s", version);
	SHA256((const uint8_t *)file, strlen(file), t.spec.b);
	PRE(name_set_version(&t.version, version));
	return t;
}

struct target test_target(const char *version)
{
	return target_with(version, "{}");
}

void test_fleet_release(struct test_fleet *f, const char *app, const char *version)
{
	struct target t = test_target(version);
	struct release r = {.app = test_name(app),
			    .version = t.version,
			    .artifact = t.artifact,
			    .size_bytes = 100,
			    .type = "tar.zst"};
	must(test_fleet_apply(f, &(struct command){.kind = COMMAND_RELEASE_ADD, .release = r}));
}

void test_fleet_shop(struct test_fleet *f)
{
	test_fleet_app(f, "shop");
	test_fleet_env(f, "prod");
	test_fleet_release(f, "shop", "1.0");
}

struct gather {
	struct task *tasks;
	size_t nr;
	const char *const *regions;
	size_t regions_nr;
};

static bool gather_host(void *arg, const struct host *h)
{
	struct gather *g = arg;
	for (size_t i = 0; i < g->regions_nr; i++) {
		if (strcmp(h->region.s, g->regions[i]) != 0)
			continue;
		g->tasks[g->nr] = (struct task){.host = h->name,
						.wave = (uint32_t)i,
						.position = (uint32_t)g->nr,
						.state = TASK_QUEUED};
		g->nr++;
	}
	return true;
}

int test_fleet_deploy(struct test_fleet *f, uint64_t id, const char *app, const char *version,
		      const char *const *regions, size_t nr)
{
	enum { HOSTS_MAX = 1000 };
	const char *file = f->file == NULL ? "{}" : f->file;
	struct gather g = {
		.tasks = arena_array(&f->a, struct task, HOSTS_MAX), .regions = regions, .regions_nr = nr};
	struct wave *waves = arena_array(&f->a, struct wave, nr);
	view_each_host(f->st, &f->a, gather_host, &g);
	for (size_t i = 0; i < nr; i++)
		waves[i] = (struct wave){.index = (uint32_t)i,
					 .region = test_name(regions[i]),
					 .after = i == 0 ? 0 : 1ull << (i - 1),
					 .state = WAVE_PENDING};
	struct command c = {.kind = COMMAND_DEPLOY,
			    .trace = f->trace,
			    .deploy = {.deployment = {.id = {id},
						      .app = test_name(app),
						      .env = test_name(f->env == NULL ? "prod" : f->env),
						      .target = target_with(version, file),
						      .state = ROLLOUT_RUNNING,
						      .limits = {.recreate = f->recreate,
								 .task_ms = f->task_ms,
								 .infra_cap_ms = f->infra_cap_ms,
								 .batch = {.v = 1},
								 .unavailable = {.v = 1},
								 .auto_rollback = true}},
				       .spec = file,
				       .spec_len = strlen(file),
				       .state_index = f->index,
				       .waves = waves,
				       .waves_nr = nr,
				       .tasks = g.tasks,
				       .tasks_nr = g.nr}};
	return test_fleet_apply(f, &c);
}

int test_fleet_verb(struct test_fleet *f, uint64_t id, enum verb v)
{
	return test_fleet_apply(
		f, &(struct command){.kind = COMMAND_VERB, .verb = {.deployment = {id}, .verb = v}});
}

int test_fleet_rollout_to(struct test_fleet *f, uint64_t id, enum rollout_state to)
{
	enum rollout_state from = test_fleet_deployment(f, id).state;
	struct command c = {.kind = COMMAND_ROLLOUT_MOVE,
			    .reason = "for the test",
			    .rollout_move = {.deployment = {id}, .from = from, .to = to}};
	return test_fleet_apply(f, &c);
}

static int assign(struct test_fleet *f, uint64_t id, const char *host, enum direction dir, bool stop)
{
	struct name h = test_name(host);
	struct command c = {.kind = COMMAND_ASSIGN,
			    .assign = {.deployment = {id},
				       .direction = dir,
				       .term = 1,
				       .stop = stop,
				       .hosts = &h,
				       .hosts_nr = 1}};
	return test_fleet_apply(f, &c);
}

int test_fleet_assign(struct test_fleet *f, uint64_t id, const char *host, enum direction dir)
{
	return assign(f, id, host, dir, false);
}

int test_fleet_assign_stop(struct test_fleet *f, uint64_t id, const char *host, enum direction dir)
{
	return assign(f, id, host, dir, true);
}

int test_fleet_result(struct test_fleet *f, uint64_t id, const char *host, enum task_state state)
{
	struct task t = test_fleet_task(f, id, host);
	struct deployment d = test_fleet_deployment(f, id);
	struct task_result r = {.deployment = {id},
				.host = test_name(host),
				.seq = t.seq,
				.state = state,
				.cause = state == TASK_FAILED ? CAUSE_VERSION : CAUSE_NONE,
				.reason = "for the test",
				.evidence = {.target = state == TASK_REVERTED ? t.from.id : d.target.id,
					     .boot_lo = 7,
					     .activation = 1,
					     .activated_ms = 10,
					     .measured_ms = 20,
					     .passes = 3}};
	return test_fleet_apply(
		f, &(struct command){.kind = COMMAND_TASK_RESULTS, .results = {.v = &r, .nr = 1}});
}

struct deployment test_fleet_deployment(struct test_fleet *f, uint64_t id)
{
	struct deployment d;
	must(view_deployment(f->st, &f->a, (struct deployment_id){id}, &d));
	return d;
}

struct task test_fleet_task(struct test_fleet *f, uint64_t id, const char *host)
{
	struct task t;
	struct name h = test_name(host);
	must(view_task(f->st, &f->a, (struct deployment_id){id}, &h, &t));
	return t;
}

struct placement test_fleet_placement(struct test_fleet *f, const char *host, const char *app)
{
	struct placement p;
	struct name h = test_name(host), a = test_name(app);
	must(view_placement(f->st, &f->a, &h, &a, &p));
	return p;
}
