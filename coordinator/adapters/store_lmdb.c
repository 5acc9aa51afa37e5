#include "coordinator/adapters/store_lmdb.h"

#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/log.h"

enum { BOOT_ID_CAP = 64 };
static const size_t map_bytes = (size_t)4 << 30; /* virtual; the file grows as it is filled */

struct store_lmdb {
	struct store store;
	MDB_env *env;
	MDB_dbi rows, meta;
	MDB_txn *txn;	    /* the open write transaction; NULL until something is asked after a commit */
	MDB_cursor *cursor; /* of txn, for seek */
};

static _Noreturn void give_up(const char *what, int rc)
{
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

static void boot_id(char out[BOOT_ID_CAP])
{
	memset(out, 0, BOOT_ID_CAP);
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, out, BOOT_ID_CAP - 1) < 0)
		snprintf(out, BOOT_ID_CAP, "unknown");
	if (fd >= 0)
		close(fd);
}

static bool meta_get(struct store_lmdb *m, const char *word, MDB_val *v)
{
	MDB_val k = {.mv_size = strlen(word), .mv_data = (void *)(uintptr_t)word};
	begin(m);
	return mdb_get(m->txn, m->meta, &k, v) == 0;
}

static void meta_put(struct store_lmdb *m, const char *word, const char *text)
{
	MDB_val k = {.mv_size = strlen(word), .mv_data = (void *)(uintptr_t)word};
	MDB_val v = {.mv_size = strlen(text), .mv_data = (void *)(uintptr_t)text};
	begin(m);
	must("write the mark", mdb_put(m->txn, m->meta, &k, &v, 0));
}

static bool meta_is(struct store_lmdb *m, const char *word, const char *text)
{
	MDB_val v;
	return meta_get(m, word, &v) && v.mv_size == strlen(text) && memcmp(v.mv_data, text, v.mv_size) == 0;
}

static void judge(struct store_lmdb *m)
{
	char boot[BOOT_ID_CAP];
	boot_id(boot);
	if (!meta_is(m, "clean", "yes") && !meta_is(m, "boot", boot)) {
		MDB_val v;
		if (meta_get(m, "boot", &v))
			log_warn("state store", "the machine stopped without a clean end: the state is "
						"rebuilt from snapshot and log");
		lmdb_wipe(&m->store);
	}
	meta_put(m, "boot", boot);
	meta_put(m, "clean", "no");
	lmdb_commit(&m->store);
	must("sync", mdb_env_sync(m->env, 1));
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
		rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &m->meta);
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static int open_env(struct store_lmdb *m, const char *dir)
{
	/* Never MDB_WRITEMAP: a full disk would be SIGBUS, and a stray pointer would write the database. */
	const unsigned flags = MDB_NOSYNC | MDB_NOTLS;
	int rc = mdb_env_create(&m->env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(m->env, 2);
	if (rc == 0)
		rc = mdb_env_set_mapsize(m->env, map_bytes);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(m->env, 16);
	if (rc == 0)
		rc = mdb_env_open(m->env, dir, flags, 0600);
	return rc == 0 ? open_databases(m) : rc;
}

int store_lmdb_open(struct store **out, const char *dir, struct err *e)
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
	int rc = open_env(m, dir);
	if (rc != 0) {
		mdb_env_close(m->env);
		free(m);
		return err_set(e, E_IO, "state store in %s: %s", dir, mdb_strerror(rc));
	}
	judge(m);
	*out = &m->store;
	return E_OK;
}

void store_lmdb_close(struct store *s, bool clean)
{
	if (s == NULL)
		return;
	struct store_lmdb *m = lmdb_of(s);
	lmdb_commit(s);
	if (clean) {
		must("sync", mdb_env_sync(m->env, 1));
		meta_put(m, "clean", "yes");
		lmdb_commit(s);
		must("sync", mdb_env_sync(m->env, 1));
	}
	mdb_env_close(m->env);
	free(m);
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
