/*
 * What an agent says, to a coordinator that has a rollout under way for it: Hello, Poll and Report in any
 * order and with anything in them, and the messages that only coordinators send. Each message is two bytes of
 * length and an envelope; a length of 0 is an election, in which it loses the lead or gets it again. What
 * drive proposes is applied, so nothing an agent says may reach the log that the fold cannot take; what drive
 * answers must be an envelope.
 */
#include <stdlib.h>

#include "coordinator/drive/drive.h"
#include "proto/envelope.h"
#include "tests/lib/fleet.h"

struct proposed {
	struct buf bytes;
	drive_proposed_fn *done;
	void *arg;
	struct proposed *next;
};

static struct test_fleet f;
static struct drive *drive;
static struct proposed *first, **last = &first;
static bool dropped;

static void propose(void *arg, const struct command *c, drive_proposed_fn *done, void *done_arg)
{
	struct proposed *p = calloc(1, sizeof *p);
	struct command stamped = *c;
	PRE(p != NULL);
	stamped.at = f.now;
	buf_init(&p->bytes);
	command_encode(&p->bytes, &stamped);
	p->done = done;
	p->arg = done_arg;
	*last = p;
	last = &p->next;
}

static void answer(void *arg, struct token t, const uint8_t *p, size_t n)
{
	struct arena a;
	arena_init(&a);
	PRE(envelope_decode(&a, p, n) != NULL);
	arena_done(&a);
}

static void trust(void *arg, uint64_t session)
{
}

static void drop(void *arg, uint64_t session, const char *why)
{
	dropped = true;
}

static uint64_t term(void *arg)
{
	return 1;
}

/* Commits come later, as with the real log. */
static void commit_all(void)
{
	while (first != NULL) {
		struct proposed *p = first;
		first = p->next;
		if (first == NULL)
			last = &first;
		PRE(state_apply(f.st, &f.a, ++f.index, 0, p->bytes.data, p->bytes.len, &f.reply,
				&f.changes) == E_OK);
		f.store->ops->commit(f.store);
		if (p->done != NULL)
			p->done(p->arg, E_OK, &f.reply);
		drive_changed(drive, &f.changes, f.now);
		buf_done(&p->bytes);
		free(p);
	}
}

static void fleet(void)
{
	static const char *const regions[] = {"eu"};
	test_fleet_init(&f);
	test_fleet_shop(&f);
	test_fleet_host(&f, "h1", "eu");
	PRE(test_fleet_deploy(&f, 1, "shop", "1.0", regions, 1) == E_OK);
	PRE(test_fleet_assign(&f, 1, "h1", DIRECTION_FORWARD) == E_OK);
}

static void election(void)
{
	if (drive_leads(drive))
		drive_unlead(drive);
	else
		drive_lead(drive, f.now);
}

static void talk(const uint8_t *p, size_t n)
{
	for (uint64_t request = 1; n >= 2 && !dropped; request++) {
		size_t len = (size_t)p[0] << 8 | p[1];
		len = len < n - 2 ? len : n - 2;
		if (len == 0)
			election();
		else
			drive_request(drive, (struct token){1, request}, p + 2, len, f.now);
		commit_all();
		p += 2 + len;
		n -= 2 + len;
		f.now.v += 1000;
		drive_tick(drive, f.now);
		commit_all();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct drive_config cfg = {.log_id = 1,
						.poll_wait_ms = 1000,
						.suspect_ms = 2000,
						.lost_ms = 4000,
						.grace_ms = 1,
						.artifact_url = "u"};
	static const struct drive_ports ports = {NULL, propose, answer, trust, drop, term};
	struct name host = test_name("h1");
	dropped = false;
	fleet();
	struct events *events = events_new(16, 1);
	drive = drive_new(&cfg, &ports, f.st, events);
	drive_lead(drive, f.now);
	drive_session_opened(drive, 1, &host, 1, f.now);
	PRE(!dropped); /* else nothing below would be heard */
	talk(p, n);
	commit_all();
	drive_free(drive);
	events_free(events);
	test_fleet_done(&f);
	return 0;
}
