/*
 * Who is not a member gets nothing of the peer port; who is one gets no further than its own name and the
 * bounds reach. Each is refused, counted and logged with what to do, and the cluster goes on writing.
 */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/consensus/peer_wire.h"
#include "tests/contract/peers/cluster.h"
#include "tests/contract/peers/stranger.h"

static struct cluster *cl;
static struct pki other;
static struct pki_files agent, foreign, no_member;
static int log_file, stderr_before;

/* ---- the log ---- */

static bool log_says(const char *words)
{
	static char text[256 * 1024];
	ssize_t n = pread(log_file, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = 0;
	return strstr(text, words) != NULL;
}

static void redirect_log(void)
{
	char path[400];
	snprintf(path, sizeof path, "%s/log", cl->pki.dir);
	log_file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	stderr_before = dup(2);
	assert_true(log_file >= 0 && dup2(log_file, 2) == 2);
}

/* ---- one cluster of three for all ---- */

static int open_cluster(void **state)
{
	cl = cluster_open("127.0.0.1");
	redirect_log();
	pki_open(&other, "prod");
	pki_issue(&other, &foreign, TLS_ROLE_COORDINATOR, "coordinator-2");
	pki_issue(&cl->pki, &agent, TLS_ROLE_AGENT, "eu-1");
	pki_issue(&cl->pki, &no_member, TLS_ROLE_COORDINATOR, "coordinator-9");
	node_start(cl, 1);
	cluster_grow(cl, 2);
	cluster_grow(cl, 3);
	return 0;
}

/* What went wrong, too, was said there. */
static void show_log(void)
{
	char text[4096];
	ssize_t n;
	for (off_t at = 0; (n = pread(log_file, text, sizeof text, at)) > 0; at += n)
		if (write(2, text, (size_t)n) != n)
			return;
}

static int close_cluster(void **state)
{
	cluster_close(cl);
	pki_close(&other);
	dup2(stderr_before, 2);
	show_log();
	close(stderr_before);
	close(log_file);
	return 0;
}

struct expected {
	enum consensus_link_end end;
	enum tls_fault fault;
	uint64_t ended, faults; /* before, at all nodes together */
	uint64_t leader, term;
	unsigned stalls;
};

static uint64_t ended_everywhere(enum consensus_link_end end)
{
	uint64_t n = 0;
	for (uint64_t id = 1; id <= 3; id++)
		n += node_links(cl, id)->ended[end];
	return n;
}

static uint64_t faults_everywhere(enum tls_fault fault)
{
	uint64_t n = 0;
	for (uint64_t id = 1; id <= 3; id++)
		n += node_links(cl, id)->tls_faults[fault];
	return n;
}

static struct expected expect(enum consensus_link_end end, enum tls_fault fault)
{
	client_propose(cl, 5);
	return (struct expected){.end = end,
				 .fault = fault,
				 .ended = ended_everywhere(end),
				 .faults = faults_everywhere(fault),
				 .leader = cluster_wait_leader(cl),
				 .term = consensus_term(cl->nodes[cluster_leader(cl)].c),
				 .stalls = cl->stalls};
}

static const struct expected *looked_for;

static bool has_come(struct cluster *c, uint64_t unused)
{
	const struct expected *x = looked_for;
	return ended_everywhere(x->end) > x->ended && (!x->fault || faults_everywhere(x->fault) > x->faults);
}

/* It was counted, and neither leader nor term have changed: nobody but the stranger noticed. Unless this
 * machine itself stood still, which all nodes did together. */
static void must_come(const struct expected *x, const char *logged)
{
	looked_for = x;
	cluster_wait(cl, consensus_link_end_text(x->end), has_come, 0);
	client_propose(cl, 20);
	if (cl->stalls == x->stalls) {
		assert_int_equal(cluster_leader(cl), x->leader);
		assert_int_equal(consensus_term(cl->nodes[x->leader].c), x->term);
	}
	if (!log_says(logged))
		fail_msg("the log does not say '%s'", logged);
}

static bool is_done(struct cluster *c, uint64_t arg)
{
	struct stranger *s = (struct stranger *)(uintptr_t)arg;
	return atomic_load(&s->done);
}

/* Connects to node 1, and stays until it is thrown out. */
static void comes(struct stranger *s, enum consensus_link_end end, enum tls_fault fault, const char *logged)
{
	struct expected x = expect(end, fault);
	s->address = cl->nodes[1].address;
	stranger_start(s);
	must_come(&x, logged);
	cluster_wait(cl, "the stranger to be thrown out", is_done, (uint64_t)(uintptr_t)s);
	stranger_join(s);
}

/* ---- who is no member ---- */

static void one_without_tls(void **state)
{
	struct stranger s = {0};
	buf_puts(&s.says, "GET / HTTP/1.1\r\n\r\n");
	comes(&s, CONSENSUS_LINK_TLS, TLS_FAULT_NOT_TLS, "TLS failed");
	assert_true(log_says("only coordinators of this cluster may connect here"));
}

static void one_with_the_engines_own_transport(void **state)
{
	/* libraft's hello: protocol 1, id 2, 16 bytes of address, little-endian. */
	static const uint8_t hello[40] = {1, [8] = 2, [16] = 16, [24] = '1', '.', '2', '.', '3', '.', '4'};
	struct stranger s = {0};
	buf_put(&s.says, hello, sizeof hello);
	comes(&s, CONSENSUS_LINK_TLS, TLS_FAULT_NOT_TLS, "TLS failed");
	assert_true(s.heard_len <= 7); /* at most an alert of TLS */
}

static void one_with_tls_1_2(void **state)
{
	struct stranger s = {.tls = TLS1_2_VERSION, .files = &cl->nodes[2].files.files};
	comes(&s, CONSENSUS_LINK_TLS, TLS_FAULT_VERSION, "TLS failed");
	assert_false(s.shook_hands);
}

static void one_without_a_certificate(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION};
	comes(&s, CONSENSUS_LINK_TLS, TLS_FAULT_NO_CERTIFICATE, "TLS failed");
	assert_int_equal(s.heard_len, 0);
}

