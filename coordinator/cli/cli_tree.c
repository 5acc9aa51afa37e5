#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/cli.h"

/* ---- words and marks ---- */

const char *cli_state_text(char *out, size_t cap, const char *state)
{
	size_t i = 0;
	for (; state[i] && i + 1 < cap; i++) {
		char c = (char)tolower((unsigned char)state[i]);
		out[i] = c == '_' || c == '-' ? ' ' : c;
	}
	out[i] = '\0';
	if (i)
		out[0] = (char)toupper((unsigned char)out[0]);
	return out;
}

/* States are told apart by their words as shown, whatever machine they belong to. */
enum cli_mark cli_mark_of(const char *state)
{
	static const struct {
		const char *word;
		enum cli_mark mark;
	} rows[] = {{"Succeeded", MARK_GOOD},
		    {"Passed", MARK_GOOD},
		    {"Healthy", MARK_GOOD},
		    {"Reverted", MARK_GOOD},
		    {"Queued", MARK_WAIT},
		    {"Pending", MARK_WAIT},
		    {"Gated", MARK_WAIT},
		    {"Awaiting approval", MARK_WAIT},
		    {"Awaiting window", MARK_WAIT},
		    {"Draft", MARK_WAIT},
		    {"Stopped", MARK_WAIT},
		    {"Skipped", MARK_NONE},
		    {"Paused", MARK_WARN},
		    {"Held", MARK_WARN},
		    {"Lost", MARK_WARN},
		    {"Drifted", MARK_WARN},
		    {"Rolling back", MARK_WARN},
		    {"Reverting", MARK_WARN},
		    {"Failed", MARK_FAIL},
		    {"Rolled back", MARK_FAIL},
		    {"Cancelled", MARK_FAIL},
		    {"Superseded", MARK_WARN}};
	char text[40];
	cli_state_text(text, sizeof text, state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].word, text) == 0)
			return rows[i].mark;
	return MARK_BUSY;
}

static const char *glyph(const struct cli_screen *s, enum cli_mark m)
{
	static const char *const fancy[] = {" ", "✔", "◌", "॥", "⚠", "✖"};
	static const char *const plain[] = {" ", "+", "~", "=", "!", "x"};
	return s->utf8 ? fancy[m] : plain[m];
}

static const char *colour(enum cli_mark m)
{
	static const char *const codes[] = {"0", "32", "36", "90", "33", "31"};
	return codes[m];
}

void cli_put_mark(struct buf *out, const struct cli_screen *s, enum cli_mark m)
{
	if (s->color && m != MARK_NONE)
		buf_printf(out, "\033[%sm%s\033[0m", colour(m), glyph(s, m));
	else
		buf_puts(out, glyph(s, m));
}

const char *cli_short_id(char *out, size_t cap, const char *id)
{
	snprintf(out, cap, "%.10s", id);
	return out;
}

/* ---- lines ---- */

struct tree {
	struct buf *out;
	const Admin__Rollout *r;
	const struct cli_screen *s;
	bool verbose;
	size_t name_w, status_w, hosts_w, age_w; /* age 0: neither age nor info are shown */
};

static size_t clamp(size_t v, size_t low, size_t high)
{
	return v < low ? low : v > high ? high : v;
}

/* By all names, shown or not: columns that jump at each redraw cannot be read. */
static size_t longest_name(const Admin__Rollout *r)
{
	enum { LEAD_REGION = 3, LEAD_WAVE = 6, LEAD_HOST = 9 };
	size_t longest = LEAD_WAVE + strlen("wave 64");
	for (size_t i = 0; i < r->n_waves; i++)
		longest = clamp(LEAD_REGION + cli_columns(r->waves[i]->region), longest, SIZE_MAX);
	for (size_t i = 0; i < r->n_tasks; i++)
		longest = clamp(LEAD_HOST + cli_columns(r->tasks[i]->host), longest, SIZE_MAX);
	return longest;
}

static void lay_out(struct tree *t)
{
	bool wide = t->s->width >= 72;
	char hosts[32];
	int n = snprintf(hosts, sizeof hosts, "%u/%u", t->r->hosts_nr, t->r->hosts_nr);
	t->name_w = wide ? clamp(longest_name(t->r) + 2, 14, t->s->width >= 100 ? 40 : 26) : 18;
	t->status_w = wide ? 16 : 12;
	t->hosts_w = clamp((size_t)n + 2, 7, 14);
	t->age_w = wide ? 8 : 0;
}

