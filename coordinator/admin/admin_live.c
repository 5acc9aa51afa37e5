#include "coordinator/admin/admin_live.h"

#include <stdio.h>

#include "base/sm.h"
#include "coordinator/drive/fleet.h"
#include "coordinator/state/machines.h"

static const char *health_text(uint32_t h)
{
	static const char *const names[] = {"unknown", "healthy", "unhealthy", "starting", "stopped"};
	return h < ARRAY_LEN(names) ? names[h] : "unknown";
}

static const char *lower(struct arena *a, const char *s)
{
	char *out = arena_strdup(a, s);
	for (char *p = out; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 'a' - 'A');
	return out;
}

static void fill_app(struct arena *a, const struct fleet_app *app, struct admin_soft *out)
{
	out->has_app = true;
	out->running = app->running;
	out->health = health_text(app->health);
	out->step = app->step ? lower(a, sm_name(&task_machine, (int)app->step)) : "";
	out->note = arena_strdup(a, app->note);
	out->restarts = app->restarts;
	out->fetched_bytes = app->fetched_bytes;
	out->fetch_total_bytes = app->fetch_total_bytes;
	out->in_rotation = app->in_rotation;
}

void admin_live_soft(struct drive *d, struct wall_ms now, struct arena *a, const struct name *host,
		     const struct name *app, struct admin_soft *out)
{
	const struct fleet_host *h = drive_host(d, host);
	*out = (struct admin_soft){.agent_version = "", .health = "", .step = "", .note = ""};
	if (h == NULL || h->last_seen.v == 0)
		return;
	out->seen = true;
	out->last_poll_age_ms = now.v > h->last_seen.v ? now.v - h->last_seen.v : 0;
	out->free_bytes = h->free_bytes;
	out->agent_version = arena_strdup(a, h->agent_version);
	const struct fleet_app *fa = app ? fleet_app(h, app) : NULL;
	if (fa != NULL)
		fill_app(a, fa, out);
}

void admin_live_explain(struct drive *d, struct wall_ms now, struct arena *a, struct deployment_id id,
			admin_line_fn *each, void *arg)
{
	struct plan_update *u = arena_new(a, struct plan_update);
	if (drive_explain(d, id, a, now, u) != E_OK)
		return;
	for (size_t i = 0; i < u->reasons_nr; i++) {
		const struct plan_reason *r = &u->reasons[i];
		if (r->until.v > now.v)
			each(arg, arena_printf(a, "%s: %s (%llds more)", r->object, r->text,
					       (long long)(r->until.v - now.v) / 1000));
		else
			each(arg, arena_printf(a, "%s: %s", r->object, r->text));
	}
}

struct admin_check admin_live_state_check(struct arena *a, uint64_t used, uint64_t max, uint64_t entries)
{
	/* Snapshots end at 1 GiB; they are begun every 16384 entries. */
	enum { WARN_MIB = 512, WARN_ENTRIES = 4 * 16384 };
	struct admin_check c = {.name = "state",
				.result = used > max / 4 * 3				     ? "fail"
					  : used >> 20 >= WARN_MIB || entries > WARN_ENTRIES ? "warn"
											     : "ok",
				.fix = "docs/operations.md, \"How large the state may grow\""};
	c.text = arena_printf(a, "%llu MiB of at most %llu; %llu entries of the log since the last snapshot",
			      (unsigned long long)used >> 20, (unsigned long long)max >> 20,
			      (unsigned long long)entries);
	return c;
}
