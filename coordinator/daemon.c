/*
 * daemon.c: opening in the order of the layers, one turn of the clock, closing in the reverse order.
 */
#include "coordinator/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/adapters/artifact_http.h"
#include "coordinator/adapters/store_lmdb.h"
#include "coordinator/artifact/store.h"
#include "sys/dirlock.h"
#include "sys/log.h"

enum { HAND_OVER_MS = 5000 }; /* a leader that stops waits so long for another one */
enum { LOOK_MS = 50 };
enum { TURN_MS = 500 };	     /* a turn of the loop that takes longer is logged */
enum { EVENTS_KEPT = 4096 }; /* in memory; older ones are read from the store */

/* ---- time
 * ------------------------------------------------------------------------------------------------------------------
 */

static void clock_start(struct daemon *d)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	d->wall_at_start.v = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	d->mono_at_start = uv_hrtime();
}

/* The wall clock is read once: a jump of it must not make hosts look silent or bakes look done. */
static struct wall_ms wall(const struct daemon *d)
{
	return (struct wall_ms){d->wall_at_start.v + (int64_t)((uv_hrtime() - d->mono_at_start) / 1000000)};
}

struct wall_ms daemon_now(const struct daemon *d)
{
	struct wall_ms now = wall(d), state = d->state == NULL ? now : state_clock(d->state);
	return state.v > now.v ? state : now;
}

/*
 * A wall clock that is behind the state (it was set back before this start) goes on from the state. Without
 * this time would stand still until it has caught up, and with it every deadline, bake and silence.
 */
static void clock_from_state(struct daemon *d)
{
	int64_t behind_ms = state_clock(d->state).v - wall(d).v;
	if (behind_ms <= 0)
		return;
	d->wall_at_start.v += behind_ms;
	log_warn("cluster", "the clock of this machine is %lld ms behind the state: time goes on from there",
		 (long long)behind_ms);
}

/* ---- leading
 * ---------------------------------------------------------------------------------------------------------------
 */

static void ignore_cb(void *arg, int code, const struct command_reply *reply)
{
	if (code != E_OK)
		log_warn("cluster", "init was not committed: %s", reply->text);
}

static void name_cluster(struct daemon *d)
{
	uint64_t hi, lo;
	struct name name;
	view_cluster(d->state, &hi, &lo, &name);
	if (hi != 0 || lo != 0)
		return;
	struct command c = {.kind = COMMAND_CLUSTER_INIT, .actor = "wavetraind", .reason = ""};
	c.init.cluster_hi = d->cfg.cluster_hi;
	c.init.cluster_lo = d->cfg.cluster_lo;
	c.init.name = d->cfg.cluster;
	propose(d, &c, ignore_cb, NULL);
}

/* Everything acknowledged before is applied now: only then may the planner look at the state as its leader.
 */
static void barrier_cb(void *arg, int code, uint64_t index, const void *reply, size_t n)
{
	struct daemon *d = arg;
	d->asked_to_lead = false;
	if (code != E_OK || d->stopping)
		return;
	clock_from_state(d);
	d->led_term = consensus_term(d->consensus);
	drive_lead(d->drive, daemon_now(d));
	name_cluster(d);
	cluster_led(d);
	log_info("cluster", "%s: leading, term %llu, log at %llu", d->cfg.cluster.s,
		 (unsigned long long)consensus_term(d->consensus), (unsigned long long)index);
	daemon_soon(d);
}

static void lead_if_elected(struct daemon *d)
{
	struct err e;
	bool leads = consensus_is_leader(d->consensus);
	drive_leader(d->drive, consensus_leader(d->consensus, NULL, 0));
	/* The lead may have been lost and won again since the last turn: somebody else may have led
	 * meanwhile. */
	bool same = leads && consensus_term(d->consensus) == d->led_term;
	if (!same && drive_leads(d->drive)) {
		log_warn("cluster",
			 "not leading any more: agents are told so, and who leads once that is known");
		drive_unlead(d->drive);
	}
	if (leads && !drive_leads(d->drive) && !d->asked_to_lead)
		d->asked_to_lead = consensus_barrier(d->consensus, barrier_cb, d, &e) == E_OK;
}

/* ---- turns
 * -----------------------------------------------------------------------------------------------------------------
 */

/* Rows that change rarely: not in each turn of a busy loop. */
static void look_at_cluster(struct daemon *d)
{
	if (uv_now(&d->loop) < d->look_ms)
		return;
	d->look_ms = uv_now(&d->loop) + LOOK_MS;
	welcome_tick(d);
	cluster_tick(d);
	if (d->coordinators_at != consensus_applied(d->consensus)) {
		d->coordinators_at = consensus_applied(d->consensus);
		peers_coordinators(d);
	}
}