static void end_line(struct tree *t)
{
	while (t->out->len && t->out->data[t->out->len - 1] == ' ')
		t->out->len--;
	buf_put(t->out, "\n", 1);
}

static void put_row(struct tree *t, const char *name, const char *state, const char *hosts, int64_t since_ms,
		    const char *info)
{
	char text[40], age[24] = "-";
	size_t used = t->name_w + t->status_w + t->hosts_w + t->age_w;
	cli_put_pad(t->out, name, t->name_w - 1);
	buf_put(t->out, " ", 1);
	cli_put_mark(t->out, t->s, state[0] ? cli_mark_of(state) : MARK_NONE);
	buf_put(t->out, " ", 1);
	cli_put_pad(t->out, cli_state_text(text, sizeof text, state), t->status_w - 3);
	buf_put(t->out, " ", 1);
	cli_put_pad(t->out, hosts, t->hosts_w - 1);
	buf_put(t->out, " ", 1);
	if (t->age_w) {
		if (since_ms > 0)
			cli_age(age, sizeof age, t->r->now_ms - since_ms);
		cli_put_pad(t->out, age, t->age_w - 1);
		buf_put(t->out, " ", 1);
		cli_put_fit(t->out, info, t->s->width > used ? t->s->width - used : 0, t->s->utf8);
	}
	end_line(t);
}

static const char *branch(const struct tree *t, bool last)
{
	if (t->s->utf8)
		return last ? "└─ " : "├─ ";
	return last ? "`- " : "|- ";
}

static const char *stem(const struct tree *t, bool last)
{
	return last ? "   " : t->s->utf8 ? "│  " : "|  ";
}

/* ---- header ---- */

static const char *arrow(const struct cli_screen *s)
{
	return s->utf8 ? "→" : "->";
}

static void put_header(struct tree *t)
{
	const Admin__Rollout *r = t->r;
	char state[40], age[24], id[24], left[256];
	bool ended = r->ended_at_ms > 0;
	cli_state_text(state, sizeof state, r->state);
	cli_age(age, sizeof age, (ended ? r->ended_at_ms : r->now_ms) - r->created_at_ms);
	snprintf(left, sizeof left, "%s %s %s %s   %s   %s", r->app,
		 r->from_version[0] ? r->from_version : "(none)", arrow(t->s), r->version, r->env,
		 cli_short_id(id, sizeof id, r->id));
	cli_put_cut(t->out, left, t->s->width);
	/* On a narrow screen the state gets its own line: it matters most. */
	if (cli_columns(left) + cli_columns(state) + 20 > t->s->width)
		end_line(t);
	else
		buf_puts(t->out, "   ");
	cli_put_mark(t->out, t->s, cli_mark_of(r->state));
	buf_printf(t->out, " %s   %s", state, age);
	end_line(t);
}

static void put_reason(struct tree *t)
{
	for (size_t i = 0; i < t->r->n_waiting && i < 3; i++) {
		cli_put_cut(t->out, i ? "         " : "waiting: ", 9);
		cli_put_fit(t->out, t->r->waiting[i], t->s->width > 9 ? t->s->width - 9 : 0, t->s->utf8);
		end_line(t);
	}
	if (t->r->n_waiting == 0 && t->r->reason[0]) {
		cli_put_fit(t->out, t->r->reason, t->s->width, t->s->utf8);
		end_line(t);
	}
}

/* ---- hosts ---- */

enum { HOSTS_PER_WAVE = 6 };

/* What was left on a host when it was done is not what it runs now. */
static bool has_drifted(const Admin__Task *k)
{
	return k->drift[0] && cli_mark_of(k->state) == MARK_GOOD;
}

static bool is_quiet(const Admin__Task *k)
{
	if (has_drifted(k) || (k->note[0] && cli_mark_of(k->state) == MARK_GOOD))
		return false;
	enum cli_mark m = cli_mark_of(k->state);
	return m == MARK_GOOD || m == MARK_WAIT || m == MARK_NONE;
}

static bool is_fetching(const Admin__Task *k)
{
	return k->fetch_total_bytes && k->fetched_bytes < k->fetch_total_bytes &&
	       cli_mark_of(k->state) == MARK_BUSY;
}

/* Committed states are few; a host under way says itself where it is. */
static const char *state_shown(const Admin__Task *k)
{
	if (is_fetching(k))
		return "FETCHING";
	if (has_drifted(k))
		return "DRIFTED";
	return k->step[0] && cli_mark_of(k->state) == MARK_BUSY ? k->step : k->state;
}

