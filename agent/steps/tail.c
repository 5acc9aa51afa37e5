#include "agent/steps/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "agent/steps/tail_text.h"
#include "base/buf.h"
#include "sys/fsio.h"
#include "sys/log.h"

/*
 *   asleep --the folder changed--> due --pass timer--> reading --nothing more--> asleep
 *                                   ^                     |
 *                                   +---- more is there --+
 *
 * The folder is not watched while a pass is due: a program that writes without end wakes nobody more often.
 */
enum {
	PASS_EVERY_MS = 500,
	LOOK_EVERY_MS = 1000, /* where the folder cannot be watched */
	SAVE_AFTER_MS = 5000,
	PASS_BYTES = 1 << 20, /* read at most in one pass */
	LINES_MAX = 1024,
	RATE_DEFAULT = 100,
	KNOWN_BYTES = 512, /* before a cursor; they tell that a file is the same, for inodes are used again */
	HANDLES = 3,
};

/* Where a line begins. */
struct place {
	uint64_t inode, offset;
	uint32_t known; /* CRC of the bytes before */
};

struct tail {
	char path[FSIO_PATH_CAP], older[FSIO_PATH_CAP], dir[FSIO_PATH_CAP], cursor[FSIO_PATH_CAP];
	struct name app;
	tail_cb cb;
	void *ctx;
	uv_fs_event_t watch;
	uv_timer_t pass, save;
	unsigned handles;
	uint64_t passed_ms; /* when the last pass was */

	int fd; /* -1: none */
	uint64_t inode, offset;
	struct place begun;	      /* of the line that is in `line`, or of the next */
	char line[TAIL_LINE_MAX + 8]; /* as read, what is longer is left out */
	size_t line_len;
	bool in_line; /* `line` holds the beginning of one, maybe empty by now */
	bool grew;    /* since the save timer was set */
	bool warned;

	struct buf text; /* the batch: cleaned lines, each with its terminator */
	const char *lines[LINES_MAX];
	size_t ends[LINES_MAX], nr;
	uint64_t dropped;
	uint64_t rate, budget; /* lines a second; thousandths of lines that may be given now */
	uint64_t budget_ms;
};

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000;
}

/* ---- batches
 * ------------------------------------------------------------------------------------------------------- */

static void flush(struct tail *t)
{
	if (t->nr == 0 && t->dropped == 0)
		return;
	size_t at = 0;
	for (size_t i = 0; i < t->nr; i++) {
		t->lines[i] = (const char *)t->text.data + at;
		at = t->ends[i];
	}
	const struct tail_batch b = {"output", t->lines, t->nr, t->dropped};
	t->nr = 0;
	t->dropped = 0;
	t->cb(t->ctx, &t->app, &b);
	buf_reset(&t->text);
}

static void fill_budget(struct tail *t)
{
	uint64_t now = now_ms(), most = t->rate * 1000;
	uint64_t more = (now - t->budget_ms) * t->rate;
	t->budget = t->budget + more > most ? most : t->budget + more;
	t->budget_ms = now;
}

/* The line that is in `line` ends. */
static void give(struct tail *t)
{
	t->in_line = false;
	if (t->budget < 1000) {
		if (t->nr > 0)
			flush(t); /* what was dropped stands before the lines of a batch */
		t->dropped++;
		t->line_len = 0;
		return;
	}
	t->budget -= 1000;
	if (t->nr == LINES_MAX || t->text.len + TAIL_LINE_MAX + 1 > TAIL_BATCH_MAX)
		flush(t);
	char *out = (char *)buf_reserve(&t->text, TAIL_LINE_MAX + 1);
	t->text.len += tail_text_clean(out, TAIL_LINE_MAX + 1, t->line, t->line_len) + 1;
	t->ends[t->nr++] = t->text.len;
	t->line_len = 0;
}

static void take(struct tail *t, const char *p, size_t n)
{
	while (n > 0) {
		const char *end = memchr(p, '\n', n);
		size_t len = end != NULL ? (size_t)(end - p) : n;
		size_t room = sizeof t->line - t->line_len;
		memcpy(t->line + t->line_len, p, len < room ? len : room);
		t->line_len += len < room ? len : room;
		t->in_line = true;
		if (end == NULL) {
			t->offset += len;
			return;
		}
		t->offset += len + 1;
		give(t);
		t->begun = (struct place){.inode = t->inode, .offset = t->offset};
		p += len + 1;
		n -= len + 1;
	}
}

/* ---- files
 * ------------------------------------------------------------------------------------------------------- */

static uint32_t known_before(int fd, uint64_t offset)
{
	uint8_t bytes[KNOWN_BYTES];
	uint64_t from = offset > KNOWN_BYTES ? offset - KNOWN_BYTES : 0;
	ssize_t n = pread(fd, bytes, (size_t)(offset - from), (off_t)from);
	return n < 0 ? 0 : (uint32_t)crc32(0, bytes, (uInt)n);
}

static uint64_t inode_of(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_ino : 0;
}

