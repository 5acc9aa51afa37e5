#include <stdio.h>
#include <string.h>

#include "coordinator/cli/cli.h"

enum { SEEN_MAX = 3, INDENT = 8 };

/* The length of the longest part that ends before a blank and fits; a word longer than that stays whole. */
static size_t fitting(const char *s, size_t columns)
{
	size_t fit = 0, used = 0;
	for (const char *at = s; *at;) {
		size_t n = strcspn(at + strspn(at, " "), " ") + strspn(at, " ");
		char part[1024];
		snprintf(part, sizeof part, "%.*s", (int)n, at);
		used += cli_columns(part);
		if (used > columns && fit > 0)
			break;
		at += n;
		fit = (size_t)(at - s);
	}
	return fit;
}

/* Lines longer than the screen go on below, under the text and not under its head. */
static void put_wrapped(struct buf *out, const char *text, size_t used, const struct cli_screen *s)
{
	char part[1024];
	while (*text) {
		size_t n = fitting(text, s->width > used + 1 ? s->width - used : 1);
		snprintf(part, sizeof part, "%.*s", (int)n, text);
		cli_put_cut(out, part, SIZE_MAX);
		text += n;
		text += strspn(text, " ");
		if (*text)
			buf_printf(out, "\n%*s", INDENT, "");
		used = INDENT;
	}
	buf_puts(out, "\n");
}

static void put_line(struct buf *out, const char *head, const char *text, const struct cli_screen *s)
{
	buf_printf(out, "  %-6s", head);
	put_wrapped(out, text, INDENT, s);
}

static bool went_wrong(const Admin__Task *k)
{
	return k->reason[0] && (strcmp(k->cause, "version") == 0 || strcmp(k->cause, "infrastructure") == 0);
}

/* One host that failed: when, with what, what its program printed, and where to read more. */
struct seen_host {
	const char *host, *reason, *line;
	int64_t at_ms;
	uint32_t line_count;
};

static void put_host(struct buf *out, const Admin__Rollout *r, const struct seen_host *h, bool first,
		     const struct cli_screen *s)
{
	char at[32], id[24], line[1024], said[512], more[160], times[24] = "";
	cli_rfc3339(at, sizeof at, h->at_ms);
	snprintf(line, sizeof line, "%s %.8s  %s", h->host, at[0] ? at + 11 : "", h->reason);
	put_line(out, first ? "Seen:" : "", line, s);
	if (h->line_count > 1)
		snprintf(times, sizeof times, " %s%u", s->utf8 ? "×" : "x", h->line_count);
	snprintf(said, sizeof said, "\"%.400s\"%s", h->line, times);
	snprintf(more, sizeof more, "wavetrain logs %s --host %s", cli_short_id(id, sizeof id, r->id),
		 h->host);
	if (h->line[0] && cli_columns(said) + cli_columns(more) + 4 + INDENT <= s->width) {
		snprintf(line, sizeof line, "%s    %s", said, more);
		put_line(out, "", line, s);
		return;
	}
	if (h->line[0])
		put_line(out, "", said, s);
	put_line(out, "", more, s);
}

/* The story is asked first: hosts that went back have no reason of their own any more. */
static void put_seen(struct buf *out, const Admin__Rollout *r, const struct cli_screen *s)
{
	unsigned shown = 0, more = r->seen_more;
	char id[24], line[160];
	for (size_t i = 0; i < r->n_seen; i++) {
		const Admin__Seen *e = r->seen[i];
		const struct seen_host h = {e->host, e->reason, e->line, e->at_ms, e->line_count};
		put_host(out, r, &h, shown++ == 0, s);
	}
	for (size_t i = 0; r->n_seen == 0 && i < r->n_tasks; i++) {
		const Admin__Task *k = r->tasks[i];
		const struct seen_host h = {k->host, k->reason, "", k->state_since_ms, 0};
		if (!went_wrong(k))
			continue;
		if (shown < SEEN_MAX)
			put_host(out, r, &h, shown++ == 0, s);
		else
			more++;
	}
	if (more == 0)
		return;
	snprintf(line, sizeof line, "and %u more hosts: wavetrain status %s -v --watch=false", more,
		 cli_short_id(id, sizeof id, r->id));
	put_line(out, "", line, s);
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
static void put_now(struct buf *out, const Admin__Rollout *r, const struct cli_screen *s)
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
	put_line(out, "Now:", line, s);
}

static void put_next(struct buf *out, const Admin__Rollout *r, const struct cli_screen *s)
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
	put_line(out, "Next:", line, s);
}

/* The first line, without its mark. */
static void put_head(struct buf *out, const Admin__Rollout *r, const char *state, bool good,
		     const struct cli_screen *s)
{
	char age[24], id[24], line[512];
	int64_t end = r->ended_at_ms ? r->ended_at_ms : r->now_ms;
	uint32_t permille_seen =
		r->hosts_nr ? (uint32_t)((uint64_t)r->hosts_touched * 1000 / r->hosts_nr) : 0;
	int n = snprintf(line, sizeof line, "%s %s  %.64s %.64s in %.64s  after %s   ",
			 cli_short_id(id, sizeof id, r->id), state, r->app, r->version, r->env,
			 cli_age(age, sizeof age, end - r->created_at_ms));
	if (good)
		snprintf(line + n, sizeof line - (size_t)n, "%u of %u hosts healthy", r->hosts_done,
			 r->hosts_nr);
	else
		snprintf(line + n, sizeof line - (size_t)n, "%u of %u hosts saw %.64s (%u.%u%%)",
			 r->hosts_touched, r->hosts_nr, r->version, permille_seen / 10, permille_seen % 10);
	put_wrapped(out, line, 2, s);
}

void cli_report(struct buf *out, const Admin__Rollout *r, const struct cli_screen *s)
{
	char state[40], line[80];
	enum cli_mark mark = cli_mark_of(r->state);
	cli_state_text(state, sizeof state, r->state);
	if (state[0] >= 'A' && state[0] <= 'Z')
		state[0] = (char)(state[0] + 'a' - 'A');
	cli_put_mark(out, s, mark);
	buf_puts(out, " ");
	put_head(out, r, state, mark == MARK_GOOD, s);
	if (mark == MARK_GOOD)
		return;
	if (r->reason[0])
		put_line(out, "Why:", r->reason, s);
	put_seen(out, r, s);
	put_now(out, r, s);
	if (r->superseded_by[0]) {
		snprintf(line, sizeof line, "wavetrain watch %.40s", r->superseded_by);
		put_line(out, "Next:", line, s);
		return;
	}
	put_next(out, r, s);
}
