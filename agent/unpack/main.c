/*
 * wavetrain-unpack: one archive into one empty folder, in a process that can do nothing else. wavetrain-agent
 * starts it with the archive, whose digest it has verified, as descriptor 0 and the folder as descriptor 3:
 *
 *     wavetrain-unpack MAX-BYTES MAX-ENTRIES
 *
 * It jails itself (no new privileges, no network where the kernel lets it, Landlock to the folder, limits on
 * memory, time and file size), writes regular files, folders and links that stay inside, everything with
 * modes 0644 and 0755, and fsyncs what it wrote. Exit codes: 0 done, 1 refused (why stands on stderr), 70 the
 * disk failed. The caller renames the folder into place.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/pathrule.h"

enum {
	EXIT_REFUSED = 1,
	EXIT_USAGE = 64,
	EXIT_DISK = 70,
	FOLDER_FD = 3,
	MEMORY_MAX_MIB = 1024,
	CPU_MAX_S = 300,
	FILES_MAX = 64
};

#ifdef __SANITIZE_ADDRESS__
/* LeakSanitizer looks at its process from outside, which the jail forbids. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}
#endif

struct unpack {
	struct archive *ar;
	uint64_t bytes_left, entries_left;
};

static _Noreturn void refuse(const char *name, const char *why)
{
	fprintf(stderr, "entry '%.120s' %s\n", name, why);
	exit(EXIT_REFUSED);
}

static _Noreturn void disk_failed(const char *what, const char *name)
{
	fprintf(stderr, "%s %.120s: %s\n", what, name, strerror(errno));
	exit(EXIT_DISK);
}

/* ---- the jail
 * ---------------------------------------------------------------------------------------------------------------
 */

static void limit(int what, rlim_t v)
{
	setrlimit(what, &(struct rlimit){v, v});
}

/* Kernels without Landlock, or with it switched off, leave the other walls. */
static void landlock_to_folder(void)
{
	const uint64_t writes = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
				LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SYM |
				LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	const struct landlock_ruleset_attr attr = {
		.handled_access_fs = writes | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
				     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
				     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
				     LANDLOCK_ACCESS_FS_MAKE_BLOCK};
	const struct landlock_path_beneath_attr beneath = {.allowed_access = writes, .parent_fd = FOLDER_FD};
	int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (rules < 0)
		return;
	if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0)
		syscall(SYS_landlock_restrict_self, rules, 0);
	close(rules);
}

static void jail(uint64_t max_bytes)
{
	setlocale(LC_CTYPE, "C.UTF-8"); /* libarchive reads names through it; before the files of the locale
					   are out of reach */
	/* Whatever the agent forgot to mark: no socket of its comes in here. */
	syscall(SYS_close_range, FOLDER_FD + 1, ~0U, 0);
	if (fchdir(FOLDER_FD) != 0)
		disk_failed("enter", "the folder");
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		unshare(CLONE_NEWNET);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever waits for the folder is gone */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	landlock_to_folder();
	limit(RLIMIT_FSIZE, max_bytes);
	limit(RLIMIT_CPU, CPU_MAX_S);
	limit(RLIMIT_NOFILE, FILES_MAX);
	limit(RLIMIT_CORE, 0);
#ifndef __SANITIZE_ADDRESS__ /* its shadow memory counts as data */
	limit(RLIMIT_DATA, (rlim_t)MEMORY_MAX_MIB << 20);
#endif
	umask(022);
}

/* ---- writing
 * ------------------------------------------------------------------------------------------------------------------
 */

static void make_parents(const char *name)
{
	char path[PATHRULE_BYTES_MAX + 1];
	snprintf(path, sizeof path, "%s", name);
	for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) != 0 && errno != EEXIST)
			disk_failed("make folder", path);
		struct stat st;
		/* A link that stands where a folder should be would lead what follows elsewhere. */
		if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode))
			refuse(name, "goes through something that is no folder");
		*slash = '/';
	}
}

static void write_at(int fd, const char *name, const void *p, size_t n, la_int64_t offset)
{
	for (const char *at = p; n > 0;) {
		ssize_t w = pwrite(fd, at, n, offset);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			disk_failed("write", name);
		at += w;
		offset += w;
		n -= (size_t)w;
	}
}

