/* The deployment file: what is accepted must survive its own canonical form, byte for byte. */
#include "coordinator/spec/spec.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct spec_diags diags;
	struct spec s, again;
	struct arena a;
	struct buf one, two;
	struct spec_source src = {.file = "f", .text = (const char *)data, .len = size};
	arena_init(&a);
	buf_init(&one);
	buf_init(&two);
	int rc = spec_load(&a, &src, &s, &diags);
	spec_diag_json(&two, &diags);
	buf_reset(&two);
	spec_diag_print(&two, &diags);
	buf_reset(&two);
	if (!rc) {
		spec_render_canonical(&s, &one);
		PRE(!spec_from_canonical(&a, (const char *)one.data, one.len, &again, &diags));
		spec_render_canonical(&again, &two);
		PRE(one.len == two.len && !memcmp(one.data, two.data, one.len));
	}
	buf_done(&two);
	buf_done(&one);
	arena_done(&a);
	return 0;
}
