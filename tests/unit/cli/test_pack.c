#include "tests/lib/test.h"
#include "coordinator/cli/cli_pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[128];

static const char *in_dir(const char *name)
{
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof dir, "%.40s/wt-pack-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	write_file("b", "bee", 0755);
	write_file("a", "", 0644);
	assert_int_equal(mkdir(in_dir("sub"), 0755), 0);
	write_file("sub/c", "sea", 0644);
	assert_int_equal(symlink("b", in_dir("link")), 0);
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"a", "b", "sub/c", "link", "pipe"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unlink(in_dir(names[i]));
	rmdir(in_dir("sub"));
	return rmdir(dir);
}

static int pack(struct err *e, int *fd)
{
	*fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(*fd >= 0);
	int rc = cli_pack(dir, *fd, e);
	lseek(*fd, 0, SEEK_SET);
	return rc;
}

static void names_are_sorted_and_anonymous(void **state)
{
	static const char *const want[] = {"a", "b", "link", "sub/", "sub/c"};
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	struct err e = {0};
	int fd;
	assert_int_equal(pack(&e, &fd), E_OK);
	archive_read_support_filter_all(a);
	archive_read_support_format_all(a);
	assert_int_equal(archive_read_open_fd(a, fd, 4096), ARCHIVE_OK);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_int_equal(archive_read_next_header(a, &entry), ARCHIVE_OK);
		assert_string_equal(archive_entry_pathname(entry), want[i]);
		assert_int_equal(archive_entry_mtime(entry), 0);
		assert_int_equal(archive_entry_uid(entry), 0);
	}
	assert_int_equal(archive_read_next_header(a, &entry), ARCHIVE_EOF);
	archive_read_free(a);
	close(fd);
}

static void the_same_content_gives_the_same_bytes(void **state)
{
	char one[4096], two[4096];
	struct err e = {0};
	int fd;
	assert_int_equal(pack(&e, &fd), E_OK);
	ssize_t n = read(fd, one, sizeof one);
	close(fd);
	assert_int_equal(unlink(in_dir("a")), 0);
	write_file("a", "", 0644); /* another time, another inode */
	assert_int_equal(pack(&e, &fd), E_OK);
	assert_int_equal(read(fd, two, sizeof two), n);
	assert_memory_equal(one, two, (size_t)n);
	close(fd);
}

static void what_is_no_file_is_refused_by_name(void **state)
{
	struct err e = {0};
	int fd;
	assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
	assert_int_equal(pack(&e, &fd), E_INVALID);
	assert_non_null(strstr(e.text, "pipe is no file"));
	close(fd);
	assert_int_equal(cli_pack("/nonexistent", 1, &e), E_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_are_sorted_and_anonymous, setup, teardown),
		cmocka_unit_test_setup_teardown(the_same_content_gives_the_same_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_file_is_refused_by_name, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
