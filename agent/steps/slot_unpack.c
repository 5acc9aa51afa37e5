#include "agent/steps/slot_unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/steps/slot_tree.h"
#include "sys/fsio.h"

/*
 *   PREPARE (pool) -> the child -> FINISH (pool) -> told
 *        |                |            |
 *        +----------------+------------+--> UNDO (pool) -> told       on any failure, and when stopped
 */
enum phase { PHASE_PREPARE = 1, PHASE_CHILD, PHASE_FINISH, PHASE_UNDO };
enum { SAID_CAP = 1024, SHORT_HEX = 12, NAMES_MAX = 1000 };

/* wavetrain-unpack's exit codes: agent/unpack/main.c */
enum { EXIT_REFUSED = 1, EXIT_DISK = 70 };

struct slot_unpack {
	uv_loop_t *loop;
	struct slot_unpack_config config;
	slot_unpack_cb cb;
	void *ctx;
	char hex[DIGEST_HEX_CAP];
	char archive[FSIO_PATH_CAP], partial[FSIO_PATH_CAP], final[FSIO_PATH_CAP], manifest[FSIO_PATH_CAP];
	enum phase phase;
	bool stopped;
	uv_work_t work;
	int archive_fd, folder_fd;
	uv_process_t child;
	uv_pipe_t child_says;
	int open_handles; /* of the child */
	bool child_runs;
	char said[SAID_CAP]; /* the end of its stderr */
	size_t said_len;
	int64_t status;
	int signo;
	int code; /* how it ends, so far */
	struct err e;
};

/* ---- in the pool's thread
 * ------------------------------------------------------------------------------------------- */

static int fail_disk(struct err *e, int errnum, const char *what, const char *path)
{
	return err_sys(e, errnum == ENOSPC || errnum == EDQUOT ? E_NO_SPACE : E_IO, errnum, "%s %s", what,
		       path);
}

static int open_archive(struct slot_unpack *u)
{
	struct stat st;
	u->archive_fd = open(u->archive, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (u->archive_fd < 0)
		return errno == ENOENT ? err_sys(&u->e, E_NOT_FOUND, errno, "archive %s", u->archive)
				       : fail_disk(&u->e, errno, "cannot open", u->archive);
	if (fstat(u->archive_fd, &st) != 0)
		return fail_disk(&u->e, errno, "cannot look at", u->archive);
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size == u->config.size_bytes)
		return E_OK;
	return err_set(&u->e, E_CORRUPT, "archive %.*s has %" PRId64 " bytes on disk, not %" PRIu64,
		       SHORT_HEX, u->hex, (int64_t)st.st_size, u->config.size_bytes);
}

static int check_space(struct slot_unpack *u)
{
	const struct slot_unpack_config *c = &u->config;
	uint64_t free_bytes;
	int rc = fsio_free_bytes(c->slots_dir, &free_bytes, &u->e);
	if (rc != E_OK ||
	    (free_bytes >= c->unpacked_bytes && free_bytes - c->unpacked_bytes >= c->reserve_bytes))
		return rc;
	return err_set(&u->e, E_NO_SPACE,
		       "slot %.*s: %" PRIu64 " bytes unpacked + %" PRIu64 " reserve > %" PRIu64
		       " bytes free in %s",
		       SHORT_HEX, u->hex, c->unpacked_bytes, c->reserve_bytes, free_bytes, c->slots_dir);
}

