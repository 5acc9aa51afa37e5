#include "agent/host/inner.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "agent/host/limit.h"
#include "sys/fsio.h"
#include "sys/log.h"

enum { RESERVE_BYTES = 64 * 1024 * 1024, LABELS_NR_MAX = 256, REST_AFTER_MS = 2000 };

static const char *const kind_names[AGENT_EFFECT_NR] = {
	[AGENT_FETCH] = "fetch",    [AGENT_UNPACK] = "unpack", [AGENT_HOOK] = "hook",
	[AGENT_DRAIN] = "drain",    [AGENT_STOP] = "stop",     [AGENT_SWAP] = "swap",
	[AGENT_START] = "start",    [AGENT_PROBE] = "probe",   [AGENT_UNDRAIN] = "undrain",
	[AGENT_FREE_SLOTS] = "tidy"};

/* ---- what a work knows
 * ------------------------------------------------------------------------------------------------ */

const struct agent_record *host_record(const struct host *h, const struct name *app)
{
	const struct agent_app *a = agent_find(driver_agent(h->driver), app);
	return a == NULL ? NULL : &a->rec;
}

static size_t split_labels(const struct buf *b, struct runspec_pair *v, size_t cap)
{
	const char *at = (const char *)b->data, *end = at + b->len;
	size_t nr = 0;
	while (at < end && nr < cap && memchr(at, '\0', (size_t)(end - at)) != NULL) {
		const char *value = at + strlen(at) + 1;
		if (value >= end || memchr(value, '\0', (size_t)(end - value)) == NULL)
			break;
		v[nr++] = (struct runspec_pair){at, value};
		at = value + strlen(value) + 1;
	}
	return nr;
}

int host_spec(struct host *h, const struct name *app, const struct agent_target *t, struct arena *a,
	      struct runspec **out, struct err *e)
{
	struct runspec_facts facts = {
		.host = h->cfg.name.s, .region = h->cfg.region.s, .version = t->version.s};
	struct buf text, labels;
	buf_init(&text);
	buf_init(&labels);
	int rc = driver_text(h->driver, t, &text, e);
	if (rc == E_OK)
		rc = driver_labels(h->driver, app, &labels, e);
	if (rc == E_OK) {
		struct runspec_pair *v = arena_array(a, struct runspec_pair, LABELS_NR_MAX);
		facts.labels_nr = split_labels(&labels, v, LABELS_NR_MAX);
		facts.labels = v;
	}
	*out = arena_new(a, struct runspec);
	if (rc == E_OK)
		rc = runspec_parse(a, (const char *)text.data, text.len, &facts, *out, e);
	buf_done(&labels);
	buf_done(&text);
	return rc;
}

struct records_for host_for(const struct host *h, const struct name *app, const struct agent_target *t,
			    const struct runspec *spec)
{
	const struct agent_record *r = host_record(h, app);
	return (struct records_for){.root = h->cfg.root,
				    .app = *app,
				    .host = h->cfg.name,
				    .region = h->cfg.region,
				    .fence = r == NULL ? (struct fence){0} : r->work.fence,
				    .target = t,
				    .spec = spec};
}

void host_changed(struct host *h)
{
	if (!h->closing)
		h->cfg.changed(h->cfg.arg);
}

/* ---- works
 * ------------------------------------------------------------------------------------------------------------
 */

struct work *work_of_app(struct host *h, const struct name *app)
{
	struct work *w;
	DL_FOREACH(h->works, w)
	if (name_eq(&w->effect.app, app) && !w->ended)
		return w;
	return NULL;
}

static void on_closed(uv_handle_t *t)
{
	free(t);
}

static uv_timer_t *new_timer(struct work *w)
{
	uv_timer_t *t = calloc(1, sizeof(*t));
	PRE(t != NULL);
	uv_timer_init(w->host->loop, t);
	t->data = w;
	return t;
}

static void drop_timer(uv_timer_t **t)
{
	if (*t != NULL)
		uv_close((uv_handle_t *)*t, on_closed);
	*t = NULL;
}

uv_timer_t *work_timer(struct work *w)
{
	PRE(w->timer == NULL);
	return w->timer = new_timer(w);
}

