/*
 * scenario.c: stories. tests/scenarios/README.md describes the language; each statement is one line, and one
 * function here.
 */
#include "tests/sim/fleet/scenario.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/sim/fleet/sim.h"

enum { WORDS_MAX = 32, LINE_CAP = 512, STORY_MAX = 8000 };

struct story {
	struct sim s;
	const char *path;
	int line;
	int64_t began;	/* of the first deployment after `running` */
	uint64_t first; /* its id; 0 before it */
	char *said[STORY_MAX];
	size_t said_nr, heard; /* lines told; up to where `story` has matched */
	size_t from;	       /* the story proper begins with the first `deploy` */
	size_t awaited;	       /* lines that `when` has gone through */
	int zones;	       /* of each region; 0 = hosts have none */
	bool wrong;
};

static void complain(struct story *t, const char *what, const char *detail)
{
	fprintf(stderr, "%s:%d: %s%s%s\n", t->path, t->line, what, detail == NULL ? "" : ": ",
		detail == NULL ? "" : detail);
	t->wrong = true;
}

static void listen_cb(void *arg, const char *line)
{
	struct story *t = arg;
	if (t->said_nr < STORY_MAX)
		t->said[t->said_nr++] = strdup(line);
}

/* ---- words
 * ------------------------------------------------------------------------------------------------------------------
 */

struct words {
	char text[LINE_CAP];
	char *v[WORDS_MAX];
	size_t nr;
};

static void split(struct words *w, const char *line)
{
	snprintf(w->text, sizeof w->text, "%s", line);
	w->nr = 0;
	for (char *s = strtok(w->text, " \t\n"); s != NULL && w->nr < WORDS_MAX && s[0] != '#';
	     s = strtok(NULL, " \t\n"))
		w->v[w->nr++] = s;
}

static const char *word(const struct words *w, size_t i)
{
	return i < w->nr ? w->v[i] : "";
}

static bool is(const struct words *w, size_t i, const char *s)
{
	return strcmp(word(w, i), s) == 0;
}

static int64_t duration(const char *s)
{
	char *end;
	double v = strtod(s, &end);
	if (strcmp(end, "ms") == 0)
		return (int64_t)v;
	return (int64_t)(v * (*end == 'h' ? 3600000 : *end == 'm' ? 60000 : 1000));
}

static struct amount amount(const char *s)
{
	char *end;
	uint32_t v = (uint32_t)strtoul(s, &end, 10);
	return *end == '%' ? (struct amount){true, v * 10} : (struct amount){false, v};
}

static struct sim_host *host(struct story *t, const char *name)
{
	struct sim_host *h = sim_host(&t->s, name);
	if (h == NULL)
		complain(t, "no such host", name);
	return h;
}

/* ---- building
 * -----------------------------------------------------------------------------------------------------------------
 */

static void do_fleet(struct story *t, const struct words *w)
{
	for (size_t i = 1; i + 1 < w->nr; i += 2)
		sim_add_region(&t->s, w->v[i], atoi(w->v[i + 1]), t->zones);
	sim_run_ms(&t->s, 5000);
}

static void do_version(struct story *t, const struct words *w)
{
	struct version *v = versions_get(&t->s.versions, word(w, 1));
	if (is(w, 2, "crashes"))
		v->crashes_at_start = true;
	else if (is(w, 2, "never"))
		v->never_ready = true;
	else if (is(w, 2, "unhealthy"))
		v->unhealthy_after_ms = duration(word(w, 4));
	else if (is(w, 2, "ready"))
		v->ready_after_ms = duration(word(w, 4));
	else if (is(w, 2, "dies"))
		v->dies_after_ms = duration(word(w, 4));
	else if (!is(w, 2, "good"))
		complain(t, "a version is good, crashes, never ready, or ready, unhealthy or dies after T",
			 NULL);
}

static void all_regions(struct story *t, struct sim_deploy *d)
{
	for (size_t i = 0; i < t->s.hosts_nr; i++) {
		bool known = false;
		for (size_t k = 0; k < d->regions_nr; k++)
			known |= strcmp(d->regions[k], t->s.hosts[i].region.s) == 0;
		if (!known)
			d->regions[d->regions_nr++] = t->s.hosts[i].region.s;
	}
}

static void set_regions(struct sim_deploy *d, char *list)
{
	char *save;
	d->regions_nr = 0;
	for (char *r = strtok_r(list, ",", &save); r != NULL && d->regions_nr < 8;
	     r = strtok_r(NULL, ",", &save)) {
		d->beside |= *r == '+' ? SM_TO(d->regions_nr) : 0;
		d->regions[d->regions_nr++] = r + (*r == '+');
	}
}

