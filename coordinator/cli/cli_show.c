#include <stdio.h>
#include <string.h>

#include "coordinator/cli/cli.h"

/* Shown when a list is empty: what to do to fill it. */
static void put_empty(struct buf *out, size_t nr, const char *text)
{
	if (nr == 0)
		buf_printf(out, "%s\n", text);
}

struct show {
	struct cli *c;
	struct buf *out;
	int64_t now_ms;
};

static const char *age_of(struct show *s, int64_t at_ms)
{
	char text[32];
	if (at_ms <= 0)
		return "-";
	if (s->c->args.timestamps)
		cli_rfc3339(text, sizeof text, at_ms);
	else
		cli_age(text, sizeof text, s->now_ms - at_ms);
	return arena_strdup(&s->c->arena, text);
}

static const char *number(struct show *s, uint64_t n)
{
	return arena_printf(&s->c->arena, "%llu", (unsigned long long)n);
}

static const char *size_text(struct show *s, uint64_t n)
{
	char text[32];
	return arena_strdup(&s->c->arena, cli_bytes(text, sizeof text, n));
}

static const char *hex_text(struct show *s, const ProtobufCBinaryData *d, size_t bytes)
{
	struct buf b;
	buf_init(&b);
	for (size_t i = 0; i < d->len && i < bytes; i++)
		buf_printf(&b, "%02x", d->data[i]);
	const char *text = arena_strdup(&s->c->arena, b.len ? buf_cstr(&b) : "-");
	buf_done(&b);
	return text;
}

static const char *labels_text(struct show *s, Admin__Label **v, size_t nr)
{
	const char *text = "";
	for (size_t i = 0; i < nr; i++)
		text = arena_printf(&s->c->arena, "%s%s%s=%s", text, i ? "," : "", v[i]->key, v[i]->value);
	return nr ? text : "-";
}

static const char *state_of(struct show *s, const char *state)
{
	char text[40];
	return arena_strdup(&s->c->arena, cli_state_text(text, sizeof text, state));
}

#define TABLE(s, ...)                                                                                        \
	static const char *const head[] = {__VA_ARGS__};                                                     \
	struct cli_table t = {.head = head, .columns = ARRAY_LEN(head), .arena = &(s)->c->arena}
#define ROW(...) cli_table_row(&t, (const char *const[]){__VA_ARGS__})

static void show_apps(struct show *s, const Admin__Apps *m)
{
	TABLE(s, "APP", "RELEASES", "NEWEST", "AGE", "RUNS");
	for (size_t i = 0; i < m->n_v; i++) {
		const Admin__App *a = m->v[i];
		const char *runs = "";
		for (size_t j = 0; j < a->n_envs; j++)
			runs = arena_printf(&s->c->arena, "%s%s%s=%s%s%s", runs, j ? "  " : "",
					    a->envs[j]->env, a->envs[j]->version,
					    a->envs[j]->active[0] ? " changing by " : "", a->envs[j]->active);
		ROW(a->name, number(s, a->releases), a->newest[0] ? a->newest : "-",
		    age_of(s, a->created_at_ms), runs);
	}
	cli_table_print(&t, s->out, s->c->out.width);
	put_empty(s->out, m->n_v, "No applications yet. Register one: wavetrain app add APP");
}

static const char *env_runs_text(struct show *s, const Admin__Env *e)
{
	const char *out = e->n_apps == 0 ? "-" : "";
	for (size_t i = 0; i < e->n_apps; i++)
		out = arena_printf(&s->c->arena, "%s%s%s=%s (%u)", out, i ? "  " : "", e->apps[i]->app,
				   e->apps[i]->version, e->apps[i]->hosts);
	return out;
}

