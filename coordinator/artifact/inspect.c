#include "coordinator/artifact/inspect.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uthash.h>

#include "base/pathrule.h"

enum { UNPACKED_MAX_GIB = 4, ENTRIES_MAX = 100000, MEMORY_MAX_MIB = 1024, CPU_MAX_S = 120 };

struct seen {
	UT_hash_handle hh;
	char name[]; /* folded */
};

struct inspection {
	struct archive *ar;
	const struct inspect_limits *limits;
	struct inspect_result r;
	struct seen *seen;
	struct err *e;
};

static int refuse(struct inspection *in, const char *name, const char *why)
{
	return err_set(in->e, E_INVALID, "entry '%.120s' %s", name, why);
}

static int check_kind(struct inspection *in, struct archive_entry *en, const char *name)
{
	mode_t type = archive_entry_filetype(en);
	if (archive_entry_hardlink(en) != NULL)
		return refuse(in, name, "is a hard link; pack the file itself");
	if (type == AE_IFLNK) {
		const char *to = archive_entry_symlink(en);
		const char *why = to == NULL ? "links to nothing" : pathrule_refuses_link(name, to);
		return why == NULL ? E_OK : refuse(in, name, why);
	}
	if (type != AE_IFREG && type != AE_IFDIR)
		return refuse(in, name, "is a device, fifo or socket");
	if ((archive_entry_perm(en) & 06000) != 0)
		return refuse(in, name, "is setuid or setgid");
	return E_OK;
}

static int check_twice(struct inspection *in, const char *name)
{
	char folded[PATHRULE_BYTES_MAX + 1];
	struct seen *s;
	size_t n = strlen(pathrule_fold(name, folded));
	HASH_FIND(hh, in->seen, folded, n, s);
	if (s != NULL)
		return refuse(in, name, "is there twice (names that differ only in case count as one)");
	s = malloc(sizeof *s + n + 1);
	PRE(s != NULL);
	memcpy(s->name, folded, n + 1);
	HASH_ADD_KEYPTR(hh, in->seen, s->name, n, s);
	return E_OK;
}

/* Counted as they come, so a lying entry is found by its bytes; `size`, what the header says, counts the hole
 * that a file may end in, of which no block comes. */
static int count_bytes(struct inspection *in, const char *name, uint64_t size)
{
	uint64_t most = in->limits->unpacked_bytes != 0 ? in->limits->unpacked_bytes
							: (uint64_t)UNPACKED_MAX_GIB << 30;
	const void *p;
	size_t n;
	la_int64_t offset;
	uint64_t end = 0;
	int rc;
	while ((rc = archive_read_data_block(in->ar, &p, &n, &offset)) == ARCHIVE_OK) {
		if ((uint64_t)offset + n > end)
			end = (uint64_t)offset + n;
		if (in->r.unpacked_bytes + end > most)
			return refuse(in, name, "makes the archive unpack to more than its limit");
	}
	if (rc != ARCHIVE_EOF)
		return err_set(in->e, E_CORRUPT, "entry '%.120s' is damaged or cut: %.80s", name,
			       archive_error_string(in->ar));
	if (size > most - in->r.unpacked_bytes)
		return refuse(in, name, "makes the archive unpack to more than its limit");
	in->r.unpacked_bytes += size > end ? size : end;
	return E_OK;
}

static int check_entry(struct inspection *in, struct archive_entry *en)
{
	uint64_t most = in->limits->entries != 0 ? in->limits->entries : ENTRIES_MAX;
	const char *name = archive_entry_pathname(en);
	if (++in->r.entries > most)
		return err_set(in->e, E_TOO_LARGE, "more than %llu entries", (unsigned long long)most);
	if (name == NULL)
		return refuse(in, "?", "has no name that can be read");
	if (strcmp(name, "./") == 0 || strcmp(name, ".") == 0)
		return E_OK; /* the root, as `tar -C dir .` writes it */
	if (strncmp(name, "./", 2) == 0)
		name += 2;
	const char *why = pathrule_refuses(name);
	if (why != NULL)
		return refuse(in, name, why);
	int rc = check_kind(in, en, name);
	if (rc == E_OK)
		rc = check_twice(in, name);
	if (rc != E_OK || archive_entry_filetype(en) != AE_IFREG)
		return rc;
	return count_bytes(in, name, (uint64_t)archive_entry_size(en));
}

