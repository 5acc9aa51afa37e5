#include "tests/lib/test.h"

#include "agent/steps/slot_ledger.h"
#include "agent/steps/slot_tree.h"
#include "sys/digest.h"

static struct err e;

static struct digest d_of(int n)
{
	return digest_of(&n, sizeof(n));
}

/* ---- the ledger
 * ---------------------------------------------------------------------------------------------------- */

static struct slot_ledger some_ledger(void)
{
	struct slot_ledger l = {0};
	for (int i = 0; i < 5; i++)
		slot_ledger_good(&l, &(struct digest){{(uint8_t)(i + 1)}});
	struct digest keep[2] = {d_of(1), d_of(2)}, claim = d_of(3);
	slot_ledger_trim(&l, 3, keep, 2);
	slot_ledger_claim(&l, &claim);
	return l;
}

static void the_most_recent_is_first_and_there_once(void **state)
{
	struct slot_ledger l = {0};
	for (int i = 0; i < SLOT_LEDGER_GOOD_MAX + 1; i++) {
		struct digest d = d_of(i);
		slot_ledger_good(&l, &d);
	}
	struct digest first = d_of(0), again = d_of(7), last = d_of(SLOT_LEDGER_GOOD_MAX);
	assert_int_equal(l.good_nr, SLOT_LEDGER_GOOD_MAX);
	assert_true(digest_eq(&l.good[0], &last));
	assert_int_equal(l.claims_nr, 1); /* what fell off is still ours to remove */
	assert_true(digest_eq(&l.claims[0], &first));
	slot_ledger_good(&l, &again);
	assert_int_equal(l.good_nr, SLOT_LEDGER_GOOD_MAX);
	assert_true(digest_eq(&l.good[0], &again));
	slot_ledger_good(&l, &first);
	assert_true(digest_eq(&l.good[0], &first));
	assert_false(digest_eq(&l.claims[0], &first));
}

static void trimming_makes_claims_of_the_rest(void **state)
{
	struct slot_ledger l = some_ledger();
	struct digest claim = d_of(3), kept = d_of(1);
	assert_int_equal(l.good_nr, 3);
	assert_int_equal(l.kept_nr, 2);
	assert_int_equal(l.claims_nr, 3);
	assert_true(digest_eq(&l.claims[0], &claim));
	slot_ledger_trim(&l, 1, &claim, 1);
	assert_int_equal(l.good_nr, 1);
	assert_int_equal(l.kept_nr, 1);
	assert_int_equal(l.claims_nr, 6);
	assert_true(slot_ledger_names(&l, &kept));
	slot_ledger_unclaim(&l, &kept);
	assert_false(slot_ledger_names(&l, &kept));
}

static void claims_beyond_their_number_fall_off(void **state)
{
	struct slot_ledger l = {0};
	for (int i = 0; i < SLOT_LEDGER_CLAIMS_MAX + 3; i++) {
		struct digest d = d_of(i);
		slot_ledger_claim(&l, &d);
		slot_ledger_claim(&l, &d);
	}
	struct digest gone = d_of(2), oldest = d_of(3);
	assert_int_equal(l.claims_nr, SLOT_LEDGER_CLAIMS_MAX);
	assert_false(slot_ledger_names(&l, &gone));
	assert_true(slot_ledger_names(&l, &oldest));
}

static void a_ledger_is_read_as_it_was_written_or_not_at_all(void **state)
{
	struct slot_ledger l = some_ledger(), again;
	struct buf b;
	buf_init(&b);
	slot_ledger_encode(&l, &b);
	assert_int_equal(slot_ledger_decode(&again, b.data, b.len, &e), E_OK);
	assert_memory_equal(&l, &again, sizeof(l.good[0]) * l.good_nr);
	assert_int_equal(again.claims_nr, l.claims_nr);
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(slot_ledger_decode(&again, b.data, n, &e), E_CORRUPT);
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= 1;
		assert_int_equal(slot_ledger_decode(&again, b.data, b.len, &e), E_CORRUPT);
		b.data[i] ^= 1;
	}
	buf_puts(&b, "\n");
	assert_int_equal(slot_ledger_decode(&again, b.data, b.len, &e), E_CORRUPT);
	buf_done(&b);
}