static void work_stop(struct work *w)
{
	ask_drop(w->ask);
	http_call_drop(w->fetch);
	if (w->in_slots)
		slots_cancel(w->host->slots, w->effect.id);
	probe_close(w->start_probe);
	drop_timer(&w->timer);
	drop_timer(&w->limit);
	w->start_probe = NULL;
	w->ask = NULL;
	w->fetch = NULL;
	w->in_slots = false;
}

static void work_free(struct work *w)
{
	work_stop(w);
	DL_DELETE(w->host->works, w);
	arena_done(&w->arena);
	free(w);
}

void work_end(struct work *w, int code, enum step_cause cause, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(w->detail, sizeof(w->detail), fmt, ap);
	va_end(ap);
	PRE(!w->ended);
	work_stop(w);
	w->ended = true;
	w->code = code;
	w->cause = cause;
	work_later(w->host);
}

void work_ok(struct work *w)
{
	work_end(w, E_OK, STEP_CAUSE_NONE, "%s", "");
}

static void tell(struct work *w)
{
	struct agent_event ev = {.kind = AGENT_EFFECT_DONE};
	char detail[DETAIL_CAP];
	ev.done.app = w->effect.app;
	ev.done.id = w->effect.id;
	ev.done.code = w->code;
	ev.done.cause = w->cause;
	ev.done.detail = memcpy(detail, w->detail, sizeof(detail));
	ev.done.evidence = w->evidence;
	char *failed = program_get(w->host, &w->effect.app)->failed;
	failed[0] = '\0';
	if (w->code != E_OK) {
		log_warn(w->effect.app.s, "%s: %s", kind_names[w->effect.kind], detail);
		snprintf(failed, DETAIL_CAP, "%s: %.150s", kind_names[w->effect.kind], detail);
	}
	struct host *h = w->host;
	work_free(w);
	rest_worked(h->rest);
	driver_done(h->driver, ev);
	program_rests(program_get(h, &ev.done.app));
	if (ev.done.code != E_OK)
		host_changed(h);
}

/* What is late by the file it is done for: whoever should have ended it does not answer. */
static void on_limit(uv_timer_t *t)
{
	struct work *w = t->data;
	work_end(w, E_TIMEOUT, STEP_CAUSE_INFRA, "took longer than the %lld s it may",
		 (long long)(limit_of(w->spec, &w->effect) / 1000));
}

static void begin_limit(struct work *w)
{
	int64_t ms = limit_of(w->spec, &w->effect);
	if (ms == 0)
		return;
	w->limit = new_timer(w);
	uv_timer_start(w->limit, on_limit, (uint64_t)ms, 0);
}

/* Bytes are the same whatever the file says, and what runs can be stopped without it, and must be. */
static bool needs_spec(enum agent_effect_kind k)
{
	return k != AGENT_FETCH && k != AGENT_UNPACK && k != AGENT_SWAP && k != AGENT_STOP;
}

static void begin(struct work *w)
{
	static void (*const how[AGENT_EFFECT_NR])(struct work * w) = {
		[AGENT_FETCH] = bytes_fetch,	[AGENT_UNPACK] = bytes_unpack,
		[AGENT_HOOK] = acts_hook,	[AGENT_DRAIN] = acts_drain,
		[AGENT_STOP] = acts_stop,	[AGENT_SWAP] = acts_swap,
		[AGENT_START] = acts_start,	[AGENT_PROBE] = prove_begin,
		[AGENT_UNDRAIN] = acts_undrain, [AGENT_FREE_SLOTS] = bytes_free_slots};
	const struct agent_effect *ef = &w->effect;
	struct err e;
	w->begun = true;
	if (!digest_none(&ef->target.id) &&
	    host_spec(w->host, &ef->app, &ef->target, &w->arena, &w->spec, &e) != E_OK) {
		w->spec = NULL;
		if (needs_spec(ef->kind)) {
			work_end(w, e.code, e.code == E_SPEC ? STEP_CAUSE_VERSION : STEP_CAUSE_INFRA, "%s",
				 e.text);
			return;
		}
	}
	begin_limit(w);
	how[ef->kind](w);
}

