/*
 * backend.c: what admin needs of the rest of the coordinator, as its table of operations.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "coordinator/adapters/mirror.h"
#include "coordinator/adapters/store_lmdb.h"
#include "coordinator/admin/admin_live.h"
#include "coordinator/artifact/inspect.h"
#include "coordinator/artifact/store.h"
#include "coordinator/daemon.h"
#include "coordinator/drive/make.h"
#include "sys/ca.h"
#include "sys/fsio.h"

static struct state *state_op(void *b)
{
	struct daemon *d = b;
	return d->state;
}

static struct wall_ms now_op(void *b)
{
	return daemon_now(b);
}

/* ---- proposing
 * -----------------------------------------------------------------------------------------------------------
 */

struct asked {
	admin_done_fn *done;
	void *arg;
};

static void proposed_cb(void *arg, int code, const struct command_reply *reply)
{
	struct asked *q = arg;
	q->done(q->arg, reply);
	free(q);
}

static void propose_op(void *b, const struct command *c, admin_done_fn *done, void *arg)
{
	struct asked *q = malloc(sizeof *q);
	PRE(q != NULL);
	*q = (struct asked){done, arg};
	propose(b, c, proposed_cb, q);
}

/* ---- planning
 * -------------------------------------------------------------------------------------------------------------
 */

static struct deployment_id fresh_id(void)
{
	struct deployment_id id = {0};
	while (id.v == 0)
		PRE(getrandom(&id.v, sizeof id.v, 0) == sizeof id.v);
	return id;
}

static int plan_op(void *b, struct arena *a, const struct admin_plan_request *rq, struct command_deploy *out,
		   struct admin_plan_text *why)
{
	struct daemon *d = b;
	struct make_text text;
	const struct make_request m = {.app = rq->app,
				       .version = rq->version,
				       .env = rq->env,
				       .spec = rq->spec,
				       .spec_len = rq->spec_len,
				       .force_bad = rq->force_bad,
				       .skip_stop_hooks = rq->skip_stop_hooks,
				       .id = rq->id.v != 0 ? rq->id : fresh_id(),
				       .initiator = rq->initiator,
				       .trace = rq->trace};
	int rc = make_deploy(d->state, a, &m, out, &text);
	*why = (struct admin_plan_text){.changes = text.changes,
					.changes_nr = text.changes_nr,
					.notes = text.notes,
					.notes_nr = text.notes_nr,
					.severe = text.severe,
					.no_change = text.no_change,
					.error = text.error,
					.hint = text.hint};
	return rc;
}

/* ---- reading drive
 * -------------------------------------------------------------------------------------------------------- */

static void soft_op(void *b, struct arena *a, const struct name *host, const struct name *app,
		    struct admin_soft *out)
{
	struct daemon *d = b;
	admin_live_soft(d->drive, daemon_now(d), a, host, app, out);
}

static void explain_op(void *b, struct arena *a, struct deployment_id id, admin_line_fn *each, void *arg)
{
	struct daemon *d = b;
	admin_live_explain(d->drive, daemon_now(d), a, id, each, arg);
}

/* ---- uploads
 * ----------------------------------------------------------------------------------------------------------------
 */

struct upload {
	struct daemon *d;
	struct artifact_upload *u;
	struct admin_release_meta meta;
	bool was_there; /* complete, before this upload began */
	/* finishing */
	uv_work_t work;
	struct release release;
	int code;
	struct err err;
	admin_uploaded_fn *done;
	void *arg;
};

static int upload_begin_op(void *b, const struct admin_release_meta *m, void **upload, uint64_t *offset,
			   struct err *e)
{
	struct daemon *d = b;
	struct upload *up = calloc(1, sizeof *up);
	PRE(up != NULL);
	up->d = d;
	up->meta = *m;
	up->was_there = artifact_store_has(d->artifacts, &m->digest);
	int rc = artifact_upload_begin(d->artifacts, &m->digest, m->size_bytes, &up->u, offset, e);
	if (rc != E_OK) {
		free(up);
		return rc;
	}
	*upload = up;
	return E_OK;
}

static int upload_data_op(void *b, void *upload, const uint8_t *p, size_t n, struct err *e)
{
	struct upload *up = upload;
	return artifact_upload_data(up->u, p, n, e);
}

static void upload_cancel_op(void *b, void *upload)
{
	struct upload *up = upload;
	artifact_upload_end(up->u);
	free(up);
}

