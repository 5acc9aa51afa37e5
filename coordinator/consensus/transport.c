#include "coordinator/consensus/internal.h"

/* A node that does not listen has no peers. The engine's own TCP transport would listen, and anyone could
 * join. */

static int init(struct raft_uv_transport *t, raft_id id, const char *address)
{
	return 0;
}

static int listen_nowhere(struct raft_uv_transport *t, raft_uv_accept_cb cb)
{
	return 0;
}

static int connect_nowhere(struct raft_uv_transport *t, struct raft_uv_connect *req, raft_id id,
			   const char *address, raft_uv_connect_cb cb)
{
	return RAFT_NOCONNECTION;
}

static void close_now(struct raft_uv_transport *t, raft_uv_transport_close_cb cb)
{
	cb(t);
}

void no_links_init(struct raft_uv_transport *t)
{
	*t = (struct raft_uv_transport){
		.init = init, .listen = listen_nowhere, .connect = connect_nowhere, .close = close_now};
}
