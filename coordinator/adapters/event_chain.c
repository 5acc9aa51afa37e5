#include "coordinator/adapters/event_chain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/adapters/event_record.h"
#include "sys/fsio.h"

enum { WINDOW = 64 * 1024, PLACE_EVERY = 64 * 1024 };

/* A record that begins here: a reader need not start at the segment's first byte. */
struct place {
	uint64_t number, offset;
};

struct segment {
	uint64_t first, last; /* numbers in it */
	struct wall_ms first_at, last_at;
	uint64_t bytes;
	struct place *places;
	size_t nr, cap;
};

/* Where a reader is: a window of a segment's bytes, and the offset of the next record. */
struct look {
	uint64_t segment; /* its first number; 0 = nowhere */
	uint64_t offset;
	uint64_t begun; /* where the record lies that was read last */
	struct buf window;
	uint64_t window_segment, window_at;
};

struct event_chain {
	char dir[FSIO_PATH_CAP];
	char prefix;
	struct event_chain_limits limits;
	struct segment *v;
	size_t nr, cap;
	int fd; /* of the newest segment; -1: the next event begins a new one */
	uint64_t bytes, damaged;
	struct buf out;
	struct look look;
	struct event found; /* there is none with a number above `asked` and below found.number */
	uint64_t asked;
};

static void path_of(const struct event_chain *c, uint64_t first, char out[FSIO_PATH_CAP])
{
	PRE(snprintf(out, FSIO_PATH_CAP, "%s/%c-%020" PRIu64 ".seg", c->dir, c->prefix, first) <
	    FSIO_PATH_CAP);
}

static int fail_io(struct err *e, int errnum, const char *what, const char *path)
{
	return err_sys(e, errnum == ENOSPC || errnum == EDQUOT ? E_NO_SPACE : E_IO, errnum, "%s %s", what,
		       path);
}

/* ---- the list of segments
 * ------------------------------------------------------------------------------------------------------- */

static struct segment *segment_new(struct event_chain *c, uint64_t first)
{
	if (c->nr == c->cap) {
		c->cap = c->cap == 0 ? 16 : 2 * c->cap;
		c->v = realloc(c->v, c->cap * sizeof *c->v);
		PRE(c->v != NULL);
	}
	c->v[c->nr] = (struct segment){.first = first};
	return &c->v[c->nr++];
}

static void segment_drop(struct event_chain *c, size_t i)
{
	free(c->v[i].places);
	memmove(&c->v[i], &c->v[i + 1], (c->nr - i - 1) * sizeof *c->v);
	c->nr--;
}

/* The record of `ev` lies at `offset`. */
static void segment_note(struct segment *g, const struct event *ev, uint64_t offset)
{
	if (g->last == 0)
		g->first_at = ev->at;
	g->last = ev->number;
	g->last_at = ev->at;
	if (g->nr > 0 && offset < g->places[g->nr - 1].offset + PLACE_EVERY)
		return;
	if (g->nr == g->cap) {
		g->cap = g->cap == 0 ? 8 : 2 * g->cap;
		g->places = realloc(g->places, g->cap * sizeof *g->places);
		PRE(g->places != NULL);
	}
	g->places[g->nr++] = (struct place){ev->number, offset};
}

/* ---- reading one segment
 * ------------------------------------------------------------------------------------------------------- */