static bool open_file(struct tail *t, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == EACCES && !t->warned) {
		log_warn(t->app.s, "its output is not shown: %s may not be read by this user", path);
		t->warned = true;
	}
	if (fd < 0)
		return false;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return false;
	}
	t->fd = fd;
	t->inode = (uint64_t)st.st_ino;
	t->offset = 0;
	if (!t->in_line)
		t->begun = (struct place){.inode = t->inode};
	return true;
}

static void close_file(struct tail *t)
{
	/* A line may go on in the next file: where it began must be known without this one. */
	if (t->begun.inode == t->inode)
		t->begun.known = known_before(t->fd, t->begun.offset);
	close(t->fd);
	t->fd = -1;
}

/* The file that follows the one that ended; false: there is none yet. */
static bool open_next(struct tail *t)
{
	uint64_t older = inode_of(t->older);
	bool skipped = t->inode != 0 && older != 0 && older != t->inode;
	if (inode_of(t->path) == 0 && !skipped)
		return false; /* in the middle of a rotation: its end will be told */
	if (t->fd >= 0)
		close_file(t);
	if (skipped) { /* rotated twice: the one between is there, whether others were nobody knows */
		if (t->in_line)
			give(t);
		t->dropped++;
	}
	return open_file(t, skipped ? t->older : t->path);
}

/* True when all of the open file was read. */
static bool read_file(struct tail *t, size_t *budget)
{
	char bytes[16384];
	while (*budget > 0) {
		ssize_t n = pread(t->fd, bytes, sizeof bytes, (off_t)t->offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return true;
		take(t, bytes, (size_t)n);
		t->grew = true;
		*budget -= *budget < (size_t)n ? *budget : (size_t)n;
	}
	return false;
}

static bool was_cut(struct tail *t)
{
	struct stat st;
	if (fstat(t->fd, &st) != 0 || (uint64_t)st.st_size >= t->offset)
		return false;
	t->offset = 0;
	t->line_len = 0;
	t->in_line = false;
	t->begun = (struct place){.inode = t->inode};
	return true;
}

/* No file follows the open one. In the middle of a rotation that is the older one. */
static bool is_last(const struct tail *t)
{
	uint64_t newest = inode_of(t->path);
	if (newest == 0)
		newest = inode_of(t->older);
	return newest == 0 || newest == t->inode;
}

/* True when there is nothing more. */
static bool read_all(struct tail *t, size_t budget)
{
	if (t->fd < 0 && !open_next(t))
		return true;
	while (read_file(t, &budget)) {
		if (is_last(t)) {
			if (!was_cut(t))
				return true;
		} else if (!read_file(t, &budget) || !open_next(t)) { /* the last bytes before the rotation */
			return t->fd < 0;
		}
	}
	return false;
}

/* ---- the cursor
 * ------------------------------------------------------------------------------------------------------- */

static void save(struct tail *t)
{
	char text[96];
	struct err e;
	struct place p = t->begun;
	if (p.inode == 0)
		return;
	if (t->fd >= 0 && p.inode == t->inode)
		p.known = known_before(t->fd, p.offset);
	int n = snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %" PRIu32 "\n", p.inode, p.offset,
			 p.known);
	if (fsio_write_atomic(t->cursor, text, (size_t)n, 0600, &e) != E_OK)
		log_warn(t->app.s, "where its output was read to is not remembered: %s", e.text);
}

static bool load(const struct tail *t, struct place *out)
{
	struct buf b;
	struct err e;
	buf_init(&b);
	bool ok = fsio_read(t->cursor, 96, &b, &e) == E_OK &&
		  sscanf(buf_cstr(&b), "%" SCNu64 " %" SCNu64 " %" SCNu32, &out->inode, &out->offset,
			 &out->known) == 3;
	buf_done(&b);
	return ok;
}

static bool go_on_in(struct tail *t, const char *path, const struct place *p)
{
	struct stat st;
	if (!open_file(t, path))
		return false;
	if (t->inode == p->inode && fstat(t->fd, &st) == 0 && (uint64_t)st.st_size >= p->offset &&
	    known_before(t->fd, p->offset) == p->known) {
		t->offset = p->offset;
		t->begun = *p;
		return true;
	}
	close(t->fd);
	t->fd = -1;
	return false;
}

static void find_begin(struct tail *t)
{
	struct place p;
	bool known = load(t, &p);
	if (known && (go_on_in(t, t->path, &p) || go_on_in(t, t->older, &p)))
		return;
	t->inode = 0;
	t->begun = (struct place){0};
	bool any = open_file(t, t->older) || open_file(t, t->path);
	t->dropped += known && any ? 1 : 0;
}

/* ---- turns
 * ------------------------------------------------------------------------------------------------------- */

static void on_pass(uv_timer_t *timer);
static void on_save(uv_timer_t *timer);

static void due(struct tail *t)
{
	uint64_t since = now_ms() - t->passed_ms;
	uint64_t wait = since >= PASS_EVERY_MS ? 0 : PASS_EVERY_MS - since;
	uv_fs_event_stop(&t->watch);
	if (!uv_is_active((uv_handle_t *)&t->pass))
		uv_timer_start(&t->pass, on_pass, wait, 0);
}

