#include "coordinator/drive/make.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "coordinator/drive/changes.h"
#include "coordinator/plan/plan.h"
#include "coordinator/state/shared.h"

enum { WAVES_MAX = 64 };

struct make {
	struct state *st;
	struct arena *a;
	const struct make_request *rq;
	struct make_text *text;
	struct spec spec;
	struct environment env;
	struct release release;
	struct host *hosts; /* that the file and the environment select, by name */
	size_t hosts_nr, hosts_cap;
	const struct spec_region **regions; /* in wave order */
	struct host_view *views;	    /* parallel to the tasks */
	struct command_deploy *out;
};

static int fail(struct make *m, int code, const char *hint, const char *error)
{
	m->text->error = error;
	m->text->hint = hint;
	return code;
}

struct digest make_target_id(const struct digest *artifact, const struct digest *spec)
{
	static const char head[] = "wavetrain target 1\n";
	struct digest id;
	struct buf b;
	buf_init(&b);
	buf_puts(&b, head);
	buf_put(&b, artifact->b, DIGEST_LEN);
	buf_put(&b, spec->b, DIGEST_LEN);
	SHA256(b.data, b.len, id.b);
	buf_done(&b);
	return id;
}

/* ---- the file
 * -----------------------------------------------------------------------------------------------------------
 */

static int load_file(struct make *m)
{
	struct spec_diags *diags = arena_new(m->a, struct spec_diags);
	const struct spec_source src = {.file = "deploy.yaml", .text = m->rq->spec, .len = m->rq->spec_len};
	struct buf b;
	int rc = spec_load(m->a, &src, &m->spec, diags);
	buf_init(&b);
	if (rc != E_OK)
		spec_diag_print(&b, diags);
	const char *said = arena_strdup(m->a, buf_cstr(&b));
	buf_done(&b);
	if (rc != E_OK)
		return fail(m, E_SPEC, "wavetrain lint", said);
	if (strcmp(m->spec.app, m->rq->app.s) != 0)
		return fail(
			m, E_INVALID, "name the app of the file, or the file of the app",
			arena_printf(m->a, "the file is for app '%s', not '%s'", m->spec.app, m->rq->app.s));
	return E_OK;
}

/* What hosts get: every default and alias is written out, so it may be much longer than what was typed. */
static int render_file(struct make *m)
{
	struct buf b;
	buf_init(&b);
	spec_render_canonical(&m->spec, &b);
	m->out->spec = arena_memdup(m->a, b.data, b.len);
	m->out->spec_len = b.len;
	buf_done(&b);
	if (m->out->spec_len <= MAKE_FILE_MAX)
		return E_OK;
	return fail(m, E_TOO_LARGE, "put long texts into the release: its programs read them there as files",
		    arena_printf(m->a,
				 "the deployment file has %zu bytes once defaults and aliases are written "
				 "out; hosts take at most %d",
				 m->out->spec_len, MAKE_FILE_MAX));
}

static int load_names(struct make *m)
{
	struct arena *a = m->a;
	if (view_env(m->st, a, &m->rq->env, &m->env) != E_OK)
		return fail(m, E_NOT_FOUND, "wavetrain env list",
			    arena_printf(a, "no environment is named '%s'", m->rq->env.s));
	if (view_release(m->st, a, &m->rq->app, &m->rq->version, &m->release) != E_OK)
		return fail(m, E_NOT_FOUND, arena_printf(a, "wavetrain release list %s", m->rq->app.s),
			    arena_printf(a, "%s has no release %s", m->rq->app.s, m->rq->version.s));
	return E_OK;
}

static int check_type(struct make *m)
{
	static const char *const types[] = {[SPEC_TAR_ZST] = "tar.zst", [SPEC_TAR_GZ] = "tar.gz"};
	enum spec_artifact_type wanted = m->spec.artifact.type;
	if (wanted == 0 || strcmp(types[wanted], m->release.type) == 0)
		return E_OK;
	return fail(m, E_INVALID, "push it in that form, or leave artifact.type out",
		    arena_printf(m->a, "%s %s is a %s, and artifact.type of the file says %s", m->rq->app.s,
				 m->rq->version.s, m->release.type, types[wanted]));
}

/* ---- hosts
 * ----------------------------------------------------------------------------------------------------------------
 */

static bool has_label(const struct host *h, const char *key, const char *value)
{
	for (size_t i = 0; i < h->labels.nr; i++)
		if (strcmp(h->labels.v[i].key, key) == 0)
			return strcmp(h->labels.v[i].value, value) == 0;
	return false;
}

