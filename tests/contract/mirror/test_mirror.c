/* Mirrors against each other over the coordinators' own servers, against peers that misbehave, and
 * strangers. */
#include "tests/lib/pki.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "coordinator/adapters/artifact_http.h"
#include "coordinator/adapters/mirror.h"
#include "sys/digest.h"
#include "sys/fsio.h"
#include "tests/contract/mirror/peer.h"

enum { ARCHIVES = 8, SIZE = 400 * 1000, PEERS = 3, PATIENCE_MS = 60 * 1000 };

static uv_loop_t loop;
static struct pki pki, other_pki, foreign_pki;
static struct pki_files coordinators[PEERS], removed, agent, stranger, foreign;
static uint8_t bytes[SIZE + ARCHIVES];
static struct digest digests[ARCHIVES];
static size_t wanted_nr; /* the first so many */
static unsigned stall_s;
static char root[64];

/* Archive i begins at byte i and is i bytes longer than the first. */
const uint8_t *archive_find(const struct digest *d, size_t *size)
{
	for (size_t i = 0; i < ARCHIVES; i++)
		if (digest_eq(d, &digests[i])) {
			*size = SIZE - i;
			return bytes + i;
		}
	return NULL;
}

/* ---- a coordinator: its store, its server, its mirror
 * --------------------------------------------------------------- */

struct node {
	char folder[96], url[64];
	struct artifact_store *store;
	struct artifact_http *http;
	struct mirror *mirror;
	const char *peers[PEERS + 1];
	struct mirror_config config;
};
static struct node nodes[PEERS];
static struct peer peers[PEERS];

static void name_peers(void *arg, struct mirror *m)
{
	const struct node *n = arg;
	for (size_t i = 0; n->peers[i] != NULL; i++)
		mirror_peer(m, n->peers[i]);
}

static void name_wanted(void *arg, struct mirror *m)
{
	for (size_t i = 0; i < wanted_nr; i++)
		mirror_wanted(m, &digests[i], SIZE - i);
}

/* As a cluster whose third node was removed would say it. */
static bool is_member(void *arg, const struct tls_identity *id)
{
	return id->role == TLS_ROLE_COORDINATOR && strcmp(id->name.s, "coordinator-9") != 0;
}

static void node_open(struct node *n, const struct pki_files *who)
{
	static unsigned made;
	struct err e;
	snprintf(n->folder, sizeof n->folder, "%s/node-%u", root, made++);
	assert_int_equal(mkdir(n->folder, 0700), 0);
	assert_int_equal(artifact_store_open(&n->store, n->folder, &e), E_OK);
	n->config = (struct mirror_config){.store = n->store,
					   .tls = who->files,
					   .source = {n, name_peers, name_wanted},
					   .seed = made,
					   .round_ms = 20,
					   .retry_ms = 10,
					   .stall_s = stall_s,
					   .plain_for_tests = true};
}

static void node_serve(struct node *n, const struct pki_files *who)
{
	const struct artifact_http_config c = {.address = "127.0.0.1",
					       .ca = who == &stranger  ? other_pki.ca_file
						     : who == &foreign ? foreign_pki.ca_file
								       : pki.ca_file,
					       .cert = who->files.cert,
					       .key = who->files.key,
					       .is_allowed = is_member};
	struct err e;
	if (artifact_http_open(&n->http, &loop, n->store, &c, &e) != E_OK)
		fail_msg("%s", e.text);
	snprintf(n->url, sizeof n->url, "https://127.0.0.1:%u", artifact_http_port(n->http));
}

static void node_put(struct node *n, size_t i)
{
	struct artifact_upload *u;
	uint64_t offset;
	struct err e;
	assert_int_equal(artifact_upload_begin(n->store, &digests[i], SIZE - i, &u, &offset, &e), E_OK);
	assert_int_equal(artifact_upload_data(u, bytes + i + offset, SIZE - i - offset, &e), E_OK);
	assert_int_equal(artifact_upload_finish(u, &e), E_OK);
	artifact_upload_end(u);
}

static void node_mirror(struct node *n)
{
	n->mirror = mirror_open(&loop, &n->config);
}

static void node_stop(struct node *n)
{
	if (n->mirror != NULL)
		mirror_close(n->mirror, NULL, NULL);
	n->mirror = NULL;
}

