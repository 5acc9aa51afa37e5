/* The bytes between coordinators, well-formed and not. */
#include "tests/lib/test.h"

#include <stdlib.h>

#include "coordinator/consensus/entry.h"
#include "coordinator/consensus/peer_wire.h"

enum { PEER = 2 };

/* ---- making messages as libraft 0.15 does ---- */

static void le64(struct buf *b, uint64_t v)
{
	for (int i = 0; i < 8; i++) {
		uint8_t byte = (uint8_t)(v >> 8 * i);
		buf_put(b, &byte, 1);
	}
}

static void filler(struct buf *b, size_t n)
{
	memset(buf_reserve(b, n), 'x', n);
	b->len += n;
}

static void preamble(struct buf *b, uint64_t type, uint64_t len)
{
	le64(b, type);
	le64(b, len);
}

static void server(struct buf *b, uint64_t id, const char *address, uint8_t role)
{
	le64(b, id);
	buf_put(b, address, strlen(address) + 1);
	buf_put(b, &role, 1);
}

static void configuration(struct buf *b, uint64_t n, uint64_t second, const char *address, uint8_t role)
{
	uint8_t one = 1;
	buf_reset(b);
	buf_put(b, &one, 1);
	le64(b, n);
	server(b, 1, "a.example:7102", 1);
	server(b, second, address, role);
	filler(b, (8 - b->len % 8) % 8);
}

/* One entry: its type and length are also those of its bytes unless `bytes` says otherwise. */
static void append_one(struct buf *b, uint8_t type, uint32_t len, const struct buf *bytes)
{
	preamble(b, 1, 48 + 16);
	le64(b, 7);
	le64(b, 20);
	le64(b, 6);
	le64(b, 19);
	le64(b, 1);
	le64(b, 7);
	le64(b, type | (uint64_t)len << 32);
	filler(b, 8);
	if (bytes)
		buf_put(b, bytes->data, bytes->len);
	else
		filler(b, len);
}

static void snapshot(struct buf *b, const struct buf *conf, uint64_t data)
{
	preamble(b, 5, 56 + conf->len);
	le64(b, 7);
	le64(b, 100);
	le64(b, 6);
	le64(b, 3);
	le64(b, conf->len);
	buf_put(b, conf->data, conf->len);
	le64(b, data);
	filler(b, 8);
}

static void request_vote(struct buf *b, uint64_t candidate)
{
	preamble(b, 3, 40);
	le64(b, 8);
	le64(b, candidate);
	le64(b, 20);
	le64(b, 7);
	le64(b, 2);
}

static void answer(struct buf *b, uint64_t type)
{
	preamble(b, type, 24);
	le64(b, 7);
	le64(b, 0);
	le64(b, 20);
}

/* ---- looking at them ---- */

/* In slices of `slice` bytes. */
static int look(const struct buf *b, size_t slice, struct buf *out, uint64_t *messages)
{
	struct peer_inspector in;
	struct err e;
	int rc = E_OK;
	peer_inspector_init(&in, PEER);
	for (size_t at = 0; at < b->len && rc == E_OK; at += slice)
		rc = peer_inspect(&in, b->data + at, b->len - at < slice ? b->len - at : slice, out, &e);
	*messages = in.messages;
	peer_inspector_done(&in);
	return rc;
}

/* What passes is what came, however it is cut. */
static void passes(const struct buf *b, uint64_t messages)
{
	static const size_t slices[] = {1, 3, 16, 17, 64, SIZE_MAX / 2};
	for (size_t i = 0; i < ARRAY_LEN(slices); i++) {
		struct buf out;
		uint64_t got;
		buf_init(&out);
		assert_int_equal(look(b, slices[i], &out, &got), E_OK);
		assert_int_equal(got, messages);
		assert_int_equal(out.len, b->len);
		assert_memory_equal(out.data, b->data, b->len);
		buf_done(&out);
	}
}

/* And nothing of the bad message reaches the engine. Takes what is in `b`. */
static void refused(struct buf *b, int code)
{
	static const size_t slices[] = {1, 17, SIZE_MAX / 2};
	for (size_t i = 0; i < ARRAY_LEN(slices); i++) {
		struct buf out;
		uint64_t got;
		buf_init(&out);
		assert_int_equal(look(b, slices[i], &out, &got), code);
		assert_int_equal(got, 0);
		assert_int_equal(out.len, 0);
		buf_done(&out);
	}
	buf_reset(b);
}

