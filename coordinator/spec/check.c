#include "coordinator/spec/load.h"
#include "coordinator/spec/scalar.h"

#include <string.h>

static struct diag_place place(const struct yaml_node *root, const char *path)
{
	const struct yaml_node *n = yaml_path(root, path);
	return n ? n->at : root->at;
}

void check_settle(const struct yaml_node *root, struct spec *s)
{
	if (!s->strategy.recreate.set)
		s->strategy.rolling.set = true;
	/* The floor always holds, so what maxUnavailable promises beyond it is not a promise. */
	struct spec_amount *max = &s->strategy.max_unavailable;
	if (max->is_share && max->v + s->strategy.floor > 1000)
		max->v = 1000 - s->strategy.floor;
	/* Nobody asked for a way back that is stricter than the way there: in a small fleet it would be
	 * closed. */
	if (!yaml_path(root, "rollback.floor") && s->rollback.floor > s->strategy.floor)
		s->rollback.floor = s->strategy.floor;
	struct spec_drain *d = &s->traffic.drain;
	if (!d->timeout_ms)
		d->timeout_ms = s->strategy.deadlines.drain_ms;
	if (s->strategy.deadlines.drain_ms < d->timeout_ms)
		s->strategy.deadlines.drain_ms = d->timeout_ms;
}

static const struct spec_region *region(const struct spec *s, const char *name)
{
	for (size_t i = 0; i < s->regions_nr; i++)
		if (s->regions[i].name && !strcmp(s->regions[i].name, name))
			return &s->regions[i];
	return NULL;
}

static const char *suggest_region(struct diag_log *log, const struct spec *s, const char *name)
{
	const char **names = arena_array(log->a, const char *, s->regions_nr + 1);
	size_t nr = 0;
	for (size_t i = 0; i < s->regions_nr; i++)
		if (s->regions[i].name)
			names[nr++] = s->regions[i].name;
	return diag_suggest(log, name, names, nr);
}

static const char no_region[] = "none"; /* `after: none` */

const char *spec_after(const struct spec *s, size_t i)
{
	const char *after = s->regions[i].after;
	if (!after)
		return i > 0 ? s->regions[i - 1].name : NULL;
	return strcmp(after, no_region) ? after : NULL;
}

/* Whether what r waits for leads back to r; chains into somebody else's cycle end after all regions. */
static bool in_cycle(const struct spec *s, const struct spec_region *r)
{
	const struct spec_region *at = r;
	for (size_t i = 0; i < s->regions_nr && at; i++) {
		const char *after = spec_after(s, (size_t)(at - s->regions));
		at = after ? region(s, after) : NULL;
		if (at == r)
			return true;
	}
	return false;
}

static void check_region(struct diag_log *log, const struct yaml_node *n, const struct spec *s, size_t i)
{
	const struct spec_region *r = &s->regions[i];
	const struct yaml_node *name = yaml_get(n, "name"), *after = yaml_get(n, "after"),
			       *bake = yaml_get(n, "bake");
	const char *waits_for = spec_after(s, i);
	if (r->name && !strcmp(r->name, no_region))
		diag_add(log, name->at, 1117, NULL, "no region can be named '%s': that is a word of 'after'",
			 no_region);
	else if (r->name && region(s, r->name) != r)
		diag_add(log, name->at, 1132, NULL, "region '%s' is given twice", r->name);
	else if (r->after && waits_for && !region(s, waits_for))
		diag_add(log, after->at, 1130, suggest_region(log, s, waits_for),
			 "region '%s' is not defined", waits_for);
	else if (r->name && r->after && in_cycle(s, r)) /* each cycle has an `after`: the rest looks up */
		diag_add(log, after->at, 1131, NULL,
			 "region '%s' waits for itself (one without 'after' waits for the one above it)",
			 r->name);
	else if (r->name && bake && r->bake_ms && (i == 0 || r->after) && !waits_for)
		diag_add(log, bake->at, 1204, NULL,
			 "region '%s' waits for no other, so it has nothing to bake", r->name);
}

enum { REGIONS_MAX = 256 }; /* also bounds the search for cycles */

static void check_regions(struct diag_log *log, const struct yaml_node *root, const struct spec *s)
{
	const struct yaml_node *list = yaml_get(root, "regions");
	if (s->regions_nr > REGIONS_MAX) {
		diag_add(log, list->at, 1110, NULL, "more than %d regions", REGIONS_MAX);
		return;
	}
	for (size_t i = 0; i < s->regions_nr; i++)
		check_region(log, list->items[i], s, i);
}

static void check_floor(struct diag_log *log, const struct yaml_node *root, const struct spec *s)
{
	const struct spec_strategy *st = &s->strategy;
	bool floor_given = yaml_path(root, "strategy.floor"),
	     max_given = yaml_path(root, "strategy.maxUnavailable");
	struct spec_amount max = st->max_unavailable;
	struct diag_place at = place(root, max_given ? "strategy.maxUnavailable" : "strategy.floor");
	if (floor_given && st->floor == 1000)
		diag_add(log, place(root, "strategy.floor"), 1141, NULL,
			 "a floor of 100%% allows no host to be taken down");
	else if (max_given && max.v == 0)
		diag_add(log, at, 1141, NULL, "maxUnavailable 0 allows no host to be taken down");
	else if (floor_given && max_given && max.is_share && max.v + st->floor > 1000)
		diag_add(log, at, 1141, NULL,
			 "maxUnavailable and floor together exceed 100%%, so the floor would always come "
			 "first");
	else if (!floor_given && max_given && max.is_share && max.v + st->floor > 1000)
		diag_add(log, at, 1202, NULL, "maxUnavailable allows more than the default floor of 90%%");
}