static void on_change(uv_fs_event_t *w, const char *leaf, int events, int status)
{
	struct tail *t = w->data;
	if (leaf == NULL || strncmp(leaf, "output.log", 10) == 0)
		due(t);
}

/* Something came while nobody was watching. */
static bool is_behind(const struct tail *t)
{
	struct stat st;
	if (t->fd < 0)
		return inode_of(t->path) != 0 && access(t->path, R_OK) == 0;
	return !is_last(t) || (fstat(t->fd, &st) == 0 && (uint64_t)st.st_size != t->offset);
}

static void sleep_until_change(struct tail *t)
{
	if (uv_fs_event_start(&t->watch, on_change, t->dir, 0) != 0)
		uv_timer_start(&t->pass, on_pass, LOOK_EVERY_MS, 0);
	else if (is_behind(t))
		due(t);
}

/* True when there is nothing more and all was told. What was dropped waits for the lines behind it. */
static bool read_and_give(struct tail *t, size_t bytes)
{
	uint64_t dropped = t->dropped;
	fill_budget(t);
	bool all = read_all(t, bytes);
	if (t->nr > 0 || t->dropped == dropped)
		flush(t);
	t->passed_ms = now_ms();
	return all && t->dropped == 0;
}

static void on_pass(uv_timer_t *timer)
{
	struct tail *t = timer->data;
	bool all = read_and_give(t, PASS_BYTES);
	if (t->grew && !uv_is_active((uv_handle_t *)&t->save))
		uv_timer_start(&t->save, on_save, SAVE_AFTER_MS, 0);
	if (all)
		sleep_until_change(t);
	else
		due(t);
}

/* A line whose end does not come is given as it is. */
static void on_save(uv_timer_t *timer)
{
	struct tail *t = timer->data;
	if (t->in_line && !t->grew) {
		give(t);
		flush(t);
	}
	if (!t->in_line && t->fd >= 0)
		t->begun = (struct place){.inode = t->inode, .offset = t->offset};
	t->grew = false;
	save(t);
	if (t->in_line)
		uv_timer_start(&t->save, on_save, SAVE_AFTER_MS, 0);
}

/* ---- opening and closing
 * ------------------------------------------------------------------------------------------------------- */

static int set_paths(struct tail *t, const struct tail_config *c, struct err *e)
{
	const char *slash = strrchr(c->path, '/');
	if (slash == NULL || slash == c->path)
		return err_set(e, E_INVALID, "the output of %s: '%.80s' is no path of a file in a folder",
			       c->app.s, c->path);
	if (strlen(c->path) + 3 > sizeof t->path || strlen(c->cursor_dir) + NAME_CAP + 8 > sizeof t->cursor)
		return err_set(e, E_TOO_LARGE, "the output of %s: the path is too long", c->app.s);
	snprintf(t->path, sizeof t->path, "%s", c->path);
	snprintf(t->older, sizeof t->older, "%s.1", c->path);
	snprintf(t->dir, sizeof t->dir, "%.*s", (int)(slash - c->path), c->path);
	snprintf(t->cursor, sizeof t->cursor, "%s/tail-%s", c->cursor_dir, c->app.s);
	struct stat st;
	if (stat(t->dir, &st) != 0)
		return err_sys(e, errno == ENOENT ? E_NOT_FOUND : E_IO, errno, "look at %s", t->dir);
	return E_OK;
}

int tail_open(struct tail **out, uv_loop_t *loop, const struct tail_config *c, tail_cb cb, void *ctx,
	      struct err *e)
{
	struct tail *t = calloc(1, sizeof *t);
	PRE(t != NULL);
	int rc = set_paths(t, c, e);
	if (rc != E_OK) {
		free(t);
		return rc;
	}
	t->app = c->app;
	t->cb = cb;
	t->ctx = ctx;
	t->fd = -1;
	t->rate = c->lines_per_second ? c->lines_per_second : RATE_DEFAULT;
	t->budget = t->rate * 1000;
	t->budget_ms = now_ms();
	buf_init(&t->text);
	uv_fs_event_init(loop, &t->watch);
	uv_timer_init(loop, &t->pass);
	uv_timer_init(loop, &t->save);
	t->watch.data = t->pass.data = t->save.data = t;
	t->handles = HANDLES;
	find_begin(t);
	due(t);
	*out = t;
	return E_OK;
}

static void on_closed(uv_handle_t *h)
{
	struct tail *t = h->data;
	if (--t->handles > 0)
		return;
	buf_done(&t->text);
	free(t);
}

void tail_close(struct tail *t)
{
	if (t == NULL)
		return;
	read_and_give(t, 4 * PASS_BYTES);
	flush(t);
	save(t);
	if (t->fd >= 0)
		close_file(t);
	uv_close((uv_handle_t *)&t->watch, on_closed);
	uv_close((uv_handle_t *)&t->pass, on_closed);
	uv_close((uv_handle_t *)&t->save, on_closed);
}
