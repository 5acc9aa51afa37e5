#include "coordinator/drive/fleet.h"

#include <stdio.h>
#include <stdlib.h>

#define NDEBUG /* utlist's assert is I/O in the eyes of the purity lint; PRE below says the same */
#include <utlist.h>

#include "proto/envelope.h"

void fleet_init(struct fleet *f)
{
	*f = (struct fleet){0};
}

static void apps_free(struct fleet_host *h)
{
	struct fleet_app *a, *next;
	HASH_ITER(hh, h->apps, a, next)
	{
		HASH_DEL(h->apps, a);
		free(a);
	}
}

static void host_free(struct fleet *f, struct fleet_host *h)
{
	fleet_unbind(f, h);
	apps_free(h);
	HASH_DEL(f->hosts, h);
	free(h);
}

void fleet_done(struct fleet *f)
{
	struct fleet_host *h, *next;
	HASH_ITER(hh, f->hosts, h, next)
	host_free(f, h);
}

struct fleet_host *fleet_find(struct fleet *f, const struct name *host)
{
	struct fleet_host *h;
	HASH_FIND_STR(f->hosts, host->s, h);
	return h;
}

struct fleet_host *fleet_get(struct fleet *f, const struct name *host)
{
	struct fleet_host *h = fleet_find(f, host);
	if (h != NULL)
		return h;
	h = calloc(1, sizeof *h);
	PRE(h != NULL);
	h->name = *host;
	HASH_ADD_STR(f->hosts, name.s, h);
	return h;
}

struct fleet_host *fleet_by_session(struct fleet *f, uint64_t session)
{
	struct fleet_host *h;
	HASH_FIND(by_session, f->sessions, &session, sizeof session, h);
	return h;
}

/* Nearly all wait equally long, so the place is nearly always the end. */
void fleet_park(struct fleet *f, struct fleet_host *h, struct wall_ms until)
{
	fleet_unpark(f, h);
	struct fleet_host *before = f->parked == NULL ? NULL : f->parked->prev;
	while (before != NULL && before->poll_until.v > until.v)
		before = before == f->parked ? NULL : before->prev;
	h->poll_until = until;
	h->parked = true;
	if (before == NULL)
		DL_PREPEND(f->parked, h);
	else
		DL_APPEND_ELEM(f->parked, before, h);
}

void fleet_unpark(struct fleet *f, struct fleet_host *h)
{
	if (!h->parked)
		return;
	PRE(f->parked != NULL && h->prev != NULL);
	DL_DELETE(f->parked, h);
	h->parked = false;
}

void fleet_unbind(struct fleet *f, struct fleet_host *h)
{
	if (h->session != 0)
		HASH_DELETE(by_session, f->sessions, h);
	h->session = 0;
	fleet_unpark(f, h);
	h->greeted = false;
	h->referred = 0;
}

void fleet_bind(struct fleet *f, struct fleet_host *h, uint64_t session, struct wall_ms now)
{
	fleet_unbind(f, h);
	h->bound_at = now;
	h->session = session;
	HASH_ADD(by_session, f->sessions, session, sizeof h->session, h);
}

void fleet_forget(struct fleet *f, const struct name *host)
{
	struct fleet_host *h = fleet_find(f, host);
	if (h != NULL)
		host_free(f, h);
}

const struct fleet_app *fleet_app(const struct fleet_host *h, const struct name *app)
{
	struct fleet_app *a;
	HASH_FIND_STR(h->apps, app->s, a);
	return a;
}

static struct fleet_app *app_get(struct fleet_host *h, const char *name)
{
	struct name n;
	struct fleet_app *a;
	if (!name_set(&n, name))
		return NULL;
	HASH_FIND_STR(h->apps, n.s, a);
	if (a != NULL)
		return a;
	a = calloc(1, sizeof *a);
	PRE(a != NULL);
	a->name = n;
	HASH_ADD_STR(h->apps, name.s, a);
	return a;
}

