#include "agent/exec/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "sys/fsio.h"

/*
 * apps/<app>/run is the core of struct run_state, the record of the start, and a CRC of both. What an older
 * exec wrote is the beginning of our core and of our record, and what a newer one wrote begins with them: so
 * an upgrade, and the way back from it, keep the programs they find. The first version did not say where its
 * parts end.
 */
enum {
	RUN_MAGIC_1 = 0x57545231,
	RUN_MAGIC = 0x57545232,
	CORE_1 = 1160,
	START_1 = 12384,
	CORE = offsetof(struct run_state, start),
	TAIL = sizeof(struct run_state) - offsetof(struct run_state, check),
	RUN_MOST = 64 << 10
};
_Static_assert(offsetof(struct run_state, core_size) == CORE_1,
	       "what the first version wrote stays where it was");
_Static_assert(sizeof(struct exec_record) >= START_1, "a record only grows");

void store_path(char out[EXEC_FULL_PATH], const struct exec *x, const char *app, const char *leaf)
{
	snprintf(out, EXEC_FULL_PATH, "%s/apps/%s%s%s", x->root, app, *leaf ? "/" : "", leaf);
}

static const char *hex_of(const uint8_t digest[DIGEST_LEN], char hex[DIGEST_HEX_CAP])
{
	struct digest d;
	memcpy(d.b, digest, DIGEST_LEN);
	return digest_hex(&d, hex);
}

void store_slot(char out[EXEC_FULL_PATH], const struct exec *x, const uint8_t digest[DIGEST_LEN])
{
	char hex[DIGEST_HEX_CAP];
	snprintf(out, EXEC_FULL_PATH, "%s/slots/%s", x->root, hex_of(digest, hex));
}

int store_slot_complete(const struct exec *x, const uint8_t digest[DIGEST_LEN], struct err *e)
{
	char path[EXEC_FULL_PATH];
	struct stat st;
	store_slot(path, x, digest);
	if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		return err_set(e, E_NOT_FOUND, "slot %s is not there; unpack the artifact first", path);
	return E_OK;
}

static uint32_t state_check(const struct run_state *st)
{
	return (uint32_t)crc32(0, (const Bytef *)st, offsetof(struct run_state, check));
}

int store_save(const struct app *a, struct err *e)
{
	char path[EXEC_FULL_PATH];
	struct run_state st;
	memcpy(&st, &a->st, sizeof st);
	st.check = state_check(&a->st);
	store_path(path, a->x, a->name, "run");
	int rc = fsio_write_atomic(path, &st, sizeof st, 0644, e);
	/* Whatever is wrong with our own folder, the release is not to blame for it. */
	return rc == E_OK || rc == E_NO_SPACE ? rc : (e->code = E_IO);
}

static void state_head(struct run_state *st)
{
	st->magic = RUN_MAGIC;
	st->size = sizeof *st;
	st->core_size = CORE;
	st->start_size = sizeof st->start;
}

static void state_fresh(struct run_state *st)
{
	memset(st, 0, sizeof *st);
	state_head(st);
}

struct layout {
	size_t core, start;
};

static bool find_layout(const uint8_t *bytes, size_t n, struct layout *l)
{
	uint32_t head[2], sizes[2] = {CORE_1, START_1};
	if (n < CORE_1 + sizeof sizes)
		return false;
	memcpy(head, bytes, sizeof head);
	if (head[0] == RUN_MAGIC)
		memcpy(sizes, bytes + CORE_1, sizeof sizes);
	else if (head[0] != RUN_MAGIC_1)
		return false;
	*l = (struct layout){sizes[0], sizes[1]};
	return head[1] == n && l->core >= CORE_1 && l->start >= START_1 && l->core + l->start + TAIL == n;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* What is ours of it, in our form. False: the disk changed it. */
static bool take_state(struct run_state *st, const uint8_t *bytes, size_t n)
{
	struct layout l;
	uint32_t check;
	if (!find_layout(bytes, n, &l))
		return false;
	memcpy(&check, bytes + l.core + l.start, sizeof check);
	if (check != (uint32_t)crc32(0, bytes, (uInt)(l.core + l.start)))
		return false;
	memcpy(st, bytes, smaller(l.core, CORE));
	memcpy(&st->start, bytes + l.core, smaller(l.start, sizeof st->start));
	state_head(st);
	if (st->start.magic != 0) {
		st->start.version = EXEC_VERSION;
		st->start.size = sizeof st->start;
	}
	return true;
}

static bool state_ok(const struct run_state *st)
{
	if (!memchr(st->boot, 0, sizeof st->boot))
		return false;
	for (int i = 0; i < CGROUP_DIRS; i++)
		if (!memchr(st->group.dir[i], 0, CGROUP_PATH_CAP))
			return false;
	return st->start.magic == 0 || record_check(&st->start, sizeof st->start, NULL) == E_OK;
}

int store_load(struct app *a, struct err *e)
{
	char path[EXEC_FULL_PATH];
	store_path(path, a->x, a->name, "run");
	state_fresh(&a->st);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return E_NOT_FOUND;
	static uint8_t bytes[RUN_MOST];
	ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
	if (fd >= 0)
		close(fd);
	if (n > 0 && take_state(&a->st, bytes, (size_t)n) && state_ok(&a->st))
		return E_OK;
	state_fresh(&a->st);
	return err_set(e, E_CORRUPT,
		       "%s is damaged: stop the program of %s by hand, remove the file, restart", path,
		       a->name);
}

/* Made under a new name and renamed: whoever looks, and whoever loses power, sees the old link or the new
 * one. */
static int link_current(const char *current, const char *fresh, const char *target, struct err *e)
{
	if ((unlink(fresh) != 0 && errno != ENOENT) || symlink(target, fresh) != 0 ||
	    rename(fresh, current) != 0)
		return err_sys(e, E_IO, errno, "swap %s to %s", current, target);
	return E_OK;
}

static int unlink_current(const char *current, struct err *e)
{
	if (unlink(current) != 0 && errno != ENOENT)
		return err_sys(e, E_IO, errno, "remove %s", current);
	return E_OK;
}

int store_swap(const struct exec *x, const struct exec_record *r, struct err *e)
{
	char dir[EXEC_FULL_PATH], current[EXEC_FULL_PATH + 16], fresh[EXEC_FULL_PATH + 16], target[128],
		hex[DIGEST_HEX_CAP];
	struct digest d;
	memcpy(d.b, r->digest, DIGEST_LEN);
	int rc = digest_none(&d) ? E_OK : store_slot_complete(x, r->digest, e);
	if (rc != E_OK)
		return rc;
	store_path(dir, x, r->app, "");
	snprintf(current, sizeof current, "%s/current", dir);
	snprintf(fresh, sizeof fresh, "%s/current.new", dir);
	snprintf(target, sizeof target, "../../slots/%s", hex_of(r->digest, hex));
	rc = digest_none(&d) ? unlink_current(current, e) : link_current(current, fresh, target, e);
	return rc == E_OK ? fsio_sync_dir_of(current, e) : rc;
}

void store_boot_id(char out[40])
{
	memset(out, 0, 40);
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (read(fd, out, 36) != 36)
		out[0] = '\0';
	close(fd);
}
