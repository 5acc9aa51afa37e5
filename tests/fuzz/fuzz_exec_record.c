/* Any bytes may reach the exec socket; a record that passes must be safe to take apart. */
#include "agent/exec/record.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct exec_record r;
	static char *out[EXEC_STRINGS_MAX + 1];
	record_init(&r, EXEC_START, "a");
	size_t head = offsetof(struct exec_record, op);
	size_t n = len < sizeof r - head ? len : sizeof r - head;
	memcpy((char *)&r + head, data, n);
	struct err e;
	if (record_check(&r, sizeof r, &e) == E_OK && (r.op == EXEC_START || r.op == EXEC_HOOK)) {
		record_pointers(r.argv.bytes, r.argv.count, out);
		record_pointers(r.env.bytes, r.env.count, out);
	}
	return 0;
}
