/* The memory-made `struct raft_io`: a disk that writes in order, links that keep order, virtual time. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/raft/world.h"

static struct node *node_of(struct raft_io *io)
{
	return io->impl;
}

static void *copy_bytes(const void *p, size_t n)
{
	void *c = raft_malloc(n ? n : 8);
	PRE(c);
	memcpy(c, p, n);
	return c;
}

void configuration_copy(const struct raft_configuration *from, struct raft_configuration *to)
{
	raft_configuration_init(to);
	for (unsigned i = 0; i < from->n; i++)
		PRE(raft_configuration_add(to, from->servers[i].id, from->servers[i].address,
					   from->servers[i].role) == 0);
}

/* ---- disk ---- */

static void write_records(struct disk *d, const struct write *op, unsigned n)
{
	if (d->n == 0)
		d->start = op->index;
	if (op->index != d->start + d->n)
		violation(d->w, "the engine writes index %llu, but the disk ends at %llu", op->index,
			  d->start + d->n - 1);
	PRE(d->n + n <= MAX_INDEX);
	memcpy(d->records + d->n, op->records, n * sizeof *op->records);
	d->n += n;
}

static void drop_before(struct disk *d, raft_index first)
{
	unsigned k = first > d->start ? (unsigned)(first - d->start) : 0;
	if (k > d->n)
		k = d->n;
	memmove(d->records, d->records + k, (d->n - k) * sizeof *d->records);
	d->n -= k;
	d->start += k;
}

static void write_snapshot(struct disk *d, const struct write *op)
{
	d->snapshot = op->snapshot;
	if (op->trailing == 0)
		d->n = 0;
	else if (op->snapshot.index > op->trailing)
		drop_before(d, op->snapshot.index - op->trailing + 1);
}

static void perform(struct disk *d, const struct write *op)
{
	if (op->kind == WRITE_APPEND)
		write_records(d, op, op->n);
	else if (op->kind == WRITE_TRUNCATE)
		d->n = op->index > d->start ? (unsigned)(op->index - d->start) : 0;
	else
		write_snapshot(d, op);
}

static struct write *take_write(struct disk *d)
{
	struct write *op = d->first;
	d->first = op->next;
	if (!d->first)
		d->tail = &d->first;
	return op;
}

static void disk_turn(struct node *n, void *arg);

static uint64_t disk_delay(struct node *n)
{
	const struct disk *d = &n->disk;
	uint64_t hung = d->hangs_until > n->w->now ? d->hangs_until - n->w->now : 0;
	return hung + 1 + rng_below(&n->w->rng, 3) + (d->slow_ms ? rng_below(&n->w->rng, d->slow_ms) : 0);
}

/*
 * A full disk may take a part of what it refuses. After a failed append nothing is written any more until the
 * next start, as with raft_uv.
 */
static int perform_or_fail(struct node *n, const struct write *op)
{
	struct disk *d = &n->disk;
	if (!d->failed && (!d->full || op->kind == WRITE_TRUNCATE)) {
		perform(d, op);
		return 0;
	}
	if (!d->failed && op->kind == WRITE_APPEND) {
		write_records(d, op, (unsigned)rng_below(&n->w->rng, op->n));
		d->failed = true;
	}
	return RAFT_NOSPACE;
}

static void disk_turn(struct node *n, void *arg)
{
	struct write *op = take_write(&n->disk);
	int status = perform_or_fail(n, op);
	if (n->disk.first)
		at(n, disk_delay(n), disk_turn, NULL);
	if (op->append_cb)
		op->append_cb(op->append, status);
	if (op->put_cb)
		op->put_cb(op->put, status);
	free(op->records);
	free(op);
}

static void queue_write(struct node *n, const struct write *proto)
{
	struct disk *d = &n->disk;
	struct write *op = malloc(sizeof *op);
	PRE(op);
	*op = *proto;
	op->next = NULL;
	if (!d->first)
		at(n, disk_delay(n), disk_turn, NULL);
	*d->tail = op;
	d->tail = &op->next;
}

