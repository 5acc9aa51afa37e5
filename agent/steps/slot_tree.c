#include "agent/steps/slot_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/digest.h"

static const char first_line[] = "wavetrain manifest 1\n";
enum { END_LEN = 4 + 2 * DIGEST_LEN + 1, LINE_CAP = PATHRULE_BYTES_MAX + 128 };

/* ---- the text
 * ---------------------------------------------------------------------------------------------------------
 */

void slot_manifest_begin(struct buf *b)
{
	buf_puts(b, first_line);
}

void slot_manifest_put(struct buf *b, const struct slot_entry *en)
{
	char hex[DIGEST_HEX_CAP];
	buf_printf(b, "%c %" PRIo32 " %" PRIu64 " %s %s\n", en->kind, en->mode, en->size_bytes,
		   digest_hex(&en->digest, hex), en->path);
}

void slot_manifest_end(struct buf *b)
{
	char hex[DIGEST_HEX_CAP];
	struct digest d = digest_of(b->data, b->len);
	buf_printf(b, "end %s\n", digest_hex(&d, hex));
}

static bool whole(const uint8_t *p, size_t n)
{
	char hex[DIGEST_HEX_CAP], end[END_LEN + 1];
	size_t first = sizeof(first_line) - 1;
	if (n < first + END_LEN || memcmp(p, first_line, first) != 0)
		return false;
	struct digest d = digest_of(p, n - END_LEN);
	snprintf(end, sizeof(end), "end %s\n", digest_hex(&d, hex));
	return memcmp(p + n - END_LEN, end, END_LEN) == 0;
}

/* One line without its end; numbers have one spelling, and a path may begin with a space. */
static bool parse_line(struct slot_entry *en, const char *line)
{
	char hex[DIGEST_HEX_CAP], again[LINE_CAP];
	int at = 0;
	if (sscanf(line, "%c %" SCNo32 " %" SCNu64 " %64[0-9a-f]%n", &en->kind, &en->mode, &en->size_bytes,
		   hex, &at) != 4 ||
	    line[at] != ' ' || strchr("fdl", en->kind) == NULL || !digest_parse(&en->digest, hex))
		return false;
	const char *path = line + at + 1;
	if (strlen(path) > PATHRULE_BYTES_MAX || pathrule_refuses(path) != NULL)
		return false;
	snprintf(en->path, sizeof(en->path), "%s", path);
	snprintf(again, sizeof(again), "%c %" PRIo32 " %" PRIu64 " %s %s", en->kind, en->mode, en->size_bytes,
		 hex, en->path);
	return strcmp(again, line) == 0;
}

int slot_manifest_read(const uint8_t *p, size_t n,
		       int (*each)(void *ctx, const struct slot_entry *en, struct err *e), void *ctx,
		       struct err *e)
{
	if (!whole(p, n))
		return err_set(e, E_CORRUPT, "the manifest is damaged");
	const uint8_t *at = p + sizeof(first_line) - 1, *end = p + n - END_LEN;
	while (at < end) {
		struct slot_entry en;
		char line[LINE_CAP];
		const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
		size_t len = stop == NULL ? sizeof(line) : (size_t)(stop - at);
		if (len >= sizeof(line) || memchr(at, '\0', len) != NULL)
			return err_set(e, E_CORRUPT, "the manifest is damaged");
		memcpy(line, at, len);
		line[len] = '\0';
		if (!parse_line(&en, line))
			return err_set(e, E_CORRUPT, "the manifest is damaged at '%.80s'", line);
		int rc = each(ctx, &en, e);
		if (rc != E_OK)
			return rc;
		at = stop + 1;
	}
	return E_OK;
}

/* ---- reading a slot
 * --------------------------------------------------------------------------------------------------- */

static int fail_at(struct err *e, int errnum, const char *what, const char *path)
{
	return err_sys(e, errnum == ENOSPC || errnum == EDQUOT ? E_NO_SPACE : E_IO, errnum, "%s %.120s", what,
		       path);
}

static int digest_file(int dir, const char *path, struct slot_entry *en, struct err *e)
{
	int fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return fail_at(e, errno, "cannot open", path);
	int rc = digest_of_fd(fd, &en->digest, &en->size_bytes, e);
	close(fd);
	return rc == E_OK ? E_OK : err_wrap(e, "%.120s", path);
}

static int digest_link(int dir, const char *path, struct slot_entry *en, struct err *e)
{
	char to[PATH_MAX];
	ssize_t n = readlinkat(dir, path, to, sizeof(to));
	if (n < 0)
		return fail_at(e, errno, "cannot read the link", path);
	en->size_bytes = (uint64_t)n;
	en->digest = digest_of(to, (size_t)n);
	return E_OK;
}

/* Kind, mode and size. The size of a folder says nothing. */
static bool describe(const struct stat *st, struct slot_entry *en)
{
	*en = (struct slot_entry){.mode = st->st_mode & 07777, .size_bytes = (uint64_t)st->st_size};
	en->kind = S_ISREG(st->st_mode) ? 'f' : S_ISDIR(st->st_mode) ? 'd' : S_ISLNK(st->st_mode) ? 'l' : '?';
	if (en->kind == 'd')
		en->size_bytes = 0;
	return en->kind != '?';
}

