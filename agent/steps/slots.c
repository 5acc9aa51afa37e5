#include "agent/steps/slots.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/steps/slot_ledger.h"
#include "agent/steps/slot_unpack.h"
#include "sys/fsio.h"

static const char partial_prefix[] = ".partial-", gone_prefix[] = ".gone-", manifest_end[] = ".manifest",
		  ledger_end[] = ".ledger";
enum { LEDGER_BYTES_MAX = 64 * 1024, SHORT_HEX = 12, DIR_CAP = FSIO_PATH_CAP - 256 };

/* Who waits for an artifact's unpacking. */
struct waiter {
	LIST_ENTRY(waiter) link;
	uint64_t ticket;
	slots_cb cb;
	void *ctx;
};

struct unpacking {
	LIST_ENTRY(unpacking) link;
	struct slots *s;
	struct digest artifact;
	struct slot_unpack *u;
	bool ends; /* stopped, or telling its waiters: nobody joins */
	LIST_HEAD(, waiter) waiters;
};

/* One piece of work in the pool: removing paths, or verifying a slot. */
struct task {
	LIST_ENTRY(task) link;
	uv_work_t work;
	struct slots *s;
	int (*run)(struct task *t);
	uint64_t ticket; /* 0: cannot be cancelled */
	slots_cb cb;	 /* NULL: nobody listens any more */
	void *ctx;
	char (*paths)[FSIO_PATH_CAP]; /* to remove */
	size_t paths_nr;
	struct digest artifact; /* to verify */
	enum slot_depth depth;
	int code;
	struct err e;
};

struct slots {
	uv_loop_t *loop;
	char root[DIR_CAP - 8], dir[DIR_CAP], ledger[DIR_CAP], archives[DIR_CAP], program[DIR_CAP];
	uint64_t reserve;
	LIST_HEAD(, unpacking) unpackings;
	LIST_HEAD(, task) tasks;
	unsigned gone_nr; /* makes names */
	bool closing;
};

static void free_when_idle(struct slots *s)
{
	if (s->closing && LIST_EMPTY(&s->unpackings) && LIST_EMPTY(&s->tasks))
		free(s);
}

/* Paths are checked at the opening: what is put together here fits. */
static const char *slot_path(const struct slots *s, const struct digest *d, const char *end,
			     char out[FSIO_PATH_CAP])
{
	char hex[DIGEST_HEX_CAP];
	snprintf(out, FSIO_PATH_CAP, "%s/%s%s", s->dir, digest_hex(d, hex), end);
	return out;
}

static const char *archive_path(const struct slots *s, const struct digest *d, const char *end,
				char out[FSIO_PATH_CAP])
{
	char hex[DIGEST_HEX_CAP];
	snprintf(out, FSIO_PATH_CAP, "%s/%s%s", s->archives, digest_hex(d, hex), end);
	return out;
}