void disk_crash(struct node *n)
{
	struct disk *d = &n->disk;
	while (d->first && !d->failed && rng_chance(&n->w->rng, 500))
		perform(d, take_write(d));
	if (d->first && !d->failed && d->first->kind == WRITE_APPEND)
		write_records(d, d->first, (unsigned)rng_below(&n->w->rng, d->first->n + 1));
	d->first = NULL;
	d->tail = &d->first;
}

void configuration_all(struct world *w, struct raft_configuration *c)
{
	raft_configuration_init(c);
	for (unsigned i = 0; i < w->n_first; i++)
		PRE(raft_configuration_add(c, i + 1, w->nodes[i].address, RAFT_VOTER) == 0);
}

void disk_empty(struct node *n)
{
	struct disk *d = &n->disk;
	d->records = calloc(MAX_INDEX, sizeof *d->records);
	PRE(d->records);
	d->w = n->w;
	d->start = 1;
	d->tail = &d->first;
}

void disk_format(struct node *n)
{
	struct disk *d = &n->disk;
	struct raft_configuration conf;
	struct raft_buffer b;
	configuration_all(n->w, &conf);
	PRE(raft_configuration_encode(&conf, &b) == 0);
	raft_configuration_close(&conf);
	disk_empty(n);
	d->records[0] = (struct record){.term = 1, .type = RAFT_CHANGE, .len = b.len, .bytes = b.base};
	d->n = 1;
	d->term = 1;
}

/* ---- the vtable ---- */

static int init(struct raft_io *io, raft_id id, const char *address)
{
	return 0;
}

static struct raft_entry *entries_of(const struct record *r, unsigned n)
{
	struct raft_entry *e = n ? raft_calloc(n, sizeof *e) : NULL;
	for (unsigned i = 0; i < n; i++) {
		e[i].term = r[i].term;
		e[i].type = r[i].type;
		e[i].buf.base = e[i].batch = copy_bytes(r[i].bytes, r[i].len);
		e[i].buf.len = r[i].len;
	}
	return e;
}

static struct raft_entry *copy_entries(const struct raft_entry *from, unsigned n)
{
	struct raft_entry *e = n ? raft_calloc(n, sizeof *e) : NULL;
	for (unsigned i = 0; i < n; i++) {
		e[i] = from[i];
		e[i].buf.base = e[i].batch = copy_bytes(from[i].buf.base, from[i].buf.len);
	}
	return e;
}

static struct record *records_of(const struct raft_entry *e, unsigned n)
{
	struct record *r = calloc(n ? n : 1, sizeof *r);
	PRE(r);
	for (unsigned i = 0; i < n; i++)
		r[i] = (struct record){e[i].term, e[i].type, e[i].buf.len,
				       copy_bytes(e[i].buf.base, e[i].buf.len)};
	return r;
}

static struct raft_snapshot *snapshot_of(const struct saved *s)
{
	struct raft_snapshot *x = raft_calloc(1, sizeof *x);
	PRE(x);
	x->index = s->index;
	x->term = s->term;
	x->configuration_index = s->conf_index;
	configuration_copy(&s->conf, &x->configuration);
	x->bufs = raft_malloc(sizeof *x->bufs);
	x->bufs[0] = (struct raft_buffer){.base = copy_bytes(s->bytes, s->len), .len = s->len};
	x->n_bufs = 1;
	return x;
}

static int load(struct raft_io *io, raft_term *term, raft_id *vote, struct raft_snapshot **snapshot,
		raft_index *start, struct raft_entry *entries[], size_t *n)
{
	struct disk *d = &node_of(io)->disk;
	*term = d->term;
	*vote = d->vote;
	*snapshot = d->snapshot.index ? snapshot_of(&d->snapshot) : NULL;
	*start = d->n ? d->start : d->snapshot.index + 1;
	*entries = entries_of(d->records, d->n);
	*n = d->n;
	d->next = *start + d->n;
	d->failed = false;
	d->hangs_until = 0;
	return 0;
}

