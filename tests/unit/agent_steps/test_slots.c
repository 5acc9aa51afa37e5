#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/steps/slots.h"
#include "sys/digest.h"
#include "sys/fsio.h"

enum { PATH = 512, MANY = 16 << 20 };

static uv_loop_t loop;
static char corpus[64], top[64], root[80], ledger[80], archives[80], program[128];
static struct slots *slots;
static struct err e;

/* ---- helpers
 * ----------------------------------------------------------------------------------------------------------
 */

struct outcome {
	int calls, code;
	char detail[300];
};

static void on_end(void *ctx, int code, const char *detail)
{
	struct outcome *o = ctx;
	o->calls++;
	o->code = code;
	snprintf(o->detail, sizeof(o->detail), "%s", detail);
}

static void wait_for(const struct outcome *o)
{
	while (o->calls == 0 && uv_run(&loop, UV_RUN_ONCE) != 0) {
	}
	assert_int_equal(o->calls, 1);
}

static void assert_ok(const struct outcome *o)
{
	if (o->code != E_OK)
		fail_msg("%s: %s", err_name(o->code), o->detail);
}

static const char *text(char out[PATH], const char *fmt, ...) printf_like(2, 3);
static const char *text(char out[PATH], const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(out, PATH, fmt, ap);
	va_end(ap);
	return out;
}

