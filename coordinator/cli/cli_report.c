#include <stdio.h>
#include <string.h>

#include "coordinator/cli/cli.h"

enum { SEEN_MAX = 3 };

static void put_line(struct buf *out, const char *head, const char *text)
{
	buf_printf(out, "  %-6s", head);
	cli_put_cut(out, text, 400);
	buf_puts(out, "\n");
}

static bool went_wrong(const Admin__Task *k)
{
	return k->reason[0] && (strcmp(k->cause, "version") == 0 || strcmp(k->cause, "infrastructure") == 0);
}

static void put_seen(struct buf *out, const Admin__Rollout *r)
{
	unsigned shown = 0, more = 0;
	char at[32], id[24], line[512];
	for (size_t i = 0; i < r->n_tasks; i++) {
		const Admin__Task *k = r->tasks[i];
		if (!went_wrong(k))
			continue;
		if (shown == SEEN_MAX) {
			more++;
			continue;
		}
		cli_rfc3339(at, sizeof at, k->state_since_ms);
		snprintf(line, sizeof line, "%s %.8s  \"%s\"    wavetrain logs %s --host %s", k->host,
			 at[0] ? at + 11 : "", k->reason, cli_short_id(id, sizeof id, r->id), k->host);
		put_line(out, shown++ ? "" : "Seen:", line);
	}
	if (more) {
		snprintf(line, sizeof line, "and %u more hosts: wavetrain status %s -v --watch false", more,
			 cli_short_id(id, sizeof id, r->id));
		put_line(out, "", line);
	}
}

static unsigned count_back(const Admin__Rollout *r)
{
	unsigned n = 0;
	char text[40];
	for (size_t i = 0; i < r->n_tasks; i++) {
		cli_state_text(text, sizeof text, r->tasks[i]->state);
		n += !r->tasks[i]->touched || strcmp(text, "Reverted") == 0;
	}
	return n;
}

/* What runs now: said from the hosts' own results, never from the intention. */
static void put_now(struct buf *out, const Admin__Rollout *r)
{
	unsigned back = count_back(r), all = (unsigned)r->n_tasks;
	const char *from = r->from_version[0] ? r->from_version : "nothing";
	char line[512];
	if (back == all)
		snprintf(line, sizeof line, "all %u hosts run what they ran before (%s).%s%s%s", all, from,
			 r->target_bad ? " Version " : "", r->target_bad ? r->version : "",
			 r->target_bad ? " is marked bad; deploy needs --force-bad." : "");
	else
		snprintf(line, sizeof line, "%u of %u hosts run what they ran before (%s); %u do not.", back,
			 all, from, all - back);
	put_line(out, "Now:", line);
}

static void put_next(struct buf *out, const Admin__Rollout *r)
{
	char line[512];
	if (count_back(r) != r->n_tasks)
		snprintf(line, sizeof line,
			 "wavetrain agents list shows what runs; then wavetrain deploy %.64s %.64s -e %.64s",
			 r->app, r->from_version[0] ? r->from_version : r->version, r->env);
	else if (r->target_bad)
		snprintf(line, sizeof line,
			 "fix it and deploy a new version; was the version not at fault: wavetrain release "
			 "release-bad %.64s %.64s --reason TEXT",
			 r->app, r->version);
	else
		snprintf(line, sizeof line, "wavetrain deploy %.64s %.64s -e %.64s", r->app, r->version,
			 r->env);
	put_line(out, "Next:", line);
}

static void put_share(struct buf *out, const Admin__Rollout *r)
{
	uint32_t permille_seen =
		r->hosts_nr ? (uint32_t)((uint64_t)r->hosts_touched * 1000 / r->hosts_nr) : 0;
	buf_printf(out, "   %u of %u hosts saw %s (%u.%u%%)\n", r->hosts_touched, r->hosts_nr, r->version,
		   permille_seen / 10, permille_seen % 10);
}

void cli_report(struct buf *out, const Admin__Rollout *r, const struct cli_screen *s)
{
	char state[40], age[24], id[24];
	enum cli_mark mark = cli_mark_of(r->state);
	int64_t end = r->ended_at_ms ? r->ended_at_ms : r->now_ms;
	cli_state_text(state, sizeof state, r->state);
	if (state[0] >= 'A' && state[0] <= 'Z')
		state[0] = (char)(state[0] + 'a' - 'A');
	cli_put_mark(out, s, mark);
	buf_printf(out, " %s %s  %s %s in %s  after %s", cli_short_id(id, sizeof id, r->id), state, r->app,
		   r->version, r->env, cli_age(age, sizeof age, end - r->created_at_ms));
	if (mark == MARK_GOOD) {
		buf_printf(out, "   %u of %u hosts healthy\n", r->hosts_done, r->hosts_nr);
		return;
	}
	put_share(out, r);
	if (r->reason[0])
		put_line(out, "Why:", r->reason);
	put_seen(out, r);
	put_now(out, r);
	if (r->superseded_by[0]) {
		buf_printf(out, "  Next: wavetrain watch %s\n", r->superseded_by);
		return;
	}
	put_next(out, r);
}