static void tick_turn(struct node *n, void *arg)
{
	at(n, n->tick_ms, tick_turn, NULL);
	n->tick(n->io);
}

static int start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	struct node *n = node_of(io);
	n->tick_ms = ms;
	n->tick = tick;
	n->recv = recv;
	at(n, ms, tick_turn, NULL);
	return 0;
}

static int set_term(struct raft_io *io, raft_term term)
{
	struct node *n = node_of(io);
	PRE(term < MAX_TERM);
	if (term < n->disk.term)
		violation(n->w, "node %u: term goes back from %llu to %llu", n->nr, n->disk.term, term);
	if (n->disk.full && rng_chance(&n->w->rng, 500))
		return RAFT_NOSPACE;
	n->disk.term = term;
	n->disk.vote = 0;
	return 0;
}

static int set_vote(struct raft_io *io, raft_id id)
{
	struct node *n = node_of(io);
	raft_id *vote = &n->voted[n->disk.term];
	if (*vote != 0 && *vote != id)
		violation(n->w, "node %u: votes for %llu and %llu in term %llu", n->nr, *vote, id,
			  n->disk.term);
	if (n->disk.full && rng_chance(&n->w->rng, 500))
		return RAFT_NOSPACE;
	*vote = n->disk.vote = id;
	return 0;
}

static int append(struct raft_io *io, struct raft_io_append *req, const struct raft_entry entries[],
		  unsigned n, raft_io_append_cb cb)
{
	struct node *x = node_of(io);
	queue_write(x, &(struct write){.kind = WRITE_APPEND,
				       .records = records_of(entries, n),
				       .n = n,
				       .index = x->disk.next,
				       .append = req,
				       .append_cb = cb});
	x->disk.next += n;
	return 0;
}

static int truncate_log(struct raft_io *io, raft_index index)
{
	struct node *n = node_of(io);
	queue_write(n, &(struct write){.kind = WRITE_TRUNCATE, .index = index});
	n->disk.next = index;
	return 0;
}

static void join_buffers(const struct raft_snapshot *s, struct saved *out)
{
	for (unsigned i = 0; i < s->n_bufs; i++)
		out->len += s->bufs[i].len;
	uint8_t *p = out->bytes = malloc(out->len);
	PRE(p);
	for (unsigned i = 0; i < s->n_bufs; p += s->bufs[i++].len)
		memcpy(p, s->bufs[i].base, s->bufs[i].len);
}

/* As raft_uv: a snapshot is written only after the appends that came before it. */
static int snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
			const struct raft_snapshot *s, raft_io_snapshot_put_cb cb)
{
	struct node *n = node_of(io);
	struct write op = {.kind = WRITE_SNAPSHOT, .trailing = trailing, .put = req, .put_cb = cb};
	op.snapshot =
		(struct saved){.index = s->index, .term = s->term, .conf_index = s->configuration_index};
	configuration_copy(&s->configuration, &op.snapshot.conf);
	join_buffers(s, &op.snapshot);
	queue_write(n, &op);
	if (trailing == 0)
		n->disk.next = s->index + 1;
	return 0;
}

struct get {
	struct raft_io_snapshot_get *req;
	raft_io_snapshot_get_cb cb;
};

static void get_turn(struct node *n, void *arg)
{
	struct get *g = arg;
	g->cb(g->req, snapshot_of(&n->disk.snapshot), 0);
	free(g);
}

static int snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req, raft_io_snapshot_get_cb cb)
{
	struct get *g = malloc(sizeof *g);
	PRE(g);
	*g = (struct get){req, cb};
	at(node_of(io), 1 + rng_below(&node_of(io)->w->rng, 20), get_turn, g);
	return 0;
}

static raft_time time_now(struct raft_io *io)
{
	return node_of(io)->w->now + node_of(io)->clock_ahead;
}

static int random_between(struct raft_io *io, int lo, int hi)
{
	return (int)rng_range(&node_of(io)->w->rng, lo, hi > lo ? hi - 1 : lo);
}

