#include "agent/driver.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/durable.h"
#include "agent/journal.h"
#include "agent/spool.h"
#include "sys/digest.h"
#include "sys/log.h"

enum { PATH_CAP = 1024, RETRY_MS = 1000 };

/* Written records whose AGENT_JOURNALED is still to be fed. */
struct written {
	struct name app;
	uint64_t number;
};

struct driver {
	uv_loop_t *loop;
	uv_timer_t timer;
	struct driver_ports ports;
	struct agent agent;
	struct agent_update out;
	struct spool *spool;
	char journal_dir[PATH_CAP], spool_dir[PATH_CAP], targets_dir[PATH_CAP];
	struct written written[AGENT_APPS_MAX];
	size_t written_nr;
	struct name forgets[AGENT_APPS_MAX]; /* whose records are still to be removed */
	size_t forgets_nr;
	bool unsaved; /* a record could not be written: all are, again, in a second */
	bool busy;
	bool closing;
};

static struct mono_ms now_of(struct driver *d)
{
	return (struct mono_ms){(int64_t)(uv_hrtime() / 1000000)};
}

static struct wall_ms wall_now(void)
{
	uv_timeval64_t t;
	uv_gettimeofday(&t);
	return (struct wall_ms){t.tv_sec * 1000 + t.tv_usec / 1000};
}

/* ---- one update
 * ---------------------------------------------------------------------------------------------------- */

/* Whose place is taken goes first, so that no more apps are on disk than an agent can carry. */
static bool forget_apps(struct driver *d)
{
	struct err e;
	for (; d->forgets_nr > 0; d->forgets_nr--) {
		if (journal_remove(d->journal_dir, &d->forgets[d->forgets_nr - 1], &e) == E_OK)
			continue;
		log_error("journal", "%s; nothing is done until it is removed", e.text);
		d->unsaved = true;
		return false;
	}
	return true;
}

static void save(struct driver *d, const struct agent_record *r)
{
	struct err e;
	if (!forget_apps(d))
		return;
	if (journal_write(d->journal_dir, r, &e) != E_OK) {
		log_error(r->app.s, "journal: %s; nothing is done until it is written", e.text);
		d->unsaved = true;
		return;
	}
	for (size_t i = 0; i < d->written_nr; i++) {
		if (name_eq(&d->written[i].app, &r->app)) {
			d->written[i].number = r->number;
			return;
		}
	}
	d->written[d->written_nr++] = (struct written){r->app, r->number};
}

static void put_report(struct driver *d, const struct agent_report *r)
{
	struct err e;
	struct buf b;
	buf_init(&b);
	wire_chunk_encode(r, spool_next_number(d->spool), wall_now(), &b);
	if (spool_put(d->spool, SPOOL_MATTERS, b.data, b.len, &e) != E_OK)
		log_error(r->app.s, "%s; the coordinator is told when it assigns again", e.text);
	buf_done(&b);
}

static void sync_spool(struct driver *d, const char *whose)
{
	struct err e;
	if (spool_sync(d->spool, &e) != E_OK)
		log_error(whose, "%s", e.text);
	if (!spool_broken(d->spool))
		return;
	log_error(whose, "nothing can be reported any more; this process ends, the next one goes on");
	_exit(DRIVER_EXIT_RESTART);
}

static void put_reports(struct driver *d)
{
	for (size_t i = 0; i < d->out.reports_nr; i++)
		put_report(d, &d->out.reports[i]);
	sync_spool(d, "spool");
	if (d->out.reports_nr > 0 && d->ports.changed != NULL)
		d->ports.changed(d->ports.arg);
}

static void obey(struct driver *d)
{
	/* Nothing is saved before they are gone, and what is not saved is not forgotten: there is room. */
	PRE(d->forgets_nr + d->out.forgets_nr <= AGENT_APPS_MAX);
	for (size_t i = 0; i < d->out.forgets_nr; i++)
		d->forgets[d->forgets_nr++] = d->out.forgets[i];
	for (size_t i = 0; i < d->out.journals_nr; i++)
		save(d, d->out.journals[i]);
	for (size_t i = 0; i < d->out.cancels_nr; i++)
		d->ports.cancel(d->ports.arg, d->out.cancels[i]);
	for (size_t i = 0; i < d->out.effects_nr; i++)
		d->ports.start(d->ports.arg, &d->out.effects[i]);
	put_reports(d);
}

static void on_timer(uv_timer_t *t);