static int digest_entry(int dir, const char *path, struct slot_entry *en, struct err *e)
{
	if (en->kind == 'd')
		return E_OK;
	return en->kind == 'f' ? digest_file(dir, path, en, e) : digest_link(dir, path, en, e);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int list_one(const FTSENT *at, const char *path, struct buf *out, struct err *e)
{
	struct slot_entry en;
	if (at->fts_info == FTS_DP)
		return E_OK;
	if (at->fts_info == FTS_ERR || at->fts_info == FTS_DNR || at->fts_info == FTS_NS)
		return fail_at(e, at->fts_errno, "cannot read", at->fts_path);
	if (!describe(at->fts_statp, &en) || pathrule_refuses(path) != NULL)
		return err_set(e, E_CORRUPT, "%.120s is nothing that is unpacked", path);
	int rc = digest_entry(AT_FDCWD, at->fts_path, &en, e);
	if (rc != E_OK)
		return rc;
	snprintf(en.path, sizeof(en.path), "%s", path);
	slot_manifest_put(out, &en);
	return E_OK;
}

int slot_tree_list(const char *dir, struct buf *out, struct err *e)
{
	char *const roots[] = {(char *)(uintptr_t)dir, NULL};
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	FTSENT *at;
	int rc = E_OK;
	if (tree == NULL)
		return fail_at(e, errno, "cannot read", dir);
	slot_manifest_begin(out);
	while (rc == E_OK && (errno = 0, at = fts_read(tree)) != NULL)
		if (at->fts_level > 0 || at->fts_info == FTS_NS || at->fts_info == FTS_DNR)
			rc = list_one(at, at->fts_path + strlen(dir) + (at->fts_level > 0), out, e);
	if (rc == E_OK && errno != 0)
		rc = fail_at(e, errno, "cannot read", dir);
	fts_close(tree);
	slot_manifest_end(out);
	return rc;
}

struct check {
	int dir;
	enum slot_depth depth;
};

static int check_one(void *ctx, const struct slot_entry *want, struct err *e)
{
	const struct check *c = ctx;
	struct slot_entry is;
	struct stat st;
	if (fstatat(c->dir, want->path, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return err_sys(e, errno == ENOENT || errno == ENOTDIR ? E_CORRUPT : E_IO, errno, "%.120s",
			       want->path);
	if (!describe(&st, &is) || is.kind != want->kind)
		return err_set(e, E_CORRUPT, "%.120s is another kind of file", want->path);
	if (is.mode != want->mode)
		return err_set(e, E_CORRUPT, "%.120s has mode %" PRIo32 ", not %" PRIo32, want->path, is.mode,
			       want->mode);
	if (is.size_bytes != want->size_bytes)
		return err_set(e, E_CORRUPT, "%.120s has %" PRIu64 " bytes, not %" PRIu64, want->path,
			       is.size_bytes, want->size_bytes);
	if (c->depth == SLOT_SIZES)
		return E_OK;
	int rc = digest_entry(c->dir, want->path, &is, e);
	if (rc != E_OK || digest_eq(&is.digest, &want->digest))
		return rc;
	return err_set(e, E_CORRUPT, "%.120s has other bytes", want->path);
}

int slot_tree_check(const char *dir, const uint8_t *manifest, size_t n, enum slot_depth depth, struct err *e)
{
	struct check c = {open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), depth};
	if (c.dir < 0)
		return err_sys(e, errno == ENOENT ? E_NOT_FOUND : E_IO, errno, "open %s", dir);
	int rc = slot_manifest_read(manifest, n, check_one, &c, e);
	close(c.dir);
	return rc;
}

/* ---- away
 * -------------------------------------------------------------------------------------------------------------
 */

/* The errno of what went wrong, or 0. */
static int remove_one(const FTSENT *at)
{
	if (at->fts_info == FTS_D)
		return 0;
	if (at->fts_info == FTS_NS || at->fts_info == FTS_DNR || at->fts_info == FTS_ERR)
		return at->fts_errno == ENOENT ? 0 : at->fts_errno;
	int rc = at->fts_info == FTS_DP ? rmdir(at->fts_accpath) : unlink(at->fts_accpath);
	return rc == 0 || errno == ENOENT ? 0 : errno;
}

int slot_tree_remove(const char *path, struct err *e)
{
	char *const roots[] = {(char *)(uintptr_t)path, NULL};
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *at;
	int rc = E_OK;
	if (tree == NULL)
		return fail_at(e, errno, "cannot read", path);
	while ((errno = 0, at = fts_read(tree)) != NULL) {
		int errnum = remove_one(at);
		if (errnum != 0 && rc == E_OK)
			rc = fail_at(e, errnum, "cannot remove", at->fts_path);
	}
	if (rc == E_OK && errno != 0)
		rc = fail_at(e, errno, "cannot remove", path);
	fts_close(tree);
	return rc;
}
