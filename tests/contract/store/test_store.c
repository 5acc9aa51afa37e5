/* The one contract of store.h, on both stores: otherwise the one in memory would drift into fiction. */
#include "tests/lib/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rng.h"
#include "coordinator/adapters/store_lmdb.h"
#include "coordinator/state/state.h"
#include "coordinator/state/store_mem.h"

enum { KEYS = 64 };

struct both {
	struct store *s;
	char dir[64]; /* "" for memory */
};

static struct store_slice slice(const char *s)
{
	return (struct store_slice){(const uint8_t *)s, strlen(s)};
}

static void remove_dir(const char *dir)
{
	char path[128];
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", dir);
	unlink(path);
	snprintf(path, sizeof path, "%s/trust", dir);
	unlink(path);
	rmdir(dir);
}

static void reopen(struct both *b, bool clean)
{
	struct err e;
	store_lmdb_close(b->s, clean);
	assert_int_equal(store_lmdb_open(&b->s, b->dir, &e), E_OK);
}

static int open_mem(void **state)
{
	static struct both b;
	b = (struct both){.s = store_mem_new()};
	*state = &b;
	return 0;
}

static int close_mem(void **state)
{
	store_mem_free(((struct both *)*state)->s);
	return 0;
}

static int open_lmdb(void **state)
{
	static struct both b;
	struct err e;
	snprintf(b.dir, sizeof b.dir, "/tmp/wavetrain-store-XXXXXX");
	assert_non_null(mkdtemp(b.dir));
	assert_int_equal(store_lmdb_open(&b.s, b.dir, &e), E_OK);
	*state = &b;
	return 0;
}

static int close_lmdb(void **state)
{
	struct both *b = *state;
	store_lmdb_close(b->s, true);
	remove_dir(b->dir);
	return 0;
}

static bool has(struct store *s, const char *key, const char *value)
{
	struct store_slice v;
	return s->ops->get(s, slice(key), &v) && v.n == strlen(value) && memcmp(v.p, value, v.n) == 0;
}

static void what_is_put_is_got_until_it_is_deleted(void **state)
{
	struct store *s = ((struct both *)*state)->s;
	s->ops->put(s, slice("a"), slice("1"));
	s->ops->put(s, slice("a"), slice("2"));
	assert_true(has(s, "a", "2"));
	s->ops->commit(s);
	assert_true(has(s, "a", "2"));
	assert_true(s->ops->del(s, slice("a")));
	assert_false(s->ops->del(s, slice("a")));
	assert_false(has(s, "a", "2"));
}

static void seek_gives_the_first_at_or_after(void **state)
{
	struct store *s = ((struct both *)*state)->s;
	struct store_slice k, v;
	s->ops->put(s, slice("b"), slice("B"));
	s->ops->put(s, slice("d"), slice("D"));
	assert_true(s->ops->seek(s, slice("b"), &k, &v));
	assert_memory_equal(v.p, "B", 1);
	assert_true(s->ops->seek(s, slice("c"), &k, &v));
	assert_memory_equal(k.p, "d", 1);
	assert_true(s->ops->seek(s, (struct store_slice){NULL, 0}, &k, &v));
	assert_memory_equal(k.p, "b", 1);
	assert_false(s->ops->seek(s, slice("e"), &k, &v));
}

static void wipe_leaves_nothing(void **state)
{
	struct store *s = ((struct both *)*state)->s;
	struct store_slice k, v;
	s->ops->put(s, slice("x"), slice("1"));
	s->ops->wipe(s);
	assert_false(s->ops->seek(s, (struct store_slice){NULL, 0}, &k, &v));
	s->ops->put(s, slice("y"), slice("2"));
	assert_true(has(s, "y", "2"));
}