/* The window begins at the look's offset, with as much as there is and fits. */
static void fill(const struct event_chain *c, struct look *l)
{
	char path[FSIO_PATH_CAP];
	path_of(c, l->segment, path);
	buf_reset(&l->window);
	l->window_segment = l->segment;
	l->window_at = l->offset;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return;
	ssize_t n = 1;
	while (n > 0 && l->window.len < WINDOW) {
		n = pread(fd, buf_reserve(&l->window, WINDOW - l->window.len), WINDOW - l->window.len,
			  (off_t)(l->offset + l->window.len));
		l->window.len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
}

static size_t in_window(const struct look *l)
{
	bool inside = l->window_segment == l->segment && l->offset >= l->window_at &&
		      l->offset <= l->window_at + l->window.len;
	return inside ? l->window_at + l->window.len - l->offset : 0;
}

static const uint8_t *at_look(const struct look *l)
{
	return l->window.data + (l->offset - l->window_at);
}

/*
 * The next whole record at or behind the look, which then stands behind it. False: the segment ends, and the
 * look stands where a record that is not whole yet may begin.
 */
static bool next_record(const struct event_chain *c, struct look *l, struct event *out)
{
	bool fresh = false; /* the window begins here: what is short stays short */
	for (;;) {
		size_t n = in_window(l), used = 0;
		enum event_record r =
			n == 0 ? EVENT_RECORD_SHORT : event_record_decode(at_look(l), n, out, &used);
		if (r == EVENT_RECORD_WHOLE) {
			l->begun = l->offset;
			l->offset += used;
			return true;
		}
		if (r == EVENT_RECORD_SHORT && !fresh) {
			fill(c, l);
			fresh = true;
			continue;
		}
		if (n == 0)
			return false;
		/* A head with a length that reaches beyond the end may be damage, with whole records behind.
		 */
		struct look behind = *l;
		behind.offset += event_record_skip(at_look(l), n);
		if (r == EVENT_RECORD_SHORT && in_window(&behind) == 0)
			return false;
		l->offset = behind.offset;
		fresh = false;
	}
}

/* ---- opening
 * ------------------------------------------------------------------------------------------------------- */

struct scan {
	void (*each)(void *arg, const struct event *);
	void *arg;
};

/* Numbers that do not grow are damage too. Returns where the last whole record ends. */
static uint64_t scan_segment(struct event_chain *c, struct segment *g, const struct scan *s)
{
	uint64_t end = 0, whole = 0, least = event_chain_newest(c) + 1;
	struct event ev;
	struct look *l = &c->look;
	*l = (struct look){.segment = g->first, .window = l->window};
	while (next_record(c, l, &ev)) {
		if (ev.number < least)
			continue;
		segment_note(g, &ev, l->begun);
		least = ev.number + 1;
		end = l->offset;
		whole += end - l->begun;
		if (s->each != NULL)
			s->each(s->arg, &ev);
	}
	c->damaged += g->bytes - whole;
	return end;
}

static int cut_end(struct event_chain *c, struct segment *g, uint64_t end, struct err *e)
{
	char path[FSIO_PATH_CAP];
	path_of(c, g->first, path);
	c->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (c->fd < 0)
		return fail_io(e, errno, "open", path);
	if (end == g->bytes)
		return E_OK;
	if (ftruncate(c->fd, (off_t)end) != 0)
		return fail_io(e, errno, "cut the torn end of", path);
	g->bytes = end;
	return E_OK;
}

static int load_segment(struct event_chain *c, const char *leaf, bool newest, const struct scan *s,
			struct err *e)
{
	struct stat st;
	char path[FSIO_PATH_CAP];
	struct segment *g = segment_new(c, strtoull(leaf + 2, NULL, 10));
	path_of(c, g->first, path);
	if (stat(path, &st) != 0)
		return fail_io(e, errno, "look at", path);
	g->bytes = (uint64_t)st.st_size;
	uint64_t end = scan_segment(c, g, s);
	if (g->last == 0) { /* nothing in it can be read any more */
		segment_drop(c, c->nr - 1);
		return unlink(path) == 0 ? E_OK : fail_io(e, errno, "remove", path);
	}
	int rc = newest ? cut_end(c, g, end, e) : E_OK;
	c->bytes += g->bytes;
	return rc;
}

static bool is_segment(const struct event_chain *c, const char *leaf)
{
	return strlen(leaf) == 26 && leaf[0] == c->prefix && leaf[1] == '-' &&
	       strspn(leaf + 2, "0123456789") == 20 && strcmp(leaf + 22, ".seg") == 0;
}

static int load(struct event_chain *c, const struct scan *s, struct err *e)
{
	struct dirent **files;
	int rc = E_OK, last = -1, n = scandir(c->dir, &files, NULL, alphasort);
	if (n < 0)
		return fail_io(e, errno, "list", c->dir);
	for (int i = 0; i < n; i++)
		last = is_segment(c, files[i]->d_name) ? i : last;
	for (int i = 0; i < n; i++) {
		if (rc == E_OK && is_segment(c, files[i]->d_name))
			rc = load_segment(c, files[i]->d_name, i == last, s, e);
		free(files[i]);
	}
	free(files);
	return rc;
}

int event_chain_open(struct event_chain **out, const char *dir, char prefix,
		     const struct event_chain_limits *limits, void (*each)(void *arg, const struct event *),
		     void *arg, struct err *e)
{
	const struct scan s = {each, arg};
	struct event_chain *c = calloc(1, sizeof *c);
	PRE(c != NULL);
	c->prefix = prefix;
	c->limits = *limits;
	c->fd = -1;
	buf_init(&c->out);
	buf_init(&c->look.window);
	int rc = strlen(dir) + 32 > sizeof c->dir
			 ? err_set(e, E_TOO_LARGE, "the path %.64s... is too long", dir)
			 : E_OK;
	if (rc == E_OK) {
		snprintf(c->dir, sizeof c->dir, "%s", dir);
		rc = load(c, &s, e);
	}
	c->look = (struct look){.window = c->look.window}; /* it may hold bytes that were cut off */
	if (rc == E_OK)
		*out = c;
	else
		event_chain_close(c);
	return rc;
}

void event_chain_close(struct event_chain *c)
{
	if (c == NULL)
		return;
	if (c->fd >= 0) {
		fsync(c->fd); /* nobody is left to be told; what a failure costs the header says */
		close(c->fd);
	}
	while (c->nr > 0)
		segment_drop(c, c->nr - 1);
	free(c->v);
	buf_done(&c->out);
	buf_done(&c->look.window);
	free(c);
}

/* ---- adding
 * ------------------------------------------------------------------------------------------------------- */

static void retire(struct event_chain *c, struct wall_ms now)
{
	while (c->nr > 1 &&
	       (c->bytes > c->limits.most_bytes || c->v[0].last_at.v < now.v - c->limits.most_age_ms)) {
		char path[FSIO_PATH_CAP];
		path_of(c, c->v[0].first, path);
		if (unlink(path) != 0 && errno != ENOENT)
			return; /* tried again with the next event */
		c->bytes -= c->v[0].bytes;
		segment_drop(c, 0);
	}
}

static int begin_segment(struct event_chain *c, uint64_t first, struct err *e)
{
	char path[FSIO_PATH_CAP];
	path_of(c, first, path);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->fd < 0)
		return fail_io(e, errno, "create", path);
	segment_new(c, first);
	return E_OK;
}

