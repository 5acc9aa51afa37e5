#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/spool.h"
#include "tests/lib/test.h"

static char dir[256];
static struct spool *s;
static const struct spool_limits small = {.most_bytes = 400, .segment_bytes = 100};

static int begin(void **state)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof(dir), "%s/spool-XXXXXX", tmp != NULL ? tmp : "/tmp");
	return mkdtemp(dir) == NULL ? -1 : spool_open(&s, dir, small, NULL);
}

/* Applies `f` to each file but the id's; returns how many segments there are. */
static int each_segment(int (*f)(const char *path))
{
	int n = 0;
	DIR *d = opendir(dir);
	for (struct dirent *p; d != NULL && (p = readdir(d)) != NULL;) {
		char path[600];
		snprintf(path, sizeof(path), "%s/%s", dir, p->d_name);
		if (p->d_name[0] == '.' || strcmp(p->d_name, "id") == 0)
			continue;
		n++;
		if (f != NULL)
			assert_int_equal(f(path), 0);
	}
	closedir(d);
	return n;
}

static int end(void **state)
{
	spool_free(s);
	char id[600];
	snprintf(id, sizeof(id), "%s/id", dir);
	each_segment(unlink);
	unlink(id);
	return rmdir(dir);
}

static void put(const char *text)
{
	assert_int_equal(spool_put(s, SPOOL_MATTERS, text, strlen(text), NULL), E_OK);
}

static void reopen(void)
{
	spool_free(s);
	s = NULL;
	assert_int_equal(spool_open(&s, dir, small, NULL), E_OK);
}

static void expect(uint64_t after, uint64_t number, const char *text)
{
	struct buf b;
	uint64_t found;
	buf_init(&b);
	assert_int_equal(spool_read(s, after, &found, &b, NULL), E_OK);
	assert_int_equal(found, number);
	assert_string_equal(buf_cstr(&b), text);
	buf_done(&b);
}

static void expect_none(uint64_t after)
{
	struct buf b;
	uint64_t found;
	buf_init(&b);
	assert_int_equal(spool_read(s, after, &found, &b, NULL), E_NOT_FOUND);
	buf_done(&b);
}

static void chunks_are_numbered_and_survive(void **state)
{
	put("one");
	put("two");
	assert_int_equal(spool_sync(s, NULL), E_OK);
	reopen();
	expect(0, 1, "one");
	expect(1, 2, "two");
	expect_none(2);
	assert_int_equal(spool_next_number(s), 3);
}

static void an_acknowledgement_frees_and_numbers_go_on(void **state)
{
	for (int i = 0; i < 50; i++)
		put("a chunk of some length");
	assert_int_equal(spool_ack(s, 20, NULL), E_OK);
	expect(0, 21, "a chunk of some length");
	assert_int_equal(spool_ack(s, 50, NULL), E_OK);
	assert_int_equal(spool_bytes(s), 0);
	assert_int_equal(each_segment(NULL), 1);
	reopen();
	expect_none(0);
	assert_int_equal(spool_acked(s), 50);
	assert_int_equal(spool_next_number(s), 51);
}

static void what_was_never_sent_cannot_be_acknowledged(void **state)
{
	put("one");
	assert_int_equal(spool_ack(s, 2, NULL), E_PROTOCOL);
	expect(0, 1, "one");
}

static void log_lines_are_dropped_and_counted_but_results_never(void **state)
{
	unsigned dropped = 0;
	for (int i = 0; i < 50; i++)
		dropped += spool_put(s, SPOOL_LOG, "a line of a log", 15, NULL) == E_BUSY;
	assert_true(dropped > 30);
	assert_int_equal(spool_dropped(s), dropped);
	put("result");
	assert_int_equal(spool_next_number(s), 50 - dropped + 2);
}

static int cut_last_byte(const char *path)
{
	struct stat st;
	return stat(path, &st) != 0 || truncate(path, st.st_size - 1) != 0;
}

static void a_torn_end_is_cut_off(void **state)
{
	put("one");
	put("two");
	each_segment(cut_last_byte);
	reopen();
	expect(0, 1, "one");
	expect_none(1);
	assert_int_equal(spool_damaged(s), 1);
	put("again");
	reopen();
	expect(1, 2, "again");
	assert_int_equal(spool_damaged(s), 0);
}

static void its_id_is_that_of_its_numbers(void **state)
{
	struct spool_id before = spool_id(s);
	assert_true(before.hi != 0 || before.lo != 0);
	reopen();
	assert_true(spool_id(s).hi == before.hi && spool_id(s).lo == before.lo);
	assert_int_equal(end(NULL), 0);
	assert_int_equal(begin(NULL), 0);
	assert_false(spool_id(s).hi == before.hi && spool_id(s).lo == before.lo);
}

static int flip_a_byte_of_the_third(const char *path)
{
	enum { ENTRY = 16 + 3, AT = 2 * ENTRY + 17 };
	char c;
	FILE *f = fopen(path, "r+");
	assert_non_null(f);
	assert_int_equal(fseek(f, AT, SEEK_SET), 0);
	assert_int_equal(fread(&c, 1, 1, f), 1);
	c ^= 1;
	assert_int_equal(fseek(f, AT, SEEK_SET), 0);
	assert_int_equal(fwrite(&c, 1, 1, f), 1);
	return fclose(f);
}

/* 3 was acknowledged, and its number is given out once more: by another spool, or it would be seen as known.
 */
static void numbers_after_damage_are_those_of_a_new_spool(void **state)
{
	put("111");
	put("222");
	put("333");
	put("444");
	struct spool_id before = spool_id(s);
	assert_int_equal(spool_ack(s, 3, NULL), E_OK);
	each_segment(flip_a_byte_of_the_third);
	reopen();
	struct spool_id after = spool_id(s);
	assert_int_equal(spool_next_number(s), 3);
	assert_false(after.hi == before.hi && after.lo == before.lo);
	reopen();
	assert_true(spool_id(s).hi == after.hi && spool_id(s).lo == after.lo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(chunks_are_numbered_and_survive, begin, end),
		cmocka_unit_test_setup_teardown(an_acknowledgement_frees_and_numbers_go_on, begin, end),
		cmocka_unit_test_setup_teardown(what_was_never_sent_cannot_be_acknowledged, begin, end),
		cmocka_unit_test_setup_teardown(log_lines_are_dropped_and_counted_but_results_never, begin,
						end),
		cmocka_unit_test_setup_teardown(a_torn_end_is_cut_off, begin, end),
		cmocka_unit_test_setup_teardown(its_id_is_that_of_its_numbers, begin, end),
		cmocka_unit_test_setup_teardown(numbers_after_damage_are_those_of_a_new_spool, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
