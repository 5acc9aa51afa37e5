#include "agent/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "agent/durable.h"

/* Each entry: length of the payload, CRC of number and payload, number; then the payload. */
enum { ENTRY_HEAD = 16, SEGMENT_DEFAULT = 1 << 20, MOST_DEFAULT = 32 << 20 };

struct entry {
	uint64_t number;
	size_t offset, len; /* of the payload */
};

struct segment {
	uint64_t first; /* its file name, and the lowest number it may hold */
	int fd;
	size_t bytes;
	struct entry *entries;
	size_t nr, cap;
};

struct spool {
	char *dir;
	int dir_fd;
	struct spool_id id;
	struct spool_limits limits;
	struct segment *segments; /* by `first`; the last is open for appending and always there */
	size_t nr, cap;
	uint64_t next, acked, dropped, damaged;
	size_t bytes;
	bool dirty;
	bool broken; /* a sync failed: what is on disk is not known, so nothing may be added */
};

static void *grow(void *p, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return p;
	*cap = *cap == 0 ? 16 : *cap * 2;
	p = realloc(p, *cap * size);
	PRE(p != NULL);
	return p;
}

static int fail_io(struct err *e, int errnum, const struct spool *s, const char *what)
{
	return err_sys(e, errnum == ENOSPC || errnum == EDQUOT ? E_NO_SPACE : E_IO, errnum, "spool %s: %s",
		       s->dir, what);
}

static void segment_file(uint64_t first, char out[32])
{
	snprintf(out, 32, "%020" PRIu64 ".seg", first);
}

static void entry_add(struct segment *g, struct entry en)
{
	g->entries = grow(g->entries, g->nr, &g->cap, sizeof(*g->entries));
	g->entries[g->nr++] = en;
}

static uint32_t entry_crc(const uint8_t number[8], const void *payload, size_t len)
{
	uLong crc = crc32(0, number, 8);
	return (uint32_t)crc32(crc, payload, (uInt)len);
}

static bool pread_all(int fd, void *p, size_t n, size_t at)
{
	for (size_t have = 0; have < n;) {
		ssize_t r = pread(fd, (char *)p + have, n - have, (off_t)(at + have));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		have += (size_t)r;
	}
	return true;
}

/* ---- opening
 * ------------------------------------------------------------------------------------------------------- */

/* The entry at g->bytes; false when there is none or it is damaged. */
static bool scan_entry(struct segment *g, size_t size, uint64_t least, struct buf *b)
{
	uint8_t head[ENTRY_HEAD];
	if (size - g->bytes < ENTRY_HEAD || !pread_all(g->fd, head, ENTRY_HEAD, g->bytes))
		return false;
	size_t len = get_u32(head);
	uint64_t number = get_u64(head + 8);
	if (len > SPOOL_CHUNK_MAX || len > size - g->bytes - ENTRY_HEAD || number < least)
		return false;
	buf_reset(b);
	if (!pread_all(g->fd, buf_reserve(b, len + 1), len, g->bytes + ENTRY_HEAD))
		return false;
	if (entry_crc(head + 8, b->data, len) != get_u32(head + 4))
		return false;
	entry_add(g, (struct entry){number, g->bytes + ENTRY_HEAD, len});
	g->bytes += ENTRY_HEAD + len;
	return true;
}

static int make_id(struct spool *s, struct err *e);

/* The new id first: who dies in between finds the damage again. */
static int cut_damage(struct spool *s, struct segment *g, struct err *e)
{
	int rc = s->damaged++ == 0 ? make_id(s, e) : E_OK;
	if (rc == E_OK && (ftruncate(g->fd, (off_t)g->bytes) != 0 || fsync(g->fd) != 0))
		rc = fail_io(e, errno, s, "cannot cut a damaged end off");
	return rc;
}

static int scan_segment(struct spool *s, struct segment *g, struct err *e)
{
	struct stat st;
	if (fstat(g->fd, &st) != 0)
		return fail_io(e, errno, s, "cannot look at a segment");
	struct buf b;
	buf_init(&b);
	uint64_t least = g->first;
	while (scan_entry(g, (size_t)st.st_size, least, &b))
		least = g->entries[g->nr - 1].number + 1;
	buf_done(&b);
	int rc = g->bytes < (size_t)st.st_size ? cut_damage(s, g, e) : E_OK;
	s->bytes += g->bytes;
	if (least > s->next)
		s->next = least;
	return rc;
}

