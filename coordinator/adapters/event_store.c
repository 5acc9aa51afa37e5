#include "coordinator/adapters/event_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "coordinator/adapters/event_chain.h"
#include "sys/fsio.h"

enum { NUMBERS_BLOCK = 1 << 20, NUMBERS_RETRY = 1024, SPACE_EVERY = 64, BOOT_LEN = 36 };

static const struct event_store_limits defaults = {.events_bytes = 64 << 20,
						   .logs_bytes = 128 << 20,
						   .segment_bytes = 4 << 20,
						   .events_age_ms = 90ll * 86400 * 1000,
						   .logs_age_ms = 14ll * 86400 * 1000,
						   .spare_bytes = 512 << 20};

struct event_store {
	char dir[FSIO_PATH_CAP], numbers[FSIO_PATH_CAP];
	struct event_store_limits limits;
	struct event_chain *events, *logs;
	uint64_t next, reserved;
	bool lossy;	  /* a number was given to an event that is not kept */
	bool low;	  /* less than spare_bytes are free */
	uint64_t looked;  /* log lines since the start, for a look at the disk now and then */
	struct event log; /* of the merge, too large for each call's stack */
	uint64_t events_dropped, logs_dropped;
	char trouble[sizeof((struct err *)0)->text];
};

/* ---- numbers
 * ------------------------------------------------------------------------------------------------------- */

/*
 * The file: mark, lossy ('1' when a number is not kept; written in place, for on a full disk nothing else can
 * be), boot id, highest number that may be given, the next one after an orderly end (else 0), CRC of all but
 * lossy.
 */
enum {
	AT_LOSSY = 4,
	AT_BOOT = 5,
	AT_RESERVED = AT_BOOT + BOOT_LEN,
	AT_NEXT = AT_RESERVED + 8,
	AT_CRC = AT_NEXT + 8,
	NUMBERS_LEN = AT_CRC + 4
};

static void boot_id(char out[BOOT_LEN])
{
	struct buf b;
	struct err e;
	buf_init(&b);
	memset(out, '?', BOOT_LEN);
	if (fsio_read("/proc/sys/kernel/random/boot_id", 100, &b, &e) == E_OK && b.len >= BOOT_LEN)
		memcpy(out, b.data, BOOT_LEN);
	buf_done(&b);
}

static uint32_t numbers_crc(const uint8_t *p)
{
	return (uint32_t)crc32(crc32(0, p, AT_LOSSY), p + AT_BOOT, AT_CRC - AT_BOOT);
}

/* Durable. `next` 0: this is no orderly end. */
static int numbers_write(struct event_store *s, uint64_t reserved, uint64_t next, struct err *e)
{
	uint8_t p[NUMBERS_LEN] = {'W', 'T', 'n', '1', s->lossy ? '1' : '0'};
	char boot[BOOT_LEN];
	boot_id(boot);
	memcpy(p + AT_BOOT, boot, BOOT_LEN);
	put_u64(p + AT_RESERVED, reserved);
	put_u64(p + AT_NEXT, next);
	put_u32(p + AT_CRC, numbers_crc(p));
	int rc = fsio_write_atomic(s->numbers, p, sizeof p, 0600, e);
	if (rc == E_OK)
		s->reserved = reserved;
	return rc;
}

static void reserve(struct event_store *s)
{
	struct err e;
	if (numbers_write(s, s->next + NUMBERS_BLOCK, 0, &e) != E_OK)
		snprintf(s->trouble, sizeof s->trouble, "%s", e.text);
}

/* After kill -9 in the same boot all that was added is there; after a power cut nobody knows how much was. */
static void numbers_load(struct event_store *s, uint64_t newest)
{
	struct buf b;
	struct err e;
	char boot[BOOT_LEN];
	boot_id(boot);
	buf_init(&b);
	int rc = fsio_read(s->numbers, NUMBERS_LEN, &b, &e);
	bool good = rc == E_OK && b.len == NUMBERS_LEN && memcmp(b.data, "WTn1", 4) == 0 &&
		    get_u32(b.data + AT_CRC) == numbers_crc(b.data);
	uint64_t reserved = good ? get_u64(b.data + AT_RESERVED) : newest + NUMBERS_BLOCK;
	uint64_t next = good ? get_u64(b.data + AT_NEXT) : 0;
	bool all_there = good && b.data[AT_LOSSY] == '0' && memcmp(b.data + AT_BOOT, boot, BOOT_LEN) == 0;
	if (rc == E_NOT_FOUND && newest == 0)
		s->next = 1;
	else if (good && next > newest)
		s->next = next;
	else if (all_there || reserved < newest)
		s->next = newest + 1;
	else
		s->next = reserved + 1;
	buf_done(&b);
}

