#include "agent/journal.h"

#include "agent/durable.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

/* magic, version, length of the body, CRC of the body; then the body. */
enum { MAGIC = 0x57544a31, VERSION = 2, OLDEST = 1, HEAD = 16, FILE_MAX = 64 * 1024 };
static const char suffix[] = ".journal";

/* One walk over the fields serves both ways: `out` set = write, else read. */
struct coder {
	struct buf *out;
	const uint8_t *in;
	size_t left;
	uint32_t version; /* of what is read; what it has not got stays 0 */
	bool bad;
};

static void code_bytes(struct coder *c, void *p, size_t n)
{
	if (c->out != NULL) {
		buf_put(c->out, p, n);
		return;
	}
	if (c->bad || c->left < n) {
		c->bad = true;
		return;
	}
	memcpy(p, c->in, n);
	c->in += n;
	c->left -= n;
}

static void code_u64(struct coder *c, uint64_t *v)
{
	uint8_t b[8];
	put_u64(b, *v);
	code_bytes(c, b, sizeof(b));
	if (!c->bad)
		*v = get_u64(b);
}

static void code_i64(struct coder *c, int64_t *v)
{
	uint64_t u = (uint64_t)*v;
	code_u64(c, &u);
	*v = (int64_t)u;
}

static void code_u32(struct coder *c, uint32_t *v)
{
	uint64_t u = *v;
	code_u64(c, &u);
	c->bad = c->bad || u > UINT32_MAX;
	*v = (uint32_t)u;
}

static void code_bool(struct coder *c, bool *v)
{
	uint64_t u = *v;
	code_u64(c, &u);
	c->bad = c->bad || u > 1;
	*v = u == 1;
}

/* A terminated text of fixed size. */
static void code_text(struct coder *c, char *s, size_t cap)
{
	code_bytes(c, s, cap);
	if (memchr(s, '\0', cap) == NULL)
		c->bad = true;
}

static void code_target(struct coder *c, struct agent_target *t)
{
	code_bytes(c, t->id.b, DIGEST_LEN);
	code_bytes(c, t->artifact.b, DIGEST_LEN);
	code_bytes(c, t->spec.b, DIGEST_LEN);
	code_text(c, t->version.s, sizeof(t->version.s));
	code_u64(c, &t->size_bytes);
	code_u64(c, &t->unpacked_bytes);
	code_u64(c, &t->entries);
	code_text(c, t->type, sizeof(t->type));
}

static void code_boot(struct coder *c, struct agent_boot_id *b)
{
	code_u64(c, &b->hi);
	code_u64(c, &b->lo);
}

static void code_work(struct coder *c, struct agent_assignment *w)
{
	code_text(c, w->app.s, sizeof(w->app.s));
	code_u64(c, &w->seq);
	code_u64(c, &w->fence.generation);
	code_u64(c, &w->fence.term);
	code_u64(c, &w->fence.epoch);
	code_u64(c, &w->deployment);
	code_u32(c, &w->wave);
	code_bool(c, &w->back);
	code_target(c, &w->target);
	code_target(c, &w->fallback);
	code_i64(c, &w->deadline_ms);
	if (c->version >= 2) {
		code_i64(c, &w->fault_cap_ms);
		code_bytes(c, w->keep.b, DIGEST_LEN);
		code_bool(c, &w->skip_stop_hooks);
	}
	code_u64(c, &w->trace.hi);
	code_u64(c, &w->trace.lo);
}

static void code_evidence(struct coder *c, struct agent_evidence *ev)
{
	code_bytes(c, ev->target.b, DIGEST_LEN);
	code_boot(c, &ev->boot);
	code_u64(c, &ev->activation);
	code_i64(c, &ev->activated_ms);
	code_i64(c, &ev->measured_ms);
	code_u32(c, &ev->passes);
	code_u32(c, &ev->failures);
}

static void code_flags(struct coder *c, struct agent_record *r)
{
	code_bool(c, &r->unknown);
	code_bool(c, &r->reverting);
	code_bool(c, &r->touched);
	code_bool(c, &r->drained);
	code_bool(c, &r->reviving);
}

static void code_enums(struct coder *c, struct agent_record *r)
{
	uint32_t state = (uint32_t)r->state, cause = (uint32_t)r->cause, code = (uint32_t)r->code;
	code_u32(c, &state);
	code_u32(c, &cause);
	code_u32(c, &code);
	c->bad = c->bad || state < AGENT_IDLE || state >= AGENT_STATE_NR || cause > STEP_CAUSE_OPERATOR ||
		 code >= E_NR;
	r->state = (enum agent_state)state;
	r->cause = (enum step_cause)cause;
	r->code = (int)code;
}