/* One thing a turn: each may change the list. */
static void on_later(uv_timer_t *t)
{
	struct host *h = t->data;
	struct work *w;
	DL_FOREACH(h->works, w)
	{
		if (w->begun && !w->ended)
			continue;
		work_later(h);
		if (w->ended)
			tell(w);
		else
			begin(w);
		return;
	}
}

void work_later(struct host *h)
{
	uv_timer_start(h->later, on_later, 0, 0);
}

/* ---- the driver's ports
 * ------------------------------------------------------------------------------------------------ */

static void start_effect(void *arg, const struct agent_effect *effect)
{
	struct host *h = arg;
	struct work *w = calloc(1, sizeof(*w));
	PRE(w != NULL);
	w->host = h;
	w->effect = *effect;
	arena_init(&w->arena);
	DL_APPEND(h->works, w);
	work_later(h);
}

static void cancel_effect(void *arg, uint64_t effect)
{
	struct host *h = arg;
	struct work *w, *next;
	DL_FOREACH_SAFE(h->works, w, next)
	if (w->effect.id == effect)
		work_free(w);
}

static void on_reports(void *arg)
{
	struct host *h = arg;
	h->reports(h->cfg.arg);
}

struct driver_ports host_ports(struct host *h, void (*reports)(void *arg))
{
	h->reports = reports;
	return (struct driver_ports){
		.arg = h, .start = start_effect, .cancel = cancel_effect, .changed = on_reports};
}

/* ---- opening and closing
 * ----------------------------------------------------------------------------------------------- */

static void copy_config(struct host *h, const struct host_config *c)
{
	struct arena *a = &h->strings;
	h->cfg = *c;
	h->cfg.dir = arena_strdup(a, c->dir);
	h->cfg.root = arena_strdup(a, c->root);
	h->cfg.exec_socket = arena_strdup(a, c->exec_socket);
	h->cfg.unpack_program = arena_strdup(a, c->unpack_program);
	h->cfg.tls = (struct tls_files){arena_strdup(a, c->tls.ca), arena_strdup(a, c->tls.cert),
					arena_strdup(a, c->tls.key)};
	if (h->cfg.reserve_bytes == 0)
		h->cfg.reserve_bytes = RESERVE_BYTES;
}

static int open_slots(struct host *h, struct err *e)
{
	char ledger[1024];
	snprintf(h->archives, sizeof(h->archives), "%s/archives", h->cfg.dir);
	snprintf(ledger, sizeof(ledger), "%s/ledger", h->cfg.dir);
	const struct slots_config c = {.root = h->cfg.root,
				       .ledger = ledger,
				       .archives = h->archives,
				       .unpack_program = h->cfg.unpack_program,
				       .reserve_bytes = h->cfg.reserve_bytes};
	int rc = fsio_mkdir(h->archives, 0700, e);
	if (rc == E_OK)
		rc = fsio_mkdir(ledger, 0700, e);
	return rc == E_OK ? slots_open(&h->slots, h->loop, &c, e) : rc;
}

int host_open(struct host **out, uv_loop_t *loop, const struct host_config *c, struct err *e)
{
	struct host *h = calloc(1, sizeof(*h));
	PRE(h != NULL);
	h->loop = loop;
	arena_init(&h->strings);
	arena_init(&h->source_strings);
	copy_config(h, c);
	h->later = calloc(1, sizeof(*h->later));
	PRE(h->later != NULL);
	uv_timer_init(loop, h->later);
	h->later->data = h;
	h->asks = asks_open(loop, h->cfg.exec_socket);
	h->rest = rest_open(loop, REST_AFTER_MS);
	h->http = http_client_open(loop, &(struct http_client_config){.program = c->http_program});
	int rc = open_slots(h, e);
	if (rc != E_OK)
		host_close(h);
	else
		*out = h;
	return rc;
}

void host_close(struct host *h)
{
	struct work *w, *next_work;
	struct program *p, *next_program;
	if (h == NULL)
		return;
	h->closing = true;
	DL_FOREACH_SAFE(h->works, w, next_work)
	work_free(w);
	DL_FOREACH_SAFE(h->programs, p, next_program)
	program_free(p);
	slots_close(h->slots);
	http_client_close(h->http);
	rest_close(h->rest);
	asks_close(h->asks);
	uv_close((uv_handle_t *)h->later, on_closed);
	arena_done(&h->strings);
	arena_done(&h->source_strings);
	free(h);
}