static void one_of_another_ca_with_the_right_names(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION, .files = &foreign.files};
	peer_hello_encode(&s.says, cl->nodes[2].address);
	comes(&s, CONSENSUS_LINK_TLS, TLS_FAULT_UNKNOWN_CA, "TLS failed");
	assert_int_equal(s.heard_len, 0);
}

static void an_agent_of_this_cluster(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION, .files = &agent.files};
	peer_hello_encode(&s.says, cl->nodes[2].address);
	comes(&s, CONSENSUS_LINK_NO_COORDINATOR, TLS_FAULT_NONE, "agents dial the agent port");
	assert_int_equal(s.heard_len, 0);
}

static void heard_answer(const struct stranger *s, enum peer_answer want)
{
	uint32_t answer;
	struct err e;
	assert_int_equal(s->heard_len, PEER_ANSWER_LEN);
	assert_int_equal(peer_answer_decode(s->heard, &answer, &e), E_OK);
	assert_int_equal(answer, want);
}

static void a_coordinator_that_is_no_member(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION, .files = &no_member.files};
	comes(&s, CONSENSUS_LINK_NO_MEMBER, TLS_FAULT_NONE, "add it if it should be one");
	heard_answer(&s, PEER_NO_MEMBER);
}

static void one_with_our_own_certificate(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION, .files = &cl->nodes[1].files.files};
	comes(&s, CONSENSUS_LINK_NO_MEMBER, TLS_FAULT_NONE, "it is no member of this cluster");
	heard_answer(&s, PEER_NO_MEMBER);
}

/* ---- a member that is not what it should be ---- */

static void le64(struct buf *b, uint64_t v)
{
	for (int i = 0; i < 8; i++) {
		uint8_t byte = (uint8_t)(v >> 8 * i);
		buf_put(b, &byte, 1);
	}
}

static void a_members_certificate_with_another_members_address(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION, .files = &cl->nodes[2].files.files};
	peer_hello_encode(&s.says, cl->nodes[3].address);
	comes(&s, CONSENSUS_LINK_OTHER_ADDRESS, TLS_FAULT_NONE,
	      "start it with the address it was added with");
	heard_answer(&s, PEER_OTHER_ADDRESS);
}