static bool selected(const struct make *m, const struct host *h)
{
	if (!labels_select(&m->env.selector, &h->labels))
		return false;
	for (size_t i = 0; i < m->spec.targets.labels.nr; i++)
		if (!has_label(h, m->spec.targets.labels.v[i].key, m->spec.targets.labels.v[i].value))
			return false;
	return true;
}

static bool collect_host(void *arg, const struct host *h)
{
	struct make *m = arg;
	if (!selected(m, h))
		return true;
	if (m->hosts_nr == m->hosts_cap) {
		size_t cap = m->hosts_cap == 0 ? 64 : 2 * m->hosts_cap;
		struct host *v = arena_array(m->a, struct host, cap);
		if (m->hosts_nr > 0)
			memcpy(v, m->hosts, m->hosts_nr * sizeof *v);
		m->hosts = v;
		m->hosts_cap = cap;
	}
	m->hosts[m->hosts_nr++] = *h;
	return true;
}

/* Both selectors together, sorted: what late hosts are matched against. */
static int by_key(const void *pa, const void *pb)
{
	const struct label *a = pa, *b = pb;
	return strcmp(a->key, b->key);
}

static struct labels selector_of(struct make *m)
{
	const struct labels *env = &m->env.selector;
	struct labels all = {.v = arena_array(m->a, struct label, env->nr + m->spec.targets.labels.nr)};
	for (size_t i = 0; i < env->nr; i++)
		all.v[all.nr++] = env->v[i];
	for (size_t i = 0; i < m->spec.targets.labels.nr; i++) {
		const struct spec_pair *p = &m->spec.targets.labels.v[i];
		bool twice = false;
		for (size_t k = 0; k < env->nr; k++)
			twice |= strcmp(env->v[k].key, p->key) == 0;
		if (!twice)
			all.v[all.nr++] = (struct label){p->key, p->value};
	}
	if (all.nr > 0)
		qsort(all.v, all.nr, sizeof *all.v, by_key);
	return all;
}

/* ---- waves
 * ----------------------------------------------------------------------------------------------------------------
 */

static bool placed(const struct make *m, size_t nr, const char *name)
{
	for (size_t i = 0; i < nr; i++)
		if (strcmp(m->regions[i]->name, name) == 0)
			return true;
	return false;
}

/* Waves only look back: those whose `after` stands already come next, in the order of the file. */
static int order_regions(struct make *m)
{
	size_t nr = 0, total = m->spec.regions_nr;
	if (total > WAVES_MAX)
		return fail(m, E_TOO_LARGE, NULL, "a rollout has at most 64 regions");
	m->regions = arena_array(m->a, const struct spec_region *, total);
	for (size_t before = SIZE_MAX; nr < total && before != nr;) {
		before = nr;
		for (size_t i = 0; i < total; i++) {
			const char *after = spec_after(&m->spec, i);
			if (!placed(m, nr, m->spec.regions[i].name) &&
			    (after == NULL || placed(m, nr, after)))
				m->regions[nr++] = &m->spec.regions[i];
		}
	}
	if (nr < total)
		return fail(
			m, E_SPEC, NULL,
			"the regions wait for each other in a circle (`after`, or the order of the file)");
	return E_OK;
}

static size_t wave_of(const struct make *m, const char *region)
{
	size_t i = 0;
	while (i < m->spec.regions_nr && strcmp(m->regions[i]->name, region) != 0)
		i++;
	return i;
}

/* `bake` of a region is how long the one before it must have been well: it becomes the bake of that wave. */
static void make_waves(struct make *m)
{
	struct wave *w = arena_array(m->a, struct wave, m->spec.regions_nr);
	for (size_t i = 0; i < m->spec.regions_nr; i++) {
		size_t file_index = (size_t)(m->regions[i] - m->spec.regions);
		const char *after = spec_after(&m->spec, file_index);
		w[i].index = (uint32_t)i;
		w[i].state = WAVE_PENDING;
		PRE(name_set(&w[i].region, m->regions[i]->name));
		if (after == NULL)
			continue;
		size_t k = wave_of(m, after);
		w[i].after = 1ull << k;
		if (m->regions[i]->bake_ms > w[k].bake_ms)
			w[k].bake_ms = m->regions[i]->bake_ms;
	}
	m->out->waves = w;
	m->out->waves_nr = m->spec.regions_nr;
}

