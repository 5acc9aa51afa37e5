#include "tests/lib/test.h"

#include "tests/contract/peers/cluster.h"

#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAIT_MS = 60000, WINDOW = 16, WAKE_MS = 20, STALL_MS = 250 };

/* ---- the state machine ---- */

static void m_apply(void *u, uint64_t index, uint32_t sub, const void *cmd, size_t n, struct buf *reply)
{
	struct node *node = u;
	uint32_t nr = get_u32(cmd);
	assert_true(nr < NUMBERS_MAX);
	node->m.seen[nr]++;
	node->m.count++;
	node->m.hash = (node->m.hash ^ nr) * 1099511628211u;
	buf_put_u32(reply, nr);
}

static void m_commit(void *u, uint64_t index)
{
	((struct node *)u)->m.index = index;
}

static uint64_t m_applied(void *u)
{
	return ((struct node *)u)->m.index;
}

static void m_reset(void *u)
{
	memset(&((struct node *)u)->m, 0, sizeof(struct memory));
}

static int m_snap_begin(void *u, void **h)
{
	*h = malloc(sizeof(struct memory));
	memcpy(*h, &((struct node *)u)->m, sizeof(struct memory));
	return E_OK;
}

static int m_snap_write(void *h, struct buf *out)
{
	buf_put(out, h, sizeof(struct memory));
	return E_OK;
}

static int m_restore(void *u, uint64_t index, const void *p, size_t n)
{
	struct node *node = u;
	assert_int_equal(n, sizeof(struct memory));
	memcpy(&node->m, p, n);
	node->restores++;
	return E_OK;
}

static const struct consensus_fsm fsm = {.apply = m_apply,
					 .commit = m_commit,
					 .applied = m_applied,
					 .reset = m_reset,
					 .snap_begin = m_snap_begin,
					 .snap_write = m_snap_write,
					 .snap_end = free,
					 .restore = m_restore};

/* ---- the cluster ---- */

static uint16_t free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static void node_init(struct cluster *cl, uint64_t id, const char *host)
{
	struct node *n = &cl->nodes[id];
	char name[NAME_CAP];
	uint16_t port = free_port();
	n->cluster = cl;
	n->id = id;
	snprintf(n->address, sizeof n->address, "%s:%u", host, port);
	snprintf(n->listen, sizeof n->listen, "%s:%u", host[0] == '[' ? host : "127.0.0.1", port);
	snprintf(n->dir, sizeof n->dir, "%s/node-%u", cl->pki.dir, (unsigned)id);
	assert_int_equal(mkdir(n->dir, 0700), 0);
	pki_issue(&cl->pki, &n->files, TLS_ROLE_COORDINATOR, tls_coordinator_name(id, name));
	cl->seeds[cl->seeds_nr++] = (struct consensus_peer){.id = id, .address = n->address};
}

static void nothing(uv_timer_t *t)
{
}

struct cluster *cluster_open(const char *host)
{
	struct cluster *cl = calloc(1, sizeof *cl);
	signal(SIGPIPE, SIG_IGN);
	pki_open(&cl->pki, "prod");
	uv_loop_init(&cl->loop);
	uv_timer_init(&cl->loop, &cl->waker);
	uv_timer_start(&cl->waker, nothing, WAKE_MS, WAKE_MS);
	for (uint64_t id = 1; id <= NODES_MAX; id++)
		node_init(cl, id, host);
	return cl;
}

static int rm_one(const char *path, const struct stat *s, int flag, struct FTW *f)
{
	return remove(path);
}

void cluster_close(struct cluster *cl)
{
	cl->client.on = false;
	for (uint64_t id = 1; id <= NODES_MAX; id++) {
		if (cl->nodes[id].c)
			node_stop(cl, id);
		nftw(cl->nodes[id].dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
	}
	uv_close((uv_handle_t *)&cl->waker, NULL);
	uv_run(&cl->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&cl->loop), 0);
	pki_close(&cl->pki);
	free(cl);
}

