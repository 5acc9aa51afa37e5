/* The header of a snapshot, and the states of a link. */
#include "tests/lib/test.h"

#include <openssl/sha.h>

#include "coordinator/consensus/internal.h"
#include "coordinator/consensus/peer_link.h"

static const char text[] = "the whole state";

static void make(struct buf *b)
{
	buf_init(b);
	memset(buf_reserve(b, SNAPSHOT_HEADER), 0, SNAPSHOT_HEADER);
	b->len = SNAPSHOT_HEADER;
	buf_put(b, text, sizeof text);
	assert_int_equal(snapshot_seal(b, 700, 4), E_OK);
}

static void a_snapshot_remembers_the_highest_id_there_ever_was(void **state)
{
	struct buf b;
	uint64_t index, id;
	const uint8_t *body;
	size_t len;
	make(&b);
	assert_int_equal(snapshot_open(b.data, b.len, &index, &id, &body, &len), E_OK);
	assert_int_equal(index, 700);
	assert_int_equal(id, 4);
	assert_int_equal(len, sizeof text);
	assert_memory_equal(body, text, sizeof text);
	buf_done(&b);
}

static void every_damaged_byte_is_found(void **state)
{
	struct buf b;
	uint64_t index, id;
	const uint8_t *body;
	size_t len;
	make(&b);
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= 1;
		assert_int_not_equal(snapshot_open(b.data, b.len, &index, &id, &body, &len), E_OK);
		b.data[i] ^= 1;
	}
	for (size_t n = 0; n < b.len; n++)
		assert_int_not_equal(snapshot_open(b.data, n, &index, &id, &body, &len), E_OK);
	buf_done(&b);
}

/* As written before nodes could be added: 24 bytes, their hash with the state's, the state. */
static void one_of_version_1_is_read(void **state)
{
	uint8_t old[56 + sizeof text] = {'W', 'T', 'S', '1', 0, 0, 0, 1};
	uint8_t hashed[24 + sizeof text];
	uint64_t index, id = 99;
	const uint8_t *body;
	size_t len;
	put_u64(old + 8, 700);
	put_u64(old + 16, sizeof text);
	memcpy(old + 56, text, sizeof text);
	memcpy(hashed, old, 24);
	memcpy(hashed + 24, text, sizeof text);
	SHA256(hashed, sizeof hashed, old + 24);
	assert_int_equal(snapshot_open(old, sizeof old, &index, &id, &body, &len), E_OK);
	assert_int_equal(index, 700);
	assert_int_equal(id, 0);
	assert_memory_equal(body, text, len);
	old[7] = 3;
	assert_int_equal(snapshot_open(old, sizeof old, &index, &id, &body, &len), E_VERSION);
}

static void the_states_of_a_link_are_well_formed(void **state)
{
	assert_true(sm_well_formed(&link_sm));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_snapshot_remembers_the_highest_id_there_ever_was),
		cmocka_unit_test(every_damaged_byte_is_found),
		cmocka_unit_test(one_of_version_1_is_read),
		cmocka_unit_test(the_states_of_a_link_are_well_formed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