enum { BAR_COLUMNS = 10 };

static void fetch_info(char *out, size_t cap, const Admin__Task *k, const struct cli_screen *s)
{
	char done[24], total[24], bar[BAR_COLUMNS * 4 + 1] = "";
	unsigned percent = (unsigned)(k->fetched_bytes * 100 / k->fetch_total_bytes);
	for (unsigned i = 0; i < BAR_COLUMNS; i++) {
		bool full = i < percent / (100 / BAR_COLUMNS);
		strcat(bar, s->utf8 ? full ? "█" : "░" : full ? "#" : "-");
	}
	snprintf(out, cap, "%s %u%%  %s of %s", bar, percent, cli_bytes(done, sizeof done, k->fetched_bytes),
		 cli_bytes(total, sizeof total, k->fetch_total_bytes));
}

static void task_info(char *out, size_t cap, const Admin__Task *k, const struct cli_screen *s)
{
	if (has_drifted(k))
		snprintf(out, cap, "%s%s%s", k->drift, k->note[0] ? ": " : "", k->note);
	else if (k->reason[0])
		snprintf(out, cap, "%s", k->reason);
	else if (is_fetching(k))
		fetch_info(out, cap, k, s);
	else
		snprintf(out, cap, "%s", k->note);
}

static void put_tasks(struct tree *t, const Admin__Wave *w, const char *lead)
{
	size_t shown = 0, hidden = 0;
	char name[128], info[256];
	for (size_t i = 0; i < t->r->n_tasks; i++) {
		const Admin__Task *k = t->r->tasks[i];
		if (k->wave != w->index || (is_quiet(k) && !t->verbose))
			continue;
		if (shown == HOSTS_PER_WAVE && !t->verbose) {
			hidden++;
			continue;
		}
		snprintf(name, sizeof name, "%s%s", lead, k->host);
		task_info(info, sizeof info, k, t->s);
		put_row(t, name, state_shown(k), "-", k->state_since_ms, info);
		shown++;
	}
	if (hidden) {
		snprintf(name, sizeof name, "%sand %zu more", lead, hidden);
		cli_put_cut(t->out, name, t->s->width);
		end_line(t);
	}
}

/* ---- regions and waves ---- */

/* "1 failed · 2 probing · 17 queued": where the hosts of a wave are; those that are well stand in HOSTS. */
static void hosts_info(char *out, size_t cap, const struct tree *t, const Admin__Wave *w)
{
	struct {
		char text[40];
		unsigned nr;
	} kinds[8] = {0};
	size_t n = 0, at = 0;
	for (size_t i = 0; i < t->r->n_tasks; i++) {
		const Admin__Task *k = t->r->tasks[i];
		char text[40];
		size_t j = 0;
		if (k->wave != w->index || cli_mark_of(k->state) == MARK_GOOD)
			continue;
		cli_state_text(text, sizeof text, state_shown(k));
		text[0] = (char)tolower((unsigned char)text[0]);
		while (j < n && strcmp(kinds[j].text, text) != 0)
			j++;
		if (j == ARRAY_LEN(kinds))
			continue;
		n = j == n ? n + 1 : n;
		snprintf(kinds[j].text, sizeof kinds[j].text, "%s", text);
		kinds[j].nr++;
	}
	out[0] = '\0';
	for (size_t j = 0; j < n && at < cap; j++)
		at += (size_t)snprintf(out + at, cap - at, "%s%u %s",
				       j == 0	    ? ""
				       : t->s->utf8 ? " · "
						    : ", ",
				       kinds[j].nr, kinds[j].text);
}

/* "after wave 1 and its bake of 10m00s": what a wave that has not begun waits for. */
static void after_info(char *out, size_t cap, const struct tree *t, const Admin__Wave *w)
{
	char bake[24];
	size_t at = 0;
	out[0] = '\0';
	for (size_t i = 0; i < t->r->n_waves && at < cap; i++) {
		const Admin__Wave *before = t->r->waves[i];
		if (!(before->index < 64 && w->after & 1ull << before->index) ||
		    cli_mark_of(before->state) == MARK_GOOD)
			continue;
		at += (size_t)snprintf(out + at, cap - at, "%s wave %u", at ? "," : "after",
				       before->index + 1);
		if (before->bake_ms && at < cap)
			at += (size_t)snprintf(out + at, cap - at, " + bake %s",
					       cli_age(bake, sizeof bake, before->bake_ms));
	}
}