/* Half a record would cost nothing but a scan; still, it is taken back. */
static int undo(struct event_chain *c, struct segment *g, struct err *e)
{
	if (ftruncate(c->fd, (off_t)g->bytes) == 0 && g->last != 0)
		return e->code;
	close(c->fd);
	c->fd = -1;
	if (g->last == 0) {
		char path[FSIO_PATH_CAP];
		path_of(c, g->first, path);
		unlink(path);
		segment_drop(c, c->nr - 1);
	}
	return e->code;
}

int event_chain_add(struct event_chain *c, const struct event *ev, struct err *e)
{
	PRE(ev->number > event_chain_newest(c));
	buf_reset(&c->out);
	event_record_encode(ev, &c->out);
	bool full = c->nr > 0 && c->v[c->nr - 1].bytes + c->out.len > c->limits.segment_bytes;
	int rc = c->fd < 0 || full ? begin_segment(c, ev->number, e) : E_OK;
	if (rc != E_OK)
		return rc;
	struct segment *g = &c->v[c->nr - 1];
	if (fsio_write_all(c->fd, c->out.data, c->out.len, e) != E_OK)
		return undo(c, g, e);
	segment_note(g, ev, g->bytes);
	g->bytes += c->out.len;
	c->bytes += c->out.len;
	retire(c, ev->at);
	return E_OK;
}

/* ---- reading
 * ------------------------------------------------------------------------------------------------------- */

static const struct segment *segment_of(const struct event_chain *c, uint64_t first)
{
	for (size_t i = c->nr; i-- > 0;)
		if (c->v[i].first == first)
			return &c->v[i];
	return NULL;
}

static const struct segment *segment_after(const struct event_chain *c, uint64_t number)
{
	for (size_t i = 0; i < c->nr; i++)
		if (c->v[i].last > number)
			return &c->v[i];
	return NULL;
}

/* The look stands at a record that is not above the first one after `number`. */
static bool locate(struct event_chain *c, uint64_t number)
{
	const struct segment *g = segment_after(c, number);
	if (g == NULL)
		return false;
	size_t i = 0;
	while (i + 1 < g->nr && g->places[i + 1].number <= number + 1)
		i++;
	c->look.segment = g->first;
	c->look.offset = g->places[i].offset;
	return true;
}

static bool read_on(struct event_chain *c, uint64_t after)
{
	uint64_t at = after;
	for (;;) {
		while (next_record(c, &c->look, &c->found))
			if (c->found.number > after)
				return true;
		const struct segment *g = segment_of(c, c->look.segment);
		at = g != NULL && g->last > at ? g->last : at;
		if (!locate(c, at))
			return false;
	}
}

bool event_chain_after(struct event_chain *c, uint64_t after, struct event *out)
{
	if (after >= event_chain_newest(c))
		return false;
	bool known = c->look.segment != 0 && segment_of(c, c->look.segment) != NULL;
	if (!known || after < c->asked || after >= c->found.number) {
		bool goes_on = known && after == c->found.number;
		c->asked = after;
		if ((!goes_on && !locate(c, after)) || !read_on(c, after)) {
			c->look.segment = 0;
			return false;
		}
	}
	*out = c->found;
	return true;
}

uint64_t event_chain_before(struct event_chain *c, struct wall_ms at)
{
	size_t i = 0;
	while (i < c->nr && c->v[i].last_at.v < at.v)
		i++;
	uint64_t number = i == 0 ? 0 : c->v[i - 1].last;
	struct event ev;
	while (event_chain_after(c, number, &ev) && ev.at.v < at.v)
		number = ev.number;
	return number;
}

uint64_t event_chain_newest(const struct event_chain *c)
{
	for (size_t i = c->nr; i-- > 0;)
		if (c->v[i].last != 0) /* not one that was only begun */
			return c->v[i].last;
	return 0;
}

uint64_t event_chain_bytes(const struct event_chain *c)
{
	return c->bytes;
}

uint64_t event_chain_damaged(const struct event_chain *c)
{
	return c->damaged;
}

struct wall_ms event_chain_since(const struct event_chain *c)
{
	return c->nr == 0 ? (struct wall_ms){0} : c->v[0].first_at;
}
