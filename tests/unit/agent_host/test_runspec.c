/* The agent reads what the coordinator's library writes: both halves of one format, held together here. */
#include <stdio.h>

#include "agent/host/limit.h"
#include "agent/host/records.h"
#include "coordinator/spec/spec.h"
#include "tests/lib/test.h"

static struct arena a;
static struct runspec spec;
static const struct runspec_pair labels[] = {{"rack", "r7"}, {"port", "8080"}};
static const struct runspec_facts facts = {
	.host = "web-1", .region = "eu", .version = "1.2", .labels = labels, .labels_nr = 2};
static const struct agent_target target = {.id = {{1}}, .artifact = {{2}}, .version = {"1.2"}};

static int begin(void **state)
{
	arena_init(&a);
	return 0;
}

static int end(void **state)
{
	arena_done(&a);
	return 0;
}

#define HEAD                                                                                                 \
	"schema: wavetrain/v1\napp: shop\nartifact: { name: shop }\ntargets: { labels: { role: web } }\n"    \
	"regions: [{ name: eu }]\n"

/* From YAML through the coordinator's canonical form to what the agent makes of it. */
static int read_yaml(const char *yaml)
{
	struct spec s;
	struct spec_diags diags;
	struct buf canonical;
	struct err e;
	const struct spec_source src = {.file = "deploy.yaml", .text = yaml, .len = strlen(yaml)};
	buf_init(&canonical);
	if (spec_load(&a, &src, &s, &diags) != E_OK)
		fail_msg("%s", diags.v[0].text);
	spec_render_canonical(&s, &canonical);
	int rc = runspec_parse(&a, (const char *)canonical.data, canonical.len, &facts, &spec, &e);
	if (rc != E_OK)
		print_message("# %s\n", e.text);
	buf_done(&canonical);
	return rc;
}

static struct records_for about(void)
{
	return (struct records_for){.root = "/srv",
				    .app = {"shop"},
				    .host = {"web-1"},
				    .region = {"eu"},
				    .fence = {1, 2, 3},
				    .target = &target,
				    .spec = &spec};
}

static void the_whole_file_arrives(void **state)
{
	assert_int_equal(
		read_yaml(HEAD "run:\n"
			       "  command: [./shop, --port, \"{{ labels.port }}\"]\n"
			       "  user: shop\n"
			       "  env: { RACK: \"{{ labels.rack }}\", V: \"{{ version }}\" }\n"
			       "  listen: [{ name: http, address: \"127.0.0.1:{{ labels.port }}\" }]\n"
			       "  limits: { nofile: 100, nproc: 20, memory: 1MiB, core: 2MiB, cpu: 1500ms }\n"
			       "  stop: { timeout: 7s }\n"
			       "  restart: { maxTries: 2, backoff: { initial: 2s, max: 9s } }\n"
			       "health:\n"
			       "  start: { tcp: \"127.0.0.1:{{ labels.port }}\", deadline: 30s }\n"
			       "  ready: { http: \"http://127.0.0.1:{{ labels.port }}/\", status: 200-299, "
			       "pass: 4, fail: 5, "
			       "interval: 3s, timeout: 1s }\n"
			       "  live: { exec: [./alive, \"{{ host }}\"] }\n"
			       "hooks:\n"
			       "  beforeStop: [{ run: \"echo hi\", timeout: 3s }]\n"
			       "  afterStart: [{ run: [./warm] , user: warm }, { run: [./warmer] }]\n"
			       "strategy: { minHealthyTime: 4s, deadlines: { hook: 8s } }\n"
			       "keep: 4\n"),
		E_OK);
	assert_string_equal(spec.command.v[2], "8080");
	assert_string_equal(spec.env.v[0], "RACK=r7");
	assert_string_equal(spec.env.v[1], "V=1.2");
	assert_string_equal(spec.listen[0].address, "127.0.0.1:8080");
	assert_int_equal(spec.nofile + spec.nproc, 120);
	assert_int_equal(spec.memory_bytes, 1 << 20);
	assert_int_equal(spec.core_bytes, 2 << 20);
	assert_int_equal(spec.cpu_ms, 1500);
	assert_int_equal(spec.stop_ms, 7000);
	assert_int_equal(spec.restart_tries, 2);
	assert_int_equal(spec.restart_first_ms + spec.restart_most_ms, 11000);
	assert_int_equal(spec.start.config.kind, PROBE_TCP);
	assert_int_equal(spec.start.deadline_ms, 30000);
	assert_string_equal(spec.ready.config.url, "http://127.0.0.1:8080/");
	assert_int_equal(spec.ready.config.status_max, 299);
	assert_int_equal(spec.ready.config.pass * 10 + spec.ready.config.fail, 45);
	assert_int_equal(spec.live.config.kind, PROBE_COMMAND);
	assert_string_equal(spec.live.exec.v[1], "web-1");
	assert_string_equal(spec.hooks[AGENT_HOOK_BEFORE_STOP].v[0].run.v[2], "echo hi");
	assert_int_equal(spec.hooks[AGENT_HOOK_BEFORE_STOP].v[0].timeout_ms, 3000);
	assert_string_equal(spec.hooks[AGENT_HOOK_BEFORE_STOP].v[0].user, "shop");
	assert_int_equal(spec.after_start.nr, 2);
	assert_string_equal(spec.after_start.v[0].user, "warm");
	assert_int_equal(spec.after_start.v[1].timeout_ms, 8000);
	assert_int_equal(spec.min_healthy_ms, 4000);
	assert_int_equal(spec.keep, 4);
	assert_int_equal(spec.traffic, RUNSPEC_IN_PLACE);
}

