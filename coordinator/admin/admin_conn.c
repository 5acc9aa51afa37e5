#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/admin/admin_conn.h"
#include "coordinator/admin/commands_frame.h"
#include "proto/scan.h"
#include "sys/log.h"

/* ---- life ---- */

/* Freed only when the handle is closed and no proposal will call back any more. */
static void free_if_unused(struct admin_conn *c)
{
	if (!c->closed || c->pending > 0)
		return;
	struct admin *a = c->admin;
	if (c->request)
		admin__request__free_unpacked(c->request, NULL);
	buf_done(&c->in);
	arena_done(&c->arena);
	admin_forget(a, c);
	free(c);
}

static void on_closed(uv_handle_t *h)
{
	struct admin_conn *c = h->data;
	c->closed = true;
	free_if_unused(c);
}

void admin_conn_close(struct admin_conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	c->watching = false;
	if (c->upload) {
		ADMIN_OPS(c)->upload_cancel(ADMIN_B(c), c->upload);
		c->upload = NULL;
	}
	uv_close((uv_handle_t *)&c->pipe, on_closed);
}

/* ---- writing ---- */

struct write_op {
	uv_write_t req;
	struct admin_conn *c;
	struct buf bytes;
};

static void on_written(uv_write_t *req, int status)
{
	struct write_op *w = req->data;
	if (status != 0)
		admin_conn_close(w->c);
	buf_done(&w->bytes);
	free(w);
}

void admin_reply(struct admin_conn *c, const Admin__Reply *reply)
{
	if (c->closing || c->ended)
		return;
	if (uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) > ADMIN_BACKLOG_MAX) {
		log_warn("admin", "%s reads too slowly; dropped", c->actor);
		admin_conn_close(c);
		return;
	}
	struct write_op *w = calloc(1, sizeof *w);
	PRE(w);
	w->req.data = w;
	w->c = c;
	buf_init(&w->bytes);
	commands_frame_put(&w->bytes, &reply->base);
	uv_buf_t b = uv_buf_init((char *)w->bytes.data, (unsigned)w->bytes.len);
	if (uv_write(&w->req, (uv_stream_t *)&c->pipe, &b, 1, on_written) != 0)
		on_written(&w->req, -1);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct admin_conn *c = req->data;
	admin_conn_close(c);
}

/* The last frame goes out, then our side closes. */
static void end_with(struct admin_conn *c, const Admin__Reply *reply)
{
	PRE(!c->ended);
	admin_reply(c, reply);
	c->ended = true;
	c->watching = false;
	c->deadline_ms = admin_loop_ms(c->admin) + ADMIN_REQUEST_MS;
	if (c->closing)
		return;
	c->shutdown.data = c;
	if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->pipe, on_shutdown) != 0)
		admin_conn_close(c);
}

/* Reads are answered from the state that is here, on a follower too. */
static char *stale_note(struct admin_conn *c)
{
	const struct admin_backend_ops *ops = ADMIN_OPS(c);
	const char *who = c->row && ops->follows ? ops->follows(ADMIN_B(c), &c->arena) : NULL;
	return admin_str(
		who ? arena_printf(&c->arena,
				   "this coordinator does not lead (%s): what it knows may be behind", who)
		    : "");
}

static void end_done(struct admin_conn *c, Admin__Done *done)
{
	Admin__Reply reply = ADMIN__REPLY__INIT;
	done->note = stale_note(c);
	reply.body_case = ADMIN__REPLY__BODY_DONE;
	reply.done = done;
	end_with(c, &reply);
}

void admin_done(struct admin_conn *c, int exit_code, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);

	Admin__Done done = ADMIN__DONE__INIT;
	done.exit_code = (uint32_t)exit_code;
	done.text = text;
	end_done(c, &done);
}

void admin_done_rollout(struct admin_conn *c, int exit_code, struct deployment_id id, uint64_t index,
			const char *text)
{
	char idtext[DEPLOYMENT_ID_CAP];
	Admin__Done done = ADMIN__DONE__INIT;
	done.exit_code = (uint32_t)exit_code;
	done.text = arena_strdup(&c->arena, text ? text : "");
	done.deployment = (char *)(uintptr_t)deployment_id_text(id, idtext);
	done.index = index;
	end_done(c, &done);
}