static int segment_open(struct spool *s, uint64_t first, int flags, struct segment **out, struct err *e)
{
	char file[32];
	segment_file(first, file);
	int fd = openat(s->dir_fd, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	if (fd < 0)
		return fail_io(e, errno, s, "cannot open a segment");
	s->segments = grow(s->segments, s->nr, &s->cap, sizeof(*s->segments));
	*out = &s->segments[s->nr++];
	**out = (struct segment){.first = first, .fd = fd};
	return E_OK;
}

/* The name must be durable before anything in it counts as such. */
static int segment_begin(struct spool *s, struct err *e)
{
	struct segment *g;
	int rc = segment_open(s, s->next, O_CREAT, &g, e);
	if (rc == E_OK && fsync(s->dir_fd) != 0)
		rc = fail_io(e, errno, s, "cannot sync the directory");
	return rc;
}

static int is_segment(const struct dirent *f)
{
	size_t n = strlen(f->d_name);
	return n == 24 && strspn(f->d_name, "0123456789") == 20 && strcmp(f->d_name + 20, ".seg") == 0;
}

static int open_segments(struct spool *s, struct err *e)
{
	struct dirent **files;
	int n = scandir(s->dir, &files, is_segment, alphasort);
	if (n < 0)
		return fail_io(e, errno, s, "cannot list");
	int rc = E_OK;
	for (int i = 0; i < n; i++) {
		struct segment *g;
		uint64_t first = strtoull(files[i]->d_name, NULL, 10);
		if (first > s->next)
			s->next = first;
		if (rc == E_OK)
			rc = segment_open(s, first, 0, &g, e);
		if (rc == E_OK)
			rc = scan_segment(s, g, e);
		free(files[i]);
	}
	free(files);
	return rc;
}

static const char id_leaf[] = "id";
enum { ID_BYTES = 16 };

static int make_id(struct spool *s, struct err *e)
{
	uint8_t bytes[ID_BYTES];
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return fail_io(e, errno, s, "no random numbers");
	s->id = (struct spool_id){get_u64(bytes), get_u64(bytes + 8)};
	return durable_write(s->dir, id_leaf, bytes, sizeof(bytes), e);
}

/* A damaged id is as good as none: everything that waits is sent, and what came before is known by its
 * sequence. */
static int open_id(struct spool *s, struct err *e)
{
	struct buf b;
	buf_init(&b);
	int rc = durable_read(s->dir, id_leaf, ID_BYTES, &b, e);
	bool whole = rc == E_OK && b.len == ID_BYTES;
	if (whole)
		s->id = (struct spool_id){get_u64(b.data), get_u64(b.data + 8)};
	buf_done(&b);
	return whole ? E_OK : make_id(s, e);
}

int spool_open(struct spool **out, const char *dir, struct spool_limits limits, struct err *e)
{
	struct spool *s = calloc(1, sizeof(*s));
	PRE(s != NULL);
	s->dir = strdup(dir);
	PRE(s->dir != NULL);
	s->limits.most_bytes = limits.most_bytes ? limits.most_bytes : MOST_DEFAULT;
	s->limits.segment_bytes = limits.segment_bytes ? limits.segment_bytes : SEGMENT_DEFAULT;
	s->next = 1;
	s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = s->dir_fd < 0 ? fail_io(e, errno, s, "cannot open") : open_id(s, e);
	if (rc == E_OK)
		rc = open_segments(s, e);
	if (rc == E_OK && s->nr == 0)
		rc = segment_begin(s, e);
	if (rc != E_OK) {
		spool_free(s);
		return rc;
	}
	s->acked = s->segments[0].first - 1;
	*out = s;
	return E_OK;
}

struct spool_id spool_id(const struct spool *s)
{
	return s->id;
}

static void segment_done(struct segment *g)
{
	close(g->fd);
	free(g->entries);
}

void spool_free(struct spool *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->nr; i++)
		segment_done(&s->segments[i]);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	free(s->segments);
	free(s->dir);
	free(s);
}

/* ---- putting
 * ------------------------------------------------------------------------------------------------------- */

static int rotate(struct spool *s, struct err *e)
{
	int rc = spool_sync(s, e);
	return rc == E_OK ? segment_begin(s, e) : rc;
}

static int append(struct spool *s, const void *bytes, size_t len, struct err *e)
{
	struct segment *g = &s->segments[s->nr - 1];
	struct buf b;
	uint8_t number[8];
	put_u64(number, s->next);
	buf_init(&b);
	buf_put_u32(&b, (uint32_t)len);
	buf_put_u32(&b, entry_crc(number, bytes, len));
	buf_put(&b, number, sizeof(number));
	buf_put(&b, bytes, len);
	ssize_t n = pwrite(g->fd, b.data, b.len, (off_t)g->bytes);
	int errnum = n < 0 ? errno : ENOSPC;
	bool whole = n == (ssize_t)b.len;
	buf_done(&b);
	/* A part that was written is overwritten by the next, and cut off when opening: its CRC is wrong. */
	return whole ? E_OK : fail_io(e, errnum, s, "cannot append");
}