/* A foreign phrase: cut, terminated, and without control characters (T15). */
static void note_set(char *out, size_t cap, const char *s)
{
	snprintf(out, cap, "%s", s);
	for (char *c = out; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

/* Continuous health: an earlier beginning that we saw ourselves stays, the agent's own count can only shorten
 * it. */
static struct wall_ms healthy_since(const struct fleet_app *a, bool healthy, uint64_t healthy_for_ms,
				    struct wall_ms now)
{
	int64_t says = now.v - (healthy_for_ms < INT32_MAX ? (int64_t)healthy_for_ms : INT32_MAX);
	if (!healthy)
		return (struct wall_ms){0};
	if (a->healthy_since.v != 0 && says <= a->healthy_since.v)
		return a->healthy_since;
	return (struct wall_ms){says};
}

/* The planner's clocks look at it. */
static bool take_fault(struct fleet_app *a, const Wavetrain__Agent__AppStatus *s, struct wall_ms now)
{
	int64_t ms = s->fault_ms < INT32_MAX ? (int64_t)s->fault_ms : INT32_MAX;
	bool changed = a->fault_lasts != (bool)s->fault_lasts;
	if (s->fault_lasts || ms != a->fault_ms)
		a->fault_told = now;
	a->fault_ms = ms;
	a->fault_lasts = s->fault_lasts;
	return changed;
}

bool fleet_status(struct fleet_host *h, const Wavetrain__Agent__AppStatus *s, struct wall_ms now)
{
	struct fleet_app *a = app_get(h, s->app);
	struct digest running;
	if (a == NULL || !bytes_digest(s->target, &running))
		return false;
	bool healthy = s->health == WAVETRAIN__AGENT__HEALTH__HEALTH_HEALTHY;
	bool changed = a->health != (uint32_t)s->health || a->in_rotation != (bool)s->in_rotation ||
		       a->step != s->step || a->seq != s->seq || !digest_eq(&a->running, &running) ||
		       a->restarts != s->restarts;
	changed |= take_fault(a, s, now);
	if (a->step != s->step || a->step_since.v == 0)
		a->step_since = now;
	a->healthy_since = a->restarts == s->restarts ? healthy_since(a, healthy, s->healthy_for_ms, now)
						      : (struct wall_ms){healthy ? now.v : 0};
	if (healthy) {
		a->well_hi = h->boot_hi;
		a->well_lo = h->boot_lo;
	}
	if (healthy && s->in_rotation && !digest_none(&running))
		a->missing_since.v = 0;
	else if (a->missing_since.v == 0)
		a->missing_since = now;
	a->running = running;
	a->health = (uint32_t)s->health;
	a->in_rotation = s->in_rotation;
	a->step = s->step < TASK_STATE_NR ? (enum task_state)s->step : 0;
	a->seq = s->seq;
	a->restarts = s->restarts;
	a->fetched_bytes = s->fetched_bytes;
	a->fetch_total_bytes = s->fetch_total_bytes;
	note_set(a->note, sizeof a->note, s->note);
	return changed;
}

static bool is_named(const struct fleet_app *a, size_t n, Wavetrain__Agent__AppStatus *const *named)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(named[i]->app, a->name.s) == 0)
			return true;
	return false;
}

bool fleet_prune(struct fleet_host *h, size_t n, Wavetrain__Agent__AppStatus *const *named)
{
	struct fleet_app *a, *next;
	bool changed = false;
	HASH_ITER(hh, h->apps, a, next)
	{
		if (is_named(a, n, named))
			continue;
		HASH_DEL(h->apps, a);
		free(a);
		changed = true;
	}
	return changed;
}

/* That stays true however long ago it was said. */
bool fleet_ended(struct fleet *f, const struct name *host, const struct name *app, uint64_t seq)
{
	const struct fleet_host *h = fleet_find(f, host);
	const struct fleet_app *a = h == NULL ? NULL : fleet_app(h, app);
	return a != NULL && a->seq >= seq &&
	       (a->step == TASK_HEALTHY || a->step == TASK_FAILED || a->step == TASK_REVERTED);
}

static enum availability availability(const struct fleet_app *a, int64_t min_healthy_ms, struct wall_ms now)
{
	if (a == NULL || a->healthy_since.v == 0 || !a->in_rotation || digest_none(&a->running))
		return AVAIL_DOWN;
	return now.v - a->healthy_since.v >= min_healthy_ms ? AVAIL_UP : AVAIL_DOWN;
}

/* Of a host that is not heard: since its last word, or since that was bad news. */
static struct wall_ms missing_since(const struct fleet_host *h, const struct fleet_app *a,
				    struct wall_ms leading_since)
{
	if (h == NULL || h->polled_at.v < leading_since.v)
		return leading_since;
	return a != NULL && a->missing_since.v != 0 ? a->missing_since : h->polled_at;
}

void fleet_view(struct fleet *f, const struct name *host, const struct name *app, int64_t min_healthy_ms,
		struct wall_ms now, struct wall_ms leading_since, int64_t suspect_ms, struct host_view *out)
{
	const struct fleet_host *h = fleet_find(f, host);
	bool heard = h != NULL && h->last_seen.v >= leading_since.v;
	out->silent_ms = now.v - (heard ? h->last_seen.v : leading_since.v);
	out->avail = AVAIL_UNKNOWN;
	out->heard_at = heard ? h->polled_at : (struct wall_ms){0};
	/* Connected is not yet known: only a status of this session says what runs. A host that comes back
	 * may have been off for long, and one that was never away still serves: until it says so it is
	 * neither counted nor taken, for as long as a status may be missing. */
	bool said = heard && h->polled_at.v >= h->bound_at.v && h->polled_at.v >= leading_since.v;
	out->unsaid = heard && !said && now.v - h->bound_at.v < suspect_ms;
	const struct fleet_app *a = h == NULL ? NULL : fleet_app(h, app);
	out->missing_since = missing_since(h, a, leading_since);
	out->was_down = h != NULL && h->polled_at.v != 0 && availability(a, 0, now) == AVAIL_DOWN;
	if (!said || out->silent_ms >= suspect_ms)
		return;
	out->missing_since = a == NULL ? h->bound_at : a->missing_since;
	out->boot_hi = h->boot_hi;
	out->boot_lo = h->boot_lo;
	out->avail = availability(a, min_healthy_ms, now);
	out->was_down = false;
	if (a == NULL)
		return;
	out->running = a->running;
	out->up_since = a->healthy_since;
	out->step = a->step;
	out->seq = a->seq;
	out->fault = (struct fault_view){.ms = a->fault_ms + (a->fault_lasts ? now.v - h->polled_at.v : 0),
					 .until = a->fault_lasts ? now : a->fault_told,
					 .lasts = a->fault_lasts};
	out->unhealthy = a->health == WAVETRAIN__AGENT__HEALTH__HEALTH_UNHEALTHY;
	out->was_well =
		(a->well_hi | a->well_lo) != 0 && a->well_hi == h->boot_hi && a->well_lo == h->boot_lo;
}