/* Which hosts the labels choose and no region of the file takes: that may be meant, or a region forgotten. */
static void note_left_out(struct make *m)
{
	enum { NAMED_MAX = 5 };
	size_t left = 0;
	const char *names = "";
	for (size_t i = 0; i < m->hosts_nr; i++) {
		const struct host *h = &m->hosts[i];
		if (wave_of(m, h->region.s) < m->spec.regions_nr)
			continue;
		if (left++ < NAMED_MAX)
			names = arena_printf(m->a, "%s%s%s (%s)", names, left == 1 ? "" : ", ", h->name.s,
					     h->region.s);
	}
	if (left == 0)
		return;
	m->text->notes = arena_array(m->a, const char *, 1);
	const char *more = left > NAMED_MAX ? arena_printf(m->a, " and %zu more", left - NAMED_MAX) : "";
	m->text->notes[m->text->notes_nr++] =
		arena_printf(m->a, "left out, as the file does not name their region: %s%s", names, more);
}

static int make_tasks(struct make *m)
{
	struct task *t = arena_array(m->a, struct task, m->hosts_nr);
	size_t nr = 0;
	m->views = arena_array(m->a, struct host_view, m->hosts_nr);
	for (size_t w = 0; w < m->spec.regions_nr; w++) {
		size_t first = nr;
		for (size_t i = 0; i < m->hosts_nr; i++) {
			if (strcmp(m->hosts[i].region.s, m->regions[w]->name) != 0)
				continue;
			m->views[nr].region = m->hosts[i].region;
			m->views[nr].zone = m->hosts[i].zone;
			t[nr] = (struct task){.host = m->hosts[i].name,
					      .wave = (uint32_t)w,
					      .position = (uint32_t)nr,
					      .state = TASK_QUEUED};
			nr++;
		}
		if (nr == first)
			return fail(m, E_INFEASIBLE, "wavetrain agents list",
				    arena_printf(m->a,
						 "region '%s' has no host with the labels of the file and of "
						 "environment %s",
						 m->regions[w]->name, m->rq->env.s));
	}
	m->out->tasks = t;
	m->out->tasks_nr = nr;
	return E_OK;
}

/* ---- numbers
 * ---------------------------------------------------------------------------------------------------------------
 */

static struct amount amount_of(struct spec_amount x)
{
	return (struct amount){.is_share = x.is_share, .v = x.v};
}

static struct limits limits_of(const struct spec *s, bool skip_stop_hooks)
{
	const struct spec_deadlines *d = &s->strategy.deadlines;
	return (struct limits){.recreate = s->strategy.recreate.set,
			       .batch = amount_of(s->strategy.rolling.batch),
			       .unavailable = amount_of(s->strategy.max_unavailable),
			       .floor = s->strategy.floor,
			       .budget = amount_of(s->strategy.failure_budget),
			       .back_batch = s->rollback.batch,
			       .back_floor = s->rollback.floor,
			       .auto_rollback = s->rollback.is_auto,
			       .min_healthy_ms = s->strategy.min_healthy_ms,
			       .progress_ms = d->progress_ms,
			       .total_ms = d->total_ms,
			       .task_ms = d->host_ms,
			       .infra_cap_ms = d->infrastructure_ms,
			       .pause_ms = d->pause_ms,
			       .skip_stop_hooks = skip_stop_hooks};
}

static int make_target(struct make *m)
{
	struct deployment *d = &m->out->deployment;
	struct bad_mark mark;
	char id[DEPLOYMENT_ID_CAP];
	SHA256((const uint8_t *)m->out->spec, m->out->spec_len, d->target.spec.b);
	d->target.artifact = m->release.artifact;
	d->target.version = m->release.version;
	d->target.id = make_target_id(&d->target.artifact, &d->target.spec);
	if (m->rq->force_bad || view_bad(m->st, m->a, &m->rq->app, &d->target.id, &mark) != E_OK)
		return E_OK;
	return fail(
		m, E_BAD_DIGEST,
		arena_printf(m->a,
			     "wavetrain release release-bad %s %s --reason ..., or --force-bad --reason ...",
			     m->rq->app.s, m->rq->version.s),
		arena_printf(m->a, "%s %s with this file is marked bad since %s: %s", m->rq->app.s,
			     m->rq->version.s, deployment_id_text(mark.deployment, id), mark.reason));
}

/* ---- what people are told
 * ------------------------------------------------------------------------------------------------- */