static void every_message_of_ours_passes_however_it_is_cut(void **state)
{
	struct buf b, conf;
	buf_init(&b);
	buf_init(&conf);
	configuration(&conf, 2, 2, "[2001:db8::2]:7102", 0);
	append_one(&b, 1, 64, NULL);
	append_one(&b, 2, 8, NULL);
	append_one(&b, 3, (uint32_t)conf.len, &conf);
	answer(&b, 2);
	request_vote(&b, PEER);
	answer(&b, 4);
	snapshot(&b, &conf, 56);
	filler(&b, 56);
	answer(&b, 6);
	passes(&b, 8);
	buf_done(&b);
	buf_done(&conf);
}

static void a_message_over_a_bound_stops_before_the_engine(void **state)
{
	struct buf b, conf;
	buf_init(&b);
	buf_init(&conf);
	configuration(&conf, 2, 2, "b:1", 0);
	preamble(&b, 1, UINT64_MAX);
	refused(&b, E_TOO_LARGE);
	preamble(&b, 1, 48 + 16 * (uint64_t)(PEER_ENTRIES_MAX + 1));
	refused(&b, E_TOO_LARGE);
	preamble(&b, 5, 56 + PEER_CONFIGURATION_MAX + 8);
	refused(&b, E_TOO_LARGE);
	snapshot(&b, &conf, (uint64_t)PEER_PAYLOAD_MAX + 1);
	refused(&b, E_TOO_LARGE);
	append_one(&b, 1, ENTRY_HEADER + 16 + ENTRY_MAX_COMMAND, NULL);
	refused(&b, E_PROTOCOL);
	buf_done(&b);
	buf_done(&conf);
}

static void many_entries_are_bounded_together(void **state)
{
	enum { N = 1100 };
	struct buf b;
	buf_init(&b);
	preamble(&b, 1, 48 + 16 * N);
	for (int i = 0; i < 4; i++)
		le64(&b, 7);
	le64(&b, N);
	for (int i = 0; i < N; i++) {
		le64(&b, 7);
		le64(&b, 1 | (uint64_t)ENTRY_MAX_COMMAND << 32);
	}
	filler(&b, 8);
	refused(&b, E_TOO_LARGE);
	buf_done(&b);
}

static void heads_that_contradict_themselves_are_refused(void **state)
{
	struct buf b, conf;
	buf_init(&b);
	buf_init(&conf);
	configuration(&conf, 2, 2, "b:1", 0);
	preamble(&b, 0, 24);
	refused(&b, E_PROTOCOL);
	preamble(&b, 7, 24);
	refused(&b, E_PROTOCOL);
	preamble(&b, 2, 23);
	refused(&b, E_PROTOCOL);
	preamble(&b, 1, 48 + 8);
	refused(&b, E_PROTOCOL);
	append_one(&b, 1, 65, NULL); /* not padded to 8 */
	refused(&b, E_PROTOCOL);
	append_one(&b, 4, 64, NULL);
	refused(&b, E_PROTOCOL);
	append_one(&b, 2, 16, NULL);
	refused(&b, E_PROTOCOL);
	append_one(&b, 1, 64, NULL);
	b.data[16 + 32] = 9; /* says nine entries, brings one */
	refused(&b, E_PROTOCOL);
	append_one(&b, 1, 64, NULL);
	b.data[16 + 7] = 1; /* a term near the end of numbers */
	refused(&b, E_PROTOCOL);
	snapshot(&b, &conf, 55);
	refused(&b, E_PROTOCOL);
	buf_done(&b);
	buf_done(&conf);
}

static void nobody_asks_for_votes_in_anothers_name(void **state)
{
	struct buf b;
	buf_init(&b);
	request_vote(&b, PEER + 1);
	refused(&b, E_DENIED);
	buf_done(&b);
}

static void a_membership_is_read_before_the_engine_reads_it(void **state)
{
	struct buf b, conf;
	buf_init(&b);
	buf_init(&conf);
	configuration(&conf, 2, 2, "b:1", 2);
	assert_true(peer_configuration_ok(conf.data, conf.len));
	assert_false(peer_configuration_ok(conf.data, 8));
	for (size_t n = 0; n + 8 < conf.len; n++)
		assert_false(peer_configuration_ok(conf.data, n));
	configuration(&conf, 3, 2, "b:1", 2); /* the third is missing */
	assert_false(peer_configuration_ok(conf.data, conf.len));
	configuration(&conf, 2, 0, "b:1", 2);
	assert_false(peer_configuration_ok(conf.data, conf.len));
	configuration(&conf, 2, 1, "b:1", 2);
	assert_false(peer_configuration_ok(conf.data, conf.len));
	configuration(&conf, 2, 2, "a.example:7102", 2);
	assert_false(peer_configuration_ok(conf.data, conf.len));
	configuration(&conf, 2, 2, "", 2);
	assert_false(peer_configuration_ok(conf.data, conf.len));
	configuration(&conf, 2, 2, "b:1", 3);
	assert_false(peer_configuration_ok(conf.data, conf.len));
	snapshot(&b, &conf, 56);
	refused(&b, E_PROTOCOL);
	buf_done(&b);
	buf_done(&conf);
}

