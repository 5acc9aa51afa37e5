/*
 * wave.c: one look at each wave.
 *
 *   PENDING -> GATED -> ROLLING -> BAKING -> PASSED        PENDING waits for the waves named in `after`,
 *                          |          |                    ROLLING for its hosts, BAKING for time and health
 * (D6)
 *                          +----------+-> FAILED           over the failure budget
 */
#include "base/planted.h"
#include "coordinator/plan/amount.h"
#include "coordinator/plan/step.h"

static bool move(struct step *s, uint32_t w, enum wave_state to, const char *reason)
{
	struct command *c = step_command(s, COMMAND_WAVE_MOVE, reason);
	if (c == NULL)
		return false;
	c->wave_move.deployment = s->v->d->id;
	c->wave_move.wave = w;
	c->wave_move.from = s->v->waves[w].state;
	c->wave_move.to = to;
	c->wave_move.revision = s->v->waves[w].revision;
	return true;
}

static bool is_over(enum wave_state s)
{
	return s == WAVE_PASSED || s == WAVE_SKIPPED;
}

static bool on_pending(struct step *s, uint32_t w)
{
	for (uint32_t i = 0; i < w && !BUG(BUG_WAVE_ORDER); i++) {
		if ((s->v->waves[w].after & SM_TO(i)) == 0 || is_over(s->v->waves[i].state))
			continue;
		step_reason(s, step_wave_name(s, w), (struct wall_ms){0}, "waits for %s, which is %s",
			    step_wave_name(s, i), sm_name(&wave_machine, (int)s->v->waves[i].state));
		return false;
	}
	return move(s, w, s->waves[w].hosts == 0 ? WAVE_SKIPPED : WAVE_GATED, "");
}

/* The place where an approval or a window would be waited for: there are none, so the gate is open. */
static bool on_gated(struct step *s, uint32_t w)
{
	return move(s, w, WAVE_ROLLING, "");
}

/* A host that went back keeps no reason of its own, so the wave keeps that of the first. */
static const char *first_fault(struct step *s, uint32_t w)
{
	for (uint32_t i = s->waves[w].first; i < s->waves[w].end; i++) {
		const struct task *t = &s->v->tasks[i];
		if (task_failed(t) && t->reason != NULL && t->reason[0] != '\0')
			return arena_printf(s->a, "; %s: %.120s", t->host.s, t->reason);
	}
	return "";
}

uint32_t wave_budget(const struct step *s, uint32_t w)
{
	return amount_down(s->v->d->limits.budget, s->waves[w].hosts);
}

static bool over_budget(struct step *s, uint32_t w)
{
	const struct tally *t = &s->waves[w];
	/* recreate: beside a host that would not stop nothing may start, whatever the budget says. */
	const char *unstoppable = recreate_unstoppable(s, w);
	if (unstoppable != NULL)
		return move(s, w, WAVE_FAILED, arena_printf(s->a, "host %s did not stop", unstoppable));
	uint32_t budget = wave_budget(s, w);
	if (t->failed + t->lost <= budget)
		return false;
	return move(s, w, WAVE_FAILED,
		    arena_printf(s->a, "%u failed and %u lost of %u hosts, the budget is %u%s", t->failed,
				 t->lost, t->hosts, budget, first_fault(s, w)));
}

/*
 * A host that passed and then says that its probe fails or its program died has failed late, and that is
 * the version's fault if it was well since its host booted. After a reboot, while it starts or while nobody
 * hears it, it is only not up (D3): the bake waits for it.
 */
static bool fell_ill(const struct task *t, const struct host_view *h)
{
	bool proven_here = t->evidence.boot_hi == h->boot_hi && t->evidence.boot_lo == h->boot_lo;
	return h->avail == AVAIL_DOWN && h->unhealthy && (h->was_well || proven_here);
}

static bool late_failures(struct step *s, uint32_t w)
{
	const struct tally *t = &s->waves[w];
	struct task_result *v = arena_array(s->a, struct task_result, t->end - t->first);
	size_t nr = 0;
	for (uint32_t i = t->first; i < t->end; i++) {
		const struct task *k = &s->v->tasks[i];
		/* What it said before its result came is about the time when it was being changed. */
		bool since = s->v->hosts[i].heard_at.v > k->state_since.v;
		if (k->state != TASK_HEALTHY || !fell_ill(k, &s->v->hosts[i]) || !since)
			continue;
		v[nr++] = (struct task_result){.deployment = k->deployment,
					       .host = k->host,
					       .seq = k->seq,
					       .state = TASK_FAILED,
					       .cause = CAUSE_VERSION,
					       .reason = "became unhealthy after it was healthy"};
	}
	return step_results(s, v, nr);
}