/* user-experience: 1 failed, 4 not allowed, 6 conflict, 64 usage, 65 invalid spec, 69 no coordinator or no
 * quorum. */
int admin_exit_code(int code)
{
	if (code == E_OK)
		return 0;
	if (code == E_SPEC)
		return 65;
	if (code == E_INVALID || code == E_AMBIGUOUS)
		return 64;
	if (code == E_UNAVAILABLE || code == E_NOT_LEADER || code == E_TIMEOUT || code == E_UNKNOWN_OUTCOME)
		return 69;
	if (err_class(code) == ERR_DENIED)
		return code == E_DENIED ? 4 : 1;
	return err_class(code) == ERR_CONFLICT ? 6 : 1;
}

void admin_fail_with(struct admin_conn *c, int code, const char *hint, char **candidates, size_t nr,
		     const char *text)
{
	Admin__Error error = ADMIN__ERROR__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	error.code = (char *)(uintptr_t)err_name(code);
	error.text = (char *)(uintptr_t)text;
	error.hint = (char *)(uintptr_t)(hint ? hint : "");
	error.candidates = candidates;
	error.n_candidates = nr;
	error.exit_code = (uint32_t)admin_exit_code(code);
	reply.body_case = ADMIN__REPLY__BODY_ERROR;
	reply.error = &error;
	end_with(c, &reply);
}

void admin_fail(struct admin_conn *c, int code, const char *hint, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	admin_fail_with(c, code, hint, NULL, 0, text);
}

/* ---- reading ---- */

static void take_request(struct admin_conn *c, const uint8_t *p, size_t n)
{
	c->request = scan_fits(&admin__request__descriptor, p, n) ? admin__request__unpack(NULL, n, p) : NULL;
	if (!c->request) {
		admin_fail(c, E_PROTOCOL, "use the wavetrain program of the same release",
			   "the request is no admin message");
		return;
	}
	c->deadline_ms = 0;
	admin_dispatch(c);
}

static void take_data(struct admin_conn *c, const uint8_t *p, size_t n)
{
	Admin__Data *d = scan_fits(&admin__data__descriptor, p, n) ? admin__data__unpack(NULL, n, p) : NULL;
	if (!d) {
		admin_fail(c, E_PROTOCOL, NULL, "a data frame of the upload cannot be read");
		return;
	}
	c->deadline_ms = admin_loop_ms(c->admin) + ADMIN_UPLOAD_IDLE_MS;
	admin_upload_data(c, d->bytes.data, d->bytes.len);
	admin__data__free_unpacked(d, NULL);
}

static void take_frame(struct admin_conn *c, const uint8_t *p, size_t n)
{
	if (!c->request)
		take_request(c, p, n);
	else if (c->upload)
		take_data(c, p, n);
	else
		admin_fail(c, E_PROTOCOL, NULL, "a connection carries one request; open another one");
}

static void take_frames(struct admin_conn *c)
{
	size_t at = 0;
	while (!c->ended && !c->closing) {
		const uint8_t *body;
		size_t n;
		enum frame_state s = commands_frame_next(c->in.data + at, c->in.len - at,
							 COMMANDS_FRAME_REQUEST_MAX, &body, &n);
		if (s == FRAME_TOO_LARGE)
			admin_fail(c, E_TOO_LARGE,
				   "a request is at most 256 KiB; artifacts travel in smaller data frames",
				   "the frame is larger than the limit");
		if (s != FRAME_WHOLE)
			break;
		at += COMMANDS_FRAME_HEAD + n;
		take_frame(c, body, n);
	}
	if (c->ended)
		buf_reset(&c->in); /* whatever else the peer says is not looked at */
	else
		buf_drop(&c->in, at);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	struct admin_conn *c = h->data;
	b->base = (char *)buf_reserve(&c->in, 65536);
	b->len = 65536;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct admin_conn *c = s->data;
	if (n < 0) {
		admin_conn_close(c);
		return;
	}
	if (c->ended)
		return;
	c->in.len += (size_t)n;
	take_frames(c);
}

