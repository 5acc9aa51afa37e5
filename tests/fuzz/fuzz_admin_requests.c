/*
 * What local users ask of a coordinator: the whole way from the socket's bytes through the table, the roles
 * and the handlers into the fold, in the world of the admin server's tests. The first byte is the role; then
 * each piece is two bytes of length and what one connection sends. Whatever comes, what is answered are
 * replies, nothing comes after the last one, and the fold takes what is proposed.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/admin/commands_frame.h"
#include "sys/log.h"
#include "tests/unit/admin/world.h"

enum { CONNECTIONS_MAX = 4, TURNS_MAX = 200, QUIET_TURNS = 3 };

/* The socket lies in memory: a world is made anew for each input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	setenv("TMPDIR", "/dev/shm", 1);
	log_init("fuzz", LOG_ERROR);
	return 0;
}

/* True while something came; `in` keeps what is not yet a whole frame. */
static bool hear(int fd, struct buf *in, bool *ended)
{
	const uint8_t *body;
	size_t len;
	ssize_t n = recv(fd, buf_reserve(in, 65536), 65536, MSG_DONTWAIT);
	in->len += n > 0 ? (size_t)n : 0;
	while (commands_frame_next(in->data, in->len, COMMANDS_FRAME_REPLY_MAX, &body, &len) == FRAME_WHOLE) {
		Admin__Reply *r = admin__reply__unpack(NULL, len, body);
		PRE(r != NULL && !*ended);
		*ended = r->body_case == ADMIN__REPLY__BODY_DONE || r->body_case == ADMIN__REPLY__BODY_ERROR;
		admin__reply__free_unpacked(r, NULL);
		buf_drop(in, COMMANDS_FRAME_HEAD + len);
	}
	return n > 0;
}

/* The peer has said all, and reads until nothing more comes of it: watchers are never told the end. */
static void converse(struct world *w, const uint8_t *p, size_t n)
{
	struct buf in;
	bool ended = false;
	int fd = world_connect(w);
	buf_init(&in);
	world_write(w, fd, p, n);
	for (int turn = 0, quiet = 0; turn < TURNS_MAX && quiet < QUIET_TURNS && !ended; turn++) {
		uv_run(&w->loop, UV_RUN_NOWAIT);
		quiet = hear(fd, &in, &ended) ? 0 : quiet + 1;
	}
	close(fd);
	buf_done(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct world w;
	if (n < 1)
		return 0;
	world_init(&w);
	world_fill(&w);
	w.role = ROLE_VIEWER + p[0] % ROLE_ADMIN;
	p++;
	n--;
	for (int i = 0; i < CONNECTIONS_MAX && n >= 2; i++) {
		size_t len = (size_t)p[0] << 8 | p[1];
		len = len < n - 2 ? len : n - 2;
		converse(&w, p + 2, len);
		p += 2 + len;
		n -= 2 + len;
	}
	world_done(&w);
	return 0;
}
