#include <stdio.h>
#include <string.h>

#include "coordinator/admin/admin_conn.h"

/* ---- add and remove ---- */

static void send_bundle(struct admin_conn *c, struct admin_file *files, size_t nr, uint64_t generation)
{
	Admin__Bundle bundle = ADMIN__BUNDLE__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	bundle.files = arena_array(&c->arena, Admin__File *, nr ? nr : 1);
	for (size_t i = 0; i < nr; i++) {
		bundle.files[i] = arena_new(&c->arena, Admin__File);
		admin__file__init(bundle.files[i]);
		bundle.files[i]->name = admin_str(files[i].name);
		bundle.files[i]->mode = files[i].mode;
		bundle.files[i]->content.data = (uint8_t *)(uintptr_t)files[i].p;
		bundle.files[i]->content.len = files[i].n;
	}
	bundle.n_files = nr;
	bundle.generation = generation;
	reply.body_case = ADMIN__REPLY__BODY_BUNDLE;
	reply.bundle = &bundle;
	admin_reply(c, &reply);
}

static void then_bundle(struct admin_conn *c, const struct command_reply *reply)
{
	struct err e = {0};
	struct admin_file *files = NULL;
	size_t nr = 0;
	struct name host;
	if (!admin_need_name(c, "a host", c->request->host->name, &host))
		return;
	int rc = ADMIN_OPS(c)->issue_bundle(ADMIN_B(c), &c->arena, &host, reply->generation, &files, &nr, &e);
	if (rc != E_OK) {
		admin_fail(c, rc,
			   arena_printf(&c->arena,
					"the host is registered without a bundle: wavetrain agents remove %s "
					"--reason TEXT, then add it again",
					host.s),
			   "%s", e.text);
		return;
	}
	send_bundle(c, files, nr, reply->generation);
	admin_done(c, 0, "host %s added, generation %llu", host.s, (unsigned long long)reply->generation);
}

void admin_agents_add(struct admin_conn *c)
{
	const Admin__HostArgs *args = c->request->host;
	struct command cmd = {.kind = COMMAND_HOST_ADD};
	if (!ADMIN_OPS(c)->issue_bundle) {
		admin_fail(c, E_UNSUPPORTED, "ask the coordinator that holds the CA key",
			   "this coordinator has no CA key and cannot issue certificates");
		return;
	}
	if (!admin_need_name(c, "a host", args->name, &cmd.host.name))
		return;
	if (args->region[0] == '\0') {
		admin_fail(c, E_INVALID, "add --region REGION",
			   "a host needs a region: waves are made of regions");
		return;
	}
	if (!admin_need_name(c, "a region", args->region, &cmd.host.region))
		return;
	if (args->zone[0] && !admin_need_name(c, "a zone", args->zone, &cmd.host.zone))
		return;
	if (!admin_labels_from(c, args->labels, args->n_labels, &cmd.host.labels))
		return;
	cmd.host.created_at = ADMIN_OPS(c)->now(ADMIN_B(c));
	cmd.host.created_by = c->actor;
	admin_propose(c, &cmd, then_bundle);
}

void admin_agents_remove(struct admin_conn *c)
{
	struct command cmd = {.kind = COMMAND_HOST_REMOVE};
	struct host host;
	if (!admin_need_host(c, c->request->host->name, &host))
		return;
	cmd.host_remove = host.name;
	admin_propose(c, &cmd, admin_then_done);
}

/* ---- list and show ---- */

enum { HOSTS_PER_FRAME = 200 };

struct host_rows {
	struct admin_conn *c;
	struct admin_list hosts, apps;
	const struct host *host;
};

const char *admin_drift(const struct placement *p, const struct admin_soft *s)
{
	if (!s->seen)
		return "never seen";
	if (s->last_poll_age_ms > ADMIN_SILENT_MS)
		return "silent";
	if (!s->has_app)
		return digest_none(&p->current.id) ? "" : "not reported";
	if (digest_eq(&s->running, &p->desired.id))
		return "";
	if (digest_eq(&s->running, &p->current.id))
		return p->seq ? "changing" : "";
	return digest_none(&s->running) ? "nothing runs" : "runs something else";
}