/* A name nobody uses: what an earlier one left may still be under removal. */
static int make_folder(struct slot_unpack *u)
{
	int made = -1;
	for (int n = 1; made != 0 && n < NAMES_MAX; n++) {
		snprintf(u->partial, sizeof u->partial, "%s/.partial-%s-%d", u->config.slots_dir, u->hex, n);
		made = mkdir(u->partial, 0755);
		if (made != 0 && errno != EEXIST)
			break;
	}
	if (made != 0) {
		int rc = fail_disk(&u->e, errno, "cannot make", u->partial);
		u->partial[0] = '\0';
		return rc;
	}
	u->folder_fd = open(u->partial, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (u->folder_fd < 0 || fchmod(u->folder_fd, 0755) != 0) /* whatever our umask */
		return fail_disk(&u->e, errno, "cannot open", u->partial);
	return E_OK;
}

static int prepare(struct slot_unpack *u)
{
	int rc = open_archive(u);
	if (rc == E_OK)
		rc = check_space(u);
	return rc == E_OK ? make_folder(u) : rc;
}

static int write_manifest(struct slot_unpack *u)
{
	struct buf b;
	buf_init(&b);
	int rc = slot_tree_list(u->partial, &b, &u->e);
	if (rc == E_OK && b.len > SLOT_MANIFEST_MAX)
		rc = err_set(&u->e, E_TOO_LARGE, "slot %.*s: its manifest would have %zu bytes", SHORT_HEX,
			     u->hex, b.len);
	if (rc == E_OK)
		rc = fsio_write_atomic(u->manifest, b.data, b.len, 0644, &u->e);
	buf_done(&b);
	return rc;
}

/* Where the slot is there already, it is replaced, and `partial` is the old one afterwards. */
static int take_name(struct slot_unpack *u)
{
	unsigned how = RENAME_NOREPLACE;
	int rc = renameat2(AT_FDCWD, u->partial, AT_FDCWD, u->final, how);
	if (rc != 0 && errno == EEXIST)
		rc = renameat2(AT_FDCWD, u->partial, AT_FDCWD, u->final, RENAME_EXCHANGE);
	return rc == 0 ? E_OK : fail_disk(&u->e, errno, "cannot rename to", u->final);
}

static int finish(struct slot_unpack *u)
{
	int rc = write_manifest(u);
	if (rc == E_OK)
		rc = take_name(u);
	if (rc == E_OK)
		rc = fsio_sync_dir_of(u->final, &u->e);
	struct err ignored;
	if (rc == E_OK) {
		unlink(u->archive);
		if (slot_tree_remove(u->partial, &ignored) != E_OK)
			return E_OK; /* the old slot is away at the next start */
	}
	return rc;
}

static void work_cb(uv_work_t *w)
{
	struct slot_unpack *u = container_of(w, struct slot_unpack, work);
	struct err ignored;
	switch (u->phase) {
	case PHASE_PREPARE:
		u->code = prepare(u);
		break;
	case PHASE_FINISH:
		u->code = finish(u);
		break;
	case PHASE_UNDO: /* what cannot be removed now is at the next start */
		if (u->partial[0] != '\0' && slot_tree_remove(u->partial, &ignored) != E_OK)
			u->partial[0] = '\0';
		break;
	case PHASE_CHILD:
		break;
	}
}

/* ---- on the loop
 * ---------------------------------------------------------------------------------------------------- */

static void work_done_cb(uv_work_t *w, int status);

static void begin(struct slot_unpack *u, enum phase phase)
{
	u->phase = phase;
	PRE(uv_queue_work(u->loop, &u->work, work_cb, work_done_cb) == 0);
}

static void close_files(struct slot_unpack *u)
{
	if (u->archive_fd >= 0)
		close(u->archive_fd);
	if (u->folder_fd >= 0)
		close(u->folder_fd);
	u->archive_fd = u->folder_fd = -1;
}

static void tell(struct slot_unpack *u)
{
	u->cb(u->ctx, u->code, u->code == E_OK ? "" : u->e.text);
	free(u);
}

static void undo(struct slot_unpack *u)
{
	if (u->stopped)
		u->code = err_set(&u->e, E_CLOSED, "unpacking %.*s was stopped", SHORT_HEX, u->hex);
	close_files(u);
	begin(u, PHASE_UNDO);
}

static const char *last_line(struct slot_unpack *u)
{
	while (u->said_len > 0 && u->said[u->said_len - 1] == '\n')
		u->said_len--;
	u->said[u->said_len] = '\0';
	char *line = strrchr(u->said, '\n');
	return line != NULL ? line + 1 : u->said;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);
	return n >= m && strcmp(text + n - m, end) == 0;
}

static int judge_exit(struct slot_unpack *u, int64_t status, const char *said)
{
	bool full = ends_with(said, strerror(ENOSPC)) || ends_with(said, strerror(EDQUOT));
	int code = status == EXIT_REFUSED ? E_CORRUPT : status == EXIT_DISK ? E_IO : E_INTERNAL;
	if (status == EXIT_DISK && full)
		code = E_NO_SPACE;
	if (status == 0)
		return E_OK;
	if (code == E_INTERNAL)
		return err_set(&u->e, code, "unpack %.*s: %s ended with %" PRId64 ": %s", SHORT_HEX, u->hex,
			       u->config.program, status, said);
	return err_set(&u->e, code, "unpack %.*s: %s", SHORT_HEX, u->hex, said);
}

/* It limits its own processor time; what needs more is a bomb. */
static int judge_signal(struct slot_unpack *u, int signo)
{
	if (signo == SIGXCPU)
		return err_set(&u->e, E_CORRUPT, "unpack %.*s: it takes longer than any archive may",
			       SHORT_HEX, u->hex);
	return err_set(&u->e, E_IO, "unpack %.*s: the child was killed (%s)", SHORT_HEX, u->hex,
		       strsignal(signo));
}