static void show_envs(struct show *s, const Admin__Envs *m)
{
	TABLE(s, "ENVIRONMENT", "HOSTS", "SELECTOR", "AGE", "RUNS (HOSTS)", "CONFIGURATION");
	for (size_t i = 0; i < m->n_v; i++)
		ROW(m->v[i]->name, number(s, m->v[i]->hosts),
		    labels_text(s, m->v[i]->selector, m->v[i]->n_selector), age_of(s, m->v[i]->created_at_ms),
		    env_runs_text(s, m->v[i]), m->v[i]->configuration);
	cli_table_print(&t, s->out, s->c->out.width);
	put_empty(s->out, m->n_v, "No environments yet. Register one: wavetrain env add ENV");
}

static bool same_bytes(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && a->len > 0 && memcmp(a->data, b->data, a->len) == 0;
}

/* What runs, by its version where that is known. */
static const char *runs_text(struct show *s, const Admin__HostApp *a)
{
	if (same_bytes(&a->running, &a->desired) && a->desired_version[0])
		return a->desired_version;
	if (same_bytes(&a->running, &a->current) && a->current_version[0])
		return a->current_version;
	return hex_text(s, &a->running, 6);
}

static const char *note_text(struct show *s, const Admin__HostApp *a)
{
	if (a->restarts == 0)
		return a->note;
	return arena_printf(&s->c->arena, "restarted %llu times%s%s", (unsigned long long)a->restarts,
			    a->note[0] ? "; " : "", a->note);
}

static void put_field(struct show *s, const char *name, const char *value)
{
	cli_put_pad(s->out, name, 12);
	cli_put_cut(s->out, value, s->c->out.width > 12 ? s->c->out.width - 12 : 0);
	buf_puts(s->out, "\n");
}

/* `agents show`: what the table of all hosts has no room for stands above it. */
static void show_host_head(struct show *s, const Admin__Host *h)
{
	struct arena *a = &s->c->arena;
	put_field(s, "host", h->name);
	put_field(s, "region",
		  strcmp(h->region, h->zone) == 0 ? h->region
						  : arena_printf(a, "%s, zone %s", h->region, h->zone));
	put_field(s, "labels", labels_text(s, h->labels, h->n_labels));
	put_field(s, "added",
		  arena_printf(a, "%s%s by %s, generation %llu", age_of(s, h->created_at_ms),
			       s->c->args.timestamps ? "" : " ago", h->created_by,
			       (unsigned long long)h->generation));
	put_field(s, "agent", h->agent_version[0] ? h->agent_version : "never seen");
	if (h->free_bytes)
		put_field(s, "disk", arena_printf(a, "%s free", size_text(s, h->free_bytes)));
	buf_puts(s->out, "\n");
}

static void show_hosts(struct show *s, const Admin__Hosts *m)
{
	if (s->c->args.row->id == CMD_AGENTS_SHOW && m->n_v == 1)
		show_host_head(s, m->v[0]);
	TABLE(s, "HOST", "REGION", "ZONE", "POLLED", "APP", "WANTED", "RUNS", "HEALTH", "DRIFT", "NOTE");
	for (size_t i = 0; i < m->n_v; i++) {
		const Admin__Host *h = m->v[i];
		char ago[32] = "never";
		if (h->seen)
			cli_age(ago, sizeof ago, h->last_poll_age_ms);
		if (h->n_apps == 0)
			ROW(h->name, h->region, h->zone, ago, "-", "-", "-", "-", "-",
			    labels_text(s, h->labels, h->n_labels));
		for (size_t j = 0; j < h->n_apps; j++) {
			const Admin__HostApp *a = h->apps[j];
			ROW(j ? "" : h->name, j ? "" : h->region, j ? "" : h->zone, j ? "" : ago, a->app,
			    a->desired_version[0] ? a->desired_version : "-", runs_text(s, a),
			    a->health[0] ? a->health : "-", a->drift[0] ? a->drift : "-", note_text(s, a));
		}
	}
	cli_table_print(&t, s->out, s->c->out.width);
	put_empty(s->out, m->n_v,
		  "No hosts yet. Add one: wavetrain agents add HOST --region REGION --out FOLDER");
}

