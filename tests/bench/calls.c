#include "tests/bench/calls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "coordinator/admin/commands.h"
#include "coordinator/admin/commands_frame.h"

struct call {
	int fd; /* -1: none under way, or waiting for a place in the backlog */
	bool waits;
	uint64_t nr;
	int64_t since;
	struct buf out, in;
	size_t sent;
};

struct run {
	struct calls *c;
	struct call *v;
	int epoll;
	uint64_t begun;
	size_t active;
	struct sockaddr_un address;
	uint64_t id[2]; /* of this run; each request adds its number */
	struct arena arena;
};

static void encode(struct run *r, struct call *k)
{
	Admin__Request rq = ADMIN__REQUEST__INIT;
	uint8_t id[16];
	put_u64(id, r->id[0]);
	put_u64(id + 8, r->id[1] + k->nr);
	rq.version = 1;
	rq.reason = (char *)(uintptr_t) "";
	rq.client_version = (char *)(uintptr_t)WAVETRAIN_VERSION;
	rq.trace_id = rq.client_id = (ProtobufCBinaryData){.len = sizeof id, .data = id};
	r->c->ask(r->c->arg, k->nr, &r->arena, &rq);
	buf_reset(&k->out);
	commands_frame_put(&k->out, &rq.base);
	arena_reset(&r->arena);
	k->sent = 0;
}

static void watch(struct run *r, struct call *k, uint32_t events, int op)
{
	struct epoll_event ev = {.events = events, .data.ptr = k};
	PRE(epoll_ctl(r->epoll, op, k->fd, &ev) == 0);
}

static void dial(struct run *r, struct call *k)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		stat_die("admin socket: %s", strerror(errno));
	k->waits = connect(fd, (struct sockaddr *)&r->address, sizeof r->address) != 0;
	if (k->waits && errno != EAGAIN)
		stat_die("admin socket %s: %s", r->c->path, strerror(errno));
	if (k->waits) {
		close(fd);
		r->c->connects_retried++;
		return;
	}
	k->fd = fd;
	watch(r, k, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static bool may_begin(const struct run *r)
{
	const struct calls *c = r->c;
	return (c->most == 0 || r->begun < c->most) && (c->until_ns == 0 || stat_now_ns() < c->until_ns);
}

static void begin(struct run *r, struct call *k)
{
	if (!may_begin(r))
		return;
	k->nr = r->begun++;
	k->since = stat_now_ns();
	buf_reset(&k->in);
	encode(r, k);
	r->active++;
	dial(r, k);
}

static void on_end(struct run *r, struct call *k)
{
	stat_add(&r->c->latency, stat_now_ns() - k->since);
	r->c->done++;
	r->active--;
	close(k->fd);
	k->fd = -1;
	begin(r, k);
}

/* True when this was the last frame. */
static bool on_frame(struct run *r, struct call *k, const uint8_t *body, size_t n)
{
	Admin__Reply *m = admin__reply__unpack(NULL, n, body);
	if (m == NULL)
		stat_die("the coordinator's answer is no reply");
	if (m->body_case == ADMIN__REPLY__BODY_ERROR)
		stat_die("the coordinator refused request %llu: %s: %s", (unsigned long long)k->nr,
			 m->error->code, m->error->text);
	bool last = m->body_case == ADMIN__REPLY__BODY_DONE;
	if (last && m->done->exit_code != 0)
		stat_die("request %llu ended with %u: %s", (unsigned long long)k->nr, m->done->exit_code,
			 m->done->text);
	if (!last && r->c->reply)
		r->c->reply(r->c->arg, k->nr, m);
	admin__reply__free_unpacked(m, NULL);
	return last;
}

static void on_readable(struct run *r, struct call *k)
{
	enum { STEP = 16384 };
	ssize_t got = recv(k->fd, buf_reserve(&k->in, STEP), STEP, 0);
	if (got == 0 || (got < 0 && errno != EAGAIN))
		stat_die("the coordinator hung up on request %llu", (unsigned long long)k->nr);
	k->in.len += got > 0 ? (size_t)got : 0;
	const uint8_t *body;
	size_t n;
	while (commands_frame_next(k->in.data, k->in.len, COMMANDS_FRAME_REPLY_MAX, &body, &n) ==
	       FRAME_WHOLE) {
		if (on_frame(r, k, body, n)) {
			on_end(r, k);
			return;
		}
		buf_drop(&k->in, COMMANDS_FRAME_HEAD + n);
	}
}

static void on_writable(struct run *r, struct call *k)
{
	ssize_t n = send(k->fd, k->out.data + k->sent, k->out.len - k->sent, MSG_NOSIGNAL);
	/* It may have said why before it hung up: read on. */
	bool gone = n < 0 && errno == EPIPE;
	if (n < 0 && errno != EAGAIN && !gone)
		stat_die("request %llu cannot be sent: %s", (unsigned long long)k->nr, strerror(errno));
	k->sent = gone ? k->out.len : k->sent + (n > 0 ? (size_t)n : 0);
	if (k->sent == k->out.len)
		watch(r, k, EPOLLIN, EPOLL_CTL_MOD);
}

static void turn(struct run *r)
{
	struct epoll_event ev[256];
	bool any_waits = false;
	for (size_t i = 0; i < r->c->in_flight; i++) {
		if (r->v[i].waits)
			dial(r, &r->v[i]);
		any_waits = any_waits || r->v[i].waits;
	}
	int n = epoll_wait(r->epoll, ev, 256, any_waits ? 1 : -1);
	for (int i = 0; i < n; i++) {
		struct call *k = ev[i].data.ptr;
		if (ev[i].events & EPOLLOUT)
			on_writable(r, k);
		else
			on_readable(r, k);
	}
}

void calls_run(struct calls *c)
{
	struct run r = {.c = c, .epoll = epoll_create1(EPOLL_CLOEXEC), .address = {.sun_family = AF_UNIX}};
	if (strlen(c->path) >= sizeof r.address.sun_path)
		stat_die("the path of the socket is too long: %s", c->path);
	strcpy(r.address.sun_path, c->path);
	PRE(r.epoll >= 0 && getrandom(r.id, sizeof r.id, 0) == sizeof r.id);
	r.v = calloc(c->in_flight, sizeof *r.v);
	PRE(r.v != NULL);
	arena_init(&r.arena);
	for (size_t i = 0; i < c->in_flight; i++) {
		buf_init(&r.v[i].in);
		buf_init(&r.v[i].out);
		r.v[i].fd = -1;
		begin(&r, &r.v[i]);
	}
	while (r.active > 0)
		turn(&r);
	for (size_t i = 0; i < c->in_flight; i++) {
		buf_done(&r.v[i].in);
		buf_done(&r.v[i].out);
	}
	arena_done(&r.arena);
	free(r.v);
	close(r.epoll);
}