static void look_at_hosts(struct make *m)
{
	const struct digest *id = &m->out->deployment.target.id;
	struct placement p;
	m->text->no_change = true;
	for (size_t i = 0; i < m->out->tasks_nr; i++) {
		bool known = view_placement(m->st, m->a, &m->out->tasks[i].host, &m->rq->app, &p) == E_OK;
		if (!known || !digest_eq(&p.current.id, id))
			m->text->no_change = false;
		if (!known || digest_none(&p.current.id) || !name_empty(&m->out->deployment.from_version))
			continue;
		const char *old;
		size_t n;
		m->out->deployment.from_version = p.current.version;
		if (view_spec(m->st, m->a, &p.current.spec, &old, &n) == E_OK)
			changes_between(m->a, old, n, m->out->spec, m->out->spec_len, &m->text->changes,
					&m->text->changes_nr);
	}
}

/* A small edit with a huge effect asks for the name to be typed. */
static void look_for_danger(struct make *m)
{
	const struct limits *l = &m->out->deployment.limits;
	if (l->recreate)
		m->text->severe = "recreate stops all hosts of a wave at once";
	else if (l->floor == 0)
		m->text->severe = "the floor is 0%: every host may be out at the same time";
	else if (m->rq->force_bad)
		m->text->severe = "the version is forced although it may be marked bad";
	else if (l->skip_stop_hooks)
		m->text->severe = "the hooks around the stop of what runs now are not run";
}

/* Equal plans have equal digests: target, environment, numbers, waves and hosts; not the id, not the time. */
static struct digest plan_digest(const struct command_deploy *d)
{
	struct command c = {.kind = COMMAND_DEPLOY, .actor = "", .reason = "", .deploy = *d};
	struct digest out;
	struct buf b;
	c.deploy.deployment.id.v = 0;
	c.deploy.deployment.trace = (struct trace_id){0};
	c.deploy.deployment.initiator = "";
	c.deploy.state_index = 0;
	c.deploy.plan = (struct digest){0};
	buf_init(&b);
	command_encode(&b, &c);
	SHA256(b.data, b.len, out.b);
	buf_done(&b);
	return out;
}

static int feasible(struct make *m)
{
	const char *why;
	int rc = plan_feasible(&m->out->deployment.limits, m->out->tasks, m->views, m->out->tasks_nr, m->a,
			       &why);
	return rc == E_OK ? E_OK : fail(m, rc, "wavetrain explain E_INFEASIBLE", why);
}

/* Both would give the hosts orders, and the one would blame the other's version. */
static int of_one_environment(struct make *m)
{
	struct name *hosts = arena_array(m->a, struct name, m->out->tasks_nr);
	struct shared other;
	for (size_t i = 0; i < m->out->tasks_nr; i++)
		hosts[i] = m->out->tasks[i].host;
	if (!shared_find(m->st, m->a, &m->rq->app, &m->rq->env, hosts, m->out->tasks_nr, &other))
		return E_OK;
	return fail(
		m, E_CONFLICT,
		arena_printf(m->a, "wavetrain env list; wavetrain env add %s --label KEY=VALUE", other.env.s),
		shared_text(&other, m->a));
}

/* All but the target. */
static void describe(struct make *m)
{
	const struct make_request *rq = m->rq;
	m->out->deployment = (struct deployment){.id = rq->id,
						 .app = rq->app,
						 .env = rq->env,
						 .selector = selector_of(m),
						 .limits = limits_of(&m->spec, m->rq->skip_stop_hooks),
						 .state = ROLLOUT_RUNNING,
						 .reason = "",
						 .initiator = rq->initiator,
						 .trace = rq->trace};
}

static int place_hosts(struct make *m)
{
	view_each_host(m->st, m->a, collect_host, m);
	make_waves(m);
	describe(m);
	return make_tasks(m);
}

int make_deploy(struct state *st, struct arena *a, const struct make_request *rq, struct command_deploy *out,
		struct make_text *text)
{
	/* Each stands on those before it. */
	static int (*const steps[])(struct make *) = {load_file,  render_file,	      load_names,
						      check_type, order_regions,      place_hosts,
						      feasible,	  of_one_environment, make_target};
	struct make m = {.st = st, .a = a, .rq = rq, .text = text, .out = out};
	*text = (struct make_text){0};
	*out = (struct command_deploy){.force_bad = rq->force_bad};
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		int rc = steps[i](&m);
		if (rc != E_OK)
			return rc;
	}
	look_at_hosts(&m);
	look_for_danger(&m);
	note_left_out(&m);
	out->plan = plan_digest(out);
	return E_OK;
}