bool slots_has(const struct slots *s, const struct digest *artifact)
{
	char path[FSIO_PATH_CAP];
	struct stat st;
	return lstat(slot_path(s, artifact, "", path), &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- work in the pool
 * ------------------------------------------------------------------------------------------------- */

/* What went wrong before, on the loop, is what will be told. */
static void task_cb(uv_work_t *w)
{
	struct task *t = container_of(w, struct task, work);
	struct err before = t->e;
	int rc = t->run(t);
	if (t->code == E_OK)
		t->code = rc;
	else
		t->e = before;
}

static void task_done_cb(uv_work_t *w, int status)
{
	struct task *t = container_of(w, struct task, work);
	struct slots *s = t->s;
	t->ticket = 0; /* free again: what follows may be asked for under it */
	if (t->cb != NULL)
		t->cb(t->ctx, t->code, t->code == E_OK ? "" : t->e.text);
	LIST_REMOVE(t, link); /* only now: whoever closes all in the callback leaves the end of it to us */
	free(t->paths);
	free(t);
	free_when_idle(s);
}

static struct task *task_new(struct slots *s, int (*run)(struct task *t), slots_cb cb, void *ctx)
{
	struct task *t = calloc(1, sizeof(*t));
	PRE(t != NULL);
	t->s = s;
	t->run = run;
	t->cb = cb;
	t->ctx = ctx;
	LIST_INSERT_HEAD(&s->tasks, t, link);
	return t;
}

static void task_start(struct task *t)
{
	PRE(uv_queue_work(t->s->loop, &t->work, task_cb, task_done_cb) == 0);
}

static void task_add_path(struct task *t, const char *path)
{
	if ((t->paths_nr & (t->paths_nr + 1)) == 0) { /* full at each power of two minus one */
		t->paths = realloc(t->paths, 2 * (t->paths_nr + 1) * sizeof(*t->paths));
		PRE(t->paths != NULL);
	}
	snprintf(t->paths[t->paths_nr++], sizeof(*t->paths), "%s", path);
}

/* The names went before; first make that so, then spend time on what they named. */
static int run_removal(struct task *t)
{
	char inside[FSIO_PATH_CAP];
	struct err later;
	snprintf(inside, sizeof(inside), "%s/.", t->s->dir);
	int rc = t->paths_nr > 0 ? fsio_sync_dir_of(inside, &t->e) : E_OK;
	for (size_t i = 0; i < t->paths_nr; i++)
		if (slot_tree_remove(t->paths[i], &later) != E_OK && rc == E_OK) {
			t->e = later;
			rc = later.code;
		}
	return rc;
}

/* ---- damage
 * -----------------------------------------------------------------------------------------------------------
 */

static int check(const struct slots *s, const struct digest *d, enum slot_depth depth, struct err *e)
{
	char path[FSIO_PATH_CAP], hex[DIGEST_HEX_CAP];
	struct buf b;
	if (!slots_has(s, d))
		return err_set(e, E_NOT_FOUND, "there is no slot %s", digest_hex(d, hex));
	buf_init(&b);
	int rc = fsio_read(slot_path(s, d, manifest_end, path), SLOT_MANIFEST_MAX, &b, e);
	if (rc == E_NOT_FOUND || rc == E_TOO_LARGE)
		rc = err_set(e, E_CORRUPT, "its manifest is not there or is none");
	if (rc == E_OK)
		rc = slot_tree_check(slot_path(s, d, "", path), b.data, b.len, depth, e);
	buf_done(&b);
	return rc == E_OK ? E_OK : err_wrap(e, "slot %.*s", SHORT_HEX, digest_hex(d, hex));
}

int slots_check(const struct slots *s, const struct digest *artifact, struct err *e)
{
	return check(s, artifact, SLOT_SIZES, e);
}

static int run_verify(struct task *t)
{
	return check(t->s, &t->artifact, t->depth, &t->e);
}

static bool ticket_is_free(const struct slots *s, uint64_t ticket)
{
	const struct unpacking *u;
	const struct waiter *w;
	const struct task *t;
	LIST_FOREACH(u, &s->unpackings, link)
	LIST_FOREACH(w, &u->waiters, link)
	if (w->ticket == ticket)
		return false;
	LIST_FOREACH(t, &s->tasks, link)
	if (t->ticket == ticket && t->cb != NULL)
		return false;
	return ticket != 0;
}

int slots_verify(struct slots *s, const struct digest *artifact, enum slot_depth depth, uint64_t ticket,
		 slots_cb cb, void *ctx, struct err *e)
{
	if (!ticket_is_free(s, ticket))
		return err_set(e, E_INVALID, "slots: the ticket is in use or 0");
	struct task *t = task_new(s, run_verify, cb, ctx);
	t->ticket = ticket;
	t->artifact = *artifact;
	t->depth = depth;
	task_start(t);
	return E_OK;
}

/* ---- unpacking
 * -------------------------------------------------------------------------------------------------------- */

static void unpacking_ended(void *ctx, int code, const char *detail)
{
	struct unpacking *u = ctx;
	struct slots *s = u->s;
	struct waiter *w;
	u->u = NULL;
	u->ends = true;
	while ((w = LIST_FIRST(&u->waiters)) != NULL) {
		struct waiter told = *w;
		LIST_REMOVE(w, link);
		free(w);
		told.cb(told.ctx, code, detail);
	}
	LIST_REMOVE(u, link);
	free(u);
	free_when_idle(s);
}

static struct unpacking *unpacking_of(const struct slots *s, const struct digest *d)
{
	struct unpacking *u;
	LIST_FOREACH(u, &s->unpackings, link)
	if (!u->ends && digest_eq(&u->artifact, d))
		return u;
	return NULL;
}

static struct unpacking *unpacking_new(struct slots *s, const struct slot_unpack_config *c)
{
	struct unpacking *u = calloc(1, sizeof(*u));
	PRE(u != NULL);
	u->s = s;
	u->artifact = c->artifact;
	LIST_INSERT_HEAD(&s->unpackings, u, link);
	u->u = slot_unpack_open(s->loop, c, unpacking_ended, u);
	return u;
}

int slots_unpack(struct slots *s, const struct digest *artifact, uint64_t size_bytes, uint64_t unpacked_bytes,
		 uint64_t entries, uint64_t ticket, slots_cb cb, void *ctx, struct err *e)
{
	if (!ticket_is_free(s, ticket))
		return err_set(e, E_INVALID, "slots: the ticket is in use or 0");
	struct unpacking *u = unpacking_of(s, artifact);
	if (u == NULL)
		u = unpacking_new(s, &(struct slot_unpack_config){.slots_dir = s->dir,
								  .archives = s->archives,
								  .program = s->program,
								  .artifact = *artifact,
								  .size_bytes = size_bytes,
								  .unpacked_bytes = unpacked_bytes,
								  .entries = entries,
								  .reserve_bytes = s->reserve});
	struct waiter *w = calloc(1, sizeof(*w));
	PRE(w != NULL);
	*w = (struct waiter){.ticket = ticket, .cb = cb, .ctx = ctx};
	LIST_INSERT_HEAD(&u->waiters, w, link);
	return E_OK;
}

static void stop_when_alone(struct unpacking *u)
{
	if (!LIST_EMPTY(&u->waiters) || u->ends)
		return;
	u->ends = true;
	slot_unpack_stop(u->u);
}

void slots_cancel(struct slots *s, uint64_t ticket)
{
	struct unpacking *u;
	struct waiter *w, *found = NULL;
	struct task *t;
	LIST_FOREACH(t, &s->tasks, link)
	if (t->ticket == ticket && ticket != 0)
		t->cb = NULL;
	LIST_FOREACH(u, &s->unpackings, link)
	{
		LIST_FOREACH(w, &u->waiters, link)
		found = w->ticket == ticket ? w : found;
		if (found == NULL)
			continue;
		LIST_REMOVE(found, link);
		free(found);
		stop_when_alone(u);
		return;
	}
}

/* ---- ledgers
 * ----------------------------------------------------------------------------------------------------------
 */

static const char *ledger_path(const struct slots *s, const struct name *app, char out[FSIO_PATH_CAP])
{
	snprintf(out, FSIO_PATH_CAP, "%s/%s%s", s->ledger, app->s, ledger_end);
	return out;
}

/* None yet: an empty one. */
static int ledger_read(const char *path, struct slot_ledger *l, struct err *e)
{
	struct buf b;
	buf_init(&b);
	*l = (struct slot_ledger){0};
	int rc = fsio_read(path, LEDGER_BYTES_MAX, &b, e);
	if (rc == E_OK)
		rc = slot_ledger_decode(l, b.data, b.len, e);
	else if (rc == E_TOO_LARGE)
		rc = err_set(e, E_CORRUPT, "the ledger of slots is damaged");
	buf_done(&b);
	if (rc == E_NOT_FOUND)
		return E_OK;
	return rc == E_OK ? E_OK : err_wrap(e, "%s", path);
}

/* The app's own. A damaged one is begun anew, and the app's next success makes it whole. */
static int ledger_own(const struct slots *s, const struct name *app, struct slot_ledger *l, struct err *e)
{
	char path[FSIO_PATH_CAP];
	int rc = ledger_read(ledger_path(s, app, path), l, e);
	if (rc != E_CORRUPT)
		return rc;
	*l = (struct slot_ledger){0};
	return E_OK;
}

static int ledger_write(const struct slots *s, const struct name *app, const struct slot_ledger *l,
			struct err *e)
{
	char path[FSIO_PATH_CAP];
	struct buf b;
	buf_init(&b);
	slot_ledger_encode(l, &b);
	int rc = fsio_write_atomic(ledger_path(s, app, path), b.data, b.len, 0600, e);
	buf_done(&b);
	return rc;
}

int slots_claim(struct slots *s, const struct name *app, const struct digest *artifact, struct err *e)
{
	struct slot_ledger l;
	int rc = ledger_own(s, app, &l, e);
	if (rc != E_OK || slot_ledger_names(&l, artifact))
		return rc;
	slot_ledger_claim(&l, artifact);
	return ledger_write(s, app, &l, e);
}

int slots_good(struct slots *s, const struct name *app, const struct digest *artifact, struct err *e)
{
	struct slot_ledger l;
	int rc = ledger_own(s, app, &l, e);
	if (rc != E_OK || (l.good_nr > 0 && digest_eq(&l.good[0], artifact)))
		return rc;
	slot_ledger_good(&l, artifact);
	return ledger_write(s, app, &l, e);
}

/* ---- freeing
 * ----------------------------------------------------------------------------------------------------------
 */

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);
	return n > m && strcmp(text + n - m, end) == 0;
}

