#include "coordinator/adapters/store_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/log.h"

enum { BOOT_ID_CAP = 64 };
static const size_t default_max_bytes = (size_t)4 << 30; /* virtual; the file grows as it is filled */

struct store_lmdb {
	struct store store;
	MDB_env *env;
	MDB_dbi rows;
	int dir;	    /* where the database and its mark lie */
	MDB_txn *txn;	    /* the open write transaction; NULL until something is asked after a commit */
	MDB_cursor *cursor; /* of txn, for seek */
};

/* The disk is not at fault, and after a start the next write would say the same. */
static _Noreturn void give_up_full(const char *what)
{
	log_error(
		"state store",
		"%s: the state has reached the size that this build allows. Nothing acknowledged is lost: it "
		"is in the log. Install a build that allows more; what grows and why stands in "
		"docs/operations.md, \"How large the state may grow\"",
		what);
	_exit(70);
}

static _Noreturn void give_up(const char *what, int rc)
{
	if (rc == MDB_MAP_FULL)
		give_up_full(what);
	log_error("state store",
		  "%s: %s; the process stops so that nothing false is said. Free space or replace the disk, "
		  "then start "
		  "again: what was acknowledged is in the log",
		  what, mdb_strerror(rc));
	_exit(70);
}

static void must(const char *what, int rc)
{
	if (rc != 0)
		give_up(what, rc);
}

static struct store_lmdb *lmdb_of(struct store *s)
{
	return container_of(s, struct store_lmdb, store);
}

static MDB_val val_of(struct store_slice v)
{
	return (MDB_val){.mv_size = v.n, .mv_data = (void *)(uintptr_t)v.p};
}

static struct store_slice slice_of(MDB_val v)
{
	return (struct store_slice){v.mv_data, v.mv_size};
}

static void begin(struct store_lmdb *m)
{
	if (m->txn != NULL)
		return;
	must("begin a transaction", mdb_txn_begin(m->env, NULL, 0, &m->txn));
	must("open a cursor", mdb_cursor_open(m->txn, m->rows, &m->cursor));
}

/* ---- the operations
 * ------------------------------------------------------------------------------------------------------ */

static bool lmdb_get(struct store *s, struct store_slice key, struct store_slice *value)
{
	struct store_lmdb *m = lmdb_of(s);
	MDB_val k = val_of(key), v;
	begin(m);
	int rc = mdb_get(m->txn, m->rows, &k, &v);
	if (rc == MDB_NOTFOUND)
		return false;
	must("read a row", rc);
	*value = slice_of(v);
	return true;
}

static void lmdb_put(struct store *s, struct store_slice key, struct store_slice value)
{
	struct store_lmdb *m = lmdb_of(s);
	MDB_val k = val_of(key), v = val_of(value);
	begin(m);
	must("write a row", mdb_put(m->txn, m->rows, &k, &v, 0));
}

static bool lmdb_del(struct store *s, struct store_slice key)
{
	struct store_lmdb *m = lmdb_of(s);
	MDB_val k = val_of(key);
	begin(m);
	int rc = mdb_del(m->txn, m->rows, &k, NULL);
	if (rc != MDB_NOTFOUND)
		must("delete a row", rc);
	return rc == 0;
}

static bool lmdb_seek(struct store *s, struct store_slice key, struct store_slice *found,
		      struct store_slice *value)
{
	struct store_lmdb *m = lmdb_of(s);
	MDB_val k = val_of(key), v;
	begin(m);
	/* LMDB knows no empty key: the smallest there is comes first. */
	int rc = mdb_cursor_get(m->cursor, &k, &v, key.n == 0 ? MDB_FIRST : MDB_SET_RANGE);
	if (rc == MDB_NOTFOUND)
		return false;
	must("seek a row", rc);
	*found = slice_of(k);
	*value = slice_of(v);
	return true;
}

static void lmdb_commit(struct store *s)
{
	struct store_lmdb *m = lmdb_of(s);
	if (m->txn == NULL)
		return;
	mdb_cursor_close(m->cursor);
	must("commit", mdb_txn_commit(m->txn));
	m->txn = NULL;
	m->cursor = NULL;
}

static void lmdb_wipe(struct store *s)
{
	struct store_lmdb *m = lmdb_of(s);
	begin(m);
	must("empty the store", mdb_drop(m->txn, m->rows, 0));
}

/* ---- trust: boot id and clean flag
 * ----------------------------------------------------------------------------------------- */

/*
 * The mark lies beside the database, not in it: after a loss of power LMDB may refuse its unsynced file or
 * die of it (SIGBUS), so whether to trust it is decided before it is opened.
 */
static const char mark_name[] = "trust";
static const char clean_mark[] = "clean";

/* False when the kernel does not say which boot this is: then nothing is trusted without a clean end. */
static bool boot_id(char out[BOOT_ID_CAP])
{
	memset(out, 0, BOOT_ID_CAP);
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, BOOT_ID_CAP - 1);
	if (fd >= 0)
		close(fd);
	return n > 0;
}

static bool mark_is(int dir, const char *text)
{
	char have[BOOT_ID_CAP] = {0};
	int fd = openat(dir, mark_name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, have, sizeof have - 1);
	if (fd >= 0)
		close(fd);
	return n > 0 && strcmp(have, text) == 0;
}

