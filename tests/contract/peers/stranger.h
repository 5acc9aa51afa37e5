/*
 * stranger.h: somebody who connects to a peer port, or pretends to be one, with whatever TLS and bytes a test
 * gives it. It runs on a thread of its own with blocking calls, while the cluster's loop runs on.
 */
#ifndef TESTS_CONTRACT_PEERS_STRANGER_H
#define TESTS_CONTRACT_PEERS_STRANGER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "sys/tls.h"

struct stranger {
	/* Given. */
	const char *address;	       /* "127.0.0.1:port"; NULL: listen, see stranger_listen */
	const struct tls_files *files; /* NULL: shows no certificate */
	int tls;		       /* 0: plain TCP; else TLS1_2_VERSION or TLS1_3_VERSION */
	bool silent;		       /* connects, and that is all */
	bool deaf;		       /* as a server: says what it says, and reads nothing more */
	struct buf says;	       /* once it is connected; taken over */
	/* What came of it, once it is done. */
	bool shook_hands;
	uint8_t heard[64];
	size_t heard_len;
	/* Its own. */
	pthread_t thread;
	int listener, fd;
	atomic_bool done, stop;
};

/* A port of its own on 127.0.0.1, for a test that is dialed. */
uint16_t stranger_listen(struct stranger *s);
void stranger_start(struct stranger *s);
void stranger_join(struct stranger *s); /* ends it if it is not done */

#endif