/* Alone a coordinator is no news. */
static void show_copies(struct show *s, const Admin__Release *r)
{
	if (s->c->args.row->id == CMD_RELEASE_SHOW && r->coordinators > 1)
		buf_printf(s->out, "The archive lies on %u of %u coordinators.\n", r->copies,
			   r->coordinators);
}

static void show_releases(struct show *s, const Admin__Releases *m)
{
	TABLE(s, "APP", "VERSION", "AGE", "SIZE", "DIGEST", "COMMIT", "TESTS", "MARK");
	for (size_t i = 0; i < m->n_v; i++) {
		const Admin__Release *r = m->v[i];
		uint32_t all = r->tests_passed + r->tests_failed;
		const char *tests = all ? arena_printf(&s->c->arena, "%u/%u", r->tests_passed, all) : "-";
		const char *mark = r->bad[0] ? arena_printf(&s->c->arena, "bad: %s", r->bad) : "";
		ROW(r->app, r->version, age_of(s, r->created_at_ms), size_text(s, r->size_bytes),
		    hex_text(s, &r->artifact, 6), r->commit[0] ? r->commit : "-", tests, mark);
	}
	cli_table_print(&t, s->out, s->c->out.width);
	for (size_t i = 0; i < m->n_v; i++)
		show_copies(s, m->v[i]);
	put_empty(s->out, m->n_v, "No releases yet. Push one: wavetrain release push APP VERSION PATH");
}

static void show_rollouts(struct show *s, const Admin__Rollouts *m)
{
	TABLE(s, "ROLLOUT", "APP", "FROM", "TO", "ENV", "STATE", "HOSTS", "AGE", "BY", "REASON");
	for (size_t i = 0; i < m->n_v; i++) {
		const Admin__Rollout *r = m->v[i];
		char id[24];
		ROW(cli_short_id(id, sizeof id, r->id), r->app, r->from_version[0] ? r->from_version : "-",
		    r->version, r->env, state_of(s, r->state), number(s, r->hosts_nr),
		    age_of(s, r->created_at_ms), r->initiator, r->reason);
	}
	cli_table_print(&t, s->out, s->c->out.width);
	put_empty(s->out, m->n_v, "No rollouts yet. Start one: wavetrain deploy APP VERSION -e ENV");
}

static void show_audits(struct show *s, const Admin__Audits *m)
{
	TABLE(s, "INDEX", "TIME", "ACTOR", "VERB", "OBJECT", "DETAIL", "CHAIN");
	for (size_t i = 0; i < m->n_v; i++) {
		const Admin__Audit *a = m->v[i];
		char at[32];
		ROW(number(s, a->index), cli_rfc3339(at, sizeof at, a->at_ms), a->actor, a->verb, a->object,
		    a->detail, hex_text(s, &a->chain, 6));
	}
	cli_table_print(&t, s->out, s->c->out.width);
	put_empty(s->out, m->n_v, "The audit is empty.");
}

/* What has ended says so. */
static const char *ends_text(struct show *s, int64_t at_ms)
{
	char text[32];
	if (at_ms == 0)
		return "-";
	if (s->c->args.timestamps)
		return arena_strdup(&s->c->arena, cli_rfc3339(text, sizeof text, at_ms));
	if (at_ms <= s->now_ms)
		return "ended";
	return arena_printf(&s->c->arena, "in %s", cli_age(text, sizeof text, at_ms - s->now_ms));
}

/* Followers hear nothing of each other. */
static const char *silent_text(struct show *s, const Admin__Cluster *m, const Admin__Node *n)
{
	char text[32];
	if (n->self)
		return "here";
	if (!n->silent_known)
		return m->self == m->leader ? "never heard" : "-";
	return arena_strdup(&s->c->arena,
			    n->silent_ms < 1000 ? "no" : cli_age(text, sizeof text, (int64_t)n->silent_ms));
}