/* Random operations against a plain array. */
static void it_agrees_with_a_naive_model(void **state)
{
	struct store *s = ((struct both *)*state)->s;
	int model[KEYS] = {0}; /* 0 = absent */
	struct rng r;
	rng_seed(&r, 7);
	for (int i = 1; i < 20000; i++) {
		int key = (int)rng_below(&r, KEYS);
		char name[16], text[16];
		snprintf(name, sizeof name, "key%03d", key);
		snprintf(text, sizeof text, "%d", i);
		if (rng_chance(&r, 300)) {
			assert_int_equal(s->ops->del(s, slice(name)), model[key] != 0);
			model[key] = 0;
		} else {
			s->ops->put(s, slice(name), slice(text));
			model[key] = i;
		}
		if (rng_chance(&r, 50))
			s->ops->commit(s);
	}
	struct store_slice k, v;
	struct buf at;
	buf_init(&at);
	for (int key = 0; key < KEYS; key++) {
		char text[16];
		if (model[key] == 0)
			continue;
		snprintf(text, sizeof text, "%d", model[key]);
		assert_true(s->ops->seek(s, (struct store_slice){at.data, at.len}, &k, &v));
		assert_int_equal(v.n, strlen(text));
		assert_memory_equal(v.p, text, v.n);
		buf_reset(&at);
		buf_put(&at, k.p, k.n);
		buf_put(&at, "", 1);
	}
	assert_false(s->ops->seek(s, (struct store_slice){at.data, at.len}, &k, &v));
	buf_done(&at);
}

static void what_was_committed_is_there_after_a_restart(void **state)
{
	struct both *b = *state;
	b->s->ops->put(b->s, slice("a"), slice("1"));
	b->s->ops->commit(b->s);
	reopen(b, false); /* the same boot: trusted without a clean end */
	assert_true(has(b->s, "a", "1"));
}

static void a_kill_keeps_commits_and_loses_the_rest(void **state)
{
	struct both *b = *state;
	struct err e;
	store_lmdb_close(b->s, true);
	pid_t pid = fork();
	if (pid == 0) {
		if (store_lmdb_open(&b->s, b->dir, &e) != E_OK)
			_exit(1);
		b->s->ops->put(b->s, slice("kept"), slice("1"));
		b->s->ops->commit(b->s);
		b->s->ops->put(b->s, slice("lost"), slice("1"));
		raise(SIGKILL);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(store_lmdb_open(&b->s, b->dir, &e), E_OK);
	assert_true(has(b->s, "kept", "1"));
	assert_false(has(b->s, "lost", "1"));
}

/* As a loss of power leaves it: the mark of another boot, and a file of which `keep` bytes are true. */
static void lose_power(struct both *b, const char *mark, off_t keep)
{
	char path[128];
	struct stat st;
	store_lmdb_close(b->s, false);
	snprintf(path, sizeof path, "%s/trust", b->dir);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(mark, f);
	fclose(f);
	snprintf(path, sizeof path, "%s/data.mdb", b->dir);
	assert_int_equal(stat(path, &st), 0);
	if (keep >= 0)
		assert_int_equal(truncate(path, keep), 0);
}

static void commit_rows(struct both *b)
{
	for (int i = 0; i < 2000; i++) {
		char name[16];
		snprintf(name, sizeof name, "row%d", i);
		b->s->ops->put(b->s, slice(name), slice("v"));
	}
	b->s->ops->commit(b->s);
}

static void after_a_loss_of_power_it_is_empty_however_damaged(void **state)
{
	struct both *b = *state;
	struct err e;
	struct store_slice k, v;
	static const off_t keeps[] = {-1, 0, 100, 4096, 3 * 4096};
	for (size_t i = 0; i < ARRAY_LEN(keeps); i++) {
		commit_rows(b);
		lose_power(b, "another boot\n", keeps[i]);
		assert_int_equal(store_lmdb_open(&b->s, b->dir, &e), E_OK);
		assert_false(b->s->ops->seek(b->s, (struct store_slice){NULL, 0}, &k, &v));
	}
}

static void after_a_clean_end_another_boot_trusts_it(void **state)
{
	struct both *b = *state;
	struct err e;
	commit_rows(b);
	lose_power(b, "clean", -1);
	assert_int_equal(store_lmdb_open(&b->s, b->dir, &e), E_OK);
	assert_true(has(b->s, "row7", "v"));
}

static void a_clean_end_is_trusted_once(void **state)
{
	struct both *b = *state;
	char path[128], mark[64] = {0};
	reopen(b, true);
	snprintf(path, sizeof path, "%s/trust", b->dir);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(mark, sizeof mark, f));
	fclose(f);
	assert_string_not_equal(mark, "clean");
}

