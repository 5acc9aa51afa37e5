#include <string.h>

#include "coordinator/admin/admin_conn.h"
#include "coordinator/admin/commands_frame.h"

/* ---- push ---- */

static bool known_type(const char *t)
{
	return strcmp(t, "tar.zst") == 0 || strcmp(t, "tar.gz") == 0;
}

static bool check_push(struct admin_conn *c, const Admin__ReleaseArgs *args, struct admin_release_meta *m)
{
	struct app app;
	if (!admin_need_app(c, args->app, &app) || !admin_need_version(c, args->version, &m->version))
		return false;
	m->app = app.name;
	m->size_bytes = args->size_bytes;
	m->type = args->type;
	if (args->digest.len != DIGEST_LEN || args->size_bytes == 0 || !known_type(args->type)) {
		admin_fail(c, E_INVALID, "push a folder, a .tar.gz or a .tar.zst",
			   "a release needs the SHA-256 of its archive, its size and the type tar.gz or "
			   "tar.zst");
		return false;
	}
	memcpy(m->digest.b, args->digest.data, DIGEST_LEN);
	return true;
}

static bool is_missing(struct admin_conn *c, const struct digest *d)
{
	return ADMIN_OPS(c)->is_here != NULL && !ADMIN_OPS(c)->is_here(ADMIN_B(c), d);
}

/* A version means the same bytes for ever: pushing the same again is success, other bytes are refused. But
 * the same bytes are taken when they are not here (lost, or not mirrored yet): a push that succeeded means
 * that they are. */
static bool answer_existing(struct admin_conn *c, const struct admin_release_meta *m)
{
	struct release r;
	char hex[DIGEST_HEX_CAP];
	if (view_release(ADMIN_STATE(c), &c->arena, &m->app, &m->version, &r) != E_OK)
		return false;
	bool same = digest_eq(&r.artifact, &m->digest);
	if (same && is_missing(c, &m->digest))
		return false;
	if (same)
		admin_done(c, 0, "release %s %s is already stored", m->app.s, m->version.s);
	else
		admin_fail(c, E_EXISTS, "push under a new version",
			   "release %s %s is already stored with other bytes (sha256:%.12s)", m->app.s,
			   m->version.s, digest_hex(&r.artifact, hex));
	return true;
}

static void fill_build(struct admin_conn *c, const Admin__ReleaseArgs *args,
		       const struct admin_release_meta *m)
{
	c->release.app = m->app;
	c->release.version = m->version;
	c->release.build = (struct build){.commit = args->commit,
					  .branch = args->branch,
					  .url = args->url,
					  .tests_passed = args->tests_passed,
					  .tests_failed = args->tests_failed};
	c->release.created_by = c->actor;
}

static void send_ready(struct admin_conn *c)
{
	Admin__UploadReady ready = ADMIN__UPLOAD_READY__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	ready.offset = c->upload_offset;
	reply.body_case = ADMIN__REPLY__BODY_UPLOAD_READY;
	reply.upload_ready = &ready;
	admin_reply(c, &reply);
	c->deadline_ms = admin_loop_ms(c->admin) + ADMIN_UPLOAD_IDLE_MS;
}

static const char *hint_of(int rc)
{
	return rc == E_BUSY	  ? "when that push has ended, run the same command again"
	       : rc == E_NO_SPACE ? "free disk space, then run the same command again"
	       : rc == E_INVALID  ? "push the whole archive with the program `wavetrain`"
				  : "try again";
}

void admin_release_push(struct admin_conn *c)
{
	const Admin__ReleaseArgs *args = c->request->release;
	struct admin_release_meta m = {0};
	struct err e = {0};
	if (!check_push(c, args, &m) || answer_existing(c, &m))
		return;
	if (c->request->dry_run) {
		admin_done(c, 0, "dry run: all checks passed, nothing was stored");
		return;
	}
	fill_build(c, args, &m);
	c->upload_size = m.size_bytes;
	int rc = ADMIN_OPS(c)->upload_begin(ADMIN_B(c), &m, &c->upload, &c->upload_offset, &e);
	if (rc != E_OK) {
		c->upload = NULL;
		admin_fail(c, rc, hint_of(rc), "%s", e.text);
		return;
	}
	send_ready(c);
}

static void on_uploaded(void *arg, int code, const struct release *release, const struct err *e)
{
	struct admin_conn *c = arg;
	struct command cmd = {.kind = COMMAND_RELEASE_ADD};
	if (!admin_conn_back(c))
		return;
	if (code != E_OK) {
		admin_fail(c, code, "build the archive again and push it", "%s", e->text);
		return;
	}
	c->release = *release;
	c->release.created_at = ADMIN_OPS(c)->now(ADMIN_B(c));
	cmd.release = c->release;
	admin_propose(c, &cmd, admin_then_done);
}

static void finish_upload(struct admin_conn *c)
{
	void *upload = c->upload;
	if (c->upload_offset != c->upload_size) {
		admin_fail(c, E_PROTOCOL, "run the same command again; it goes on where it stopped",
			   "the upload ended after %llu of %llu bytes", (unsigned long long)c->upload_offset,
			   (unsigned long long)c->upload_size);
		return;
	}
	c->upload = NULL;
	c->deadline_ms = 0;
	c->pending++;
	ADMIN_OPS(c)->upload_finish(ADMIN_B(c), upload, &c->release, on_uploaded, c);
}

void admin_upload_data(struct admin_conn *c, const uint8_t *p, size_t n)
{
	struct err e = {0};
	if (n == 0) {
		finish_upload(c);
		return;
	}
	if (n > c->upload_size - c->upload_offset) {
		admin_fail(c, E_PROTOCOL, NULL, "more bytes were sent than the release has");
		return;
	}
	int rc = ADMIN_OPS(c)->upload_data(ADMIN_B(c), c->upload, p, n, &e);
	if (rc != E_OK)
		admin_fail(c, rc, "free disk space, then run the same command again", "%s", e.text);
	else
		c->upload_offset += n;
}

