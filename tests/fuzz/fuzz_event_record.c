/* Files of events: whatever lies in them, a reader ends, takes only what was written so, and finds a whole
 * record behind it. */
#include <string.h>

#include "coordinator/adapters/event_record.h"

static void takes_only_what_was_written(const struct event *e, const uint8_t *p, size_t used)
{
	struct buf b;
	buf_init(&b);
	event_record_encode(e, &b);
	PRE(b.len == used && memcmp(b.data, p, used) == 0);
	buf_done(&b);
}

/* Reads all; returns the number of the last record. */
static uint64_t read_all(const uint8_t *p, size_t n)
{
	static struct event e;
	uint64_t last = 0;
	size_t used;
	while (n > 0) {
		if (event_record_decode(p, n, &e, &used) == EVENT_RECORD_WHOLE) {
			takes_only_what_was_written(&e, p, used);
			last = e.number;
		} else {
			used = event_record_skip(p, n);
		}
		PRE(used > 0 && used <= n);
		p += used;
		n -= used;
	}
	return last;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const struct event last = {.number = 0x7777777777, .kind = EVENT_LOG, .text = "behind"};
	struct buf b;
	read_all(bytes, len);
	buf_init(&b);
	buf_put(&b, bytes, len);
	event_record_encode(&last, &b);
	PRE(read_all(b.data, b.len) == last.number);
	buf_done(&b);
	return 0;
}