static void a_snapshot_is_the_dump_of_its_moment(void **state)
{
	struct both *b = *state;
	struct buf dump, snap;
	void *h;
	buf_init(&dump);
	buf_init(&snap);
	for (int i = 0; i < 500; i++) {
		char name[16];
		snprintf(name, sizeof name, "row%d", i);
		b->s->ops->put(b->s, slice(name), slice("v"));
	}
	b->s->ops->commit(b->s);
	state_dump(b->s, &dump);
	b->s->ops->commit(b->s);
	assert_int_equal(store_lmdb_snap_begin(b->s, &h), E_OK);
	b->s->ops->put(b->s, slice("later"), slice("x"));
	b->s->ops->commit(b->s);
	assert_int_equal(store_lmdb_snap_write(h, &snap), E_OK);
	store_lmdb_snap_end(h);
	assert_int_equal(snap.len, dump.len);
	assert_memory_equal(snap.data, dump.data, dump.len);
	buf_done(&dump);
	buf_done(&snap);
}

static void fill(struct store *s, int from, int to)
{
	static char large[1000];
	memset(large, 'x', sizeof large - 1);
	for (int i = from; i < to; i++) {
		char name[16];
		snprintf(name, sizeof name, "row%d", i);
		s->ops->put(s, slice(name), slice(large));
		s->ops->commit(s);
	}
}

static void its_size_is_told(void **state)
{
	struct both *b = *state;
	uint64_t before, after, max;
	store_lmdb_usage(b->s, &before, &max);
	fill(b->s, 0, 1000);
	store_lmdb_usage(b->s, &after, &max);
	assert_in_range(after - before, 1000 * 1000, 4 * 1000 * 1000);
	assert_int_equal(max, (uint64_t)4 << 30);
}

/* It ends with 70, and with words of its own: "free space or replace the disk" would help nobody. */
static void a_full_state_ends_the_process_and_says_what_helps(void **state)
{
	struct both *b = *state;
	char said[4096] = "";
	struct err e;
	int pipe_fd[2], status;
	store_lmdb_close(b->s, true);
	assert_int_equal(pipe(pipe_fd), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(pipe_fd[1], STDERR_FILENO);
		if (store_lmdb_open_up_to(&b->s, b->dir, 1 << 20, &e) != E_OK)
			_exit(1);
		fill(b->s, 0, 10000);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 70);
	assert_true(read(pipe_fd[0], said, sizeof said - 1) > 0);
	assert_non_null(strstr(said, "How large the state may grow"));
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	assert_int_equal(store_lmdb_open(&b->s, b->dir, &e), E_OK);
}

#define MEM(t) cmocka_unit_test_setup_teardown(t, open_mem, close_mem)
#define LMDB(t)                                                                                              \
	{                                                                                                    \
		"lmdb: " #t, t, open_lmdb, close_lmdb, NULL                                                  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEM(what_is_put_is_got_until_it_is_deleted),
		MEM(seek_gives_the_first_at_or_after),
		MEM(wipe_leaves_nothing),
		MEM(it_agrees_with_a_naive_model),
		LMDB(what_is_put_is_got_until_it_is_deleted),
		LMDB(seek_gives_the_first_at_or_after),
		LMDB(wipe_leaves_nothing),
		LMDB(it_agrees_with_a_naive_model),
		LMDB(what_was_committed_is_there_after_a_restart),
		LMDB(a_kill_keeps_commits_and_loses_the_rest),
		LMDB(after_a_loss_of_power_it_is_empty_however_damaged),
		LMDB(after_a_clean_end_another_boot_trusts_it),
		LMDB(a_clean_end_is_trusted_once),
		LMDB(a_snapshot_is_the_dump_of_its_moment),
		LMDB(its_size_is_told),
		LMDB(a_full_state_ends_the_process_and_says_what_helps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
