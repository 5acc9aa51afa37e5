/*
 * server.h: an edge on a loop of its own thread with a small application, for tests whose clients block.
 *
 * The application answers "echo..." with the same bytes, "trust" after trusting the session, "park" only when
 * server_release is called, "big <n>" with n bytes, and "drop" by closing the session. Anything else is
 * echoed, too.
 */
#ifndef TESTS_CONTRACT_EDGE_SERVER_H
#define TESTS_CONTRACT_EDGE_SERVER_H

#include "coordinator/edge/edge.h"

enum { PARKED_MAX = 64 };

struct server {
	uv_thread_t thread;
	uv_loop_t loop;
	uv_async_t async;
	uv_mutex_t lock;
	uv_cond_t done;
	void (*ask)(struct server *s, void *arg); /* run on the loop's thread */
	void *ask_arg;
	bool asked;
	struct edge *edge;
	struct edge_config config;
	uint16_t port;
	struct err open_error;
	struct {
		struct edge_session *session;
		struct edge_token token;
	} parked[PARKED_MAX];
	unsigned parked_nr;
	char last_refusal[256];
	struct tls_identity last_opened;
	const char *revoked; /* a name that is_allowed refuses */
};

/* Port 0 in the config chooses one; a restart with the same struct keeps it (server_reopen). Fails the test
 * on error. */
void server_start(struct server *s, const struct edge_config *config);
void server_stop(struct server *s);	 /* closes everything and ends the thread */
void server_shut_port(struct server *s); /* closes the edge, keeps thread and port number */
void server_reopen(struct server *s);
struct edge_counters server_counters(struct server *s);
void server_release(struct server *s); /* answer every parked request with "released" */
unsigned server_parked(struct server *s);
unsigned server_publish(struct server *s, const char *topic, const char *text);
unsigned server_drop(struct server *s, const char *name);
int server_reload(struct server *s, const struct tls_files *files);
void server_take_refusal(struct server *s, char out[256]); /* waits for one, and forgets it */
void server_forget_refusal(struct server *s);
/* Wait up to 10 s for a condition on the counters (never a matter of exact time). */
bool server_wait(struct server *s, bool (*cond)(const struct edge_counters *c, uint64_t arg), uint64_t arg);
/* Open sockets of this process, for leaks. */
unsigned open_fds(void);

#endif