/* ---- lifting bad marks ---- */

struct bad_find {
	struct name app, version;
	struct digest target;
	bool found;
};

static bool bad_each(void *arg, const struct bad_mark *b)
{
	struct bad_find *f = arg;
	if (!name_eq(&b->app, &f->app) || !name_eq(&b->target.version, &f->version))
		return true;
	f->target = b->target.id;
	f->found = true;
	return false;
}

/* One version may be marked under several deployment files: each mark is its own command, until none is left.
 */
static void lift_next(struct admin_conn *c, const struct command_reply *previous)
{
	struct bad_find f = {.app = c->release.app, .version = c->release.version};
	struct command cmd = {.kind = COMMAND_TARGET_RELEASE};
	view_each_bad(ADMIN_STATE(c), &c->arena, bad_each, &f);
	if (!f.found) {
		admin_done(c, 0, previous ? "%s %s may be deployed again" : "%s %s is not marked bad",
			   f.app.s, f.version.s);
		return;
	}
	cmd.target_release.app = f.app;
	cmd.target_release.target = f.target;
	admin_propose(c, &cmd, lift_next);
}

void admin_release_bad(struct admin_conn *c)
{
	const Admin__ReleaseArgs *args = c->request->release;
	struct app app;
	struct release r;
	if (!admin_need_app(c, args->app, &app) || !admin_need_release(c, &app.name, args->version, &r))
		return;
	if (c->request->reason[0] == '\0') {
		admin_fail(c, E_INVALID, "add --reason TEXT",
			   "lifting a bad mark needs a reason; it is kept in the audit");
		return;
	}
	c->release.app = app.name;
	c->release.version = r.version;
	lift_next(c, NULL);
}

/* ---- list and show ---- */

enum { RELEASES_PER_FRAME = 500 };

struct release_rows {
	struct admin_conn *c;
	struct admin_list v;
	Admin__Release *row;
	struct name version, app;
};

static bool mark_bad(void *arg, const struct bad_mark *b)
{
	struct release_rows *rows = arg;
	struct arena *a = &rows->c->arena;
	char id[DEPLOYMENT_ID_CAP];
	if (!name_eq(&b->app, &rows->app) || !name_eq(&b->target.version, &rows->version))
		return true;
	rows->row->bad = arena_strdup(a, b->reason && b->reason[0] ? b->reason : "marked bad");
	admin_bytes(rows->c, &rows->row->bad_target, &b->target.id);
	rows->row->bad_deployment = arena_strdup(a, deployment_id_text(b->deployment, id));
	return false;
}

static void fill_row(struct release_rows *rows, Admin__Release *row, const struct release *r)
{
	struct arena *a = &rows->c->arena;
	row->app = arena_strdup(a, r->app.s);
	row->version = arena_strdup(a, r->version.s);
	admin_bytes(rows->c, &row->artifact, &r->artifact);
	row->size_bytes = r->size_bytes;
	row->unpacked_bytes = r->unpacked_bytes;
	row->entries = r->entries;
	row->type = arena_strdup(a, r->type);
	row->commit = arena_strdup(a, admin_str(r->build.commit));
	row->branch = arena_strdup(a, admin_str(r->build.branch));
	row->url = arena_strdup(a, admin_str(r->build.url));
	row->tests_passed = r->build.tests_passed;
	row->tests_failed = r->build.tests_failed;
	row->created_at_ms = r->created_at.v;
	row->created_by = arena_strdup(a, r->created_by);
	if (ADMIN_OPS(rows->c)->copies != NULL)
		ADMIN_OPS(rows->c)->copies(ADMIN_B(rows->c), &r->artifact, &row->copies, &row->coordinators);
}

static void flush_releases(struct release_rows *rows)
{
	Admin__Releases releases = ADMIN__RELEASES__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	releases.v = (Admin__Release **)rows->v.v;
	releases.n_v = rows->v.nr;
	reply.body_case = ADMIN__REPLY__BODY_RELEASES;
	reply.releases = &releases;
	admin_reply(rows->c, &reply);
	rows->v.nr = 0;
}

static bool add_release(void *arg, const struct release *r)
{
	struct release_rows *rows = arg;
	Admin__Release *row = arena_new(&rows->c->arena, Admin__Release);
	admin__release__init(row);
	fill_row(rows, row, r);
	rows->row = row;
	rows->app = r->app;
	rows->version = r->version;
	view_each_bad(ADMIN_STATE(rows->c), &rows->c->arena, mark_bad, rows);
	admin_list_add(rows->c, &rows->v, row);
	if (rows->v.nr == RELEASES_PER_FRAME)
		flush_releases(rows);
	return true;
}

void admin_release_list(struct admin_conn *c)
{
	struct release_rows rows = {.c = c};
	struct app app;
	const char *wanted = c->request->list->app;
	if (wanted[0] && !admin_need_app(c, wanted, &app))
		return;
	view_each_release(ADMIN_STATE(c), &c->arena, wanted[0] ? &app.name : NULL, add_release, &rows);
	flush_releases(&rows);
	admin_done(c, 0, "%s", "");
}

void admin_release_show(struct admin_conn *c)
{
	struct release_rows rows = {.c = c};
	struct app app;
	struct release r;
	if (!admin_need_app(c, c->request->release->app, &app))
		return;
	if (!admin_need_release(c, &app.name, c->request->release->version, &r))
		return;
	add_release(&rows, &r);
	flush_releases(&rows);
	admin_done(c, 0, "%s", "");
}