static int inspect(struct daemon *d, const struct digest *digest, struct release *r, struct err *e)
{
	const struct inspect_limits limits = {0};
	struct inspect_result found;
	int fd = artifact_store_fd(d->artifacts, digest, e);
	if (fd < 0)
		return e->code;
	int rc = inspect_archive(fd, &limits, &found, e);
	close(fd);
	if (rc != E_OK)
		return rc;
	r->unpacked_bytes = found.unpacked_bytes;
	r->entries = found.entries;
	r->type = strcmp(found.type, "tar.gz") == 0 ? "tar.gz" : "tar.zst";
	return E_OK;
}

/* Worker thread. An archive that hosts would refuse is not kept, unless it was there before: then a release
 * may have it. */
static void finish_work(uv_work_t *w)
{
	struct upload *up = w->data;
	struct err ignored;
	up->code = artifact_upload_finish(up->u, &up->err);
	if (up->code != E_OK)
		return;
	up->code = inspect(up->d, &up->meta.digest, &up->release, &up->err);
	if (up->code != E_OK && !up->was_there &&
	    artifact_store_delete(up->d->artifacts, &up->meta.digest, &ignored) != E_OK)
		err_wrap(&up->err, "it could not be deleted either");
}

static void finish_done(uv_work_t *w, int status)
{
	struct upload *up = w->data;
	artifact_upload_end(up->u); /* not before its archive was kept or deleted */
	up->done(up->arg, up->code, &up->release, &up->err);
	free(up);
}

static void upload_finish_op(void *b, void *upload, const struct release *release, admin_uploaded_fn *done,
			     void *arg)
{
	struct daemon *d = b;
	struct upload *up = upload;
	up->release = *release;
	up->release.artifact = up->meta.digest;
	up->release.size_bytes = up->meta.size_bytes;
	up->done = done;
	up->arg = arg;
	up->work.data = up;
	PRE(uv_queue_work(&d->loop, &up->work, finish_work, finish_done) == 0);
}

static bool is_here_op(void *b, const struct digest *digest)
{
	const struct daemon *d = b;
	return artifact_store_has(d->artifacts, digest);
}

static void copies_op(void *b, const struct digest *d, unsigned *known, unsigned *of)
{
	const struct daemon *daemon = b;
	struct mirror_copies c =
		daemon->mirror == NULL ? (struct mirror_copies){0} : mirror_copies(daemon->mirror, d);
	*known = c.known;
	*of = c.of;
}

/* ---- doctor
 * -----------------------------------------------------------------------------------------------------------------
 */

static void check_disk(struct daemon *d, struct arena *a, admin_check_fn *each, void *arg)
{
	enum { WARN_MIB = 1024, FAIL_MIB = 512 };
	uint64_t bytes = 0;
	struct err e = {0};
	bool known = fsio_free_bytes(d->cfg.data, &bytes, &e) == E_OK;
	unsigned long long mib = bytes >> 20;
	struct admin_check c = {.name = "disk",
				.fix = "free space on the disk of the data directory, or move it"};
	c.result = !known || mib < FAIL_MIB ? "fail" : mib < WARN_MIB ? "warn" : "ok";
	c.text = known ? arena_printf(a, "%llu MiB free in %s; below %d MiB nothing new is accepted", mib,
				      d->cfg.data, FAIL_MIB)
		       : arena_strdup(a, e.text);
	each(arg, &c);
}

static void check_state(struct daemon *d, struct arena *a, admin_check_fn *each, void *arg)
{
	uint64_t used, max;
	store_lmdb_usage(d->store, &used, &max);
	struct admin_check c = admin_live_state_check(
		a, used, max, consensus_applied(d->consensus) - consensus_snapshot(d->consensus));
	each(arg, &c);
}

static void check_loop(struct daemon *d, struct arena *a, admin_check_fn *each, void *arg)
{
	const struct looptime *t = &d->looptime;
	struct admin_check c = {
		.name = "loop",
		.result = t->turns_over > 0 ? "warn" : "ok",
		.fix = "the coordinator's log says what ran: journalctl -u wavetraind | grep 'a turn took'"};
	c.text = arena_printf(a, "the longest turn took %llu ms; %llu over %llu ms since the start",
			      (unsigned long long)t->longest_ms, (unsigned long long)t->turns_over,
			      (unsigned long long)t->limit_ms);
	each(arg, &c);
}