static void tick_cb(uv_timer_t *t)
{
	struct daemon *d = t->data;
	if (d->stopping)
		return;
	node_tick(d);
	lead_if_elected(d);
	look_at_cluster(d);
	uint64_t since = uv_hrtime();
	struct wall_ms now = daemon_now(d), next = drive_tick(d->drive, now);
	looptime_ran(&d->looptime, "planner", since);
	uv_timer_start(&d->tick, tick_cb, (uint64_t)(next.v - now.v), 0);
}

static void soon_cb(uv_timer_t *t)
{
	struct daemon *d = t->data;
	propose_refused(d); /* when stopping, too: admin goes once everyone who waits has an answer */
	if (d->stopping)
		return;
	replica_tell(d);
	tick_cb(&d->tick);
}

void daemon_soon(struct daemon *d)
{
	uv_handle_t *soon = (uv_handle_t *)&d->soon;
	if (d->drive != NULL && !uv_is_closing(soon) && !uv_is_active(soon))
		uv_timer_start(&d->soon, soon_cb, 0, 0);
}

/* ---- opening
 * ----------------------------------------------------------------------------------------------------------------
 */

/* Before anything in it is opened: the state store of a coordinator that runs would let nobody else in, nor
 * go. */
static int open_lock(struct daemon *d, struct err *e)
{
	return dirlock_take(d->cfg.data, &d->lock_fd, e);
}

static int open_state(struct daemon *d, struct err *e)
{
	char path[CONFIG_PATH_CAP];
	int rc = store_lmdb_open(&d->store, config_path(&d->cfg, "state", path), e);
	if (rc != E_OK)
		return rc;
	rc = state_open(d->store, &d->state);
	return rc == E_OK ? E_OK
			  : err_set(e, rc, "the state in %s is not ours to read (%s)", path, err_text(rc));
}

static int open_events(struct daemon *d, struct err *e)
{
	char path[CONFIG_PATH_CAP];
	d->events = events_new(EVENTS_KEPT, 1);
	return event_store_open(&d->event_store, config_path(&d->cfg, "events", path), NULL, d->events, e);
}

static int open_drive(struct daemon *d, struct err *e)
{
	char path[CONFIG_PATH_CAP], at[CONSENSUS_ADDRESS_CAP];
	struct drive_ports ports;
	snprintf(d->artifact_url, sizeof d->artifact_url, "https://%s",
		 config_join_host_port(d->cfg.address, d->cfg.artifact_port, at));
	const struct drive_config cfg = {.node_id = d->cfg.node_id,
					 .log_id = d->cfg.cluster_lo | 1,
					 .cluster_hi = d->cfg.cluster_hi,
					 .cluster_lo = d->cfg.cluster_lo,
					 .poll_wait_ms = d->cfg.poll_wait_ms,
					 .suspect_ms = d->cfg.suspect_ms,
					 .lost_ms = d->cfg.lost_ms,
					 .grace_ms = d->cfg.grace_ms,
					 .artifact_url = d->artifact_url};
	d->drive = drive_new(&cfg, peers_ports(d, &ports), d->state, d->events);
	peers_coordinators(d);
	return artifact_store_open(&d->artifacts, config_path(&d->cfg, "artifacts", path), e);
}

static int open_artifacts(struct daemon *d, struct err *e)
{
	char ca[CONFIG_PATH_CAP], cert[CONFIG_PATH_CAP], key[CONFIG_PATH_CAP];
	const struct artifact_http_config cfg = {.address = d->cfg.listen,
						 .port = d->cfg.artifact_port,
						 .ca = config_path(&d->cfg, "ca.pem", ca),
						 .cert = config_path(&d->cfg, "cert.pem", cert),
						 .key = config_path(&d->cfg, "key.pem", key),
						 .is_allowed = copies_allowed,
						 .arg = d};
	return artifact_http_open(&d->artifact_http, &d->loop, d->artifacts, &cfg, e);
}

static int open_admin(struct daemon *d, struct err *e)
{
	const struct admin_config cfg = {.path = d->cfg.socket,
					 .gid = (gid_t)-1,
					 .ops = &backend_ops,
					 .backend = d,
					 .events = d->events};
	return admin_open(&d->loop, &cfg, &d->admin, e);
}

static void stop_cb(uv_signal_t *s, int signum);

