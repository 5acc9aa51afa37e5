#include "tests/lib/test.h"
#include "proto/envelope.h"

static void sample(struct arena *a, struct buf *out)
{
	envelope e = WAVETRAIN__AGENT__ENVELOPE__INIT;
	Wavetrain__Agent__Poll poll = WAVETRAIN__AGENT__POLL__INIT;
	e.version = ENVELOPE_VERSION;
	e.trace_id = id128_bytes(a, 1, 2);
	e.request_id = 7;
	e.body_case = WAVETRAIN__AGENT__ENVELOPE__BODY_POLL;
	e.poll = &poll;
	poll.after_seq = 41;
	envelope_encode(out, &e);
}

static void an_envelope_round_trips(void **state)
{
	struct arena a;
	struct buf b;
	uint64_t hi, lo;
	arena_init(&a);
	buf_init(&b);
	sample(&a, &b);
	const envelope *e = envelope_decode(&a, b.data, b.len);
	assert_non_null(e);
	assert_int_equal(e->poll->after_seq, 41);
	assert_true(bytes_id128(e->trace_id, &hi, &lo));
	assert_int_equal(lo, 2);
	buf_done(&b);
	arena_done(&a);
}

static void a_cut_envelope_never_crashes(void **state)
{
	struct arena a;
	struct buf b;
	arena_init(&a);
	buf_init(&b);
	sample(&a, &b);
	for (size_t n = 0; n < b.len; n++)
		(void)envelope_decode(&a, b.data, n);
	assert_null(envelope_decode(&a, b.data, 1));
	buf_done(&b);
	arena_done(&a);
}

static void another_version_is_refused(void **state)
{
	struct arena a;
	struct buf b;
	arena_init(&a);
	buf_init(&b);
	sample(&a, &b);
	b.data[1] = 2;
	assert_null(envelope_decode(&a, b.data, b.len));
	buf_done(&b);
	arena_done(&a);
}

static void too_many_fields_are_refused_before_unpacking(void **state)
{
	struct arena a;
	struct buf b;
	arena_init(&a);
	buf_init(&b);
	sample(&a, &b);
	for (int i = 0; i < 70000; i++)
		buf_put(&b, "\x20\x01", 2);
	size_t before = a.used;
	assert_null(envelope_decode(&a, b.data, b.len));
	assert_int_equal(a.used, before);
	buf_done(&b);
	arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_envelope_round_trips),
		cmocka_unit_test(a_cut_envelope_never_crashes),
		cmocka_unit_test(another_version_is_refused),
		cmocka_unit_test(too_many_fields_are_refused_before_unpacking),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