static void code_record(struct coder *c, struct agent_record *r)
{
	code_text(c, r->app.s, sizeof(r->app.s));
	code_u64(c, &r->number);
	code_flags(c, r);
	code_enums(c, r);
	code_work(c, &r->work);
	code_target(c, &r->to);
	code_target(c, &r->runs);
	code_target(c, &r->good);
	code_u32(c, &r->starts);
	code_u64(c, &r->activation);
	code_boot(c, &r->boot);
	code_i64(c, &r->activated_ms);
	code_i64(c, &r->accepted_ms);
	if (c->version >= 2) {
		code_i64(c, &r->fault_since_ms);
		code_i64(c, &r->fault_ms);
	}
	code_text(c, r->reason, sizeof(r->reason));
	code_evidence(c, &r->evidence);
}

void journal_encode(const struct agent_record *r, struct buf *out)
{
	struct agent_record copy = *r;
	struct buf body;
	buf_init(&body);
	struct coder c = {.out = &body, .version = VERSION};
	code_record(&c, &copy);
	buf_put_u32(out, MAGIC);
	buf_put_u32(out, VERSION);
	buf_put_u32(out, (uint32_t)body.len);
	buf_put_u32(out, (uint32_t)crc32(0, body.data, (uInt)body.len));
	buf_put(out, body.data, body.len);
	buf_done(&body);
}

int journal_decode(struct agent_record *out, const uint8_t *bytes, size_t len, struct err *e)
{
	memset(out, 0, sizeof(*out));
	if (len < HEAD || get_u32(bytes) != MAGIC)
		return err_set(e, E_CORRUPT, "journal: this is no journal record");
	uint32_t version = get_u32(bytes + 4);
	if (version < OLDEST || version > VERSION)
		return err_set(e, E_VERSION, "journal: written by another version of the agent (format %u)",
			       version);
	if (get_u32(bytes + 8) != len - HEAD ||
	    get_u32(bytes + 12) != crc32(0, bytes + HEAD, (uInt)(len - HEAD)))
		return err_set(e, E_CORRUPT, "journal: the record is cut or its checksum is wrong");
	struct coder c = {.in = bytes + HEAD, .left = len - HEAD, .version = version};
	code_record(&c, out);
	if (c.bad || c.left != 0 || !name_ok(out->app.s))
		return err_set(e, E_CORRUPT, "journal: a field is out of its range");
	return E_OK;
}

/* ---- files
 * ---------------------------------------------------------------------------------------------------------
 */

int journal_write(const char *dir, const struct agent_record *r, struct err *e)
{
	char leaf[NAME_CAP + sizeof(suffix)];
	snprintf(leaf, sizeof(leaf), "%s%s", r->app.s, suffix);
	struct buf b;
	buf_init(&b);
	journal_encode(r, &b);
	int rc = durable_write(dir, leaf, b.data, b.len, e);
	buf_done(&b);
	return rc;
}

int journal_remove(const char *dir, const struct name *app, struct err *e)
{
	char leaf[NAME_CAP + sizeof(suffix)];
	snprintf(leaf, sizeof(leaf), "%s%s", app->s, suffix);
	return durable_remove(dir, leaf, e);
}

static void mark_unknown(struct agent_record *r, const struct name *app)
{
	memset(r, 0, sizeof(*r));
	r->app = *app;
	r->state = AGENT_IDLE;
	r->unknown = true;
}

static int load_one(const char *dir, const struct name *app, struct agent_record *r, struct err *e)
{
	char leaf[NAME_CAP + sizeof(suffix)];
	snprintf(leaf, sizeof(leaf), "%s%s", app->s, suffix);
	struct buf b;
	buf_init(&b);
	int rc = durable_read(dir, leaf, FILE_MAX, &b, e);
	if (rc == E_TOO_LARGE) /* no record is: damage */
		rc = E_OK;
	if (rc == E_OK && (journal_decode(r, b.data, b.len, NULL) != E_OK || !name_eq(&r->app, app)))
		mark_unknown(r, app);
	buf_done(&b);
	return rc;
}

static bool app_of_file(const char *file, struct name *out)
{
	size_t n = strlen(file), end = sizeof(suffix) - 1;
	char text[NAME_CAP];
	if (n <= end || n - end >= NAME_CAP || strcmp(file + n - end, suffix) != 0)
		return false;
	memcpy(text, file, n - end);
	text[n - end] = '\0';
	return name_set(out, text);
}

int journal_load(const char *dir, struct agent_record *v, size_t cap, size_t *nr, struct err *e)
{
	*nr = 0;
	DIR *d = opendir(dir);
	if (d == NULL)
		return err_sys(e, E_IO, errno, "journal: cannot open %s", dir);
	int rc = E_OK;
	for (struct dirent *f; rc == E_OK && (f = readdir(d)) != NULL;) {
		struct name app;
		if (!app_of_file(f->d_name, &app))
			continue;
		if (*nr == cap)
			rc = err_set(e, E_TOO_LARGE, "journal: %s holds more than %zu apps", dir, cap);
		else
			rc = load_one(dir, &app, &v[(*nr)++], e);
	}
	closedir(d);
	return rc;
}