static void show_cluster(struct show *s, const Admin__Cluster *m)
{
	TABLE(s, "NODE", "ROLE", "LEADS", "ADDRESS", "BEHIND", "SILENT", "VERSION", "CERTIFICATE",
	      "WAITS FOR");
	buf_printf(s->out, "cluster %s, %u voters, term %llu, log at %llu; asked: coordinator %llu\n",
		   m->name, m->voters, (unsigned long long)m->term, (unsigned long long)m->applied,
		   (unsigned long long)m->self);
	for (size_t i = 0; i < m->n_nodes; i++) {
		const Admin__Node *n = m->nodes[i];
		ROW(number(s, n->id), n->role, n->leader ? "yes" : "", n->address,
		    n->lag_known ? number(s, n->lag) : "-", silent_text(s, m, n),
		    n->version[0] ? n->version : "-", ends_text(s, n->cert_ends_at_ms), n->waits);
	}
	cli_table_print(&t, s->out, s->c->out.width);
	if (m->warning[0])
		buf_printf(s->out, "warning: %s\n", m->warning);
}

static void show_new_token(struct show *s, const Admin__Token *t)
{
	buf_printf(s->out,
		   "On the new coordinator, with the address that the others dial:\n"
		   "  wavetraind join --data DIR --address HOST --listen IP --token %s\n"
		   "One machine joins with it, as a %s; it ends %s, and it is shown only now.\n",
		   t->token, t->standby ? "standby" : "voter", ends_text(s, t->expires_at_ms));
}

static void show_tokens(struct show *s, const Admin__Tokens *m)
{
	if (m->n_v == 1 && m->v[0]->token[0]) {
		show_new_token(s, m->v[0]);
		return;
	}
	TABLE(s, "TOKEN", "STATE", "JOINS AS", "COORDINATOR", "ENDS", "AGE", "BY");
	for (size_t i = 0; i < m->n_v; i++) {
		const Admin__Token *k = m->v[i];
		char at[32];
		ROW(k->id, k->state, k->standby ? "standby" : "voter", k->node ? number(s, k->node) : "-",
		    cli_rfc3339(at, sizeof at, k->expires_at_ms), age_of(s, k->created_at_ms), k->created_by);
	}
	cli_table_print(&t, s->out, s->c->out.width);
	put_empty(s->out, m->n_v, "No join tokens. Make one: wavetrain cluster token create");
}

static void show_lines(struct show *s, const Admin__Lines *m)
{
	for (size_t i = 0; i < m->n_v; i++) {
		cli_put_cut(s->out, m->v[i], SIZE_MAX);
		buf_puts(s->out, "\n");
	}
}

void cli_show(struct cli *c, const Admin__Reply *reply, int64_t now_ms, struct buf *out)
{
	struct show s = {.c = c, .out = out, .now_ms = now_ms};
	if (reply->body_case == ADMIN__REPLY__BODY_APPS)
		show_apps(&s, reply->apps);
	else if (reply->body_case == ADMIN__REPLY__BODY_ENVS)
		show_envs(&s, reply->envs);
	else if (reply->body_case == ADMIN__REPLY__BODY_HOSTS)
		show_hosts(&s, reply->hosts);
	else if (reply->body_case == ADMIN__REPLY__BODY_RELEASES)
		show_releases(&s, reply->releases);
	else if (reply->body_case == ADMIN__REPLY__BODY_ROLLOUTS)
		show_rollouts(&s, reply->rollouts);
	else if (reply->body_case == ADMIN__REPLY__BODY_AUDITS)
		show_audits(&s, reply->audits);
	else if (reply->body_case == ADMIN__REPLY__BODY_CLUSTER)
		show_cluster(&s, reply->cluster);
	else if (reply->body_case == ADMIN__REPLY__BODY_TOKENS)
		show_tokens(&s, reply->tokens);
	else if (reply->body_case == ADMIN__REPLY__BODY_LINES)
		show_lines(&s, reply->lines);
	else if (reply->body_case == ADMIN__REPLY__BODY_ROLLOUT)
		cli_tree(out, reply->rollout, &c->out, c->args.verbose);
	else if (reply->body_case == ADMIN__REPLY__BODY_PLAN)
		cli_plan_text(out, reply->plan, &c->out);
}