static void write_bytes(struct unpack *u, int fd, const char *name)
{
	const void *p;
	size_t n;
	la_int64_t offset;
	uint64_t end = 0;
	int rc;
	while ((rc = archive_read_data_block(u->ar, &p, &n, &offset)) == ARCHIVE_OK) {
		if ((uint64_t)offset + n > end)
			end = (uint64_t)offset + n;
		if (end > u->bytes_left)
			refuse(name, "makes the archive larger than was announced");
		write_at(fd, name, p, n, offset);
	}
	if (rc != ARCHIVE_EOF)
		refuse(name, "is damaged or cut");
	u->bytes_left -= end;
}

static void write_file(struct unpack *u, struct archive_entry *en, const char *name)
{
	mode_t mode = archive_entry_perm(en) & 0111 ? 0755 : 0644;
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0 && errno == EEXIST)
		refuse(name, "is there twice");
	if (fd < 0)
		disk_failed("create", name);
	write_bytes(u, fd, name);
	if (fsync(fd) != 0 || close(fd) != 0)
		disk_failed("fsync", name);
}

static void sync_folder(const char *name)
{
	int fd = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		disk_failed("fsync folder", name);
	close(fd);
}

/* Every folder on the way to a name, after the name itself: files before folders. */
static void sync_parents(const char *name)
{
	char path[PATHRULE_BYTES_MAX + 1];
	snprintf(path, sizeof path, "%s", name);
	for (char *slash = strrchr(path, '/'); slash != NULL; slash = strrchr(path, '/')) {
		*slash = '\0';
		if (*path != '\0' && slash[1] != '\0')
			sync_folder(path);
	}
	sync_folder(".");
}

static void one_entry(struct unpack *u, struct archive_entry *en, const char *name)
{
	mode_t type = archive_entry_filetype(en);
	const char *why = pathrule_refuses(name);
	if (why != NULL)
		refuse(name, why);
	if (archive_entry_hardlink(en) != NULL)
		refuse(name, "is a hard link");
	make_parents(name);
	if (type == AE_IFDIR) {
		if (mkdir(name, 0755) != 0 && errno != EEXIST)
			disk_failed("make folder", name);
	} else if (type == AE_IFLNK) {
		const char *to = archive_entry_symlink(en);
		why = to == NULL ? "links to nothing" : pathrule_refuses_link(name, to);
		if (why != NULL)
			refuse(name, why);
		if (symlink(to, name) != 0)
			disk_failed("link", name);
	} else if (type == AE_IFREG && (archive_entry_perm(en) & 06000) == 0) {
		write_file(u, en, name);
	} else {
		refuse(name, "is neither file, folder nor link, or is setuid or setgid");
	}
	sync_parents(name);
}

static void all_entries(struct unpack *u)
{
	struct archive_entry *en;
	int rc;
	while ((rc = archive_read_next_header(u->ar, &en)) == ARCHIVE_OK) {
		const char *name = archive_entry_pathname(en);
		if (u->entries_left-- == 0)
			refuse(name == NULL ? "?" : name, "is one more than was announced");
		if (name == NULL)
			refuse("?", "has no name that can be read");
		if (strcmp(name, ".") == 0 || strcmp(name, "./") == 0)
			continue;
		one_entry(u, en, strncmp(name, "./", 2) == 0 ? name + 2 : name);
	}
	if (rc != ARCHIVE_EOF)
		refuse("the archive", "is damaged or cut");
}

int main(int argc, char **argv)
{
	struct unpack u = {0};
	char *end_bytes = NULL, *end_entries = NULL;
	if (argc == 3) {
		u.bytes_left = strtoull(argv[1], &end_bytes, 10);
		u.entries_left = strtoull(argv[2], &end_entries, 10);
	}
	if (argc != 3 || *end_bytes != '\0' || *end_entries != '\0') {
		fprintf(stderr, "usage: wavetrain-unpack MAX-BYTES MAX-ENTRIES  (archive on 0, folder on 3; "
				"started by wavetrain-agent)\n");
		return EXIT_USAGE;
	}
	u.ar = archive_read_new();
	jail(u.bytes_left);
	if (u.ar == NULL)
		return EXIT_DISK;
	archive_read_support_filter_gzip(u.ar);
	archive_read_support_filter_zstd(u.ar);
	archive_read_support_format_tar(u.ar);
	if (archive_read_open_fd(u.ar, STDIN_FILENO, 64 * 1024) != ARCHIVE_OK)
		refuse("the archive", "is not a .tar.gz or .tar.zst");
	all_entries(&u);
	archive_read_free(u.ar);
	return 0;
}