/* As the deployment file has it: a way back that nobody gave a floor keeps 67%, or this one if it is lower.
 */
static void set_floor(struct limits *l, permille p)
{
	l->floor = p;
	l->back_floor = sim_back_floor(p);
}

static void set_option(struct story *t, struct sim_deploy *d, const char *key, char *value)
{
	struct limits *l = &d->limits;
	if (strcmp(key, "regions") == 0)
		set_regions(d, value);
	else if (strcmp(key, "batch") == 0)
		l->batch = amount(value);
	else if (strcmp(key, "unavailable") == 0)
		l->unavailable = amount(value);
	else if (strcmp(key, "budget") == 0)
		l->budget = amount(value);
	else if (strcmp(key, "floor") == 0)
		set_floor(l, (permille)amount(value).v);
	else if (strcmp(key, "backfloor") == 0)
		l->back_floor = (permille)amount(value).v;
	else if (strcmp(key, "bake") == 0)
		d->bake_ms = duration(value);
	else if (strcmp(key, "back") == 0)
		l->back_batch = amount(value).v;
	else if (strcmp(key, "task") == 0)
		l->task_ms = duration(value);
	else if (strcmp(key, "progress") == 0)
		l->progress_ms = duration(value);
	else if (strcmp(key, "total") == 0)
		l->total_ms = duration(value);
	else if (strcmp(key, "pause") == 0)
		l->pause_ms = duration(value);
	else if (strcmp(key, "recreate") == 0)
		l->recreate = strcmp(value, "on") == 0;
	else if (strcmp(key, "auto") == 0)
		l->auto_rollback = strcmp(value, "off") != 0;
	else
		complain(t, "a deployment has no such number", key);
}

static void do_deploy(struct story *t, const struct words *w, size_t at)
{
	struct sim_deploy d = {.version = word(w, at + 1), .limits = sim_limits()};
	all_regions(t, &d);
	for (size_t i = at + 2; i < w->nr; i++) {
		char *eq = strchr(w->v[i], '=');
		if (eq == NULL) {
			complain(t, "expected key=value", w->v[i]);
			return;
		}
		*eq = '\0';
		set_option(t, &d, w->v[i], eq + 1);
	}
	if (t->first == 0) {
		t->began = t->s.w.now_ms;
		t->first = t->s.deployments + 1;
		t->from = t->heard = t->said_nr;
	}
	int rc = sim_deploy(&t->s, &d);
	if (rc != E_OK)
		world_say(&t->s.w, "deploy refused: %s", err_name(rc));
}

static void do_running(struct story *t, const struct words *w)
{
	struct sim_deploy d = {.version = word(w, 1), .limits = sim_limits()};
	all_regions(t, &d);
	d.limits.batch = (struct amount){true, 1000};
	if (sim_deploy(&t->s, &d) != E_OK || !sim_run_until_over(&t->s, t->s.deployments, 3600000))
		complain(t, "the fleet cannot be brought to run", word(w, 1));
	sim_run_ms(&t->s, 60000);
}

/* ---- what happens
 * ---------------------------------------------------------------------------------------------------------------
 */

static void do_operator(struct story *t, const struct words *w, size_t i)
{
	static const struct {
		const char *word;
		enum verb verb;
	} verbs[] = {{"pause", VERB_PAUSE},	 {"resume", VERB_RESUME},
		     {"abort", VERB_ABORT},	 {"retry", VERB_RETRY},
		     {"promote", VERB_PROMOTE},	 {"promote-full", VERB_PROMOTE_FULL},
		     {"rollback", VERB_ROLLBACK}};
	uint32_t wave = is(w, i + 1, "wave") ? (uint32_t)atoi(word(w, i + 2)) - 1 : 0;
	for (size_t k = 0; k < ARRAY_LEN(verbs); k++)
		if (is(w, i, verbs[k].word)) {
			sim_verb(&t->s, t->s.deployments, verbs[k].verb, wave);
			return;
		}
	complain(t, "no such verb", word(w, i));
}

static void do_release_bad(struct story *t, const struct words *w, size_t i)
{
	struct command c = {
		.kind = COMMAND_TARGET_RELEASE,
		.reason = "looked into it",
		.target_release = {.app = t->s.app, .target = versions_get(&t->s.versions, word(w, i))->id}};
	if (is(w, i + 1, "silently")) /* without a reason */
		c.reason = "";
	coordinator_now(t->s.c, &c);
}

