#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/journal.h"
#include "tests/lib/test.h"

static char dir[256], file[300];
static const char *seeds; /* of the fuzzer: records as they stood on disks */

static int make_dir(void **state)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof(dir), "%s/journal-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/shop.journal", dir);
	return 0;
}

static int remove_dir(void **state)
{
	unlink(file);
	return rmdir(dir);
}

static struct agent_record sample(void)
{
	struct agent_record r = {
		.app = {"shop"}, .number = 7, .state = AGENT_PROBING, .touched = true, .starts = 2};
	r.work = (struct agent_assignment){.app = {"shop"}, .seq = 9, .fence = {1, 2, 3}, .deadline_ms = 5};
	memset(r.runs.id.b, 4, DIGEST_LEN);
	strcpy(r.runs.type, "tar.gz");
	strcpy(r.reason, "PROBING: http 503");
	r.cause = STEP_CAUSE_VERSION;
	r.code = E_UNAVAILABLE;
	r.activation = 11;
	r.activated_ms = -3;
	r.evidence.passes = 3;
	return r;
}

static void what_is_written_is_read(void **state)
{
	struct agent_record r = sample(), got[2];
	size_t nr;
	assert_int_equal(journal_write(dir, &r, NULL), E_OK);
	r.number = 8;
	assert_int_equal(journal_write(dir, &r, NULL), E_OK);
	assert_int_equal(journal_load(dir, got, 2, &nr, NULL), E_OK);
	assert_int_equal(nr, 1);
	struct buf a, b;
	buf_init(&a);
	buf_init(&b);
	journal_encode(&r, &a);
	journal_encode(&got[0], &b);
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.data, b.data, a.len);
	assert_string_equal(got[0].reason, r.reason);
	assert_int_equal(got[0].activated_ms, -3);
	buf_done(&a);
	buf_done(&b);
}

static void every_changed_byte_is_noticed(void **state)
{
	struct agent_record r = sample(), got;
	struct buf b;
	buf_init(&b);
	journal_encode(&r, &b);
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= 0x10;
		assert_int_not_equal(journal_decode(&got, b.data, b.len, NULL), E_OK);
		b.data[i] ^= 0x10;
		assert_int_not_equal(journal_decode(&got, b.data, i, NULL), E_OK);
	}
	assert_int_equal(journal_decode(&got, b.data, b.len, NULL), E_OK);
	buf_done(&b);
}

static void a_damaged_file_makes_its_app_unknown(void **state)
{
	struct agent_record r = sample(), got[1];
	size_t nr;
	assert_int_equal(journal_write(dir, &r, NULL), E_OK);
	assert_int_equal(truncate(file, 100), 0);
	assert_int_equal(journal_load(dir, got, 1, &nr, NULL), E_OK);
	assert_int_equal(nr, 1);
	assert_true(got[0].unknown);
	assert_string_equal(got[0].app.s, "shop");
	assert_int_equal(got[0].state, AGENT_IDLE);
	assert_true(digest_none(&got[0].runs.id));
}

static int decode_seed(const char *name, struct agent_record *out)
{
	uint8_t bytes[4096];
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", seeds, name);
	FILE *in = fopen(path, "rb");
	assert_non_null(in);
	size_t n = fread(bytes, 1, sizeof(bytes), in);
	fclose(in);
	return journal_decode(out, bytes, n, NULL);
}

/* The agent is upgraded under a running program: it must not have to ask what it wrote itself. */
static void what_the_version_before_wrote_is_read(void **state)
{
	struct agent_record one, two;
	assert_int_equal(decode_seed("probing-format-1", &one), E_OK);
	assert_int_equal(decode_seed("probing-in-a-fault", &two), E_OK);
	assert_int_equal(one.state, AGENT_PROBING);
	assert_int_equal(one.fault_since_ms + one.fault_ms + one.work.fault_cap_ms, 0);
	assert_int_equal(two.fault_since_ms, 5000);
	assert_int_equal(two.fault_ms, 61000);
	assert_int_equal(two.work.fault_cap_ms, 1800000);
	assert_int_equal(two.work.keep.b[31], 7);
	assert_true(two.work.skip_stop_hooks && !one.work.skip_stop_hooks);
	assert_int_equal(one.work.deadline_ms, two.work.deadline_ms);
	assert_int_equal(one.accepted_ms, two.accepted_ms);
	assert_memory_equal(&one.evidence, &two.evidence, sizeof(one.evidence));
}

static void a_directory_that_is_not_there_is_an_error(void **state)
{
	struct agent_record r = sample();
	struct err e;
	assert_int_equal(journal_write("/nonexistent/wavetrain", &r, &e), E_IO);
}

int main(int argc, char **argv)
{
	PRE(argc == 2);
	seeds = argv[1];
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_written_is_read, make_dir, remove_dir),
		cmocka_unit_test(every_changed_byte_is_noticed),
		cmocka_unit_test_setup_teardown(a_damaged_file_makes_its_app_unknown, make_dir, remove_dir),
		cmocka_unit_test(what_the_version_before_wrote_is_read),
		cmocka_unit_test(a_directory_that_is_not_there_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