/* D3: that its clock stands, and for how long at most. */
static const char *fault_text(struct step *s, uint32_t i)
{
	const struct fault_view *f = &s->v->hosts[i].fault;
	if (!f->lasts || s->v->hosts[i].seq != s->v->tasks[i].seq)
		return "";
	return arena_printf(s->a,
			    "; store, network or balancer have failed it for %lld s: its clock stands, for "
			    "%lld s at most",
			    (long long)f->ms / 1000, (long long)s->v->d->limits.infra_cap_ms / 1000);
}

static void say_rolling(struct step *s, uint32_t w)
{
	const struct tally *t = &s->waves[w];
	step_reason(s, step_wave_name(s, w), (struct wall_ms){0},
		    "%u of %u hosts healthy, %u in progress, %u queued, %u failed, %u lost%s", t->healthy,
		    t->hosts, t->in_hand, t->queued, t->failed, t->lost,
		    t->stopped == 0 ? "" : arena_printf(s->a, ", %u stopped", t->stopped));
	for (uint32_t i = t->first; i < t->end; i++)
		if (task_in_hand(&s->v->tasks[i]))
			step_reason(s, arena_printf(s->a, "host %s", s->v->tasks[i].host.s),
				    step_task_deadline(s, i), "is at %s%s",
				    s->v->hosts[i].step == 0
					    ? "no step yet"
					    : sm_name(&task_machine, (int)s->v->hosts[i].step),
				    fault_text(s, i));
}

static bool on_rolling(struct step *s, uint32_t w)
{
	if (over_budget(s, w) || late_failures(s, w))
		return true;
	say_rolling(s, w);
	if (tally_unsettled(&s->waves[w]) == 0)
		return move(s, w, WAVE_BAKING, "");
	dispatch_forward(s, w);
	return false;
}

/*
 * The bake (D6). It began with the wave's last healthy host, and its continuous part begins anew when a host
 * was not up. Two deadlines end it (D3, docs/decisions/0010); a person who lets the rollout go on begins them
 * anew:
 *
 *   a host that is not up    the progress deadline after the bake would have been over, or after it was up
 * last if that was later; then it counts as lost, and never by the version's fault the whole bake twice its
 * time and the progress deadline; then it is inconclusive: the wave fails
 */
static struct wall_ms bake_began(const struct step *s, uint32_t w)
{
	struct wall_ms since = s->v->waves[w].state_since, good = s->waves[w].last_good;
	return good.v > since.v ? good : since; /* a host came or was tried again while the others baked */
}

static struct wall_ms bake_deadline(const struct step *s, uint32_t w)
{
	const struct limits *l = &s->v->d->limits;
	struct wall_ms from = bake_began(s, w), let_go_on = s->v->d->state_since;
	int64_t most = l->progress_ms == 0 ? 0 : 2 * s->v->waves[w].bake_ms + l->progress_ms;
	return step_deadline(s, let_go_on.v > from.v ? let_go_on : from, most);
}

static struct wall_ms missing_deadline(const struct step *s, uint32_t w, const struct host_view *h)
{
	struct wall_ms from = {bake_began(s, w).v + s->v->waves[w].bake_ms}, let_go_on = s->v->d->state_since;
	if (h->missing_since.v > from.v)
		from = h->missing_since;
	return step_deadline(s, let_go_on.v > from.v ? let_go_on : from, s->v->d->limits.progress_ms);
}

/* Proven, and not up now: its wave cannot pass. */
static bool is_awaited(const struct step *s, uint32_t i)
{
	return s->v->tasks[i].state == TASK_HEALTHY && s->v->hosts[i].avail != AVAIL_UP;
}

/* One that is well and only not for long enough is not missing. */
static bool is_missing(const struct step *s, uint32_t i)
{
	return is_awaited(s, i) && s->v->hosts[i].missing_since.v != 0;
}

static void give_up(struct step *s, uint32_t i, struct task_result *r)
{
	const struct task *t = &s->v->tasks[i];
	const struct host_view *h = &s->v->hosts[i];
	bool silent = h->silent_ms >= s->v->lost_ms;
	*r = (struct task_result){.deployment = t->deployment,
				  .host = t->host,
				  .seq = t->seq,
				  .state = silent ? TASK_LOST : TASK_FAILED,
				  .cause = CAUSE_INFRA,
				  .reason = arena_printf(s->a, "%s for %lld s, and its wave cannot bake on",
							 silent ? "no sign of life" : "not up",
							 (long long)(s->now.v - h->missing_since.v) / 1000)};
}