static bool add_app(void *arg, const struct placement *p)
{
	struct host_rows *rows = arg;
	struct admin_conn *c = rows->c;
	struct admin_soft soft = {0};
	Admin__HostApp *row = arena_new(&c->arena, Admin__HostApp);
	admin__host_app__init(row);
	ADMIN_OPS(c)->soft(ADMIN_B(c), &c->arena, &p->host, &p->app, &soft);
	row->app = arena_strdup(&c->arena, p->app.s);
	row->env = arena_strdup(&c->arena, p->env.s);
	row->desired_version = arena_strdup(&c->arena, p->desired.version.s);
	row->current_version = arena_strdup(&c->arena, p->current.version.s);
	admin_bytes(c, &row->desired, &p->desired.id);
	admin_bytes(c, &row->current, &p->current.id);
	admin_bytes(c, &row->running, &soft.running);
	row->health = admin_str(soft.health);
	row->note = admin_str(soft.note);
	row->restarts = soft.restarts;
	row->in_rotation = soft.in_rotation;
	row->drift = admin_str(admin_drift(p, &soft));
	admin_list_add(c, &rows->apps, row);
	return true;
}

static Admin__Host *host_row(struct host_rows *rows, const struct host *h)
{
	struct admin_conn *c = rows->c;
	struct admin_soft soft = {0};
	Admin__Host *row = arena_new(&c->arena, Admin__Host);
	admin__host__init(row);
	ADMIN_OPS(c)->soft(ADMIN_B(c), &c->arena, &h->name, NULL, &soft);
	row->name = arena_strdup(&c->arena, h->name.s);
	row->region = arena_strdup(&c->arena, h->region.s);
	row->zone = arena_strdup(&c->arena, name_empty(&h->zone) ? h->region.s : h->zone.s);
	row->labels = admin_labels(c, &h->labels, &row->n_labels);
	row->generation = h->generation;
	row->created_at_ms = h->created_at.v;
	row->created_by = arena_strdup(&c->arena, h->created_by);
	row->seen = soft.seen;
	row->last_poll_age_ms = soft.last_poll_age_ms;
	row->agent_version = admin_str(soft.agent_version);
	row->free_bytes = soft.free_bytes;
	return row;
}

static void flush_hosts(struct host_rows *rows)
{
	Admin__Hosts hosts = ADMIN__HOSTS__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	hosts.v = (Admin__Host **)rows->hosts.v;
	hosts.n_v = rows->hosts.nr;
	reply.body_case = ADMIN__REPLY__BODY_HOSTS;
	reply.hosts = &hosts;
	admin_reply(rows->c, &reply);
	rows->hosts.nr = 0;
}

static bool add_host(void *arg, const struct host *h)
{
	struct host_rows *rows = arg;
	Admin__Host *row = host_row(rows, h);
	rows->apps = (struct admin_list){0};
	view_each_placement(ADMIN_STATE(rows->c), &rows->c->arena, &h->name, 0, add_app, rows);
	row->apps = (Admin__HostApp **)rows->apps.v;
	row->n_apps = rows->apps.nr;
	admin_list_add(rows->c, &rows->hosts, row);
	if (rows->hosts.nr == HOSTS_PER_FRAME)
		flush_hosts(rows);
	return true;
}

void admin_agents_list(struct admin_conn *c)
{
	struct host_rows rows = {.c = c};
	view_each_host(ADMIN_STATE(c), &c->arena, add_host, &rows);
	flush_hosts(&rows);
	admin_done(c, 0, "%s", "");
}

void admin_agents_show(struct admin_conn *c)
{
	struct host_rows rows = {.c = c};
	struct host host;
	if (!admin_need_host(c, c->request->host->name, &host))
		return;
	add_host(&rows, &host);
	flush_hosts(&rows);
	admin_done(c, 0, "%s", "");
}