int node_try_start(struct cluster *cl, uint64_t id, struct err *e)
{
	struct node *n = &cl->nodes[id];
	const struct consensus_config cfg = {.dir = n->dir,
					     .node_id = id,
					     .address = n->address,
					     .listen = n->listen[0] ? n->listen : NULL,
					     .tls = n->files.files,
					     .join = id != 1,
					     .peers = cl->seeds,
					     .peers_nr = cl->seeds_nr,
					     .fsm = &fsm,
					     .fsm_arg = n,
					     .snapshot_threshold = cl->snapshot_threshold,
					     .snapshot_trailing = cl->snapshot_trailing,
					     .min_free_bytes = 1};
	m_reset(n);
	return consensus_open(&n->c, &cl->loop, &cfg, e);
}

void node_start(struct cluster *cl, uint64_t id)
{
	struct err e;
	if (node_try_start(cl, id, &e) != E_OK)
		fail_msg("node %u: %s", (unsigned)id, e.text);
}

static void on_closed(void *arg)
{
	((struct node *)arg)->c = NULL;
}

static bool is_stopped(struct cluster *cl, uint64_t id)
{
	return cl->nodes[id].c == NULL;
}

void node_stop(struct cluster *cl, uint64_t id)
{
	consensus_close(cl->nodes[id].c, on_closed, &cl->nodes[id]);
	cluster_wait(cl, "a node to stop", is_stopped, id);
}

void node_wipe(struct cluster *cl, uint64_t id)
{
	assert_null(cl->nodes[id].c);
	nftw(cl->nodes[id].dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(cl->nodes[id].dir, 0700), 0);
}

/* ---- waiting ---- */

static void client_turn(struct cluster *cl);

static void turn(struct cluster *cl)
{
	uv_run(&cl->loop, UV_RUN_ONCE);
	cl->stalls += cl->turned_ns && uv_hrtime() - cl->turned_ns > (uint64_t)STALL_MS * 1000000;
	cl->turned_ns = uv_hrtime();
}

void cluster_wait(struct cluster *cl, const char *what, bool (*is)(struct cluster *cl, uint64_t arg),
		  uint64_t arg)
{
	uint64_t end = uv_hrtime() + (uint64_t)WAIT_MS * 1000000;
	while (!is(cl, arg)) {
		if (uv_hrtime() > end)
			fail_msg("waited a minute for %s", what);
		client_turn(cl);
		turn(cl);
	}
}

static bool is_past(struct cluster *cl, uint64_t ns)
{
	return uv_hrtime() > ns;
}

void cluster_run_ms(struct cluster *cl, unsigned ms)
{
	cluster_wait(cl, "time", is_past, uv_hrtime() + (uint64_t)ms * 1000000);
}

uint64_t cluster_leader(struct cluster *cl)
{
	uint64_t found = 0, term = 0;
	for (uint64_t id = 1; id <= NODES_MAX; id++) {
		struct consensus *c = cl->nodes[id].c;
		if (c && consensus_is_leader(c) && consensus_term(c) >= term) {
			found = id;
			term = consensus_term(c);
		}
	}
	return found;
}

static bool has_leader(struct cluster *cl, uint64_t unused)
{
	return cluster_leader(cl) != 0;
}

uint64_t cluster_wait_leader(struct cluster *cl)
{
	cluster_wait(cl, "a leader", has_leader, 0);
	return cluster_leader(cl);
}

bool node_caught_up(struct cluster *cl, uint64_t id)
{
	struct consensus_member_info all[CONSENSUS_MEMBERS_MAX];
	uint64_t leader = cluster_leader(cl);
	size_t n = leader ? consensus_members(cl->nodes[leader].c, all) : 0;
	for (size_t i = 0; i < n; i++)
		if (all[i].id == id)
			return all[i].role != CONSENSUS_SPARE && all[i].lag <= 100 && all[i].silent_ms < 1000;
	return false;
}

/* ---- members ---- */

static void on_answer(void *arg, int code, uint64_t index, const void *text, size_t n)
{
	struct answer *a = &((struct cluster *)arg)->answer;
	assert_false(a->came);
	a->came = true;
	a->code = code;
	snprintf(a->text, sizeof a->text, "%.*s", (int)n, (const char *)text);
}

static bool has_answer(struct cluster *cl, uint64_t unused)
{
	return cl->answer.came;
}

int cluster_member(struct cluster *cl, enum consensus_member_op op, uint64_t id)
{
	struct err e;
	uint64_t leader = cluster_wait_leader(cl);
	cl->answer = (struct answer){0};
	const char *address = op == CONSENSUS_MEMBER_ADD ? cl->nodes[id].address : NULL;
	int rc = consensus_member(cl->nodes[leader].c, op, id, address, on_answer, cl, &e);
	if (rc) {
		snprintf(cl->answer.text, sizeof cl->answer.text, "%s", e.text);
		return rc;
	}
	cluster_wait(cl, "the end of a membership call", has_answer, 0);
	return cl->answer.code;
}

