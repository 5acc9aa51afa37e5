/*
 * host.h: carries out what the step machine decides on this host (the driver's ports), and looks at what runs
 * here. It touches nothing itself: bytes go through wavetrain-http and the jailed unpacker, everything else
 * through wavetrain-exec. Loop thread only.
 */
#ifndef AGENT_HOST_HOST_H
#define AGENT_HOST_HOST_H

#include "agent/driver.h"
#include "base/arena.h"
#include "sys/tls.h"

struct host;

/* Strings are copied. */
struct host_config {
	const char *dir;	    /* the agent's own: archives/ and slot ledgers are kept in it */
	const char *root;	    /* of wavetrain-exec, absolute */
	const char *exec_socket;    /* of wavetrain-exec */
	const char *unpack_program; /* wavetrain-unpack */
	const char *http_program;   /* wavetrain-http */
	struct name name, region;   /* of this host */
	struct tls_files tls;
	uint64_t seed;
	uint64_t reserve_bytes; /* disk that stays free for others; 0 = 64 MiB */
	void *arg;
	void (*changed)(
		void *arg); /* health, step or progress of an app is another than host_look last said */
};

must_check int host_open(struct host **out, uv_loop_t *loop, const struct host_config *c, struct err *e);
struct driver_ports host_ports(struct host *h,
			       void (*reports)(void *arg)); /* `reports` gets the config's arg */
/* The driver that uses these ports, before the loop runs; asks exec what runs. */
void host_begin(struct host *h, struct driver *d);
void host_close(
	struct host *h); /* programs are left alone; memory is freed by the loop's next turns. NULL-safe */

/* A coordinator was heard: what that needed is given back a while after the last time (sys/rest.h). */
void host_worked(struct host *h);
/* Rendered files came: what could not be measured for want of them is, from now on. */
void host_texts(struct host *h);
/* Where archives may be had, as the coordinator said. Copied; of more than HTTP_URLS the rest is left
 * out. */
void host_sources(struct host *h, char *const *urls, size_t nr);

/* One app as this host finds it, by looking. */
struct host_app {
	struct name app;
	struct digest target; /* what runs; none: nothing */
	int health;	      /* of agent.proto */
	int64_t healthy_for_ms;
	uint64_t seq, restarts;
	enum step step;
	int64_t step_for_ms;
	bool in_rotation;
	const char *note; /* in the arena; "" when there is nothing to say */
	uint64_t fetched_bytes, fetch_total_bytes;
	int64_t fault_ms; /* the work stood still for a fault around the host, so long so far */
	bool fault_lasts;
};
/* All apps known here, in the arena. */
struct host_app *host_look(struct host *h, struct arena *a, size_t *nr);
/* Everything is known that a first poll should say: what runs, and how it does. */
bool host_looked(const struct host *h);
uint64_t host_free_bytes(const struct host *h);

#endif
