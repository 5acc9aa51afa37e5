/* Which waves and releases a deployment file asks for. */
#include "tests/lib/test.h"
#include "coordinator/drive/make.h"
#include "tests/lib/fleet.h"

#define FILE_OF(artifact, regions)                                                                           \
	"schema: wavetrain/v1\napp: shop\nartifact: " artifact                                               \
	"\ntargets: { labels: {} }\nregions: " regions                                                       \
	"\nstrategy: { floor: 0% }\nrun: { command: [./shop] }\nhealth: { ready: { tcp: '127.0.0.1:80' } "   \
	"}\n"

static struct test_fleet f;
static struct command_deploy made;
static struct make_text text;

static int setup(void **state)
{
	test_fleet_init(&f);
	test_fleet_shop(&f); /* its release 1.0 is a tar.zst */
	test_fleet_host(&f, "ap-1", "ap");
	test_fleet_host(&f, "eu-1", "eu");
	test_fleet_host(&f, "us-1", "us");
	return 0;
}

static int teardown(void **state)
{
	test_fleet_done(&f);
	return 0;
}

static int make(const char *spec)
{
	const struct make_request rq = {.app = test_name("shop"),
					.version = test_target("1.0").version,
					.env = test_name("prod"),
					.spec = spec,
					.spec_len = strlen(spec),
					.id = {1},
					.initiator = "test"};
	return make_deploy(f.st, &f.a, &rq, &made, &text);
}

/* Wave i is of this region and waits for the waves of `after`. */
static void assert_wave(size_t i, const char *region, uint64_t after, int64_t bake_ms)
{
	assert_string_equal(made.waves[i].region.s, region);
	assert_int_equal(made.waves[i].after, after);
	assert_int_equal(made.waves[i].bake_ms, bake_ms);
}

static void regions_follow_the_list_where_nothing_else_is_said(void **state)
{
	assert_int_equal(
		make(FILE_OF("{ name: shop }", "[{ name: eu }, { name: us, bake: 1m }, { name: ap }]")),
		E_OK);
	assert_wave(0, "eu", 0, 60000);
	assert_wave(1, "us", 1, 0);
	assert_wave(2, "ap", 2, 0);
}

static void regions_go_side_by_side_after_the_same_one_or_after_none(void **state)
{
	assert_int_equal(
		make(FILE_OF("{ name: shop }", "[{ name: eu, after: ap }, { name: us, after: ap, bake: 1m }, "
					       "{ name: ap, after: none }]")),
		E_OK);
	assert_wave(0, "ap", 0, 60000);
	assert_wave(1, "eu", 1, 0);
	assert_wave(2, "us", 1, 0);
	assert_int_equal(
		make(FILE_OF("{ name: shop }", "[{ name: eu }, { name: us, after: none }, { name: ap }]")),
		E_OK);
	assert_wave(0, "eu", 0, 0);
	assert_wave(1, "us", 0, 0);
	assert_wave(2, "ap", 2, 0);
}

static void a_circle_through_the_list_is_told_with_its_place(void **state)
{
	assert_int_equal(make(FILE_OF("{ name: shop }", "[{ name: eu, after: us }, { name: us }]")), E_SPEC);
	assert_non_null(strstr(text.error, "deploy.yaml:5:"));
}

static void a_release_of_another_type_than_the_file_says_is_refused(void **state)
{
	assert_int_equal(make(FILE_OF("{ name: shop, type: tar.zst }", "[{ name: eu }]")), E_OK);
	assert_int_equal(make(FILE_OF("{ name: shop }", "[{ name: eu }]")), E_OK);
	assert_int_equal(make(FILE_OF("{ name: shop, type: tar.gz }", "[{ name: eu }]")), E_INVALID);
	assert_string_equal(text.error, "shop 1.0 is a tar.zst, and artifact.type of the file says tar.gz");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(regions_follow_the_list_where_nothing_else_is_said),
		T(regions_go_side_by_side_after_the_same_one_or_after_none),
		T(a_circle_through_the_list_is_told_with_its_place),
		T(a_release_of_another_type_than_the_file_says_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