/* What another app names is that app's to remove: it is none of ours any more. */
static int leave_to_others(const struct slots *s, const struct name *app, struct slot_ledger *mine,
			   struct err *e)
{
	char own[NAME_CAP + sizeof(ledger_end)], path[FSIO_PATH_CAP + 256];
	struct slot_ledger other;
	struct dirent *en;
	int rc = E_OK;
	DIR *d = opendir(s->ledger);
	if (d == NULL)
		return err_sys(e, E_IO, errno, "open %s", s->ledger);
	snprintf(own, sizeof(own), "%s%s", app->s, ledger_end);
	while (rc == E_OK && (errno = 0, en = readdir(d)) != NULL) {
		if (!ends_with(en->d_name, ledger_end) || strcmp(en->d_name, own) == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", s->ledger, en->d_name);
		rc = ledger_read(path, &other, e);
		for (size_t i = mine->claims_nr; rc == E_OK && i-- > 0;)
			if (slot_ledger_names(&other, &mine->claims[i]))
				slot_ledger_unclaim(mine, &mine->claims[i]);
	}
	if (rc == E_OK && errno != 0)
		rc = err_sys(e, E_IO, errno, "read %s", s->ledger);
	closedir(d);
	return rc;
}

/* Does a `current` link point to it? Whatever the ledgers say, what runs is not removed. */
static bool is_current(const struct slots *s, const struct digest *artifact)
{
	char path[FSIO_PATH_CAP + 300], to[FSIO_PATH_CAP], hex[DIGEST_HEX_CAP];
	struct dirent *en;
	bool found = false;
	snprintf(path, sizeof(path), "%s/apps", s->root);
	digest_hex(artifact, hex);
	DIR *d = opendir(path);
	while (d != NULL && !found && (en = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "%s/apps/%s/current", s->root, en->d_name);
		ssize_t n = readlink(path, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = '\0';
		found = ends_with(to, hex);
	}
	if (d != NULL)
		closedir(d);
	return found;
}

static bool is_on_disk(const struct slots *s, const struct digest *d)
{
	char path[FSIO_PATH_CAP];
	return slots_has(s, d) || access(archive_path(s, d, "", path), F_OK) == 0 ||
	       access(archive_path(s, d, ".partial", path), F_OK) == 0;
}

static void forget_what_is_gone(const struct slots *s, struct slot_ledger *l)
{
	for (size_t i = l->claims_nr; i-- > 0;)
		if (!is_on_disk(s, &l->claims[i]))
			slot_ledger_unclaim(l, &l->claims[i]);
}

/* It has no name of a slot or an archive from now on; what it was is removed by the task. */
static void move_away(struct task *t, const char *path, const char *dir, const char *prefix,
		      const struct digest *d)
{
	char away[FSIO_PATH_CAP + 128], hex[DIGEST_HEX_CAP];
	digest_hex(d, hex);
	snprintf(away, sizeof(away), "%s/%s%.*s-%u", dir, prefix, SHORT_HEX, hex, ++t->s->gone_nr);
	while (access(away, F_OK) == 0)
		snprintf(away, sizeof(away), "%s/%s%.*s-%u", dir, prefix, SHORT_HEX, hex, ++t->s->gone_nr);
	if (rename(path, away) == 0)
		task_add_path(t, away);
	else if (errno != ENOENT && t->code == E_OK)
		t->code = err_sys(&t->e, E_IO, errno, "rename %s", path);
}

static void remove_one(struct task *t, const struct digest *d)
{
	const struct slots *s = t->s;
	char path[FSIO_PATH_CAP];
	move_away(t, slot_path(s, d, "", path), s->dir, ".partial-gone-", d);
	move_away(t, archive_path(s, d, "", path), s->archives, gone_prefix, d);
	move_away(t, archive_path(s, d, ".partial", path), s->archives, gone_prefix, d);
	if (!slots_has(s, d))
		unlink(slot_path(s, d, manifest_end, path));
}

/* What is to go stays a claim until a later call finds it gone: nothing is forgotten, whenever we die. */
static int free_old(struct task *t, const struct name *app, uint32_t keep_nr, const struct digest *keep,
		    uint32_t n)
{
	struct slots *s = t->s;
	struct slot_ledger l;
	if (n > SLOT_LEDGER_KEPT_MAX)
		return err_set(&t->e, E_INVALID, "slots: more than %d to keep", SLOT_LEDGER_KEPT_MAX);
	int rc = ledger_own(s, app, &l, &t->e);
	if (rc != E_OK)
		return rc;
	slot_ledger_trim(&l, keep_nr, keep, n);
	rc = leave_to_others(s, app, &l, &t->e);
	if (rc != E_OK)
		return rc;
	forget_what_is_gone(s, &l);
	rc = ledger_write(s, app, &l, &t->e);
	for (size_t i = 0; rc == E_OK && i < l.claims_nr; i++)
		if (!is_current(s, &l.claims[i]) && unpacking_of(s, &l.claims[i]) == NULL)
			remove_one(t, &l.claims[i]);
	return rc != E_OK ? rc : t->code;
}

void slots_free_old(struct slots *s, const struct name *app, uint32_t keep_nr, const struct digest *keep,
		    uint32_t n, uint64_t ticket, slots_cb cb, void *ctx)
{
	struct task *t = task_new(s, run_removal, cb, ctx);
	t->ticket = ticket;
	t->code = free_old(t, app, keep_nr, keep, n);
	task_start(t);
}

/* ---- opening and closing
 * -------------------------------------------------------------------------------------------- */

static void collect(struct task *t, const char *dir, const char *prefix)
{
	char path[FSIO_PATH_CAP + 256];
	struct dirent *en;
	DIR *d = opendir(dir);
	while (d != NULL && (en = readdir(d)) != NULL)
		if (strncmp(en->d_name, prefix, strlen(prefix)) == 0) {
			snprintf(path, sizeof(path), "%s/%s", dir, en->d_name);
			task_add_path(t, path);
		}
	if (d != NULL)
		closedir(d);
}

/* A manifest is written before its slot gets its name. */
static void drop_lone_manifests(const struct slots *s)
{
	char path[FSIO_PATH_CAP + 256], hex[DIGEST_HEX_CAP];
	struct digest artifact;
	struct dirent *en;
	DIR *d = opendir(s->dir);
	while (d != NULL && (en = readdir(d)) != NULL) {
		snprintf(hex, sizeof(hex), "%.64s", en->d_name);
		if (strncmp(en->d_name + strlen(hex), manifest_end, strlen(manifest_end)) != 0 ||
		    !digest_parse(&artifact, hex))
			continue;
		bool whole = strcmp(en->d_name + strlen(hex), manifest_end) == 0;
		snprintf(path, sizeof(path), "%s/%s", s->dir, en->d_name);
		if (!whole || !slots_has(s, &artifact))
			unlink(path);
	}
	if (d != NULL)
		closedir(d);
}

static int take_config(struct slots *s, const struct slots_config *c, struct err *e)
{
	const char *const all[] = {c->root, c->ledger, c->archives, c->unpack_program};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (strlen(all[i]) >= sizeof(s->root))
			return err_set(e, E_TOO_LARGE, "slots: the path %.100s... is too long", all[i]);
	snprintf(s->root, sizeof(s->root), "%s", c->root);
	snprintf(s->dir, sizeof(s->dir), "%s/slots", c->root);
	snprintf(s->ledger, sizeof(s->ledger), "%s", c->ledger);
	snprintf(s->archives, sizeof(s->archives), "%s", c->archives);
	snprintf(s->program, sizeof(s->program), "%s", c->unpack_program);
	s->reserve = c->reserve_bytes;
	int rc = fsio_mkdir(s->dir, 0755, e);
	if (rc == E_OK)
		rc = fsio_mkdir(s->ledger, 0700, e);
	return rc == E_OK ? fsio_mkdir(s->archives, 0700, e) : rc;
}

int slots_open(struct slots **out, uv_loop_t *loop, const struct slots_config *c, struct err *e)
{
	struct slots *s = calloc(1, sizeof(*s));
	PRE(s != NULL);
	s->loop = loop;
	int rc = take_config(s, c, e);
	if (rc != E_OK) {
		free(s);
		return rc;
	}
	drop_lone_manifests(s);
	struct task *t = task_new(s, run_removal, NULL, NULL);
	collect(t, s->dir, partial_prefix);
	collect(t, s->archives, gone_prefix);
	task_start(t);
	*out = s;
	return E_OK;
}

static void forget_waiters(struct unpacking *u)
{
	struct waiter *w;
	while ((w = LIST_FIRST(&u->waiters)) != NULL) {
		LIST_REMOVE(w, link);
		free(w);
	}
	stop_when_alone(u);
}

void slots_close(struct slots *s)
{
	struct unpacking *u;
	struct task *t;
	if (s == NULL)
		return;
	s->closing = true;
	LIST_FOREACH(t, &s->tasks, link)
	t->cb = NULL;
	LIST_FOREACH(u, &s->unpackings, link)
	forget_waiters(u);
	free_when_idle(s);
}