static void check_events(struct daemon *d, struct arena *a, admin_check_fn *each, void *arg)
{
	struct event_store_stats s;
	event_store_stats(d->event_store, &s);
	unsigned long long events = s.events_dropped, logs = s.logs_dropped, damaged = s.damaged_bytes;
	struct admin_check c = {
		.name = "events",
		.result = events + logs + damaged > 0 ? "warn" : "ok",
		.fix = "free space on the disk of the data directory; deployments go on meanwhile"};
	c.text = arena_printf(a, "%llu MiB of events, %llu MiB of log lines kept",
			      (unsigned long long)s.events_bytes >> 20,
			      (unsigned long long)s.logs_bytes >> 20);
	if (events + logs > 0)
		c.text = arena_printf(a, "%llu events and %llu log lines were not kept since the start: %s",
				      events, logs, s.trouble);
	else if (damaged > 0) {
		c.text = arena_printf(a, "%llu damaged bytes of events were skipped at the start", damaged);
		c.fix = "after a power cut that is expected; otherwise look at the disk";
	}
	each(arg, &c);
}

static void check_certificate(struct daemon *d, struct arena *a, const char *name, const char *file,
			      admin_check_fn *each, void *arg)
{
	enum { WARN_DAYS = 30 };
	const int64_t day_ms = 86400000;
	char path[CONFIG_PATH_CAP];
	struct wall_ms ends;
	struct err e = {0};
	bool known = ca_file_ends(config_path(&d->cfg, file, path), &ends, &e) == E_OK;
	int64_t left = known ? ends.v - daemon_now(d).v : 0;
	struct admin_check c = {.name = name,
				.result = left <= 0		      ? "fail"
					  : left < WARN_DAYS * day_ms ? "warn"
								      : "ok",
				.fix = "make a new one before it ends: no agent connects afterwards"};
	c.text = !known	     ? arena_strdup(a, e.text)
		 : left <= 0 ? arena_printf(a, "%s has expired", path)
			     : arena_printf(a, "%s is valid for %lld more days", path,
					    (long long)(left / day_ms));
	each(arg, &c);
}

/* What bears no loss, or has no link to us: before it matters. */
static void check_members(struct daemon *d, struct arena *a, admin_check_fn *each, void *arg)
{
	enum { SILENT_MS = 10000 };
	struct consensus_member_info v[CONSENSUS_MEMBERS_MAX];
	size_t nr = consensus_members(d->consensus, v);
	unsigned voters = 0;
	const char *silent = "";
	for (size_t i = 0; i < nr; i++) {
		voters += v[i].role == CONSENSUS_VOTER;
		if (consensus_is_leader(d->consensus) && !v[i].self && v[i].silent_ms > SILENT_MS)
			silent = arena_printf(a, "%s; coordinator %llu is silent", silent,
					      (unsigned long long)v[i].id);
	}
	bool even = voters % 2 == 0 && voters > 0;
	const struct admin_check c = {
		.name = "coordinators",
		.result = even || silent[0] ? "warn" : "ok",
		.text = arena_printf(a, "%u of %zu vote%s%s", voters, nr,
				     even ? ", an even number bears no more than one fewer" : "", silent),
		.fix = "wavetrain cluster status"};
	each(arg, &c);
}

static void doctor_op(void *b, struct arena *a, admin_check_fn *each, void *arg)
{
	struct daemon *d = b;
	bool leads = consensus_is_leader(d->consensus);
	const char *who = cluster_follows(d, a);
	bool led = leads || consensus_leader(d->consensus, NULL, 0) != 0;
	struct admin_check lead = {.name = "quorum",
				   .result = led ? "ok" : "fail",
				   .text = arena_printf(a, "%s, term %llu, log at %llu",
							leads ? "this coordinator leads" : who,
							(unsigned long long)consensus_term(d->consensus),
							(unsigned long long)consensus_applied(d->consensus)),
				   .fix = "wavetrain cluster status; look at the coordinators' logs"};
	each(arg, &lead);
	check_members(d, a, each, arg);
	check_disk(d, a, each, arg);
	check_state(d, a, each, arg);
	check_loop(d, a, each, arg);
	check_events(d, a, each, arg);
	check_certificate(d, a, "certificate", "cert.pem", each, arg);
	check_certificate(d, a, "ca", "ca.pem", each, arg);
}

const struct admin_backend_ops backend_ops = {.state = state_op,
					      .propose = propose_op,
					      .now = now_op,
					      .plan = plan_op,
					      .soft = soft_op,
					      .explain = explain_op,
					      .issue_bundle = bundle_issue,
					      .upload_begin = upload_begin_op,
					      .upload_data = upload_data_op,
					      .upload_finish = upload_finish_op,
					      .upload_cancel = upload_cancel_op,
					      .is_here = is_here_op,
					      .copies = copies_op,
					      .follows = cluster_follows,
					      .cluster = cluster_status,
					      .token = cluster_token,
					      .transfer = cluster_transfer,
					      .doctor = doctor_op};