static void do_region(struct story *t, const struct words *w, size_t i)
{
	for (size_t k = 0; k < t->s.hosts_nr; k++)
		if (strcmp(t->s.hosts[k].region.s, word(w, i)) == 0)
			sim_host_cut(&t->s.hosts[k], is(w, i + 1, "cut"));
}

static void do_store(struct story *t, const struct words *w, size_t i)
{
	for (size_t k = 0; k < t->s.hosts_nr; k++)
		t->s.hosts[k].store_fault = is(w, i, "away");
}

/* `N leads`, `N killed`, `N back`: one of several. */
static void do_one_coordinator(struct story *t, const struct words *w, size_t i)
{
	size_t node = (size_t)atoi(word(w, i)) - 1;
	if (node >= coordinator_nodes(t->s.c))
		complain(t, "there are not so many coordinators", word(w, i));
	else if (is(w, i + 1, "leads"))
		coordinator_lead(t->s.c, node);
	else if (is(w, i + 1, "killed"))
		coordinator_node_crash(t->s.c, node);
	else if (is(w, i + 1, "back"))
		coordinator_node_restart(t->s.c, node);
	else
		complain(t, "a coordinator does no such thing", word(w, i + 1));
}

static void do_coordinator(struct story *t, const struct words *w, size_t i)
{
	if (isdigit((unsigned char)word(w, i)[0])) {
		do_one_coordinator(t, w, i);
	} else if (is(w, i, "steps")) {
		coordinator_step_down(t->s.c);
	} else if (is(w, i, "killed")) {
		coordinator_crash(t->s.c);
	} else {
		coordinator_restart(t->s.c);
		check_restarted(t->s.check);
	}
}

static void do_host(struct story *t, const struct words *w, size_t i)
{
	struct sim_host *h = host(t, word(w, i));
	const char *what = word(w, i + 1), *more = word(w, i + 2);
	if (h == NULL)
		return;
	if (strcmp(what, "probe") == 0)
		h->probe_fault = strcmp(more, "fails") == 0;
	else if (strcmp(what, "stop") == 0)
		h->stop_fault = strcmp(more, "fails") == 0;
	else if (strcmp(what, "damaged") == 0)
		h->damaged = versions_get(&t->s.versions, more)->id;
	else if (strcmp(what, "drain") == 0)
		h->drain_fault = strcmp(more, "refused") == 0;
	else if (strcmp(what, "store") == 0)
		h->store_fault = strcmp(more, "away") == 0;
	else if (strcmp(what, "disk") == 0)
		h->disk_fault = strcmp(more, "full") == 0;
	else if (strcmp(what, "journal") == 0)
		h->journal_fault = strcmp(more, "fails") == 0;
	else if (strcmp(what, "dies") == 0)
		sim_host_power_off(h);
	else if (strcmp(what, "returns") == 0)
		sim_host_boot(h);
	else if (strcmp(what, "agent") == 0 && strcmp(more, "dies") == 0)
		sim_host_kill_agent(h);
	else if (strcmp(what, "agent") == 0 && strcmp(more, "returns") == 0)
		sim_host_start_agent(h);
	else if (strcmp(what, "cut") == 0 || strcmp(what, "healed") == 0)
		sim_host_cut(h, what[0] == 'c');
	else if (strcmp(what, "leaves") == 0)
		sim_remove_host(&t->s, h);
	else
		complain(t, "a host does no such thing", what);
}

static void do_event(struct story *t, const struct words *w, size_t i)
{
	if (is(w, i, "operator") && is(w, i + 1, "release-bad"))
		do_release_bad(t, w, i + 2);
	else if (is(w, i, "operator"))
		do_operator(t, w, i + 1);
	else if (is(w, i, "region"))
		do_region(t, w, i + 1);
	else if (is(w, i, "coordinator"))
		do_coordinator(t, w, i + 1);
	else if (is(w, i, "store"))
		do_store(t, w, i + 1);
	else if (is(w, i, "disk"))
		coordinator_slow_disk(t->s.c, is(w, i + 1, "slow") ? duration(word(w, i + 2)) : 0);
	else if (is(w, i, "deploy"))
		do_deploy(t, w, i);
	else if (is(w, i, "version"))
		complain(t, "`version` stands before `deploy`", NULL);
	else if (is(w, i, "host"))
		sim_add_host(&t->s, word(w, i + 1), word(w, i + 3));
	else
		do_host(t, w, i);
}