static void another_version(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION, .files = &cl->nodes[2].files.files};
	peer_hello_encode(&s.says, cl->nodes[2].address);
	put_u32(s.says.data + 4, 2);
	comes(&s, CONSENSUS_LINK_BAD_HELLO, TLS_FAULT_NONE, "install the same build on both");
	heard_answer(&s, PEER_OTHER_VERSION);
}

static void junk_in_place_of_a_hello(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION, .files = &cl->nodes[2].files.files};
	buf_puts(&s.says, "once upon a time there was a coordinator");
	comes(&s, CONSENSUS_LINK_BAD_HELLO, TLS_FAULT_NONE, "its first bytes are not those of a coordinator");
	assert_int_equal(s.heard_len, 0);
}

static void a_hello_that_is_too_long(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION, .files = &cl->nodes[2].files.files};
	peer_hello_encode(&s.says, cl->nodes[2].address);
	put_u32(s.says.data + 8, 1 << 30);
	comes(&s, CONSENSUS_LINK_BAD_HELLO, TLS_FAULT_NONE, "its first bytes are not those of a coordinator");
}

/* A node that plays by the rules until its link is open. Its real owner has another, which this one replaces.
 */
static void *rogue_opens(void *arg)
{
	struct stranger *s = arg;
	uint8_t answer[PEER_ANSWER_LEN];
	struct buf hello;
	struct err e;
	SSL_CTX *ctx;
	buf_init(&hello);
	peer_hello_encode(&hello, cl->nodes[3].address);
	if (tls_ctx_load(&ctx, TLS_CLIENT, s->files, &e) != E_OK)
		abort();
	SSL *ssl = SSL_new(ctx);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_storage a;
	uv_ip4_addr("127.0.0.1", atoi(strrchr(s->address, ':') + 1), (struct sockaddr_in *)&a);
	if (connect(fd, (struct sockaddr *)&a, sizeof(struct sockaddr_in)) == 0) {
		SSL_set_fd(ssl, fd);
		s->shook_hands = SSL_connect(ssl) == 1 &&
				 SSL_write(ssl, hello.data, (int)hello.len) == (int)hello.len &&
				 SSL_read(ssl, answer, sizeof answer) == sizeof answer &&
				 get_u32(answer + 8) == PEER_WELCOME &&
				 SSL_write(ssl, s->says.data, (int)s->says.len) == (int)s->says.len;
		while (s->shook_hands && SSL_read(ssl, answer, sizeof answer) > 0)
			;
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	buf_done(&hello);
	atomic_store(&s->done, true);
	return NULL;
}

/* From a certificate of node 3 to node 2. */
static void a_member_says(struct buf *says, enum consensus_link_end end, const char *logged)
{
	struct stranger s = {
		.address = cl->nodes[2].address, .files = &cl->nodes[3].files.files, .says = *says};
	struct expected x = expect(end, TLS_FAULT_NONE);
	assert_int_equal(pthread_create(&s.thread, NULL, rogue_opens, &s), 0);
	must_come(&x, logged);
	cluster_wait(cl, "the member to be cut off", is_done, (uint64_t)(uintptr_t)&s);
	stranger_join(&s);
	assert_true(s.shook_hands);
}

static void a_member_that_asks_for_votes_in_anothers_name(void **state)
{
	struct buf b;
	buf_init(&b);
	le64(&b, 3);
	le64(&b, 40);
	le64(&b, 1 << 20); /* a term that would depose everybody */
	le64(&b, 1);
	le64(&b, 1 << 20);
	le64(&b, 1 << 20);
	le64(&b, 1);
	a_member_says(&b, CONSENSUS_LINK_FALSE_NAME, "do not trust that machine: remove it");
}

static void a_member_that_sends_junk(void **state)
{
	struct buf b;
	buf_init(&b);
	buf_puts(&b, "neither a type nor a length, but more bytes than both");
	a_member_says(&b, CONSENSUS_LINK_BAD_MESSAGE, "it sent what is no message of the engine");
}

static void a_member_that_sends_more_than_the_bound(void **state)
{
	struct buf b;
	buf_init(&b);
	le64(&b, 1);
	le64(&b, (uint64_t)1 << 40);
	a_member_says(&b, CONSENSUS_LINK_LARGE_MESSAGE, "it sent a message over the bound");
}

/* ---- those who say nothing ---- */

static void one_that_stalls_in_the_handshake(void **state)
{
	struct stranger s = {.silent = true};
	buf_put(&s.says, "\x16\x03\x01", 3); /* the beginning of a record of TLS */
	comes(&s, CONSENSUS_LINK_SLOW, TLS_FAULT_NONE, "who opens connections and says nothing");
}

static void one_that_stalls_before_its_hello(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION, .files = &cl->nodes[2].files.files};
	comes(&s, CONSENSUS_LINK_SLOW, TLS_FAULT_NONE, "no handshake and hello within 5 s");
	assert_true(s.shook_hands);
}