/* ---- beginning ---- */

static bool greet(struct admin_conn *c)
{
	uv_os_fd_t fd;
	if (uv_fileno((uv_handle_t *)&c->pipe, &fd) != 0)
		return false;
	if (admin_peer(fd, &c->admin->config, &c->uid, &c->gid, &c->role) != E_OK)
		return false;
	admin_peer_actor(c->uid, c->actor, sizeof c->actor);
	return uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) == 0;
}

/* The one that has waited longest to say what it wants. */
static struct admin_conn *longest_silent(struct admin *a)
{
	struct admin_conn *found = NULL;
	for (struct admin_conn *c = a->conns; c; c = c->next)
		if (!c->request && !c->ended && !c->closing)
			found = c;
	return found;
}

/* Connections that say nothing must not keep out one that has something to say. */
static void make_room(struct admin *a)
{
	struct admin_conn *silent = longest_silent(a); /* the newest at the latest */
	admin_fail(silent, E_BUSY, "close a watch, then try again", "%d connections are open already",
		   ADMIN_CONN_MAX);
}

void admin_conn_accept(struct admin *a)
{
	struct admin_conn *c = calloc(1, sizeof *c);
	PRE(c);
	c->admin = a;
	c->pipe.data = c;
	buf_init(&c->in);
	arena_init(&c->arena);
	PRE(uv_pipe_init(a->loop, &c->pipe, 0) == 0);
	c->pipe.data = c;
	c->next = a->conns;
	if (a->conns)
		a->conns->prev = c;
	a->conns = c;
	a->conns_nr++;
	c->deadline_ms = admin_loop_ms(a) + ADMIN_REQUEST_MS;
	if (uv_accept((uv_stream_t *)&a->pipe, (uv_stream_t *)&c->pipe) != 0 || !greet(c))
		admin_conn_close(c);
	else if (a->conns_nr > ADMIN_CONN_MAX)
		make_room(a);
}

/* ---- proposing ---- */

/* A peer that went away, or that broke the rules meanwhile and was told so, gets no second last frame. */
bool admin_conn_back(struct admin_conn *c)
{
	bool wanted = !c->closing && !c->ended;
	c->pending--;
	free_if_unused(c);
	return wanted;
}

void admin_conn_done(void *arg, const struct command_reply *reply)
{
	struct admin_conn *c = arg;
	if (!admin_conn_back(c))
		return;
	if (reply->code != E_OK)
		admin_fail(c, reply->code,
			   "nothing was changed unless the error says that the outcome is unknown", "%s",
			   reply->text && reply->text[0] ? reply->text : err_text(reply->code));
	else
		c->then(c, reply);
}

static void stamp(struct admin_conn *c, struct command *cmd)
{
	const Admin__Request *r = c->request;
	cmd->at = ADMIN_OPS(c)->now(ADMIN_B(c));
	cmd->actor = c->actor;
	cmd->reason = r->reason;
	if (r->trace_id.len == 16)
		cmd->trace = (struct trace_id){get_u64(r->trace_id.data), get_u64(r->trace_id.data + 8)};
	if (r->client_id.len == 16) {
		cmd->client_hi = get_u64(r->client_id.data);
		cmd->client_lo = get_u64(r->client_id.data + 8);
		cmd->client_seq = ++c->proposals;
	}
}

void admin_propose(struct admin_conn *c, struct command *cmd,
		   void (*then)(struct admin_conn *, const struct command_reply *))
{
	if (c->request->dry_run) {
		admin_done(c, 0, "dry run: all checks passed, nothing was changed");
		return;
	}
	stamp(c, cmd);
	c->then = then;
	c->pending++;
	ADMIN_OPS(c)->propose(ADMIN_B(c), cmd, admin_conn_done, c);
}

void admin_then_done(struct admin_conn *c, const struct command_reply *reply)
{
	admin_done(c, 0, "%s", reply->text ? reply->text : "");
}