static bool is_there(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

static void put_text(const char *path, const char *what, mode_t mode)
{
	assert_int_equal(fsio_write_atomic(path, what, strlen(what), mode, &e), E_OK);
}

static const char *slot_path(const struct digest *d, const char *below, char out[PATH])
{
	char hex[DIGEST_HEX_CAP];
	return text(out, "%s/slots/%s%s", root, digest_hex(d, hex), below);
}

static const char *archive_path(const struct digest *d, const char *end, char out[PATH])
{
	char hex[DIGEST_HEX_CAP];
	return text(out, "%s/%s%s", archives, digest_hex(d, hex), end);
}

/* How many names begin so. */
static int count(const char *dir, const char *prefix)
{
	struct dirent *en;
	int n = 0;
	DIR *d = opendir(dir);
	assert_non_null(d);
	while ((en = readdir(d)) != NULL)
		n += en->d_name[0] != '\0' && strncmp(en->d_name, prefix, strlen(prefix)) == 0 &&
		     strcmp(en->d_name, ".") != 0 && strcmp(en->d_name, "..") != 0;
	closedir(d);
	return n;
}

static int partials(void)
{
	char path[PATH];
	return count(text(path, "%s/slots", root), ".partial-");
}

static void open_slots(void)
{
	struct slots_config c = {
		.root = root, .ledger = ledger, .archives = archives, .unpack_program = program};
	if (slots_open(&slots, &loop, &c, &e) != E_OK)
		fail_msg("%s", e.text);
	uv_run(&loop, UV_RUN_DEFAULT);
}

static void reopen(void)
{
	slots_close(slots);
	uv_run(&loop, UV_RUN_DEFAULT);
	open_slots();
}

/* What is run instead of wavetrain-unpack. */
static void run_instead(const char *script)
{
	char path[PATH];
	put_text(text(path, "%s/script", top), script, 0755);
	snprintf(program, sizeof(program), "%s/script", top);
	reopen();
}

/* The sanitizer's leak check reads /proc, which the jail hides. */
static void run_unpack(const char *before)
{
	char script[1024];
	snprintf(script, sizeof(script),
		 "#!/bin/sh\n%s\nASAN_OPTIONS=detect_leaks=0 exec " UNPACK_PROGRAM " \"$@\"\n", before);
	run_instead(script);
}

static int begin(void **state)
{
	snprintf(top, sizeof(top), "/tmp/wavetrain-slots-XXXXXX");
	if (mkdtemp(top) == NULL || uv_loop_init(&loop) != 0)
		return -1;
	snprintf(root, sizeof(root), "%s/root", top);
	snprintf(ledger, sizeof(ledger), "%s/ledger", top);
	snprintf(archives, sizeof(archives), "%s/archives", top);
	if (mkdir(root, 0755) != 0)
		return -1;
	slots = NULL;
	run_unpack("");
	return 0;
}

static int end(void **state)
{
	char command[128];
	slots_close(slots);
	uv_run(&loop, UV_RUN_DEFAULT);
	umount2(root, MNT_DETACH); /* of a test that failed; else there is none */
	snprintf(command, sizeof(command), "rm -r '%s'", top);
	return uv_loop_close(&loop) != 0 || system(command) != 0 ? -1 : 0;
}

/* An archive of the corpus as fetch leaves it. */
static struct digest fetched(const char *name, uint64_t *size)
{
	char path[PATH];
	struct buf b;
	buf_init(&b);
	assert_int_equal(fsio_read(text(path, "%s/%s", corpus, name), 1 << 24, &b, &e), E_OK);
	struct digest d = digest_of(b.data, b.len);
	*size = b.len;
	assert_int_equal(fsio_write_atomic(archive_path(&d, "", path), b.data, b.len, 0600, &e), E_OK);
	buf_done(&b);
	return d;
}

static struct digest unpack(const char *name, struct outcome *o)
{
	uint64_t size;
	struct digest d = fetched(name, &size);
	*o = (struct outcome){0};
	assert_int_equal(slots_unpack(slots, &d, size, 8 << 20, 1000, 1, on_end, o, &e), E_OK);
	assert_int_equal(o->calls, 0);
	wait_for(o);
	return d;
}

static struct digest unpack_plain(void)
{
	struct outcome o;
	struct digest d = unpack("good-plain.tar.gz", &o);
	assert_ok(&o);
	return d;
}

/* ---- unpacking
 * -------------------------------------------------------------------------------------------------------- */

static void an_archive_becomes_a_slot(void **state)
{
	struct outcome o;
	struct stat st;
	char path[PATH];
	struct digest d = unpack("good-link-inside.tar.gz", &o);
	assert_ok(&o);
	assert_string_equal(o.detail, "");
	assert_true(slots_has(slots, &d));
	assert_int_equal(stat(slot_path(&d, "/bin/current", path), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_false(is_there(archive_path(&d, "", path)));
	assert_int_equal(partials(), 0);
	assert_int_equal(slots_check(slots, &d, &e), E_OK);
}

static void hostile_archives_leave_nothing(void **state)
{
	/* What is refused at the push only. */
	static const char *const fine[] = {"bad-empty", "bad-case", "bad-plain-tar", "bad-nothing"};
	struct dirent *en;
	int tried = 0;
	DIR *dir = opendir(corpus);
	while ((en = readdir(dir)) != NULL) {
		bool skipped = strncmp(en->d_name, "bad-", 4) != 0;
		for (size_t i = 0; i < ARRAY_LEN(fine); i++)
			skipped = skipped || strncmp(en->d_name, fine[i], strlen(fine[i])) == 0;
		if (skipped)
			continue;
		struct outcome o;
		struct digest d = unpack(en->d_name, &o);
		if (o.code != E_CORRUPT || strchr(o.detail, '\'') == NULL)
			fail_msg("%s: %s %s", en->d_name, err_name(o.code), o.detail);
		assert_false(slots_has(slots, &d));
		assert_int_equal(partials(), 0);
		tried++;
	}
	closedir(dir);
	assert_in_range(tried, 30, 1000);
}

static void the_archive_is_looked_at_first(void **state)
{
	struct outcome o = {0}, none = {0};
	uint64_t size;
	struct digest d = fetched("good-plain.tar.gz", &size), other = digest_of("x", 1);
	assert_int_equal(slots_unpack(slots, &d, size + 1, 100, 10, 1, on_end, &o, &e), E_OK);
	assert_int_equal(slots_unpack(slots, &other, size, 100, 10, 1, on_end, &none, &e), E_INVALID);
	assert_int_equal(slots_unpack(slots, &other, size, 100, 10, 0, on_end, &none, &e), E_INVALID);
	assert_int_equal(slots_unpack(slots, &other, size, 100, 10, 2, on_end, &none, &e), E_OK);
	wait_for(&o);
	wait_for(&none);
	assert_int_equal(o.code, E_CORRUPT);
	assert_int_equal(none.code, E_NOT_FOUND);
	assert_int_equal(partials(), 0);
}

static void space_is_counted_first(void **state)
{
	struct outcome o = {0};
	uint64_t size;
	struct digest d = fetched("good-plain.tar.gz", &size);
	assert_int_equal(slots_unpack(slots, &d, size, INT64_MAX, 10, 1, on_end, &o, &e), E_OK);
	wait_for(&o);
	assert_int_equal(o.code, E_NO_SPACE);
	assert_non_null(strstr(o.detail, "9223372036854775807 bytes unpacked + 0 reserve > "));
}

static void a_disk_that_fills_up_on_the_way_is_told_as_such(void **state)
{
	struct outcome o = {0};
	char path[PATH], fill[PATH];
	uint64_t size;
	slots_close(slots);
	slots = NULL;
	uv_run(&loop, UV_RUN_DEFAULT);
	if (mount("tmpfs", root, "tmpfs", 0, "size=12m") != 0)
		skip_because("nobody may mount here");
	/* The check before has passed when this fills the disk. */
	run_unpack(text(fill, "/usr/bin/head -c 6000000 /dev/zero > %s/ballast", root));
	struct digest d = fetched("bad-bomb.tar.gz", &size);
	assert_int_equal(slots_unpack(slots, &d, size, 10 << 20, 10, 1, on_end, &o, &e), E_OK);
	wait_for(&o);
	int left = partials();
	bool kept = is_there(archive_path(&d, "", path));
	umount2(root, MNT_DETACH);
	assert_int_equal(o.code, E_NO_SPACE);
	assert_non_null(strstr(o.detail, "No space left on device"));
	assert_int_equal(left, 0);
	assert_true(kept);
}

static void how_the_child_ends_is_how_it_went(void **state)
{
	static const struct {
		const char *script;
		int code;
		const char *says;
	} all[] = {
		{"echo first >&2; echo second >&2; exit 1", E_CORRUPT, ": second"},
		{"for i in 1 2 3 4 5 6 7 8 9; do echo "
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa$i >&2; "
		 "done; "
		 "echo last >&2; exit 1",
		 E_CORRUPT, ": last"},
		{"echo 'write a: No space left on device' >&2; exit 70", E_NO_SPACE, "write a"},
		{"echo 'write a: Input/output error' >&2; exit 70", E_IO, "write a"},
		{"exit 64", E_INTERNAL, "ended with 64"},
		{"echo half > /proc/self/fd/3/file; kill -9 $$", E_IO, "Killed"},
		{"kill -XCPU $$", E_CORRUPT, "longer"},
	};
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct outcome o;
		char script[PATH];
		run_instead(text(script, "#!/bin/sh\n%s\n", all[i].script));
		struct digest d = unpack("good-plain.tar.gz", &o);
		if (o.code != all[i].code || strstr(o.detail, all[i].says) == NULL)
			fail_msg("%s: %s %s", all[i].script, err_name(o.code), o.detail);
		assert_int_equal(o.calls, 1);
		assert_int_equal(partials(), 0);
		assert_false(slots_has(slots, &d));
	}
}

static void a_program_that_is_not_there_is_said(void **state)
{
	struct outcome o;
	snprintf(program, sizeof(program), "%s/nothing", top);
	reopen();
	unpack("good-plain.tar.gz", &o);
	assert_int_equal(o.code, E_NOT_FOUND);
	assert_non_null(strstr(o.detail, program));
	assert_int_equal(partials(), 0);
}

/* ---- several at a time, and stopping
 * ---------------------------------------------------------------------------------- */

static void begin_endless(struct digest *d, uint64_t ticket, struct outcome *o)
{
	char path[PATH];
	uint64_t size;
	*d = fetched("good-plain.tar.gz", &size);
	assert_int_equal(slots_unpack(slots, d, size, 100, 10, ticket, on_end, o, &e), E_OK);
	while (!is_there(text(path, "%s/runs", top)))
		uv_run(&loop, UV_RUN_NOWAIT);
}

static void write_endless(void)
{
	char script[PATH];
	run_instead(text(script,
			 "#!/bin/sh\necho half > /proc/self/fd/3/file\ntouch %s/runs\nexec sleep 1000\n",
			 top));
}

static void cancelling_kills_and_says_nothing(void **state)
{
	struct outcome o = {0};
	struct digest d;
	write_endless();
	begin_endless(&d, 7, &o);
	assert_int_equal(partials(), 1);
	slots_cancel(slots, 7);
	slots_cancel(slots, 7);
	slots_cancel(slots, 8);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(o.calls, 0);
	assert_int_equal(partials(), 0);
	run_unpack("");
	unpack_plain();
}

static void the_same_may_begin_again_while_the_old_one_dies(void **state)
{
	struct outcome o = {0}, again = {0};
	struct digest d;
	char script[PATH];
	run_unpack(text(script, "if ! test -e %s/runs; then touch %s/runs; exec sleep 1000; fi", top, top));
	begin_endless(&d, 7, &o);
	slots_cancel(slots, 7);
	char path[PATH];
	struct stat st;
	assert_int_equal(stat(archive_path(&d, "", path), &st), 0);
	assert_int_equal(slots_unpack(slots, &d, (uint64_t)st.st_size, 100, 10, 7, on_end, &again, &e), E_OK);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(o.calls, 0);
	assert_ok(&again);
	assert_true(slots_has(slots, &d));
	assert_int_equal(partials(), 0);
}

static void two_apps_share_the_work(void **state)
{
	struct outcome a = {0}, b = {0}, c = {0};
	uint64_t size;
	char script[PATH], log[PATH];
	struct buf runs;
	run_unpack(text(script, "echo run >> %s/log", top));
	struct digest d = fetched("good-plain.tar.gz", &size);
	assert_int_equal(slots_unpack(slots, &d, size, 100, 10, 1, on_end, &a, &e), E_OK);
	assert_int_equal(slots_unpack(slots, &d, size, 100, 10, 2, on_end, &b, &e), E_OK);
	assert_int_equal(slots_unpack(slots, &d, size, 100, 10, 3, on_end, &c, &e), E_OK);
	slots_cancel(slots, 1);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(a.calls, 0);
	assert_int_equal(b.calls + c.calls, 2);
	assert_ok(&b);
	assert_ok(&c);
	buf_init(&runs);
	assert_int_equal(fsio_read(text(log, "%s/log", top), 100, &runs, &e), E_OK);
	assert_string_equal(buf_cstr(&runs), "run\n");
	buf_done(&runs);
}

static void closing_kills_what_is_under_way(void **state)
{
	struct outcome o = {0};
	struct digest d;
	write_endless();
	begin_endless(&d, 7, &o);
	slots_close(slots);
	slots = NULL;
	uv_run(&loop, UV_RUN_DEFAULT); /* returns when the child is dead */
	assert_int_equal(o.calls, 0);
	assert_int_equal(partials(), 0);
}

static void close_it(void *ctx, int code, const char *detail)
{
	on_end(ctx, code, detail);
	slots_close(slots);
	slots = NULL;
}

static void closing_is_fine_from_a_callback(void **state)
{
	struct outcome o = {0}, other = {0};
	uint64_t size;
	struct digest d = fetched("good-plain.tar.gz", &size);
	assert_int_equal(slots_unpack(slots, &d, size, 100, 10, 1, on_end, &other, &e), E_OK);
	assert_int_equal(slots_unpack(slots, &d, size, 100, 10, 2, close_it, &o, &e), E_OK);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(o.calls, 1);
	assert_int_equal(other.calls, 0);
}

static void leftovers_are_removed_at_the_start(void **state)
{
	char path[PATH];
	struct digest d = unpack_plain(), lone = digest_of("lone", 4);
	assert_int_equal(mkdir(text(path, "%s/slots/.partial-a", root), 0755), 0);
	assert_int_equal(mkdir(text(path, "%s/slots/.partial-a/b", root), 0755), 0);
	put_text(text(path, "%s/slots/.partial-a/b/c", root), "x", 0644);
	assert_int_equal(symlink("/etc", text(path, "%s/slots/.partial-a/b/l", root)), 0);
	put_text(text(path, "%s/.gone-x", archives), "x", 0644);
	put_text(slot_path(&lone, ".manifest", path), "x", 0644);
	put_text(slot_path(&d, ".manifest.new", path), "x", 0644);
	reopen();
	assert_int_equal(partials(), 0);
	assert_int_equal(count(archives, ""), 0);
	assert_int_equal(count(text(path, "%s/slots", root), ""), 2);
	assert_int_equal(slots_check(slots, &d, &e), E_OK);
}

/* ---- damage
 * -----------------------------------------------------------------------------------------------------------
 */

static int verify(const struct digest *d, enum slot_depth depth, struct outcome *o)
{
	*o = (struct outcome){0};
	assert_int_equal(slots_verify(slots, d, depth, 5, on_end, o, &e), E_OK);
	wait_for(o);
	return o->code;
}

static void change(const struct digest *d, const char *below, const char *to)
{
	char path[PATH];
	int fd = open(slot_path(d, below, path), O_WRONLY | O_TRUNC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, to, strlen(to)), (ssize_t)strlen(to));
	close(fd);
}

static void damage_is_found_and_named(void **state)
{
	struct outcome o;
	char path[PATH];
	struct digest d = unpack_plain();
	assert_int_equal(verify(&d, SLOT_DIGESTS, &o), E_OK);
	put_text(slot_path(&d, "/bin/besides", path), "written by the program", 0644);
	assert_int_equal(verify(&d, SLOT_DIGESTS, &o), E_OK);
	change(&d, "/etc/app.conf", "y");
	assert_int_equal(slots_check(slots, &d, &e), E_OK);
	assert_int_equal(verify(&d, SLOT_SIZES, &o), E_OK);
	assert_int_equal(verify(&d, SLOT_DIGESTS, &o), E_CORRUPT);
	assert_non_null(strstr(o.detail, "etc/app.conf has other bytes"));
	change(&d, "/etc/app.conf", "longer");
	assert_int_equal(slots_check(slots, &d, &e), E_CORRUPT);
	assert_non_null(strstr(e.text, "etc/app.conf has 6 bytes, not 1"));
	change(&d, "/etc/app.conf", "x");
	assert_int_equal(slots_check(slots, &d, &e), E_OK);
	assert_int_equal(chmod(slot_path(&d, "/bin/app", path), 0644), 0);
	assert_int_equal(slots_check(slots, &d, &e), E_CORRUPT);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(slots_check(slots, &d, &e), E_CORRUPT);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(slots_check(slots, &d, &e), E_CORRUPT);
	assert_non_null(strstr(e.text, "another kind"));
}

static void without_its_manifest_a_slot_is_not_trusted(void **state)
{
	struct digest d = unpack_plain(), none = digest_of("none", 4);
	char path[PATH];
	struct outcome o;
	assert_int_equal(slots_check(slots, &none, &e), E_NOT_FOUND);
	assert_int_equal(verify(&none, SLOT_DIGESTS, &o), E_NOT_FOUND);
	change(&d, ".manifest", "something else");
	assert_int_equal(slots_check(slots, &d, &e), E_CORRUPT);
	assert_int_equal(unlink(slot_path(&d, ".manifest", path)), 0);
	assert_int_equal(slots_check(slots, &d, &e), E_CORRUPT);
	assert_int_equal(verify(&d, SLOT_SIZES, &o), E_CORRUPT);
}

static void unpacking_again_mends_a_slot(void **state)
{
	struct digest d = unpack_plain();
	char path[PATH];
	struct outcome o;
	change(&d, "/etc/app.conf", "longer");
	assert_int_equal(unlink(slot_path(&d, ".manifest", path)), 0);
	unpack_plain();
	assert_int_equal(verify(&d, SLOT_DIGESTS, &o), E_OK);
	assert_int_equal(partials(), 0);
}

/* ---- retention
 * -------------------------------------------------------------------------------------------------------- */

static struct name app_a, app_b;

static struct digest made(char c)
{
	char path[PATH];
	struct digest d = digest_of(&c, 1);
	if (!slots_has(slots, &d)) {
		assert_int_equal(mkdir(slot_path(&d, "", path), 0755), 0);
		put_text(slot_path(&d, "/file", path), "x", 0644);
		put_text(slot_path(&d, ".manifest", path), "x", 0644);
	}
	return d;
}

/* Proven in this order. */
static void good(const struct name *app, const char *all)
{
	for (; *all != '\0'; all++) {
		struct digest d = made(*all);
		assert_int_equal(slots_good(slots, app, &d, &e), E_OK);
	}
}

static void free_old(const struct name *app, uint32_t keep_nr, const char *keep, struct outcome *o)
{
	struct digest list[8];
	uint32_t n = 0;
	for (; keep[n] != '\0'; n++)
		list[n] = digest_of(&keep[n], 1);
	*o = (struct outcome){0};
	slots_free_old(slots, app, keep_nr, list, n, 0, on_end, o);
	assert_int_equal(o->calls, 0);
	wait_for(o);
}

static void assert_slots(const char *want)
{
	char is[27] = "", *at = is, path[PATH];
	for (char c = 'a'; c <= 'z'; c++) {
		struct digest d = digest_of(&c, 1);
		if (slots_has(slots, &d))
			*at++ = c;
		assert_int_equal(is_there(slot_path(&d, ".manifest", path)), slots_has(slots, &d));
	}
	assert_string_equal(is, want);
	assert_int_equal(partials(), 0);
}

/* For what is done in the thread pool as well; the address sanitizer sees whoever is freed too early. */
static void closing_is_fine_when_a_slot_was_verified_or_old_ones_are_gone(void **state)
{
	struct outcome o = {0};
	struct digest d = made('a');
	assert_int_equal(slots_verify(slots, &d, SLOT_DIGESTS, 1, close_it, &o, &e), E_OK);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(o.calls, 1);
	open_slots();
	o = (struct outcome){0};
	good(&app_a, "ab");
	slots_free_old(slots, &app_a, 1, NULL, 0, 1, close_it, &o);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(o.calls, 1);
	open_slots();
	assert_slots("b");
}

static void again(void *ctx, int code, const char *detail)
{
	struct digest d = made('a');
	assert_int_equal(slots_verify(slots, &d, SLOT_SIZES, 1, on_end, ctx, &e), E_OK);
}

static void a_ticket_is_free_again_in_its_callback(void **state)
{
	struct outcome o = {0};
	struct digest d = made('a');
	assert_int_equal(slots_verify(slots, &d, SLOT_SIZES, 1, again, &o, &e), E_OK);
	wait_for(&o);
	assert_int_equal(o.code, E_CORRUPT); /* its manifest is none */
}

static void the_oldest_go_first(void **state)
{
	struct outcome o;
	good(&app_a, "abcd");
	good(&app_a, "b"); /* again: it is the most recent now */
	free_old(&app_a, 3, "", &o);
	assert_ok(&o);
	assert_slots("bcd");
	reopen();
	free_old(&app_a, 1, "c", &o);
	assert_ok(&o);
	assert_slots("bc");
	free_old(&app_a, 0, "b", &o); /* c was kept before, and is not any more */
	assert_slots("b");
}

static void a_shared_slot_goes_with_its_last_app(void **state)
{
	struct outcome o;
	good(&app_a, "abc");
	good(&app_b, "ax");
	free_old(&app_a, 1, "", &o);
	assert_ok(&o);
	assert_slots("acx");
	free_old(&app_b, 1, "", &o);
	assert_ok(&o);
	assert_slots("cx");
}

static void what_another_app_kept_or_claimed_stays(void **state)
{
	struct outcome o;
	struct digest claimed = digest_of("a", 1);
	good(&app_a, "abc");
	free_old(&app_b, 1, "b", &o);
	assert_int_equal(slots_claim(slots, &app_b, &claimed, &e), E_OK);
	free_old(&app_a, 1, "", &o);
	assert_ok(&o);
	assert_slots("abc");
	free_old(&app_b, 1, "", &o);
	assert_ok(&o);
	assert_slots("c");
}

static void what_was_never_proven_goes_with_its_archives(void **state)
{
	struct outcome o;
	char path[PATH];
	good(&app_a, "a");
	struct digest failed = made('f'), never = digest_of("n", 1), unclaimed = made('u');
	assert_int_equal(slots_claim(slots, &app_a, &failed, &e), E_OK);
	assert_int_equal(slots_claim(slots, &app_a, &never, &e), E_OK);
	put_text(archive_path(&failed, "", path), "x", 0600);
	put_text(archive_path(&never, ".partial", path), "x", 0600);
	put_text(archive_path(&unclaimed, "", path), "x", 0600);
	free_old(&app_a, 5, "", &o);
	assert_ok(&o);
	assert_slots("au");
	assert_int_equal(count(archives, ""), 1);
	assert_true(is_there(archive_path(&unclaimed, "", path)));
}

static void what_runs_stays_whatever_the_ledgers_say(void **state)
{
	struct outcome o;
	char path[PATH], hex[DIGEST_HEX_CAP], to[PATH];
	good(&app_a, "abc");
	struct digest a = digest_of("a", 1);
	assert_int_equal(mkdir(text(path, "%s/apps", root), 0755), 0);
	assert_int_equal(mkdir(text(path, "%s/apps/x", root), 0755), 0);
	assert_int_equal(symlink(text(to, "../../slots/%s", digest_hex(&a, hex)),
				 text(path, "%s/apps/x/current", root)),
			 0);
	free_old(&app_a, 1, "", &o);
	assert_ok(&o);
	assert_slots("ac");
	assert_int_equal(unlink(path), 0);
	free_old(&app_a, 1, "", &o);
	assert_slots("c");
}

static void what_is_being_unpacked_stays(void **state)
{
	struct outcome o, unpacked = {0};
	struct digest d;
	write_endless();
	begin_endless(&d, 9, &unpacked);
	assert_int_equal(slots_claim(slots, &app_a, &d, &e), E_OK);
	free_old(&app_a, 1, "", &o);
	assert_ok(&o);
	char path[PATH];
	assert_true(is_there(archive_path(&d, "", path)));
	assert_int_equal(partials(), 1);
}

static void a_ledger_that_cannot_be_read_stops_removal(void **state)
{
	struct outcome o;
	char path[PATH];
	good(&app_a, "abc");
	good(&app_b, "x");
	put_text(text(path, "%s/beta.ledger", ledger), "damaged", 0600);
	free_old(&app_a, 1, "", &o);
	assert_int_equal(o.code, E_CORRUPT);
	assert_non_null(strstr(o.detail, "beta.ledger"));
	assert_slots("abcx");
	good(&app_b, "y");
	free_old(&app_a, 1, "", &o);
	assert_ok(&o);
	assert_slots("cxy");
}

static void a_damaged_ledger_of_its_own_removes_nothing_it_does_not_know(void **state)
{
	struct outcome o;
	char path[PATH];
	good(&app_a, "ab");
	put_text(text(path, "%s/alpha.ledger", ledger), "damaged", 0600);
	good(&app_a, "c");
	good(&app_a, "d");
	free_old(&app_a, 1, "", &o);
	assert_ok(&o);
	assert_slots("abd");
}

static int open_all(void **state)
{
	char command[PATH];
	snprintf(corpus, sizeof(corpus), "/tmp/wavetrain-hostile-XXXXXX");
	if (mkdtemp(corpus) == NULL || !name_set(&app_a, "alpha") || !name_set(&app_b, "beta"))
		return -1;
	snprintf(command, sizeof(command), "python3 '%s' '%s'", MAKE_HOSTILE, corpus);
	return system(command);
}

static int close_all(void **state)
{
	char command[PATH];
	snprintf(command, sizeof(command), "rm -r '%s'", corpus);
	return system(command);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_archive_becomes_a_slot),
		T(hostile_archives_leave_nothing),
		T(the_archive_is_looked_at_first),
		T(space_is_counted_first),
		T(a_disk_that_fills_up_on_the_way_is_told_as_such),
		T(how_the_child_ends_is_how_it_went),
		T(a_program_that_is_not_there_is_said),
		T(cancelling_kills_and_says_nothing),
		T(the_same_may_begin_again_while_the_old_one_dies),
		T(two_apps_share_the_work),
		T(closing_kills_what_is_under_way),
		T(closing_is_fine_from_a_callback),
		T(leftovers_are_removed_at_the_start),
		T(damage_is_found_and_named),
		T(without_its_manifest_a_slot_is_not_trusted),
		T(unpacking_again_mends_a_slot),
		T(closing_is_fine_when_a_slot_was_verified_or_old_ones_are_gone),
		T(a_ticket_is_free_again_in_its_callback),
		T(the_oldest_go_first),
		T(a_shared_slot_goes_with_its_last_app),
		T(what_another_app_kept_or_claimed_stays),
		T(what_was_never_proven_goes_with_its_archives),
		T(what_runs_stays_whatever_the_ledgers_say),
		T(what_is_being_unpacked_stays),
		T(a_ledger_that_cannot_be_read_stops_removal),
		T(a_damaged_ledger_of_its_own_removes_nothing_it_does_not_know),
	};
	return cmocka_run_group_tests(tests, open_all, close_all);
}