static int check_type(struct inspection *in)
{
	int code = archive_filter_code(in->ar, 0);
	if (code != ARCHIVE_FILTER_GZIP && code != ARCHIVE_FILTER_ZSTD)
		return err_set(in->e, E_INVALID, "not a .tar.gz or .tar.zst");
	snprintf(in->r.type, sizeof in->r.type, "%s", code == ARCHIVE_FILTER_GZIP ? "tar.gz" : "tar.zst");
	return E_OK;
}

static int walk(struct inspection *in, int fd)
{
	struct archive_entry *en;
	int rc, got;
	/* Never _all: the other readers have a long history of holes. */
	archive_read_support_filter_gzip(in->ar);
	archive_read_support_filter_zstd(in->ar);
	archive_read_support_format_tar(in->ar);
	if (archive_read_open_fd(in->ar, fd, 64 * 1024) != ARCHIVE_OK)
		return err_set(in->e, E_CORRUPT, "not an archive: %.120s", archive_error_string(in->ar));
	while ((got = archive_read_next_header(in->ar, &en)) == ARCHIVE_OK) {
		if (in->r.entries == 0 && (rc = check_type(in)) != E_OK)
			return rc;
		if ((rc = check_entry(in, en)) != E_OK)
			return rc;
	}
	if (got != ARCHIVE_EOF)
		return err_set(in->e, E_CORRUPT, "damaged or cut after %llu entries: %.120s",
			       (unsigned long long)in->r.entries, archive_error_string(in->ar));
	return in->r.entries > 0 ? E_OK : err_set(in->e, E_INVALID, "the archive is empty");
}

int inspect_here(int fd, const struct inspect_limits *limits, struct inspect_result *out, struct err *e)
{
	struct inspection in = {.ar = archive_read_new(), .limits = limits, .e = e};
	PRE(in.ar != NULL);
	int rc = walk(&in, fd);
	struct seen *s, *next;
	HASH_ITER(hh, in.seen, s, next)
	{
		HASH_DEL(in.seen, s);
		free(s);
	}
	archive_read_free(in.ar);
	if (rc == E_OK)
		*out = in.r;
	return rc;
}

/* ---- the child
 * -------------------------------------------------------------------------------------------------------------
 */

struct verdict {
	int rc;
	struct inspect_result result;
	char text[sizeof((struct err *)0)->text];
};

static void limit(int what, rlim_t v)
{
	setrlimit(what, &(struct rlimit){v, v});
}

static _Noreturn void child(int fd, int out, const struct inspect_limits *limits)
{
	struct verdict v = {0};
	struct err e = {0};
	/* Not RLIMIT_AS: the parent has the whole state mapped, which counts there. */
#ifndef __SANITIZE_ADDRESS__ /* its shadow memory counts as data */
	limit(RLIMIT_DATA, (rlim_t)MEMORY_MAX_MIB << 20);
#endif
	limit(RLIMIT_CPU, CPU_MAX_S);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_CORE, 0);
	/* libarchive reads names through the locale; this process is ours alone, so it may be set. */
	setlocale(LC_CTYPE, "C.UTF-8");
	v.rc = inspect_here(fd, limits, &v.result, &e);
	memcpy(v.text, e.text, sizeof v.text);
	_exit(write(out, &v, sizeof v) == sizeof v ? 0 : 1);
}

static int read_verdict(int fd, struct verdict *v)
{
	char *at = (char *)v;
	size_t left = sizeof *v;
	while (left > 0) {
		ssize_t r = read(fd, at, left);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return E_CORRUPT;
		at += r;
		left -= (size_t)r;
	}
	return E_OK;
}

static int reap(pid_t pid, int from, struct verdict *v, struct err *e)
{
	int status, rc = read_verdict(from, v);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc != E_OK)
		return err_set(e, E_CORRUPT, "the archive broke its reader (%s %d); it was refused",
			       WIFSIGNALED(status) ? "signal" : "exit",
			       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return v->rc == E_OK ? E_OK : err_set(e, v->rc, "%s", v->text);
}

int inspect_archive(int fd, const struct inspect_limits *limits, struct inspect_result *out, struct err *e)
{
	int pipes[2];
	struct verdict v;
	if (pipe(pipes) != 0)
		return err_sys(e, E_IO, errno, "inspect: pipe");
	pid_t pid = fork();
	if (pid == 0)
		child(fd, pipes[1], limits);
	close(pipes[1]);
	int rc = pid < 0 ? err_sys(e, E_IO, errno, "inspect: fork") : reap(pid, pipes[0], &v, e);
	close(pipes[0]);
	if (rc == E_OK)
		*out = v.result;
	return rc;
}