static void traffic_is_read(void **state)
{
	assert_int_equal(read_yaml(HEAD "run: { command: [./shop] }\n"
					"traffic:\n"
					"  haproxy: { socket: /run/h.sock, backend: be, server: \"{{ host "
					"}}\", stateFile: /run/h.state, minUp: 2 }\n"
					"  drain: { timeout: 9s, then: kill }\n"),
			 E_OK);
	assert_int_equal(spec.traffic, RUNSPEC_HAPROXY);
	assert_int_equal(spec.drain_ms, 9000);
	assert_true(spec.drain_kills);
	const struct records_for f = about();
	struct exec_record r;
	assert_int_equal(records_balance(&f, EXEC_DRAIN, &r, NULL), E_OK);
	assert_string_equal(r.balancer.server, "web-1");
	assert_string_equal(r.balancer.state_file, "/run/h.state");
	assert_int_equal(r.balancer.keep_up, 2);
	assert_int_equal(record_check(&r, sizeof(r), NULL), E_OK);
	assert_int_equal(
		read_yaml(HEAD "run: { command: [./shop] }\n"
			       "traffic: { hook: { drain: [./out], undrain: [./in, \"{{ region }}\"] } }\n"),
		E_OK);
	assert_int_equal(spec.traffic, RUNSPEC_COMMANDS);
	assert_string_equal(spec.undrain.v[1], "eu");
}

static void records_are_such_as_exec_takes(void **state)
{
	struct exec_record r;
	assert_int_equal(
		read_yaml(HEAD
			  "run: { command: [./shop], listen: [{ name: http, address: \"127.0.0.1:80\" }] }\n"
			  "hooks: { beforeStart: [{ run: [./migrate] }] }\n"),
		E_OK);
	const struct records_for f = about();
	assert_int_equal(records_start(&f, 9, &r, NULL), E_OK);
	assert_int_equal(record_check(&r, sizeof(r), NULL), E_OK);
	assert_int_equal(r.activation, 9);
	assert_memory_equal(r.digest, target.artifact.b, DIGEST_LEN);
	assert_int_equal(r.limits.set, EXEC_LIMIT_CORE);
	assert_int_equal(records_hook(&f, &spec.hooks[AGENT_HOOK_BEFORE_START].v[0], &r, NULL), E_OK);
	assert_int_equal(record_check(&r, sizeof(r), NULL), E_OK);
	assert_int_equal(strncmp(r.workdir, "/srv/slots/02", 13), 0);
	records_stop(&f, &r);
	assert_int_equal(record_check(&r, sizeof(r), NULL), E_OK);
	records_swap(&f, &r);
	assert_int_equal(record_check(&r, sizeof(r), NULL), E_OK);
}

static void what_does_not_fit_is_refused_not_cut(void **state)
{
	char yaml[8192];
	struct exec_record r;
	struct err e;
	snprintf(yaml, sizeof(yaml), HEAD "run: { command: [./shop, \"%06000d\"] }\n", 1);
	assert_int_equal(read_yaml(yaml), E_OK);
	const struct records_for f = about();
	assert_int_equal(records_start(&f, 1, &r, &e), E_TOO_LARGE);
	assert_non_null(strstr(e.text, "arguments"));
}