static void set_timer(struct driver *d)
{
	int64_t wait = d->unsaved ? RETRY_MS : d->out.next_at.v - now_of(d).v;
	if (d->out.next_at.v == 0 && !d->unsaved)
		uv_timer_stop(&d->timer);
	else
		uv_timer_start(&d->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

static int step(struct driver *d, struct agent_event *ev)
{
	ev->now = now_of(d);
	int rc = agent_step(&d->agent, ev, &d->out);
	obey(d);
	return rc;
}

/* One event and all the JOURNALED that come of it. */
static int feed(struct driver *d, struct agent_event ev)
{
	PRE(!d->busy);
	d->busy = true;
	int rc = step(d, &ev);
	while (d->written_nr > 0) {
		struct agent_event journaled = {.kind = AGENT_JOURNALED};
		struct written w = d->written[--d->written_nr];
		journaled.journaled.app = w.app;
		journaled.journaled.number = w.number;
		step(d, &journaled);
	}
	set_timer(d);
	d->busy = false;
	return rc;
}

static void save_again(struct driver *d)
{
	d->unsaved = false;
	for (size_t i = 0; i < AGENT_APPS_MAX; i++)
		if (d->agent.apps[i].in_use && !d->agent.apps[i].durable)
			save(d, &d->agent.apps[i].rec);
}

static void on_timer(uv_timer_t *t)
{
	struct driver *d = t->data;
	if (d->unsaved)
		save_again(d);
	feed(d, (struct agent_event){.kind = AGENT_TIMER});
}

/* ---- opening and closing
 * ------------------------------------------------------------------------------------------- */

static int make_dir(char out[PATH_CAP], const char *dir, const char *leaf, struct err *e)
{
	int n = snprintf(out, PATH_CAP, "%s/%s", dir, leaf);
	if (n < 0 || n >= PATH_CAP)
		return err_set(e, E_TOO_LARGE, "the path %s is too long", dir);
	if (mkdir(out, 0700) != 0 && errno != EEXIST)
		return err_sys(e, E_IO, errno, "cannot make %s", out);
	return E_OK;
}

static int make_dirs(struct driver *d, const char *dir, struct err *e)
{
	int rc = make_dir(d->journal_dir, dir, "journal", e);
	if (rc == E_OK)
		rc = make_dir(d->spool_dir, dir, "spool", e);
	return rc == E_OK ? make_dir(d->targets_dir, dir, "targets", e) : rc;
}

static int boot(struct driver *d, struct agent_boot_id id, struct err *e)
{
	struct agent_record *records = calloc(AGENT_APPS_MAX, sizeof(*records));
	PRE(records != NULL);
	struct agent_event ev = {.kind = AGENT_BOOT};
	ev.boot.boot = id;
	ev.boot.records = records;
	int rc = journal_load(d->journal_dir, records, AGENT_APPS_MAX, &ev.boot.nr, e);
	for (size_t i = 0; rc == E_OK && i < ev.boot.nr; i++)
		if (records[i].unknown)
			log_error(records[i].app.s, "%s/%s.journal is damaged: exec is asked what runs",
				  d->journal_dir, records[i].app.s);
	if (rc == E_OK && feed(d, ev) != E_OK)
		rc = err_set(e, E_CORRUPT, "the journal in %s holds what no agent wrote", d->journal_dir);
	free(records);
	return rc;
}

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

int driver_open(struct driver **out, uv_loop_t *loop, const char *dir, struct agent_boot_id boot_id,
		const struct driver_ports *ports, struct err *e)
{
	struct driver *d = calloc(1, sizeof(*d));
	PRE(d != NULL);
	d->loop = loop;
	d->ports = *ports;
	agent_init(&d->agent);
	uv_timer_init(loop, &d->timer);
	d->timer.data = d;
	int rc = make_dirs(d, dir, e);
	if (rc == E_OK)
		rc = spool_open(&d->spool, d->spool_dir, (struct spool_limits){0}, e);
	if (rc == E_OK)
		rc = boot(d, boot_id, e);
	if (rc != E_OK)
		driver_close(d);
	else
		*out = d;
	return rc;
}

void driver_close(struct driver *d)
{
	if (d == NULL || d->closing)
		return;
	d->closing = true;
	spool_free(d->spool);
	uv_close((uv_handle_t *)&d->timer, on_closed);
}

/* ---- what comes in
 * ------------------------------------------------------------------------------------------------- */

static bool is_digest_of(const struct digest *want, const void *bytes, size_t len)
{
	struct digest got = digest_of(bytes, len);
	return digest_eq(&got, want);
}

static int check_text(const struct agent_target *t, const struct wire_text *x, struct err *e)
{
	char hex[DIGEST_HEX_CAP];
	if (digest_none(&t->id) || is_digest_of(&t->spec, x->spec, x->spec_len))
		return E_OK;
	return err_set(e, E_PROTOCOL, "target %.12s: its rendered file has not the digest it names",
		       digest_hex(&t->id, hex));
}

static int keep_text(struct driver *d, const struct wire_text *x, struct err *e)
{
	char hex[DIGEST_HEX_CAP];
	if (digest_none(&x->target))
		return E_OK;
	return durable_write(d->targets_dir, digest_hex(&x->target, hex), x->spec, x->spec_len, e);
}

static const char *labels_leaf(const struct name *app, char leaf[NAME_CAP + 8])
{
	snprintf(leaf, NAME_CAP + 8, "%s.labels", app->s);
	return leaf;
}

static int keep_labels(struct driver *d, const struct name *app, const struct wire_labels *l, struct err *e)
{
	char leaf[NAME_CAP + 8];
	struct buf b;
	buf_init(&b);
	for (size_t i = 0; i < l->nr; i++) {
		buf_put(&b, l->v[i].key, strlen(l->v[i].key) + 1);
		buf_put(&b, l->v[i].value, strlen(l->v[i].value) + 1);
	}
	struct digest check = digest_of(b.data, b.len);
	buf_put(&b, check.b, sizeof(check.b));
	int rc = durable_write(d->targets_dir, labels_leaf(app, leaf), b.data, b.len, e);
	buf_done(&b);
	return rc;
}

int driver_desired(struct driver *d, const struct wire_desired *w, struct err *e)
{
	int rc = E_OK;
	for (size_t i = 0; rc == E_OK && i < w->nr; i++) {
		rc = check_text(&w->assignments[i].target, &w->texts[2 * i], e);
		if (rc == E_OK)
			rc = check_text(&w->assignments[i].fallback, &w->texts[2 * i + 1], e);
	}
	for (size_t i = 0; rc == E_OK && i < 2 * w->nr; i++)
		rc = keep_text(d, &w->texts[i], e);
	for (size_t i = 0; rc == E_OK && i < w->nr; i++)
		rc = keep_labels(d, &w->assignments[i].app, &w->labels[i], e);
	if (rc != E_OK)
		return rc;
	struct agent_event ev = {.kind = AGENT_DESIRED};
	ev.desired.v = w->assignments;
	ev.desired.nr = w->nr;
	ev.desired.up_to_seq = w->up_to_seq;
	ev.desired.snapshot = w->snapshot;
	feed(d, ev); /* what it refuses, it reports */
	return E_OK;
}

void driver_done(struct driver *d, struct agent_event ev)
{
	ev.kind = AGENT_EFFECT_DONE;
	feed(d, ev);
}

void driver_status(struct driver *d, struct agent_event ev)
{
	ev.kind = AGENT_STATUS;
	feed(d, ev);
}

void driver_link(struct driver *d, bool up)
{
	feed(d, (struct agent_event){.kind = up ? AGENT_LINK_UP : AGENT_LINK_DOWN});
}

/* ---- reports
 * ------------------------------------------------------------------------------------------------------- */

void driver_log(struct driver *d, const struct name *app, const struct tail_batch *batch)
{
	const struct agent_app *a = agent_find(&d->agent, app);
	static const struct agent_assignment none;
	const struct agent_assignment *work = a != NULL ? &a->rec.work : &none;
	struct err e;
	struct buf b;
	buf_init(&b);
	wire_log_encode(app, work->seq, work->deployment, work->trace, batch, spool_next_number(d->spool),
			wall_now(), &b);
	int rc = spool_put(d->spool, SPOOL_LOG, b.data, b.len, &e);
	buf_done(&b);
	if (rc != E_OK && rc != E_BUSY) /* a full spool counts what it drops */
		log_error(app->s, "log lines: %s", e.text);
	sync_spool(d, app->s);
	if (rc == E_OK && d->ports.changed != NULL)
		d->ports.changed(d->ports.arg);
}

/* Field 1 of Report, length-delimited: a packed chunk goes in as it lies in the spool. */
static void put_chunk(struct buf *out, const struct buf *chunk)
{
	uint8_t head[11] = {0x0a};
	size_t n = 1, len = chunk->len;
	for (; len >= 0x80; len >>= 7)
		head[n++] = (uint8_t)(len | 0x80);
	head[n++] = (uint8_t)len;
	buf_put(out, head, n);
	buf_put(out, chunk->data, chunk->len);
}

uint64_t driver_report(struct driver *d, uint64_t after, size_t most, struct buf *out)
{
	struct err e;
	struct buf chunk;
	uint64_t last = 0, found;
	int rc;
	buf_init(&chunk);
	while ((rc = spool_read(d->spool, last != 0 ? last : after, &found, &chunk, &e)) == E_OK) {
		if (last != 0 && out->len + chunk.len + 11 > most)
			break;
		put_chunk(out, &chunk);
		last = found;
	}
	if (rc != E_OK && rc != E_NOT_FOUND)
		log_error("spool", "%s", e.text);
	buf_done(&chunk);
	return last;
}

int driver_acked(struct driver *d, uint64_t chunk, struct err *e)
{
	return spool_ack(d->spool, chunk, e);
}

void driver_spool_id(const struct driver *d, uint64_t *hi, uint64_t *lo)
{
	struct spool_id id = spool_id(d->spool);
	*hi = id.hi;
	*lo = id.lo;
}

uint64_t driver_acked_chunk(const struct driver *d)
{
	return spool_acked(d->spool);
}

uint64_t driver_after_seq(const struct driver *d)
{
	return d->agent.after_seq;
}

const struct agent *driver_agent(const struct driver *d)
{
	return &d->agent;
}

/* Of a program that was found running only its id and its artifact are known; the id is made of the artifact
 * and the rendered file (docs/decisions/0002). */
static bool is_text_of(const struct agent_target *t, const struct buf *text)
{
	static const char head[] = "wavetrain target 1\n";
	struct digest spec = digest_of(text->data, text->len);
	uint8_t parts[sizeof(head) - 1 + 2 * DIGEST_LEN];
	if (!digest_none(&t->spec))
		return digest_eq(&spec, &t->spec);
	memcpy(parts, head, sizeof(head) - 1);
	memcpy(parts + sizeof(head) - 1, t->artifact.b, DIGEST_LEN);
	memcpy(parts + sizeof(head) - 1 + DIGEST_LEN, spec.b, DIGEST_LEN);
	struct digest id = digest_of(parts, sizeof(parts));
	return digest_eq(&id, &t->id);
}

static int damaged(const struct driver *d, const char *leaf, struct err *e)
{
	return err_set(e, E_CORRUPT, "%s/%s is damaged; it comes again with the next assignment",
		       d->targets_dir, leaf);
}

int driver_text(const struct driver *d, const struct agent_target *t, struct buf *out, struct err *e)
{
	char hex[DIGEST_HEX_CAP];
	struct buf b;
	buf_init(&b);
	int rc = durable_read(d->targets_dir, digest_hex(&t->id, hex), WIRE_SPEC_MAX, &b, e);
	if (rc == E_TOO_LARGE || (rc == E_OK && !is_text_of(t, &b)))
		rc = damaged(d, hex, e);
	if (rc == E_OK)
		buf_put(out, b.data, b.len);
	buf_done(&b);
	return rc;
}

/* The digest of the labels stands behind them. */
static bool take_labels(const struct buf *file, struct buf *out)
{
	struct digest check;
	if (file->len < DIGEST_LEN)
		return false;
	size_t len = file->len - DIGEST_LEN;
	check = digest_of(file->data, len);
	if (memcmp(check.b, file->data + len, DIGEST_LEN) != 0)
		return false;
	buf_put(out, file->data, len);
	return true;
}

int driver_labels(const struct driver *d, const struct name *app, struct buf *out, struct err *e)
{
	char leaf[NAME_CAP + 8];
	struct buf b;
	buf_init(&b);
	int rc = durable_read(d->targets_dir, labels_leaf(app, leaf), WIRE_SPEC_MAX, &b, e);
	if (rc == E_TOO_LARGE || (rc == E_OK && !take_labels(&b, out)))
		rc = damaged(d, leaf, e);
	buf_done(&b);
	return rc;
}

static bool names_target(const struct agent_record *r, const struct digest *id)
{
	return digest_eq(&r->work.target.id, id) || digest_eq(&r->work.fallback.id, id) ||
	       digest_eq(&r->to.id, id) || digest_eq(&r->runs.id, id) || digest_eq(&r->good.id, id);
}

static bool is_needed(const struct driver *d, const struct digest *id)
{
	for (size_t i = 0; i < AGENT_APPS_MAX; i++) {
		const struct agent_app *a = &d->agent.apps[i];
		if (a->in_use && (names_target(&a->rec, id) || digest_eq(&a->next.target.id, id) ||
				  digest_eq(&a->next.fallback.id, id)))
			return true;
	}
	return false;
}

void driver_forget(struct driver *d)
{
	struct digest id;
	DIR *dir = opendir(d->targets_dir);
	if (dir == NULL)
		return;
	for (struct dirent *it; (it = readdir(dir)) != NULL;)
		if (digest_parse(&id, it->d_name) && !is_needed(d, &id) &&
		    unlinkat(dirfd(dir), it->d_name, 0) != 0)
			log_warn("targets", "%s stays: %s", it->d_name, strerror(errno));
	closedir(dir);
}