/* On disk, whole or not at all, when it returns 0; else an errno. */
static int put_mark(int dir, const char *text)
{
	size_t n = strlen(text);
	int fd = openat(dir, "trust.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	bool ok = write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
	int rc = ok ? 0 : errno;
	close(fd);
	if (ok && (renameat(dir, "trust.new", dir, mark_name) != 0 || fsync(dir) != 0))
		rc = errno;
	return rc;
}

static int remove_database(int dir)
{
	static const char *const files[] = {"data.mdb", "lock.mdb"};
	bool removed = false;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		if (unlinkat(dir, files[i], 0) == 0)
			removed = true;
		else if (errno != ENOENT)
			return errno;
	}
	if (removed)
		log_warn("state store", "the machine stopped without a clean end: the state is rebuilt from "
					"snapshot and log");
	return removed && fsync(dir) != 0 ? errno : 0;
}

/* Removes what is not trusted, and marks what follows as this boot's. 0 or an errno. */
static int judge(int dir)
{
	char boot[BOOT_ID_CAP];
	bool known = boot_id(boot);
	int rc = 0;
	if (!mark_is(dir, clean_mark) && !(known && mark_is(dir, boot)))
		rc = remove_database(dir);
	return rc != 0 ? rc : put_mark(dir, known ? boot : "unknown");
}

/* ---- open and close
 * ----------------------------------------------------------------------------------------------------------
 */

static int open_databases(struct store_lmdb *m)
{
	MDB_txn *txn;
	int dead, rc = mdb_reader_check(m->env, &dead);
	if (rc == 0)
		rc = mdb_txn_begin(m->env, NULL, 0, &txn);
	if (rc != 0)
		return rc;
	rc = mdb_dbi_open(txn, "rows", MDB_CREATE, &m->rows);
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static int open_env(struct store_lmdb *m, const char *dir, size_t max_bytes)
{
	/* Never MDB_WRITEMAP: a full disk would be SIGBUS, and a stray pointer would write the database. */
	const unsigned flags = MDB_NOSYNC | MDB_NOTLS;
	int rc = mdb_env_create(&m->env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(m->env, 1);
	if (rc == 0)
		rc = mdb_env_set_mapsize(m->env, max_bytes);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(m->env, 16);
	if (rc == 0)
		rc = mdb_env_open(m->env, dir, flags, 0600);
	return rc == 0 ? open_databases(m) : rc;
}

static void free_store(struct store_lmdb *m)
{
	if (m->env != NULL)
		mdb_env_close(m->env);
	if (m->dir >= 0)
		close(m->dir);
	free(m);
}

int store_lmdb_open(struct store **out, const char *dir, struct err *e)
{
	return store_lmdb_open_up_to(out, dir, default_max_bytes, e);
}

int store_lmdb_open_up_to(struct store **out, const char *dir, size_t max_bytes, struct err *e)
{
	static const struct store_ops ops = {.get = lmdb_get,
					     .put = lmdb_put,
					     .del = lmdb_del,
					     .seek = lmdb_seek,
					     .commit = lmdb_commit,
					     .wipe = lmdb_wipe};
	struct store_lmdb *m = calloc(1, sizeof *m);
	PRE(m != NULL);
	m->store.ops = &ops;
	m->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = m->dir < 0 ? errno : judge(m->dir);
	if (rc == 0)
		rc = open_env(m, dir, max_bytes);
	if (rc != 0) {
		free_store(m);
		return err_set(e, E_IO, "state store in %s: %s", dir, mdb_strerror(rc));
	}
	*out = &m->store;
	return E_OK;
}

void store_lmdb_usage(struct store *s, uint64_t *used, uint64_t *max)
{
	struct store_lmdb *m = lmdb_of(s);
	MDB_envinfo info;
	MDB_stat stat;
	must("look at the size", mdb_env_info(m->env, &info));
	must("look at the size", mdb_env_stat(m->env, &stat));
	*used = (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
	*max = info.me_mapsize;
}

void store_lmdb_close(struct store *s, bool clean)
{
	if (s == NULL)
		return;
	struct store_lmdb *m = lmdb_of(s);
	lmdb_commit(s);
	if (clean) {
		must("sync", mdb_env_sync(m->env, 1));
		must("mark a clean end", put_mark(m->dir, clean_mark));
	}
	free_store(m);
}

/* ---- snapshots
 * -----------------------------------------------------------------------------------------------------------------
 */

struct snap {
	MDB_txn *txn;
	MDB_dbi rows;
};

int store_lmdb_snap_begin(struct store *s, void **h)
{
	struct store_lmdb *m = lmdb_of(s);
	struct snap *snap = calloc(1, sizeof *snap);
	PRE(snap != NULL);
	snap->rows = m->rows;
	if (mdb_txn_begin(m->env, NULL, MDB_RDONLY, &snap->txn) != 0) {
		free(snap);
		return E_BUSY;
	}
	*h = snap;
	return E_OK;
}

int store_lmdb_snap_write(void *h, struct buf *out)
{
	struct snap *snap = h;
	MDB_cursor *c;
	MDB_val k, v;
	if (mdb_cursor_open(snap->txn, snap->rows, &c) != 0)
		return E_IO;
	int rc;
	for (rc = mdb_cursor_get(c, &k, &v, MDB_FIRST); rc == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
		buf_put_u32(out, (uint32_t)k.mv_size);
		buf_put_u32(out, (uint32_t)v.mv_size);
		buf_put(out, k.mv_data, k.mv_size);
		buf_put(out, v.mv_data, v.mv_size);
	}
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? E_OK : E_IO;
}

void store_lmdb_snap_end(void *h)
{
	struct snap *snap = h;
	mdb_txn_abort(snap->txn);
	free(snap);
}