static void do_at(struct story *t, const struct words *w)
{
	int64_t wait = t->began + duration(word(w, 1)) - t->s.w.now_ms;
	if (t->first == 0)
		complain(t, "`at` counts from the first `deploy`, which must stand before it", NULL);
	else if (wait < 0)
		complain(t, "that time has passed", word(w, 1));
	else
		sim_run_ms(&t->s, wait);
	do_event(t, w, 2);
}

static bool is_told(struct story *t, const char *text)
{
	if (t->awaited < t->from)
		t->awaited = t->from;
	while (t->awaited < t->said_nr)
		if (strstr(t->said[t->awaited++], text) != NULL)
			return true;
	return false;
}

/* `TEXT: EVENT`. How long steps take is drawn, so what must come at a certain step waits for it. */
static void do_when(struct story *t, char *line)
{
	enum { LOOK_EVERY_MS = 10, PATIENCE_MS = 3600000 };
	struct words w;
	char *colon = strstr(line, ": ");
	int64_t end = t->s.w.now_ms + PATIENCE_MS;
	if (t->first == 0 || colon == NULL) {
		complain(t, "`when TEXT: EVENT` stands after the first `deploy`", NULL);
		return;
	}
	*colon = '\0';
	while (!is_told(t, line) && t->s.w.now_ms < end)
		sim_run_ms(&t->s, LOOK_EVERY_MS);
	if (t->s.w.now_ms >= end)
		complain(t, "this was not told within an hour", line);
	split(&w, colon + 2);
	do_event(t, &w, 0);
}

static void do_run(struct story *t, const struct words *w)
{
	if (is(w, 1, "until"))
		sim_run_until_over(&t->s, t->s.deployments, 24 * 3600000);
	else
		sim_run_ms(&t->s, duration(word(w, 1)));
}

/* ---- what must hold in the end
 * ----------------------------------------------------------------------------------------------------- */

static void expect(struct story *t, const char *what, const char *is_, const char *should)
{
	char text[256];
	if (strcmp(is_, should) == 0)
		return;
	snprintf(text, sizeof text, "is %s, should be %s", is_, should);
	complain(t, what, text);
}

static void end_on(struct story *t, const struct words *w)
{
	char prefix[64];
	int from, to;
	const char *version = word(w, w->nr - 1);
	if (sscanf(word(w, 1), "%63[a-z]-%d..%63[a-z]-%d", prefix, &from, prefix, &to) == 4) {
		for (int n = from; n <= to; n++) {
			char name[80];
			snprintf(name, sizeof name, "%s-%d", prefix, n);
			struct sim_host *h = host(t, name);
			if (h != NULL)
				expect(t, name, sim_runs(&t->s, h), version);
		}
		return;
	}
	for (size_t i = 0; i < t->s.hosts_nr; i++) {
		struct sim_host *h = &t->s.hosts[i];
		bool meant = is(w, 1, "all") || is(w, 1, h->name.s) || is(w, 1, h->region.s);
		if (meant && sim_host_is_live(&t->s, h))
			expect(t, h->name.s, sim_runs(&t->s, h), version);
	}
}

static void end_bad(struct story *t, const struct words *w)
{
	const struct version *v = versions_get(&t->s.versions, word(w, 2));
	struct bad_mark mark;
	bool bad = view_bad(coordinator_state(t->s.c), &t->s.arena, &t->s.app, &v->id, &mark) == E_OK;
	expect(t, word(w, 2), bad ? "bad" : "fine", word(w, 3));
}

static void end_explain(struct story *t, const struct words *w)
{
	static struct plan_update u;
	char want[LINE_CAP] = "";
	for (size_t i = 2; i < w->nr; i++)
		snprintf(want + strlen(want), sizeof want - strlen(want), "%s%s", i == 2 ? "" : " ", w->v[i]);
	struct deployment_id id = {t->s.deployments};
	if (drive_explain(coordinator_drive(t->s.c), id, &t->s.arena, (struct wall_ms){t->s.w.now_ms}, &u) !=
	    E_OK)
		u.reasons_nr = 0;
	for (size_t i = 0; i < u.reasons_nr; i++)
		if (strstr(arena_printf(&t->s.arena, "%s: %s", u.reasons[i].object, u.reasons[i].text),
			   want) != NULL)
			return;
	complain(t, "no reason says", want);
}

