/* Prints the reference page: build/tests/unit/spec/spec_reference > docs/reference/deployment-file.md */
#include "coordinator/spec/spec.h"

#include <stdio.h>

int main(void)
{
	struct buf b;
	buf_init(&b);
	spec_reference_md(&b);
	fwrite(b.data, 1, b.len, stdout);
	buf_done(&b);
	return fflush(stdout) ? 1 : 0;
}
