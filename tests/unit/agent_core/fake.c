#include "tests/unit/agent_core/fake.h"

static const struct name app = {"shop"};

static void feed(struct fake *f, struct agent_event *ev);

struct agent_target fake_target(uint8_t n)
{
	struct agent_target t = {.type = "tar.zst"};
	if (n != 0) {
		memset(t.id.b, n, DIGEST_LEN);
		memset(t.artifact.b, n + 100, DIGEST_LEN);
	}
	return t;
}

struct agent_assignment fake_assignment(uint64_t seq, uint8_t target, uint8_t fallback)
{
	return (struct agent_assignment){.app = app,
					 .seq = seq,
					 .fence = {1, 1, seq},
					 .deployment = seq,
					 .target = fake_target(target),
					 .fallback = fake_target(fallback),
					 .deadline_ms = 600000};
}

void fake_init(struct fake *f)
{
	memset(f, 0, sizeof(*f));
	f->boot = (struct agent_boot_id){1, 1};
	f->now = 1000;
	f->crash_after = -1;
	fake_boot(f);
}

void fake_boot(struct fake *f)
{
	agent_init(&f->agent);
	struct agent_event ev = {.kind = AGENT_BOOT};
	ev.boot.records = &f->disk;
	ev.boot.nr = f->on_disk ? 1 : 0;
	ev.boot.boot = f->boot;
	f->held.id = 0;
	feed(f, &ev);
}

void fake_reboot(struct fake *f)
{
	f->boot.lo++;
	f->now = 500;
	memset(&f->runs, 0, sizeof(f->runs));
	fake_boot(f);
	fake_status(f, AGENT_NOT_RUNNING);
}

static bool fails(const struct fake *f, const struct agent_effect *e)
{
	if (e->kind == AGENT_PROBE && !digest_eq(&f->runs, &e->target.id))
		return true;
	if (f->fail_code == 0 || e->kind != f->fail_kind || !digest_eq(&e->target.id, &f->fail_target))
		return false;
	return e->kind != AGENT_HOOK || f->fail_hook == 0 || f->fail_hook == e->hook;
}

static void change_world(struct fake *f, const struct agent_effect *e)
{
	f->fetches += e->kind == AGENT_FETCH;
	if (e->kind == AGENT_STOP) {
		memset(&f->runs, 0, sizeof(f->runs));
		f->stops++;
	}
	if (e->kind == AGENT_SWAP)
		f->current = e->target.id;
	if (e->kind == AGENT_START) {
		assert_true(digest_eq(&f->current, &e->target.id));
		assert_true(e->activation > f->activation);
		f->runs = e->target.id;
		f->activation = e->activation;
		f->starts++;
	}
	if (e->kind == AGENT_DRAIN)
		f->in_rotation = false;
	if (e->kind == AGENT_UNDRAIN)
		f->in_rotation = true;
}

static void end_effect(struct fake *f, const struct agent_effect *e, int code)
{
	struct agent_event ev = {.kind = AGENT_EFFECT_DONE};
	ev.done.app = app;
	ev.done.id = e->id;
	ev.done.code = code;
	ev.done.cause = code == E_OK ? STEP_CAUSE_NONE : STEP_CAUSE_VERSION;
	if (e->kind == AGENT_PROBE && code == E_OK)
		ev.done.evidence =
			(struct agent_evidence){f->runs, f->boot, f->activation, 0, f->now + 10, 3, 0};
	feed(f, &ev);
}

static void do_effect(struct fake *f, const struct agent_effect *e)
{
	assert_int_equal(fake_record(f)->number,
			 f->disk.number); /* nothing starts before its record is durable */
	if (f->hold == e->kind) {
		f->held = *e;
		return;
	}
	bool bad = fails(f, e);
	if (!bad)
		change_world(f, e);
	end_effect(f, e, !bad ? E_OK : f->fail_code != 0 ? f->fail_code : E_UNAVAILABLE);
}

static void note_reports(struct fake *f, const struct agent_update *out)
{
	for (size_t i = 0; i < out->reports_nr; i++) {
		const struct agent_report *p = &out->reports[i];
		f->accepted += p->kind == AGENT_REPORT_ACCEPTED;
		if (p->kind == AGENT_REPORT_STEP)
			f->last_step = *p;
		if (p->kind == AGENT_REPORT_RESULT) {
			f->result = *p;
			f->results++;
		}
	}
}

static bool dies_now(struct fake *f)
{
	return f->crash_after >= 0 && f->crash_after-- == 0;
}

static void write_journal(struct fake *f, const struct agent_record *r)
{
	f->disk = *r;
	f->on_disk = true;
	f->journals++;
	if (dies_now(f)) {
		f->crash_after = -1;
		f->now += 10;
		fake_boot(f);
		return;
	}
	struct agent_event ev = {.kind = AGENT_JOURNALED};
	ev.journaled.app = app;
	ev.journaled.number = r->number;
	feed(f, &ev);
}

static void feed(struct fake *f, struct agent_event *ev)
{
	f->now += 20;
	ev->now.v = f->now;
	assert_int_equal(agent_step(&f->agent, ev, &f->out), E_OK);
	struct agent_update out = f->out;
	f->cancels += (unsigned)out.cancels_nr;
	note_reports(f, &out);
	if (out.journals_nr > 0)
		write_journal(f, out.journals[0]);
	for (size_t i = 0; i < out.effects_nr; i++)
		do_effect(f, &out.effects[i]);
}

void fake_assign(struct fake *f, struct agent_assignment as)
{
	struct agent_event ev = {.kind = AGENT_DESIRED};
	ev.desired.v = &as;
	ev.desired.nr = 1;
	ev.desired.up_to_seq = as.seq;
	feed(f, &ev);
}

void fake_status(struct fake *f, enum agent_status s)
{
	struct agent_event ev = {.kind = AGENT_STATUS};
	ev.status.app = app;
	ev.status.status = s;
	ev.status.target.id = f->runs;
	ev.status.activation = f->activation;
	feed(f, &ev);
}

void fake_end_held(struct fake *f, int code)
{
	struct agent_effect e = f->held;
	f->held.id = 0;
	if (code == E_OK)
		change_world(f, &e);
	end_effect(f, &e, code);
}

void fake_timer(struct fake *f)
{
	struct agent_event ev = {.kind = AGENT_TIMER};
	f->now = f->out.next_at.v;
	feed(f, &ev);
}

const struct agent_record *fake_record(const struct fake *f)
{
	const struct agent_app *a = agent_find(&f->agent, &app);
	assert_non_null(a);
	return &a->rec;
}

void fake_fail(struct fake *f, enum agent_effect_kind kind, uint8_t target, int code)
{
	f->fail_kind = kind;
	f->fail_target = fake_target(target).id;
	f->fail_code = code;
}