static void end_wave(struct story *t, const struct words *w)
{
	struct wave wave;
	uint32_t i = (uint32_t)atoi(word(w, 2)) - 1;
	if (view_wave(coordinator_state(t->s.c), &t->s.arena, (struct deployment_id){t->s.deployments}, i,
		      &wave) != E_OK)
		complain(t, "no such wave", word(w, 2));
	else
		expect(t, "wave", sm_name(&wave_machine, (int)wave.state), word(w, 3));
}

static void do_end(struct story *t, const struct words *w)
{
	if (is(w, 1, "rollout"))
		expect(t, "rollout",
		       sm_name(&rollout_machine, (int)sim_deployment(&t->s, t->s.deployments).state),
		       word(w, 2));
	else if (is(w, 1, "first"))
		expect(t, "first rollout",
		       sm_name(&rollout_machine, (int)sim_deployment(&t->s, t->first).state), word(w, 2));
	else if (is(w, 1, "wave"))
		end_wave(t, w);
	else if (is(w, 1, "version"))
		end_bad(t, w);
	else if (is(w, 1, "explain"))
		end_explain(t, w);
	else if (is(w, 2, "on"))
		end_on(t, w);
	else
		complain(t, "an end says nothing of", word(w, 1));
}

/* Each `story` line must have been told, in this order. `never`: must not have been told at all. */
static void do_story(struct story *t, const char *line)
{
	while (t->heard < t->said_nr)
		if (strstr(t->said[t->heard++], line) != NULL)
			return;
	complain(t, "this was not told (here, or in this order)", line);
}

static void do_never(struct story *t, const char *line)
{
	for (size_t i = t->from; i < t->said_nr; i++)
		if (strstr(t->said[i], line) != NULL)
			complain(t, "this was told", t->said[i]);
}

static char *after(char *line, const char *head)
{
	while (isspace((unsigned char)*line))
		line++;
	size_t n = strlen(head);
	return strncmp(line, head, n) == 0 && line[n] == ' ' ? line + n + 1 : NULL;
}

static void statement(struct story *t, char *line)
{
	struct words w;
	line[strcspn(line, "\n")] = '\0';
	split(&w, line);
	if (w.nr == 0)
		return;
	if (after(line, "story") != NULL)
		do_story(t, after(line, "story"));
	else if (after(line, "never") != NULL)
		do_never(t, after(line, "never"));
	else if (is(&w, 0, "fleet"))
		do_fleet(t, &w);
	else if (is(&w, 0, "coordinators"))
		coordinator_grow(t->s.c, (size_t)atoi(word(&w, 1)));
	else if (is(&w, 0, "zones"))
		t->zones = atoi(word(&w, 1));
	else if (is(&w, 0, "version"))
		do_version(t, &w);
	else if (is(&w, 0, "running"))
		do_running(t, &w);
	else if (is(&w, 0, "deploy"))
		do_deploy(t, &w, 0);
	else if (is(&w, 0, "at"))
		do_at(t, &w);
	else if (after(line, "when") != NULL)
		do_when(t, after(line, "when"));
	else if (is(&w, 0, "run"))
		do_run(t, &w);
	else if (is(&w, 0, "end"))
		do_end(t, &w);
	else
		complain(t, "no such statement", w.v[0]);
}

static void tell(struct story *t, FILE *f)
{
	char line[LINE_CAP];
	while (!t->wrong && fgets(line, sizeof line, f) != NULL) {
		t->line++;
		statement(t, line);
		if (t->s.w.violation[0] != '\0')
			complain(t, "violation", t->s.w.violation);
	}
	if (!t->wrong && sim_deployment(&t->s, t->s.deployments).state != ROLLOUT_RUNNING)
		check_over(t->s.check, t->s.deployments);
	if (t->s.w.violation[0] != '\0')
		complain(t, "violation", t->s.w.violation);
}

int scenario_run_file(const char *path, bool verbose)
{
	FILE *f = fopen(path, "r");
	struct story *t = calloc(1, sizeof *t);
	PRE(t != NULL);
	if (f == NULL) {
		perror(path);
		free(t);
		return 66;
	}
	t->path = path;
	sim_init(&t->s, 1, verbose);
	t->s.w.listener = listen_cb;
	t->s.w.listener_arg = t;
	tell(t, f);
	fclose(f);
	int rc = t->wrong ? 1 : 0;
	if (rc != 0)
		fprintf(stderr, "%s: repeat with --verbose to read the whole story\n", path);
	sim_done(&t->s);
	for (size_t i = 0; i < t->said_nr; i++)
		free(t->said[i]);
	free(t);
	return rc;
}
