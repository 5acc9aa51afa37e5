#include "tests/lib/test.h"

#include "base/err.h"
#include "proto/sp.h"

enum { MAX = 64 };

/* A hello and three frames (request, empty, long) as a REQ peer would send them. */
static void conversation(struct buf *b)
{
	uint8_t hello[SP_HELLO_LEN], head[SP_REQUEST_HEAD_LEN];

	sp_hello_encode(hello, SP_REQ0);
	buf_put(b, hello, sizeof(hello));
	sp_request_head_encode(head, 7);
	sp_frame_encode(b, head, sizeof(head), "poll", 4);
	sp_frame_encode(b, NULL, 0, NULL, 0);
	sp_frame_encode(b, NULL, 0, "0123456789012345678901234567890123456789012345678901234567890123", MAX);
}

/* Decode one slice, noting every item in `trace`: "H" for a hello, "F<length>" for a frame. */
static int decode_slice(struct sp_decoder *d, const uint8_t *p, size_t n, struct buf *trace)
{
	for (;;) {
		enum sp_item item;
		int rc = sp_decode(d, &p, &n, &item);

		if (rc)
			return rc;
		if (item == SP_MORE) {
			assert_int_equal(n, 0);
			return E_OK;
		}
		if (item == SP_HELLO)
			buf_printf(trace, "H%02x ", d->peer);
		else
			buf_printf(trace, "F%zu ", d->body.len);
	}
}

static void a_hello_has_the_frozen_bytes(void **state)
{
	static const uint8_t frozen[SP_HELLO_LEN] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
	uint8_t hello[SP_HELLO_LEN];
	uint16_t peer;

	sp_hello_encode(hello, SP_REQ0);
	assert_memory_equal(hello, frozen, sizeof(frozen));
	assert_int_equal(sp_hello_decode(hello, &peer), E_OK);
	assert_int_equal(peer, SP_REQ0);
}

static void a_changed_hello_byte_is_refused(void **state)
{
	for (size_t i = 0; i < SP_HELLO_LEN; i++) {
		uint8_t hello[SP_HELLO_LEN];
		uint16_t peer;

		sp_hello_encode(hello, SP_SUB0);
		hello[i] ^= 0x40;
		assert_int_equal(sp_hello_decode(hello, &peer), i == 4 || i == 5 ? E_OK : E_PROTOCOL);
	}
}

static void a_frame_has_the_frozen_bytes(void **state)
{
	static const uint8_t frozen[] = {0, 0, 0, 0, 0, 0, 0, 6, 0x80, 0, 0, 9, 'h', 'i'};
	uint8_t head[SP_REQUEST_HEAD_LEN];
	struct buf b;

	buf_init(&b);
	sp_request_head_encode(head, 9);
	sp_frame_encode(&b, head, sizeof(head), "hi", 2);
	assert_int_equal(b.len, sizeof(frozen));
	assert_memory_equal(b.data, frozen, sizeof(frozen));
	buf_done(&b);
}

/* Two cuts at every pair of places: whatever the network does to the stream, the same items come out. */
static void every_split_gives_the_same_items(void **state)
{
	struct buf b, trace;

	buf_init(&b);
	buf_init(&trace);
	conversation(&b);
	for (size_t i = 0; i <= b.len; i++)
		for (size_t j = i; j <= b.len; j++) {
			struct sp_decoder d;

			sp_decoder_init(&d, MAX);
			buf_reset(&trace);
			assert_int_equal(decode_slice(&d, b.data, i, &trace), E_OK);
			assert_int_equal(decode_slice(&d, b.data + i, j - i, &trace), E_OK);
			assert_int_equal(decode_slice(&d, b.data + j, b.len - j, &trace), E_OK);
			assert_string_equal(buf_cstr(&trace), "H30 F8 F0 F64 ");
			sp_decoder_done(&d);
		}
	buf_done(&b);
	buf_done(&trace);
}

