/* Log entries come from a disk or another coordinator: whatever opens must read without leaving its bytes. */
#include "coordinator/consensus/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct entry_reader r;
	const uint8_t *cmd;
	size_t len;
	volatile uint8_t seen = 0;
	if (entry_open(&r, p, n) != E_OK)
		return 0;
	while (entry_next(&r, &cmd, &len))
		seen ^= len > 0 ? cmd[len - 1] : 0;
	return 0;
}
