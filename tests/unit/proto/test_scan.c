#include "tests/lib/test.h"

#include "base/buf.h"
#include "proto/admin.pb-c.h"
#include "proto/agent.pb-c.h"
#include "proto/scan.h"

/* Field numbers of agent.proto: Envelope.report, Report.chunks, Chunk.log, LogLines.lines. */
enum { REPORT = 14, CHUNKS = 1, LOG = 13, LINES = 2 };

static struct buf b;

static int begin(void **state)
{
	buf_init(&b);
	return 0;
}

static int end(void **state)
{
	buf_done(&b);
	return 0;
}

static void put_varint(struct buf *out, uint64_t v)
{
	for (; v > 0x7f; v >>= 7)
		buf_put(out, &(uint8_t){(uint8_t)(v | 0x80)}, 1);
	buf_put(out, &(uint8_t){(uint8_t)v}, 1);
}

/* What is in b becomes field `number` of the message that is in b afterwards. */
static void wrap(unsigned number)
{
	struct buf out;
	buf_init(&out);
	put_varint(&out, number << 3 | 2);
	put_varint(&out, b.len);
	buf_put(&out, b.data, b.len);
	buf_done(&b);
	b = out;
}

static void put_many(const char *field, size_t n, size_t times)
{
	for (size_t i = 0; i < times; i++)
		buf_put(&b, field, n);
}

static bool envelope_fits(void)
{
	return scan_fits(&wavetrain__agent__envelope__descriptor, b.data, b.len);
}

static void a_million_empty_messages_two_levels_down_are_counted(void **state)
{
	put_many("\x0a\x00", 2, 1000000); /* chunks of a report */
	wrap(REPORT);
	assert_false(envelope_fits());
	buf_reset(&b);
	put_many("\x0a\x00", 2, SCAN_MESSAGES_MAX - 2);
	wrap(REPORT);
	assert_true(envelope_fits());
	buf_reset(&b);
	put_many("\x0a\x00", 2, SCAN_MESSAGES_MAX - 1);
	wrap(REPORT);
	assert_false(envelope_fits());
}

static void a_million_tiny_fields_four_levels_down_are_counted(void **state)
{
	put_many("\x18\x01", 2, 1000000); /* LogLines.dropped */
	wrap(LOG);
	wrap(CHUNKS);
	wrap(REPORT);
	assert_false(envelope_fits());
	buf_reset(&b);
	put_many("\x18\x01", 2, SCAN_FIELDS_MAX - 3);
	wrap(LOG);
	wrap(CHUNKS);
	wrap(REPORT);
	assert_true(envelope_fits());
}

/* Spread over many messages they are counted together. */
static void fields_of_all_messages_are_counted_together(void **state)
{
	put_many("\x08\x01", 2, 1000);
	wrap(CHUNKS);
	struct buf chunk = b;
	buf_init(&b);
	for (int i = 0; i < 66; i++)
		buf_put(&b, chunk.data, chunk.len);
	wrap(REPORT);
	assert_false(envelope_fits());
	buf_reset(&b);
	for (int i = 0; i < 60; i++)
		buf_put(&b, chunk.data, chunk.len);
	wrap(REPORT);
	assert_true(envelope_fits());
	buf_done(&chunk);
}

/* A program that prints empty lines is no attacker: 200 KiB of them is what an agent may send. */
static void lines_of_a_report_are_not_fields(void **state)
{
	put_many("\x12\x00", 2, 100 * 1024);
	wrap(LOG);
	wrap(CHUNKS);
	wrap(REPORT);
	assert_true(envelope_fits());
}

/* A type that holds itself: none of ours does, and the next one that does is bounded all the same. */
static ProtobufCFieldDescriptor self_field = {
	.name = "self", .id = 1, .label = PROTOBUF_C_LABEL_OPTIONAL, .type = PROTOBUF_C_TYPE_MESSAGE};
static const ProtobufCIntRange self_range[] = {{1, 0}, {0, 1}};
static const unsigned self_by_name[] = {0};
static const ProtobufCMessageDescriptor self = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
						.name = "self",
						.n_fields = 1,
						.fields = &self_field,
						.fields_sorted_by_name = self_by_name,
						.n_field_ranges = 1,
						.field_ranges = self_range};

static void nesting_ends_at_its_limit(void **state)
{
	self_field.descriptor = &self;
	for (int levels = 1; levels < SCAN_DEPTH_MAX; levels++)
		wrap(1);
	assert_true(scan_fits(&self, b.data, b.len));
	wrap(1);
	assert_false(scan_fits(&self, b.data, b.len));
	for (int levels = 0; levels < 5000; levels++)
		wrap(1);
	assert_false(scan_fits(&self, b.data, b.len));
	/* Of a type that has no such levels it is one field of bytes that nobody follows. */
	assert_true(scan_fits(&admin__data__descriptor, b.data, b.len));
}

static void what_is_cut_or_no_message_does_not_fit(void **state)
{
	put_many("\x08\x01", 2, 3);
	wrap(CHUNKS);
	wrap(REPORT);
	assert_true(envelope_fits());
	for (size_t n = 1; n < b.len; n++)
		assert_false(scan_fits(&wavetrain__agent__envelope__descriptor, b.data, n));
	assert_false(scan_fits(&admin__request__descriptor, (const uint8_t *)"\x0b", 1)); /* a group */
	assert_false(scan_fits(&admin__request__descriptor, (const uint8_t *)"\x00\x00", 2));
	assert_true(scan_fits(&admin__request__descriptor, (const uint8_t *)"", 0));
}

static void labels_of_an_admin_request_are_counted(void **state)
{
	enum { HOST = 22 };
	put_many("\x22\x00", 2, SCAN_MESSAGES_MAX);
	wrap(HOST);
	assert_false(scan_fits(&admin__request__descriptor, b.data, b.len));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_million_empty_messages_two_levels_down_are_counted),
		T(a_million_tiny_fields_four_levels_down_are_counted),
		T(fields_of_all_messages_are_counted_together),
		T(lines_of_a_report_are_not_fields),
		T(nesting_ends_at_its_limit),
		T(what_is_cut_or_no_message_does_not_fit),
		T(labels_of_an_admin_request_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