static void work_turn(struct node *n, void *arg)
{
	struct raft_io_async_work *req = ((void **)arg)[0];
	raft_io_async_work_cb cb;
	memcpy(&cb, &((void **)arg)[1], sizeof cb);
	cb(req, req->work(req));
	free(arg);
}

static int async_work(struct raft_io *io, struct raft_io_async_work *req, raft_io_async_work_cb cb)
{
	void **pair = calloc(2, sizeof *pair);
	PRE(pair);
	pair[0] = req;
	memcpy(&pair[1], &cb, sizeof cb);
	at(node_of(io), 1 + rng_below(&node_of(io)->w->rng, 30), work_turn, pair);
	return 0;
}

/* ---- links ---- */

struct parcel {
	struct raft_message m;
	unsigned from;
};

struct sent {
	struct raft_io_send *req;
	int status;
};

static void sent_turn(struct node *n, void *arg)
{
	struct sent *s = arg;
	if (s->req->cb) /* kept there, as raft_uv does */
		s->req->cb(s->req, s->status);
	free(s);
}

static void arrive(struct node *n, void *arg)
{
	struct parcel *p = arg;
	if (!n->w->cut[p->from][n->nr])
		n->recv(n->io, &p->m);
	free(p);
}

static struct parcel *pack(struct node *from, const struct raft_message *m)
{
	struct parcel *p = malloc(sizeof *p);
	PRE(p);
	p->from = from->nr;
	p->m = *m;
	p->m.server_id = from->nr + 1;
	p->m.server_address = from->address;
	if (m->type == RAFT_IO_APPEND_ENTRIES) {
		const struct raft_append_entries *a = &m->append_entries;
		p->m.append_entries.entries = copy_entries(a->entries, a->n_entries);
	}
	if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
		struct raft_install_snapshot *s = &p->m.install_snapshot;
		configuration_copy(&m->install_snapshot.conf, &s->conf);
		s->data.base = copy_bytes(s->data.base, s->data.len);
	}
	return p;
}

/* A connection that is cut or full keeps its sender waiting, sometimes for long. */
static uint64_t send_delay(struct world *w, bool gone)
{
	bool stalls = rng_chance(&w->rng, gone ? 300 : 10);
	return 1 + rng_below(&w->rng, stalls ? 3000 : 5);
}

static int send_message(struct raft_io *io, struct raft_io_send *req, const struct raft_message *m,
			raft_io_send_cb cb)
{
	struct node *n = node_of(io);
	struct world *w = n->w;
	if (m->server_id < 1 || m->server_id > w->n_nodes)
		violation(w, "node %u: sends a message to nobody (id %llu)", n->nr, m->server_id);
	struct node *to = &w->nodes[m->server_id - 1];
	bool gone = w->cut[n->nr][to->nr] || !to->alive;
	struct sent *s = malloc(sizeof *s);
	PRE(s);
	req->cb = cb;
	*s = (struct sent){req, gone ? RAFT_NOCONNECTION : 0};
	if (!gone) {
		uint64_t when = w->now + 1 + rng_below(&w->rng, rng_chance(&w->rng, 20) ? 100 : 4);
		uint64_t *last = &w->arrives[n->nr][to->nr];
		*last = when > *last ? when : *last;
		at(to, *last - w->now, arrive, pack(n, m));
	}
	at(n, send_delay(w, gone), sent_turn, s);
	return 0;
}

void io_init(struct node *n)
{
	n->io = calloc(1, sizeof *n->io);
	PRE(n->io);
	*n->io = (struct raft_io){.version = 2,
				  .impl = n,
				  .init = init,
				  .load = load,
				  .start = start,
				  .set_term = set_term,
				  .set_vote = set_vote,
				  .send = send_message,
				  .append = append,
				  .truncate = truncate_log,
				  .snapshot_put = snapshot_put,
				  .snapshot_get = snapshot_get,
				  .time = time_now,
				  .random = random_between,
				  .async_work = async_work};
}
