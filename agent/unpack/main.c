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
#include <linux/landlock.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/unpack/entries.h"

enum { EXIT_USAGE = 64, FOLDER_FD = 3, MEMORY_MAX_MIB = 1024, CPU_MAX_S = 300, FILES_MAX = 64 };

#ifdef __SANITIZE_ADDRESS__
/* LeakSanitizer looks at its process from outside, which the jail forbids. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}
#endif

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
		entries_give_up(ENTRIES_DISK, "descriptor 3 is no folder");
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

void entries_give_up(int code, const char *why)
{
	fprintf(stderr, "%s\n", why);
	exit(code);
}

int main(int argc, char **argv)
{
	uint64_t max_bytes = 0, max_entries = 0;
	char *end_bytes = NULL, *end_entries = NULL;
	if (argc == 3) {
		max_bytes = strtoull(argv[1], &end_bytes, 10);
		max_entries = strtoull(argv[2], &end_entries, 10);
	}
	if (argc != 3 || *end_bytes != '\0' || *end_entries != '\0') {
		fprintf(stderr, "usage: wavetrain-unpack MAX-BYTES MAX-ENTRIES  (archive on 0, folder on 3; "
				"started by wavetrain-agent)\n");
		return EXIT_USAGE;
	}
	struct archive *ar = archive_read_new();
	jail(max_bytes);
	if (ar == NULL)
		return ENTRIES_DISK;
	entries_unpack(ar, STDIN_FILENO, max_bytes, max_entries);
	archive_read_free(ar);
	return 0;
}
