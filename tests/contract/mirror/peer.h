/*
 * peer.h: a coordinator's artifact port as a test wants it, good or bad, over plain HTTP. It has every
 * archive of the test, and answers HEAD and GET, also of a range, until its mode says otherwise.
 */
#ifndef TESTS_CONTRACT_MIRROR_PEER_H
#define TESTS_CONTRACT_MIRROR_PEER_H

#include <uv.h>

#include "base/ids.h"

enum peer_mode {
	PEER_GOOD = 1,
	PEER_HAS_NOTHING,  /* 404 */
	PEER_BREAKS,	   /* sends a part and hangs up */
	PEER_FALLS_SILENT, /* sends a part and says no more */
	PEER_LIES,	   /* other bytes of the right number */
	PEER_OTHER_SIZE,   /* says that the archive is longer */
	PEER_LOST_IT	   /* HEAD 200, GET 404 */
};

enum { PEER_PART = 100 * 1000 };

struct peer {
	uv_tcp_t server;
	enum peer_mode mode;
	char url[64];
	unsigned heads, gets, open_gets;
	uint64_t first; /* of the range that was asked for last */
	struct peer_line *lines;
};

/* What an archive of this digest is; NULL: the test has none. */
const uint8_t *archive_find(const struct digest *d, size_t *size);

void peer_open(struct peer *p, uv_loop_t *loop, enum peer_mode mode);
void peer_close(struct peer *p); /* the port and the connections; fine when it is not open */

#endif