/* From now on the newest record does not tell which numbers were given. */
static void mark_lossy(struct event_store *s)
{
	if (s->lossy)
		return;
	int fd = open(s->numbers, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	s->lossy = fd >= 0 && pwrite(fd, "1", 1, AT_LOSSY) == 1;
	if (fd >= 0)
		close(fd);
}

static uint64_t newest(const struct event_store *s)
{
	uint64_t event = event_chain_newest(s->events), log = event_chain_newest(s->logs);
	return event > log ? event : log;
}

/* ---- opening
 * ------------------------------------------------------------------------------------------------------- */

static void on_found(void *arg, const struct event *ev)
{
	if (ev->chunk.number != 0)
		events_chunk_told(arg, &ev->host, &ev->chunk);
}

static void set_limits(struct event_store *s, const struct event_store_limits *l)
{
	s->limits = defaults;
	if (l == NULL)
		return;
	s->limits.events_bytes = l->events_bytes ? l->events_bytes : defaults.events_bytes;
	s->limits.logs_bytes = l->logs_bytes ? l->logs_bytes : defaults.logs_bytes;
	s->limits.segment_bytes = l->segment_bytes ? l->segment_bytes : defaults.segment_bytes;
	s->limits.events_age_ms = l->events_age_ms ? l->events_age_ms : defaults.events_age_ms;
	s->limits.logs_age_ms = l->logs_age_ms ? l->logs_age_ms : defaults.logs_age_ms;
	s->limits.spare_bytes = l->spare_bytes ? l->spare_bytes : defaults.spare_bytes;
}

static int open_chains(struct event_store *s, struct events *ev, struct err *e)
{
	const struct event_chain_limits events = {s->limits.segment_bytes, s->limits.events_bytes,
						  s->limits.events_age_ms};
	const struct event_chain_limits logs = {s->limits.segment_bytes, s->limits.logs_bytes,
						s->limits.logs_age_ms};
	int rc = event_chain_open(&s->events, s->dir, 'e', &events, on_found, ev, e);
	return rc == E_OK ? event_chain_open(&s->logs, s->dir, 'l', &logs, on_found, ev, e) : rc;
}

static void on_added(void *arg, const struct event *ev)
{
	event_store_add(arg, ev);
}

static bool after_cb(void *arg, uint64_t after, struct event *out)
{
	return event_store_after(arg, after, out);
}

static uint64_t before_cb(void *arg, struct wall_ms at)
{
	return event_store_before(arg, at);
}

static void attach(struct event_store *s, struct events *ev)
{
	const struct events_source source = {s, after_cb, before_cb};
	events_go_on(ev, s->next);
	events_on_add(ev, on_added, s);
	events_older(ev, &source);
}

int event_store_open(struct event_store **out, const char *dir, const struct event_store_limits *limits,
		     struct events *ev, struct err *e)
{
	struct event_store *s = calloc(1, sizeof *s);
	PRE(s != NULL);
	set_limits(s, limits);
	bool fits = (size_t)snprintf(s->dir, sizeof s->dir, "%s", dir) < sizeof s->dir &&
		    (size_t)snprintf(s->numbers, sizeof s->numbers, "%s/numbers", dir) < sizeof s->numbers;
	int rc = fits ? fsio_mkdir(dir, 0700, e)
		      : err_set(e, E_TOO_LARGE, "the path %.64s... is too long", dir);
	if (rc == E_OK)
		rc = open_chains(s, ev, e);
	if (rc != E_OK) {
		event_chain_close(s->events);
		event_chain_close(s->logs);
		free(s);
		return rc;
	}
	numbers_load(s, newest(s));
	reserve(s);
	attach(s, ev);
	*out = s;
	return E_OK;
}

void event_store_close(struct event_store *s)
{
	struct err e;
	if (s == NULL)
		return;
	event_chain_close(s->events);
	event_chain_close(s->logs);
	/* Not written: the next start takes it for a kill, which costs nothing in the same boot. */
	if (numbers_write(s, s->next, s->next, &e) != E_OK)
		mark_lossy(s);
	free(s);
}

/* ---- adding
 * ------------------------------------------------------------------------------------------------------- */

static bool has_space(struct event_store *s)
{
	struct err e;
	uint64_t bytes = 0;
	if (s->looked++ % SPACE_EVERY == 0 && fsio_free_bytes(s->dir, &bytes, &e) == E_OK)
		s->low = bytes < s->limits.spare_bytes;
	return !s->low;
}

static void drop(struct event_store *s, const struct event *ev, const char *why)
{
	snprintf(s->trouble, sizeof s->trouble, "%s", why);
	mark_lossy(s);
	if (ev->kind == EVENT_LOG)
		s->logs_dropped++;
	else
		s->events_dropped++;
}

void event_store_add(struct event_store *s, const struct event *ev)
{
	struct err e = {0};
	bool log = ev->kind == EVENT_LOG;
	s->next = ev->number + 1;
	/* A block that cannot be reserved is tried again later; until then only a power cut could repeat a
	 * number. */
	if (ev->number + NUMBERS_RETRY > s->reserved && ev->number % NUMBERS_RETRY == 0)
		reserve(s);
	if (log && !has_space(s))
		drop(s, ev, "too little free space for log lines");
	else if (event_chain_add(log ? s->logs : s->events, ev, &e) != E_OK)
		drop(s, ev, e.text);
}

/* ---- reading
 * ------------------------------------------------------------------------------------------------------- */

bool event_store_after(struct event_store *s, uint64_t after, struct event *out)
{
	struct event *log = &s->log;
	bool has_log = event_chain_after(s->logs, after, log);
	bool has_event = event_chain_after(s->events, after, out);
	if (has_log && (!has_event || log->number < out->number))
		*out = *log;
	return has_log || has_event;
}

/* Log lines are told at their place between events: the higher of the two numbers is that of the newest. */
uint64_t event_store_before(struct event_store *s, struct wall_ms at)
{
	uint64_t event = event_chain_before(s->events, at), log = event_chain_before(s->logs, at);
	return event > log ? event : log;
}

void event_store_stats(const struct event_store *s, struct event_store_stats *out)
{
	*out = (struct event_store_stats){.events_bytes = event_chain_bytes(s->events),
					  .logs_bytes = event_chain_bytes(s->logs),
					  .events_since = event_chain_since(s->events),
					  .logs_since = event_chain_since(s->logs),
					  .events_dropped = s->events_dropped,
					  .logs_dropped = s->logs_dropped,
					  .damaged_bytes = event_chain_damaged(s->events) +
							   event_chain_damaged(s->logs),
					  .trouble = s->trouble};
}
