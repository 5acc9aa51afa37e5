#include <stdlib.h>
#include <string.h>

#include "coordinator/admin/admin_conn.h"

enum { SKEW_WARN_MS = 2000, NAMED_HOSTS = 5, HOST_FREE_WARN = 1 << 30 };

/* Hosts of which something is to be said; the first are named. */
struct named {
	unsigned nr;
	const char *names;
};

struct doctor {
	struct admin_conn *c;
	struct admin_list checks;
	unsigned hosts, placements;
	struct named silent, old, full, sick, drifted;
	bool failed;
};

static void add_check(void *arg, const struct admin_check *check)
{
	struct doctor *d = arg;
	struct arena *a = &d->c->arena;
	Admin__Check *row = arena_new(a, Admin__Check);
	admin__check__init(row);
	row->name = arena_strdup(a, check->name);
	row->result = arena_strdup(a, check->result);
	row->text = arena_strdup(a, check->text);
	row->fix = arena_strdup(a, admin_str(check->fix));
	d->failed = d->failed || strcmp(check->result, "fail") == 0;
	admin_list_add(d->c, &d->checks, row);
}

static void check_clock(struct doctor *d)
{
	int64_t theirs = d->c->request->client_at_ms;
	if (theirs == 0)
		return;
	int64_t skew = llabs(ADMIN_OPS(d->c)->now(ADMIN_B(d->c)).v - theirs);
	bool bad = skew > SKEW_WARN_MS;
	add_check(d, &(struct admin_check){
			     "clock", bad ? "warn" : "ok",
			     arena_printf(&d->c->arena, "this machine and the coordinator differ by %lld ms",
					  (long long)skew),
			     bad ? "run a time service (chrony, systemd-timesyncd) on both" : NULL});
}

static void check_version(struct doctor *d)
{
	const char *theirs = d->c->request->client_version;
	bool same = strcmp(theirs, WAVETRAIN_VERSION) == 0;
	add_check(d,
		  &(struct admin_check){
			  "version", same ? "ok" : "warn",
			  arena_printf(&d->c->arena, "coordinator " WAVETRAIN_VERSION ", program %s", theirs),
			  same ? NULL : "install the same release of both"});
}

static void add_name(struct doctor *d, struct named *n, const char *name)
{
	if (n->nr++ < NAMED_HOSTS)
		n->names = arena_printf(&d->c->arena, "%s%s%s", n->names ? n->names : "",
					n->names ? ", " : "", name);
	else if (n->nr == NAMED_HOSTS + 1)
		n->names = arena_printf(&d->c->arena, "%s, ...", n->names);
}

static bool look_at_placement(void *arg, const struct placement *p)
{
	struct doctor *d = arg;
	struct admin_soft soft = {0};
	const char *name = arena_printf(&d->c->arena, "%s (%s)", p->host.s, p->app.s);
	ADMIN_OPS(d->c)->soft(ADMIN_B(d->c), &d->c->arena, &p->host, &p->app, &soft);
	d->placements++;
	if (!soft.seen || soft.last_poll_age_ms > ADMIN_SILENT_MS)
		return true;
	const char *drift = admin_drift(p, &soft);
	if (drift[0] && strcmp(drift, "changing") != 0)
		add_name(d, &d->drifted, name);
	else if (soft.has_app && strcmp(soft.health, "unhealthy") == 0)
		add_name(d, &d->sick, name);
	return true;
}

static bool look_at_host(void *arg, const struct host *h)
{
	struct doctor *d = arg;
	struct admin_soft soft = {0};
	d->hosts++;
	ADMIN_OPS(d->c)->soft(ADMIN_B(d->c), &d->c->arena, &h->name, NULL, &soft);
	view_each_placement(ADMIN_STATE(d->c), &d->c->arena, &h->name, 0, look_at_placement, d);
	if (!soft.seen || soft.last_poll_age_ms > ADMIN_SILENT_MS) {
		add_name(d, &d->silent, h->name.s);
		return true;
	}
	if (soft.agent_version[0] && strcmp(soft.agent_version, WAVETRAIN_VERSION) != 0)
		add_name(d, &d->old, h->name.s);
	if (soft.free_bytes > 0 && soft.free_bytes < HOST_FREE_WARN)
		add_name(d, &d->full, h->name.s);
	return true;
}

static void check_named(struct doctor *d, const char *name, const struct named *n, const char *good,
			const char *bad, const char *fix)
{
	const char *text = n->nr ? arena_printf(&d->c->arena, "%u %s: %s", n->nr, bad, n->names) : good;
	add_check(d, &(struct admin_check){name, n->nr ? "warn" : "ok", text, n->nr ? fix : NULL});
}

static void check_agents(struct doctor *d)
{
	struct arena *a = &d->c->arena;
	view_each_host(ADMIN_STATE(d->c), a, look_at_host, d);
	const char *polled =
		arena_printf(a, "%u of %u hosts polled within the last minute%s%s", d->hosts - d->silent.nr,
			     d->hosts, d->silent.nr ? "; silent: " : "", d->silent.nr ? d->silent.names : "");
	add_check(d, &(struct admin_check){"agents", d->silent.nr ? "warn" : "ok", polled,
					   d->silent.nr ? "on the host: systemctl status wavetrain-agent"
							: NULL});
	check_named(d, "agent versions", &d->old, "all agents are " WAVETRAIN_VERSION,
		    "agents are not " WAVETRAIN_VERSION, "install the same release on the hosts");
	check_named(d, "agent disks", &d->full, "all hosts have 1 GiB free or more",
		    "hosts have less than 1 GiB free",
		    "free space there, or lower `keep` in the deployment file");
	check_named(d, "health", &d->sick, arena_printf(a, "no unhealthy program in %u", d->placements),
		    "programs are unhealthy", "wavetrain agents list, wavetrain logs APP --host HOST");
	check_named(d, "drift", &d->drifted, "every host runs what it should",
		    "hosts do not run what they should", "wavetrain agents list shows what they run");
}

void admin_doctor(struct admin_conn *c)
{
	struct doctor d = {.c = c};
	Admin__Doctor doctor = ADMIN__DOCTOR__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	check_clock(&d);
	check_version(&d);
	check_agents(&d);
	if (ADMIN_OPS(c)->doctor)
		ADMIN_OPS(c)->doctor(ADMIN_B(c), &c->arena, add_check, &d);
	doctor.checks = (Admin__Check **)d.checks.v;
	doctor.n_checks = d.checks.nr;
	doctor.version = admin_str(WAVETRAIN_VERSION);
	doctor.now_ms = ADMIN_OPS(c)->now(ADMIN_B(c)).v;
	reply.body_case = ADMIN__REPLY__BODY_DOCTOR;
	reply.doctor = &doctor;
	admin_reply(c, &reply);
	admin_done(c, d.failed ? 1 : 0, "%s", "");
}
