#include "coordinator/cli/cli_pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 64 };

struct pack {
	struct archive *a;
	struct err *e;
	unsigned depth;
};

static int put_folder(struct pack *p, int at, const char *path);

static int put_header(struct pack *p, const struct stat *st, const char *path, const char *link)
{
	struct archive_entry *entry = archive_entry_new();
	archive_entry_set_pathname(entry, path);
	archive_entry_set_mode(entry,
			       st->st_mode & (S_IFMT | 0777)); /* set-id bits have no place in a release */
	archive_entry_set_size(entry, S_ISREG(st->st_mode) ? st->st_size : 0);
	archive_entry_set_mtime(entry, 0, 0);
	if (link)
		archive_entry_set_symlink(entry, link);
	int rc = archive_write_header(p->a, entry);
	archive_entry_free(entry);
	return rc == ARCHIVE_OK ? E_OK : err_set(p->e, E_IO, "%s: %s", path, archive_error_string(p->a));
}

static int put_bytes(struct pack *p, int fd, const char *path, off_t size)
{
	char chunk[65536];
	ssize_t n = 0;
	off_t at = 0;
	while (at < size && (n = read(fd, chunk, sizeof chunk)) > 0) {
		if (n > size - at || archive_write_data(p->a, chunk, (size_t)n) != n)
			break;
		at += n;
	}
	return at == size
		       ? E_OK
		       : err_set(p->e, E_IO, "%s could not be read whole; does something write to it?", path);
}

static int put_file(struct pack *p, int at, const char *name, const char *path)
{
	struct stat st;
	int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(p->e, E_IO, errno, "%s", path);
	int rc = fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
			 ? put_header(p, &st, path, NULL)
			 : err_set(p->e, E_IO, "%s changed while it was packed", path);
	if (rc == E_OK)
		rc = put_bytes(p, fd, path, st.st_size);
	close(fd);
	return rc;
}

static int put_link(struct pack *p, int at, const char *name, const char *path, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(at, name, target, sizeof target - 1);
	if (n < 0)
		return err_sys(p->e, E_IO, errno, "%s", path);
	target[n] = '\0';
	return put_header(p, st, path, target);
}

static int put_subfolder(struct pack *p, int at, const char *name, const char *path, const struct stat *st)
{
	int rc = put_header(p, st, path, NULL);
	if (rc != E_OK)
		return rc;
	if (p->depth == DEPTH_MAX)
		return err_set(p->e, E_INVALID, "%s: folders are nested deeper than %d", path, DEPTH_MAX);
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(p->e, E_IO, errno, "%s", path);
	p->depth++;
	rc = put_folder(p, fd, path);
	p->depth--;
	return rc;
}

static int put_entry(struct pack *p, int at, const char *parent, const char *name)
{
	char path[PATH_MAX];
	struct stat st;
	if (snprintf(path, sizeof path, "%s%s%s", parent, parent[0] ? "/" : "", name) >= (int)sizeof path)
		return err_set(p->e, E_INVALID, "%.100s...: the path is too long", parent);
	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return err_sys(p->e, E_IO, errno, "%s", path);
	if (S_ISREG(st.st_mode))
		return put_file(p, at, name, path);
	if (S_ISLNK(st.st_mode))
		return put_link(p, at, name, path, &st);
	if (S_ISDIR(st.st_mode))
		return put_subfolder(p, at, name, path, &st);
	return err_set(p->e, E_INVALID, "%s is no file, folder or link; releases hold nothing else", path);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name); /* not the locale's order: every machine packs the same */
}

static int not_dots(const struct dirent *d)
{
	return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

/* Closes `fd`. */
static int put_folder(struct pack *p, int fd, const char *path)
{
	struct dirent **names = NULL;
	int rc = E_OK, nr = scandirat(fd, ".", &names, not_dots, by_name);
	if (nr < 0)
		rc = err_sys(p->e, E_IO, errno, "%s", path);
	for (int i = 0; i < nr; i++) {
		if (rc == E_OK)
			rc = put_entry(p, fd, path, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	close(fd);
	return rc;
}

static int open_writer(struct archive *a, int fd)
{
	int rc = archive_write_add_filter_zstd(a);
	if (rc == ARCHIVE_OK)
		rc = archive_write_set_format_pax_restricted(a);
	return rc == ARCHIVE_OK ? archive_write_open_fd(a, fd) : rc;
}

int cli_pack(const char *dir, int fd, struct err *e)
{
	struct pack p = {.a = archive_write_new(), .e = e};
	int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	if (root < 0) {
		archive_write_free(p.a);
		return err_sys(e, E_IO, errno, "%s", dir);
	}
	if (open_writer(p.a, fd) != ARCHIVE_OK) {
		rc = err_set(e, E_IO, "start the archive: %s", archive_error_string(p.a));
		close(root);
	} else {
		rc = put_folder(&p, root, "");
	}
	if (rc == E_OK && archive_write_close(p.a) != ARCHIVE_OK)
		rc = err_set(e, E_IO, "finish the archive: %s", archive_error_string(p.a));
	archive_write_free(p.a);
	return rc;
}