static void a_label_the_host_has_not_is_named(void **state)
{
	assert_int_equal(read_yaml(HEAD "run: { command: [./shop, \"{{ labels.row }}\"] }\n"), E_SPEC);
}

static void junk_is_refused(void **state)
{
	static const char *const texts[] = {"",
					    "[]",
					    "{}",
					    "{\"run\":{\"command\":[]}}",
					    "{\"run\":{\"command\":[1]}}",
					    "{\"run\":{\"command\":[\"x\"],\"stop\":{\"timeout\":\"soon\"}}}",
					    "{\"run\":[\"./shop\"]}"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(runspec_parse(&a, texts[i], strlen(texts[i]), &facts, &spec, NULL), E_SPEC);
}

static void the_longest_drain_of_a_file_is_not_cut(void **state)
{
	struct exec_record r;
	assert_int_equal(read_yaml(HEAD "run: { command: [./shop] }\n"
					"traffic: { haproxy: { socket: /run/h.sock, backend: be }, "
					"drain: { timeout: 30d } }\n"),
			 E_OK);
	const struct records_for f = about();
	assert_int_equal(records_balance(&f, EXEC_DRAIN, &r, NULL), E_OK);
	assert_int_equal(r.timeout_ms / 1000, 30 * 86400);
	assert_int_equal(record_check(&r, sizeof(r), NULL), E_OK);
}

static int64_t seconds_for(enum agent_effect_kind kind)
{
	const struct agent_effect e = {.kind = kind, .hook = AGENT_HOOK_BEFORE_STOP};
	return limit_of(&spec, &e) / 1000;
}

/* What ends by itself has two minutes more than the file says. */
static void each_effect_may_take_as_long_as_the_file_says(void **state)
{
	assert_int_equal(
		read_yaml(HEAD "run: { command: [./shop], stop: { timeout: 1h } }\n"
			       "strategy: { minHealthyTime: 20m, deadlines: { fetch: 3h, start: 7s } }\n"
			       "health:\n"
			       "  start: { tcp: \"127.0.0.1:80\", deadline: 2h, interval: 1s, timeout: 1s }\n"
			       "  ready: { tcp: \"127.0.0.1:80\", deadline: 1h, interval: 5s, timeout: 3s }\n"
			       "hooks:\n"
			       "  beforeStop: [{ run: a, timeout: 60m }, { run: b, timeout: 50m }]\n"
			       "  afterStart: [{ run: c, timeout: 10m }]\n"
			       "traffic:\n"
			       "  hook: { drain: [a], undrain: [b] }\n"
			       "  drain: { timeout: 2d }\n"),
		E_OK);
	assert_int_equal(seconds_for(AGENT_FETCH), 3 * 3600);
	assert_int_equal(seconds_for(AGENT_UNPACK), 3 * 3600);
	assert_int_equal(seconds_for(AGENT_HOOK), (110 + 2) * 60);
	assert_int_equal(seconds_for(AGENT_DRAIN), 2 * 86400 + 120);
	assert_int_equal(seconds_for(AGENT_UNDRAIN), 2 * 86400 + 120);
	assert_int_equal(seconds_for(AGENT_STOP), 3600 + 120);
	assert_int_equal(seconds_for(AGENT_START), 7);
	assert_int_equal(seconds_for(AGENT_PROBE), 600 + 7202 + 3608 + 1200 + 120);
	assert_int_equal(seconds_for(AGENT_SWAP), 0);
}

static void without_a_file_bytes_and_the_stop_have_a_limit_all_the_same(void **state)
{
	const struct agent_effect fetch = {.kind = AGENT_FETCH}, stop = {.kind = AGENT_STOP};
	assert_int_equal(limit_of(NULL, &fetch), 10 * 60 * 1000);
	assert_int_equal(limit_of(NULL, &stop), 2 * 60 * 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_whole_file_arrives),
		cmocka_unit_test(traffic_is_read),
		cmocka_unit_test(records_are_such_as_exec_takes),
		cmocka_unit_test(what_does_not_fit_is_refused_not_cut),
		cmocka_unit_test(the_longest_drain_of_a_file_is_not_cut),
		cmocka_unit_test(each_effect_may_take_as_long_as_the_file_says),
		cmocka_unit_test(without_a_file_bytes_and_the_stop_have_a_limit_all_the_same),
		cmocka_unit_test(a_label_the_host_has_not_is_named),
		cmocka_unit_test(junk_is_refused),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