static void wave_info(char *out, size_t cap, const struct tree *t, const Admin__Wave *w)
{
	char text[40], left[24];
	cli_state_text(text, sizeof text, w->state);
	int64_t bake_left = w->state_since_ms + w->bake_ms - t->r->now_ms;
	snprintf(out, cap, "%s", w->reason);
	if (out[0])
		return;
	if (strcmp(text, "Baking") == 0 && bake_left > 0)
		snprintf(out, cap, "bakes %s more", cli_age(left, sizeof left, bake_left + 999));
	else if (strcmp(text, "Pending") == 0 && !t->r->terminal)
		after_info(out, cap, t, w);
	else if (cli_mark_of(w->state) != MARK_GOOD && !t->r->terminal)
		hosts_info(out, cap, t, w);
}

static void put_wave(struct tree *t, const Admin__Wave *w, bool last_region, bool last_wave)
{
	char name[128], hosts[32], info[256], lead[64];
	snprintf(name, sizeof name, "%s%swave %u", stem(t, last_region), branch(t, last_wave), w->index + 1);
	snprintf(hosts, sizeof hosts, "%u/%u", w->good, w->hosts);
	wave_info(info, sizeof info, t, w);
	put_row(t, name, w->state, hosts, w->state_since_ms, info);
	snprintf(lead, sizeof lead, "%s%s   ", stem(t, last_region), stem(t, last_wave));
	put_tasks(t, w, lead);
}

/* The state of a region is that of its most telling wave: failed, then busy, then waiting, then good. */
static const Admin__Wave *telling(const Admin__Wave *a, const Admin__Wave *b)
{
	static const int weight[] = {0, 1, 4, 2, 5, 6};
	if (!a)
		return b;
	return weight[cli_mark_of(b->state)] > weight[cli_mark_of(a->state)] ? b : a;
}

static bool first_of_region(const Admin__Rollout *r, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(r->waves[j]->region, r->waves[i]->region) == 0)
			return false;
	return true;
}

static bool more_of_region(const Admin__Rollout *r, size_t i, const char *region)
{
	for (size_t j = i + 1; j < r->n_waves; j++)
		if (strcmp(r->waves[j]->region, region) == 0)
			return true;
	return false;
}

static bool more_regions(const Admin__Rollout *r, size_t i)
{
	for (size_t j = i + 1; j < r->n_waves; j++)
		if (first_of_region(r, j))
			return true;
	return false;
}

static void put_region(struct tree *t, size_t first)
{
	const Admin__Rollout *r = t->r;
	const char *region = r->waves[first]->region;
	const Admin__Wave *main_wave = NULL;
	uint32_t good = 0, hosts = 0;
	char name[128], count[32];
	bool last_region = !more_regions(r, first);
	for (size_t i = first; i < r->n_waves; i++)
		if (strcmp(r->waves[i]->region, region) == 0) {
			main_wave = telling(main_wave, r->waves[i]);
			good += r->waves[i]->good;
			hosts += r->waves[i]->hosts;
		}
	snprintf(name, sizeof name, "%s%s", branch(t, last_region), region);
	snprintf(count, sizeof count, "%u/%u", good, hosts);
	put_row(t, name, main_wave->state, count, main_wave->state_since_ms, "");
	for (size_t i = first; i < r->n_waves; i++)
		if (strcmp(r->waves[i]->region, region) == 0)
			put_wave(t, r->waves[i], last_region, !more_of_region(r, i, region));
}

void cli_tree(struct buf *out, const Admin__Rollout *r, const struct cli_screen *s, bool verbose)
{
	struct tree t = {.out = out, .r = r, .s = s, .verbose = verbose};
	char name[64], id[24], hosts[32];
	lay_out(&t);
	put_header(&t);
	put_reason(&t);
	buf_put(out, "\n", 1);
	cli_put_pad(out, "NAME", t.name_w);
	cli_put_pad(out, "STATUS", t.status_w);
	cli_put_pad(out, "HOSTS", t.hosts_w);
	if (t.age_w) {
		cli_put_pad(out, "AGE", t.age_w);
		buf_puts(out, "INFO");
	}
	end_line(&t);
	snprintf(name, sizeof name, "%s %s", s->utf8 ? "⟳" : "@", cli_short_id(id, sizeof id, r->id));
	snprintf(hosts, sizeof hosts, "%u/%u", r->hosts_done, r->hosts_nr);
	put_row(&t, name, r->state, hosts, r->created_at_ms, "");
	for (size_t i = 0; i < r->n_waves; i++)
		if (first_of_region(r, i))
			put_region(&t, i);
}