/* On a machine that stood still for some seconds nobody was heard for as long. */
void cluster_must(struct cluster *cl, enum consensus_member_op op, uint64_t id)
{
	enum { TRIES = 50, PAUSE_MS = 200 };
	int rc = E_OK;
	for (int i = 0; i < TRIES; i++) {
		rc = cluster_member(cl, op, id);
		if (rc != E_UNAVAILABLE && rc != E_NOT_LEADER && rc != E_TIMEOUT && rc != E_BUSY)
			break;
		cluster_run_ms(cl, PAUSE_MS);
	}
	if (rc != E_OK)
		fail_msg("change %d of member %u: %s", (int)op, (unsigned)id, cl->answer.text);
}

void cluster_grow(struct cluster *cl, uint64_t id)
{
	node_start(cl, id);
	cluster_must(cl, CONSENSUS_MEMBER_ADD, id);
	cluster_wait(cl, "a new node to catch up", node_caught_up, id);
	cluster_must(cl, CONSENSUS_MEMBER_PROMOTE, id);
}

/* ---- the client ---- */

static void on_done(void *arg, int code, uint64_t index, const void *reply, size_t n)
{
	struct client *k = &((struct cluster *)arg)->client;
	k->under_way--;
	if (code == E_OK) {
		assert_int_equal(n, 4);
		k->is_acked[get_u32(reply)] = 1;
		k->acked++;
	} else if (code == E_NOT_LEADER) {
		k->refused++;
	} else {
		assert_int_equal(code, E_UNKNOWN_OUTCOME);
		k->unknown++;
	}
}

static void client_turn(struct cluster *cl)
{
	struct client *k = &cl->client;
	uint64_t leader = k->on ? cluster_leader(cl) : 0;
	uint8_t cmd[8] = {0};
	struct err e;
	while (leader && k->under_way < WINDOW && k->next < NUMBERS_MAX) {
		put_u32(cmd, k->next);
		if (consensus_propose(cl->nodes[leader].c, cmd, sizeof cmd, 0, on_done, cl, &e) != E_OK)
			return;
		k->next++;
		k->under_way++;
	}
}

void client_go(struct cluster *cl)
{
	cl->client.on = true;
}

static bool is_quiet(struct cluster *cl, uint64_t unused)
{
	return cl->client.under_way == 0;
}

void client_pause(struct cluster *cl)
{
	cl->client.on = false;
	cluster_wait(cl, "the proposals that are under way", is_quiet, 0);
}

static bool has_acked(struct cluster *cl, uint64_t n)
{
	return cl->client.acked >= n;
}

void client_propose(struct cluster *cl, unsigned n)
{
	bool was_on = cl->client.on;
	client_go(cl);
	cluster_wait(cl, "acknowledgements", has_acked, cl->client.acked + n);
	if (!was_on)
		client_pause(cl);
}

/* ---- checks ---- */

static bool all_applied_the_same(struct cluster *cl, uint64_t unused)
{
	uint64_t leader = cluster_leader(cl);
	for (uint64_t id = 1; leader && id <= NODES_MAX; id++) {
		const struct node *n = &cl->nodes[id];
		struct consensus_member_info all[CONSENSUS_MEMBERS_MAX];
		if (n->c && consensus_members(n->c, all) > 0 && n->m.hash != cl->nodes[leader].m.hash)
			return false;
	}
	return leader != 0;
}

void cluster_check_same(struct cluster *cl)
{
	client_pause(cl);
	cluster_wait(cl, "all nodes to apply the same", all_applied_the_same, 0);
	const struct node *n = &cl->nodes[cluster_leader(cl)];
	for (uint32_t nr = 0; nr < cl->client.next; nr++)
		if (n->m.seen[nr] > 1 || (cl->client.is_acked[nr] && n->m.seen[nr] == 0))
			fail_msg("number %u was applied %u times", nr, n->m.seen[nr]);
}

const struct consensus_links *node_links(const struct cluster *cl, uint64_t id)
{
	return consensus_links(cl->nodes[id].c);
}
