/*
 * log_agent.c: as much of an agent as lines of a program need: it follows OUTPUT, keeps lines in the spool of
 * DIR and sends them to the coordinators of BUNDLE until SIGTERM.
 *
 * usage: log-agent BUNDLE DIR OUTPUT
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/bundle.h"
#include "agent/driver.h"
#include "agent/link/link.h"
#include "agent/steps/tail.h"
#include "proto/envelope.h"
#include "sys/log.h"

static uv_loop_t loop;
static uv_signal_t term;
static struct arena arena;
static struct bundle bundle;
static struct link *link_now;
static struct driver *driver;
static struct tail *tail;
static uint64_t requests;
static bool greeted, waiting; /* for the answer to a report */

static void send_envelope(envelope *e)
{
	struct buf b;
	e->version = ENVELOPE_VERSION;
	e->trace_id = id128_bytes(&arena, 1, 2);
	e->boot_id = id128_bytes(&arena, 1, 2);
	e->cluster_id = id128_bytes(&arena, bundle.cluster_hi, bundle.cluster_lo);
	e->request_id = ++requests;
	buf_init(&b);
	envelope_encode(&b, e);
	if (link_request(link_now, b.data, b.len) != E_OK)
		log_warn("link", "request %llu was not sent", (unsigned long long)requests);
	buf_done(&b);
}

static void send_lines(void)
{
	struct buf b;
	if (!greeted || waiting)
		return;
	buf_init(&b);
	if (driver_report(driver, 0, 64 * 1024, &b) != 0) {
		envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
		e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT;
		e.report = wavetrain__agent__report__unpack(NULL, b.len, b.data);
		PRE(e.report != NULL);
		waiting = true;
		send_envelope(&e);
		wavetrain__agent__report__free_unpacked(e.report, NULL);
	}
	buf_done(&b);
}

static void on_up(void *arg, const char *coordinator)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Hello hello = WAVETRAIN__AGENT__HELLO__INIT;
	hello.protocol_min = hello.protocol_max = 1;
	hello.generation = bundle.generation;
	uint64_t hi, lo;
	driver_spool_id(driver, &hi, &lo);
	hello.spool_id = id128_bytes(&arena, hi, lo);
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_HELLO;
	e.hello = &hello;
	send_envelope(&e);
}

static void on_down(void *arg, const char *coordinator, const struct err *why, int64_t next_ms)
{
	greeted = waiting = false;
}

static void on_reply(void *arg, const uint8_t *bytes, size_t len)
{
	struct err e;
	const envelope *m = envelope_decode(&arena, bytes, len);
	PRE(m != NULL);
	waiting = false;
	if (m->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_WELCOME)
		greeted = true;
	else if (m->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY_REPORT_ACK)
		PRE(driver_acked(driver, m->report_ack->acked_chunk, &e) == E_OK);
	else
		log_error("link", "the coordinator refused");
	send_lines();
}

static void on_poll_reply(void *arg, const uint8_t *bytes, size_t len)
{
	/* it never polls */
}

static void on_lines(void *ctx, const struct name *app, const struct tail_batch *b)
{
	driver_log(driver, app, b);
}

static void start(void *arg, const struct agent_effect *effect)
{
	/* nothing is assigned to this host */
}

static void cancel(void *arg, uint64_t effect)
{
	/* nothing was started */
}

static void changed(void *arg)
{
	send_lines();
}

static void on_link_closed(void *arg)
{
	uv_close((uv_handle_t *)&term, NULL);
}

static void on_term(uv_signal_t *s, int signum)
{
	tail_close(tail);
	driver_close(driver);
	greeted = false;
	link_close(link_now, on_link_closed, NULL);
}

static int fail(const struct err *e)
{
	log_error("log-agent", "%s", e->text);
	return 1;
}

int main(int argc, char **argv)
{
	struct err e;
	PRE(argc == 4);
	arena_init(&arena);
	uv_loop_init(&loop);
	uv_signal_init(&loop, &term);
	uv_signal_start(&term, on_term, SIGTERM);
	if (bundle_load(&arena, argv[1], &bundle, &e) != E_OK)
		return fail(&e);
	const struct driver_ports ports = {NULL, start, cancel, changed};
	if (driver_open(&driver, &loop, argv[2], (struct agent_boot_id){1, 2}, &ports, &e) != E_OK)
		return fail(&e);
	const struct tail_config tc = {
		.path = argv[3], .cursor_dir = argv[2], .app = {"shop"}, .lines_per_second = 100000};
	if (tail_open(&tail, &loop, &tc, on_lines, NULL, &e) != E_OK)
		return fail(&e);
	const struct link_config lc = {.coordinators = bundle.coordinators,
				       .tls = {.ca = bundle.ca, .cert = bundle.cert, .key = bundle.key},
				       .server_name = bundle.server_name,
				       .backoff_base_ms = 20,
				       .backoff_cap_ms = 200,
				       .seed = 7};
	const struct link_callbacks callbacks = {
		.on_up = on_up, .on_down = on_down, .on_reply = on_reply, .on_poll_reply = on_poll_reply};
	if (link_open(&link_now, &loop, &lc, &callbacks, &e) != E_OK)
		return fail(&e);
	uv_run(&loop, UV_RUN_DEFAULT);
	arena_done(&arena);
	return 0;
}