static void open_handles(struct daemon *d)
{
	PRE(uv_loop_init(&d->loop) == 0);
	uv_timer_init(&d->loop, &d->tick);
	uv_timer_init(&d->loop, &d->soon);
	uv_timer_init(&d->loop, &d->late);
	uv_signal_init(&d->loop, &d->term);
	uv_signal_init(&d->loop, &d->intr);
	d->tick.data = d->soon.data = d->late.data = d->term.data = d->intr.data = d;
	uv_signal_start(&d->term, stop_cb, SIGTERM);
	uv_signal_start(&d->intr, stop_cb, SIGINT);
}

int daemon_open(struct daemon *d, const char *data, struct err *e)
{
	*d = (struct daemon){.lock_fd = -1};
	signal(SIGPIPE, SIG_IGN);
	int rc = config_load(&d->cfg, data, e);
	if (rc != E_OK)
		return rc;
	clock_start(d);
	open_handles(d);
	arena_init(&d->arena);
	arena_init(&d->news_arena);
	static int (*const steps[])(struct daemon *, struct err *) = {open_lock,   open_state, node_open,
								      open_events, open_drive, open_artifacts,
								      copies_open, peers_open, open_admin};
	for (size_t i = 0; i < ARRAY_LEN(steps) && rc == E_OK; i++)
		rc = steps[i](d, e);
	if (rc != E_OK)
		return rc;
	log_info("cluster", "%s: agents on %s:%u, operators on %s", d->cfg.cluster.s, d->cfg.listen,
		 (unsigned)edge_port(d->edge), d->cfg.socket);
	looptime_start(&d->looptime, &d->loop, TURN_MS);
	daemon_soon(d);
	return E_OK;
}

/* ---- closing
 * ----------------------------------------------------------------------------------------------------------------
 */

static void close_timers(struct daemon *d)
{
	uv_close((uv_handle_t *)&d->tick, NULL);
	uv_close((uv_handle_t *)&d->soon, NULL);
	uv_close((uv_handle_t *)&d->late, NULL);
	looptime_stop(&d->looptime);
	uv_close((uv_handle_t *)&d->term, NULL);
	uv_close((uv_handle_t *)&d->intr, NULL);
}

static void consensus_closed_cb(void *arg)
{
	close_timers(arg);
}

static void edge_closed_cb(void *arg)
{
	struct daemon *d = arg;
	consensus_close(d->consensus, consensus_closed_cb, d);
}

static void artifacts_closed_cb(void *arg)
{
	struct daemon *d = arg;
	edge_close(d->edge, edge_closed_cb, d);
}

static void copies_closed_cb(void *arg)
{
	struct daemon *d = arg;
	artifact_http_close(d->artifact_http, artifacts_closed_cb, d);
}

static void admin_closed_cb(void *arg)
{
	copies_close(arg, copies_closed_cb);
}

static void stop(struct daemon *d)
{
	if (d->stopping)
		return;
	d->stopping = true;
	welcome_close(d);
	admin_close(d->admin, admin_closed_cb, d);
}

static void handed_over_cb(void *arg, const struct command_reply *reply)
{
	struct daemon *d = arg;
	d->handing_over = false;
	log_info("cluster", "%s", reply->code == E_OK ? "the lead is handed over" : reply->text);
	stop(d);
}

static void hand_over_late_cb(uv_timer_t *t)
{
	struct daemon *d = t->data;
	if (!d->stopping)
		log_warn("cluster", "nobody took the lead in time");
	stop(d);
}

/* A leader that just goes would leave its cluster without one for an election's time. A second signal does
 * not wait. */
static void stop_cb(uv_signal_t *s, int signum)
{
	struct daemon *d = s->data;
	struct err e;
	if (d->stopping)
		return;
	log_info("cluster", "stopping on signal %d", signum);
	bool waits = !d->handing_over && consensus_is_leader(d->consensus) &&
		     cluster_transfer(d, 0, handed_over_cb, d, &e) == E_OK;
	if (!waits) {
		stop(d);
		return;
	}
	d->handing_over = true;
	uv_timer_start(&d->late, hand_over_late_cb, HAND_OVER_MS, 0);
}

void daemon_run(struct daemon *d)
{
	uv_run(&d->loop, UV_RUN_DEFAULT);
	propose_refused(d);
	drive_free(d->drive);
	event_store_close(d->event_store);
	events_free(d->events);
	artifact_store_close(d->artifacts);
	state_free(d->state);
	store_lmdb_close(d->store, true);
	replica_done(d);
	config_done(&d->cfg);
	uv_loop_close(&d->loop);
	close(d->lock_fd);
}
