#include "agent/unpack/entries.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/pathrule.h"

struct unpack {
	struct archive *ar;
	uint64_t bytes_left, entries_left;
};

static _Noreturn void refuse(const char *name, const char *why)
{
	char text[ENTRIES_WHY_MAX];
	snprintf(text, sizeof text, "entry '%.120s' %s", name, why);
	entries_give_up(ENTRIES_REFUSED, text);
}

static _Noreturn void disk_failed(const char *what, const char *name)
{
	char text[ENTRIES_WHY_MAX];
	snprintf(text, sizeof text, "%s %.120s: %s", what, name, strerror(errno));
	entries_give_up(ENTRIES_DISK, text);
}

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

/* `size` is what the header says: a file may end in a hole, of which no block comes. */
static void write_bytes(struct unpack *u, int fd, const char *name, uint64_t size)
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
	if (size > u->bytes_left)
		refuse(name, "makes the archive larger than was announced");
	if (size > end && ftruncate(fd, (off_t)size) != 0)
		disk_failed("lengthen", name);
	u->bytes_left -= size > end ? size : end;
}

static void write_file(struct unpack *u, struct archive_entry *en, const char *name)
{
	mode_t mode = archive_entry_perm(en) & 0111 ? 0755 : 0644;
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0 && errno == EEXIST)
		refuse(name, "is there twice");
	if (fd < 0)
		disk_failed("create", name);
	write_bytes(u, fd, name, (uint64_t)archive_entry_size(en));
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

void entries_unpack(struct archive *ar, int fd, uint64_t max_bytes, uint64_t max_entries)
{
	struct unpack u = {.ar = ar, .bytes_left = max_bytes, .entries_left = max_entries};
	archive_read_support_filter_gzip(ar);
	archive_read_support_filter_zstd(ar);
	archive_read_support_format_tar(ar);
	if (archive_read_open_fd(ar, fd, 64 * 1024) != ARCHIVE_OK)
		refuse("the archive", "is not a .tar.gz or .tar.zst");
	all_entries(&u);
}