/* Node 0 with a mirror that knows the first `nr` of `peers`, in this mode each. */
static void one_node(size_t nr, const enum peer_mode *modes)
{
	node_open(&nodes[0], &coordinators[0]);
	for (size_t i = 0; i < nr; i++) {
		peer_open(&peers[i], &loop, modes[i]);
		nodes[0].peers[i] = peers[i].url;
	}
	node_mirror(&nodes[0]);
}

/* ---- waiting and looking
 * ----------------------------------------------------------------------------------------------- */

static bool has_all(const struct node *n)
{
	size_t has = 0;
	for (size_t i = 0; i < wanted_nr; i++)
		has += artifact_store_has(n->store, &digests[i]);
	return has == wanted_nr;
}

static void nothing(uv_timer_t *t)
{
}

#define WAIT_UNTIL(condition)                                                                                \
	do {                                                                                                 \
		uv_timer_t clock_;                                                                           \
		uint64_t since_ = uv_hrtime();                                                               \
		uv_timer_init(&loop, &clock_);                                                               \
		uv_timer_start(&clock_, nothing, 1, 1);                                                      \
		while (!(condition) && uv_hrtime() - since_ < PATIENCE_MS * UINT64_C(1000000))               \
			uv_run(&loop, UV_RUN_ONCE);                                                          \
		uv_close((uv_handle_t *)&clock_, NULL);                                                      \
		uv_run(&loop, UV_RUN_NOWAIT);                                                                \
		if (!(condition))                                                                            \
			fail_msg("waited in vain for %s", #condition);                                       \
	} while (0)

static void assert_bytes(const struct node *n, size_t i)
{
	char path[FSIO_PATH_CAP], hex[DIGEST_HEX_CAP];
	struct buf b;
	struct err e;
	buf_init(&b);
	snprintf(path, sizeof path, "%s/sha256/%s", n->folder, digest_hex(&digests[i], hex));
	assert_int_equal(fsio_read(path, SIZE, &b, &e), E_OK);
	assert_int_equal(b.len, SIZE - i);
	assert_memory_equal(b.data, bytes + i, b.len);
	buf_done(&b);
}

static int64_t partial_size(const struct node *n, size_t i)
{
	char path[FSIO_PATH_CAP], hex[DIGEST_HEX_CAP];
	struct stat st;
	snprintf(path, sizeof path, "%s/partial/%s.partial", n->folder, digest_hex(&digests[i], hex));
	return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

/* What was logged since begin(). */
static unsigned logged(const char *text)
{
	char path[96];
	unsigned times = 0;
	struct buf b;
	struct err e;
	buf_init(&b);
	snprintf(path, sizeof path, "%s/log", root);
	assert_int_equal(fsio_read(path, 1 << 20, &b, &e), E_OK);
	for (const char *at = buf_cstr(&b); (at = strstr(at, text)) != NULL; at++)
		times++;
	buf_done(&b);
	return times;
}

static void assert_copies(const struct node *n, unsigned known, unsigned of)
{
	struct mirror_copies c = mirror_copies(n->mirror, &digests[0]);
	assert_int_equal(c.known, known);
	assert_int_equal(c.of, of);
}

/* ---- coordinators of one cluster
 * ---------------------------------------------------------------------------------------- */

static bool everybody_knows_of_three(void)
{
	bool all = true;
	for (size_t i = 0; i < PEERS; i++)
		for (size_t k = 0; k < wanted_nr; k++)
			all = all && mirror_copies(nodes[i].mirror, &digests[k]).known == PEERS;
	return all;
}

static void what_one_has_the_others_get(void **state)
{
	wanted_nr = ARCHIVES;
	for (size_t i = 0; i < PEERS; i++) {
		node_open(&nodes[i], &coordinators[i]);
		node_serve(&nodes[i], &coordinators[i]);
	}
	for (size_t i = 0; i < ARCHIVES; i++)
		node_put(&nodes[i % 2], i); /* some here, some there, none on the third */
	for (size_t i = 0; i < PEERS; i++) {
		nodes[i].peers[0] = nodes[(i + 1) % PEERS].url;
		nodes[i].peers[1] = nodes[(i + 2) % PEERS].url;
		node_mirror(&nodes[i]);
	}
	WAIT_UNTIL(has_all(&nodes[0]) && has_all(&nodes[1]) && has_all(&nodes[2]));
	for (size_t i = 0; i < PEERS * ARCHIVES; i++)
		assert_bytes(&nodes[i / ARCHIVES], i % ARCHIVES);
	WAIT_UNTIL(everybody_knows_of_three());
	assert_copies(&nodes[2], 3, 3);
}

static void a_release_that_comes_later_is_fetched_when_looked_for(void **state)
{
	node_open(&nodes[0], &coordinators[0]);
	node_serve(&nodes[0], &coordinators[0]);
	node_open(&nodes[1], &coordinators[1]);
	nodes[1].peers[0] = nodes[0].url;
	node_mirror(&nodes[1]);
	WAIT_UNTIL(mirror_copies(nodes[1].mirror, &digests[0]).of == 2);
	assert_copies(&nodes[1], 0, 2);
	node_put(&nodes[0], 0);
	wanted_nr = 1;
	mirror_look(nodes[1].mirror);
	WAIT_UNTIL(has_all(&nodes[1]));
	assert_bytes(&nodes[1], 0);
	assert_copies(&nodes[1], 2, 2);
}

static void without_others_nothing_is_asked(void **state)
{
	wanted_nr = 1;
	one_node(0, NULL);
	node_put(&nodes[0], 0);
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_copies(&nodes[0], 1, 1);
	assert_int_equal(logged("mirror"), 0);
}

/* ---- peers that misbehave
 * ------------------------------------------------------------------------------------------------ */

static void where_one_breaks_the_other_goes_on(void **state)
{
	static const enum peer_mode modes[] = {PEER_BREAKS, PEER_HAS_NOTHING};
	wanted_nr = 1;
	one_node(2, modes);
	WAIT_UNTIL(partial_size(&nodes[0], 0) == PEER_PART);
	peers[0].mode = PEER_HAS_NOTHING;
	peers[1].mode = PEER_GOOD;
	WAIT_UNTIL(has_all(&nodes[0]));
	assert_int_equal(peers[1].gets, 1);
	assert_true(peers[1].first >= PEER_PART);
	assert_bytes(&nodes[0], 0);
	assert_int_equal(partial_size(&nodes[0], 0), -1);
}

static void one_that_always_breaks_gives_it_in_pieces(void **state)
{
	static const enum peer_mode modes[] = {PEER_BREAKS};
	wanted_nr = 1;
	one_node(1, modes);
	WAIT_UNTIL(has_all(&nodes[0]));
	assert_int_equal(peers[0].gets, (SIZE + PEER_PART - 1) / PEER_PART);
	assert_bytes(&nodes[0], 0);
	assert_int_equal(logged("another coordinator, or it again later"), 1);
}

static void one_that_falls_silent_is_left_for_the_other(void **state)
{
	static const enum peer_mode modes[] = {PEER_FALLS_SILENT, PEER_HAS_NOTHING};
	wanted_nr = 1;
	one_node(2, modes);
	WAIT_UNTIL(partial_size(&nodes[0], 0) == PEER_PART);
	peers[1].mode = PEER_GOOD;
	WAIT_UNTIL(has_all(&nodes[0]));
	assert_bytes(&nodes[0], 0);
}

static void wrong_bytes_never_get_the_name(void **state)
{
	static const enum peer_mode modes[] = {PEER_LIES, PEER_HAS_NOTHING};
	wanted_nr = 1;
	one_node(2, modes);
	WAIT_UNTIL(logged("do not trust the disk of that machine") == 1);
	assert_false(has_all(&nodes[0]));
	assert_copies(&nodes[0], 0, 3);
	peers[1].mode = PEER_GOOD;
	WAIT_UNTIL(has_all(&nodes[0]));
	assert_bytes(&nodes[0], 0);
	assert_int_equal(peers[0].gets, 1); /* not asked again for these bytes */
	assert_copies(&nodes[0], 2, 3);
}

static void one_of_another_size_is_not_taken(void **state)
{
	static const enum peer_mode modes[] = {PEER_OTHER_SIZE};
	wanted_nr = 1;
	one_node(1, modes);
	WAIT_UNTIL(logged("has 400001 bytes, not 400000") == 1);
	WAIT_UNTIL(logged("is neither here nor on any other coordinator (1 asked)") == 1);
	assert_int_equal(peers[0].gets, 0);
}

static void what_nobody_has_is_said_once_and_comes_when_somebody_has_it(void **state)
{
	static const enum peer_mode modes[] = {PEER_HAS_NOTHING, PEER_HAS_NOTHING, PEER_HAS_NOTHING};
	wanted_nr = 2;
	one_node(3, modes);
	WAIT_UNTIL(peers[0].heads >= 20 && peers[1].heads >= 20 && peers[2].heads >= 20);
	assert_int_equal(logged("is neither here nor on any other coordinator (3 asked)"), 2);
	assert_int_equal(peers[0].gets + peers[1].gets + peers[2].gets, 0);
	peers[1].mode = PEER_GOOD;
	WAIT_UNTIL(has_all(&nodes[0]));
	assert_bytes(&nodes[0], 1);
	WAIT_UNTIL(logged("is here now, from") == 2);
}

static void one_that_lost_it_in_between_is_asked_again(void **state)
{
	static const enum peer_mode modes[] = {PEER_LOST_IT};
	wanted_nr = 1;
	one_node(1, modes);
	WAIT_UNTIL(peers[0].gets >= 5);
	assert_true(peers[0].gets <= peers[0].heads); /* each time after it said again that it has it */
	peers[0].mode = PEER_GOOD;
	WAIT_UNTIL(has_all(&nodes[0]));
}

static void one_that_is_away_is_said_once_and_asked_again(void **state)
{
	static const enum peer_mode modes[] = {PEER_GOOD};
	char url[64];
	wanted_nr = 1;
	peer_open(&peers[1], &loop, PEER_GOOD);
	snprintf(url, sizeof url, "%s", peers[1].url);
	peer_close(&peers[1]);
	one_node(1, modes);
	nodes[0].peers[1] = url;
	WAIT_UNTIL(has_all(&nodes[0]) && logged("cannot be asked for archives") == 1);
	for (int i = 0; i < 200; i++)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(logged("cannot be asked for archives"), 1);
	assert_copies(&nodes[0], 2, 3);
}

static void a_url_that_cannot_be_is_said_and_not_asked(void **state)
{
	wanted_nr = 1;
	nodes[0].peers[0] = "https://user@127.0.0.1:1/path";
	one_node(0, NULL);
	WAIT_UNTIL(logged("is not https://HOST:PORT") == 1);
}

static void two_come_at_once_and_not_more(void **state)
{
	static const enum peer_mode modes[] = {PEER_FALLS_SILENT};
	wanted_nr = ARCHIVES;
	stall_s = 1000;
	one_node(1, modes);
	WAIT_UNTIL(peers[0].heads == ARCHIVES && peers[0].gets == 2);
	for (int i = 0; i < 100; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(peers[0].gets, 2);
}

/* ---- changes on the way
 * -------------------------------------------------------------------------------------------------- */

static void after_a_restart_it_goes_on_where_it_was(void **state)
{
	static const enum peer_mode modes[] = {PEER_FALLS_SILENT};
	wanted_nr = 1;
	one_node(1, modes);
	WAIT_UNTIL(partial_size(&nodes[0], 0) == PEER_PART);
	node_stop(&nodes[0]);
	peers[0].mode = PEER_GOOD;
	node_mirror(&nodes[0]);
	WAIT_UNTIL(has_all(&nodes[0]));
	assert_int_equal(peers[0].first, PEER_PART);
	assert_bytes(&nodes[0], 0);
}

static void a_push_may_overtake_it(void **state)
{
	static const enum peer_mode modes[] = {PEER_FALLS_SILENT};
	wanted_nr = 1;
	one_node(1, modes);
	WAIT_UNTIL(partial_size(&nodes[0], 0) == PEER_PART);
	node_put(&nodes[0], 0);
	mirror_look(nodes[0].mirror);
	WAIT_UNTIL(peers[0].open_gets == 0);
	assert_bytes(&nodes[0], 0);
	node_stop(&nodes[0]);
	node_mirror(&nodes[0]);
	WAIT_UNTIL(partial_size(&nodes[0], 0) == -1); /* of no use any more */
	assert_bytes(&nodes[0], 0);
}

static void one_that_leaves_the_cluster_is_left_at_once(void **state)
{
	static const enum peer_mode modes[] = {PEER_FALLS_SILENT, PEER_HAS_NOTHING};
	wanted_nr = 1;
	stall_s = 1000;
	one_node(2, modes);
	WAIT_UNTIL(partial_size(&nodes[0], 0) == PEER_PART);
	peers[1].mode = PEER_GOOD;
	nodes[0].peers[0] = peers[1].url;
	nodes[0].peers[1] = NULL;
	mirror_look(nodes[0].mirror);
	WAIT_UNTIL(has_all(&nodes[0]));
	assert_int_equal(peers[1].first, PEER_PART);
	assert_copies(&nodes[0], 2, 2);
}

static void what_is_not_wanted_any_more_is_left_too(void **state)
{
	static const enum peer_mode modes[] = {PEER_FALLS_SILENT};
	wanted_nr = 1;
	stall_s = 1000;
	one_node(1, modes);
	WAIT_UNTIL(partial_size(&nodes[0], 0) == PEER_PART);
	wanted_nr = 0;
	mirror_look(nodes[0].mirror);
	WAIT_UNTIL(peers[0].open_gets == 0);
}

/* ---- the disk
 * ---------------------------------------------------------------------------------------------------------------
 */

static void the_reserve_is_kept_and_said_once(void **state)
{
	static const enum peer_mode modes[] = {PEER_GOOD};
	wanted_nr = 3;
	node_open(&nodes[0], &coordinators[0]);
	peer_open(&peers[0], &loop, modes[0]);
	nodes[0].peers[0] = peers[0].url;
	nodes[0].config.free_bytes = INT64_MAX;
	node_mirror(&nodes[0]);
	WAIT_UNTIL(peers[0].heads >= 3 && logged("archives of other coordinators cannot be kept here") == 1);
	for (int i = 0; i < 200; i++)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(logged("cannot be kept here"), 1);
	assert_int_equal(peers[0].gets, 0);
}

static void a_disk_that_was_full_has_what_fit_and_takes_the_rest_later(void **state)
{
	static const enum peer_mode modes[] = {PEER_GOOD};
	struct rlimit before, less;
	wanted_nr = 1;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	less = before;
	less.rlim_cur = 150 * 1000; /* what a file may have */
	setrlimit(RLIMIT_FSIZE, &less);
	one_node(1, modes);
	WAIT_UNTIL(logged("archives of other coordinators cannot be kept here") == 1);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_false(has_all(&nodes[0]));
	WAIT_UNTIL(has_all(&nodes[0]));
	assert_int_equal(peers[0].first, 150 * 1000);
	assert_bytes(&nodes[0], 0);
}

/* ---- strangers
 * --------------------------------------------------------------------------------------------------------------
 */

/* Node 1 with this certificate asks node 0 of our cluster, which has the archive. */
static void ask_as(const struct pki_files *who, const char *ca)
{
	wanted_nr = 1;
	node_open(&nodes[0], &coordinators[0]);
	node_serve(&nodes[0], &coordinators[0]);
	node_put(&nodes[0], 0);
	node_open(&nodes[1], who);
	nodes[1].config.tls.ca = ca;
	nodes[1].peers[0] = nodes[0].url;
	node_mirror(&nodes[1]);
	WAIT_UNTIL(logged("cannot be asked for archives") == 1);
	assert_false(has_all(&nodes[1]));
	assert_copies(&nodes[1], 0, 2);
	assert_int_equal(logged("http 403, it does not accept our certificate"), 1);
}

static void a_stranger_gets_nothing(void **state)
{
	ask_as(&stranger, pki.ca_file);
}

static void an_agent_that_is_not_of_the_fleet_gets_nothing(void **state)
{
	ask_as(&agent, pki.ca_file);
}

static void a_coordinator_that_was_removed_gets_nothing(void **state)
{
	ask_as(&removed, pki.ca_file);
}

/* Node 0, which trusts this CA, asks a server that shows this certificate. */
static void ask_of(const struct pki_files *who, const char *ca, const char *why)
{
	wanted_nr = 1;
	node_open(&nodes[1], who);
	node_serve(&nodes[1], who);
	node_put(&nodes[1], 0);
	node_open(&nodes[0], &coordinators[0]);
	nodes[0].config.tls.ca = ca;
	nodes[0].peers[0] = nodes[1].url;
	node_mirror(&nodes[0]);
	WAIT_UNTIL(logged("cannot be asked for archives") == 1);
	assert_int_equal(logged(why), 1);
	assert_false(has_all(&nodes[0]));
	assert_int_equal(partial_size(&nodes[0], 0), -1);
}

static void nothing_is_taken_from_a_stranger(void **state)
{
	ask_of(&stranger, pki.ca_file, "SSL certificate problem");
}

static void nothing_is_taken_from_an_agent_that_plays_coordinator(void **state)
{
	ask_of(&agent, pki.ca_file, "SSL certificate problem");
}

/* Trusting its CA does not make one cluster of two. */
static void nothing_is_taken_from_another_cluster(void **state)
{
	struct buf both;
	struct err e;
	char path[96];
	buf_init(&both);
	snprintf(path, sizeof path, "%s/ca.pem", root);
	assert_int_equal(fsio_read(pki.ca_file, 1 << 16, &both, &e), E_OK);
	assert_int_equal(fsio_read(foreign_pki.ca_file, 1 << 16, &both, &e), E_OK);
	assert_int_equal(fsio_write_atomic(path, both.data, both.len, 0600, &e), E_OK);
	buf_done(&both);
	ask_of(&foreign, path, "is of cluster 'staging', this is 'prod'");
}

/* ---- the frame
 * --------------------------------------------------------------------------------------------------------------
 */

static int begin(void **state)
{
	char path[96];
	snprintf(root, sizeof root, "/tmp/wavetrain-mirror-XXXXXX");
	if (mkdtemp(root) == NULL)
		return -1;
	memset(nodes, 0, sizeof nodes);
	memset(peers, 0, sizeof peers);
	wanted_nr = 0;
	stall_s = 1;
	snprintf(path, sizeof path, "%s/log", root);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		return -1;
	close(fd);
	return uv_loop_init(&loop);
}

static int end(void **state)
{
	char command[96];
	for (size_t i = 0; i < PEERS; i++) {
		node_stop(&nodes[i]);
		peer_close(&peers[i]);
		if (nodes[i].http != NULL)
			artifact_http_close(nodes[i].http, NULL, NULL);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < PEERS; i++)
		artifact_store_close(nodes[i].store);
	snprintf(command, sizeof command, "rm -r '%s'", root);
	return uv_loop_close(&loop) != 0 || system(command) != 0 ? -1 : 0;
}

static int screen; /* stderr as it was */

static int open_all(void **state)
{
	struct rng r;
	char name[NAME_CAP];
	screen = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	signal(SIGPIPE, SIG_IGN);
	rng_seed(&r, 11);
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)rng_next(&r);
	for (size_t i = 0; i < ARCHIVES; i++)
		digests[i] = digest_of(bytes + i, SIZE - i);
	pki_open(&pki, "prod");
	pki_open(&other_pki, "prod"); /* another cluster that says it is ours */
	for (size_t i = 0; i < PEERS; i++)
		pki_issue(&pki, &coordinators[i], TLS_ROLE_COORDINATOR, tls_coordinator_name(i + 1, name));
	pki_issue(&pki, &removed, TLS_ROLE_COORDINATOR, "coordinator-9");
	pki_issue(&pki, &agent, TLS_ROLE_AGENT, "web-1");
	pki_issue(&other_pki, &stranger, TLS_ROLE_COORDINATOR, "coordinator-1");
	pki_open(&foreign_pki, "staging");
	pki_issue(&foreign_pki, &foreign, TLS_ROLE_COORDINATOR, "coordinator-1");
	return 0;
}

static int close_all(void **state)
{
	dup2(screen, STDERR_FILENO);
	pki_close(&pki);
	pki_close(&other_pki);
	pki_close(&foreign_pki);
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_one_has_the_others_get),
		T(a_release_that_comes_later_is_fetched_when_looked_for),
		T(without_others_nothing_is_asked),
		T(where_one_breaks_the_other_goes_on),
		T(one_that_always_breaks_gives_it_in_pieces),
		T(one_that_falls_silent_is_left_for_the_other),
		T(wrong_bytes_never_get_the_name),
		T(one_of_another_size_is_not_taken),
		T(what_nobody_has_is_said_once_and_comes_when_somebody_has_it),
		T(one_that_lost_it_in_between_is_asked_again),
		T(one_that_is_away_is_said_once_and_asked_again),
		T(a_url_that_cannot_be_is_said_and_not_asked),
		T(two_come_at_once_and_not_more),
		T(after_a_restart_it_goes_on_where_it_was),
		T(a_push_may_overtake_it),
		T(one_that_leaves_the_cluster_is_left_at_once),
		T(what_is_not_wanted_any_more_is_left_too),
		T(the_reserve_is_kept_and_said_once),
		T(a_disk_that_was_full_has_what_fit_and_takes_the_rest_later),
		T(a_stranger_gets_nothing),
		T(an_agent_that_is_not_of_the_fleet_gets_nothing),
		T(a_coordinator_that_was_removed_gets_nothing),
		T(nothing_is_taken_from_a_stranger),
		T(nothing_is_taken_from_an_agent_that_plays_coordinator),
		T(nothing_is_taken_from_another_cluster),
	};
	return cmocka_run_group_tests(tests, open_all, close_all);
}