/* Apps that are in no record of ours are not ours to speak of. */
static void on_exec_status(void *ctx, const char *app, const struct exec_status *status)
{
	struct host *h = ctx;
	struct name name;
	if (name_set(&name, app) && host_record(h, &name) != NULL)
		program_status(program_get(h, &name), status);
}

/* What exec has a folder of may run although our record of it is gone: nothing is begun before that is known.
 */
static void look_at_folders(struct host *h)
{
	char path[1024];
	struct name app;
	snprintf(path, sizeof(path), "%s/apps", h->cfg.root);
	DIR *d = opendir(path);
	if (d == NULL)
		return; /* exec made nothing so far */
	for (struct dirent *it; (it = readdir(d)) != NULL;)
		if (name_set(&app, it->d_name) && host_record(h, &app) == NULL)
			program_look(program_get(h, &app));
	closedir(d);
}

void host_begin(struct host *h, struct driver *d)
{
	h->driver = d;
	asks_watch(h->asks, on_exec_status, h);
	const struct agent *agent = driver_agent(d);
	for (size_t i = 0; i < AGENT_APPS_MAX; i++)
		if (agent->apps[i].in_use)
			program_look(program_get(h, &agent->apps[i].rec.app));
	look_at_folders(h);
}

void host_worked(struct host *h)
{
	rest_worked(h->rest);
}

void host_texts(struct host *h)
{
	struct program *p;
	DL_FOREACH(h->programs, p)
	program_measure(p);
}

void host_sources(struct host *h, char *const *urls, size_t nr)
{
	arena_reset(&h->source_strings);
	nr = nr < HTTP_URLS ? nr : HTTP_URLS;
	h->urls = arena_array(&h->source_strings, const char *, nr + 1);
	for (size_t i = 0; i < nr; i++)
		h->urls[i] = arena_strdup(&h->source_strings, urls[i]);
}

/* ---- looking
 * -----------------------------------------------------------------------------------------------------------
 */

/* Nothing is under way and the app is not where it should be: what failed is tried again in a while. */
static void add_wait(struct host *h, struct arena *a, struct host_app *out)
{
	const char *failed = program_get(h, &out->app)->failed;
	const struct agent_record *r = host_record(h, &out->app);
	if (failed[0] != '\0' && !agent_at_rest(r))
		out->note = arena_printf(a, "%s; it is tried again", failed);
}

static void add_work(struct host *h, struct arena *a, struct host_app *out)
{
	const struct work *w = work_of_app(h, &out->app);
	if (w == NULL) {
		add_wait(h, a, out);
		return;
	}
	if (w->fetch != NULL) {
		out->fetched_bytes = http_call_have(w->fetch);
		out->fetch_total_bytes = w->effect.target.size_bytes;
	}
	if (w->ask != NULL && !asks_answered(h->asks))
		out->note = arena_printf(a, "%s: waits for wavetrain-exec", kind_names[w->effect.kind]);
}

struct host_app *host_look(struct host *h, struct arena *a, size_t *nr)
{
	const struct agent *agent = driver_agent(h->driver);
	struct host_app *v = arena_array(a, struct host_app, AGENT_APPS_MAX);
	*nr = 0;
	for (size_t i = 0; i < AGENT_APPS_MAX; i++) {
		if (!agent->apps[i].in_use)
			continue;
		struct host_app *out = &v[(*nr)++];
		out->app = agent->apps[i].rec.app;
		out->note = "";
		program_describe(program_get(h, &out->app), a, out);
		add_work(h, a, out);
		if (out->note[0] == '\0' && !asks_answered(h->asks))
			out->note = "wavetrain-exec does not answer";
	}
	return v;
}

bool host_looked(const struct host *h)
{
	const struct program *p;
	DL_FOREACH(h->programs, p)
	if (!p->known)
		return false;
	return true;
}

uint64_t host_free_bytes(const struct host *h)
{
	uint64_t bytes = 0;
	struct err e;
	if (fsio_free_bytes(h->cfg.root, &bytes, &e) != E_OK)
		log_warn("disk", "%s", e.text);
	return bytes;
}