static void note_appended(struct spool *s, size_t len)
{
	struct segment *g = &s->segments[s->nr - 1];
	entry_add(g, (struct entry){s->next++, g->bytes + ENTRY_HEAD, len});
	g->bytes += ENTRY_HEAD + len;
	s->bytes += ENTRY_HEAD + len;
	s->dirty = true;
}

int spool_put(struct spool *s, enum spool_kind kind, const void *bytes, size_t len, struct err *e)
{
	if (s->broken)
		return err_set(e, E_IO,
			       "spool %s: a sync failed before; restart the agent when the disk is well",
			       s->dir);
	if (len > SPOOL_CHUNK_MAX)
		return err_set(e, E_TOO_LARGE, "spool: a chunk of %zu bytes", len);
	if (kind == SPOOL_LOG && s->bytes + len > s->limits.most_bytes) {
		s->dropped++;
		return err_set(e, E_BUSY, "spool %s: full, log lines are dropped", s->dir);
	}
	int rc = s->segments[s->nr - 1].bytes >= s->limits.segment_bytes ? rotate(s, e) : E_OK;
	if (rc == E_OK)
		rc = append(s, bytes, len, e);
	if (rc == E_OK)
		note_appended(s, len);
	return rc;
}

int spool_sync(struct spool *s, struct err *e)
{
	if (s->dirty && fsync(s->segments[s->nr - 1].fd) != 0) {
		s->broken = true;
		return fail_io(e, errno, s, "cannot sync");
	}
	s->dirty = false;
	return E_OK;
}

/* ---- reading and acknowledging
 * ------------------------------------------------------------------------------------- */

static const struct entry *entry_above(const struct spool *s, uint64_t number, const struct segment **where)
{
	for (size_t i = 0; i < s->nr; i++) {
		const struct segment *g = &s->segments[i];
		if (g->nr == 0 || g->entries[g->nr - 1].number <= number)
			continue;
		size_t k = 0;
		while (g->entries[k].number <= number)
			k++;
		*where = g;
		return &g->entries[k];
	}
	return NULL;
}

int spool_read(struct spool *s, uint64_t number, uint64_t *found, struct buf *out, struct err *e)
{
	const struct segment *g;
	const struct entry *en = entry_above(s, number > s->acked ? number : s->acked, &g);
	buf_reset(out);
	if (en == NULL)
		return E_NOT_FOUND;
	if (!pread_all(g->fd, buf_reserve(out, en->len + 1), en->len, en->offset))
		return fail_io(e, errno, s, "cannot read a chunk");
	out->len = en->len;
	*found = en->number;
	return E_OK;
}

static int drop_first(struct spool *s, struct err *e)
{
	char file[32];
	segment_file(s->segments[0].first, file);
	if (unlinkat(s->dir_fd, file, 0) != 0 && errno != ENOENT)
		return fail_io(e, errno, s, "cannot remove an acknowledged segment");
	s->bytes -= s->segments[0].bytes;
	segment_done(&s->segments[0]);
	memmove(s->segments, s->segments + 1, --s->nr * sizeof(*s->segments));
	return E_OK;
}

int spool_ack(struct spool *s, uint64_t number, struct err *e)
{
	if (number >= s->next)
		return err_set(e, E_PROTOCOL, "spool: chunk %" PRIu64 " is acknowledged but was never sent",
			       number);
	if (number <= s->acked)
		return E_OK;
	s->acked = number;
	int rc = E_OK;
	/* All of it arrived: begin anew, so that the space is freed; the new name keeps the numbers going. */
	if (number + 1 == s->next && s->segments[s->nr - 1].nr > 0)
		rc = rotate(s, e);
	while (rc == E_OK && s->nr > 1 && s->segments[1].first <= number + 1)
		rc = drop_first(s, e);
	return rc;
}

uint64_t spool_next_number(const struct spool *s)
{
	return s->next;
}

uint64_t spool_acked(const struct spool *s)
{
	return s->acked;
}

uint64_t spool_dropped(const struct spool *s)
{
	return s->dropped;
}

uint64_t spool_damaged(const struct spool *s)
{
	return s->damaged;
}

bool spool_broken(const struct spool *s)
{
	return s->broken;
}

size_t spool_bytes(const struct spool *s)
{
	return s->bytes;
}
