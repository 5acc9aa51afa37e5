#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/bundle.h"
#include "tests/lib/test.h"

static const char good[] =
	"{\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"host\":\"eu-1\",\"region\":\"eu\",\"zone\":"
	"\"\",\"generation\":2,"
	"\"coordinators\":[\"127.0.0.1:7400\",\"[::1]:7400\"],\"server_name\":\"coordinator\"}";

static int parse(const char *json, struct bundle *b, struct err *e)
{
	static struct arena a;
	arena_done(&a);
	arena_init(&a);
	int rc = bundle_parse(&a, json, strlen(json), b, e);
	if (rc != E_OK)
		arena_done(&a);
	return rc;
}

static void a_bundle_says_who_the_host_is(void **state)
{
	struct arena a;
	struct bundle b;
	arena_init(&a);
	assert_int_equal(bundle_parse(&a, good, strlen(good), &b, NULL), E_OK);
	assert_string_equal(b.host.s, "eu-1");
	assert_int_equal(b.cluster_lo, 0x8899aabbccddeeff);
	assert_int_equal(b.generation, 2);
	assert_string_equal(b.coordinators[1], "[::1]:7400");
	assert_null(b.coordinators[2]);
	assert_int_equal(b.poll_wait_ms, 27500);
	arena_done(&a);
}

static void what_is_wrong_is_named(void **state)
{
	static const char *const wrong[][2] = {
		{"", "bundle.json"},
		{"[]", "JSON object"},
		{"{\"cluster_id\":\"1\"}", "cluster_id"},
		{"{\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"host\":\"..\"}", "host"},
		{"{\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"host\":\"a\",\"region\":\"b\"}",
		 "generation"},
		{"{\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"host\":\"a\",\"region\":\"b\","
		 "\"generation\":1,"
		 "\"coordinators\":[\"a\"]}",
		 "coordinators"},
	};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct bundle b;
		struct err e;
		assert_int_equal(parse(wrong[i][0], &b, &e), E_INVALID);
		assert_non_null(strstr(e.text, wrong[i][1]));
	}
}

static void write_file(const char *dir, const char *name, const char *text, mode_t mode)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static void a_key_that_others_may_read_is_refused(void **state)
{
	char dir[256], path[300];
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof(dir), "%s/bundle-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	write_file(dir, "bundle.json", good, 0644);
	write_file(dir, "key.pem", "k", 0640);
	struct arena a;
	struct bundle b;
	arena_init(&a);
	assert_int_equal(bundle_load(&a, dir, &b, NULL), E_DENIED);
	write_file(dir, "key.pem", "k", 0600);
	assert_int_equal(bundle_load(&a, dir, &b, NULL), E_OK);
	arena_done(&a);
	snprintf(path, sizeof(path), "%s/bundle.json", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/key.pem", dir);
	unlink(path);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bundle_says_who_the_host_is),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(a_key_that_others_may_read_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