static void a_crowd_that_says_nothing(void **state)
{
	enum { CROWD = 100 };
	static struct stranger crowd[CROWD];
	struct expected x = expect(CONSENSUS_LINK_CAP, TLS_FAULT_NONE);
	for (int i = 0; i < CROWD; i++) {
		crowd[i] = (struct stranger){.silent = true, .address = cl->nodes[1].address};
		stranger_start(&crowd[i]);
	}
	must_come(&x, "too many unfinished connections from there");
	assert_true(node_links(cl, 1)->pending <= 64);
	for (int i = 0; i < CROWD; i++)
		stranger_join(&crowd[i]);
}

/* ---- where a member should be ---- */

/* Node `id` is added at an address where somebody else answers. */
static void is_added_where(struct stranger *s, uint64_t id, enum consensus_link_end end, const char *logged)
{
	snprintf(cl->nodes[id].address, sizeof cl->nodes[id].address, "127.0.0.1:%u", stranger_listen(s));
	struct expected x = expect(end, TLS_FAULT_NONE);
	stranger_start(s);
	cluster_must(cl, CONSENSUS_MEMBER_ADD, id);
	must_come(&x, logged);
	cluster_must(cl, CONSENSUS_MEMBER_REMOVE, id);
	stranger_join(s);
}

static void another_coordinator_in_its_place(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION, .files = &no_member.files};
	is_added_where(&s, 4, CONSENSUS_LINK_OTHER_NODE, "there is coordinator 9");
}

static void one_that_answers_nothing(void **state)
{
	struct stranger s = {.silent = true};
	is_added_where(&s, 6, CONSENSUS_LINK_SLOW, "no link to coordinator 6 at 127.0.0.1");
}

/* Takes the link and then nothing of what it is sent: as a host that vanished without a word. */
static void one_that_takes_nothing(void **state)
{
	struct stranger s = {.tls = TLS1_3_VERSION, .files = &cl->nodes[5].files.files, .deaf = true};
	peer_answer_encode(&s.says, PEER_WELCOME);
	client_go(cl); /* or what is sent would for hours fit between the two kernels */
	is_added_where(&s, 5, CONSENSUS_LINK_STALLED, "look at that machine and the network between");
	client_pause(cl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_without_tls),
		cmocka_unit_test(one_with_the_engines_own_transport),
		cmocka_unit_test(one_with_tls_1_2),
		cmocka_unit_test(one_without_a_certificate),
		cmocka_unit_test(one_of_another_ca_with_the_right_names),
		cmocka_unit_test(an_agent_of_this_cluster),
		cmocka_unit_test(a_coordinator_that_is_no_member),
		cmocka_unit_test(one_with_our_own_certificate),
		cmocka_unit_test(a_members_certificate_with_another_members_address),
		cmocka_unit_test(another_version),
		cmocka_unit_test(junk_in_place_of_a_hello),
		cmocka_unit_test(a_hello_that_is_too_long),
		cmocka_unit_test(a_member_that_asks_for_votes_in_anothers_name),
		cmocka_unit_test(a_member_that_sends_junk),
		cmocka_unit_test(a_member_that_sends_more_than_the_bound),
		cmocka_unit_test(one_that_stalls_in_the_handshake),
		cmocka_unit_test(one_that_stalls_before_its_hello),
		cmocka_unit_test(a_crowd_that_says_nothing),
		cmocka_unit_test(another_coordinator_in_its_place),
		cmocka_unit_test(one_that_takes_nothing),
		cmocka_unit_test(one_that_answers_nothing),
	};
	return cmocka_run_group_tests(tests, open_cluster, close_cluster);
}
