/* golden.h: compares text with a file beside the tests. WAVETRAIN_GOLDEN=write makes the files anew: look at
 * the difference. */
#ifndef TESTS_CLI_GOLDEN_H
#define TESTS_CLI_GOLDEN_H

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

static inline void golden_is(struct buf *text, const char *path)
{
	const char *mode = getenv("WAVETRAIN_GOLDEN");
	struct buf want;
	char chunk[4096];
	size_t n;
	if (mode && strcmp(mode, "write") == 0) {
		FILE *out = fopen(path, "we");
		assert_non_null(out);
		fwrite(text->data, 1, text->len, out);
		fclose(out);
	}
	FILE *f = fopen(path, "re");
	if (!f)
		fail_msg("%s is missing; run once with WAVETRAIN_GOLDEN=write", path);
	buf_init(&want);
	while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
		buf_put(&want, chunk, n);
	fclose(f);
	assert_string_equal(buf_cstr(text), buf_cstr(&want));
	buf_done(&want);
	buf_reset(text);
}

#endif