static void a_truncated_stream_gives_no_item_too_many(void **state)
{
	struct buf b, trace;

	buf_init(&b);
	buf_init(&trace);
	conversation(&b);
	for (size_t i = 0; i < b.len; i++) {
		struct sp_decoder d;

		sp_decoder_init(&d, MAX);
		buf_reset(&trace);
		assert_int_equal(decode_slice(&d, b.data, i, &trace), E_OK);
		assert_null(strstr(buf_cstr(&trace), "F64"));
		sp_decoder_done(&d);
	}
	buf_done(&b);
	buf_done(&trace);
}

static int decode_claim(uint64_t claimed, size_t frame_max)
{
	uint8_t bytes[SP_HELLO_LEN + SP_FRAME_HEAD_LEN];
	struct sp_decoder d;
	struct buf trace;

	sp_hello_encode(bytes, SP_REQ0);
	put_u64(bytes + SP_HELLO_LEN, claimed);
	buf_init(&trace);
	sp_decoder_init(&d, frame_max);
	int rc = decode_slice(&d, bytes, sizeof(bytes), &trace);
	assert_int_equal(decode_slice(&d, bytes, 0, &trace), rc); /* an error is final */
	assert_true(d.body.cap <= 4096);
	sp_decoder_done(&d);
	buf_done(&trace);
	return rc;
}

static void a_claim_over_the_limit_is_refused_before_any_memory(void **state)
{
	assert_int_equal(decode_claim(MAX, MAX), E_OK);
	assert_int_equal(decode_claim(MAX + 1, MAX), E_TOO_LARGE);
	assert_int_equal(decode_claim(1ull << 63, SP_FRAME_MAX_TRUSTED), E_TOO_LARGE);
	assert_int_equal(decode_claim(UINT64_MAX, SP_FRAME_MAX_TRUSTED), E_TOO_LARGE);
	assert_int_equal(decode_claim(SP_FRAME_MAX_TRUSTED, SP_FRAME_MAX_TRUSTED), E_OK);
}

static void a_raised_limit_counts_from_the_next_frame(void **state)
{
	struct sp_decoder d;
	struct buf b, trace;

	buf_init(&b);
	buf_init(&trace);
	conversation(&b);
	sp_decoder_init(&d, 8);
	assert_int_equal(decode_slice(&d, b.data, SP_HELLO_LEN + 16, &trace), E_OK);
	d.frame_max = MAX;
	assert_int_equal(decode_slice(&d, b.data + SP_HELLO_LEN + 16, b.len - SP_HELLO_LEN - 16, &trace),
			 E_OK);
	assert_string_equal(buf_cstr(&trace), "H30 F8 F0 F64 ");
	sp_decoder_done(&d);
	buf_done(&b);
	buf_done(&trace);
}

static void a_request_without_an_id_is_refused(void **state)
{
	static const uint8_t no_mark[] = {0, 0, 0, 1, 'x'}, good[] = {0x80, 0, 0, 1, 'x'};
	const uint8_t *body;
	size_t len;
	uint32_t id;

	assert_int_equal(sp_request_decode(no_mark, sizeof(no_mark), &id, &body, &len), E_PROTOCOL);
	assert_int_equal(sp_request_decode(good, 3, &id, &body, &len), E_PROTOCOL);
	assert_int_equal(sp_request_decode(good, sizeof(good), &id, &body, &len), E_OK);
	assert_int_equal(id, 0x80000001u);
	assert_int_equal(len, 1);
	assert_int_equal(body[0], 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hello_has_the_frozen_bytes),
		cmocka_unit_test(a_changed_hello_byte_is_refused),
		cmocka_unit_test(a_frame_has_the_frozen_bytes),
		cmocka_unit_test(every_split_gives_the_same_items),
		cmocka_unit_test(a_truncated_stream_gives_no_item_too_many),
		cmocka_unit_test(a_claim_over_the_limit_is_refused_before_any_memory),
		cmocka_unit_test(a_raised_limit_counts_from_the_next_frame),
		cmocka_unit_test(a_request_without_an_id_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
