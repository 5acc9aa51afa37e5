/*
 * world.h: an admin server over a real socket, on the real fold with a store in memory. The backend's other
 * halves (planner, store of artifacts, fleet) are small fakes whose answers the tests set. One thread:
 * world_turn runs the loop a little.
 */
#ifndef TESTS_ADMIN_WORLD_H
#define TESTS_ADMIN_WORLD_H

#include "base/buf.h"
#include "coordinator/admin/admin.h"
#include "proto/admin.pb-c.h"
#include "tests/lib/fleet.h"

struct world {
	struct test_fleet f;
	uv_loop_t loop;
	struct events *events;
	struct admin *admin;
	char dir[64], path[96];
	enum role role;	  /* given to every peer */
	int propose_code; /* not E_OK: the log refuses with it */
	int issue_code;	  /* not E_OK: no bundle can be made */
	bool hold;	  /* proposals are not answered */
	unsigned proposed;
	struct buf upload;     /* what was stored */
	uint64_t upload_limit; /* bytes taken before the store is full; 0 = no limit */
	unsigned cancelled, finished;
	unsigned copies, coordinators; /* of every archive */
	const char *severe;	       /* of plans */
	/* the cluster: coordinators 1, which is asked, and 2 and 3 */
	const char *follows; /* NULL: 1 leads */
	unsigned voters;     /* the first so many vote; 0: 3 */
	int transfer_code;   /* not E_OK: the lead cannot be handed over */
	bool real_roles;
	gid_t gid;
	bool closed; /* the server, in world_restart */
};

void world_init(struct world *w);
/* The same with the roles of real peers: owner, members of `gid`, others. */
void world_init_real(struct world *w, gid_t gid);
void world_restart(struct world *w); /* the server goes away, with all connections, and comes back */
void world_done(struct world *w);
void world_turn(struct world *w); /* one non-blocking turn of the loop, then a millisecond of rest */
/* apps checkout and billing, env prod, hosts eu-1 eu-2 us-1, releases 1.0 and 2.0 of checkout */
void world_fill(struct world *w);
/* Moves one host on through the fold and tells the events. */
void world_result(struct world *w, uint64_t id, const char *host, enum task_state state);
void world_move(struct world *w, uint64_t id, enum rollout_state to);

/* A peer. */
int world_connect(struct world *w);
void world_send(struct world *w, int fd, const ProtobufCMessage *m);
void world_write(struct world *w, int fd, const void *p, size_t n);
/* The next reply, or NULL when the server closed (or nothing came within five seconds). */
Admin__Reply *world_reply(struct world *w, int fd, struct buf *in);
/* One request on its own connection, all replies until the last, which is returned. `first` (may be NULL):
 * the first. */
Admin__Reply *world_ask(struct world *w, Admin__Request *rq, Admin__Reply **first);
void world_request(Admin__Request *rq, enum command_id verb);

#endif