/* It has exited and all it said is here. */
static void child_closed_cb(uv_handle_t *h)
{
	struct slot_unpack *u = h->data;
	if (--u->open_handles > 0)
		return;
	if (u->code == E_OK)
		u->code = u->signo != 0 ? judge_signal(u, u->signo) : judge_exit(u, u->status, last_line(u));
	if (u->code != E_OK || u->stopped) {
		undo(u);
	} else {
		close_files(u);
		begin(u, PHASE_FINISH);
	}
}

static void exit_cb(uv_process_t *p, int64_t status, int signo)
{
	struct slot_unpack *u = p->data;
	u->child_runs = false;
	u->status = status;
	u->signo = signo;
	uv_close((uv_handle_t *)p, child_closed_cb);
}

static void say_alloc_cb(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
	struct slot_unpack *u = h->data;
	if (u->said_len >= sizeof u->said / 2) { /* the end is what counts */
		memmove(u->said, u->said + sizeof u->said / 4, u->said_len - sizeof u->said / 4);
		u->said_len -= sizeof u->said / 4;
	}
	*out = uv_buf_init(u->said + u->said_len, (unsigned)(sizeof u->said - 1 - u->said_len));
}

static void say_cb(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct slot_unpack *u = s->data;
	if (n > 0)
		u->said_len += (size_t)n;
	else if (n < 0)
		uv_close((uv_handle_t *)s, child_closed_cb); /* the end: nobody else holds the other side */
}

static int spawn(struct slot_unpack *u)
{
	char bytes[24], entries[24];
	char *args[] = {(char *)(uintptr_t)u->config.program, bytes, entries, NULL}, *env[] = {NULL};
	uv_stdio_container_t stdio[4] = {
		{.flags = UV_INHERIT_FD, .data.fd = u->archive_fd},
		{.flags = UV_IGNORE},
		{.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&u->child_says},
		{.flags = UV_INHERIT_FD, .data.fd = u->folder_fd}};
	uv_process_options_t o = {.exit_cb = exit_cb,
				  .file = u->config.program,
				  .args = args,
				  .env = env,
				  .stdio_count = 4,
				  .stdio = stdio};
	snprintf(bytes, sizeof bytes, "%" PRIu64, u->config.unpacked_bytes);
	snprintf(entries, sizeof entries, "%" PRIu64, u->config.entries);
	return uv_spawn(u->loop, &u->child, &o);
}

static void start_child(struct slot_unpack *u)
{
	u->phase = PHASE_CHILD;
	u->child.data = u->child_says.data = u;
	uv_pipe_init(u->loop, &u->child_says, 0);
	int rc = spawn(u);
	u->open_handles = 2;
	if (rc != 0) {
		u->code = err_sys(&u->e,
				  rc == UV_ENOENT   ? E_NOT_FOUND
				  : rc == UV_EACCES ? E_DENIED
						    : E_IO,
				  -rc, "start %s", u->config.program);
		uv_close((uv_handle_t *)&u->child, child_closed_cb);
		uv_close((uv_handle_t *)&u->child_says, child_closed_cb);
		return;
	}
	u->child_runs = true;
	uv_read_start((uv_stream_t *)&u->child_says, say_alloc_cb, say_cb);
}

static void work_done_cb(uv_work_t *w, int status)
{
	struct slot_unpack *u = container_of(w, struct slot_unpack, work);
	if (u->phase == PHASE_UNDO || (u->phase == PHASE_FINISH && u->code == E_OK))
		tell(u);
	else if (u->code != E_OK || u->stopped)
		undo(u);
	else
		start_child(u);
}

struct slot_unpack *slot_unpack_open(uv_loop_t *loop, const struct slot_unpack_config *c, slot_unpack_cb cb,
				     void *ctx)
{
	struct slot_unpack *u = calloc(1, sizeof *u);
	PRE(u != NULL);
	u->loop = loop;
	u->config = *c;
	u->cb = cb;
	u->ctx = ctx;
	u->archive_fd = u->folder_fd = -1;
	digest_hex(&c->artifact, u->hex);
	snprintf(u->archive, sizeof u->archive, "%s/%s", c->archives, u->hex);
	snprintf(u->final, sizeof u->final, "%s/%s", c->slots_dir, u->hex);
	snprintf(u->manifest, sizeof u->manifest, "%s/%s.manifest", c->slots_dir, u->hex);
	begin(u, PHASE_PREPARE);
	return u;
}

void slot_unpack_stop(struct slot_unpack *u)
{
	u->stopped = true;
	if (u->child_runs)
		uv_process_kill(&u->child, SIGKILL);
}
