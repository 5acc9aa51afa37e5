#include <stdlib.h>
#include <string.h>

#include "coordinator/admin/admin_conn.h"

enum { SKEW_WARN_MS = 2000, SILENT_MS = 60000, NAMED_HOSTS = 5 };

struct doctor {
	struct admin_conn *c;
	struct admin_list checks;
	unsigned hosts, silent;
	const char *names; /* of the first silent ones */
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

static bool look_at_host(void *arg, const struct host *h)
{
	struct doctor *d = arg;
	struct admin_soft soft = {0};
	d->hosts++;
	ADMIN_OPS(d->c)->soft(ADMIN_B(d->c), &d->c->arena, &h->name, NULL, &soft);
	if (soft.seen && soft.last_poll_age_ms <= SILENT_MS)
		return true;
	if (d->silent++ < NAMED_HOSTS)
		d->names = arena_printf(&d->c->arena, "%s%s%s", d->names, d->names[0] ? ", " : "", h->name.s);
	return true;
}

static void check_agents(struct doctor *d)
{
	d->names = "";
	view_each_host(ADMIN_STATE(d->c), &d->c->arena, look_at_host, d);
	const char *text = arena_printf(&d->c->arena, "%u of %u hosts polled within the last minute%s%s%s",
					d->hosts - d->silent, d->hosts, d->silent ? "; silent: " : "",
					d->names, d->silent > NAMED_HOSTS ? ", ..." : "");
	add_check(d,
		  &(struct admin_check){"agents", d->silent ? "warn" : "ok", text,
					d->silent ? "on the host: systemctl status wavetrain-agent" : NULL});
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