/* ---- the manifest
 * ---------------------------------------------------------------------------------------------------- */

static const struct slot_entry entries[] = {{'d', 0755, 0, {{0}}, "bin"},
					    {'f', 0755, 1234, {{1, 2}}, "bin/an app"},
					    {'l', 0777, 3, {{3}}, "bin/ current"},
					    {'f',
					     0644,
					     UINT64_MAX,
					     {{4}},
					     "gr\xc3\xbc\xc3\x9f"
					     "e"}};

static void write_manifest(struct buf *b)
{
	slot_manifest_begin(b);
	for (size_t i = 0; i < ARRAY_LEN(entries); i++)
		slot_manifest_put(b, &entries[i]);
	slot_manifest_end(b);
}

static int expect(void *ctx, const struct slot_entry *en, struct err *why)
{
	size_t *seen = ctx;
	const struct slot_entry *want = &entries[(*seen)++];
	assert_int_equal(en->kind, want->kind);
	assert_int_equal(en->mode, want->mode);
	assert_int_equal(en->size_bytes, want->size_bytes);
	assert_true(digest_eq(&en->digest, &want->digest));
	assert_string_equal(en->path, want->path);
	return *seen == 3 && why == NULL ? E_BUSY : E_OK;
}

static void a_manifest_is_read_as_it_was_written_or_not_at_all(void **state)
{
	struct buf b;
	size_t seen = 0;
	buf_init(&b);
	write_manifest(&b);
	assert_int_equal(slot_manifest_read(b.data, b.len, expect, &seen, &e), E_OK);
	assert_int_equal(seen, ARRAY_LEN(entries));
	seen = 0;
	assert_int_equal(slot_manifest_read(b.data, b.len, expect, &seen, NULL), E_BUSY); /* stops there */
	assert_int_equal(seen, 3);
	seen = 0;
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(slot_manifest_read(b.data, n, expect, &seen, &e), E_CORRUPT);
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= 1;
		assert_int_equal(slot_manifest_read(b.data, b.len, expect, &seen, &e), E_CORRUPT);
		b.data[i] ^= 1;
	}
	assert_int_equal(seen, 0);
	buf_done(&b);
}

static void lines_that_nobody_writes_are_refused_whatever_their_digest(void **state)
{
	static const char *const bad[] = {
		"f 755 1 %s ../x\n", "f 755 1 %s /x\n", "f 755 01 %s x\n", "p 755 1 %s x\n",
		"f 755  1 %s x\n",   "f 755 -1 %s x\n", "f 755 1 %s x",	   "\n",
		"f 755 1 %s \n"};
	char hex[DIGEST_HEX_CAP];
	struct digest d = d_of(1);
	digest_hex(&d, hex);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct buf b;
		size_t seen = 0;
		buf_init(&b);
		slot_manifest_begin(&b);
		buf_printf(&b, bad[i], hex);
		slot_manifest_end(&b);
		if (slot_manifest_read(b.data, b.len, expect, &seen, &e) != E_CORRUPT)
			fail_msg("'%s' was taken", bad[i]);
		buf_done(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_most_recent_is_first_and_there_once),
		cmocka_unit_test(trimming_makes_claims_of_the_rest),
		cmocka_unit_test(claims_beyond_their_number_fall_off),
		cmocka_unit_test(a_ledger_is_read_as_it_was_written_or_not_at_all),
		cmocka_unit_test(a_manifest_is_read_as_it_was_written_or_not_at_all),
		cmocka_unit_test(lines_that_nobody_writes_are_refused_whatever_their_digest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
