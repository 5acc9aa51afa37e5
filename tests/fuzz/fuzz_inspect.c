/* The archive filter, in this process and with small limits. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/pathrule.h"
#include "coordinator/artifact/inspect.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static int fd = -1;
	const struct inspect_limits limits = {.unpacked_bytes = 1 << 20, .entries = 100};
	struct inspect_result r;
	struct err e;
	if (fd < 0)
		fd = memfd_create("archive", 0);
	if (ftruncate(fd, 0) != 0 || pwrite(fd, p, n, 0) != (ssize_t)n || lseek(fd, 0, SEEK_SET) != 0)
		return 0;
	if (inspect_here(fd, &limits, &r, &e) == E_OK)
		PRE(r.entries <= limits.entries && r.unpacked_bytes <= limits.unpacked_bytes);
	return 0;
}
