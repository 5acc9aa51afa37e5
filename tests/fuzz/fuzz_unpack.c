/*
 * The archive filter of a host, in this process, into a folder in memory: whatever the archive is, what it
 * leaves are files, folders and links that stay inside, within the limits, and nothing beside the folder.
 */
#include <fcntl.h>
#include <ftw.h>
#include <locale.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/unpack/entries.h"
#include "base/pathrule.h"

enum { BYTES_MAX = 1 << 20, ENTRIES_MAX = 100, WALK_FDS = 16 };

static char top[] = "/dev/shm/wavetrain-fuzz-XXXXXX";
static jmp_buf gave_up;
static int home, archive_fd;
static off_t bytes;
static unsigned beside;

void entries_give_up(int code, const char *why)
{
	PRE(code == ENTRIES_REFUSED || code == ENTRIES_DISK);
	longjmp(gave_up, code);
}

static int is_allowed(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	char to[PATHRULE_BYTES_MAX + 1] = "";
	const char *name = path + strlen("./");
	bytes += S_ISREG(st->st_mode) ? st->st_size : 0;
	if (at->level == 0)
		return 0;
	PRE(pathrule_refuses(name) == NULL);
	if (S_ISLNK(st->st_mode)) {
		PRE(readlink(path, to, sizeof to - 1) > 0 && pathrule_refuses_link(name, to) == NULL);
		return 0;
	}
	PRE(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode));
	PRE((st->st_mode & 07777) == 0755 || (S_ISREG(st->st_mode) && (st->st_mode & 07777) == 0644));
	return 0;
}

static int count_beside(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	beside += at->level == 1;
	return 0;
}

static int take_away(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return at->level == 0 ? 0 : remove(path);
}

static void forget(void)
{
	nftw(top, take_away, WALK_FDS, FTW_PHYS | FTW_DEPTH);
	rmdir(top);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	setlocale(LC_CTYPE, "C.UTF-8"); /* as the program does: libarchive reads names through it */
	umask(022);
	home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	archive_fd = memfd_create("archive", MFD_CLOEXEC);
	PRE(home >= 0 && archive_fd >= 0 && mkdtemp(top) != NULL);
	atexit(forget);
	return 0;
}

static void unpack(const uint8_t *p, size_t n)
{
	struct archive *ar = archive_read_new();
	int first_free = dup(home); /* what is opened and left open has this number, or a higher one */
	PRE(ar != NULL && first_free >= 0);
	close(first_free);
	PRE(ftruncate(archive_fd, 0) == 0 && pwrite(archive_fd, p, n, 0) == (ssize_t)n);
	PRE(lseek(archive_fd, 0, SEEK_SET) == 0);
	if (setjmp(gave_up) == 0)
		entries_unpack(ar, archive_fd, BYTES_MAX, ENTRIES_MAX);
	archive_read_free(ar);
	close_range((unsigned)first_free, ~0U, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	bytes = beside = 0;
	PRE(chdir(top) == 0 && mkdir("slot", 0755) == 0 && chdir("slot") == 0);
	unpack(p, n);
	PRE(nftw(".", is_allowed, WALK_FDS, FTW_PHYS) == 0 && bytes <= BYTES_MAX);
	PRE(nftw(top, count_beside, WALK_FDS, FTW_PHYS) == 0 && beside == 1);
	PRE(fchdir(home) == 0 && nftw(top, take_away, WALK_FDS, FTW_PHYS | FTW_DEPTH) == 0);
	return 0;
}
