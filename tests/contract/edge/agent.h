/* agent.h: links on the test's own loop, with what they heard. */
#ifndef TESTS_CONTRACT_EDGE_AGENT_H
#define TESTS_CONTRACT_EDGE_AGENT_H

#include "agent/link/link.h"

struct agent {
	struct link *link;
	unsigned ups, downs, replies, polls;
	size_t last_len;
	char last[64];	     /* the beginning of the last reply of either kind */
	char down_text[256]; /* why it went down last */
	int down_code;
	int64_t next_ms;
	bool wedged, closed;
	bool polite; /* sends an "echo" request at every on_up, and a "park" poll once it is answered */
	char address[64];
	char up_to[64]; /* the coordinator it came up to last */
};

/* Small back-offs; `address_port` on 127.0.0.1. */
struct link_config agent_config(const struct tls_files *files);
void agent_open(struct agent *a, uv_loop_t *loop, const struct link_config *config, uint16_t port);
/* Run the loop until `cond` or for 20 s; returns cond's last word. */
bool agents_run(uv_loop_t *loop, bool (*cond)(void *arg), void *arg);
void agents_close(uv_loop_t *loop, struct agent *list, unsigned nr);

#endif