static void check_strategy(struct diag_log *log, const struct yaml_node *root, const struct spec *s)
{
	const struct yaml_node *st = yaml_get(root, "strategy");
	if (yaml_get(st, "rolling") && yaml_get(st, "recreate"))
		diag_add(log, place(root, "strategy.recreate"), 1140, NULL,
			 "both strategy.rolling and strategy.recreate are given");
	if (s->strategy.rolling.batch.v == 0)
		diag_add(log, place(root, "strategy.rolling.batch"), 1142, NULL,
			 "a batch of 0 never makes progress");
	if (s->rollback.batch == 0)
		diag_add(log, place(root, "rollback.batch"), 1142, NULL,
			 "a rollback batch of 0%% never makes progress");
	if (s->rollback.floor == 1000)
		diag_add(log, place(root, "rollback.floor"), 1141, NULL,
			 "a floor of 100%% allows no host to be taken back");
	check_floor(log, root, s);
}

static void check_deadlines(struct diag_log *log, const struct yaml_node *root, const struct spec *s)
{
	const struct spec_deadlines *d = &s->strategy.deadlines;
	const struct yaml_node *timeout = yaml_path(root, "traffic.drain.timeout");
	if (d->total_ms && d->total_ms < d->progress_ms)
		diag_add(log, place(root, "strategy.deadlines.total"), 1144, NULL,
			 "total is shorter than progress");
	if (timeout && yaml_path(root, "strategy.deadlines.drain") &&
	    s->traffic.drain.timeout_ms > d->drain_ms)
		diag_add(log, timeout->at, 1144, NULL,
			 "traffic.drain.timeout is longer than strategy.deadlines.drain");
	if (s->run.restart.backoff.initial_ms > s->run.restart.backoff.max_ms)
		diag_add(log, place(root, "run.restart.backoff"), 1144, NULL,
			 "backoff.initial is longer than backoff.max");
}

/* The part of the URL that names the host and the port. */
static const char *authority(struct arena *a, const char *url)
{
	size_t skip = strlen("http://");
	const char *s = arena_printf(a, "%.*s", (int)strcspn(url + skip, "/?#"), url + skip);
	const char *at = strrchr(s, '@');
	return at ? at + 1 : s;
}

static void check_probed(struct diag_log *log, const struct yaml_node *n, const struct spec_probe *p)
{
	static const char fix[] = "write 127.0.0.1, [::1] or localhost";
	bool is_url = p->http && !strncmp(p->http, "http://", 7);
	if (p->http && !is_url && strncmp(p->http, "{{", 2))
		diag_add(log, yaml_get(n, "http")->at, 1147, NULL,
			 "an http probe needs a URL that begins with http://");
	else if (is_url && !scalar_loopback(authority(log->a, p->http)))
		diag_add(log, yaml_get(n, "http")->at, 1147, fix, "a probe asks the program's own host");
	if (p->tcp && !scalar_loopback(p->tcp))
		diag_add(log, yaml_get(n, "tcp")->at, 1147, fix, "a probe asks the program's own host");
}

static void check_probe(struct diag_log *log, const struct yaml_node *root, const char *path,
			const struct spec_probe *p)
{
	static const char *const kinds[] = {"http", "tcp", "exec"};
	const struct yaml_node *n = yaml_path(root, path);
	int given = 0;
	if (!p->set || n->kind != YAML_MAP)
		return;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		given += yaml_get(n, kinds[i]) != NULL;
	if (given != 1)
		diag_add(log, n->at, 1143, NULL, "'%s' needs exactly one of http, tcp, exec", path);
	if (yaml_get(n, "status") && given == 1 && !yaml_get(n, "http"))
		diag_add(log, yaml_get(n, "status")->at, 1143, NULL, "'status' belongs to an http probe");
	check_probed(log, n, p);
}

static void check_traffic(struct diag_log *log, const struct yaml_node *root, const struct spec *s)
{
	const struct spec_traffic *t = &s->traffic;
	if (t->set && yaml_get(root, "traffic")->kind == YAML_MAP && t->haproxy.set == t->hook.set)
		diag_add(log, yaml_get(root, "traffic")->at, 1143, NULL,
			 "'traffic' needs exactly one of haproxy, hook");
}

static void check_listen(struct diag_log *log, const struct yaml_node *root, const struct spec *s)
{
	const struct yaml_node *list = yaml_path(root, "run.listen");
	for (size_t i = 0; i < s->run.listen_nr; i++) {
		const char *address = s->run.listen[i].address;
		if (address && !scalar_listen(address))
			diag_add(log, yaml_get(list->items[i], "address")->at, 1145,
				 "write it in numbers: 0.0.0.0:80, 127.0.0.1:80 or [::]:80",
				 "'%s' cannot be listened on", diag_show(log->a, address));
		for (size_t j = 0; j < i; j++)
			if (s->run.listen[i].name && s->run.listen[j].name &&
			    !strcmp(s->run.listen[i].name, s->run.listen[j].name)) {
				diag_add(log, list->items[i]->at, 1146, NULL, "socket '%s' is listed twice",
					 s->run.listen[i].name);
				break;
			}
	}
}

void check_spec(struct diag_log *log, const struct yaml_node *root, const struct spec *s)
{
	check_regions(log, root, s);
	check_strategy(log, root, s);
	check_deadlines(log, root, s);
	check_traffic(log, root, s);
	check_listen(log, root, s);
	check_probe(log, root, "health.start", &s->health.start);
	check_probe(log, root, "health.ready", &s->health.ready);
	check_probe(log, root, "health.live", &s->health.live);
	if (!s->health.ready.set)
		diag_add(log, place(root, "health"), 1201, NULL,
			 "no health.ready probe: a version that runs but does not serve will not be seen");
}