/* The head of such an entry is good: it goes on, but the membership itself does not. */
static void an_entry_that_is_no_membership_is_held_back(void **state)
{
	struct buf b, conf, out;
	uint64_t messages;
	buf_init(&b);
	buf_init(&conf);
	buf_init(&out);
	configuration(&conf, 2, 2, "b:1", 9);
	append_one(&b, 3, (uint32_t)conf.len, &conf);
	assert_int_equal(look(&b, 5, &out, &messages), E_PROTOCOL);
	assert_int_equal(out.len, b.len - conf.len);
	buf_done(&b);
	buf_done(&conf);
	buf_done(&out);
}

static void a_hello_says_an_address_and_nothing_else(void **state)
{
	char address[PEER_ADDRESS_CAP];
	struct buf b;
	struct err e;
	size_t n;
	buf_init(&b);
	peer_hello_encode(&b, "b.example:7102");
	assert_int_equal(peer_hello_length(b.data, PEER_HELLO_HEAD - 1, &n, &e), E_OK);
	assert_int_equal(n, 0);
	assert_int_equal(peer_hello_length(b.data, PEER_HELLO_HEAD, &n, &e), E_OK);
	assert_int_equal(n, b.len);
	assert_int_equal(peer_hello_decode(b.data, b.len, address, &e), E_OK);
	assert_string_equal(address, "b.example:7102");
	b.data[PEER_HELLO_HEAD] = 0; /* a zero would hide the rest */
	assert_int_equal(peer_hello_decode(b.data, b.len, address, &e), E_PROTOCOL);
	put_u32(b.data + 8, PEER_ADDRESS_CAP);
	assert_int_equal(peer_hello_length(b.data, b.len, &n, &e), E_TOO_LARGE);
	put_u32(b.data + 4, 2);
	assert_int_equal(peer_hello_length(b.data, b.len, &n, &e), E_VERSION);
	b.data[0] = 'G';
	assert_int_equal(peer_hello_length(b.data, b.len, &n, &e), E_PROTOCOL);
	buf_done(&b);
}

static void an_answer_says_why(void **state)
{
	uint32_t said;
	struct buf b;
	struct err e;
	buf_init(&b);
	peer_answer_encode(&b, PEER_OTHER_ADDRESS);
	assert_int_equal(b.len, PEER_ANSWER_LEN);
	assert_int_equal(peer_answer_decode(b.data, &said, &e), E_OK);
	assert_int_equal(said, PEER_OTHER_ADDRESS);
	put_u32(b.data + 4, 9);
	assert_int_equal(peer_answer_decode(b.data, &said, &e), E_OK);
	assert_int_equal(said, PEER_OTHER_VERSION);
	b.data[0] = 'H';
	assert_int_equal(peer_answer_decode(b.data, &said, &e), E_PROTOCOL);
	assert_non_null(strstr(peer_answer_text(77), "does not know"));
	buf_done(&b);
}

static void an_address_has_a_host_and_a_port(void **state)
{
	static const char *const bad[] = {"",	  "a",	   "a:",     "a:0",   "a:65536", "a:01", ":1",
					  "[]:1", "[::1]", "[::1]1", "::1:1", "a b:1",	 "a:1 ", "[a.b]:1x"};
	static const struct {
		const char *address, *host;
		uint16_t port;
	} good[] = {{"192.0.2.1:7102", "192.0.2.1", 7102},
		    {"[2001:db8::1]:1", "2001:db8::1", 1},
		    {"coord-2.example:65535", "coord-2.example", 65535}};
	char host[PEER_ADDRESS_CAP];
	uint16_t port;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(peer_address_parse(bad[i], host, &port));
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(peer_address_parse(good[i].address, host, &port));
		assert_string_equal(host, good[i].host);
		assert_int_equal(port, good[i].port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_of_ours_passes_however_it_is_cut),
		cmocka_unit_test(a_message_over_a_bound_stops_before_the_engine),
		cmocka_unit_test(many_entries_are_bounded_together),
		cmocka_unit_test(heads_that_contradict_themselves_are_refused),
		cmocka_unit_test(nobody_asks_for_votes_in_anothers_name),
		cmocka_unit_test(a_membership_is_read_before_the_engine_reads_it),
		cmocka_unit_test(an_entry_that_is_no_membership_is_held_back),
		cmocka_unit_test(a_hello_says_an_address_and_nothing_else),
		cmocka_unit_test(an_answer_says_why),
		cmocka_unit_test(an_address_has_a_host_and_a_port),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
