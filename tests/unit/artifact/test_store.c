#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "coordinator/artifact/store.h"
#include "sys/digest.h"

struct fixture {
	char root[64];
	struct artifact_store *s;
};

static int setup(void **state)
{
	static struct fixture f;
	struct err e;
	snprintf(f.root, sizeof f.root, "/tmp/wavetrain-artifacts-XXXXXX");
	assert_non_null(mkdtemp(f.root));
	assert_int_equal(artifact_store_open(&f.s, f.root, &e), E_OK);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];
	artifact_store_close(f->s);
	snprintf(command, sizeof command, "rm -r '%s'", f->root);
	return system(command);
}

static const char bytes[] = "the bytes of an archive";

static void an_upload_that_broke_goes_on_where_it_stopped(void **state)
{
	struct fixture *f = *state;
	struct artifact_upload *u;
	uint64_t offset;
	struct err e;
	struct digest d = digest_of(bytes, sizeof bytes);
	assert_int_equal(artifact_upload_begin(f->s, &d, sizeof bytes, &u, &offset, &e), E_OK);
	assert_int_equal(offset, 0);
	assert_int_equal(artifact_upload_data(u, bytes, 7, &e), E_OK);
	artifact_upload_end(u);
	assert_int_equal(artifact_upload_begin(f->s, &d, sizeof bytes, &u, &offset, &e), E_OK);
	assert_int_equal(offset, 7);
	assert_int_equal(artifact_upload_data(u, bytes + 7, sizeof bytes - 7, &e), E_OK);
	assert_int_equal(artifact_upload_finish(u, &e), E_OK);
	artifact_upload_end(u);
	assert_true(artifact_store_has(f->s, &d));
	assert_int_equal(artifact_upload_begin(f->s, &d, sizeof bytes, &u, &offset, &e), E_OK);
	assert_int_equal(offset, sizeof bytes);
	assert_int_equal(artifact_upload_finish(u, &e), E_OK);
	artifact_upload_end(u);
}

static void other_bytes_than_announced_never_get_a_name(void **state)
{
	struct fixture *f = *state;
	struct artifact_upload *u;
	uint64_t offset;
	struct err e;
	struct digest d = digest_of(bytes, sizeof bytes);
	assert_int_equal(artifact_upload_begin(f->s, &d, sizeof bytes, &u, &offset, &e), E_OK);
	char wrong[sizeof bytes] = "something else";
	assert_int_equal(artifact_upload_data(u, wrong, sizeof wrong, &e), E_OK);
	assert_int_equal(artifact_upload_finish(u, &e), E_CORRUPT);
	artifact_upload_end(u);
	assert_false(artifact_store_has(f->s, &d));
	assert_int_equal(artifact_upload_begin(f->s, &d, sizeof bytes, &u, &offset, &e), E_OK);
	assert_int_equal(offset, 0);
	artifact_upload_end(u);
}

/* Whoever came second could write into what the first one had verified, or cut it off. */
static void an_archive_is_uploaded_by_one_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct artifact_upload *first, *second;
	uint64_t offset;
	struct err e;
	struct digest d = digest_of(bytes, sizeof bytes);
	assert_int_equal(artifact_upload_begin(f->s, &d, sizeof bytes, &first, &offset, &e), E_OK);
	assert_int_equal(artifact_upload_data(first, bytes, 7, &e), E_OK);
	assert_int_equal(artifact_upload_begin(f->s, &d, sizeof bytes, &second, &offset, &e), E_BUSY);
	assert_int_equal(artifact_upload_begin(f->s, &d, 3, &second, &offset, &e), E_BUSY);
	assert_int_equal(artifact_upload_data(first, bytes + 7, sizeof bytes - 7, &e), E_OK);
	assert_int_equal(artifact_upload_finish(first, &e), E_OK);
	/* Named, but not looked into yet: it may still be deleted. */
	assert_int_equal(artifact_upload_begin(f->s, &d, sizeof bytes, &second, &offset, &e), E_BUSY);
	artifact_upload_end(first);
	assert_int_equal(artifact_upload_begin(f->s, &d, sizeof bytes, &second, &offset, &e), E_OK);
	assert_int_equal(offset, sizeof bytes);
	artifact_upload_end(second);
}

static void other_archives_are_uploaded_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct artifact_upload *u, *other;
	uint64_t offset;
	struct err e;
	struct digest d = digest_of(bytes, sizeof bytes), another = digest_of(bytes, 3);
	assert_int_equal(artifact_upload_begin(f->s, &d, sizeof bytes, &u, &offset, &e), E_OK);
	assert_int_equal(artifact_upload_begin(f->s, &another, 3, &other, &offset, &e), E_OK);
	artifact_upload_end(u);
	artifact_upload_end(other);
}

static void what_has_its_name_is_never_written_to(void **state)
{
	struct fixture *f = *state;
	struct artifact_upload *u;
	uint64_t offset;
	struct err e;
	struct digest d = digest_of(bytes, 7);
	assert_int_equal(artifact_upload_begin(f->s, &d, 7, &u, &offset, &e), E_OK);
	assert_int_equal(artifact_upload_data(u, bytes, 7, &e), E_OK);
	assert_int_equal(artifact_upload_finish(u, &e), E_OK);
	assert_int_equal(artifact_upload_data(u, bytes, 1, &e), E_TOO_LARGE);
	artifact_upload_end(u);
	/* Nor does a release get a size that is not that of its archive. */
	assert_int_equal(artifact_upload_begin(f->s, &d, 8, &u, &offset, &e), E_INVALID);
	assert_non_null(strstr(e.text, "has 7 bytes, not 8"));
}

static void more_bytes_than_announced_are_refused(void **state)
{
	struct fixture *f = *state;
	struct artifact_upload *u;
	uint64_t offset;
	struct err e;
	struct digest d = digest_of(bytes, 4);
	assert_int_equal(artifact_upload_begin(f->s, &d, 4, &u, &offset, &e), E_OK);
	assert_int_equal(artifact_upload_data(u, bytes, 5, &e), E_TOO_LARGE);
	artifact_upload_end(u);
}

static void an_upload_that_cannot_fit_is_refused_with_the_arithmetic(void **state)
{
	struct fixture *f = *state;
	struct artifact_upload *u;
	uint64_t offset;
	struct err e;
	struct digest d = digest_of("x", 1);
	assert_int_equal(artifact_upload_begin(f->s, &d, 1ull << 60, &u, &offset, &e), E_NO_SPACE);
	assert_non_null(strstr(e.text, "2 x 1152921504606846976 bytes"));
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_upload_that_broke_goes_on_where_it_stopped),
		CASE(other_bytes_than_announced_never_get_a_name),
		CASE(an_archive_is_uploaded_by_one_at_a_time),
		CASE(other_archives_are_uploaded_meanwhile),
		CASE(what_has_its_name_is_never_written_to),
		CASE(more_bytes_than_announced_are_refused),
		CASE(an_upload_that_cannot_fit_is_refused_with_the_arithmetic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
