#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "coordinator/artifact/inspect.h"

static char folder[64];

static int make_corpus(void **state)
{
	char command[1024];
	snprintf(folder, sizeof folder, "/tmp/wavetrain-hostile-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(command, sizeof command, "python3 '%s' '%s'", MAKE_HOSTILE, folder);
	return system(command);
}

static int remove_corpus(void **state)
{
	char command[128];
	snprintf(command, sizeof command, "rm -r '%s'", folder);
	return system(command);
}

static int inspect(const char *name, struct err *e)
{
	char path[512];
	struct inspect_result r;
	const struct inspect_limits limits = {.unpacked_bytes = 8 << 20, .entries = 1000};
	snprintf(path, sizeof path, "%s/%s", folder, name);
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	int rc = inspect_archive(fd, &limits, &r, e);
	close(fd);
	return rc;
}

static unsigned each(const char *prefix, bool want_ok)
{
	DIR *d = opendir(folder);
	unsigned seen = 0;
	assert_non_null(d);
	for (struct dirent *en; (en = readdir(d)) != NULL;) {
		struct err e = {0};
		if (strncmp(en->d_name, prefix, strlen(prefix)) != 0)
			continue;
		int rc = inspect(en->d_name, &e);
		if ((rc == E_OK) != want_ok)
			print_error("%s: %s %s\n", en->d_name, err_name(rc), e.text);
		assert_int_equal(rc == E_OK, want_ok);
		seen++;
	}
	closedir(d);
	return seen;
}

static void what_hosts_can_take_is_taken(void **state)
{
	assert_true(each("good-", true) >= 12);
}

static void every_hostile_archive_is_refused(void **state)
{
	assert_true(each("bad-", false) >= 60);
}

static void the_refusal_names_the_entry_and_the_reason(void **state)
{
	struct err e = {0};
	assert_int_equal(inspect("bad-setuid.tar.gz", &e), E_INVALID);
	assert_string_equal(e.text, "entry 's' is setuid or setgid");
}

static void size_count_and_type_are_told(void **state)
{
	struct err e = {0};
	struct inspect_result r;
	const struct inspect_limits limits = {0};
	char path[512];
	snprintf(path, sizeof path, "%s/good-plain.tar.gz", folder);
	int fd = open(path, O_RDONLY);
	assert_int_equal(inspect_archive(fd, &limits, &r, &e), E_OK);
	close(fd);
	assert_int_equal(r.entries, 3);
	assert_int_equal(r.unpacked_bytes, 2);
	assert_string_equal(r.type, "tar.gz");
}

static void a_hole_counts_as_what_it_becomes_on_a_host(void **state)
{
	static const char *const types[] = {"tar.gz", "tar.zst"};
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct err e = {0};
		struct inspect_result r;
		const struct inspect_limits limits = {0};
		char path[512];
		snprintf(path, sizeof path, "%s/good-sparse.%s", folder, types[i]);
		int fd = open(path, O_RDONLY);
		assert_int_equal(inspect_archive(fd, &limits, &r, &e), E_OK);
		close(fd);
		assert_int_equal(r.unpacked_bytes, (1 << 20) + 1);
		assert_string_equal(r.type, types[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_hosts_can_take_is_taken),
		cmocka_unit_test(every_hostile_archive_is_refused),
		cmocka_unit_test(the_refusal_names_the_entry_and_the_reason),
		cmocka_unit_test(size_count_and_type_are_told),
		cmocka_unit_test(a_hole_counts_as_what_it_becomes_on_a_host),
	};
	return cmocka_run_group_tests(tests, make_corpus, remove_corpus);
}