static bool missing_too_long(struct step *s, uint32_t w)
{
	const struct tally *t = &s->waves[w];
	struct task_result *v = arena_array(s->a, struct task_result, t->end - t->first);
	size_t nr = 0;
	for (uint32_t i = t->first; i < t->end; i++) {
		const struct host_view *h = &s->v->hosts[i];
		if (is_missing(s, i) && !step_too_early(s, h) && step_past(s, missing_deadline(s, w, h)))
			give_up(s, i, &v[nr++]);
	}
	return step_results(s, v, nr);
}

/* True: the bake waits for a host. */
static bool say_awaited(struct step *s, uint32_t w)
{
	const struct tally *t = &s->waves[w];
	bool waits = false;
	for (uint32_t i = t->first; i < t->end; i++) {
		if (!is_awaited(s, i))
			continue;
		bool missing = is_missing(s, i);
		struct wall_ms ends = {missing ? missing_deadline(s, w, &s->v->hosts[i]).v : 0};
		step_reason(s, step_wave_name(s, w), ends,
			    "bakes, and waits for host %s to be healthy again%s", s->v->tasks[i].host.s,
			    missing ? "; at its deadline it counts as lost" : "");
		step_look_again(s, ends);
		waits = true;
	}
	return waits;
}

/* The latest beginning of continuous health counts. */
static struct wall_ms well_since(const struct step *s, uint32_t w)
{
	struct wall_ms since = bake_began(s, w);
	for (uint32_t i = s->waves[w].first; i < s->waves[w].end; i++)
		if (s->v->tasks[i].state == TASK_HEALTHY && s->v->hosts[i].up_since.v > since.v)
			since = s->v->hosts[i].up_since;
	return since;
}

static bool bake_on(struct step *s, uint32_t w)
{
	const struct wave *wave = &s->v->waves[w];
	struct wall_ms ends = {well_since(s, w).v + wave->bake_ms}, most = bake_deadline(s, w);
	if (missing_too_long(s, w))
		return true;
	bool waits = say_awaited(s, w);
	if (!waits && s->now.v >= ends.v)
		return move(s, w, WAVE_PASSED, "");
	if (step_past(s, most))
		return move(s, w, WAVE_FAILED,
			    arena_printf(s->a,
					 "the bake is inconclusive: its hosts were never healthy together "
					 "for %lld s",
					 (long long)wave->bake_ms / 1000));
	step_look_again(s, most);
	if (!waits) {
		step_reason(s, step_wave_name(s, w), ends, "bakes for another %lld s",
			    (long long)(ends.v - s->now.v + 999) / 1000);
		step_look_again(s, ends);
	}
	return false;
}

static bool on_baking(struct step *s, uint32_t w)
{
	const struct wave *wave = &s->v->waves[w];
	if (over_budget(s, w) || late_failures(s, w))
		return true;
	dispatch_forward(s, w); /* a host that joined late */
	if (tally_unsettled(&s->waves[w]) > 0) {
		say_rolling(s, w);
		return false;
	}
	if (wave->promoted || s->v->d->promoted)
		return move(s, w, WAVE_PASSED, "promoted");
	return wave->bake_ms == 0 ? move(s, w, WAVE_PASSED, "") : bake_on(s, w);
}

/* Hosts that came late belong to their region's wave even when it has passed, or was skipped because all of
 * its hosts had left. */
static bool on_passed(struct step *s, uint32_t w)
{
	if (tally_unsettled(&s->waves[w]) > 0)
		say_rolling(s, w);
	dispatch_forward(s, w);
	return false;
}

static bool wave_step(struct step *s, uint32_t w)
{
	switch (s->v->waves[w].state) {
	case WAVE_PENDING:
		return on_pending(s, w);
	case WAVE_GATED:
		return on_gated(s, w);
	case WAVE_ROLLING:
		return on_rolling(s, w);
	case WAVE_BAKING:
		return on_baking(s, w);
	case WAVE_PASSED:
	case WAVE_SKIPPED:
		return on_passed(s, w);
	case WAVE_FAILED:
	case WAVE_STATE_NR:
		return false;
	}
	return false;
}

bool waves_step(struct step *s)
{
	bool moved = false;
	for (uint32_t w = 0; w < s->v->d->waves_nr; w++)
		moved |= wave_step(s, w);
	return moved;
}
