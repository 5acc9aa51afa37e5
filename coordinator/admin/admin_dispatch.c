#include <string.h>

#include "coordinator/admin/admin_conn.h"
#include "sys/log.h"

enum { REQUEST_VERSION = 1, REASON_MAX = 1000 };

/* What an argument message a verb needs; 0 = none. The client's choice of oneof is checked before any handler
 * sees it. */
struct dispatch_row {
	enum command_id id;
	Admin__Request__ArgsCase args;
	admin_handler *handler;
};

#define ARGS(x) ADMIN__REQUEST__ARGS_##x
static const struct dispatch_row dispatch_table[] = {
	{CMD_APP_ADD, ARGS(APP), admin_app_add},
	{CMD_APP_LIST, 0, admin_app_list},
	{CMD_APP_SHOW, ARGS(APP), admin_app_show},
	{CMD_ENV_ADD, ARGS(ENV), admin_env_add},
	{CMD_ENV_LIST, 0, admin_env_list},
	{CMD_ENV_SHOW, ARGS(ENV), admin_env_show},
	{CMD_AGENTS_LIST, 0, admin_agents_list},
	{CMD_AGENTS_SHOW, ARGS(HOST), admin_agents_show},
	{CMD_AGENTS_ADD, ARGS(HOST), admin_agents_add},
	{CMD_AGENTS_REMOVE, ARGS(HOST), admin_agents_remove},
	{CMD_RELEASE_PUSH, ARGS(RELEASE), admin_release_push},
	{CMD_RELEASE_LIST, ARGS(LIST), admin_release_list},
	{CMD_RELEASE_SHOW, ARGS(RELEASE), admin_release_show},
	{CMD_RELEASE_BAD, ARGS(RELEASE), admin_release_bad},
	{CMD_PLAN, ARGS(DEPLOY), admin_plan},
	{CMD_DEPLOY, ARGS(DEPLOY), admin_deploy},
	{CMD_STATUS, ARGS(ROLLOUT), admin_status},
	{CMD_WATCH, ARGS(ROLLOUT), admin_watch},
	{CMD_LIST, ARGS(LIST), admin_list},
	{CMD_HISTORY, ARGS(LIST), admin_history},
	{CMD_LOGS, ARGS(ROLLOUT), admin_logs},
	{CMD_EVENTS, ARGS(ROLLOUT), admin_events},
	{CMD_EXPLAIN, ARGS(ROLLOUT), admin_explain},
	{CMD_PAUSE, ARGS(ROLLOUT), admin_verb},
	{CMD_RESUME, ARGS(ROLLOUT), admin_verb},
	{CMD_ABORT, ARGS(ROLLOUT), admin_verb},
	{CMD_RETRY, ARGS(ROLLOUT), admin_verb},
	{CMD_PROMOTE, ARGS(ROLLOUT), admin_verb},
	{CMD_ROLLBACK, ARGS(ROLLOUT), admin_rollback},
	{CMD_AUDIT_LIST, ARGS(LIST), admin_audit_list},
	{CMD_DOCTOR, 0, admin_doctor},
	{CMD_CLUSTER_STATUS, ARGS(CLUSTER), admin_cluster_status},
	{CMD_CLUSTER_REMOVE, ARGS(CLUSTER), admin_cluster_remove},
	{CMD_CLUSTER_TRANSFER, ARGS(CLUSTER), admin_cluster_transfer},
	{CMD_TOKEN_CREATE, ARGS(CLUSTER), admin_token_create},
	{CMD_TOKEN_LIST, ARGS(CLUSTER), admin_token_list},
	{CMD_TOKEN_REVOKE, ARGS(CLUSTER), admin_token_revoke},
};

static const struct dispatch_row *find(enum command_id id)
{
	for (size_t i = 0; i < ARRAY_LEN(dispatch_table); i++)
		if (dispatch_table[i].id == id)
			return &dispatch_table[i];
	return NULL;
}

static bool role_allows(struct admin_conn *c)
{
	if (c->role >= c->row->role)
		return true;
	log_warn("admin", "%s is %s; '%s' needs %s: refused", c->actor, role_name(c->role), c->row->name,
		 role_name(c->row->role));
	admin_fail(c, E_DENIED, "ask an administrator, or join the group that owns the admin socket",
		   "%s is %s here; 'wavetrain %s' needs the role %s", c->actor, role_name(c->role),
		   c->row->name, role_name(c->row->role));
	return false;
}

/* What changes something is for the leader to accept; here it would be refused by the log at the very end. */
static bool leads(struct admin_conn *c)
{
	const struct admin_backend_ops *ops = ADMIN_OPS(c);
	const char *who = ops->follows ? ops->follows(ADMIN_B(c), &c->arena) : NULL;
	if (!who)
		return true;
	admin_fail(c, E_NOT_LEADER,
		   "run it on the machine of the coordinator that leads: wavetrain cluster status",
		   "'wavetrain %s' changes something, and this coordinator does not lead: %s", c->row->name,
		   who);
	return false;
}

void admin_dispatch(struct admin_conn *c)
{
	const Admin__Request *r = c->request;
	if (r->version != REQUEST_VERSION) {
		admin_fail(c, E_VERSION, "use the wavetrain program of the same release as the coordinator",
			   "request version %u is not spoken here, only %d", r->version, REQUEST_VERSION);
		return;
	}
	c->row = command_by_number(r->verb);
	const struct dispatch_row *d = c->row ? find(c->row->id) : NULL;
	if (!d) {
		admin_fail(c, E_UNSUPPORTED,
			   "use the wavetrain program of the same release as the coordinator",
			   "verb %u is not known to this coordinator (" WAVETRAIN_VERSION ")", r->verb);
		return;
	}
	if (!role_allows(c))
		return;
	if (strlen(r->reason) > REASON_MAX) {
		admin_fail(c, E_TOO_LARGE, "say it shorter, with a link",
			   "the reason is longer than %d bytes", REASON_MAX);
		return;
	}
	if (d->args && r->args_case != d->args) {
		admin_fail(c, E_PROTOCOL, NULL, "the arguments sent do not belong to '%s'", c->row->name);
		return;
	}
	if ((c->row->flags & COMMAND_MUTATES) && !leads(c))
		return;
	if (c->row->flags & COMMAND_MUTATES)
		log_info("admin", "%s: %s%s", c->actor, c->row->name, r->dry_run ? " (dry run)" : "");
	d->handler(c);
}
